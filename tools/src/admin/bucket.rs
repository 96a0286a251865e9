//! `hayrick bucket`.

mod images;

use clap::{Args, Subcommand, ValueEnum};
use hayrick_directory::http::admin::{AccessChange, NewBucket};
use hayrick_directory::{Access, Bucket, BucketName};
use serde_json::json;

use super::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{Column, Output, facts, table};
use crate::units;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum BucketCommand {
    /// Make a bucket; private unless told otherwise
    Create(CreateArgs),
    /// List all buckets
    #[command(visible_alias = "ls")]
    List(AdminArgs),
    /// Show one bucket
    Show(NameArgs),
    /// Change who may read and write a bucket
    Set(SetArgs),
    /// Show or change what may be made of a bucket's pictures: presets, sizes, signatures, formats
    Images(images::ImagesArgs),
    /// Remove an empty bucket and its keys
    Rm(NameArgs),
}

/// `hayrick bucket create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// 3 to 63 of a-z, 0-9, `.` and `-`
    name: BucketName,
    /// Who may read and list
    #[arg(long, value_enum, default_value = "private")]
    read: Who,
    /// Who may store and delete
    #[arg(long, value_enum, default_value = "private")]
    write: Who,
    /// On how many stores each object is kept
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    copies: u8,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick bucket set`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct SetArgs {
    /// Which bucket
    name: BucketName,
    /// Who may read and list
    #[arg(long, value_enum, group = "change")]
    read: Option<Who>,
    /// Who may store and delete
    #[arg(long, value_enum, group = "change")]
    write: Option<Who>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Commands about one bucket.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Which bucket
    name: BucketName,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Who {
    /// Anybody
    Public,
    /// Who shows a token signed with one of the bucket's keys
    Private,
}

impl From<Who> for Access {
    fn from(who: Who) -> Self {
        match who {
            Who::Public => Self::Public,
            Who::Private => Self::Private,
        }
    }
}

/// Runs the command.
pub async fn run(command: BucketCommand, output: Output) -> Result<(), Failure> {
    match command {
        BucketCommand::Create(args) => create(args, output).await,
        BucketCommand::List(args) => list(&args, output).await,
        BucketCommand::Show(NameArgs { name, admin }) => {
            let bucket: Bucket = Admin::new(&admin).get(&path(&name)).await?;
            output.answer(&bucket, shown)
        }
        BucketCommand::Set(SetArgs { name, read, write, admin }) => {
            let change =
                AccessChange { read: read.map(Access::from), write: write.map(Access::from) };
            let bucket: Bucket = Admin::new(&admin).patch(&path(&name), &change).await?;
            output.answer(&bucket, shown)
        }
        BucketCommand::Images(args) => images::run(args, output).await,
        BucketCommand::Rm(NameArgs { name, admin }) => {
            let removed = Admin::new(&admin).delete(&path(&name)).await;
            removed.map_err(|failure| {
                if failure.code.as_deref() == Some("BucketNotEmpty") {
                    failure.hint(format!("see what is in it: hayrick ls {name}"))
                } else {
                    failure
                }
            })?;
            output.answer(&json!({ "removed": name }), |_| format!("bucket {name} is removed"))
        }
    }
}

fn path(name: &BucketName) -> String {
    format!("/directory/buckets/{name}")
}

async fn create(args: CreateArgs, output: Output) -> Result<(), Failure> {
    let CreateArgs { name, read, write, copies, admin } = args;
    let new = NewBucket { name, read: read.into(), write: write.into(), copies };
    let bucket: Bucket = Admin::new(&admin).post("/directory/buckets", &new).await?;
    output.answer(&bucket, shown)?;
    if !output.is_json() && bucket.write == Access::Private {
        output.note(format_args!("Make a key to write to it: hayrick key create {}", bucket.name));
    }
    Ok(())
}

async fn list(args: &AdminArgs, output: Output) -> Result<(), Failure> {
    let buckets: Vec<Bucket> = Admin::new(args).get("/directory/buckets").await?;
    output.answer(&buckets, |buckets| {
        table(
            buckets,
            &[
                Column::text("BUCKET", |bucket| bucket.name.to_string()),
                Column::text("READ", |bucket| word(bucket.read).to_owned()),
                Column::text("WRITE", |bucket| word(bucket.write).to_owned()),
                Column::number("COPIES", |bucket| bucket.copies.to_string()),
                Column::text("CREATED", |bucket| units::time_ms(bucket.created_ms)),
            ],
        )
    })
}

fn shown(bucket: &Bucket) -> String {
    facts([
        ("bucket", bucket.name.to_string()),
        ("read", word(bucket.read).to_owned()),
        ("write", word(bucket.write).to_owned()),
        ("copies", bucket.copies.to_string()),
        ("created", units::time_ms(bucket.created_ms)),
    ])
}

const fn word(access: Access) -> &'static str {
    match access {
        Access::Public => "public",
        Access::Private => "private",
    }
}
