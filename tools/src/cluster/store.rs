//! `hayrick store list`, `drain`, `undrain` and `remove`: stores as their cluster sees them.

use clap::{Args, Subcommand};
use hayrick_directory::{Order, StoreId};
use serde_json::json;

use super::order::{OrderArgs, Step, carry_out};
use super::status::store_table;
use super::view::View;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::Output;

/// What to do. All of it is asked of a directory.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List the stores of the cluster
    #[command(visible_alias = "ls")]
    List(AdminArgs),
    /// Move everything away from a store; it gets nothing new
    Drain(DrainArgs),
    /// Let a store take volumes again; what has moved stays where it is
    Undrain(OneArgs),
    /// Strike a store from the map that is gone and holds nothing
    Remove(OneArgs),
}

/// `hayrick store drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which store
    store: StoreId,
    #[command(flatten)]
    order: OrderArgs,
}

/// Commands about one store.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Which store
    store: StoreId,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
pub async fn run(command: StoreCommand, output: Output) -> Result<(), Failure> {
    match command {
        StoreCommand::List(args) => {
            let view = View::ask(&Admin::new(&args)).await?;
            output.answer(&view.map.stores, |_| store_table(&view))
        }
        StoreCommand::Drain(args) => drain(&args, output).await,
        StoreCommand::Undrain(OneArgs { store, admin }) => {
            let order = Order::Drain { store: store.clone() }.id();
            let path = format!("/directory/orders/{}", order.as_str());
            Admin::new(&admin).delete(&path).await?;
            let told = json!({"store": store, "draining": false});
            output.answer(&told, |_| format!("store {store} takes volumes again"))
        }
        StoreCommand::Remove(OneArgs { store, admin }) => {
            Admin::new(&admin).delete(&format!("/directory/stores/{store}")).await?;
            let told = json!({"store": store, "removed": true});
            output.answer(&told, |_| format!("store {store} is struck from the map"))
        }
    }
}

async fn drain(args: &DrainArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.order.admin);
    let view = View::ask(&admin).await?;
    let store = &view.store(&args.store)?.store;
    let volumes: Vec<_> = view.volumes_on(store).collect();
    let takers = |replicas: &[StoreId]| {
        let takes = view.map.stores.iter().filter(|other| other.alive && !other.draining);
        takes.filter(|other| other.store != *store && !replicas.contains(&other.store)).count()
    };
    let stuck = volumes.iter().filter(|volume| takers(&volume.replicas) == 0).count();
    if stuck > 0 {
        output.note(format_args!("{stuck} volumes have nowhere to go until there are more stores"));
    }
    let bytes = volumes.iter().map(|volume| view.file_bytes(volume.volume)).sum();
    let words = format!("move {} volumes away from {store}", volumes.len());
    let step = Step::new(Order::Drain { store: store.clone() }, bytes, words);
    carry_out(&admin, &view, vec![step], &args.order, output).await
}
