//! Putting a directory together.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::{Directory, Shared};
use crate::fsck::FsckJob;
use crate::garbage::clock::QueueClock;
use crate::grow::Grower;
use crate::keys::KeyAllocator;
use crate::placement::Placement;
use crate::{
    ClusterMap, Coordinator, DirectoryConfig, DirectoryError, EmbeddedCoordinator, FjallConfig,
    FjallNames, HybridClock, Names, PostgresNames, Stores, SystemClock,
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
        let queue_clock = Arc::new(QueueClock::new(names.now_ms().await?));
        let shared = Shared {
            keys: KeyAllocator::new(Arc::clone(&coordinator), config.lease_keys),
            coordinator,
            names,
            stores,
            clock,
            queue_clock,
            opened: Instant::now(),
            placement,
            reports: grower.seen(),
            grower: Mutex::new(grower),
            grow_soon: Notify::new(),
            full,
            fsck: FsckJob::default(),
            bucket_admin: Mutex::new(()),
            config,
        };
        let directory = Self { shared: Arc::new(shared) };
        directory.grow_now().await;
        directory.lease_ahead().await;
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
    let folder = path.to_owned();
    let coordinator = off_the_runtime(move || open_map(&folder)).await?;
    let names = open_names(path, config, &coordinator.map()).await?;
    Ok((coordinator, names))
}

/// Opens the name database that the settings name, or makes it: an embedded one in the folder
/// `path`, of the cluster with this map.
pub async fn open_names(
    path: &Path,
    config: &DirectoryConfig,
    map: &ClusterMap,
) -> Result<Arc<dyn Names>, DirectoryError> {
    let has_volumes = !map.volumes.is_empty();
    let (path, names_config) = (path.to_owned(), config.names.clone());
    let Some(postgres) = &config.postgres else {
        let open = move || open_embedded_names(&path, &names_config, has_volumes);
        return Ok(Arc::new(off_the_runtime(open).await?));
    };
    off_the_runtime(move || make_private(&path).and_then(|()| sync_folders(&path))).await?;
    Ok(Arc::new(PostgresNames::open(postgres, map.cluster_id, has_volumes).await?))
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
    let has_volumes = !coordinator.map().volumes.is_empty();
    Ok((coordinator, open_embedded_names(path, names_config, has_volumes)?))
}

fn open_embedded_names(
    path: &Path,
    config: &FjallConfig,
    has_volumes: bool,
) -> Result<FjallNames, DirectoryError> {
    let names = path.join(NAMES);
    make_private(path)?;
    let has_names = names.try_exists().map_err(|error| setup(path, &error))?;
    if !has_names && has_volumes {
        // A new, empty one would answer 404 for everything that was ever stored.
        return Err(DirectoryError::Setup(format!(
            "{} is missing though the cluster has volumes: make it again with \
             `hayrick names rebuild`, or put it back from a backup",
            names.display()
        )));
    }
    let names = FjallNames::open(&names, config)?;
    sync_folders(path)?;
    Ok(names)
}

/// Only the owner may look in: the access keys and all names are there.
fn make_private(path: &Path) -> Result<(), DirectoryError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| setup(path, &error))
}

fn open_map(path: &Path) -> Result<EmbeddedCoordinator, DirectoryError> {
    let setup = |error: io::Error| setup(path, &error);
    make_private(path)?;
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

/// New versions hardly rise until the machine's clock has caught up, and so tell the same time.
fn warn_if_ahead(clock: &HybridClock) {
    let ahead_ms = clock.ahead_ms();
    if ahead_ms > MAX_AHEAD_MS {
        tracing::warn!(ahead_ms, "the stored versions are ahead of this machine's clock");
    }
}
