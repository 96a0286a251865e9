//! One walk over a table, or over two side by side.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;

use crate::names::NamesError;
use crate::names::raw::{Edit, Entry, PAGE_BYTES, PAGE_ENTRIES, RawNames, Table};

/// What tells a target from its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Entries that are the same.
    pub same: u64,
    /// Entries that the target lacks.
    pub missing: u64,
    /// Entries that are another in the target.
    pub changed: u64,
    /// Entries that the target has and the source does not.
    pub surplus: u64,
}

/// What a table holds, in short. Two tables with one sum hold the same entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many entries there are.
    pub entries: u64,
    /// The sum of the hashes of all entries, whatever their order. It is compared within one
    /// process only: another version may hash otherwise.
    pub checksum: u64,
}

/// Finds what tells the target from the source, and makes it like the source if `apply`.
pub(super) async fn align(
    from: &dyn RawNames,
    to: Option<&dyn RawNames>,
    table: Table,
    apply: bool,
    step: &mut impl FnMut(u64),
) -> Result<Difference, NamesError> {
    let mut source = Cursor::new(Some(from), table);
    let mut target = Cursor::new(to, table);
    let mut edits = Edits { to: to.filter(|_| apply), table, waiting: Vec::new(), bytes: 0 };
    let mut difference = Difference::default();
    loop {
        let order = match (source.peek().await?, target.peek().await?) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(wanted), Some(there)) => wanted.key.cmp(&there.key),
        };
        let there = if order == Ordering::Less { None } else { target.take() };
        if order == Ordering::Greater {
            difference.surplus += 1;
            if let Some(Entry { key, .. }) = there {
                edits.make(Edit { key, value: None }).await?;
            }
            continue;
        }
        let Some(wanted) = source.take() else { break };
        table.check(&wanted)?;
        step(size(&wanted));
        match there {
            Some(there) if there.value == wanted.value => {
                difference.same += 1;
                continue;
            }
            Some(_) => difference.changed += 1,
            None => difference.missing += 1,
        }
        edits.make(Edit { key: wanted.key, value: Some(wanted.value) }).await?;
    }
    edits.flush().await?;
    Ok(difference)
}

/// Sums a table up.
pub(super) async fn sum(
    names: &dyn RawNames,
    table: Table,
    step: &mut impl FnMut(u64),
) -> Result<Sum, NamesError> {
    let mut cursor = Cursor::new(Some(names), table);
    let mut sum = Sum::default();
    while let Some(entry) = cursor.next().await? {
        step(size(&entry));
        let mut hasher = DefaultHasher::new();
        (entry.key, entry.value).hash(&mut hasher);
        sum.entries += 1;
        sum.checksum = sum.checksum.wrapping_add(hasher.finish());
    }
    Ok(sum)
}

fn size(entry: &Entry) -> u64 {
    u64::try_from(entry.key.len() + entry.value.len()).unwrap_or(u64::MAX)
}

/// Where in a table one is.
struct Cursor<'a> {
    names: Option<&'a dyn RawNames>,
    table: Table,
    page: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
    /// The last key that was read.
    last: Option<Vec<u8>>,
}

impl<'a> Cursor<'a> {
    fn new(names: Option<&'a dyn RawNames>, table: Table) -> Self {
        Self { names, table, page: Vec::new().into_iter(), next: None, last: None }
    }

    async fn peek(&mut self) -> Result<Option<&Entry>, NamesError> {
        if self.next.is_none() {
            self.next = self.read().await?;
        }
        Ok(self.next.as_ref())
    }

    fn take(&mut self) -> Option<Entry> {
        self.next.take()
    }

    async fn next(&mut self) -> Result<Option<Entry>, NamesError> {
        self.peek().await?;
        Ok(self.take())
    }

    async fn read(&mut self) -> Result<Option<Entry>, NamesError> {
        if let Some(entry) = self.page.next() {
            return Ok(Some(entry));
        }
        let Some(names) = self.names else { return Ok(None) };
        let page = names.page(self.table, self.last.clone()).await?;
        for entry in &page {
            if self.last.as_ref() >= Some(&entry.key) {
                // Two walks side by side rest on the order.
                return Err(NamesError::Corrupt("the keys of a table do not ascend".to_owned()));
            }
            self.last = Some(entry.key.clone());
        }
        self.page = page.into_iter();
        if self.page.len() == 0 {
            self.names = None;
        }
        Ok(self.page.next())
    }
}

/// Edits that are written together.
struct Edits<'a> {
    to: Option<&'a dyn RawNames>,
    table: Table,
    waiting: Vec<Edit>,
    bytes: usize,
}

impl Edits<'_> {
    async fn make(&mut self, edit: Edit) -> Result<(), NamesError> {
        if self.to.is_none() {
            return Ok(());
        }
        self.bytes += edit.key.len() + edit.value.as_ref().map_or(0, Vec::len);
        self.waiting.push(edit);
        if self.waiting.len() >= PAGE_ENTRIES || self.bytes >= PAGE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), NamesError> {
        self.bytes = 0;
        let edits = std::mem::take(&mut self.waiting);
        match self.to {
            Some(to) if !edits.is_empty() => to.write(self.table, edits).await,
            _ => Ok(()),
        }
    }
}
