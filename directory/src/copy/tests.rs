//! Between real databases of both engines.

use hayrick_testkit::Postgres;

use super::*;
use crate::names::conformance::{bucket, name, needle, put, remove, row};
use crate::{
    Condition, Discard, FjallNames, Garbage, ListQuery, Names, ObjectName, PostgresNames, Row,
};

const CLUSTER: Uuid = Uuid::from_u128(7);

fn embedded(folder: &tempfile::TempDir) -> Place {
    Place::Embedded(folder.path().to_owned(), FjallConfig::default())
}

fn shared(server: &Postgres) -> PostgresConfig {
    PostgresConfig {
        timeout_ms: 60_000,
        max_connections: 4,
        max_waiting: 10_000,
        ..PostgresConfig::new(server.database())
    }
}

fn open(folder: &tempfile::TempDir) -> FjallNames {
    FjallNames::open(&folder.path().join(NAMES), &FjallConfig::default()).unwrap()
}

async fn open_shared(config: &PostgresConfig) -> Result<PostgresNames, NamesError> {
    PostgresNames::open(config, CLUSTER, true).await
}

/// More than two pages of names, and all kinds of garbage.
async fn fill(names: &impl Names) {
    let puts = (1..=2_500).map(|n| names.put(put(&format!("n{n:05}"), row(n), Condition::None)));
    for put in futures::future::join_all(puts).await {
        put.unwrap();
    }
    let large = Row { content_type: "x".repeat(900_000).into(), ..row(3_000) };
    for object in ["large/1", "large/2", "large/3", "large/4", "large/5", "\u{10FFFF}"] {
        names.put(put(object, large.clone(), Condition::None)).await.unwrap();
    }
    names.put(put("n00001", row(4_000), Condition::None)).await.unwrap();
    names.remove(remove("n00002", 4_001, Condition::None)).await.unwrap();
    let needles = vec![needle(7, u64::MAX), needle(7, 3), needle(u32::MAX, 1 << 63)];
    names.discard(Discard { bucket: bucket(), name: name("a"), needles, due_ms: 9 }).await.unwrap();
}

async fn held(names: &impl Names) -> (Vec<(ObjectName, Row)>, Vec<Garbage>, u64) {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let query = ListQuery { prefix: String::new(), delimiter: None, cursor, limit: 1_000 };
        let page = names.list(&bucket(), query).await.unwrap();
        rows.extend(page.objects);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut garbage = Vec::new();
    for queue in names.garbage_queues().await.unwrap() {
        garbage.extend(names.due_in(queue.volume, 0..=u64::MAX, 10_000).await.unwrap());
    }
    (rows, garbage, names.last_version().await.unwrap())
}

async fn copy(from: &Place, to: &Place) -> Vec<TableDifference> {
    let copy = Copy::open(from, to, CLUSTER, true).await.unwrap();
    let differences = copy.run(true, |_| ()).await.unwrap();
    for sums in copy.compare(|_| ()).await.unwrap() {
        assert_eq!(sums.from, sums.to, "{}", sums.table);
    }
    copy.finish().await.unwrap();
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn names_move_to_the_shared_engine_and_back() {
    let (server, there, back) =
        (Postgres::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = shared(&server);
    let before = {
        let names = open(&there);
        fill(&names).await;
        held(&names).await
    };
    assert_eq!((before.0.len(), before.1.len()), (2_505, 5));
    let (postgres, mut bytes) = (Place::Postgres(config.clone()), 0);
    let look = Copy::open(&embedded(&there), &postgres, CLUSTER, false).await.unwrap();
    let missing = look.run(false, |more| bytes += more).await.unwrap();
    assert_eq!(missing[0].difference, Difference { missing: 2_505, ..Difference::default() });
    assert!(bytes > 6 * 900_000, "{bytes}");
    assert_eq!(cluster_of(&postgres).await, Ok(None), "looking changes nothing");
    drop(look);
    copy(&embedded(&there), &postgres).await;
    let names = open_shared(&config).await.unwrap();
    assert!(held(&names).await == before);
    // A put that was on its way takes a version above the removals that are forgotten.
    let late = names.put(put("n00002", row(3_999), Condition::None)).await;
    assert_eq!(late, Err(NamesError::StaleVersion { current: 4_001 }));
    drop(names);
    copy(&postgres, &embedded(&back)).await;
    assert!(held(&open(&back)).await == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_writes_only_what_changed() {
    let (server, folder) = (Postgres::start(), tempfile::tempdir().unwrap());
    let (source, target) = (shared(&server), shared(&server));
    let names = PostgresNames::open(&source, CLUSTER, false).await.unwrap();
    fill(&names).await;
    names.close_bucket(&"gone".parse().unwrap()).await.unwrap();
    let (from, to) = (Place::Postgres(source), Place::Postgres(target.clone()));
    let first = Copy::open(&from, &to, CLUSTER, true).await.unwrap();
    first.run(true, |_| ()).await.unwrap();
    names.put(put("n00003", row(5_000), Condition::None)).await.unwrap();
    names.put(put("new", row(5_001), Condition::None)).await.unwrap();
    names.remove(remove("n00004", 5_002, Condition::None)).await.unwrap();
    names.reopen_bucket(&"gone".parse().unwrap()).await.unwrap();
    names.close_bucket(&"later".parse().unwrap()).await.unwrap();
    let garbage = names.due_in(hayrick_store::VolumeId::new(7).unwrap(), 0..=9, 1).await.unwrap();
    names.settle(garbage).await.unwrap();
    assert!(first.compare(|_| ()).await.unwrap().iter().all(|sums| sums.from != sums.to));
    let refused = open_shared(&target).await.err();
    assert!(matches!(refused, Some(NamesError::Setup(why)) if why.contains("--final")));
    drop(first);

    let told: Vec<_> = copy(&from, &to).await.into_iter().map(|table| table.difference).collect();
    let difference =
        |same, missing, changed, surplus| Difference { same, missing, changed, surplus };
    assert_eq!(told, [difference(2_503, 1, 1, 1), difference(4, 2, 0, 1), difference(0, 1, 0, 1)]);
    let copied = open_shared(&target).await.unwrap();
    assert!(held(&copied).await == held(&names).await);
    let refused = copied.put(crate::Put {
        bucket: "later".parse().unwrap(),
        ..put("a", row(6_000), Condition::None)
    });
    assert_eq!(refused.await, Err(NamesError::BucketClosed));
    // The other way round it is as whole: what is in use is not written to.
    let again = Copy::open(&from, &to, CLUSTER, true).await.err();
    assert!(matches!(again, Some(NamesError::Setup(why)) if why.contains("already")));
    fill(&open(&folder)).await;
    let again = Copy::open(&from, &embedded(&folder), CLUSTER, true).await.err();
    assert!(matches!(again, Some(NamesError::Setup(why)) if why.contains("already")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_source_is_refused() {
    let (server, folder) = (Postgres::start(), tempfile::tempdir().unwrap());
    let config = shared(&server);
    let (postgres, target) = (Place::Postgres(config.clone()), embedded(&folder));
    let refused =
        async |from: &Place, to: &Place, cluster| match Copy::open(from, to, cluster, false)
            .await
            .err()
        {
            Some(NamesError::Setup(why)) => why,
            other => panic!("{other:?}"),
        };
    assert!(refused(&postgres, &target, CLUSTER).await.contains("no names"));
    assert!(refused(&target, &postgres, CLUSTER).await.contains("no names"));
    drop(PostgresNames::open(&config, CLUSTER, false).await.unwrap());
    assert!(refused(&postgres, &target, Uuid::nil()).await.contains("of cluster"));
    fill(&open(&folder)).await;
    assert!(refused(&target, &postgres, Uuid::nil()).await.contains("of cluster"));
}

#[tokio::test]
async fn a_damaged_row_is_named_and_not_copied() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    {
        let names = RawFjall::open(&from.path().join(NAMES), &FjallConfig::default()).unwrap();
        let edit =
            crate::names::raw::Edit { key: b"photos\0a".to_vec(), value: Some(vec![1, 0xFF]) };
        names.write(Table::Rows, vec![edit]).await.unwrap();
        names.sync().await.unwrap();
    }
    let copy = Copy::open(&embedded(&from), &embedded(&to), CLUSTER, true).await.unwrap();
    assert!(matches!(copy.run(true, |_| ()).await, Err(NamesError::Corrupt(_))));
}
