//! Damaged places of volumes, as verification and scrub tell them.

use hayrick_store::status::VolumeScrub;
use hayrick_store::volume::VerifyReport;
use hayrick_store::{Key, VolumeId};

use crate::failure::{Exit, Failure};
use crate::output::{Column, one_line, table};
use crate::units::size;

/// A damaged place in a volume.
pub struct Damage<'a> {
    volume: VolumeId,
    offset: u64,
    size_bytes: u64,
    /// The needle that is lost; `None` where no live needle is known to be.
    key: Option<Key>,
    reason: &'a str,
}

impl<'a> Damage<'a> {
    /// What a verification found.
    pub fn of_verify(report: &'a VerifyReport) -> impl Iterator<Item = Self> {
        report.damaged.iter().map(|damaged| Self {
            volume: report.volume,
            offset: damaged.offset,
            size_bytes: damaged.size_bytes,
            key: damaged.key,
            reason: &damaged.reason,
        })
    }

    /// What a volume's scrub found.
    pub fn of_scrub(scrub: &'a VolumeScrub) -> impl Iterator<Item = Self> {
        scrub.findings.iter().map(|finding| Self {
            volume: scrub.volume,
            offset: finding.offset,
            size_bytes: finding.size_bytes,
            key: finding.key,
            reason: &finding.reason,
        })
    }
}

/// Damaged places as a table.
pub fn damage_table(damage: &[Damage<'_>]) -> String {
    table(
        damage,
        &[
            Column::number("VOLUME", |damage| damage.volume.to_string()),
            Column::number("OFFSET", |damage| damage.offset.to_string()),
            Column::number("SIZE", |damage| size(damage.size_bytes)),
            Column::number("KEY", |damage| {
                damage.key.map_or("-".to_owned(), |key| key.to_string())
            }),
            Column::text("DAMAGE", |damage| one_line(damage.reason)),
        ],
    )
}

/// The failure that damage is to a command, `unlisted` places of it beside those given.
pub fn refuse(damage: &[Damage<'_>], unlisted: u64) -> Result<(), Failure> {
    let places = damage.len() as u64 + unlisted;
    if places == 0 {
        return Ok(());
    }
    let lost = damage.iter().filter(|damage| damage.key.is_some()).count();
    let mut volumes: Vec<String> = damage.iter().map(|damage| damage.volume.to_string()).collect();
    volumes.dedup();
    let volumes = match &*volumes {
        [volume] => format!("volume {volume} is"),
        volumes => format!("volumes {} are", volumes.join(", ")),
    };
    let message = format!("{volumes} damaged in {places} places, {lost} needles are lost");
    Err(Failure::new(Exit::Damaged, message)
        .hint("the rest goes on being served; put lost objects again from a copy"))
}
