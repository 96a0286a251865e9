//! `hayrick keeper status`, `pause`, `resume` and `cancel`: what the keeper is told.

use clap::{Args, Subcommand};
use hayrick_directory::http::admin::{ClusterStatus, NamedOrder};
use hayrick_directory::{Order, OrderId};
use serde_json::json;

use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{Output, facts, one_line};

/// What to do. All of it is asked of a directory.
#[derive(Debug, Subcommand)]
pub enum KeeperCommand {
    /// Show which keeper leads, and what it was told
    Status(AdminArgs),
    /// Have it begin nothing; what runs comes to its end
    Pause(AdminArgs),
    /// Have it go on
    Resume(AdminArgs),
    /// Take an order back
    Cancel(CancelArgs),
}

/// `hayrick keeper cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Which order, as `hayrick keeper status` names it
    order: OrderId,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
pub async fn run(command: KeeperCommand, output: Output) -> Result<(), Failure> {
    match command {
        KeeperCommand::Status(args) => status(&Admin::new(&args), output).await,
        KeeperCommand::Pause(args) => {
            let given: NamedOrder =
                Admin::new(&args).post("/directory/orders", &Order::Pause).await?;
            output.answer(&given, |_| "The keeper begins nothing until: hayrick keeper resume")
        }
        KeeperCommand::Resume(args) => {
            cancel(&Admin::new(&args), &Order::Pause.id()).await?;
            output.answer(&json!({"paused": false}), |_| "The keeper goes on.")
        }
        KeeperCommand::Cancel(CancelArgs { order, admin }) => {
            cancel(&Admin::new(&admin), &order).await?;
            output.answer(&json!({"cancelled": order}), |_| {
                format!("{} is taken back", order.as_str())
            })
        }
    }
}

async fn cancel(admin: &Admin, order: &OrderId) -> Result<(), Failure> {
    let path = format!("/directory/orders/{}", order.as_str());
    admin.delete(&path).await.map_err(|failure| match failure.code.as_deref() {
        Some("NoSuchOrder") => failure.hint("see which there are: hayrick keeper status"),
        _ => failure,
    })
}

async fn status(admin: &Admin, output: Output) -> Result<(), Failure> {
    let map: ClusterStatus = admin.get("/directory/cluster").await?;
    let paused = map.orders.iter().any(|order| order.order == Order::Pause);
    let told = json!({"keeper": map.keeper, "paused": paused, "orders": map.orders});
    output.answer(&told, |_| {
        let leader = map.keeper.as_ref();
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), one_line);
        let mut orders: Vec<&str> = map.orders.iter().map(|order| order.id.as_str()).collect();
        orders.retain(|order| *order != Order::Pause.id().as_str());
        facts([
            ("keeper", text(leader.map(|keeper| keeper.name.as_str()))),
            ("term", leader.map_or_else(|| "-".to_owned(), |keeper| keeper.term.to_string())),
            ("address", text(leader.and_then(|keeper| keeper.address.as_deref()))),
            ("paused", if paused { "yes: hayrick keeper resume" } else { "no" }.to_owned()),
            ("orders", if orders.is_empty() { "none".to_owned() } else { orders.join(", ") }),
        ])
    })
}
