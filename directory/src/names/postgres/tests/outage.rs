//! A server that is killed, and one that is away.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;
use crate::Condition;
use crate::names::conformance::{bucket, name, put, remove, row};

const TASKS: u64 = 8;
const ROUNDS: u64 = 4;

/// What a task knows of a name: the versions that may be the present one; 0 for no row.
type Known = BTreeMap<String, Vec<u64>>;

/// Changes names of its own, which nobody else does, until the server has been down.
async fn change(names: Arc<PostgresNames>, task: u64, round: u64) -> (Known, u64) {
    let (mut known, mut acknowledged) = (Known::new(), 0);
    for step in 0.. {
        let version = ((round * 1_000_000 + step) * TASKS + task) * 2 + 2;
        let object = format!("{task}/{}", step % 5);
        let (outcome, now) = if step % 4 == 3 {
            let removed = names.remove(remove(&object, version, Condition::None)).await;
            (removed.map(drop), 0)
        } else {
            let made = names.put(put(&object, row(version), Condition::None)).await;
            (made.map(drop), version)
        };
        match outcome {
            Ok(()) => {
                acknowledged += 1;
                known.insert(object, vec![now]);
            }
            Err(NamesError::Unavailable(_) | NamesError::Busy) => break,
            Err(NamesError::InDoubt(_)) => {
                known.entry(object).or_default().push(now);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (known, acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_server_loses_nothing_acknowledged() {
    let mut server = Postgres::start();
    let config = PostgresConfig { timeout_ms: 1_500, ..config(&server.database()) };
    let names = PostgresNames::open(
        &PostgresConfig { timeout_ms: 60_000, ..config.clone() },
        Uuid::nil(),
        false,
    )
    .await
    .unwrap();
    let impatient = Arc::new(PostgresNames::open(&config, Uuid::nil(), false).await.unwrap());
    for round in 0..ROUNDS {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| tokio::spawn(change(Arc::clone(&impatient), task, round)))
            .collect();
        sleep(Duration::from_millis(300 + 70 * round)).await;
        server.kill();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        server.restart();
        let mut acknowledged = 0;
        for (known, changes) in outcomes {
            acknowledged += changes;
            for (object, versions) in known {
                let found = names.get(&bucket(), &name(&object)).await.unwrap();
                let found = found.map_or(0, |row| row.version);
                // Alone in doubt, it was made or what was there in an earlier round stayed.
                let is_new = versions.contains(&found)
                    || versions.len() == 1 && found / 16 < round * 1_000_000;
                assert!(is_new, "{object}: {found}, expected one of {versions:?}");
            }
        }
        assert!(acknowledged > TASKS, "only {acknowledged} changes were made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_errors_come_in_time_and_it_is_found_again() {
    let mut server = Postgres::start();
    let config = PostgresConfig { timeout_ms: 1_000, ..config(&server.database()) };
    let names = PostgresNames::open(&config, Uuid::nil(), false).await.unwrap();
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    server.kill();
    let began = Instant::now();
    let (read, written) = tokio::join!(
        names.get(&bucket(), &name("a")),
        names.put(put("a", row(2), Condition::None))
    );
    assert!(matches!(read, Err(NamesError::Unavailable(_))), "{read:?}");
    assert!(matches!(written, Err(NamesError::Unavailable(_))), "{written:?}");
    // Far longer than asked for, as the machine may be busy; without a deadline it hangs.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    server.restart();
    let began = Instant::now();
    while names.put(put("a", row(2), Condition::None)).await.is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "the server was not found again");
    }
    assert_eq!(names.get(&bucket(), &name("a")).await, Ok(Some(row(2))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_nobody_up_for_good() {
    let server = Postgres::start();
    let config = PostgresConfig { timeout_ms: 1_000, ..config(&server.database()) };
    let names = PostgresNames::open(&config, Uuid::nil(), false).await.unwrap();
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    server.freeze();
    let patience = Duration::from_secs(30);
    let read = tokio::time::timeout(patience, names.get(&bucket(), &name("a"))).await;
    assert!(matches!(read, Ok(Err(NamesError::Unavailable(_)))), "{read:?}");
    let written = names.put(put("a", row(2), Condition::None));
    let written = tokio::time::timeout(patience, written).await;
    assert!(matches!(written, Ok(Err(NamesError::Unavailable(_)))), "{written:?}");
    server.thaw();
    let began = Instant::now();
    while names.put(put("a", row(3), Condition::None)).await.is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "the server was not found again");
    }
    assert_eq!(names.get(&bucket(), &name("a")).await, Ok(Some(row(3))));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_an_operator_ends_are_made_again() {
    let server = Postgres::start();
    let names = Arc::new(open(&server.database()).await);
    let puts: Vec<_> = (0..TASKS)
        .map(|task| {
            let names = Arc::clone(&names);
            tokio::spawn(async move {
                for version in (1..=100).map(|step| task * 1_000 + step) {
                    names.put(put(&format!("{task}"), row(version), Condition::None)).await?;
                }
                Ok::<_, NamesError>(())
            })
        })
        .collect();
    for _ in 0..5 {
        sleep(Duration::from_millis(50)).await;
        server.drop_connections();
    }
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let garbage = names.garbage_len().await.unwrap();
    assert_eq!(garbage, TASKS * 99, "each replaced needle is queued once");
}
