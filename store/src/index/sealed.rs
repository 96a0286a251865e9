//! The index file, written once and then in memory.

use std::io;
use std::sync::Arc;

use super::blocks::Blocks;
use crate::format::index::{
    BLOCK_BYTES, ENTRIES_PER_BLOCK, Entry, IndexHead, block_to_bytes, entry_at,
};
use crate::format::superblock::Superblock;
use crate::format::{FormatError, NeedleOffset};
use crate::id::Key;
use crate::storage::{Disk, File, read_up_to, write_all_at};

/// An index file, checked and in memory. The default one is empty. Clones share the memory.
#[derive(Clone, Default)]
pub struct Sealed {
    file: Option<Arc<(IndexHead, Blocks)>>,
}

/// Why an index file is not used. The volume is scanned instead.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not an intact index file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is intact, but of another volume, replica or generation, or tells of bytes
    /// that the volume file does not have.
    #[error("the index file belongs to another state of the volume")]
    Stale,
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Io(error) => error,
            error => Self::other(error),
        }
    }
}

impl Sealed {
    /// Reads and checks `file` as the index of the volume file with this superblock and
    /// length. The file is not needed any more afterwards.
    pub fn open(
        file: &dyn File,
        superblock: &Superblock,
        volume_bytes: u64,
    ) -> Result<Self, SealError> {
        let mut head = Vec::with_capacity(BLOCK_BYTES);
        read_up_to(file, &mut head, BLOCK_BYTES, 0)?;
        let head = IndexHead::from_bytes(&head)?;
        let same_file = (head.volume, head.replica, head.generation)
            == (superblock.volume, superblock.replica, superblock.generation);
        if !same_file || head.covered_end.bytes() > volume_bytes {
            return Err(SealError::Stale);
        }
        if file.size_bytes()? != head.file_bytes() {
            return Err(FormatError::Short { what: "index file" }.into());
        }
        let blocks = Blocks::read(file, &head)?;
        // The page cache need not hold it a second time. Where it does, nothing is lost.
        let _ = file.evict(0..u64::MAX);
        Ok(Self { file: Some(Arc::new((head, blocks))) })
    }

    /// The file's head; `None` for the empty index.
    pub fn head(&self) -> Option<&IndexHead> {
        self.file.as_deref().map(|(head, _)| head)
    }

    /// Everything below this offset of the volume is covered.
    pub fn covered_end(&self) -> NeedleOffset {
        self.head().map_or(NeedleOffset::default(), |head| head.covered_end)
    }

    /// The entry of `key`, by binary search: first for its block, then within it.
    pub fn get(&self, key: Key) -> Option<Entry> {
        let (head, blocks) = self.file.as_deref()?;
        let count = head.entries.div_ceil(ENTRIES_PER_BLOCK as u64);
        let first_key = |at| key_at(blocks.get(at)?, 0);
        let after = partition_point(count, |at| first_key(at).is_some_and(|first| first <= key));
        let block_number = after.checked_sub(1)?;
        let block = blocks.get(block_number)?;
        let entries = entries_in_block(head, block_number);
        let after =
            partition_point(entries, |at| key_at(block, at).is_some_and(|found| found <= key));
        let (found, entry) = entry_at(block, usize::try_from(after.checked_sub(1)?).ok()?)?;
        (found == key).then_some(entry)
    }

    /// All entries, sorted by key.
    pub fn into_entries(self) -> impl Iterator<Item = (Key, Entry)> {
        self.into_entries_from(0)
    }

    /// The entries of the keys from `first` on, sorted.
    pub fn into_entries_of(self, first: Key) -> impl Iterator<Item = (Key, Entry)> {
        let first = self.count_below(first);
        self.into_entries_from(first)
    }

    /// How many entries have keys below `key`.
    fn count_below(&self, key: Key) -> u64 {
        let Some((head, blocks)) = self.file.as_deref() else { return 0 };
        partition_point(head.entries, |number| {
            let at = number % ENTRIES_PER_BLOCK as u64;
            let found = blocks.get(number / ENTRIES_PER_BLOCK as u64);
            found.and_then(|block| key_at(block, at)).is_some_and(|found| found < key)
        })
    }

    fn into_entries_from(self, first: u64) -> impl Iterator<Item = (Key, Entry)> {
        let entries = self.head().map_or(0, |head| head.entries);
        (first..entries).filter_map(move |number| {
            let (_, blocks) = self.file.as_deref()?;
            let block = blocks.get(number / ENTRIES_PER_BLOCK as u64)?;
            entry_at(block, usize::try_from(number).ok()? % ENTRIES_PER_BLOCK)
        })
    }
}

fn key_at(block: &[u8], at: u64) -> Option<Key> {
    entry_at(block, usize::try_from(at).ok()?).map(|(key, _)| key)
}

fn entries_in_block(head: &IndexHead, block: u64) -> u64 {
    (head.entries - block * ENTRIES_PER_BLOCK as u64).min(ENTRIES_PER_BLOCK as u64)
}

/// The first number below `end` for which `holds` is false, if it holds for all before.
fn partition_point(end: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Writes an index file under `name` and opens it. It is whole under that name or not there at all.
///
/// `head.entries` is filled in from `entries`, which must be sorted by key.
pub fn write(
    disk: &dyn Disk,
    name: &str,
    mut head: IndexHead,
    entries: impl Iterator<Item = (Key, Entry)>,
    superblock: &Superblock,
) -> Result<Sealed, SealError> {
    let temporary = format!("{name}.tmp");
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    head.entries = write_blocks(&*file, &head, entries)?;
    write_all_at(&*file, &head.to_bytes(), 0)?;
    file.sync()?;
    disk.rename(&temporary, name)?;
    disk.sync()?;
    Sealed::open(&*file, superblock, u64::MAX)
}

/// Writes the entries behind the head, in steps of 1 MiB, and tells how many there were.
fn write_blocks(
    file: &dyn File,
    head: &IndexHead,
    entries: impl Iterator<Item = (Key, Entry)>,
) -> io::Result<u64> {
    const STEP_BYTES: usize = 1 << 20;
    let mut entries = entries.peekable();
    let mut position = BLOCK_BYTES as u64;
    let mut count = 0;
    while entries.peek().is_some() {
        let mut step = Vec::with_capacity(STEP_BYTES);
        while step.len() < STEP_BYTES && entries.peek().is_some() {
            let block: Vec<_> = entries.by_ref().take(ENTRIES_PER_BLOCK).collect();
            count += block.len() as u64;
            step.extend_from_slice(&block_to_bytes(
                &block,
                head.salt(),
                position + step.len() as u64,
            ));
        }
        write_all_at(file, &step, position)?;
        position += step.len() as u64;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::VolumeId;
    use crate::storage::memory::MemoryDisk;

    fn superblock() -> Superblock {
        let volume = VolumeId::new(3).unwrap();
        Superblock {
            cluster: Uuid::nil(),
            volume,
            replica: Uuid::from_u128(5),
            generation: 2,
            created_ms: 0,
        }
    }

    fn head() -> IndexHead {
        IndexHead {
            volume: superblock().volume,
            replica: superblock().replica,
            generation: 2,
            covered_end: NeedleOffset::from_blocks(1000),
            entries: 0,
            live_needles: 0,
            live_bytes: 0,
            tombstones: 0,
            last_append_ns: 0,
            digest: 0,
            digest_exact: true,
        }
    }

    fn entries(keys: impl Iterator<Item = u64>) -> Vec<(Key, Entry)> {
        keys.enumerate()
            .map(|(at, key)| {
                let offset = NeedleOffset::from_blocks(u32::try_from(at).unwrap() + 512);
                (Key::new(key), Entry { offset, size_blocks: 9 })
            })
            .collect()
    }

    fn sealed(disk: &MemoryDisk, entries: &[(Key, Entry)]) -> Sealed {
        write(disk, "i", head(), entries.iter().copied(), &superblock()).unwrap()
    }

    #[test]
    fn finds_every_key_and_no_other() {
        for count in [0, 1, 2, 254, 255, 256, 510, 511, 2000] {
            let entries = entries((0..count).map(|key| key * 10 + 5));
            let sealed = sealed(&MemoryDisk::new(), &entries);
            for (key, entry) in &entries {
                assert_eq!(sealed.get(*key), Some(*entry));
                assert_eq!(sealed.get(Key::new(key.get() + 1)), None);
                assert_eq!(sealed.get(Key::new(key.get() - 1)), None);
            }
            assert_eq!(sealed.get(Key::new(u64::MAX)), None);
            assert_eq!(sealed.into_entries().collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn another_generation_or_longer_volume_is_stale() {
        let disk = MemoryDisk::new();
        sealed(&disk, &entries(0..10));
        let open = |superblock: &Superblock, bytes| {
            Sealed::open(&*disk.open("i").unwrap(), superblock, bytes)
        };
        assert!(open(&superblock(), 8000).is_ok());
        assert!(matches!(open(&superblock(), 7999), Err(SealError::Stale)));
        let next = Superblock { generation: 3, ..superblock() };
        assert!(matches!(open(&next, 8000), Err(SealError::Stale)));
        let other = Superblock { replica: Uuid::from_u128(6), ..superblock() };
        assert!(matches!(open(&other, 8000), Err(SealError::Stale)));
    }

    #[test]
    fn damage_anywhere_is_found_when_opening() {
        let disk = MemoryDisk::new();
        sealed(&disk, &entries(0..600));
        let len = disk.bytes("i").unwrap().len();
        for at in (0..len).step_by(101) {
            disk.flip("i", at, 4);
            assert!(
                Sealed::open(&*disk.open("i").unwrap(), &superblock(), 8000).is_err(),
                "byte {at}"
            );
            disk.flip("i", at, 4);
        }
        for cut in [0, 4095, 4096, len - 4096, len - 1] {
            let bytes = disk.bytes("i").unwrap();
            disk.put("cut", bytes[..cut].to_vec());
            assert!(
                Sealed::open(&*disk.open("cut").unwrap(), &superblock(), 8000).is_err(),
                "cut at {cut}"
            );
        }
    }

    /// Where index files were mapped, this was a SIGBUS.
    #[test]
    fn a_bad_sector_anywhere_is_an_error_when_opening_and_no_trouble_afterwards() {
        let disk = MemoryDisk::new();
        let entries = entries(0..600);
        let opened = sealed(&disk, &entries);
        let len = disk.bytes("i").unwrap().len() as u64;
        for at in (0..len).step_by(BLOCK_BYTES / 2) {
            disk.spoil("i", at..at + 512);
            let again = Sealed::open(&*disk.open("i").unwrap(), &superblock(), 8000);
            assert!(matches!(again, Err(SealError::Io(_))), "sector at {at}");
            assert!(entries.iter().all(|(key, entry)| opened.get(*key) == Some(*entry)));
            disk.spoil("i", 0..0);
        }
    }

    #[test]
    fn recent_entries_win_over_sealed_ones() {
        let old = entries([1, 3, 5].into_iter());
        let new =
            vec![(Key::new(2), old[0].1), (Key::new(3), Entry { size_blocks: 0, ..old[1].1 })];
        let merged: Vec<_> = super::super::merge(new, sealed(&MemoryDisk::new(), &old)).collect();
        let keys: Vec<_> =
            merged.iter().map(|(key, entry)| (key.get(), entry.size_blocks)).collect();
        assert_eq!(keys, [(1, 9), (2, 9), (3, 0), (5, 9)]);
    }
}
