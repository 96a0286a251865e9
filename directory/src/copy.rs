//! The names moved from one engine to another.
//!
//! Both databases are walked side by side in the order of their keys, and the target is made
//! like the source: what it lacks is added, what differs replaced, what is too much removed. So
//! a copy that was interrupted goes on where it was, and one that is made again writes only what
//! has changed since. Three steps move names that are in use:
//!
//! 1. [`Copy::run`] while the source is used, as often as one likes. The embedded engine is of
//!    one process: its directory is stopped, or the source is a snapshot of its file system.
//! 2. With the source at rest, [`Copy::run`] again: only what changed is written.
//! 3. [`Copy::compare`] reads both sides once more. Only when they hold the same does
//!    [`Copy::finish`] let directories open the target; until then they refuse it.

mod walk;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

pub use self::walk::{Difference, Sum};
use crate::directory::{CLUSTER_MAP, NAMES, sync_folder};
use crate::names::fjall::RawFjall;
use crate::names::postgres::RawPostgres;
use crate::names::raw::{RawNames, Table};
use crate::{EmbeddedCoordinator, FjallConfig, NamesError, PostgresConfig};

/// An embedded database on its way, beside where it will be.
const UNFINISHED: &str = "names.copy";

/// A name database.
#[derive(Debug, Clone)]
pub enum Place {
    /// The embedded one of the directory whose files are in this folder. No process may have
    /// it open.
    Embedded(PathBuf, FjallConfig),
    /// A database that speaks PostgreSQL's protocol.
    Postgres(PostgresConfig),
}

/// A copy under way.
pub struct Copy {
    from: Box<dyn RawNames>,
    /// `None` where there is nothing yet, and nothing is to be changed.
    to: Option<Target>,
}

enum Target {
    Embedded { names: RawFjall, folder: PathBuf },
    Postgres(RawPostgres),
}

/// What is to be done, or was done, in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDifference {
    /// What the table holds.
    pub table: &'static str,
    /// In the target, against the source.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What one table holds on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSums {
    /// What the table holds.
    pub table: &'static str,
    /// In the source.
    pub from: Sum,
    /// In the target.
    pub to: Sum,
}

/// The cluster whose names are in a database; `None` if there are none, or if that is not
/// written beside them.
///
/// # Errors
/// The database is not reached, or its tables are of another version.
pub async fn cluster_of(place: &Place) -> Result<Option<Uuid>, NamesError> {
    match place {
        Place::Embedded(folder, _) => {
            let map = EmbeddedCoordinator::peek(&folder.join(CLUSTER_MAP));
            let map = map.map_err(|error| setup(error.to_string()))?;
            Ok(map.map(|map| map.cluster_id))
        }
        Place::Postgres(config) => {
            Ok(RawPostgres::new(config)?.owner().await?.map(|(cluster, _)| cluster))
        }
    }
}

impl Copy {
    /// Opens both sides of a copy of the names of `cluster`. Without `apply` the target is left
    /// as it is, or missing; else it must be new, or that of a copy that is not finished.
    ///
    /// # Errors
    /// [`NamesError::Setup`] where a side is not what it should be.
    pub async fn open(
        from: &Place,
        to: &Place,
        cluster: Uuid,
        apply: bool,
    ) -> Result<Self, NamesError> {
        let from: Box<dyn RawNames> = match from {
            Place::Embedded(folder, config) => match find(folder, &[NAMES])? {
                Some(path) => Box::new(RawFjall::open(&path, config)?),
                None => return Err(setup(format!("there are no names in {}", folder.display()))),
            },
            Place::Postgres(config) => {
                let names = RawPostgres::new(config)?;
                match names.owner().await? {
                    Some((owner, true)) if owner == cluster => Box::new(names),
                    owner => return Err(no_source(owner, cluster)),
                }
            }
        };
        let to = match to {
            Place::Embedded(folder, config) => embedded_target(folder, config, apply)?,
            Place::Postgres(config) => postgres_target(config, cluster, apply).await?,
        };
        Ok(Self { from, to })
    }

    /// Makes the target like the source, or only tells what is missing for that, if the target
    /// was not opened to be changed. `step` is told the bytes of the source as they are read.
    ///
    /// # Errors
    /// The first error of either side. What was copied stays, and the next run goes on.
    pub async fn run(
        &self,
        apply: bool,
        mut step: impl FnMut(u64),
    ) -> Result<Vec<TableDifference>, NamesError> {
        let to = self.to.as_ref().map(Target::names);
        let mut differences = Vec::new();
        for table in self.tables() {
            let difference = walk::align(&*self.from, to, table, apply, &mut step).await?;
            differences.push(TableDifference { table: table.what(), difference });
        }
        if let (true, Some(to)) = (apply, to) {
            to.raise_version(self.from.last_version().await?).await?;
            to.sync().await?;
        }
        Ok(differences)
    }

    /// Reads both sides and tells what each holds.
    ///
    /// # Errors
    /// The first error of either side.
    pub async fn compare(&self, mut step: impl FnMut(u64)) -> Result<Vec<TableSums>, NamesError> {
        let mut sums = Vec::new();
        for table in self.tables() {
            let from = walk::sum(&*self.from, table, &mut step).await?;
            let to = match &self.to {
                Some(to) => walk::sum(to.names(), table, &mut |_| ()).await?,
                None => Sum::default(),
            };
            sums.push(TableSums { table: table.what(), from, to });
        }
        Ok(sums)
    }

    /// Puts the target in place, durably: directories may open it from now on. The source is
    /// left as it is.
    ///
    /// # Errors
    /// Nothing is in place; call it again.
    pub async fn finish(self) -> Result<(), NamesError> {
        match self.to {
            None => Ok(()),
            Some(Target::Postgres(names)) => names.finish().await,
            Some(Target::Embedded { names, folder }) => {
                names.sync().await?;
                // It is locked until it is closed.
                drop(names);
                put_in_place(&folder).map_err(|error| {
                    NamesError::Io(format!("cannot put in place {}: {error}", folder.display()))
                })
            }
        }
    }

    /// The tables that both sides keep.
    fn tables(&self) -> impl Iterator<Item = Table> + use<> {
        let from = self.from.tables();
        let to = self.to.as_ref().map_or(from, |to| to.names().tables());
        Table::ALL.into_iter().filter(|table| from.contains(table) && to.contains(table))
    }
}

impl Target {
    fn names(&self) -> &dyn RawNames {
        match self {
            Self::Embedded { names, .. } => names,
            Self::Postgres(names) => names,
        }
    }
}

fn embedded_target(
    folder: &Path,
    config: &FjallConfig,
    apply: bool,
) -> Result<Option<Target>, NamesError> {
    let path = if apply {
        if find(folder, &[NAMES])?.is_some() {
            let names = folder.join(NAMES);
            return Err(setup(format!(
                "there are names in {} already: move that folder away first",
                names.display()
            )));
        }
        fs::create_dir_all(folder).map_err(|error| no_folder(folder, &error))?;
        Some(folder.join(UNFINISHED))
    } else {
        find(folder, &[NAMES, UNFINISHED])?
    };
    let open = |path: PathBuf| {
        let names = RawFjall::open(&path, config)?;
        Ok(Target::Embedded { names, folder: folder.to_owned() })
    };
    path.map(open).transpose()
}

async fn postgres_target(
    config: &PostgresConfig,
    cluster: Uuid,
    apply: bool,
) -> Result<Option<Target>, NamesError> {
    let names = RawPostgres::new(config)?;
    if apply {
        names.prepare(cluster).await?;
        return Ok(Some(Target::Postgres(names)));
    }
    match names.owner().await? {
        None => Ok(None),
        Some((owner, _)) if owner == cluster => Ok(Some(Target::Postgres(names))),
        Some((owner, _)) => Err(setup(format!(
            "the names in the target are those of cluster {owner}, and not of {cluster}"
        ))),
    }
}

fn no_source(owner: Option<(Uuid, bool)>, cluster: Uuid) -> NamesError {
    setup(match owner {
        None => "there are no names in the database that they are to be copied from".to_owned(),
        Some((owner, _)) if owner != cluster => {
            format!("the names in the source are those of cluster {owner}, and not of {cluster}")
        }
        Some(_) => "the source is itself a copy that is not finished".to_owned(),
    })
}

/// The first of these that is in a folder.
fn find(folder: &Path, names: &[&str]) -> Result<Option<PathBuf>, NamesError> {
    for name in names {
        let path = folder.join(name);
        if path.try_exists().map_err(|error| no_folder(folder, &error))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn put_in_place(folder: &Path) -> io::Result<()> {
    sync_folder(&folder.join(UNFINISHED))?;
    fs::rename(folder.join(UNFINISHED), folder.join(NAMES))?;
    sync_folder(folder)?;
    sync_folder(&folder.join(".."))
}

fn no_folder(folder: &Path, error: &io::Error) -> NamesError {
    setup(format!("folder {}: {error}", folder.display()))
}

fn setup(reason: String) -> NamesError {
    NamesError::Setup(reason)
}

#[cfg(test)]
mod tests;
