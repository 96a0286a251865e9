//! `hayrick rebalance`: volumes moved from the fullest stores to the emptiest.

use clap::Args;
use hayrick_directory::{Order, StoreId};

use super::balance::{Cargo, Load, Move, plan};
use super::order::{OrderArgs, Step, carry_out};
use super::view::View;
use crate::admin::Admin;
use crate::failure::Failure;
use crate::output::Output;

/// `hayrick rebalance`.
#[derive(Debug, Args)]
pub struct RebalanceArgs {
    /// Only tell what would be moved, which is the default
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    order: OrderArgs,
}

/// Runs the command.
pub async fn run(args: &RebalanceArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.order.admin);
    let view = View::ask(&admin).await?;
    let steps = moves(&view).into_iter().map(|Move { volume, from, to, bytes }| {
        let words = format!("move volume {volume} from {from} to {to}");
        Step::new(Order::Move { volume, from, to }, bytes, words)
    });
    carry_out(&admin, &view, steps.collect(), &args.order, output).await
}

fn moves(view: &View) -> Vec<Move> {
    // What a store that does not answer holds is not known, and it can give nothing either.
    let answers = |id: &StoreId| view.reports.get(id).is_some_and(|last| last.answers);
    let there = view.map.stores.iter().filter(|store| store.alive && answers(&store.store));
    let loads = there.filter(|store| !store.draining).map(|store| {
        let (free, total_bytes) = view.disks(&store.store);
        let used_bytes = total_bytes.saturating_sub(free);
        Load { store: store.store.clone(), used_bytes, total_bytes }
    });
    let whole = view.map.volumes.iter().filter(|volume| volume.moving.is_none());
    let whole = whole.filter(|volume| view.absent_replicas(volume) == 0);
    let cargo: Vec<Cargo> = whole
        .map(|volume| Cargo {
            volume: volume.volume,
            replicas: volume.replicas.clone(),
            bytes: view.file_bytes(volume.volume),
        })
        .collect();
    plan(loads.collect(), &cargo, &|store, others| view.crowd(store, others))
}
