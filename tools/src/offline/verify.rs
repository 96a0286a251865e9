//! `hayrick volume verify`, on a file and of a running server alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayrick_store::storage::File;
use hayrick_store::storage::os::open_read_only;
use hayrick_store::volume::{self, VerifyError, VerifyReport, files, read_superblock, verify_file};
use tokio::time::sleep;

use super::open;
use crate::damage::{self, Damage};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::progress::Progress;
use crate::units::{count, size};

const POLL: Duration = Duration::from_millis(100);

/// Reads every byte of a volume file that no server has open. Ctrl-C stops it.
pub async fn verify(path: PathBuf) -> Result<VerifyReport, Failure> {
    let file = open(&path)?;
    let steps = volume::Progress::default();
    let shown = Progress::new(format!("verify of {}", path.display()));
    let work = tokio::task::spawn_blocking({
        let (steps, path) = (steps.clone(), path.clone());
        move || {
            let index = index_beside(&path, &*file);
            verify_file(&*file, index.as_deref(), &steps)
        }
    });
    let follow = async {
        loop {
            let (done, total) = steps.bytes();
            shown.set(done, total);
            sleep(POLL).await;
        }
    };
    let report = tokio::select! {
        report = work => report,
        () = follow => return Err(Failure::failed("the verification got lost")),
        _ = tokio::signal::ctrl_c() => {
            steps.cancel();
            return Err(Failure::interrupted());
        }
    };
    shown.clear();
    let report = report.map_err(|error| Failure::failed(format!("verify died: {error}")))?;
    report.map_err(|error| refused(&error, &path))
}

/// The index file of the volume file, where it lies beside it as a store leaves it.
fn index_beside(path: &Path, file: &dyn File) -> Option<Arc<dyn File>> {
    let superblock = read_superblock(file).ok()?;
    let name = files::index(superblock.volume, superblock.generation);
    open_read_only(&path.with_file_name(name)).ok()
}

fn refused(error: &VerifyError, path: &Path) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        VerifyError::Io(_) => Failure::failed(message),
        VerifyError::Cancelled => Failure::interrupted(),
        VerifyError::Format(_) => Failure::new(Exit::Damaged, message)
            .hint("is it a volume file (*.vol)? without its superblock no record can be checked"),
    }
}

/// Tells what was found; damage is a failure.
pub fn tell(report: &VerifyReport, output: Output) -> Result<(), Failure> {
    output.answer(report, for_people)?;
    damage::refuse(&Damage::of_verify(report).collect::<Vec<_>>(), 0)
}

fn for_people(report: &VerifyReport) -> String {
    let VerifyReport { volume, good_needles, good_bytes, file_bytes, damaged } = report;
    let summary = format!(
        "volume {volume}: {} good needles ({}) in {}",
        count(*good_needles),
        size(*good_bytes),
        size(*file_bytes),
    );
    if damaged.is_empty() {
        return summary;
    }
    let damage: Vec<_> = Damage::of_verify(report).collect();
    format!("{summary}\n\n{}", damage::damage_table(&damage))
}
