//! `hayrick config check|print`.

use serde_json::json;

use crate::cli::ConfigCommand;
use crate::config::{HayrickConfig, MemoryBounds};
use crate::failure::Failure;
use crate::output::Output;
use crate::units::count;
use crate::up::open_files;

/// Runs the command.
pub fn run(command: &ConfigCommand, output: Output) -> Result<(), Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::usage(error.to_string());
    match command {
        ConfigCommand::Check(args) => {
            let config = HayrickConfig::load(args).map_err(|error| wrong(&error))?;
            let settings = config.check().map_err(|error| wrong(&error))?;
            let (memory, connections) = (MemoryBounds::of(&settings), settings.max_connections());
            let answer = json!({
                "ok": true,
                "client_memory_bytes": memory.total(),
                "client_memory": memory,
                "connections": connections,
                "open_files": open_files::needed(connections),
            });
            output.answer(&answer, |_| {
                format!(
                    "the configuration is good\n\n\
                     clients can make it use at most\n  \
                     memory       {memory}\n  \
                     connections  {}\n  \
                     open files   {}",
                    count(connections as u64),
                    count(open_files::needed(connections)),
                )
            })
        }
        ConfigCommand::Print(args) => {
            let config = HayrickConfig::load(args).map_err(|error| wrong(&error))?;
            if output.is_json() {
                return output.json(&config);
            }
            let text = hayrick_service::config::print(&config).map_err(|error| wrong(&error))?;
            output.text(text.trim_end())
        }
    }
}
