//! What a server runs by: as written by an operator ([`HayrickConfig`]), and checked and
//! typed ([`Settings`]).

mod cluster;
mod memory;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hayrick_directory::{DirectoryConfig, DirectoryError, KeeperConfig};
use hayrick_proxy::{ProxyConfig, ProxyOptions};
use hayrick_service::auth::Secret;
use hayrick_service::config::{ByteSize, ConfigError, Sources};
use hayrick_service::listen::{LimitError, ListenLimits, ListenOptions, is_loopback};
use hayrick_service::logging::LogConfig;
use hayrick_store::config::{StoreConfig, StoreOptions};
use serde::{Deserialize, Serialize};

use crate::cli::ConfigArgs;
pub use cluster::ClusterConfig;
pub use memory::MemoryBounds;

/// Connections of the public door where nothing else is said.
const PUBLIC_CONNECTIONS: usize = 10_000;
/// The same of the listeners that only peers and operators use.
const INNER_CONNECTIONS: usize = 1000;

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HayrickConfig {
    /// Folder of everything that is kept, unless `store.disks` names others for the
    /// volumes. Default `hayrick-data`.
    pub data: PathBuf,
    /// The start is refused if clients could make the server use more memory than this. Default:
    /// no such check. `hayrick config check` tells what it comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_ceiling: Option<ByteSize>,
    /// The public door.
    pub public: PublicConfig,
    /// Where stores are asked by proxies.
    pub internal: InternalConfig,
    /// Where operators ask.
    pub admin: AdminConfig,
    /// What is logged and how.
    pub log: LogConfig,
    /// The store. Without `disks`, one data directory, `disk` in the data folder.
    pub store: StoreConfig,
    /// The directory.
    pub directory: DirectoryConfig,
    /// The proxy.
    pub proxy: ProxyConfig,
    /// The keeper. Not for `hayrick up`.
    pub keeper: KeeperConfig,
    /// The part of this server in a cluster of many processes. Not for `hayrick up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterConfig>,
}

/// The `[public]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicConfig {
    /// Address and port. Default `127.0.0.1:8080`.
    pub listen: Address,
    /// Lets anybody write to buckets that take unsigned uploads even where the address
    /// is not loopback. Default false: such a server does not start.
    pub allow_open_buckets: bool,
    /// Limits of its connections.
    pub limits: ListenLimits,
}

/// The `[internal]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InternalConfig {
    /// Address and port. Default `127.0.0.1:8081`.
    pub listen: Address,
    /// The bearer token that opens it. Needed where the address is not loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Limits of its connections.
    pub limits: ListenLimits,
}

/// The `[admin]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port. Default `127.0.0.1:8082`.
    pub listen: Address,
    /// The bearer token that opens it. Needed where the address is not loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Limits of its connections.
    pub limits: ListenLimits,
}

/// An address and a port, written `127.0.0.1:8080` or `[::1]:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(pub SocketAddr);

/// A text that is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: write IP:PORT, such as 127.0.0.1:8080 or 0.0.0.0:8080")]
pub struct AddressError(String);

impl Default for HayrickConfig {
    fn default() -> Self {
        Self {
            data: "hayrick-data".into(),
            memory_ceiling: None,
            public: PublicConfig::default(),
            internal: InternalConfig::default(),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
            store: StoreConfig::default(),
            directory: DirectoryConfig::default(),
            proxy: ProxyConfig::default(),
            keeper: KeeperConfig::default(),
            cluster: None,
        }
    }
}

impl Default for PublicConfig {
    fn default() -> Self {
        Self {
            listen: Address::loopback(8080),
            allow_open_buckets: false,
            limits: ListenLimits::default(),
        }
    }
}

impl Default for InternalConfig {
    fn default() -> Self {
        Self { listen: Address::loopback(8081), token: None, limits: ListenLimits::default() }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: Address::loopback(8082), token: None, limits: ListenLimits::default() }
    }
}

impl Address {
    fn loopback(port: u16) -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse().map(Self).map_err(|_| AddressError(text.to_owned()))
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a server runs by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of everything that is kept.
    pub data: PathBuf,
    /// The public door.
    pub public: Listener,
    /// Whether buckets that take unsigned uploads may be reached from elsewhere.
    pub allow_open_buckets: bool,
    /// Where stores are asked.
    pub internal: Listener,
    /// Where operators ask.
    pub admin: Listener,
    /// What is logged.
    pub log: LogConfig,
    /// The store.
    pub store: StoreOptions,
    /// The directory.
    pub directory: DirectoryConfig,
    /// The proxy.
    pub proxy: ProxyOptions,
    /// The keeper.
    pub keeper: KeeperConfig,
    /// The part in a cluster.
    pub cluster: Option<ClusterConfig>,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What opens it; `None` for everybody who reaches it.
    pub token: Option<Secret>,
    /// Its limits.
    pub options: ListenOptions,
}

impl Settings {
    /// Connections of all listeners at one time.
    pub fn max_connections(&self) -> usize {
        let listeners = [&self.public, &self.internal, &self.admin];
        listeners.iter().map(|listener| listener.options.max_connections).sum()
    }
}

impl Listener {
    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.address)
    }
}

/// A configuration that makes no sense, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A source cannot be read or has an unknown key or a wrong value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A limit of a listener.
    #[error("{section}.limits.{problem}")]
    Limit {
        /// The listener's section.
        section: &'static str,
        /// What is wrong.
        problem: LimitError,
    },
    /// A listener for trusted peers only would be open to others.
    #[error(
        "{section}.listen is {address}, which other machines reach, and there is no \
         {section}.token: set a long random token, or listen on 127.0.0.1"
    )]
    Exposed {
        /// The listener's section.
        section: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// A value of the store.
    #[error(transparent)]
    Store(#[from] hayrick_store::config::ConfigProblem),
    /// A value of the directory.
    #[error("directory.{0}")]
    Directory(DirectoryError),
    /// A value of the keeper.
    #[error("keeper.{0}")]
    Keeper(DirectoryError),
    /// A value of the proxy.
    #[error(transparent)]
    Proxy(#[from] hayrick_proxy::config::ConfigProblem),
    /// Clients could make the server use more memory than it may.
    #[error("memory_ceiling is {ceiling}, and clients could make the server use more: {bounds}")]
    Memory {
        /// What it may use.
        ceiling: ByteSize,
        /// What they could make it use.
        bounds: MemoryBounds,
    },
}

impl HayrickConfig {
    /// Reads the file that the flags or `HAYRICK_CONFIG` name, then the environment, then
    /// the flags.
    pub fn load(args: &ConfigArgs) -> Result<Self, ConfigError> {
        let mut sources = Sources::new().process_env();
        if let Some(file) = &args.config {
            sources = sources.file(file);
        }
        let text = |address: Option<Address>| address.map(|address| address.to_string());
        let config: Self = sources
            .optional_flag("data", args.data.clone())
            .optional_flag("public.listen", text(args.listen))
            .optional_flag("internal.listen", text(args.store_listen))
            .optional_flag("admin.listen", text(args.admin_listen))
            .load()?;
        Ok(config.completed())
    }

    /// With what follows from other values.
    fn completed(mut self) -> Self {
        if self.store.disks.is_empty() {
            self.store.disks.push(self.data.join("disk"));
        }
        for (limits, max_connections) in [
            (&mut self.public.limits, PUBLIC_CONNECTIONS),
            (&mut self.internal.limits, INNER_CONNECTIONS),
            (&mut self.admin.limits, INNER_CONNECTIONS),
        ] {
            limits.max_connections.get_or_insert(max_connections);
        }
        self
    }

    /// Checks every value. Nothing is silently changed into something else.
    pub fn check(self) -> Result<Settings, SettingsError> {
        let Self {
            data,
            memory_ceiling,
            public,
            internal,
            admin,
            log,
            store,
            directory,
            proxy,
            keeper,
            cluster,
        } = self;
        directory.check().map_err(SettingsError::Directory)?;
        keeper.check().map_err(SettingsError::Keeper)?;
        let settings = Settings {
            data,
            allow_open_buckets: public.allow_open_buckets,
            public: Listener {
                address: public.listen.0,
                token: None,
                options: options(&public.limits, "public")?,
            },
            internal: inner("internal", internal.listen, internal.token, &internal.limits)?,
            admin: inner("admin", admin.listen, admin.token, &admin.limits)?,
            log,
            store: store.check()?,
            directory,
            proxy: proxy.check()?,
            keeper,
            cluster,
        };
        let bounds = MemoryBounds::of(&settings);
        match memory_ceiling {
            Some(ceiling) if bounds.total() > ceiling.bytes() => {
                Err(SettingsError::Memory { ceiling, bounds })
            }
            _ => Ok(settings),
        }
    }
}

/// A listener for trusted peers only.
fn inner(
    section: &'static str,
    listen: Address,
    token: Option<Secret>,
    limits: &ListenLimits,
) -> Result<Listener, SettingsError> {
    let token = token.filter(|token| !token.is_empty());
    let address = listen.0;
    if token.is_none() && !is_loopback(address) {
        return Err(SettingsError::Exposed { section, address });
    }
    Ok(Listener { address, token, options: options(limits, section)? })
}

fn options(limits: &ListenLimits, section: &'static str) -> Result<ListenOptions, SettingsError> {
    limits.options(section).map_err(|problem| SettingsError::Limit { section, problem })
}

#[cfg(test)]
mod tests;
