//! Whose tables they are, and what they look like.

use futures::future;
use tokio_postgres::NoTls;

use super::*;
use crate::names::conformance::{put, row};
use crate::{Condition, DirectoryConfig, open_parts};

async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

async fn refused(url: &str, cluster_id: Uuid, has_volumes: bool) -> String {
    match PostgresNames::open(&config(url), cluster_id, has_volumes).await {
        Err(NamesError::Setup(reason)) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_make_the_tables_at_once() {
    let server = server();
    let url = server.database();
    let opened = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { open(&url).await.last_version().await })
    });
    for opened in future::join_all(opened).await {
        assert_eq!(opened.unwrap(), Ok(0));
    }
}

#[tokio::test]
async fn tables_of_another_cluster_or_format_are_refused() {
    let server = server();
    let url = server.database();
    open(&url).await;
    let reason = refused(&url, Uuid::max(), false).await;
    assert!(reason.contains(&Uuid::nil().to_string()), "{reason}");
    execute(&url, "UPDATE hayrick_schema SET format = 2").await;
    let reason = refused(&url, Uuid::nil(), false).await;
    assert!(reason.contains("format 2"), "{reason}");
}

#[tokio::test]
async fn missing_tables_of_a_cluster_with_volumes_are_not_made() {
    let server = server();
    let url = server.database();
    let reason = refused(&url, Uuid::nil(), true).await;
    assert!(reason.contains("no tables"), "{reason}");
    open(&url).await;
    PostgresNames::open(&config(&url), Uuid::nil(), true).await.unwrap();
}

#[tokio::test]
async fn the_settings_name_the_database_and_the_map_the_cluster() {
    let server = server();
    let postgres = Some(config(&server.database()));
    let settings = DirectoryConfig { postgres, ..DirectoryConfig::default() };
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, names) = open_parts(folder.path(), &settings).await.unwrap();
    names.put(put("a", row(1), Condition::None)).await.unwrap();
    let (_, again) = open_parts(folder.path(), &settings).await.unwrap();
    assert_eq!(again.last_version().await, Ok(1));
    assert!(!folder.path().join("names").exists(), "no embedded database beside it");
    let refused = open_parts(other.path(), &settings).await.err().unwrap();
    assert!(refused.to_string().contains("its own database"), "{refused}");
}

#[tokio::test]
async fn a_missing_database_is_told_at_once() {
    let server = server();
    let url = server.database().replace("dbname=", "dbname=not_");
    let reason = refused(&url, Uuid::nil(), false).await;
    assert!(reason.contains("does not exist"), "{reason}");
}
