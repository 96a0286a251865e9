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
    if !(1..=MAX_LIST_LIMIT).contains(&query.limit) {
        return Err(NamesError::BadQuery("the limit must be from 1 to 1000"));
    }
    if query.delimiter.as_ref().is_some_and(String::is_empty) {
        return Err(NamesError::BadQuery("the delimiter must not be empty"));
    }
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let resume = cursor.as_ref().map(Cursor::start).unwrap_or_default();
    let mut from = resume.max(query.prefix.as_bytes().to_vec());
    let to = successor(query.prefix.as_bytes());
    let mut page = PageBuilder::new(query);
    // Each round lists up to the next common prefix and then seeks past it, however
    // many names it covers.
    while to.as_ref().is_none_or(|to| from < *to) {
        match page.fill(names.scan(&from, to.as_deref()))? {
            Round::SkipTo(next) => from = next,
            Round::Done => break,
        }
    }
    Ok(page.page)
}

enum Round {
    /// A common prefix was met; go on here.
    SkipTo(Vec<u8>),
    /// The page is full or the names are at an end.
    Done,
}

struct PageBuilder<'a> {
    query: &'a ListQuery,
    page: ListPage,
    bytes: usize,
    last: Option<Cursor>,
}

impl<'a> PageBuilder<'a> {
    fn new(query: &'a ListQuery) -> Self {
        Self { query, page: ListPage::default(), bytes: 0, last: None }
    }

    fn fill<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: impl Iterator<Item = Result<(N, V), NamesError>>,
    ) -> Result<Round, NamesError> {
        for entry in entries {
            let (name, value) = entry?;
            if self.is_full() {
                self.page.cursor = self.last.as_ref().map(Cursor::encode);
                return Ok(Round::Done);
            }
            let name = decode_name(name.as_ref())?;
            if let Some(prefix) = common_prefix(self.query, name.as_str()) {
                let cursor = Cursor::Prefix(prefix.to_owned());
                let next = cursor.start();
                self.page.prefixes.push(prefix.to_owned());
                self.last = Some(cursor);
                return Ok(Round::SkipTo(next));
            }
            self.bytes += value.as_ref().len();
            self.last = Some(Cursor::Name(name.as_str().to_owned()));
            self.page.objects.push((name, row::decode(value.as_ref())?));
        }
        Ok(Round::Done)
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
