//! Which data the offline commands work on, and how long work is watched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hayrick_store::disk::DataDirError;
use hayrick_store::disk::offline::OfflineDir;
use hayrick_store::volume;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use crate::cli::ConfigArgs;
use crate::config::HayrickConfig;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;

const POLL: Duration = Duration::from_millis(100);

/// Where a server's data is, without the server.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Configuration file of the server, TOML
    #[arg(long, value_name = "FILE", env = "HAYRICK_CONFIG")]
    config: Option<PathBuf>,
    /// Data folder of the server [default: hayrick-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// A data directory with volumes, in place of those of the configuration; may be repeated
    #[arg(long = "disk", value_name = "DIR")]
    disks: Vec<PathBuf>,
}

impl PlaceArgs {
    /// The server's configuration, with these disks.
    pub fn load(&self) -> Result<HayrickConfig, Failure> {
        let args = ConfigArgs {
            config: self.config.clone(),
            data: self.data.clone(),
            ..ConfigArgs::default()
        };
        let mut config = HayrickConfig::load(&args).map_err(|error| {
            Failure::usage(error.to_string()).hint("see `hayrick config print` for all settings")
        })?;
        if !self.disks.is_empty() {
            config.store.disks.clone_from(&self.disks);
        }
        Ok(config)
    }
}

/// Looks at a data directory that no server has.
pub fn take_dir(path: &Path) -> Result<OfflineDir, Failure> {
    OfflineDir::take(path).map_err(no_dir)
}

/// A data directory that cannot be looked at.
#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
pub fn no_dir(error: DataDirError) -> Failure {
    let exit = match &error {
        DataDirError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Exit::NotFound
        }
        DataDirError::Io { .. }
        | DataDirError::InUse { .. }
        | DataDirError::OtherCluster { .. }
        | DataDirError::Identity { .. } => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// Runs work that may take long where it may block, shows how far it is, and stops it on
/// Ctrl-C.
pub async fn watch<T: Send + 'static>(
    label: String,
    work: impl FnOnce(&volume::Progress) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let steps = volume::Progress::default();
    let shown = Progress::new(label);
    let task = spawn_blocking({
        let steps = steps.clone();
        move || work(&steps)
    });
    let follow = async {
        loop {
            let (done, total) = steps.bytes();
            shown.set(done, total);
            sleep(POLL).await;
        }
    };
    let interrupted = async {
        // Without a signal handler the signal ends the process, which is as good.
        let _ = tokio::signal::ctrl_c().await;
        steps.cancel();
    };
    tokio::pin!(task);
    let ended = tokio::select! {
        ended = &mut task => ended,
        () = follow => return Err(Failure::failed("the work got lost")),
        // It cleans up after itself first.
        () = interrupted => task.await.map(|_| Err(Failure::interrupted())),
    };
    shown.clear();
    ended.unwrap_or_else(|error: JoinError| Err(Failure::failed(format!("it died: {error}"))))
}
