//! `hayrick cluster`: the cluster as a whole.

pub mod dev;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Run a whole cluster on this machine, to try it out
    #[command(after_help = dev::HELP)]
    Dev(dev::DevArgs),
}

/// Runs the command.
pub async fn run(command: ClusterCommand, output: Output) -> Result<(), Failure> {
    match command {
        ClusterCommand::Dev(args) => dev::run(args, output).await,
    }
}
