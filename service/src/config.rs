//! Settings from a TOML file, the environment and flags, in rising precedence, over the defaults
//! of the caller's type.
//!
//! The caller's type says what may be written: serde with `deny_unknown_fields`, and
//! `#[serde(default)]` on every struct, so that an empty file is a complete configuration. What
//! must hold beyond types is the caller's second step.
//!
//! - File: TOML, sections are tables.
//! - Environment: `HAYRICK_SECTION__FIELD`; two underscores go one level down, so a variable
//!   without them (`HAYRICK_CONFIG`) is no setting. A value is read as TOML where the field takes
//!   that (numbers, booleans, lists) and as plain text otherwise.
//! - Flags: set by the caller as dotted keys.
//!
//! Any mistake stops the start, and the error names the file and line, the variable or the flag.
//!
//! ```
//! use hayrick_service::config::{ByteSize, Sources, Span};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Settings {
//!     max_object: ByteSize,
//!     drain: Span,
//! }
//!
//! impl Default for Settings {
//!     fn default() -> Self {
//!         Self { max_object: ByteSize::gib(5), drain: Span::secs(30) }
//!     }
//! }
//!
//! let settings: Settings = Sources::new().flag("drain", "2m").load()?;
//! assert_eq!(settings.drain.to_string(), "2m");
//! # Ok::<_, hayrick_service::config::ConfigError>(())
//! ```

mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use values::{ByteSize, Span, ValueError};

const ENV_PREFIX: &str = "HAYRICK_";
const ENV_LEVEL: &str = "__";

/// Why a configuration cannot be used. Every message says where the mistake stands.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or a key or value in it is wrong.
    #[error("{}:{line}:{column}: {message}{}; {}", path.display(), within(section), advice(message))]
    File {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake in characters, from 1.
        column: usize,
        /// The table it stands in; empty at the top.
        section: String,
        /// What is wrong.
        message: String,
    },
    /// An environment variable names no setting or has a wrong value.
    #[error("environment variable {name}: {message}; correct or unset it")]
    Env {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A flag's value is wrong.
    #[error("flag for {key}: {message}")]
    Flag {
        /// The dotted key the flag sets.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A configuration cannot be written as TOML.
    #[error("cannot print the configuration: {0}")]
    Print(#[from] toml::ser::Error),
}

fn within(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in [{section}]") }
}

fn advice(message: &str) -> &'static str {
    if message.starts_with("unknown field") {
        "correct the key's name or remove the line"
    } else {
        "correct the line"
    }
}

/// Where settings come from. Later kinds win over earlier ones: file, environment, flags.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    env: Vec<(String, OsString)>,
    flags: Vec<(String, Value)>,
}

impl Sources {
    /// No source: the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file; it must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Takes the settings among this process's environment variables.
    #[must_use]
    pub fn process_env(self) -> Self {
        self.env(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// Takes the settings among the given variables; others are passed over.
    #[must_use]
    pub fn env<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<OsString>,
    {
        let settings = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.env.extend(settings.filter(|(name, _)| env_key(name).is_some()));
        self.env.sort();
        self
    }

    /// Sets one dotted key, such as `public.listen`, above all other sources.
    #[must_use]
    pub fn flag(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.flags.push((key.into(), value.into()));
        self
    }

    /// The same for a flag that may not have been given.
    #[must_use]
    pub fn optional_flag(self, key: impl Into<String>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.flag(key, value),
            None => self,
        }
    }

    /// Merges the sources into the caller's type.
    pub fn load<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut table = match &self.file {
            Some(path) => read_file::<T>(path)?,
            None => Table::new(),
        };
        for (name, value) in &self.env {
            apply_env::<T>(&mut table, name, value)
                .map_err(|message| ConfigError::Env { name: name.clone(), message })?;
        }
        for (key, value) in &self.flags {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            table = with::<T>(&table, &path, value.clone())
                .map_err(|message| ConfigError::Flag { key: key.clone(), message })?;
        }
        check(&table).map_err(|message| ConfigError::Flag {
            key: "the whole configuration".to_owned(),
            message,
        })
    }
}

/// A configuration as TOML, for `config print`; secrets are hidden by their type.
pub fn print(config: &impl Serialize) -> Result<String, ConfigError> {
    Ok(toml::to_string_pretty(config)?)
}

fn read_file<T: DeserializeOwned>(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let wrong = |error: &toml::de::Error| file_error(path, &text, error);
    // First into the caller's type, as only the text knows its lines.
    toml::from_str::<T>(&text).map_err(|error| wrong(&error))?;
    toml::from_str::<Table>(&text).map_err(|error| wrong(&error))
}

fn file_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or_default();
    let section = before
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix('[')?.split(']').next())
        .map(|name| name.trim_matches(['[', ' ']).to_owned());
    ConfigError::File {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
        section: section.unwrap_or_default(),
        message: one_line(error.message()),
    }
}

/// `HAYRICK_SECTION__FIELD` as `[section, field]`.
fn env_key(name: &str) -> Option<Vec<String>> {
    let key = name.strip_prefix(ENV_PREFIX)?;
    let path: Vec<String> = key.split(ENV_LEVEL).map(str::to_ascii_lowercase).collect();
    (path.len() > 1).then_some(path)
}

/// Sets the variable as TOML if the caller's type takes that, else as text.
fn apply_env<T: DeserializeOwned>(
    table: &mut Table,
    name: &str,
    value: &OsString,
) -> Result<(), String> {
    let text = value.to_str().ok_or("the value is not UTF-8")?;
    let path = env_key(name).ok_or("not a setting")?;
    let as_text = with::<T>(table, &path, Value::String(text.to_owned()));
    let literal = text.parse::<Value>().ok().map(|value| with::<T>(table, &path, value));
    *table = match (literal, as_text) {
        (Some(Ok(set)), _) | (_, Ok(set)) => set,
        (Some(Err(message)), Err(_)) | (None, Err(message)) => return Err(message),
    };
    Ok(())
}

/// The table with one value set, if the caller's type takes it.
fn with<T: DeserializeOwned>(
    table: &Table,
    path: &[String],
    value: Value,
) -> Result<Table, String> {
    let mut changed = table.clone();
    set(&mut changed, path, value)?;
    check::<T>(&changed).map(|_| changed)
}

fn set(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    match path {
        [] => Err("the key is empty".to_owned()),
        [field] => {
            table.insert(field.clone(), value);
            Ok(())
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| format!("{section} is no section"))?;
            set(inner, rest, value)
        }
    }
}

fn check<T: DeserializeOwned>(table: &Table) -> Result<T, String> {
    table.clone().try_into().map_err(|error: toml::de::Error| one_line(error.to_string().trim()))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
