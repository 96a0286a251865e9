//! `hayrick key`.

use clap::{Args, Subcommand};
use hayrick_directory::http::admin::KeyInfo;
use hayrick_directory::{AccessKey, BucketName};
use serde_json::json;

use super::{Admin, AdminArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, table};
use crate::units;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its secret is shown this once
    Create(BucketArgs),
    /// List the keys of a bucket, without their secrets
    #[command(visible_alias = "ls")]
    List(BucketArgs),
    /// Remove a key; what it signed opens nothing from then on
    Rm(RmArgs),
}

/// Commands about the keys of one bucket.
#[derive(Debug, Args)]
pub struct BucketArgs {
    /// Which bucket
    bucket: BucketName,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick key rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Which bucket
    bucket: BucketName,
    /// The key's id, the part before the colon
    id: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
pub async fn run(command: KeyCommand, output: Output) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => create(&args, output).await,
        KeyCommand::List(args) => list(&args, output).await,
        KeyCommand::Rm(args) => remove(&args, output).await,
    }
}

fn path(bucket: &BucketName) -> String {
    format!("/directory/buckets/{bucket}/keys")
}

async fn create(args: &BucketArgs, output: Output) -> Result<(), Failure> {
    let key: AccessKey = Admin::new(&args.admin).start(&path(&args.bucket)).await?;
    if output.is_json() {
        return output.json(&key);
    }
    output.text(format_args!("{}:{}", key.id, key.secret.expose()))?;
    output.note("The secret is not shown again. Use it with --key or HAYRICK_KEY.");
    Ok(())
}

async fn list(args: &BucketArgs, output: Output) -> Result<(), Failure> {
    let keys: Vec<KeyInfo> = Admin::new(&args.admin).get(&path(&args.bucket)).await?;
    output.answer(&keys, |keys| {
        table(
            keys,
            &[
                Column::text("KEY", |key| key.id.clone()),
                Column::text("BUCKET", |key| key.bucket.to_string()),
                Column::text("CREATED", |key| units::time_ms(key.created_ms)),
            ],
        )
    })
}

/// Looks first, so that a key of another bucket is not removed by a slip.
async fn remove(args: &RmArgs, output: Output) -> Result<(), Failure> {
    let RmArgs { bucket, id, admin } = args;
    let admin = Admin::new(admin);
    let keys: Vec<KeyInfo> = admin.get(&path(bucket)).await?;
    // The secret may stand behind the id, as `key create` prints both.
    let id = id.split(':').next().unwrap_or_default();
    if !keys.iter().any(|key| key.id == id) {
        return Err(Failure::new(Exit::NotFound, format!("bucket {bucket} has no key {id}"))
            .hint(format!("see its keys: hayrick key list {bucket}")));
    }
    admin.delete(&format!("/directory/keys/{id}")).await?;
    output.answer(&json!({ "removed": id }), |_| format!("key {id} is removed"))
}
