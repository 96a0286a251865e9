//! `hayrick volume move`, `copy`, `repair` and `set-readonly`: volumes as their cluster sees them.

use clap::Args;
use hayrick_directory::http::admin::{StateChange, VolumeEntry};
use hayrick_directory::{Host, Order, StoreId, VolumeState};
use hayrick_store::VolumeId;
use serde_json::json;

use super::order::{OrderArgs, Step, carry_out};
use super::view::View;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::Output;

/// `hayrick volume move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Which volume
    volume: VolumeId,
    /// The store that gives its replica up
    from: StoreId,
    /// The store that gets one
    to: StoreId,
    #[command(flatten)]
    order: OrderArgs,
}

/// `hayrick volume copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Which volume
    volume: VolumeId,
    /// The store that gets a replica more
    to: StoreId,
    #[command(flatten)]
    order: OrderArgs,
}

/// `hayrick volume repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Which volume
    volume: VolumeId,
    #[command(flatten)]
    order: OrderArgs,
}

/// Moves a replica.
pub async fn relocate(args: &MoveArgs, output: Output) -> Result<(), Failure> {
    let MoveArgs { volume, from, to, order } = args;
    let admin = Admin::new(&order.admin);
    let view = View::ask(&admin).await?;
    let entry = view.volume(*volume)?;
    if !entry.replicas.contains(from) {
        return Err(Failure::failed(format!("volume {volume} has no replica on {from}"))
            .hint(format!("it is on {}", names(&entry.replicas))));
    }
    check_target(&view, entry, to, Some(from))?;
    let words = format!("move volume {volume} from {from} to {to}");
    let bytes = view.file_bytes(*volume);
    let given = Order::Move { volume: *volume, from: from.clone(), to: to.clone() };
    carry_out(&admin, &view, vec![Step::new(given, bytes, words)], order, output).await
}

/// Makes a replica more.
pub async fn copy(args: &CopyArgs, output: Output) -> Result<(), Failure> {
    let CopyArgs { volume, to, order } = args;
    let admin = Admin::new(&order.admin);
    let view = View::ask(&admin).await?;
    let entry = view.volume(*volume)?;
    check_target(&view, entry, to, None)?;
    let words = format!("copy volume {volume} to {to}");
    let given = Order::Copy { volume: *volume, to: to.clone() };
    let step = Step::new(given, view.file_bytes(*volume), words);
    carry_out(&admin, &view, vec![step], order, output).await
}

/// Has all replicas read whole, and made whole from one another.
pub async fn repair(args: &RepairArgs, output: Output) -> Result<(), Failure> {
    let RepairArgs { volume, order } = args;
    let admin = Admin::new(&order.admin);
    let view = View::ask(&admin).await?;
    let entry = view.volume(*volume)?;
    let many = u64::try_from(entry.replicas.len()).unwrap_or(u64::MAX);
    let bytes = view.file_bytes(*volume).saturating_mul(many);
    let words = format!("read volume {volume} on {} and repair it", names(&entry.replicas));
    let step = Step::new(Order::Repair { volume: *volume }, bytes, words);
    carry_out(&admin, &view, vec![step], order, output).await
}

/// Closes a volume for new needles in the whole cluster, or opens it again. `None` where all
/// is in one process: there the store itself is told.
pub async fn set_read_only(
    volume: VolumeId,
    read_only: bool,
    args: &AdminArgs,
    output: Output,
) -> Result<Option<()>, Failure> {
    let admin = Admin::new(args);
    let view = View::ask(&admin).await?;
    if view.map.stores.is_empty() {
        return Ok(None);
    }
    view.volume(volume)?;
    let state = if read_only { VolumeState::ReadOnly } else { VolumeState::Writable };
    admin.put(&format!("/directory/volumes/{volume}/state"), &StateChange { state }).await?;
    let word = if read_only { "read-only" } else { "writable" };
    let told = json!({"volume": volume, "state": state});
    output.answer(&told, |_| format!("volume {volume} is {word} in the whole cluster")).map(Some)
}

/// Refuses a store that cannot take a replica, or where it would be worth less.
fn check_target(
    view: &View,
    volume: &VolumeEntry,
    to: &StoreId,
    from: Option<&StoreId>,
) -> Result<(), Failure> {
    let target = view.store(to)?;
    let id = volume.volume;
    let elsewhere = "name another store: hayrick store list";
    if volume.replicas.contains(to) {
        return Err(Failure::failed(format!("volume {id} is on {to} already")).hint(elsewhere));
    }
    if !target.alive || target.draining {
        let why = if target.alive { "is being drained" } else { "is gone" };
        return Err(Failure::failed(format!("store {to} {why}")).hint(elsewhere));
    }
    let others: Vec<_> = volume.replicas.iter().filter(|store| Some(*store) != from).collect();
    let crowd = |store: &StoreId| view.crowd(store, &others);
    let free = view.map.stores.iter().filter(|store| store.alive && !store.draining);
    let free = free.map(|store| &store.store).filter(|store| !volume.replicas.contains(store));
    // Where it is, or for one more copy the best place.
    let present = from.map(crowd).or_else(|| free.map(crowd).min());
    if present.is_some_and(|present| crowd(to) > present) {
        let place = if target.host == Host::from(to) {
            format!("rack {}", target.rack)
        } else {
            format!("rack {}, machine {}", target.rack, target.host)
        };
        let message = format!("{to} stands too near to other copies of the volume ({place})");
        return Err(Failure::failed(message).hint("name a store elsewhere: hayrick store list"));
    }
    Ok(())
}

fn names(stores: &[StoreId]) -> String {
    stores.iter().map(StoreId::as_str).collect::<Vec<_>>().join(", ")
}
