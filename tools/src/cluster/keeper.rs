//! `hayrick keeper status`, `pause`, `resume` and `cancel`: what the keeper is told.

use clap::{Args, Subcommand};
use hayrick_directory::http::admin::{ClusterStatus, NamedOrder, VolumeEntry};
use hayrick_directory::keeper::KeeperStatus;
use hayrick_directory::{KeeperInfo, Order, OrderId, StoreId};
use hayrick_store::VolumeId;
use serde::Serialize;
use serde_json::json;

use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{Column, Output, facts, one_line, table};
use crate::units::percent;

/// What to do. All of it is asked of a directory.
#[derive(Debug, Subcommand)]
pub enum KeeperCommand {
    /// Show which keeper leads, and what it was told
    Status(AdminArgs),
    /// Have it begin nothing; what runs comes to its end
    Pause(AdminArgs),
    /// Have it go on
    Resume(AdminArgs),
    /// Take an order back; what has begun of it is given up, unless a volume has changed hands
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
            let admin = Admin::new(&admin);
            cancel(&admin, &order).await?;
            let too_late = changed_hands(&admin, &order).await?;
            let answer = json!({"cancelled": order, "changed_hands": too_late});
            output.answer(&answer, |_| match &too_late[..] {
                [] => format!("{} is taken back; what was copied is removed", order.as_str()),
                late => {
                    let late: Vec<_> = late.iter().map(ToString::to_string).collect();
                    format!(
                        "{} is taken back, too late for volume {}: the new copy has taken over, and \
                         the old one is removed",
                        order.as_str(),
                        late.join(", ")
                    )
                }
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

/// The volumes whose move is past the point where the keeper gives it up: the old replica is not in
/// the set any more.
async fn changed_hands(admin: &Admin, order: &OrderId) -> Result<Vec<VolumeId>, Failure> {
    let map: ClusterStatus = admin.get("/directory/cluster").await?;
    let told = order.order().map_err(|error| Failure::failed(error.to_string()))?;
    let concerns = |volume: &VolumeEntry, from: &StoreId| match &told {
        Order::Move { volume: id, from: store, .. } => volume.volume == *id && store == from,
        Order::Drain { store } => store == from,
        Order::Rebalance => true,
        Order::Pause | Order::Copy { .. } | Order::Repair { .. } => false,
    };
    let late = map.volumes.iter().filter(|volume| {
        let gone = volume.moving.as_ref().filter(|from| !volume.replicas.contains(from));
        gone.is_some_and(|from| concerns(volume, from))
    });
    Ok(late.map(|volume| volume.volume).collect())
}

/// What the leading keeper says of itself; `None` if none leads, or it is not reached.
pub async fn ask(admin: &Admin, map: &ClusterStatus) -> Option<KeeperStatus> {
    let address = map.keeper.as_ref()?.address.as_deref()?;
    admin.at(address).get("/keeper/status").await.ok()
}

/// Whether it was told to begin nothing.
pub fn is_paused(map: &ClusterStatus) -> bool {
    map.orders.iter().any(|order| order.order == Order::Pause)
}

#[derive(Serialize)]
struct Answer<'a> {
    keeper: &'a Option<KeeperInfo>,
    paused: bool,
    orders: &'a [NamedOrder],
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<KeeperStatus>,
}

async fn status(admin: &Admin, output: Output) -> Result<(), Failure> {
    let map: ClusterStatus = admin.get("/directory/cluster").await?;
    let status = ask(admin, &map).await;
    let paused = is_paused(&map);
    let answer = Answer { keeper: &map.keeper, paused, orders: &map.orders, status };
    output.answer(&answer, Answer::for_people)
}

impl Answer<'_> {
    fn for_people(&self) -> String {
        let leader = self.keeper.as_ref();
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), one_line);
        let mut orders: Vec<&str> = self.orders.iter().map(|order| order.id.as_str()).collect();
        orders.retain(|order| *order != Order::Pause.id().as_str());
        let paused = if self.paused { "yes: hayrick keeper resume" } else { "no" };
        let facts = facts([
            ("keeper", text(leader.map(|keeper| keeper.name.as_str()))),
            ("term", leader.map_or_else(|| "-".to_owned(), |keeper| keeper.term.to_string())),
            ("address", text(leader.and_then(|keeper| keeper.address.as_deref()))),
            ("paused", paused.to_owned()),
            ("orders", if orders.is_empty() { "none".to_owned() } else { orders.join(", ") }),
        ]);
        let jobs = match (&self.status, leader) {
            (Some(status), _) => jobs(status),
            (None, Some(_)) => "\n\nIt is not reached, so what it does is not known.".to_owned(),
            (None, None) => String::new(),
        };
        facts + &jobs
    }
}

/// What a keeper is at, below what else is told; empty if that is nothing.
pub fn jobs(status: &KeeperStatus) -> String {
    let mut parts = Vec::new();
    if !status.running.is_empty() {
        parts.push(table(
            &status.running,
            &[
                Column::number("VOLUME", |job| job.volume.to_string()),
                Column::text("WORK", |job| one_line(&job.work)),
                Column::text("STEP", |job| one_line(&job.step)),
                Column::number("DONE", |job| percent(job.done_bytes, job.total_bytes)),
            ],
        ));
    }
    if !status.waiting.is_empty() {
        parts.push(format!("{} jobs wait for these to end", status.waiting.len()));
    }
    parts.extend(status.scrubs.iter().map(|scrub| {
        let done = percent(scrub.done_bytes, scrub.total_bytes);
        format!("volume {}: {} scrubs its replica, {done} done", scrub.volume, scrub.store)
    }));
    let stuck = status.stuck.iter();
    parts
        .extend(stuck.map(|stuck| format!("volume {}: {}", stuck.volume, one_line(&stuck.reason))));
    parts.insert(0, String::new());
    parts.join("\n\n")
}
