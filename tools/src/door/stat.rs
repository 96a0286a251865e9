//! `hayrick stat`.

use axum::http::Method;
use clap::Args;
use serde::Serialize;

use super::object::{ObjectArg, Target};
use super::{Door, DoorArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, facts, one_line};
use crate::units;

/// `hayrick stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// Which object
    #[arg(value_name = "BUCKET/NAME")]
    object: ObjectArg,
    #[command(flatten)]
    door: DoorArgs,
}

#[derive(Debug, Serialize)]
struct Stat {
    bucket: String,
    name: String,
    size_bytes: Option<u64>,
    content_type: Option<String>,
    etag: Option<String>,
    modified: Option<String>,
    needle: Option<String>,
    cache_control: Option<String>,
}

/// Runs the command.
pub async fn run(args: &StatArgs, output: Output) -> Result<(), Failure> {
    let target = &args.object.0;
    let answer = Door::new(&args.door).send(Method::HEAD, target, "").await;
    let response = answer.map_err(|failure| named(failure, target))?;
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let stat = Stat {
        bucket: target.bucket.to_string(),
        name: target.name.clone(),
        size_bytes: header("content-length").and_then(|value| value.parse().ok()),
        content_type: header("content-type"),
        etag: header("etag"),
        modified: header("last-modified"),
        needle: header("x-hayrick-needle"),
        cache_control: header("cache-control"),
    };
    output.answer(&stat, shown)
}

/// An answer to HEAD has no words of its own.
fn named(failure: Failure, target: &Target) -> Failure {
    if failure.exit != Exit::NotFound {
        return failure;
    }
    let message = format!("there is no {}", one_line(&target.to_string()));
    Failure { message, ..failure }.hint(format!("see what there is: hayrick ls {}", target.bucket))
}

fn shown(stat: &Stat) -> String {
    let size = stat.size_bytes.map(|bytes| format!("{} ({bytes} bytes)", units::size(bytes)));
    let rows = [
        ("object", Some(format!("{}/{}", stat.bucket, stat.name))),
        ("size", size),
        ("type", stat.content_type.clone()),
        ("etag", stat.etag.clone()),
        ("modified", stat.modified.clone()),
        ("needle", stat.needle.clone()),
        ("cache", stat.cache_control.clone()),
    ];
    facts(rows.into_iter().filter_map(|(name, value)| Some((name, one_line(&value?)))))
}
