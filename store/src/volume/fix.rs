//! Bringing a volume into order without its store: a superblock made again, an index made
//! again, a torn end cut off. What a fix would do is told first, by [`diagnose`].

use std::io;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::identity::{by_index_files, stand_in};
use super::offline::OfflineVolume;
use super::verify::{VerifyError, read_superblock};
use super::{OpenError, Volume, VolumeOptions, files};
use crate::id::VolumeId;
use crate::storage::Disk;

/// How a volume's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The volume.
    pub volume: VolumeId,
    /// One more at each compaction.
    pub generation: u64,
    /// Size of the volume file.
    pub file_bytes: u64,
    /// Needles that are not deleted.
    pub live_needles: u64,
    /// Bytes of their records.
    pub live_bytes: u64,
    /// Deleted keys whose tombstones are kept.
    pub tombstones: u64,
    /// The superblock cannot be read, and is known from the index file.
    pub superblock_lost: bool,
    /// Why the index file is of no use; a fix makes it again.
    pub index_problem: Option<String>,
    /// Bytes of a torn end, never acknowledged, that a fix or a start cuts off.
    pub torn_bytes: u64,
    /// Records, never acknowledged, that a fix or a start takes back.
    pub torn_records: usize,
    /// Acknowledged bytes that cannot be read, as far as the index file does not cover them.
    /// A fix leaves them as they are.
    pub damage: Vec<Range<u64>>,
}

impl Diagnosis {
    /// Whether a fix changes anything.
    pub fn needs_fix(&self) -> bool {
        self.superblock_lost
            || self.index_problem.is_some()
            || self.torn_bytes > 0
            || self.torn_records > 0
    }
}

/// Looks at a volume's files. `cluster` is whose the disk is, for a volume that has lost its
/// superblock.
pub fn diagnose(
    disk: &dyn Disk,
    id: VolumeId,
    cluster: Option<Uuid>,
) -> Result<Diagnosis, VerifyError> {
    let file = disk.open(&files::volume(id))?;
    let (superblock, superblock_lost) = match read_superblock(&*file) {
        Ok(superblock) => (superblock, false),
        Err(VerifyError::Format(problem)) => match (cluster, by_index_files(disk, &*file, id)?) {
            (Some(cluster), Some(head)) => (stand_in(cluster, &head), true),
            _ => return Err(problem.into()),
        },
        Err(error) => return Err(error),
    };
    let index = match disk.open(&files::index(id, superblock.generation)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        index => Some(index?),
    };
    let volume = OfflineVolume::open_as(file, index.as_deref(), superblock)?;
    let totals = volume.totals();
    Ok(Diagnosis {
        volume: id,
        generation: volume.superblock().generation,
        file_bytes: volume.file_bytes(),
        live_needles: totals.live_needles,
        live_bytes: totals.live_bytes,
        tombstones: totals.tombstones,
        superblock_lost,
        index_problem: volume.index_problem().map(str::to_owned),
        torn_bytes: volume.torn_bytes(),
        torn_records: volume.torn_records(),
        damage: volume.damage().to_vec(),
    })
}

/// Does what [`diagnose`] told: what a start does by itself. The disk must be in nobody else's
/// use.
pub fn fix(disk: &Arc<dyn Disk>, id: VolumeId, cluster: Option<Uuid>) -> Result<(), OpenError> {
    let file = disk.open(&files::volume(id))?;
    let cluster = match (read_superblock(&*file), cluster) {
        (Ok(superblock), _) => superblock.cluster,
        (Err(_), Some(cluster)) => cluster,
        (Err(VerifyError::Format(problem)), None) => return Err(problem.into()),
        (Err(error), None) => return Err(io::Error::other(error).into()),
    };
    let options = VolumeOptions { min_free_bytes: 0, ..VolumeOptions::default() };
    let (volume, _) = Volume::open(disk, cluster, id, options)?;
    Ok(volume.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryDisk;
    use crate::storage::read_exact_at;
    use crate::volume::NewNeedle;
    use crate::{Cookie, Key, Meta};

    const CLUSTER: Uuid = Uuid::from_u128(5);

    fn id() -> VolumeId {
        VolumeId::new(3).unwrap()
    }

    fn filled() -> (Arc<MemoryDisk>, Arc<dyn Disk>) {
        let memory = Arc::new(MemoryDisk::new());
        let disk: Arc<dyn Disk> = Arc::clone(&memory) as Arc<dyn Disk>;
        Volume::create(&*disk, CLUSTER, id()).unwrap();
        let options = VolumeOptions { min_free_bytes: 0, ..VolumeOptions::default() };
        let (volume, _) = Volume::open(&disk, CLUSTER, id(), options).unwrap();
        for key in 1..=9 {
            let data = vec![1; 100].into();
            let (key, cookie, meta) = (Key::new(key), Cookie::new(1), Meta::default());
            let needle = NewNeedle { key, cookie, meta, data };
            volume.put(vec![needle]).unwrap().blocking_recv().unwrap().unwrap();
        }
        volume.close().unwrap();
        (memory, disk)
    }

    fn needles(disk: &Arc<dyn Disk>) -> u64 {
        let (volume, report) = Volume::open(disk, CLUSTER, id(), VolumeOptions::default()).unwrap();
        assert_eq!((report.index_problem, report.scanned_bytes), (None, 0));
        volume.stats().totals.live_needles
    }

    #[test]
    fn a_lost_index_is_made_again() {
        let (_, disk) = filled();
        assert!(!diagnose(&*disk, id(), None).unwrap().needs_fix());
        disk.remove(&files::index(id(), 1)).unwrap();
        let found = diagnose(&*disk, id(), None).unwrap();
        assert_eq!((found.index_problem.as_deref(), found.live_needles), (Some("missing"), 9));
        fix(&disk, id(), None).unwrap();
        assert!(!diagnose(&*disk, id(), None).unwrap().needs_fix());
        assert_eq!(needles(&disk), 9);
    }

    #[test]
    fn a_rotten_superblock_is_made_again_from_the_index() {
        let (_, disk) = filled();
        let file = disk.open(&files::volume(id())).unwrap();
        file.write_at(&[0; 200], 0).unwrap();
        assert!(diagnose(&*disk, id(), None).is_err(), "nobody says whose it is");
        let found = diagnose(&*disk, id(), Some(CLUSTER)).unwrap();
        assert!(found.superblock_lost);
        fix(&disk, id(), Some(CLUSTER)).unwrap();
        assert_eq!(needles(&disk), 9);
    }

    #[test]
    fn an_index_of_another_file_names_no_superblock() {
        let (memory, disk) = filled();
        let (_, other) = filled();
        let foreign = other.open(&files::index(id(), 1)).unwrap();
        let len = usize::try_from(foreign.size_bytes().unwrap()).unwrap();
        memory.put(&files::index(id(), 1), read_exact_at(&*foreign, len, 0).unwrap());
        disk.open(&files::volume(id())).unwrap().write_at(&[0; 200], 0).unwrap();
        assert!(fix(&disk, id(), Some(CLUSTER)).is_err());
    }

    #[test]
    fn a_torn_end_is_told_and_cut() {
        let (_, disk) = filled();
        let file = disk.open(&files::volume(id())).unwrap();
        let end = file.size_bytes().unwrap();
        file.write_at(&[9; 100], end).unwrap();
        assert_eq!(diagnose(&*disk, id(), None).unwrap().torn_bytes, 100);
        fix(&disk, id(), None).unwrap();
        assert_eq!(file.size_bytes().unwrap(), end);
    }
}
