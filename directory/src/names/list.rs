//! Listing by prefix and delimiter, over anything that yields names in order.

use super::cursor::{Cursor, successor};
use super::{ListPage, ListQuery, MAX_LIST_LIMIT, NamesError, row};
use crate::ObjectName;

/// A page ends early when its rows take this many bytes in the database, so that
/// objects of very many needles do not fill the memory.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// A bucket's names in byte order, as one unchanging snapshot.
pub(super) trait Scan {
    /// An entry on which the name is looked at before the row is.
    type Entry: AsRef<[u8]>;
    /// The encoded row.
    type Value: AsRef<[u8]>;

    /// The entries with `from <= name`, and `name < to` if given.
    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(Self::Entry, Self::Value), NamesError>>;
}

/// Collects one page.
pub(super) fn list(names: &impl Scan, query: &ListQuery) -> Result<ListPage, NamesError> {
    let mut listing = Listing::new(query)?;
    // Each round lists up to the next common prefix and then seeks past it, however
    // many names it covers.
    while let Some((from, to)) = listing.range() {
        if !fill(&mut listing, names.scan(&from, to.as_deref()))? {
            break;
        }
    }
    Ok(listing.finish())
}

/// Whether there is another range to scan.
fn fill<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    listing: &mut Listing<'_>,
    entries: impl Iterator<Item = Result<(N, V), NamesError>>,
) -> Result<bool, NamesError> {
    for entry in entries {
        let (name, value) = entry?;
        match listing.push(name.as_ref(), value.as_ref())? {
            Step::Next => {}
            Step::Seek => return Ok(true),
            Step::Full => return Ok(false),
        }
    }
    Ok(false)
}

/// What to do after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Push the next one.
    Next,
    /// Go on with the [range](Listing::range) as it is now: a common prefix is skipped.
    Seek,
    /// The page is full.
    Full,
}

/// A page on its way: it says which entries it needs, and is given them in order.
pub(super) struct Listing<'a> {
    query: &'a ListQuery,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    page: ListPage,
    bytes: usize,
    last: Option<Cursor>,
}

impl<'a> Listing<'a> {
    pub(super) fn new(query: &'a ListQuery) -> Result<Self, NamesError> {
        if !(1..=MAX_LIST_LIMIT).contains(&query.limit) {
            return Err(NamesError::BadQuery("the limit must be from 1 to 1000"));
        }
        if query.delimiter.as_ref().is_some_and(String::is_empty) {
            return Err(NamesError::BadQuery("the delimiter must not be empty"));
        }
        let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
        let resume = cursor.as_ref().map(Cursor::start).unwrap_or_default();
        let from = resume.max(query.prefix.as_bytes().to_vec());
        let to = successor(query.prefix.as_bytes());
        Ok(Self { query, from, to, page: ListPage::default(), bytes: 0, last: None })
    }

    /// The names that come next: `from <= name`, and `name < to` if given. `None` at the end.
    pub(super) fn range(&self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let from = self.last.as_ref().map_or_else(|| self.from.clone(), Cursor::start);
        let is_open = self.to.as_ref().is_none_or(|to| from < *to);
        is_open.then(|| (from, self.to.clone()))
    }

    /// Takes the next entry of the range.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) -> Result<Step, NamesError> {
        if self.is_full() {
            self.page.cursor = self.last.as_ref().map(Cursor::encode);
            return Ok(Step::Full);
        }
        let name = decode_name(name)?;
        if let Some(prefix) = common_prefix(self.query, name.as_str()) {
            self.page.prefixes.push(prefix.to_owned());
            self.last = Some(Cursor::Prefix(prefix.to_owned()));
            return Ok(Step::Seek);
        }
        self.bytes += value.len();
        self.last = Some(Cursor::Name(name.as_str().to_owned()));
        self.page.objects.push((name, row::decode(value)?));
        Ok(Step::Next)
    }

    pub(super) fn finish(self) -> ListPage {
        self.page
    }

    fn is_full(&self) -> bool {
        let entries = self.page.objects.len() + self.page.prefixes.len();
        entries >= self.query.limit || self.bytes >= MAX_PAGE_BYTES
    }
}

/// The part of the name up to and with the first delimiter after the prefix.
fn common_prefix<'a>(query: &ListQuery, name: &'a str) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref()?;
    let rest = name.get(query.prefix.len()..)?;
    let end = query.prefix.len() + rest.find(delimiter)? + delimiter.len();
    name.get(..end)
}

fn decode_name(bytes: &[u8]) -> Result<ObjectName, NamesError> {
    let text = str::from_utf8(bytes).ok();
    let name = text.and_then(|text| text.parse().ok());
    name.ok_or_else(|| NamesError::Corrupt("a name is no object name".to_owned()))
}

#[cfg(test)]
mod tests;
