//! The tables of a name database entry by entry, as they are stored: for who moves them from
//! one engine to another.
//!
//! Values are the same bytes in every engine. A key here is the bytes that the embedded engine
//! sorts by, and every engine tells its entries in that order, so two of them can be compared
//! in one walk over both.

use super::{Answer, NamesError, keys, row};

/// The most entries that one page holds, and that are written together.
pub(crate) const PAGE_ENTRIES: usize = 1_000;
/// A page takes no more entries once it has this many bytes.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Names.
    Rows,
    /// Needles that wait to be deleted.
    Garbage,
    /// Buckets that take no puts.
    ClosedBuckets,
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// An entry as it is to be; without a value it is to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// The tables of an engine, past its rules.
pub(crate) trait RawNames: Send + Sync {
    /// The tables that it keeps on disk.
    fn tables(&self) -> &'static [Table];

    /// The entries that come after a key, in the order of their keys; none at the end.
    fn page(&self, table: Table, after: Option<Vec<u8>>) -> Answer<'_, Vec<Entry>>;

    /// Makes edits, in any order.
    fn write(&self, table: Table, edits: Vec<Edit>) -> Answer<'_, ()>;

    /// The highest version ever put or removed.
    fn last_version(&self) -> Answer<'_, u64>;

    /// Makes sure that versions given out from now on, and those of puts that are still on
    /// their way, are above this one.
    fn raise_version(&self, version: u64) -> Answer<'_, ()>;

    /// Makes all that was written durable.
    fn sync(&self) -> Answer<'_, ()>;
}

impl Table {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Rows, Self::Garbage, Self::ClosedBuckets];

    /// What it holds, in words.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Rows => "names",
            Self::Garbage => "needles queued for deletion",
            Self::ClosedBuckets => "closed buckets",
        }
    }

    /// Whether an entry is what it should be.
    pub(crate) fn check(self, entry: &Entry) -> Result<(), NamesError> {
        match self {
            Self::Rows => {
                keys::parse_row(&entry.key)?;
                row::decode(&entry.value).map(drop)
            }
            Self::Garbage => {
                keys::parse_garbage(&entry.key)?;
                row::decode_garbage(&entry.value).map(drop)
            }
            Self::ClosedBuckets => Ok(()),
        }
    }
}
