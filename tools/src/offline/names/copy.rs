//! `hayrick names copy`: the names moved from one engine to another.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use hayrick_directory::copy::{Copy, Place, TableDifference, TableSums, cluster_of};
use hayrick_directory::{FjallConfig, NamesError, PostgresConfig};
use hayrick_service::auth::Secret;
use serde::Serialize;
use uuid::Uuid;

use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, table};
use crate::progress::Progress;
use crate::units::count;
use crate::up::DataFolder;

/// What `--help` tells of it.
pub const HELP: &str = "\
FROM and TO are each a database, postgres://USER@HOST/DATABASE, or the data folder of a
directory, whose embedded database is meant. Without --apply it only counts what would be
copied. A copy that was interrupted goes on where it was, and one that is made again writes
only what has changed since. With --apply --final both sides are read once more and must hold
the same; only then can directories open the target. The source stays as it is.

From PostgreSQL, while the directories go on:
    hayrick names copy --from postgres://OLD --to postgres://NEW --apply
    (stop all directories)
    hayrick names copy --from postgres://OLD --to postgres://NEW --apply --final
    (start them with the new directory.postgres.url)

An embedded database is of one process: stop its directory and use --apply --final at once.
To keep that time short, copy a snapshot of its file system first, while the directory goes on.

Keep passwords off the command line: HAYRICK_NAMES_FROM and HAYRICK_NAMES_TO say the same.

Exit codes: 0 it is done; 1 it did not work, or with --final both sides do not hold the same.";

/// `hayrick names copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Where the names are
    #[arg(long, value_name = "FROM", env = "HAYRICK_NAMES_FROM", hide_env_values = true)]
    from: Side,
    /// Where they are to be
    #[arg(long, value_name = "TO", env = "HAYRICK_NAMES_TO", hide_env_values = true)]
    to: Side,
    /// Copy; without it nothing is changed
    #[arg(long)]
    apply: bool,
    /// Nobody uses the source any more: check that both sides hold the same, and open the target
    #[arg(long = "final", requires = "apply")]
    last: bool,
}

/// A database, as it is named on the command line.
#[derive(Debug, Clone)]
enum Side {
    Folder(PathBuf),
    Postgres(Secret),
}

impl FromStr for Side {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let schemes = ["postgres://", "postgresql://"];
        let is_url = schemes.iter().any(|scheme| text.starts_with(scheme));
        // The other form that a database may be named in.
        let is_url = is_url || text.split_whitespace().any(|word| word.starts_with("host="));
        Ok(if is_url { Self::Postgres(Secret::new(text)) } else { Self::Folder(text.into()) })
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    cluster: Uuid,
    applied: bool,
    /// Whether directories may open the target.
    in_place: bool,
    /// What tells the target from the source, before it was copied.
    differences: Vec<TableDifference>,
    /// What both sides held afterwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sums: Vec<TableSums>,
}

/// A side in nobody else's use, where it is a folder.
struct Taken {
    place: Place,
    folder: Option<DataFolder>,
}

/// Runs the command.
pub async fn run(args: &CopyArgs, output: Output) -> Result<(), Failure> {
    let answer = tokio::select! {
        answer = copy(args) => answer?,
        _ = tokio::signal::ctrl_c() => {
            let failure = Failure::interrupted();
            return Err(failure.hint("what is copied stays; the same command goes on from there"));
        }
    };
    output.answer(&answer, |answer| answer.for_people(args))?;
    if args.last && !answer.in_place {
        let failure =
            Failure::failed("the two sides do not hold the same; the target stays closed");
        return Err(
            failure.hint("is the source still in use? Stop every directory and run it again")
        );
    }
    if !args.apply {
        output.note("add --apply to copy");
    }
    Ok(())
}

async fn copy(args: &CopyArgs) -> Result<Answer, Failure> {
    let (from, to) = (take(&args.from, false)?, take(&args.to, args.apply)?);
    let cluster = from.cluster().await?.ok_or_else(|| {
        Failure::new(Exit::NotFound, "the source does not tell of which cluster its names are")
            .hint("name the data folder of a directory, the one with hayrick.json")
    })?;
    if let Some(other) = to.cluster().await?.filter(|&other| other != cluster) {
        let message = format!("the target is of cluster {other}, the source of {cluster}");
        return Err(Failure::failed(message).hint("name an empty database or a new folder"));
    }
    let copy = Copy::open(&from.place, &to.place, cluster, args.apply).await.map_err(failed)?;
    let differences = watched("copy of the names", async |step| copy.run(args.apply, step).await);
    let differences = differences.await?;
    let mut answer =
        Answer { cluster, applied: args.apply, in_place: false, differences, sums: Vec::new() };
    if args.apply {
        let sums = watched("check of the copy", async |step| copy.compare(step).await);
        answer.sums = sums.await?;
    }
    if args.last && answer.sums.iter().all(|sums| sums.from == sums.to) {
        if let Some(folder) = &to.folder {
            folder.set_cluster(cluster)?;
        }
        copy.finish().await.map_err(failed)?;
        answer.in_place = true;
    }
    Ok(answer)
}

/// Shows how far work is that tells the bytes it has read. How many there are is not known.
async fn watched<T>(
    label: &str,
    work: impl AsyncFnOnce(&mut dyn FnMut(u64)) -> Result<T, NamesError>,
) -> Result<T, Failure> {
    let (progress, mut done) = (Progress::new(label.to_owned()), 0);
    let mut step = |bytes| {
        done += bytes;
        progress.set(done, 0);
    };
    let ended = work(&mut step).await;
    progress.clear();
    ended.map_err(failed)
}

fn take(side: &Side, make: bool) -> Result<Taken, Failure> {
    match side {
        Side::Postgres(url) => {
            let config = PostgresConfig::new(url.expose());
            config.check().map_err(|error| Failure::usage(error.to_string()))?;
            Ok(Taken { place: Place::Postgres(config), folder: None })
        }
        Side::Folder(path) => {
            let folder = if make || path.is_dir() { Some(DataFolder::take(path)?) } else { None };
            let place = Place::Embedded(path.join("directory"), FjallConfig::default());
            Ok(Taken { place, folder })
        }
    }
}

impl Taken {
    async fn cluster(&self) -> Result<Option<Uuid>, Failure> {
        match self.folder.as_ref().and_then(DataFolder::cluster) {
            Some(cluster) => Ok(Some(cluster)),
            None => cluster_of(&self.place).await.map_err(failed),
        }
    }
}

fn failed(error: NamesError) -> Failure {
    match error {
        NamesError::Setup(reason) => Failure::failed(format!("names not copied: {reason}")),
        NamesError::Locked => Failure::failed("the embedded database is in use")
            .hint("stop the directory that has it open"),
        error => Failure::failed(format!("names not copied: {error}"))
            .hint("what is copied stays; the same command goes on from there"),
    }
}

impl Answer {
    fn for_people(&self, args: &CopyArgs) -> String {
        let mut text = table(
            &self.differences,
            &[
                Column::text("TABLE", |told| told.table.to_owned()),
                Column::number("SAME", |told| count(told.difference.same)),
                Column::number("MISSING", |told| count(told.difference.missing)),
                Column::number("CHANGED", |told| count(told.difference.changed)),
                Column::number("SURPLUS", |told| count(told.difference.surplus)),
            ],
        );
        for TableSums { table, from, to } in &self.sums {
            let what = if from == to { "the same on both sides" } else { "not the same" };
            text +=
                &format!("\n{table}: {} and {}, {what}", count(from.entries), count(to.entries));
        }
        let standing = match (self.applied, self.in_place) {
            (false, _) => "Nothing was changed.",
            (true, true) => "The names are in place. Start the directories on them.",
            (true, false) if args.last => "The target is not in place.",
            (true, false) => {
                "Copied. Stop every directory, and end it with --apply --final: until then no \
                 directory opens the target."
            }
        };
        text + "\n\n" + standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_and_folders_are_told_apart() {
        for url in ["postgres://u@h/d", "postgresql://h/d", "user=u host=/run/pg dbname=d"] {
            assert!(matches!(url.parse(), Ok(Side::Postgres(_))), "{url}");
        }
        for path in ["/var/lib/hayrick/directory", "postgres", "./a=b"] {
            assert!(matches!(path.parse(), Ok(Side::Folder(_))), "{path}");
        }
    }
}
