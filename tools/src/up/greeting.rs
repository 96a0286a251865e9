//! What a server tells once it serves: to people on standard output, to programs in a file.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hayrick_directory::{Access, BucketName};
use serde::Serialize;

use super::DEFAULT_BUCKET;
use super::folder::{DataFolder, replace};
use super::listeners::Addresses;
use super::node::Node;
use super::role::Role;
use crate::admin::DEFAULT_ADMIN;
use crate::config::Settings;
use crate::door::DEFAULT_URL;
use crate::failure::Failure;

/// Where a server is. This is also what the ready file holds, so its fields are for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Greeting {
    version: &'static str,
    pid: u32,
    data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal: Option<String>,
    admin: String,
    #[serde(skip)]
    role: Role,
    #[serde(skip)]
    bucket: Option<(String, bool)>,
    #[serde(skip)]
    needs_token: bool,
}

impl Greeting {
    /// Looks at what is served.
    pub fn new(
        role: Role,
        addresses: Addresses,
        settings: &Settings,
        folder: &DataFolder,
        node: &Node,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            data: folder.path().display().to_string(),
            public: addresses.public.map(url),
            internal: addresses.internal.map(url),
            admin: url(addresses.admin),
            role,
            bucket: example(node),
            needs_token: settings.admin.token.is_some(),
        }
    }

    /// A few friendly lines, with the next three commands.
    pub fn for_people(&self) -> String {
        let mut text = String::new();
        let told = self.tell(&mut text);
        debug_assert!(told.is_ok(), "a String takes everything");
        text
    }

    fn tell(&self, text: &mut String) -> std::fmt::Result {
        let Self { version, data, public, internal, admin, role, .. } = self;
        match role {
            Role::All => writeln!(text, "Hayrick {version} is up.\n")?,
            role => writeln!(text, "Hayrick {version} {} is up.\n", role.name())?,
        }
        if let Some(door) = public {
            writeln!(text, "  public door  {door}")?;
        }
        if let Some(internal) = internal {
            let name = if *role == Role::Directory { "directory" } else { "store" };
            writeln!(text, "  {name:<11}  {internal}")?;
        }
        writeln!(text, "  admin        {admin}\n  data         {data}\n")?;
        match public {
            Some(door) if *role == Role::All => self.next_steps(text, door)?,
            _ => {}
        }
        write!(text, "Ctrl-C stops it.")
    }

    fn next_steps(&self, text: &mut String, door: &str) -> std::fmt::Result {
        match &self.bucket {
            Some((bucket, true)) => {
                writeln!(text, "Try it with a photo of yours:\n")?;
                writeln!(text, "  curl -T photo.jpg {door}/{bucket}/cats/tom.jpg")?;
                writeln!(text, "  curl -o tom.jpg {door}/{bucket}/cats/tom.jpg")?;
                writeln!(text, "  curl -o tom.webp {door}/{bucket}/cats/tom.jpg@400w.webp")?;
            }
            Some((bucket, false)) => {
                writeln!(text, "Bucket {bucket} is private. Make a key for it and use it:\n")?;
                writeln!(text, "  hayrick key create {bucket}{}", self.admin_flag())?;
                let flags = door_flag(door);
                writeln!(
                    text,
                    "  hayrick put photo.jpg {bucket}/cats/tom.jpg --key ID:SECRET{flags}"
                )?;
                writeln!(text, "  hayrick sign {bucket}/cats/tom.jpg --key ID:SECRET{flags}")?;
            }
            None => {
                writeln!(text, "There is no bucket yet. Make one:\n")?;
                writeln!(text, "  hayrick bucket create photos{}", self.admin_flag())?;
            }
        }
        writeln!(text, "\nHow it is doing: hayrick status{}", self.admin_flag())
    }

    fn admin_flag(&self) -> String {
        let mut flag = String::new();
        if self.admin != DEFAULT_ADMIN {
            flag = format!(" --admin {}", self.admin);
        }
        if self.needs_token {
            flag.push_str(" --token TOKEN");
        }
        flag
    }
}

fn door_flag(door: &str) -> String {
    if door == DEFAULT_URL { String::new() } else { format!(" --url {door}") }
}

/// The bucket for examples, and whether it is open: the default one, else the first.
fn example(node: &Node) -> Option<(String, bool)> {
    let default: Option<BucketName> = DEFAULT_BUCKET.parse().ok();
    let mut buckets = node.buckets();
    buckets.sort_by_key(|bucket| Some(&bucket.name) != default.as_ref());
    let bucket = buckets.into_iter().next()?;
    let open = bucket.read == Access::Public && bucket.write == Access::Public;
    Some((bucket.name.to_string(), open))
}

/// The URL by which this machine reaches an address.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The file that tells programs that the server serves; there for as long as it does.
pub struct ReadyFile(Option<PathBuf>);

impl ReadyFile {
    /// Removes one that an earlier server left behind.
    pub fn at(path: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = &path {
            remove(path).map_err(Failure::file("remove the old", path))?;
        }
        Ok(Self(path))
    }

    /// Writes it.
    pub fn write(&self, greeting: &Greeting) -> Result<(), Failure> {
        let Some(path) = &self.0 else { return Ok(()) };
        let text = serde_json::to_vec_pretty(greeting).map_err(io::Error::other);
        let written = text.and_then(|text| replace(path, &text));
        written.map_err(Failure::file("write", path))
    }

    /// Removes it.
    pub fn remove(&self) {
        if let Some(Err(error)) = self.0.as_deref().map(remove) {
            tracing::warn!(%error, "ready file not removed");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(bucket: Option<(String, bool)>) -> Greeting {
        Greeting {
            version: "1",
            pid: 1,
            data: "/d".to_owned(),
            public: Some(url("0.0.0.0:9000".parse().unwrap())),
            internal: Some(url("127.0.0.1:9001".parse().unwrap())),
            role: Role::All,
            admin: url("[::]:9002".parse().unwrap()),
            bucket,
            needs_token: true,
        }
    }

    #[test]
    fn the_next_commands_have_the_real_addresses() {
        let text = greeting(Some(("photos".to_owned(), true))).for_people();
        assert!(text.contains("curl -T photo.jpg http://127.0.0.1:9000/photos/cats/tom.jpg\n"));
        assert!(
            text.contains("hayrick status --admin http://[::1]:9002 --token TOKEN\n"),
            "{text}"
        );
        let text = greeting(Some(("photos".to_owned(), false))).for_people();
        assert!(text.contains("key create photos --admin") && !text.contains("curl"), "{text}");
        assert!(text.contains("--key ID:SECRET --url http://127.0.0.1:9000\n"), "{text}");
        assert!(greeting(None).for_people().contains("hayrick bucket create photos"));
    }

    #[test]
    fn programs_get_plain_json() {
        let value = serde_json::to_value(greeting(None)).unwrap();
        assert_eq!(value["public"], "http://127.0.0.1:9000");
        assert_eq!(value.as_object().unwrap().len(), 6);
    }
}
