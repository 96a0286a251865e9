use std::cell::RefCell;

use super::*;
use crate::Condition;
use crate::names::conformance::{self, bucket, name, needle, put, queued, remove, row};

fn open(folder: &tempfile::TempDir) -> FjallNames {
    FjallNames::open(folder.path(), &FjallConfig::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_conforms() {
    let folders = RefCell::new(Vec::new());
    let new = async || {
        let folder = tempfile::tempdir().unwrap();
        let names = open(&folder);
        folders.borrow_mut().push(folder);
        names
    };
    let reopen = async |names| {
        drop(names);
        open(folders.borrow().last().unwrap())
    };
    conformance::run(new, reopen).await;
}

#[tokio::test]
async fn all_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    {
        let names = open(&folder);
        names.put(put("a", row(1), Condition::None)).await.unwrap();
        names.put(put("a", row(2), Condition::None)).await.unwrap();
        names.put(put("b", row(3), Condition::None)).await.unwrap();
        names.remove(remove("b", 4, Condition::None)).await.unwrap();
    }
    let names = open(&folder);
    assert_eq!(names.get(&bucket(), &name("a")).await.unwrap(), Some(row(2)));
    assert_eq!(names.get(&bucket(), &name("b")).await.unwrap(), None);
    assert_eq!(queued(&names).await, [1, 3]);
    assert_eq!(names.last_version().await.unwrap(), 4);
}

#[tokio::test]
async fn a_second_opening_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(&folder);
    let second = FjallNames::open(folder.path(), &FjallConfig::default());
    assert_eq!(second.err(), Some(NamesError::Locked));
}

#[tokio::test]
async fn dropping_lets_the_writer_finish() {
    let folder = tempfile::tempdir().unwrap();
    {
        let names = open(&folder);
        for version in 1..=500 {
            drop(names.put(put(&format!("{version}"), row(version), Condition::None)));
        }
    }
    assert_eq!(open(&folder).last_version().await.unwrap(), 500);
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let config = FjallConfig { queue_bytes: 600, ..FjallConfig::default() };
    let names = FjallNames::open(folder.path(), &config).unwrap();
    let large = Row { content_type: "x".repeat(500).into(), ..row(1) };
    assert_eq!(names.put(put("a", large, Condition::None)).await, Err(NamesError::Busy));
    names.put(put("a", row(1), Condition::None)).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_takes_removals_only() {
    let folder = tempfile::tempdir().unwrap();
    {
        open(&folder).put(put("a", row(1), Condition::None)).await.unwrap();
    }
    let config = FjallConfig { min_free_bytes: u64::MAX, ..FjallConfig::default() };
    let names = FjallNames::open(folder.path(), &config).unwrap();
    let refused = names.put(put("b", row(2), Condition::None)).await;
    assert_eq!(refused, Err(NamesError::DiskFull));
    assert_eq!(names.remove(remove("a", 3, Condition::None)).await.unwrap(), Some(row(1)));
    let discard =
        Discard { bucket: bucket(), name: name("b"), needles: vec![needle(1, 2)], due_ms: 100 };
    assert_eq!(names.discard(discard).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_row_is_told_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    {
        let tables = Tables::open(folder.path(), &FjallConfig::default()).unwrap();
        tables.rows.insert(keys::row(&bucket(), &name("a")), [1, 0xFF]).unwrap();
        tables.rows.insert(keys::row(&bucket(), &name("b")), [9]).unwrap();
    }
    let names = open(&folder);
    let damaged = |error| matches!(error, Some(NamesError::Corrupt(_)));
    assert!(damaged(names.get(&bucket(), &name("a")).await.err()));
    assert!(damaged(names.put(put("a", row(1), Condition::None)).await.err()));
    assert!(damaged(names.remove(remove("a", 2, Condition::None)).await.err()));
    let newer = names.get(&bucket(), &name("b")).await;
    assert_eq!(newer, Err(NamesError::NewerFormat { found: 9, supported: 1 }));
    names.put(put("c", row(1), Condition::None)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_asked_for_at_once_are_read_together_and_each_gets_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let config = FjallConfig { recent_bytes: 0, max_reads: 2, ..FjallConfig::default() };
    let names = FjallNames::open(folder.path(), &config).unwrap();
    for version in 1..=100 {
        names.put(put(&version.to_string(), row(version), Condition::None)).await.unwrap();
    }
    for _ in 0..50 {
        let lookups = (1..=200).map(async |version| {
            let found = names.get(&bucket(), &name(&version.to_string())).await.unwrap();
            assert_eq!(found, (version <= 100).then(|| row(version)));
        });
        // Those who stop waiting keep nobody from an answer.
        let gone = (1..=200).map(|version| {
            let names = &names;
            async move { drop(names.get(&bucket(), &name(&version.to_string())).now_or_never()) }
        });
        tokio::join!(future::join_all(gone), future::join_all(lookups));
    }
}
