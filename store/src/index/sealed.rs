//! The index file, once written: in memory.

use std::io;
use std::sync::Arc;

use super::pages::Pages;
use crate::format::index::{BLOCK_BYTES, Entry, IndexHead};
use crate::format::superblock::Superblock;
use crate::format::{FormatError, NeedleOffset};
use crate::id::Key;
use crate::storage::{File, read_up_to};

/// An index file, checked and in memory. The default one is empty. Clones share the memory.
#[derive(Clone, Default)]
pub struct Sealed {
    file: Option<Arc<(IndexHead, Pages)>>,
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
        let pages = Pages::read(file, &head)?;
        // The page cache need not hold it a second time. Where it does, nothing is lost.
        let _ = file.evict(0..u64::MAX);
        Ok(Self { file: Some(Arc::new((head, pages))) })
    }

    /// The file's head; `None` for the empty index.
    pub fn head(&self) -> Option<&IndexHead> {
        self.file.as_deref().map(|(head, _)| head)
    }

    /// Everything below this offset of the volume is covered.
    pub fn covered_end(&self) -> NeedleOffset {
        self.head().map_or(NeedleOffset::default(), |head| head.covered_end)
    }

    /// The entry of `key`.
    pub fn get(&self, key: Key) -> Option<Entry> {
        let (_, pages) = self.file.as_deref()?;
        pages.entry(key)
    }

    /// All entries, sorted by key.
    pub fn into_entries(self) -> impl Iterator<Item = (Key, Entry)> {
        self.into_entries_from(0)
    }

    /// The entries of the keys from `first` on, sorted.
    pub fn into_entries_of(self, first: Key) -> impl Iterator<Item = (Key, Entry)> {
        let pages = self.file.as_deref().map(|(_, pages)| pages);
        let number = pages.and_then(|pages| pages.number_of(first)).unwrap_or_default();
        self.into_entries_from(number).skip_while(move |(key, _)| *key < first)
    }

    /// The entries from this page on. One page at a time is unpacked.
    fn into_entries_from(self, page: usize) -> impl Iterator<Item = (Key, Entry)> {
        let pages = self.file.as_deref().map_or(0, |(_, pages)| pages.len());
        (page..pages).flat_map(move |number| {
            let page = self.file.as_deref().and_then(|(_, pages)| pages.get(number));
            page.map_or_else(Vec::new, |page| page.entries().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::format::index::page::PageBuilder;
    use crate::id::VolumeId;
    use crate::index::write_sealed;
    use crate::storage::Disk;
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
            covered_end: NeedleOffset::from_blocks(1000),
            ..IndexHead::empty(&superblock())
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

    /// Several pages of them from about 600 on.
    fn far_apart(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |number| 5 + number * (u64::MAX / 2 / count))
    }

    fn sealed(disk: &MemoryDisk, entries: &[(Key, Entry)]) -> Sealed {
        write_sealed(disk, "i", head(), entries.iter().copied(), &superblock()).unwrap()
    }

    #[test]
    fn finds_every_key_and_no_other() {
        for count in [0, 1, 2, 3, 500, 2000, 5000] {
            let entries = entries(far_apart(count));
            let sealed = sealed(&MemoryDisk::new(), &entries);
            for (key, entry) in &entries {
                assert_eq!(sealed.get(*key), Some(*entry));
                assert_eq!(sealed.get(Key::new(key.get() + 1)), None);
                assert_eq!(sealed.get(Key::new(key.get() - 1)), None);
            }
            assert_eq!(sealed.get(Key::new(0)), None);
            assert_eq!(sealed.get(Key::new(u64::MAX)), None);
            assert_eq!(sealed.into_entries().collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn entries_are_read_from_any_key_on() {
        let entries = entries(far_apart(2000));
        let sealed = sealed(&MemoryDisk::new(), &entries);
        for (at, (key, _)) in entries.iter().enumerate() {
            let from = |key| sealed.clone().into_entries_of(Key::new(key)).next();
            assert_eq!(from(key.get()), Some(entries[at]));
            assert_eq!(from(key.get() - 1), Some(entries[at]));
            assert_eq!(from(key.get() + 1), entries.get(at + 1).copied());
        }
        assert!(sealed.into_entries_of(Key::new(0)).eq(entries));
    }

    /// A file with right checksums, written by somebody else.
    #[test]
    fn pages_out_of_order_and_wrong_counts_are_refused() {
        let disk = MemoryDisk::new();
        let open = |count: u64, pages: [[u64; 2]; 2]| {
            let salt = head().salt();
            let head = IndexHead { entries: count, pages: pages.len() as u64, ..head() };
            let mut bytes = head.to_bytes().to_vec();
            for keys in pages {
                let mut page = PageBuilder::default();
                for (key, entry) in entries(keys.into_iter()) {
                    assert!(page.push(key, entry));
                }
                bytes.extend_from_slice(&page.finish(salt, bytes.len() as u64).unwrap());
            }
            disk.put("i", bytes);
            Sealed::open(&*disk.open("i").unwrap(), &superblock(), 8000)
        };
        assert!(open(4, [[1, 2], [3, 9]]).is_ok());
        for (count, pages) in [(3, [[1, 2], [3, 9]]), (4, [[3, 9], [1, 2]]), (4, [[1, 3], [3, 9]])]
        {
            let refused = open(count, pages);
            assert!(matches!(refused, Err(SealError::Format(FormatError::Field { .. }))));
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
        sealed(&disk, &entries(far_apart(1200)));
        let len = disk.bytes("i").unwrap().len();
        assert!(len > 3 * BLOCK_BYTES, "a file of several pages");
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
        let entries = entries(far_apart(1200));
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
