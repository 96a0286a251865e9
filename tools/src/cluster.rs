//! The cluster as a whole: run for a try, looked at, and told what to do. All but the first is
//! asked of the admin listener of a directory.

mod balance;
pub mod dev;
pub mod fsck;
pub mod keeper;
mod order;
pub mod rebalance;
mod status;
pub mod store;
mod view;
pub mod volume;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Run a whole cluster on this machine, to try it out
    #[command(after_help = dev::HELP)]
    Dev(dev::DevArgs),
    /// Show stores, volumes and the keeper on one screen
    Status(status::StatusArgs),
}

/// Runs the command.
pub async fn run(command: ClusterCommand, output: Output) -> Result<(), Failure> {
    match command {
        ClusterCommand::Dev(args) => dev::run(args, output).await,
        ClusterCommand::Status(args) => status::run(&args, output).await,
    }
}
