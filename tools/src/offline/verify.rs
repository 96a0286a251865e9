//! `hayrick volume verify`, on a file and of a running server alike.

use std::path::{Path, PathBuf};

use hayrick_store::volume::{OfflineVolume, VerifyError, VerifyReport};

use super::open;
use super::place::watch;
use crate::damage::{self, Damage};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::units::{count, size};

/// Reads every byte of a volume file that no server has open. Ctrl-C stops it.
pub async fn verify(path: PathBuf) -> Result<VerifyReport, Failure> {
    // A file that is not there is told as that.
    drop(open(&path)?);
    let label = format!("verify of {}", path.display());
    watch(label, move |steps| {
        OfflineVolume::verify_path(&path, steps).map_err(|error| refused(&error, &path))
    })
    .await
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
