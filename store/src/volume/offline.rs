//! A volume file that no store has open, understood as the next start would understand it.
//! Nothing is changed: what a start would cut off or take back is passed over.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::digest::Totals;
use super::record::Body;
use super::recovery::{Recovered, recover};
use super::scanner::{Found, Scanner};
use super::verify::{VerifyError, VerifyReport, read_superblock, verify_file};
use super::{Progress, files};
use crate::format::checksum::{Trailer, trailer_bytes};
use crate::format::meta::Meta;
use crate::format::needle::{HEADER_BYTES, Kind, NeedleHeader};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::format::{FormatError, NeedleOffset};
use crate::index::Sealed;
use crate::storage::os::open_read_only;
use crate::storage::{File, read_exact_at};

/// A volume file that is only read.
pub struct OfflineVolume {
    file: Arc<dyn File>,
    superblock: Superblock,
    recovered: Recovered,
    file_bytes: u64,
    index_problem: Option<String>,
}

/// The newest record of a key: a live needle, or the tombstone of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// Where it stands.
    pub offset: NeedleOffset,
    /// Its header. Its kind is data or tombstone.
    pub header: NeedleHeader,
}

impl OfflineVolume {
    /// Opens the volume file at `path` with the index file that lies beside it, if there is one.
    pub fn open_path(path: &Path) -> Result<Self, VerifyError> {
        let file = open_read_only(path)?;
        let index = index_beside(path, &*file);
        Self::open(file, index.as_deref())
    }

    /// Verifies the volume file at `path`: see [`verify_file`].
    pub fn verify_path(path: &Path, progress: &Progress) -> Result<VerifyReport, VerifyError> {
        let file = open_read_only(path)?;
        verify_file(&*file, index_beside(path, &*file).as_deref(), progress)
    }

    /// Opens a volume file with its index file. An index file that does not fit is no help,
    /// and no damage: it is only a cache.
    pub fn open(file: Arc<dyn File>, index_file: Option<&dyn File>) -> Result<Self, VerifyError> {
        let superblock = read_superblock(&*file)?;
        Self::open_as(file, index_file, superblock)
    }

    /// The same for a file whose superblock is known from elsewhere.
    pub(super) fn open_as(
        file: Arc<dyn File>,
        index_file: Option<&dyn File>,
        superblock: Superblock,
    ) -> Result<Self, VerifyError> {
        let file_bytes = file.size_bytes()?;
        let (sealed, index_problem) =
            match index_file.map(|index| Sealed::open(index, &superblock, file_bytes)) {
                None => (Sealed::default(), Some("missing".to_owned())),
                Some(Err(problem)) => (Sealed::default(), Some(problem.to_string())),
                Some(Ok(sealed)) => (sealed, None),
            };
        let recovered = recover(&*file, superblock.salt(), sealed)?;
        Ok(Self { file, superblock, recovered, file_bytes, index_problem })
    }

    /// Who the file is.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The file.
    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Counts and digest of the live needles.
    pub fn totals(&self) -> Totals {
        self.recovered.totals
    }

    /// How long the file is.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes at the end that the next start would cut off.
    pub fn torn_bytes(&self) -> u64 {
        self.file_bytes.saturating_sub(self.recovered.end.bytes().max(SUPERBLOCK_BYTES as u64))
    }

    /// Records that the next start would take back: nobody was told of them.
    pub fn torn_records(&self) -> usize {
        self.recovered.aborts.len()
    }

    /// Acknowledged bytes, not covered by the index file, that cannot be read.
    pub fn damage(&self) -> &[Range<u64>] {
        &self.recovered.damage
    }

    /// Why the index file was of no use; `None` if it was.
    pub fn index_problem(&self) -> Option<&str> {
        self.index_problem.as_deref()
    }

    /// The newest records of all keys in the file's order, or what stands where none can be
    /// read. Only headers are checked.
    pub fn current<'a>(
        &'a self,
        progress: &'a Progress,
    ) -> impl Iterator<Item = Result<Result<Current, Range<u64>>, VerifyError>> + 'a {
        let range = SUPERBLOCK_BYTES as u64..self.recovered.end.bytes();
        progress.expect(range.end.saturating_sub(range.start));
        let scanner = Scanner::new(&*self.file, self.superblock.salt(), range);
        scanner.filter_map(move |found| {
            let found = match found {
                Ok(found) => found,
                Err(error) => return Some(Err(error.into())),
            };
            let (bytes, current) = match found {
                Found::Damage(range) => (range.end - range.start, Some(Err(range))),
                Found::Record { offset, header } => {
                    let current = self.is_current(offset, &header);
                    (header.record_bytes(), current.then_some(Ok(Current { offset, header })))
                }
            };
            if !progress.advance(bytes) {
                return Some(Err(VerifyError::Cancelled));
            }
            current.map(Ok)
        })
    }

    fn is_current(&self, offset: NeedleOffset, header: &NeedleHeader) -> bool {
        let entry = self.recovered.index.get(header.key);
        entry.is_some_and(|entry| match header.kind {
            Kind::Data => !entry.is_tombstone() && entry.offset == offset,
            Kind::Tombstone => entry.is_tombstone() && entry.offset == offset,
            Kind::Abort => false,
        })
    }

    /// What a record says of itself, and its data: every byte checked.
    pub fn read(&self, record: &Current) -> io::Result<Result<(Meta, Vec<u8>), FormatError>> {
        let Current { offset, header } = record;
        let len = usize::try_from(header.record_bytes()).unwrap_or(usize::MAX);
        let bytes = match read_exact_at(&*self.file, len, offset.bytes()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(FormatError::Short { what: "needle" }));
            }
            Err(error) => return Err(error),
        };
        let whole = || {
            let body = Body::parse(header, &bytes)?;
            body.verify()?;
            Ok((Meta::from_bytes(body.meta)?, body.data.to_vec()))
        };
        Ok(whole())
    }

    /// What a record says of itself, checked, without reading its data.
    pub fn meta(&self, record: &Current) -> io::Result<Result<Meta, FormatError>> {
        read_meta(&*self.file, record.offset, &record.header)
    }
}

/// The index file of a volume file, where it lies beside it as a store leaves it. One that
/// cannot be read is no loss.
fn index_beside(path: &Path, file: &dyn File) -> Option<Arc<dyn File>> {
    let superblock = read_superblock(file).ok()?;
    let name = files::index(superblock.volume, superblock.generation);
    open_read_only(&path.with_file_name(name)).ok()
}

/// What the record at `offset` says of itself, checked, without reading its data.
pub fn read_meta(
    file: &dyn File,
    offset: NeedleOffset,
    header: &NeedleHeader,
) -> io::Result<Result<Meta, FormatError>> {
    let start = offset.bytes() + HEADER_BYTES as u64 + u64::from(header.data_size);
    let len = u64::from(header.meta_size) + trailer_bytes(header.data_size);
    match read_exact_at(file, usize::try_from(len).unwrap_or(usize::MAX), start) {
        Ok(bytes) => Ok(parse_meta(header, &bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Err(FormatError::Short { what: "needle" }))
        }
        Err(error) => Err(error),
    }
}

fn parse_meta(header: &NeedleHeader, bytes: &[u8]) -> Result<Meta, FormatError> {
    let short = FormatError::Short { what: "needle" };
    let (meta, trailer) = bytes.split_at_checked(header.meta_size as usize).ok_or(short)?;
    let trailer = Trailer::from_bytes(trailer, header.data_size, header.body_crc)?;
    trailer.verify_meta(meta)?;
    Meta::from_bytes(meta)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::format::needle::BatchPlace;
    use crate::id::{Cookie, Key, VolumeId};
    use crate::storage::Disk;
    use crate::storage::memory::MemoryDisk;
    use crate::volume::record::{Place, Prepared};
    use crate::volume::{NewNeedle, Volume, VolumeOptions};

    /// Written by an independent program from the tables in the format modules: two versions
    /// of a name, the newer one of which was removed.
    const GOLDEN: &[u8] = include_bytes!("../../testdata/v1/removal.vol");
    const CLUSTER: Uuid = Uuid::from_u128(3);

    fn id() -> VolumeId {
        VolumeId::new(1).unwrap()
    }

    fn removed() -> Meta {
        let (bucket, name) = ("photos".to_owned(), "a/b.jpg".to_owned());
        Meta { bucket, name, version: 7, ..Meta::default() }
    }

    fn all(volume: &OfflineVolume) -> Vec<(Current, Meta)> {
        let progress = Progress::default();
        let current = volume.current(&progress).map(|found| found.unwrap().unwrap());
        current.map(|current| (current, volume.meta(&current).unwrap().unwrap())).collect()
    }

    fn offline(disk: &MemoryDisk) -> OfflineVolume {
        OfflineVolume::open(disk.open(&files::volume(id())).unwrap(), None).unwrap()
    }

    fn open(disk: &MemoryDisk) -> Volume {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = VolumeOptions { min_free_bytes: 0, ..VolumeOptions::default() };
        Volume::open(&disk, CLUSTER, id(), options).unwrap().0
    }

    #[test]
    fn yesterdays_removal_is_still_read_and_written() {
        let disk = MemoryDisk::new();
        disk.put(&files::volume(id()), GOLDEN.to_vec());
        let volume = offline(&disk);
        let [(older, meta), (tombstone, told)] = &all(&volume)[..] else { panic!("two records") };
        assert_eq!((older.header.key, meta.version), (Key::new(1), 5));
        assert_eq!(volume.read(older).unwrap().unwrap().1, b"older");
        assert_eq!((tombstone.header.kind, tombstone.header.key), (Kind::Tombstone, Key::new(2)));
        assert_eq!(told, &removed());
        let mut written = Vec::new();
        let NeedleHeader { key, cookie, appended_ns, synced_end, .. } = tombstone.header;
        let (offset, batch) = (tombstone.offset, BatchPlace::ALONE);
        let place = Place { offset, appended_ns, synced_end, batch };
        let record = Prepared::tombstone(key, cookie, &removed()).unwrap();
        record.encode(&mut written, volume.superblock().salt(), place);
        assert_eq!(written, GOLDEN[usize::try_from(offset.bytes()).unwrap()..]);
    }

    /// A volume with one live needle, one tombstone that tells of a removal, and one that
    /// does not.
    fn with_removal() -> (MemoryDisk, Volume) {
        let disk = MemoryDisk::new();
        Volume::create(&disk, CLUSTER, id()).unwrap();
        let volume = open(&disk);
        let (cookie, meta) = (Cookie::new(9), Meta::default());
        for key in [1, 2, 3].map(Key::new) {
            let data = b"data"[..].into();
            let needle = NewNeedle { key, cookie, meta: meta.clone(), data };
            volume.put(vec![needle]).unwrap().blocking_recv().unwrap().unwrap();
        }
        let delete = |key, removed: &Meta| {
            let answer = volume.delete_under(None, Key::new(key), cookie, removed).unwrap();
            assert!(answer.blocking_recv().unwrap().unwrap());
        };
        delete(2, &removed());
        delete(3, &meta);
        (disk, volume)
    }

    fn told(disk: &MemoryDisk) -> Vec<(Key, Meta)> {
        all(&offline(disk)).into_iter().map(|(current, meta)| (current.header.key, meta)).collect()
    }

    #[test]
    fn a_tombstone_tells_of_its_removal_through_restart_and_compaction() {
        let (disk, volume) = with_removal();
        let expected = [(1, Meta::default()), (2, removed()), (3, Meta::default())]
            .map(|(key, meta)| (Key::new(key), meta));
        assert_eq!(told(&disk), expected);
        volume.compact(&Progress::default()).unwrap();
        assert_eq!(told(&disk), expected);
        volume.close().unwrap();
        let volume = open(&disk);
        assert!(volume.verify(&Progress::default()).unwrap().damaged.is_empty());
        assert_eq!(told(&disk), expected);
        let again = volume.delete(Key::new(2), Cookie::new(9)).unwrap();
        assert!(!again.blocking_recv().unwrap().unwrap());
        assert_eq!(told(&disk), expected, "the first tombstone is the one that counts");
    }

    #[test]
    fn damage_in_a_tombstone_is_told_and_it_still_deletes() {
        let (disk, volume) = with_removal();
        volume.close().unwrap();
        let tombstone = all(&offline(&disk))[1].0;
        let at = tombstone.offset.bytes() + HEADER_BYTES as u64 + 5;
        let file = disk.open(&files::volume(id())).unwrap();
        let byte = read_exact_at(&*file, 1, at).unwrap()[0];
        file.write_at(&[byte ^ 1], at).unwrap();
        let volume = open(&disk);
        let [damaged] = &volume.verify(&Progress::default()).unwrap().damaged[..] else {
            panic!("one place is damaged")
        };
        assert_eq!((damaged.offset, damaged.key), (tombstone.offset.bytes(), None));
        volume.compact(&Progress::default()).unwrap();
        assert!(volume.open_needle(Key::new(2), Cookie::new(9)).is_err());
        assert!(volume.open_needle(Key::new(1), Cookie::new(9)).is_ok());
        let volume = offline(&disk);
        let progress = Progress::default();
        let metas = volume.current(&progress).map(|found| found.unwrap().unwrap());
        let readable = metas.filter(|current| volume.meta(current).unwrap().is_ok()).count();
        assert_eq!(readable, 2, "what it said is lost, and nothing else");
    }
}
