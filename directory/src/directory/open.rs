//! Putting a directory together.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Mutex, Notify};

use super::{Directory, Shared};
use crate::grow::Grower;
use crate::keys::KeyAllocator;
use crate::placement::Placement;
use crate::{
    Coordinator, DirectoryConfig, DirectoryError, EmbeddedCoordinator, FjallConfig, FjallNames,
    HybridClock, Names, PostgresNames, Stores, SystemClock,
};

/// The cluster map's file in the directory's folder.
pub(crate) const CLUSTER_MAP: &str = "cluster.json";
/// The name database's folder there.
pub(crate) const NAMES: &str = "names";

/// Versions this far ahead of the machine's clock are worth a warning.
const MAX_AHEAD_MS: u64 = 60_000;

/// What a directory is put together from.
pub struct Parts {
    /// What the cluster agrees on.
    pub coordinator: Arc<dyn Coordinator>,
    /// The name database.
    pub names: Arc<dyn Names>,
    /// The stores.
    pub stores: Arc<dyn Stores>,
    /// The clock; it is set above the versions in the name database.
    pub clock: HybridClock,
    /// The settings; those of the name database are not looked at.
    pub config: DirectoryConfig,
}

impl Directory {
    /// Puts a directory together, asks the stores how they are, and makes the volumes
    /// that are missing.
    pub async fn new(parts: Parts) -> Result<Self, DirectoryError> {
        let Parts { coordinator, names, stores, clock, config } = parts;
        config.check()?;
        clock.observe(names.last_version().await?);
        warn_if_ahead(&clock);
        let placement = Arc::new(Placement::default());
        let full = Arc::new(AtomicBool::new(false));
        let grower = Grower::new(
            Arc::clone(&coordinator),
            Arc::clone(&stores),
            Arc::clone(&placement),
            Arc::clone(&full),
            config.growth.clone(),
        );
        let shared = Shared {
            keys: KeyAllocator::new(Arc::clone(&coordinator), config.lease_keys),
            coordinator,
            names,
            stores,
            clock: Arc::new(clock),
            placement,
            grower: Mutex::new(grower),
            grow_soon: Notify::new(),
            full,
            bucket_admin: Mutex::new(()),
            config,
        };
        let directory = Self { shared: Arc::new(shared) };
        directory.grow_now().await;
        Ok(directory)
    }

    /// Opens the directory of a cluster in one process, with its data in the folder `path`
    /// and the name database that the settings name, or makes one.
    pub async fn open_embedded(
        path: &Path,
        stores: Arc<dyn Stores>,
        config: DirectoryConfig,
    ) -> Result<Self, DirectoryError> {
        config.check()?;
        let (coordinator, names) = open_parts(path, &config).await?;
        let coordinator = Arc::new(coordinator);
        let clock = HybridClock::new(SystemClock, 0);
        Self::new(Parts { coordinator, names, stores, clock, config }).await
    }
}

/// Opens the cluster map in the folder `path` and the name database that the settings name,
/// or makes them: for who must know the cluster before there are stores.
pub async fn open_parts(
    path: &Path,
    config: &DirectoryConfig,
) -> Result<(EmbeddedCoordinator, Arc<dyn Names>), DirectoryError> {
    let path = path.to_owned();
    let Some(postgres) = &config.postgres else {
        let names_config = config.names.clone();
        let (coordinator, names) =
            off_the_runtime(move || open_files(&path, &names_config)).await?;
        return Ok((coordinator, Arc::new(names)));
    };
    let coordinator = off_the_runtime(move || {
        let map = open_map(&path)?;
        sync_folders(&path)?;
        Ok(map)
    });
    let coordinator = coordinator.await?;
    let map = coordinator.map();
    let names = PostgresNames::open(postgres, map.cluster_id, !map.volumes.is_empty()).await?;
    Ok((coordinator, Arc::new(names)))
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, DirectoryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(DirectoryError::Setup(error.to_string())))
}

/// Opens what a cluster in one process keeps in the folder `path`, or makes it. Waits for
/// the disk.
pub fn open_files(
    path: &Path,
    names_config: &FjallConfig,
) -> Result<(EmbeddedCoordinator, FjallNames), DirectoryError> {
    let coordinator = open_map(path)?;
    let names = path.join(NAMES);
    let has_names = names.try_exists().map_err(|error| setup(path, &error))?;
    if !has_names && !coordinator.map().volumes.is_empty() {
        // A new, empty one would answer 404 for everything that was ever stored.
        return Err(DirectoryError::Setup(format!(
            "{} is missing though the cluster has volumes: make it again with \
             `hayrick names rebuild`, or put it back from a backup",
            names.display()
        )));
    }
    let opened = (coordinator, FjallNames::open(&names, names_config)?);
    sync_folders(path)?;
    Ok(opened)
}

fn open_map(path: &Path) -> Result<EmbeddedCoordinator, DirectoryError> {
    let setup = |error: io::Error| setup(path, &error);
    // Only the owner may look in: the access keys and all names are there.
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(setup)?;
    let (map, names) = (path.join(CLUSTER_MAP), path.join(NAMES));
    if names.try_exists().map_err(setup)? && !map.try_exists().map_err(setup)? {
        // A new map would begin a new cluster, whose volume ids are taken already.
        return Err(DirectoryError::Setup(format!(
            "{} is missing though there are names beside it: put it back from a backup, or \
             make it again with `hayrick names rebuild`",
            map.display()
        )));
    }
    Ok(EmbeddedCoordinator::open(map)?)
}

/// What is synced in a folder is lost if the folder itself is.
fn sync_folders(path: &Path) -> Result<(), DirectoryError> {
    let synced = sync_folder(path).and_then(|()| sync_folder(&path.join("..")));
    synced.map_err(|error| setup(path, &error))
}

fn setup(path: &Path, error: &io::Error) -> DirectoryError {
    DirectoryError::Setup(format!("directory folder {}: {error}", path.display()))
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Times told to clients and waits for deletion follow the versions until the machine's
/// clock has caught up.
fn warn_if_ahead(clock: &HybridClock) {
    let ahead_ms = clock.ahead_ms();
    if ahead_ms > MAX_AHEAD_MS {
        tracing::warn!(ahead_ms, "the stored versions are ahead of this machine's clock");
    }
}
