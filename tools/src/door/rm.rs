//! `hayrick rm`.

use axum::http::Method;
use clap::Args;
use serde_json::json;

use super::object::ObjectArg;
use super::{Door, DoorArgs};
use crate::failure::Failure;
use crate::output::{Output, one_line};

/// `hayrick rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Which objects
    #[arg(value_name = "BUCKET/NAME", required = true)]
    objects: Vec<ObjectArg>,
    #[command(flatten)]
    door: DoorArgs,
}

/// Runs the command. One that fails does not stop the others.
pub async fn run(args: &RmArgs, output: Output) -> Result<(), Failure> {
    let door = Door::new(&args.door);
    let (mut removed, mut failed) = (Vec::new(), None);
    for ObjectArg(target) in &args.objects {
        match door.send(Method::DELETE, target, "").await {
            Ok(_) => removed.push(target.to_string()),
            Err(failure) => {
                let message = format!("{}: {}", one_line(&target.to_string()), failure.message);
                let failure = Failure { message, ..failure };
                if let Some(earlier) = failed.replace(failure) {
                    output.failure(&earlier);
                }
            }
        }
    }
    if output.is_json() {
        output.json(&json!({ "removed": removed }))?;
    } else {
        for name in removed {
            output.text(format_args!("{} is deleted", one_line(&name)))?;
        }
    }
    failed.map_or(Ok(()), Err)
}
