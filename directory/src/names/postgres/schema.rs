//! The tables: made at the first start, and checked at every other.

use std::fmt::Write as _;

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::change::{Change, Outcome};
use super::connection::Connections;
use super::fault::Fault;
use super::reads::Read;
use crate::names::NamesError;

/// Of these tables. A change of them is a new format.
const FORMAT: i64 = 1;

/// In place of the format as long as names are being copied into the tables. Directories of
/// every version refuse it.
const UNFINISHED: i64 = 0;

/// How many changes of different names are made at once, at most. As the hash of a name
/// leads to its slot, another number is another format.
pub(super) const SLOTS: u32 = 4_096;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS hayrick_schema (
        id BIGINT PRIMARY KEY, format BIGINT NOT NULL, cluster_id TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS hayrick_names (
        bucket BYTEA NOT NULL, name BYTEA NOT NULL, content BYTEA NOT NULL,
        PRIMARY KEY (bucket, name));
    CREATE TABLE IF NOT EXISTS hayrick_garbage (
        volume BIGINT NOT NULL, due_ms BIGINT NOT NULL, needle_key BIGINT NOT NULL,
        content BYTEA NOT NULL,
        PRIMARY KEY (volume, due_ms, needle_key));
    CREATE TABLE IF NOT EXISTS hayrick_slots (
        slot BIGINT PRIMARY KEY, last_version BIGINT NOT NULL, removed_version BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS hayrick_closed_buckets (bucket BYTEA PRIMARY KEY);
";
const FINISH: &str = "UPDATE hayrick_schema SET format = $1 WHERE id = 1";
const OWNER: &str = "SELECT format, cluster_id FROM hayrick_schema WHERE id = 1";

/// Makes sure that the tables are there, and those of the cluster.
pub(super) async fn open(
    connections: &Connections,
    cluster_id: Uuid,
    has_volumes: bool,
) -> Result<(), NamesError> {
    let cluster_id = cluster_id.to_string();
    connections.read(&Open { cluster_id, has_volumes, format: FORMAT }).await
}

/// Makes sure that tables are there into which the names of the cluster may be copied.
pub(super) async fn prepare(connections: &Connections, cluster: Uuid) -> Result<(), NamesError> {
    let cluster_id = cluster.to_string();
    connections.read(&Open { cluster_id, has_volumes: false, format: UNFINISHED }).await
}

/// Whose the tables are, and whether they are finished; `None` where there are none.
pub(super) async fn owner_of(
    connections: &Connections,
) -> Result<Option<(Uuid, bool)>, NamesError> {
    let Some(owner) = connections.read(&FindOwner).await? else { return Ok(None) };
    let damaged = |_| NamesError::Corrupt("the tables name no cluster".to_owned());
    let cluster = owner.cluster_id.parse().map_err(damaged)?;
    if owner.format != UNFINISHED {
        owner.check_format()?;
    }
    Ok(Some((cluster, owner.format == FORMAT)))
}

struct FindOwner;

impl Read for FindOwner {
    type Answer = Option<Owner>;

    async fn run(&self, client: &ClientWrapper) -> Result<Option<Owner>, Fault> {
        owner(client).await
    }
}

/// The end of a copy: directories may open the tables.
pub(super) struct Finish;

impl Change for Finish {
    type Answer = ();

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        _: Option<&()>,
    ) -> Result<Outcome<()>, Fault> {
        transaction.execute(FINISH, &[&FORMAT]).await?;
        Ok(Outcome::Commit(()))
    }
}

/// Not only a read, but it may be tried again like one.
struct Open {
    cluster_id: String,
    has_volumes: bool,
    /// That which the tables must have, or get.
    format: i64,
}

impl Read for Open {
    type Answer = ();

    async fn run(&self, client: &ClientWrapper) -> Result<(), Fault> {
        if let Some(owner) = owner(client).await? {
            return Ok(self.check(&owner)?);
        }
        if self.has_volumes {
            // New, empty tables would answer 404 for everything that was ever stored.
            return Err(NamesError::Setup(
                "there are no tables of Hayrick in this database though the cluster has volumes: \
                 name the right database, put it back from a backup, or make the names again with \
                 `hayrick names rebuild` and `hayrick names copy`"
                    .to_owned(),
            )
            .into());
        }
        self.create(client).await?;
        match owner(client).await? {
            Some(owner) => Ok(self.check(&owner)?),
            None => Err(Fault::Passing(NamesError::Unavailable("tables not made".to_owned()))),
        }
    }
}

impl Open {
    fn check(&self, owner: &Owner) -> Result<(), NamesError> {
        if owner.format == UNFINISHED && self.format != UNFINISHED {
            return Err(NamesError::Setup(
                "the names are still being copied into these tables: end that with \
                 `hayrick names copy --apply --final`"
                    .to_owned(),
            ));
        }
        if owner.format != UNFINISHED {
            owner.check_format()?;
        }
        if owner.format == FORMAT && self.format == UNFINISHED {
            return Err(NamesError::Setup(
                "there are names in this database already, which directories may use: name an \
                 empty database"
                    .to_owned(),
            ));
        }
        if owner.cluster_id != self.cluster_id {
            return Err(NamesError::Setup(format!(
                "the tables are those of cluster {}, and this is cluster {}: give each its own \
                 database",
                owner.cluster_id, self.cluster_id
            )));
        }
        Ok(())
    }

    /// Several processes may do this at once: one makes the tables, the others come to wait
    /// for it, fail, and try again.
    async fn create(&self, client: &ClientWrapper) -> Result<(), Fault> {
        let mut script = format!("BEGIN; {TABLES} INSERT INTO hayrick_slots VALUES ");
        for slot in 0..SLOTS {
            let comma = if slot == 0 { "" } else { ", " };
            // Writing to memory does not fail.
            let _ = write!(script, "{comma}({slot}, 0, 0)");
        }
        // Last, so that tables without it are known to be unfinished, wherever a database
        // does not make tables in a transaction. A cluster's id is a UUID: nothing to escape.
        let _ = write!(
            script,
            " ON CONFLICT (slot) DO NOTHING; \
             INSERT INTO hayrick_schema (id, format, cluster_id) VALUES (1, {}, '{}') \
             ON CONFLICT (id) DO NOTHING; COMMIT",
            self.format, self.cluster_id
        );
        client.batch_execute(&script).await.map_err(|error| {
            let made_by_another = [
                SqlState::DUPLICATE_TABLE,
                SqlState::DUPLICATE_OBJECT,
                SqlState::UNIQUE_VIOLATION,
                SqlState::INTERNAL_ERROR, // "tuple concurrently updated"
            ];
            match error.code() {
                Some(state) if made_by_another.contains(state) => {
                    Fault::Passing(NamesError::Unavailable("tables being made".to_owned()))
                }
                _ => error.into(),
            }
        })
    }
}

struct Owner {
    format: i64,
    cluster_id: String,
}

impl Owner {
    fn check_format(&self) -> Result<(), NamesError> {
        if self.format == FORMAT {
            return Ok(());
        }
        Err(NamesError::Setup(format!(
            "the tables have format {}, this version of Hayrick knows {FORMAT}: use the \
             version that made them, or a later one",
            self.format
        )))
    }
}

/// Whose the tables are; `None` where there are none.
async fn owner(client: &ClientWrapper) -> Result<Option<Owner>, Fault> {
    match client.query_opt(OWNER, &[]).await {
        Ok(None) => Ok(None),
        Ok(Some(row)) => Ok(Some(Owner { format: row.try_get(0)?, cluster_id: row.try_get(1)? })),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
