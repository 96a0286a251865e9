//! The command line: what may be written.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::admin::bucket::BucketCommand;
use crate::admin::key::KeyCommand;
use crate::admin::scrub::ScrubCommand;
use crate::admin::status::StatusArgs;
use crate::admin::volume::VolumeCommand;
use crate::config::Address;
use crate::door::get::GetArgs;
use crate::door::ls::LsArgs;
use crate::door::put::PutArgs;
use crate::door::rm::RmArgs;
use crate::door::sign::SignArgs;
use crate::door::stat::StatArgs;
use crate::offline::disk::DiskCommand;
use crate::offline::names::NamesCommand;

const AFTER_HELP: &str = "\
Exit codes:
    0  it worked
    1  it did not work
    2  the command line or the configuration is wrong; nothing was done
    3  what was named is not there
    4  damaged data was found
    5  the server was not reached
    6  credentials are missing or wrong
  130  interrupted by Ctrl-C
  141  the reader of standard output went away

Answers go to standard output; logs, progress and errors go to standard error.
With --json, answers and errors are JSON.";

/// A store for billions of small blobs, photos first.
#[derive(Debug, Parser)]
#[command(name = "hayrick", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in this process: store, directory and public door
    Up(UpArgs),
    /// Run a store of a cluster
    Store(UpArgs),
    /// Run a directory of a cluster
    Directory(UpArgs),
    /// Run a proxy of a cluster: the public door
    Proxy(UpArgs),
    /// Run a keeper of a cluster: it repairs, moves and compacts volumes
    Keeper(UpArgs),
    /// Show how a running server is
    Status(StatusArgs),
    /// Look after volumes
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Look after the scrub, which verifies every byte again and again
    #[command(subcommand)]
    Scrub(ScrubCommand),
    /// Look at data directories without their server
    #[command(subcommand)]
    Disk(DiskCommand),
    /// Look after the name database without its server
    #[command(subcommand)]
    Names(NamesCommand),
    /// Make, show, change and remove buckets
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Make, list and remove the access keys of a bucket
    #[command(subcommand)]
    Key(KeyCommand),
    /// Upload a file
    Put(PutArgs),
    /// Download an object
    Get(GetArgs),
    /// Delete objects
    Rm(RmArgs),
    /// List the objects of a bucket
    Ls(LsArgs),
    /// Show what is known of an object
    Stat(StatArgs),
    /// Sign a URL that opens one object of a private bucket
    Sign(SignArgs),
    /// Check or print the configuration of a server
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Flags of `hayrick up`, `store`, `directory`, `proxy` and `keeper`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write the addresses and the process id to this file as JSON once requests are served
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Where a server's settings come from.
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "HAYRICK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data folder [default: hayrick-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Public door [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<Address>,
    /// Internal store listener [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    pub store_listen: Option<Address>,
    /// Admin listener [default: 127.0.0.1:8082]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<Address>,
}

/// `hayrick config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell whether a server would start with it
    Check(ConfigArgs),
    /// Print all settings with their values, secrets hidden
    Print(ConfigArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_may_stand_anywhere() {
        for words in [["hayrick", "--json", "status"], ["hayrick", "status", "--json"]] {
            assert!(Cli::try_parse_from(words).unwrap().global.json);
        }
    }
}
