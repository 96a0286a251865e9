//! ZooKeeper servers that live as long as a test.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::network::Host;
use crate::process::Process;

/// What a JVM takes on a machine under load.
const START_PATIENCE: Duration = Duration::from_mins(1);
const CLASS_PATH: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar";
const INSTALL: &str = "ZooKeeper is not installed, and these tests need a real one. Run `make test`, \
    which installs it, or: apt-get install --no-install-recommends libzookeeper-java libslf4j-java \
    default-jre-headless";

/// One server on a free port, with its data in a temporary folder. Dropping it, and the end
/// of the test process, kill it.
pub struct ZooKeeper {
    host: Host,
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
    _temporary: Option<TempDir>,
}

impl ZooKeeper {
    /// Starts a server on 127.0.0.1 and waits until it serves.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start() -> Self {
        let temporary = TempDir::new().expect("a temporary folder");
        let folder = temporary.path().to_owned();
        let mut this = Self::new(Host::loopback(), folder, free_port(), "", Some(temporary));
        this.spawn();
        this.wait();
        this
    }

    fn new(host: Host, folder: PathBuf, port: u16, more: &str, temporary: Option<TempDir>) -> Self {
        assert!(Path::new("/usr/share/java/zookeeper.jar").exists(), "{INSTALL}");
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("the data folder");
        let config = format!(
            "clientPort={port}\nclientPortAddress={}\ndataDir={}\ntickTime=500\n\
             minSessionTimeout=1000\nmaxClientCnxns=0\nadmin.enableServer=false\n\
             4lw.commands.whitelist=srvr,stat\n{more}",
            host.address(),
            data.display()
        );
        fs::write(folder.join("zoo.cfg"), config).expect("the configuration");
        Self { host, port, folder, process: None, _temporary: temporary }
    }

    /// Where clients connect, as `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host.address(), self.port)
    }

    /// Starts the server again with the data it has.
    ///
    /// # Panics
    /// It is running.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        self.spawn();
        self.wait();
    }

    /// Like [`Self::restart`], but does not wait: of an ensemble none serves alone.
    ///
    /// # Panics
    /// It is running.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        self.spawn();
    }

    /// Kills the server at once, as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Removes all that the server has stored.
    ///
    /// # Panics
    /// It is running.
    pub fn forget(&self) {
        assert!(self.process.is_none(), "the server is running");
        fs::remove_dir_all(self.folder.join("data/version-2")).expect("the stored data");
    }

    /// Stops the server in its tracks: connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The file with what it said.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The host that it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether it is running.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it is the leader of an ensemble.
    pub fn leads(&self) -> bool {
        self.mode().is_some_and(|mode| mode == "leader")
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the server is running").signal(signal);
    }

    fn spawn(&mut self) {
        let config = self.folder.join("zoo.cfg");
        let command = [
            "java",
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            CLASS_PATH,
            "-Dzookeeper.forceSync=no",
            "-Dzookeeper.preAllocSize=1024",
            "-Dzookeeper.electionPortBindRetry=1",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        ];
        let on_host = self.host.words();
        let on_host = on_host.iter().map(OsStr::new);
        let command = on_host.chain(command.map(OsStr::new)).chain([config.as_os_str()]);
        self.process = Some(Process::spawn(&self.log(), command));
    }

    fn wait(&self) {
        let began = Instant::now();
        while self.mode().is_none() {
            if began.elapsed() > START_PATIENCE {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                panic!("ZooKeeper did not start. {INSTALL}\nIts log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the server says it is; `None` as long as it does not serve.
    fn mode(&self) -> Option<String> {
        let address = SocketAddr::from((self.host.address(), self.port));
        let timeout = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, timeout).ok()?;
        stream.set_read_timeout(Some(timeout)).ok()?;
        stream.write_all(b"srvr").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }
}

/// Three servers that elect a leader.
pub struct Ensemble {
    /// The servers.
    pub servers: Vec<ZooKeeper>,
    _temporary: TempDir,
}

impl Ensemble {
    /// Starts three servers on 127.0.0.1 and waits until they serve.
    ///
    /// # Panics
    /// ZooKeeper is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_on([(); 3].map(|()| Host::loopback()))
    }

    /// Starts a server on each host and waits until they serve.
    ///
    /// # Panics
    /// ZooKeeper is not installed, or does not start.
    pub fn start_on(hosts: [Host; 3]) -> Self {
        let temporary = TempDir::new().expect("a temporary folder");
        let mut more = "initLimit=20\nsyncLimit=10\nquorumListenOnAllIPs=false".to_owned();
        for (id, host) in (1..).zip(&hosts) {
            let (address, peers, election) = (host.address(), free_port(), free_port());
            let _ = write!(more, "\nserver.{id}={address}:{peers}:{election}");
        }
        let mut servers = Vec::new();
        for (id, host) in (1..).zip(hosts) {
            let id: u8 = id;
            let folder = temporary.path().join(id.to_string());
            let mut server = ZooKeeper::new(host, folder, free_port(), &more, None);
            fs::write(server.folder.join("data/myid"), id.to_string()).expect("the server's id");
            server.spawn();
            servers.push(server);
        }
        let this = Self { servers, _temporary: temporary };
        this.wait();
        this
    }

    /// Waits until every server serves.
    ///
    /// # Panics
    /// One does not.
    pub fn wait(&self) {
        self.servers.iter().for_each(ZooKeeper::wait);
    }

    /// Where clients connect, as `host:port,host:port,host:port`.
    pub fn address(&self) -> String {
        let addresses: Vec<_> = self.servers.iter().map(ZooKeeper::address).collect();
        addresses.join(",")
    }

    /// The server that leads.
    ///
    /// # Panics
    /// None does.
    pub fn leader(&mut self) -> &mut ZooKeeper {
        self.servers.iter_mut().find(|server| server.leads()).expect("a leader")
    }
}

/// A port that is free, and stays so while its server is restarted: it is not one that
/// the system gives to connections.
///
/// # Panics
/// Never.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other test processes begin elsewhere.
    let start = std::process::id().wrapping_mul(101);
    loop {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(step % 12_000).expect("below 12,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
