//! Several processes on one database: what only they could get wrong.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future;
use rand::Rng as _;
use tokio_postgres::NoTls;

use super::*;
use crate::Condition;
use crate::names::conformance::{bucket, name, put, queued, remove, row};

async fn two() -> (Arc<Postgres>, [Arc<PostgresNames>; 2]) {
    let server = server();
    let url = server.database();
    let names = [Arc::new(open(&url).await), Arc::new(open(&url).await)];
    (server, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_processes_creates() {
    let (_server, names) = two().await;
    let puts = (1..=64).zip(names.iter().cycle()).map(|(version, names)| {
        let names = Arc::clone(names);
        tokio::spawn(async move { names.put(put("a", row(version), Condition::IfAbsent)).await })
    });
    let mut created = 0;
    for outcome in future::join_all(puts).await {
        match outcome.unwrap() {
            Ok(Committed::Created) => created += 1,
            Err(NamesError::ConditionFailed { current: Some(_) }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(queued(&*names[0]).await, [0; 0]);
}

#[tokio::test]
async fn a_removal_elsewhere_is_known_here() {
    let (_server, [here, there]) = two().await;
    here.put(put("a", row(5), Condition::None)).await.unwrap();
    there.remove(remove("a", 6, Condition::None)).await.unwrap();
    let stale = here.put(put("a", row(4), Condition::None)).await;
    assert_eq!(stale, Err(NamesError::StaleVersion { current: 6 }));
    assert_eq!(here.last_version().await, Ok(6));
}

/// Tasks of both put and remove the same few names. Whatever order the database gives them,
/// each needle that was committed must be in use or queued, and never both.
#[tokio::test(flavor = "multi_thread")]
async fn no_needle_is_lost_or_still_in_use_when_all_change_the_same_names() {
    const TASKS: usize = 12;
    const STEPS: usize = 40;
    let (_server, names) = two().await;
    // Whoever comes to a change takes the next version, so that a task which is behind the others
    // is not refused whatever it does.
    let versions = Arc::new(AtomicU64::new(1));
    let tasks = names.iter().cycle().take(TASKS).map(|names| {
        let (names, versions) = (Arc::clone(names), Arc::clone(&versions));
        tokio::spawn(async move {
            let mut committed = BTreeSet::new();
            let mut ended = Vec::new();
            for _ in 0..STEPS {
                let version = versions.fetch_add(1, Ordering::Relaxed);
                let (object, kind) = {
                    let mut random = rand::rng();
                    (["a", "b", "c"][random.random_range(0..3)], random.random_range(0..4))
                };
                let condition = match kind {
                    0 => match names.remove(remove(object, version, Condition::None)).await {
                        Ok(removed) => {
                            ended.extend(removed.map(|row| row.version));
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    },
                    1 => Condition::IfAbsent,
                    2 => {
                        let row = names.get(&bucket(), &name(object)).await.unwrap();
                        Condition::IfMatch(row.map(|row| row.version).into_iter().collect())
                    }
                    _ => Condition::None,
                };
                match names.put(put(object, row(version), condition)).await {
                    Ok(outcome) => {
                        committed.insert(version);
                        match outcome {
                            Committed::Replaced(row) => ended.push(row.version),
                            Committed::Created => {}
                            Committed::Unchanged | Committed::Superseded => {
                                panic!("no put is repeated")
                            }
                        }
                    }
                    Err(NamesError::ConditionFailed { .. } | NamesError::StaleVersion { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            (committed, ended)
        })
    });
    let (mut committed, mut ended) = (BTreeSet::new(), Vec::new());
    for task in future::join_all(tasks).await {
        let (more, over) = task.unwrap();
        committed.extend(more);
        ended.extend(over);
    }
    assert!(committed.len() > 50, "only {} puts were made", committed.len());
    let mut left = queued(&*names[0]).await;
    left.sort_unstable();
    ended.sort_unstable();
    assert_eq!(left, ended, "what was told to be replaced is what is queued");
    let mut present = Vec::new();
    for name in ["a", "b", "c"].map(name) {
        present.extend(names[1].get(&bucket(), &name).await.unwrap().map(|row| row.version));
    }
    let all: Vec<_> = committed.into_iter().collect();
    left.extend(present);
    left.sort_unstable();
    assert_eq!(left, all, "each committed needle is in use or queued, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_closed_only_while_nothing_gets_in() {
    let (_server, [here, there]) = two().await;
    for round in 0..20_u64 {
        let bucket: BucketName = format!("round-{round}").parse().unwrap();
        let puts = (1..=4).map(|version| {
            let put = put(&version.to_string(), row(version), Condition::None);
            let (here, bucket) = (Arc::clone(&here), bucket.clone());
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(round)).await;
                here.put(Put { bucket, ..put }).await
            })
        });
        let puts: Vec<_> = puts.collect();
        let closing = there.close_bucket(&bucket).await;
        let outcomes = future::join_all(puts).await;
        let made = outcomes.into_iter().filter(|put| match put.as_ref().unwrap() {
            Ok(Committed::Created) => true,
            Err(NamesError::BucketClosed) => false,
            other => panic!("{other:?}"),
        });
        match (closing, made.count()) {
            (Ok(()), 0) => {}
            (Err(NamesError::BucketNotEmpty), made) if made > 0 => {}
            other => panic!("closing and the puts that were made: {other:?}"),
        }
    }
    there.close_bucket(&bucket()).await.unwrap();
    let refused = here.put(put("a", row(1), Condition::None)).await;
    assert_eq!(refused, Err(NamesError::BucketClosed));
    here.reopen_bucket(&bucket()).await.unwrap();
    there.put(put("a", row(1), Condition::None)).await.unwrap();
}

/// A put that is under way, written out: the bucket looks empty until it commits.
#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_the_puts_that_are_under_way() {
    let server = server();
    let url = server.database();
    let names = open(&url).await;
    let (putting, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let begun = "BEGIN; UPDATE hayrick_slots SET last_version = 1 WHERE slot = 7; \
        INSERT INTO hayrick_names (bucket, name, content) VALUES ('photos', 'a', '')";
    putting.batch_execute(begun).await.unwrap();
    let closing = tokio::spawn(async move { names.close_bucket(&bucket()).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    putting.batch_execute("COMMIT").await.unwrap();
    assert_eq!(closing.await.unwrap(), Err(NamesError::BucketNotEmpty));
    drop(putting);
    connection.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_tells_of_what_stays_while_the_rest_changes() {
    let (_server, [here, there]) = two().await;
    let stays: Vec<_> = (0..60).map(|i| format!("{:02}/{i:03}", i % 6)).collect();
    for (object, version) in stays.iter().zip(1..) {
        here.put(put(object, row(version), Condition::None)).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let churn = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut version = 1_000;
            while !stop.load(Ordering::Relaxed) {
                let object = format!("{:02}/{:03}-x", version % 6, version % 60);
                there.put(put(&object, row(version), Condition::None)).await.unwrap();
                if version % 2 == 0 {
                    there.remove(remove(&object, version, Condition::None)).await.unwrap();
                }
                version += 1;
            }
        }
    });
    let mut expected = stays.clone();
    expected.sort_unstable();
    for _ in 0..5 {
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let query = ListQuery { prefix: String::new(), delimiter: None, cursor, limit: 7 };
            let page = here.list(&bucket(), query).await.unwrap();
            listed.extend(page.objects.into_iter().map(|(name, _)| name.to_string()));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        listed.retain(|name| !name.ends_with("-x"));
        assert_eq!(listed, expected);
        let delimiter = Some("/".to_owned());
        let query = ListQuery { prefix: String::new(), delimiter, cursor: None, limit: 100 };
        let page = here.list(&bucket(), query).await.unwrap();
        assert_eq!(page.prefixes, ["00/", "01/", "02/", "03/", "04/", "05/"]);
    }
    stop.store(true, Ordering::Relaxed);
    churn.await.unwrap();
}

/// A directory that is stopped in its tracks in the middle of a change, as SIGSTOP does it. Its
/// session holds all slots. Others do not run out of time before it is ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_within_a_change_holds_the_others_up_for_less_than_they_wait() {
    let server = server();
    let settings = PostgresConfig { timeout_ms: 16_000, ..config(&server.database()) };
    let names = PostgresNames::open(&settings, Uuid::nil(), false).await.unwrap();
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    let hanging = Connections::new(&settings).unwrap();
    let mut session = hanging.lease(&hanging.begin().unwrap()).await.unwrap();
    let begun = "BEGIN; UPDATE hayrick_slots SET last_version = last_version";
    session.client().unwrap().batch_execute(begun).await.unwrap();
    let replaced = names.put(put("a", row(2), Condition::None)).await;
    assert_eq!(replaced, Ok(Committed::Replaced(row(1))));
    let late = session.client().unwrap().batch_execute("COMMIT").await;
    assert!(late.is_err(), "it was ended");
}
