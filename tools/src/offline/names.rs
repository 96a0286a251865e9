//! `hayrick names`: the name database without its server.

mod copy;
mod rebuild;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum NamesCommand {
    /// Make the name database again from the volumes alone
    #[command(after_help = rebuild::HELP)]
    Rebuild(rebuild::RebuildArgs),
    /// Move the names from one engine to the other: an embedded database, or PostgreSQL
    #[command(after_help = copy::HELP)]
    Copy(copy::CopyArgs),
}

/// Runs the command.
pub async fn run(command: NamesCommand, output: Output) -> Result<(), Failure> {
    match command {
        NamesCommand::Rebuild(args) => rebuild::run(args, output).await,
        NamesCommand::Copy(args) => copy::run(&args, output).await,
    }
}
