//! `hayrick cluster dev`: a whole cluster on this machine, to try it out. Every role is a
//! process of its own, this binary once more, with its configuration, data and log in a folder.

mod child;
mod parts;
mod zookeeper;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hayrick_directory::BucketName;
use hayrick_service::Shutdown;
use hayrick_service::client::{Client, ClientError, ClientOptions};
use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;

use self::child::{Child, Ready};
use self::parts::{Part, Ports};
use crate::failure::Failure;
use crate::output::{Column, Output, table};
use crate::up::{DataFolder, replace};

/// What `--help` tells of it.
pub const HELP: &str = "\
Each store stands on a rack of its own, and the bucket `photos` has up to three copies. Kill a
process and see what happens: its log is in its folder. Ctrl-C stops everything; the same
command goes on with what is there.

It needs ZooKeeper and Java, on Debian: apt install --no-install-recommends libzookeeper-java
libslf4j-java default-jre-headless. Or name a ZooKeeper that runs with --zookeeper.";

const BUCKET: &str = "photos";
const MAX_COPIES: u8 = 3;
/// How often the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `hayrick cluster dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// How many stores, each on a rack of its own
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u8).range(1..=32))]
    stores: u8,
    /// Folder of everything that is kept
    #[arg(long, value_name = "DIR", default_value = "hayrick-cluster")]
    data: PathBuf,
    /// First of the ports, the public door's; 0 for free ones
    #[arg(long, value_name = "PORT", default_value = "8080")]
    port: u16,
    /// A ZooKeeper that runs, in place of one of its own
    #[arg(long, value_name = "HOST:PORT")]
    zookeeper: Option<String>,
    /// A PostgreSQL database for the names, which two directories then share
    #[arg(long, value_name = "URL", env = "HAYRICK_DEV_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,
    /// Write what runs to this file as JSON once requests are served
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// What runs, from the first to start to the last.
#[derive(Debug, Serialize)]
struct Running {
    data: PathBuf,
    processes: Vec<Process>,
}

/// One process, for programs and people.
#[derive(Debug, Clone, Serialize)]
struct Process {
    name: String,
    pid: u32,
    #[serde(flatten)]
    addresses: Ready,
    log: PathBuf,
}

/// Runs until SIGINT or SIGTERM.
pub async fn run(args: DevArgs, output: Output) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let folder = DataFolder::take(&args.data)?;
    let mut children = Vec::new();
    let ended = tokio::select! {
        ended = serve(&args, folder.path(), &mut children, output) => ended,
        () = shutdown.wait() => Ok(()),
    };
    // Who asks is stopped before who answers.
    while let Some(child) = children.pop() {
        child.stop(output).await;
    }
    ended
}

async fn serve(
    args: &DevArgs,
    folder: &Path,
    children: &mut Vec<Child>,
    output: Output,
) -> Result<(), Failure> {
    let running = start(args, folder, children).await?;
    make_bucket(&running, args.stores.min(MAX_COPIES)).await?;
    output.answer(&running, Running::for_people)?;
    if let Some(path) = &args.ready_file {
        let text = serde_json::to_vec_pretty(&running).map_err(std::io::Error::other);
        text.and_then(|text| replace(path, &text)).map_err(Failure::file("write", path))?;
    }
    loop {
        sleep(LOOK_EVERY).await;
        for child in &mut *children {
            if let Some(end) = child.has_died() {
                output.note(end);
            }
        }
    }
}

/// Starts everything that is missing, each part when those it needs are there.
async fn start(
    args: &DevArgs,
    folder: &Path,
    children: &mut Vec<Child>,
) -> Result<Running, Failure> {
    let ports = Ports::from(args.port);
    let mut processes = Vec::new();
    let zookeeper = match &args.zookeeper {
        Some(address) => address.clone(),
        None => {
            let (child, address) = zookeeper::start(folder, ports.zookeeper())?;
            let child = keep(children, child);
            zookeeper::wait(child, &address).await?;
            processes.push(Process {
                name: child.name.clone(),
                pid: child.pid(),
                addresses: Ready { internal: Some(address.to_string()), ..Ready::default() },
                log: child.log.clone(),
            });
            address.to_string()
        }
    };
    let mut directories = Vec::new();
    for stage in parts::stages(args.stores, args.postgres.as_deref()) {
        let first = children.len();
        for part in &stage {
            let config = part.config(&zookeeper, &directories, args.postgres.as_deref());
            children.push(spawn(part, folder, &config, &ports)?);
        }
        for child in children.iter_mut().skip(first) {
            let addresses = child.wait_until_ready().await?;
            if child.name.starts_with(parts::DIRECTORY) {
                directories.extend(addresses.internal.as_deref().map(parts::host_and_port));
            }
            let (name, pid, log) = (child.name.clone(), child.pid(), child.log.clone());
            processes.push(Process { name, pid, addresses, log });
        }
    }
    Ok(Running { data: folder.to_owned(), processes })
}

fn keep(children: &mut Vec<Child>, child: Child) -> &mut Child {
    let at = children.len();
    children.push(child);
    // It was put there just now.
    children.get_mut(at).unwrap_or_else(|| unreachable!("a child that is there"))
}

fn spawn(part: &Part, folder: &Path, config: &str, ports: &Ports) -> Result<Child, Failure> {
    let folder = folder.join(&part.name);
    std::fs::create_dir_all(&folder).map_err(Failure::file("make", &folder))?;
    let path = folder.join("hayrick.toml");
    replace(&path, config.as_bytes()).map_err(Failure::file("write", &path))?;
    let [public, internal, admin] =
        ports.of(part).map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
    let mut args = vec![part.role.name().to_owned(), "--config".to_owned()];
    args.extend([path.display().to_string(), "--data".to_owned()]);
    args.extend([folder.join("data").display().to_string(), "--listen".to_owned(), public]);
    args.extend(["--store-listen".to_owned(), internal, "--admin-listen".to_owned(), admin]);
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::failed(format!("own program: {error}")))?;
    Child::spawn(&part.name, &folder, &program, args, true)
}

/// Makes the bucket to try things with, unless it is there.
async fn make_bucket(running: &Running, copies: u8) -> Result<(), Failure> {
    let name: BucketName =
        BUCKET.parse().map_err(|error| Failure::failed(format!("bucket: {error}")))?;
    let admin = running.admin(parts::DIRECTORY).unwrap_or_default();
    let http = Client::new(ClientOptions::default());
    let bucket = json!({"name": name, "read": "public", "write": "public", "copies": copies});
    let made = http.post(format!("{admin}/directory/buckets")).json(&bucket).send().await;
    match made {
        Err(ClientError::Status(told)) if told.body.error == "BucketExists" => {}
        Err(error) => return Err(Failure::from_client(&error)),
        Ok(_) => {}
    }
    // A proxy hears of it a moment later.
    let door = running.door().unwrap_or_default();
    for _ in 0..100 {
        if http.get(format!("{door}/{BUCKET}")).send().await.is_ok() {
            break;
        }
        sleep(LOOK_EVERY / 2).await;
    }
    Ok(())
}

impl Running {
    fn admin(&self, role: &str) -> Option<&str> {
        let mut own = self.processes.iter().filter(|process| process.name.starts_with(role));
        own.find_map(|process| process.addresses.admin.as_deref())
    }

    fn door(&self) -> Option<&str> {
        self.processes.iter().find_map(|process| process.addresses.public.as_deref())
    }

    fn for_people(&self) -> String {
        let mut text = format!("Hayrick {} cluster is up.\n\n", env!("CARGO_PKG_VERSION"));
        text += &table(
            &self.processes,
            &[
                Column::text("PROCESS", |process| process.name.clone()),
                Column::number("PID", |process| process.pid.to_string()),
                Column::text("PUBLIC", |process| shown(process.addresses.public.as_deref())),
                Column::text("INTERNAL", |process| shown(process.addresses.internal.as_deref())),
                Column::text("ADMIN", |process| shown(process.addresses.admin.as_deref())),
                Column::text("LOG", |process| process.log.display().to_string()),
            ],
        );
        let told = self.tell_next_steps(&mut text);
        debug_assert!(told.is_ok(), "a String takes everything");
        text
    }

    fn tell_next_steps(&self, text: &mut String) -> std::fmt::Result {
        let (door, admin) = (self.door().unwrap_or("-"), self.admin(parts::DIRECTORY));
        let store = self.processes.iter().find(|process| process.name.starts_with(parts::STORE));
        writeln!(text, "\n\nTry it with a photo of yours, and kill a store meanwhile:\n")?;
        writeln!(text, "  curl -T photo.jpg {door}/{BUCKET}/cats/tom.jpg")?;
        writeln!(text, "  curl -o tom.jpg {door}/{BUCKET}/cats/tom.jpg")?;
        writeln!(text, "  curl -o tom.webp {door}/{BUCKET}/cats/tom.jpg@400w.webp")?;
        if let Some(store) = store {
            writeln!(text, "  kill {}    # {}", store.pid, store.name)?;
        }
        writeln!(text, "  hayrick bucket list --admin {}", admin.unwrap_or("-"))?;
        write!(text, "\nCtrl-C stops everything; the same command goes on with what is there.")
    }
}

fn shown(address: Option<&str>) -> String {
    address.unwrap_or("-").to_owned()
}
