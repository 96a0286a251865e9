//! What every engine of the name database must do, told as tests over the trait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hayrick_store::{Cookie, Key, NeedleId, VolumeId};

use super::{
    Committed, Condition, Discard, Garbage, ListQuery, Names, NamesError, NeedleRef, Put, Removal,
    Remove, Row,
};
use crate::{BucketName, ObjectName, SystemClock, WallClock as _};

/// Runs all of them, each on an empty database. `reopen` closes one and opens it again.
pub(super) async fn run<N: Names>(open: impl AsyncFn() -> N, reopen: impl AsyncFn(N) -> N) {
    a_row_is_set_replaced_and_removed(&open().await).await;
    conditions_are_checked(&open().await).await;
    an_older_version_never_replaces_a_newer(&open().await).await;
    what_a_removal_leaves_tells_of_it(&open().await).await;
    a_put_from_before_a_removal_takes_a_higher_version(&open().await).await;
    a_removal_is_known_after_a_restart(open().await, &reopen).await;
    a_put_may_be_repeated(&open().await).await;
    a_kept_needle_is_not_queued(&open().await).await;
    discarding_spares_what_is_in_use(&open().await).await;
    garbage_is_due_in_order_and_settled(&open().await).await;
    needles_that_are_due_at_once_come_in_the_order_of_their_keys(&open().await).await;
    the_database_tells_the_time(&open().await).await;
    a_closed_bucket_takes_no_puts(&open().await).await;
    a_row_too_large_is_refused(&open().await).await;
    one_of_many_creates(open().await).await;
    listings_agree_with_a_model(&open().await).await;
    a_page_takes_many_names_between_common_prefixes(&open().await).await;
}

pub(crate) fn bucket() -> BucketName {
    "photos".parse().unwrap()
}

pub(crate) fn name(name: &str) -> ObjectName {
    name.parse().unwrap()
}

pub(crate) fn needle(volume: u32, key: u64) -> NeedleId {
    NeedleId { volume: VolumeId::new(volume).unwrap(), key: Key::new(key), cookie: Cookie::new(9) }
}

/// A row of one needle, whose key is the version.
pub(crate) fn row(version: u64) -> Row {
    let needles = [NeedleRef { id: needle(1, version), size_bytes: 3 }].into();
    Row { version, size_bytes: 3, needles, ..Row::default() }
}

pub(crate) fn put(object: &str, row: Row, condition: Condition) -> Put {
    Put { bucket: bucket(), name: name(object), row, condition, due_ms: 100 }
}

pub(crate) fn remove(object: &str, version: u64, condition: Condition) -> Remove {
    Remove { bucket: bucket(), name: name(object), condition, version, due_ms: 100 }
}

/// The keys queued in volume 1, due or not.
pub(super) async fn queued(names: &impl Names) -> Vec<u64> {
    let due = names.due_in(VolumeId::new(1).unwrap(), 0..=u64::MAX, 1_000).await.unwrap();
    assert_eq!(names.garbage_len().await.unwrap(), due.len() as u64);
    due.iter().map(|garbage| garbage.id.key.get()).collect()
}

async fn a_row_is_set_replaced_and_removed(names: &impl Names) {
    assert_eq!(names.get(&bucket(), &name("a")).await.unwrap(), None);
    let created = names.put(put("a", row(1), Condition::None)).await.unwrap();
    assert_eq!(created, Committed::Created);
    assert_eq!(names.get(&bucket(), &name("a")).await.unwrap(), Some(row(1)));
    assert_eq!(names.get(&"other".parse().unwrap(), &name("a")).await.unwrap(), None);
    let replaced = names.put(put("a", row(2), Condition::None)).await.unwrap();
    assert_eq!(replaced, Committed::Replaced(row(1)));
    assert_eq!(queued(names).await, [1]);
    let removed = names.remove(remove("a", 3, Condition::None)).await.unwrap();
    assert_eq!(removed, Some(row(2)));
    assert_eq!(names.remove(remove("a", 4, Condition::None)).await.unwrap(), None);
    assert_eq!(names.get(&bucket(), &name("a")).await.unwrap(), None);
    assert_eq!(queued(names).await, [1, 2]);
    assert_eq!(names.last_version().await.unwrap(), 3);
}

async fn conditions_are_checked(names: &impl Names) {
    let failed = |current| Err(NamesError::ConditionFailed { current });
    let any_of = |versions: &[u64]| Condition::IfMatch(versions.to_vec());
    assert_eq!(names.put(put("a", row(1), Condition::IfPresent)).await, failed(None));
    assert_eq!(names.put(put("a", row(1), any_of(&[1]))).await, failed(None));
    names.put(put("a", row(1), Condition::IfAbsent)).await.unwrap();
    assert_eq!(names.put(put("a", row(2), Condition::IfAbsent)).await, failed(Some(1)));
    assert_eq!(names.put(put("a", row(2), any_of(&[7, 8]))).await, failed(Some(1)));
    names.put(put("a", row(2), any_of(&[7, 1]))).await.unwrap();
    names.put(put("a", row(3), Condition::IfPresent)).await.unwrap();
    let stale = names.remove(remove("a", 4, any_of(&[2]))).await;
    assert_eq!(stale, Err(NamesError::ConditionFailed { current: Some(3) }));
    let late = names.remove(remove("a", 4, Condition::UpTo(2))).await;
    assert_eq!(late, Err(NamesError::ConditionFailed { current: Some(3) }));
    names.remove(remove("a", 4, Condition::UpTo(3))).await.unwrap();
    assert_eq!(names.remove(remove("a", 4, Condition::UpTo(3))).await, Ok(None));
    assert_eq!(queued(names).await, [1, 2, 3]);
}

async fn an_older_version_never_replaces_a_newer(names: &impl Names) {
    names.put(put("a", row(5), Condition::None)).await.unwrap();
    // Whoever put version 5 may have been told so before this one began.
    let stale = Err(NamesError::StaleVersion { current: 5 });
    assert_eq!(names.put(put("a", row(4), Condition::None)).await, stale);
    assert_eq!(names.get(&bucket(), &name("a")).await.unwrap(), Some(row(5)));
    assert_eq!(names.put(put("a", row(3), Condition::IfPresent)).await, stale);
    let twin = Row { content_type: "other".into(), ..row(5) };
    assert_eq!(names.put(put("a", twin, Condition::None)).await, stale);
    assert_eq!(queued(names).await, [0; 0], "they may be put again, with a higher version");
}

async fn what_a_removal_leaves_tells_of_it(names: &impl Names) {
    names.put(put("a", row(7), Condition::None)).await.unwrap();
    names.remove(remove("a", 5, Condition::None)).await.unwrap();
    names.put(put("b", row(8), Condition::None)).await.unwrap();
    names.remove(remove("b", 9, Condition::None)).await.unwrap();
    let due = names.due_in(VolumeId::new(1).unwrap(), 0..=u64::MAX, 10).await.unwrap();
    let told: Vec<_> = due.iter().map(|garbage| garbage.removal.as_deref().cloned()).collect();
    let removal = |text, version| Removal { bucket: bucket(), name: name(text), version };
    // The row that was there when the removal came to pass is hidden whatever its version.
    assert_eq!(told, [Some(removal("a", 7)), Some(removal("b", 9))]);
}

async fn a_put_from_before_a_removal_takes_a_higher_version(names: &impl Names) {
    names.put(put("a", row(5), Condition::None)).await.unwrap();
    names.remove(remove("a", 6, Condition::None)).await.unwrap();
    let stale = Err(NamesError::StaleVersion { current: 6 });
    assert_eq!(names.put(put("a", row(4), Condition::None)).await, stale);
    assert_eq!(names.put(put("a", row(6), Condition::None)).await, stale);
    names.put(put("a", row(7), Condition::None)).await.unwrap();
}

/// Else the put would get a row that the removal's tombstones hide, should the names be lost.
async fn a_removal_is_known_after_a_restart<N: Names>(names: N, reopen: impl AsyncFn(N) -> N) {
    names.put(put("a", row(5), Condition::None)).await.unwrap();
    names.put(put("b", row(3), Condition::None)).await.unwrap();
    names.remove(remove("a", 6, Condition::None)).await.unwrap();
    let names = reopen(names).await;
    assert_eq!(names.last_version().await.unwrap(), 6);
    for late in [row(4), row(6)] {
        let late = names.put(put("a", late, Condition::None)).await;
        assert_eq!(late, Err(NamesError::StaleVersion { current: 6 }));
    }
    let again = names.put(put("b", row(3), Condition::None)).await.unwrap();
    assert_eq!(again, Committed::Unchanged, "what was made before may be repeated");
    names.put(put("a", row(7), Condition::None)).await.unwrap();
}

async fn a_put_may_be_repeated(names: &impl Names) {
    names.put(put("a", row(1), Condition::IfAbsent)).await.unwrap();
    let again = names.put(put("a", row(1), Condition::IfAbsent)).await.unwrap();
    assert_eq!(again, Committed::Unchanged);
    assert_eq!(queued(names).await, [0; 0]);
}

async fn a_kept_needle_is_not_queued(names: &impl Names) {
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    let described = Row { version: 2, content_type: "image/png".into(), ..row(1) };
    names.put(put("a", described, Condition::None)).await.unwrap();
    assert_eq!(queued(names).await, [0; 0]);
}

async fn discarding_spares_what_is_in_use(names: &impl Names) {
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    let needles = vec![needle(1, 1), needle(1, 2), needle(1, 2)];
    let discard = Discard { bucket: bucket(), name: name("a"), needles, due_ms: 100 };
    names.discard(discard.clone()).await.unwrap();
    assert_eq!(queued(names).await, [2]);
    names.discard(discard).await.unwrap();
    assert_eq!(queued(names).await, [2], "queued once");
}

async fn garbage_is_due_in_order_and_settled(names: &impl Names) {
    for (due_ms, volume, key) in [(30, 1, 1), (10, 1, 2), (20, 1, 3), (10, 7, 4), (99, 9, 5)] {
        let needles = vec![needle(volume, key)];
        let discard = Discard { bucket: bucket(), name: name("a"), needles, due_ms };
        assert_eq!(names.discard(discard).await.unwrap().len(), 1);
    }
    let volume = VolumeId::new(1).unwrap();
    let queues = names.garbage_queues().await.unwrap();
    let queues = queues.iter().map(|q| (q.volume.get(), q.first_due_ms, q.last_due_ms));
    assert_eq!(queues.collect::<Vec<_>>(), [(1, 10, 30), (7, 10, 10), (9, 99, 99)]);
    let due = names.due_in(volume, 0..=20, 10).await.unwrap();
    let expected = [(needle(1, 2), 10), (needle(1, 3), 20)].map(|(id, due_ms)| Garbage {
        id,
        due_ms,
        removal: None,
    });
    assert_eq!(due, expected);
    assert_eq!(names.due_in(volume, 0..=99, 1).await.unwrap(), expected[..1]);
    assert_eq!(names.due_in(volume, 11..=29, 9).await.unwrap(), expected[1..]);
    assert_eq!(names.due_in(volume, 31..=u64::MAX, 9).await.unwrap(), []);
    names.settle(due.clone()).await.unwrap();
    names.settle(due).await.unwrap();
    assert_eq!(names.due_in(volume, 0..=99, 9).await.unwrap().len(), 1);
    assert_eq!(names.garbage_len().await.unwrap(), 3);
}

async fn needles_that_are_due_at_once_come_in_the_order_of_their_keys(names: &impl Names) {
    let keys = [5, 1 << 63, 3, u64::MAX, 1, i64::MAX.cast_unsigned()];
    for (due_ms, more) in [(10, &[7, u64::MAX - 7][..]), (20, &keys[..])] {
        let needles = more.iter().map(|&key| needle(1, key)).collect();
        let discard = Discard { bucket: bucket(), name: name("a"), needles, due_ms };
        names.discard(discard).await.unwrap();
    }
    let mut in_order = keys;
    in_order.sort_unstable();
    let in_order: Vec<u64> = [7, u64::MAX - 7].into_iter().chain(in_order).collect();
    for limit in 0..=in_order.len() + 1 {
        let due = names.due_in(VolumeId::new(1).unwrap(), 0..=20, limit).await.unwrap();
        let due: Vec<u64> = due.iter().map(|garbage| garbage.id.key.get()).collect();
        assert_eq!(due, in_order[..limit.min(in_order.len())], "the first {limit}");
    }
}

/// The test runs on the machine of the database, so both tell about the same time.
async fn the_database_tells_the_time(names: &impl Names) {
    let off_ms = names.now_ms().await.unwrap().abs_diff(SystemClock.now_ms());
    assert!(off_ms < 600_000, "{off_ms} ms off");
}

async fn a_closed_bucket_takes_no_puts(names: &impl Names) {
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    assert_eq!(names.close_bucket(&bucket()).await, Err(NamesError::BucketNotEmpty));
    names.close_bucket(&"photos-2".parse().unwrap()).await.unwrap();
    names.remove(remove("a", 2, Condition::None)).await.unwrap();
    names.close_bucket(&bucket()).await.unwrap();
    let refused = names.put(put("a", row(3), Condition::None)).await;
    assert_eq!(refused, Err(NamesError::BucketClosed));
    names.reopen_bucket(&bucket()).await.unwrap();
    names.put(put("a", row(3), Condition::None)).await.unwrap();
}

async fn a_row_too_large_is_refused(names: &impl Names) {
    let row = Row { content_type: "x".repeat(2 << 20).into(), ..row(1) };
    let refused = names.put(put("a", row, Condition::None)).await;
    assert!(matches!(refused, Err(NamesError::RowTooLarge { .. })));
}

async fn one_of_many_creates(names: impl Names) {
    let names = Arc::new(names);
    let tasks: Vec<_> = (1..=64)
        .map(|version| {
            let names = Arc::clone(&names);
            tokio::spawn(async move {
                names.put(put("contested", row(version), Condition::IfAbsent)).await.is_ok()
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += usize::from(task.await.unwrap());
    }
    assert_eq!(winners, 1);
    assert_eq!(queued(&*names).await, [0; 0]);
}

async fn listings_agree_with_a_model(names: &impl Names) {
    let objects = ["a", "a/1", "a/2/x", "a/2/y", "a\u{0}", "b", "b/é", "é/1", "\u{10FFFF}"];
    let model: BTreeMap<&str, u64> = objects.into_iter().zip(1..).collect();
    for (object, version) in &model {
        names.put(put(object, row(*version), Condition::None)).await.unwrap();
    }
    let elsewhere =
        Put { bucket: "photos.2".parse().unwrap(), ..put("c", row(1), Condition::None) };
    names.put(elsewhere).await.unwrap();
    for (prefix, delimiter) in [
        ("", None),
        ("", Some("/")),
        ("a", Some("/")),
        ("a/", Some("/")),
        ("b/", None),
        ("x", None),
    ] {
        for limit in [1, 2, 1_000] {
            let found = walk(names, prefix, delimiter, limit).await;
            assert_eq!(
                found,
                expected(&model, prefix, delimiter),
                "{prefix} {delimiter:?} {limit}"
            );
        }
    }
}

async fn a_page_takes_many_names_between_common_prefixes(names: &impl Names) {
    let objects: Vec<_> = (0..50).map(|i| format!("n{i:02}")).collect();
    for (object, version) in objects.iter().map(String::as_str).chain(["a/1", "z/1"]).zip(1..) {
        names.put(put(object, row(version), Condition::None)).await.unwrap();
    }
    let delimiter = Some("/".to_owned());
    let query = ListQuery { prefix: String::new(), delimiter, cursor: None, limit: 1_000 };
    let page = names.list(&bucket(), query).await.unwrap();
    let listed: Vec<_> = page.objects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (listed, page.prefixes),
        (objects.iter().map(String::as_str).collect(), vec!["a/".to_owned(), "z/".to_owned()])
    );
    assert_eq!(page.cursor, None);
}

type Found = (Vec<(String, u64)>, BTreeSet<String>);

fn expected(model: &BTreeMap<&str, u64>, prefix: &str, delimiter: Option<&str>) -> Found {
    let mut found = Found::default();
    for (object, version) in model.iter().filter(|(object, _)| object.starts_with(prefix)) {
        let rest = &object[prefix.len()..];
        match delimiter.and_then(|delimiter| rest.split_once(delimiter).zip(Some(delimiter))) {
            Some(((start, _), delimiter)) => {
                found.1.insert(format!("{prefix}{start}{delimiter}"));
            }
            None => found.0.push(((*object).to_owned(), *version)),
        }
    }
    found
}

async fn walk(names: &impl Names, prefix: &str, delimiter: Option<&str>, limit: usize) -> Found {
    let (mut found, mut cursor) = (Found::default(), None);
    loop {
        let (prefix, delimiter) = (prefix.to_owned(), delimiter.map(str::to_owned));
        let query = ListQuery { prefix, delimiter, cursor, limit };
        let page = names.list(&bucket(), query).await.unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= limit);
        found.0.extend(page.objects.into_iter().map(|(name, row)| (name.into(), row.version)));
        for prefix in page.prefixes {
            assert!(found.1.insert(prefix), "a common prefix was told twice");
        }
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}
