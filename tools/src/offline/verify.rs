//! `hayrick volume verify`, on a file and of a running server alike.

use std::path::{Path, PathBuf};

use hayrick_store::volume::{Damaged, OfflineVolume, VerifyError, VerifyReport};

use super::open;
use super::place::watch;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, table};
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
    if report.damaged.is_empty() {
        return Ok(());
    }
    let lost = report.damaged.iter().filter(|damaged| damaged.key.is_some()).count();
    let message = format!(
        "volume {} is damaged in {} places, {} needles are lost",
        report.volume,
        report.damaged.len(),
        lost
    );
    Err(Failure::new(Exit::Damaged, message)
        .hint("the rest of the volume goes on being served; put lost objects again from a copy"))
}

fn for_people(report: &VerifyReport) -> String {
    let VerifyReport { volume, good_needles, good_bytes, file_bytes, damaged } = report;
    let summary = format!(
        "volume {volume}: {} good needles ({}) in {}",
        count(*good_needles),
        size(*good_bytes),
        size(*file_bytes),
    );
    if damaged.is_empty() { summary } else { format!("{summary}\n\n{}", damage_table(report)) }
}

fn damage_table(report: &VerifyReport) -> String {
    let columns = [
        Column::Right("VOLUME"),
        Column::Right("OFFSET"),
        Column::Right("SIZE"),
        Column::Right("KEY"),
        Column::Left("DAMAGE"),
    ];
    let row = |damaged: &Damaged| {
        [
            report.volume.to_string(),
            damaged.offset.to_string(),
            size(damaged.size_bytes),
            damaged.key.map_or("-".to_owned(), |key| key.to_string()),
            damaged.reason.clone(),
        ]
    };
    table(&columns, report.damaged.iter().map(row))
}
