//! `hayrick config check|print`.

use serde_json::json;

use crate::cli::ConfigCommand;
use crate::config::HayrickConfig;
use crate::failure::Failure;
use crate::output::Output;

/// Runs the command.
pub fn run(command: &ConfigCommand, output: Output) -> Result<(), Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::usage(error.to_string());
    match command {
        ConfigCommand::Check(args) => {
            let config = HayrickConfig::load(args).map_err(|error| wrong(&error))?;
            config.check().map_err(|error| wrong(&error))?;
            output.answer(&json!({ "ok": true }), |_| "the configuration is good")
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
