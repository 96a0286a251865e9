//! The hayrick command: runs the servers and looks after them.
//!
//! - [`up`]: all roles in one process;
//! - `admin`: commands that a running server's admin listener answers;
//! - `door`: commands that go through the public door, as any client does;
//! - `offline`: commands on volume files and data directories that no server has open;
//! - [`config`]: what a server runs by, as written and as checked.
//!
//! Commands answer on standard output, through [`output`] only; logs, progress and errors
//! go to standard error. A command ends in a [`Failure`] or in success, and [`main`] turns
//! that into the exit code that `hayrick --help` promises.

#![forbid(unsafe_code)]

mod admin;
pub mod cli;
pub mod config;
mod config_command;
mod damage;
mod door;
mod failure;
mod offline;
pub mod output;
mod progress;
mod units;
pub mod up;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

pub use failure::{Exit, Failure};

use cli::{Cli, Command, UpArgs};
use output::Output;
use up::Role;

/// Longest wait for threads of a server that is done; its data is synced by then.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come this way too, and choose their own stream and code.
        Err(told) => told.exit(),
    };
    let output = Output::new(cli.global.json);
    match run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli, output: Output) -> Result<(), Failure> {
    match cli.command {
        Command::Up(args) => serve(Role::All, args, output),
        Command::Store(args) => serve(Role::Store, args, output),
        Command::Directory(args) => serve(Role::Directory, args, output),
        Command::Proxy(args) => serve(Role::Proxy, args, output),
        Command::Keeper(args) => serve(Role::Keeper, args, output),
        Command::Config(command) => config_command::run(&command, output),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(no_runtime)?;
            let ended = runtime.block_on(client(command, output));
            // A read of standard input cannot be called back.
            runtime.shutdown_background();
            ended
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn no_runtime(error: io::Error) -> Failure {
    Failure::failed(format!("cannot start: {error}"))
}

fn serve(role: Role, args: UpArgs, output: Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(no_runtime)?;
    let ended = runtime.block_on(up::run(role, args, output));
    runtime.shutdown_timeout(LEAVE_WITHIN);
    ended
}

async fn client(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Status(args) => admin::status::run(&args, output).await,
        Command::Volume(command) => admin::volume::run(command, output).await,
        Command::Scrub(command) => admin::scrub::run(command, output).await,
        Command::Disk(command) => offline::disk::run(command, output).await,
        Command::Names(command) => offline::names::run(command, output).await,
        Command::Bucket(command) => admin::bucket::run(command, output).await,
        Command::Key(command) => admin::key::run(command, output).await,
        Command::Put(args) => interruptible(door::put::run(&args, output)).await,
        Command::Get(args) => interruptible(door::get::run(&args, output)).await,
        Command::Rm(args) => interruptible(door::rm::run(&args, output)).await,
        Command::Ls(args) => interruptible(door::ls::run(&args, output)).await,
        Command::Stat(args) => interruptible(door::stat::run(&args, output)).await,
        Command::Sign(args) => door::sign::run(&args, output),
        // These have runtimes of their own, or need none.
        Command::Up(_)
        | Command::Store(_)
        | Command::Directory(_)
        | Command::Proxy(_)
        | Command::Keeper(_)
        | Command::Config(_) => Ok(()),
    }
}

/// Runs a command until Ctrl-C; what it was doing is dropped, which leaves nothing behind.
async fn interruptible(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        ended = command => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    }
}
