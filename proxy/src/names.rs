//! Names as they were last seen, for when no directory answers.
//!
//! As long as one answers it is asked each time, so that what is overwritten or removed is so at
//! once, whoever did it. Only when none can say is a row served that this proxy saw a while ago:
//! it may be an old one, and its needles may be gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hayrick_directory::{BucketName, DirectoryError, ObjectName, Row};
use metrics::counter;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Proxy;

/// What an entry takes beside its texts and its row: the key, and the cache's own tables.
const ENTRY_BYTES: u64 = 200;

/// A row, and how it came here.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The row.
    pub(crate) row: Arc<Row>,
    /// Not asked for just now, as no directory answers.
    pub(crate) from_memory: bool,
}

/// Names and their rows, the least used of which are forgotten.
pub(crate) struct SeenNames {
    rows: Cache<Name, Seen, Bytes>,
    max_age: Duration,
}

type Name = (BucketName, ObjectName);

#[derive(Clone)]
struct Seen {
    row: Arc<Row>,
    at: Instant,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Name, Seen> for Bytes {
    fn weight(&self, (bucket, name): &Name, seen: &Seen) -> u64 {
        let texts = bucket.as_str().len() + name.as_str().len();
        ENTRY_BYTES + texts as u64 + seen.row.memory_bytes()
    }
}

impl SeenNames {
    /// Remembers names in `memory_bytes`, for `max_age` after they were seen.
    pub(crate) fn new(memory_bytes: u64, max_age: Duration) -> Self {
        let items = usize::try_from(memory_bytes / ENTRY_BYTES).unwrap_or(usize::MAX);
        Self { rows: Cache::with_weighter(items, memory_bytes, Bytes), max_age }
    }

    /// The name has this row now, or had a moment ago.
    pub(crate) fn saw(&self, bucket: &BucketName, name: &ObjectName, row: &Arc<Row>) {
        let key = (bucket.clone(), name.clone());
        // Of two that were under way at the same time, the older may be the last to tell.
        if self.rows.peek(&key).is_some_and(|seen| seen.row.version > row.version) {
            return;
        }
        self.rows.insert(key, Seen { row: Arc::clone(row), at: Instant::now() });
    }

    /// The name has no row.
    pub(crate) fn forget(&self, bucket: &BucketName, name: &ObjectName) {
        self.rows.remove(&(bucket.clone(), name.clone()));
    }

    fn recall(&self, bucket: &BucketName, name: &ObjectName) -> Option<Arc<Row>> {
        let seen = self.rows.get(&(bucket.clone(), name.clone()))?;
        (seen.at.elapsed() <= self.max_age).then_some(seen.row)
    }
}

impl Proxy {
    /// The row of a name, from a directory if one answers.
    pub(crate) async fn look_up(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
    ) -> Result<Option<Found>, DirectoryError> {
        match self.directory.lookup(bucket, name).await {
            Ok(Some(row)) => {
                let row = Arc::new(row);
                self.names.saw(bucket, name, &row);
                Ok(Some(Found { row, from_memory: false }))
            }
            Ok(None) => {
                self.names.forget(bucket, name);
                Ok(None)
            }
            Err(error) if is_away(&error) => self.recall(bucket, name).map(Some).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// The row that a name had when it was last seen.
    pub(crate) fn recall(&self, bucket: &BucketName, name: &ObjectName) -> Option<Found> {
        let row = self.names.recall(bucket, name)?;
        counter!("hayrick_proxy_names_from_memory_total").increment(1);
        Some(Found { row, from_memory: true })
    }
}

/// Whether no directory could say, as against one that did.
pub(crate) fn is_away(error: &DirectoryError) -> bool {
    matches!(error, DirectoryError::Unavailable(_) | DirectoryError::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (BucketName, ObjectName) {
        ("photos".parse().unwrap(), "cats/tom.jpg".parse().unwrap())
    }

    fn row(version: u64) -> Arc<Row> {
        Arc::new(Row { version, ..Row::default() })
    }

    fn version(seen: &SeenNames) -> Option<u64> {
        let (bucket, name) = names();
        seen.recall(&bucket, &name).map(|row| row.version)
    }

    #[test]
    fn the_newest_row_is_remembered_until_the_name_has_none() {
        let ((bucket, name), seen) = (names(), SeenNames::new(1 << 20, Duration::from_hours(1)));
        assert_eq!(version(&seen), None);
        for seen_version in [1, 3, 2] {
            seen.saw(&bucket, &name, &row(seen_version));
        }
        assert_eq!(version(&seen), Some(3));
        seen.forget(&bucket, &name);
        assert_eq!(version(&seen), None);
    }

    #[test]
    fn what_was_seen_too_long_ago_is_not_believed() {
        let ((bucket, name), seen) = (names(), SeenNames::new(1 << 20, Duration::ZERO));
        seen.saw(&bucket, &name, &row(1));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(version(&seen), None);
    }

    #[test]
    fn memory_is_bounded_and_may_be_none() {
        let (bucket, row) = (names().0, row(1));
        for memory_bytes in [0, 256 << 10] {
            let seen = SeenNames::new(memory_bytes, Duration::from_hours(1));
            for number in 0..10_000 {
                seen.saw(&bucket, &format!("n{number}").parse().unwrap(), &row);
            }
            assert!(seen.rows.weight() <= memory_bytes, "{}", seen.rows.weight());
            assert_eq!(seen.rows.is_empty(), memory_bytes == 0);
        }
    }
}
