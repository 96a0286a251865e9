//! What the keeper knows of stores and replicas at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use hayrick_store::status::{ScrubPass, StoreStatus, VolumeState, VolumeStatus};
use hayrick_store::{Epoch, VolumeId};

use crate::{Host, KnownStore, Rack, StoreId};

/// All stores that are known, by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) stores: BTreeMap<StoreId, StoreView>,
}

/// One store.
#[derive(Debug, Clone)]
pub(crate) struct StoreView {
    /// Where it stands.
    pub(crate) rack: Rack,
    /// The machine it runs on.
    pub(crate) host: Host,
    /// Whether it is well enough to be given replicas.
    pub(crate) is_well: bool,
    /// Whether it is being emptied.
    pub(crate) is_draining: bool,
    /// Away for longer than the grace.
    pub(crate) is_lost: bool,
    /// What it has; `None` if it did not answer when it was asked last.
    pub(crate) replicas: Option<BTreeMap<VolumeId, Replica>>,
    /// Room on its roomiest disk that takes new volumes: a replica lies on one disk.
    pub(crate) free_bytes: u64,
    /// Room on all of its disks, used or not.
    pub(crate) total_bytes: u64,
    /// A data directory that it goes on without, not knowing what is in it.
    pub(crate) failed_disk: Option<String>,
}

/// One replica of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) condition: Condition,
    /// The epoch that it knows.
    pub(crate) epoch: Epoch,
    /// Of its live needles; `None` while that is not known exactly.
    pub(crate) digest: Option<String>,
    pub(crate) live_needles: u64,
    pub(crate) file_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) garbage_bytes: u64,
    /// When it was appended to last, by its own clock.
    pub(crate) last_append_ns: u64,
    /// Needles that are known not to be readable.
    pub(crate) damaged: u64,
    /// How far its scrub is, while that reads it.
    pub(crate) scrub: Option<ScrubPass>,
    /// An operator wants it scrubbed, and so it does not rest.
    pub(crate) is_scrub_ordered: bool,
    /// The data directory it is in.
    pub(crate) disk: String,
    /// It has been failed for longer than the grace.
    pub(crate) is_lost: bool,
}

/// What a replica is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It has all of what it ever took.
    Whole,
    /// It is being filled.
    Copying,
    /// It can be read as far as its disk lets it, and takes nothing.
    Failed,
    /// It cannot be used.
    Broken,
}

impl StoreView {
    /// A store that answered with its status.
    pub(crate) fn answering(known: &KnownStore, status: &StoreStatus) -> Self {
        let replicas = status.volumes.iter().map(|volume| (volume.volume, Replica::of(volume)));
        let failed = status.disks.iter().find(|disk| disk.problem.is_some());
        let with_room = status.disks.iter().filter(|disk| disk.has_room);
        Self {
            rack: known.rack.clone(),
            host: known.host.clone(),
            is_well: true,
            is_draining: false,
            is_lost: false,
            replicas: Some(replicas.collect()),
            free_bytes: with_room.map(|disk| disk.free_bytes).max().unwrap_or(0),
            total_bytes: status.disks.iter().map(|disk| disk.total_bytes).sum(),
            failed_disk: failed.map(|disk| disk.path.clone()),
        }
    }

    /// Takes note that a replica it does not tell of may be on the disk that failed.
    pub(crate) fn expect(&mut self, volume: VolumeId) {
        if let (Some(replicas), Some(disk)) = (&mut self.replicas, &self.failed_disk) {
            replicas.entry(volume).or_insert_with(|| Replica::on_failed(disk.clone()));
        }
    }

    /// A store that did not answer.
    pub(crate) fn silent(known: &KnownStore, is_lost: bool) -> Self {
        Self {
            rack: known.rack.clone(),
            host: known.host.clone(),
            is_well: false,
            is_draining: false,
            is_lost,
            replicas: None,
            free_bytes: 0,
            total_bytes: 0,
            failed_disk: None,
        }
    }

    /// Whether it may be given replicas of so many bytes. Where a disk failed there may be an old
    /// one, which would come back beside the new one.
    pub(crate) fn takes(&self, bytes: u64, min_free_bytes: u64) -> bool {
        self.is_well
            && !self.is_draining
            && self.replicas.is_some()
            && self.failed_disk.is_none()
            && self.free_bytes >= bytes.saturating_add(min_free_bytes)
    }
}

impl Replica {
    fn of(status: &VolumeStatus) -> Self {
        let findings = status.scrub.as_ref().map_or(0, |scrub| scrub.damaged);
        Self {
            condition: match status.state {
                VolumeState::Writable
                | VolumeState::Full
                | VolumeState::ReadOnly
                | VolumeState::DiskFull => Condition::Whole,
                VolumeState::Copying => Condition::Copying,
                VolumeState::Failed => Condition::Failed,
                VolumeState::Unavailable => Condition::Broken,
            },
            epoch: status.epoch,
            digest: status.digest.clone(),
            live_needles: status.live_needles,
            file_bytes: status.file_bytes,
            live_bytes: status.live_bytes,
            garbage_bytes: status.garbage_bytes,
            last_append_ns: status.last_append_ns,
            damaged: findings.max(status.damaged_ranges as u64),
            scrub: status.scrub.as_ref().filter(|scrub| scrub.reading).and_then(|scrub| scrub.pass),
            is_scrub_ordered: status.scrub.as_ref().is_some_and(|scrub| scrub.asked),
            disk: status.disk.clone(),
            is_lost: false,
        }
    }

    fn on_failed(disk: String) -> Self {
        Self {
            condition: Condition::Broken,
            epoch: Epoch::NONE,
            digest: None,
            live_needles: 0,
            file_bytes: 0,
            live_bytes: 0,
            garbage_bytes: 0,
            last_append_ns: 0,
            damaged: 0,
            scrub: None,
            is_scrub_ordered: false,
            disk,
            is_lost: false,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.condition == Condition::Whole
    }

    /// Whether it takes nothing any more.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.condition, Condition::Failed | Condition::Broken)
    }

    /// Whether both hold the same live needles.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.digest.is_some()
            && self.digest == other.digest
            && self.live_needles == other.live_needles
    }

    /// Whether nothing was added to it or deleted from it since `before`.
    pub(crate) fn stands_still(&self, before: &Self) -> bool {
        self.live_needles == before.live_needles
            && self.digest == before.digest
            && self.last_append_ns == before.last_append_ns
    }

    /// The share of the file that is garbage.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of file sizes")]
    pub(crate) fn garbage_ratio(&self) -> f64 {
        if self.file_bytes == 0 { 0.0 } else { self.garbage_bytes as f64 / self.file_bytes as f64 }
    }
}

/// How long ago a thing began, if it did.
pub(crate) fn lasts(since: Option<tokio::time::Instant>, limit: Duration) -> bool {
    since.is_some_and(|since| since.elapsed() >= limit)
}

#[cfg(test)]
mod tests {
    use hayrick_store::status::DiskStatus;

    use super::*;

    fn disk(path: &str, problem: Option<&str>) -> DiskStatus {
        DiskStatus {
            path: path.to_owned(),
            total_bytes: 1 << 40,
            free_bytes: 1 << 40,
            volumes: 0,
            has_room: problem.is_none(),
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn a_store_with_a_failed_disk_may_have_what_it_does_not_tell_of() {
        let see = |disks| {
            let status = StoreStatus { disks, volumes: Vec::new() };
            let (rack, host) = ("r1".parse().unwrap(), "m1".parse().unwrap());
            let known = KnownStore { rack, host, since_ms: 0, member: None };
            let mut seen = StoreView::answering(&known, &status);
            let volume = VolumeId::new(7).unwrap();
            seen.expect(volume);
            let replica = seen.replicas.as_ref().unwrap().get(&volume).cloned();
            (seen.takes(1, 0), replica)
        };
        assert_eq!(see(vec![disk("/d1", None), disk("/d2", None)]), (true, None));
        let (takes, replica) = see(vec![disk("/d1", None), disk("/d2", Some("EIO"))]);
        let replica = replica.unwrap();
        assert!(!takes, "a copy might come to stand beside an old one");
        assert!(replica.is_failed() && replica.disk == "/d2", "{replica:?}");
    }
}
