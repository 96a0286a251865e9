//! A ZooKeeper for the cluster, as Debian packages it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::child::Child;
use crate::failure::Failure;
use crate::up::replace;

const JARS: [&str; 2] = ["/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-simple.jar"];
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
const INSTALL: &str = "install it: apt install --no-install-recommends libzookeeper-java \
    libslf4j-java default-jre-headless; or name one that runs with --zookeeper HOST:PORT";
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Starts a server with its data in `folder`, on a free port if `port` is 0.
pub fn start(folder: &Path, port: u16) -> Result<(Child, SocketAddr), Failure> {
    let java = find_java()
        .ok_or_else(|| Failure::usage("there is no `java` to run ZooKeeper with").hint(INSTALL))?;
    if let Some(missing) = JARS.iter().find(|jar| !Path::new(jar).exists()) {
        let message = format!("ZooKeeper is not installed: there is no {missing}");
        return Err(Failure::usage(message).hint(INSTALL));
    }
    let address = free_address(port).map_err(|error| {
        let message = format!("ZooKeeper cannot listen on port {port} of 127.0.0.1: {error}");
        Failure::failed(message).hint("name other ports with --port, or --port 0 for free ones")
    })?;
    let folder = folder.join("zookeeper");
    let (data, config) = (folder.join("data"), folder.join("zoo.cfg"));
    fs::create_dir_all(&data).map_err(Failure::file("make", &data))?;
    let text = format!(
        "clientPort={}\nclientPortAddress={}\ndataDir={}\ntickTime=1000\nmaxClientCnxns=0\n\
         admin.enableServer=false\n4lw.commands.whitelist=srvr\nautopurge.purgeInterval=1\n",
        address.port(),
        address.ip(),
        data.display(),
    );
    replace(&config, text.as_bytes()).map_err(Failure::file("write", &config))?;
    let args = ["-Xmx256m", "-XX:+UseSerialGC", "-cp", &JARS.join(":"), MAIN];
    let mut args: Vec<String> = args.map(str::to_owned).into();
    args.push(config.display().to_string());
    Ok((Child::spawn("zookeeper", &folder, &java, args, false)?, address))
}

/// Waits until it serves.
pub async fn wait(child: &mut Child, address: &SocketAddr) -> Result<(), Failure> {
    child.wait_for(async || serves(address).await.then_some(())).await
}

async fn serves(address: &SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"srvr").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer.contains("Mode:"))
    };
    matches!(timeout(ANSWER_WITHIN, asked).await, Ok(Ok(true)))
}

fn find_java() -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|folder| folder.join("java")).find(|java| java.is_file())
}

/// The address with this port, which is seen to be free; any port if it is 0.
fn free_address(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}
