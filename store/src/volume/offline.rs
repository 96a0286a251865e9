//! A volume file that no store has open, understood as the next start would understand it.
//! Nothing is changed: what a start would cut off or take back is passed over.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::digest::Totals;
use super::recovery::{Recovered, recover};
use super::scanner::{Found, Scanner};
use super::verify::{VerifyError, read_superblock};
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
        let superblock = read_superblock(&*file)?;
        let name = files::index(superblock.volume, superblock.generation);
        let index = match open_read_only(&path.with_file_name(name)) {
            Ok(index) => Some(index),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Self::open(file, index.as_deref())
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

    /// What a record says of itself, checked, without reading its data.
    pub fn meta(&self, record: &Current) -> io::Result<Result<Meta, FormatError>> {
        read_meta(&*self.file, record.offset, &record.header)
    }
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
