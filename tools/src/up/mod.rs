//! `hayrick up`: store, directory and public door in one process.
//!
//! The order matters. A wrong configuration, a folder in use and an address in use stop
//! the start before anything is changed. Then the listeners answer 503 while the data is
//! loaded. On the stop signal they drain, the background work ends, and every volume is
//! synced and its index saved.

mod folder;
mod greeting;
mod listeners;
mod node;
pub mod open_files;
mod role;

use hayrick_directory::Access;
use hayrick_service::ops::Readiness;
use hayrick_service::{Shutdown, logging, metrics};

use crate::cli::UpArgs;
use crate::config::{HayrickConfig, Settings};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) use folder::{DataFolder, replace};
pub(crate) use node::STORE_ID;
pub use role::Role;

use greeting::Greeting;
use listeners::{Addresses, Listeners, Sockets};
use node::Node;

/// What a new data folder begins with.
const DEFAULT_BUCKET: &str = "photos";

/// Runs until SIGINT or SIGTERM.
pub async fn run(role: Role, args: UpArgs, output: Output) -> Result<(), Failure> {
    let settings = settings(&args)?;
    open_files::allow(settings.max_connections())?;
    logging::init(&settings.log).map_err(|error| Failure::usage(format!("log: {error}")))?;
    let recorder = metrics::install().map_err(|error| Failure::failed(error.to_string()))?;
    metrics::process_started(env!("CARGO_PKG_VERSION"), role.name());
    let shutdown = Shutdown::on_signals()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let ready_file = greeting::ReadyFile::at(args.ready_file)?;
    let folder = DataFolder::take(&settings.data)?;
    let sockets = Sockets::bind(role, &settings).await?;
    let addresses = sockets.addresses()?;
    let readiness = Readiness::new(shutdown.clone());
    readiness.not_ready("data", "loading");
    let listeners = sockets.serve(&settings, &readiness, &recorder, &shutdown);
    let server = Server { role, settings, folder, addresses, listeners, readiness, shutdown };
    server.run(&ready_file, output).await
}

fn settings(args: &UpArgs) -> Result<Settings, Failure> {
    let advice = "see `hayrick config print` for all settings";
    let config = HayrickConfig::load(&args.config);
    let config = config.map_err(|error| Failure::usage(error.to_string()).hint(advice))?;
    config.check().map_err(|error| Failure::usage(error.to_string()).hint(advice))
}

/// A server on its way up.
struct Server {
    role: Role,
    settings: Settings,
    folder: DataFolder,
    addresses: Addresses,
    listeners: Listeners,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl Server {
    async fn run(self, ready_file: &greeting::ReadyFile, output: Output) -> Result<(), Failure> {
        let opened = Node::open(self.role, &self.settings, &self.folder, self.addresses);
        let loaded = match opened.await {
            Ok(node) => match self.open_the_door(&node, ready_file, output).await {
                Ok(()) => Ok(node),
                Err(failure) => {
                    node.close().await;
                    Err(failure)
                }
            },
            Err(failure) => Err(failure),
        };
        if loaded.is_err() {
            self.shutdown.trigger();
        }
        let drained = self.listeners.finished(&self.shutdown).await;
        loaded?.close().await;
        ready_file.remove();
        tracing::info!("stopped");
        drained
    }

    async fn open_the_door(
        &self,
        node: &Node,
        ready_file: &greeting::ReadyFile,
        output: Output,
    ) -> Result<(), Failure> {
        self.first_start(node).await?;
        self.refuse_open_buckets(node)?;
        self.listeners.install(node.apps());
        self.readiness.ready("data");
        let greeting = Greeting::new(self.role, self.addresses, &self.settings, &self.folder, node);
        // A server goes on serving although nobody reads its greeting.
        if let Err(error) = output.answer(&greeting, Greeting::for_people) {
            tracing::warn!(%error, "no greeting");
        }
        ready_file.write(&greeting)?;
        tracing::info!(
            role = self.role.name(),
            public = ?self.addresses.public,
            internal = ?self.addresses.internal,
            admin = %self.addresses.admin,
            data = %self.folder.path().display(),
            "ready"
        );
        Ok(())
    }

    /// Makes the default bucket, once in the life of a data folder.
    async fn first_start(&self, node: &Node) -> Result<(), Failure> {
        if !self.folder.is_new() {
            return Ok(());
        }
        if let Some(directory) = node.directory()
            && self.role == Role::All
            && directory.buckets().is_empty()
        {
            let open = self.settings.public.is_loopback() || self.settings.allow_open_buckets;
            let access = if open { Access::Public } else { Access::Private };
            let name = DEFAULT_BUCKET
                .parse()
                .map_err(|error| Failure::failed(format!("default bucket: {error}")))?;
            let made = directory.create_bucket(name, access, access, 1).await;
            made.map_err(|error| {
                Failure::failed(format!("cannot make the first bucket: {error}"))
            })?;
        }
        let folder = self.folder.path();
        tracing::info!(folder = %folder.display(), "data folder set up");
        self.folder.set_up()
    }

    /// Whoever reaches the public door may write to a bucket of public write access.
    fn refuse_open_buckets(&self, node: &Node) -> Result<(), Failure> {
        let Some(address) = self.addresses.public else { return Ok(()) };
        if self.settings.public.is_loopback() || self.settings.allow_open_buckets {
            return Ok(());
        }
        let buckets = node.buckets();
        let Some(open) = buckets.iter().find(|bucket| bucket.write == Access::Public) else {
            return Ok(());
        };
        let name = &open.name;
        let message = format!(
            "public.listen is {address}, which other machines reach, and anybody may write to bucket {name}"
        );
        Err(Failure::usage(message).hint(format!(
            "start on 127.0.0.1 and run `hayrick bucket set {name} --write private`, or set public.allow_open_buckets = true if that is meant"
        )))
    }
}
