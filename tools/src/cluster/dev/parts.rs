//! What a cluster for trying out is made of.

use std::fmt::Write as _;

use crate::up::Role;

/// What the names of stores begin with.
pub const STORE: &str = "store";
/// What the names of directories begin with.
pub const DIRECTORY: &str = "directory";

/// One process of this binary.
#[derive(Debug)]
pub struct Part {
    /// Names its folder.
    pub name: String,
    /// What it does.
    pub role: Role,
    number: u16,
}

/// Which ports the processes listen on.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    first: u16,
}

/// What runs, in the order in which it is started: a stage begins when the one before serves.
pub fn stages(stores: u8, postgres: Option<&str>) -> Vec<Vec<Part>> {
    // An embedded name database is of one process.
    let directories = if postgres.is_some() { 2 } else { 1 };
    let parts = |role: Role, many: u16| {
        (1..=many).map(move |number| {
            let name = if many == 1 {
                role.name().to_owned()
            } else {
                format!("{}-{number}", role.name())
            };
            Part { name, role, number }
        })
    };
    vec![
        parts(Role::Store, stores.into()).collect(),
        parts(Role::Directory, directories).chain(parts(Role::Keeper, 1)).collect(),
        parts(Role::Proxy, 1).collect(),
    ]
}

impl Part {
    /// Its configuration, but for what flags say.
    pub fn config(&self, zookeeper: &str, postgres: Option<&str>) -> String {
        let mut text = format!("[cluster]\nzookeeper.connect = {}\n", quoted(zookeeper));
        let written = match self.role {
            Role::Store => writeln!(text, "store = \"s{0}\"\nrack = \"r{0}\"", self.number),
            Role::Directory => match postgres {
                Some(url) => writeln!(text, "\n[directory.postgres]\nurl = {}", quoted(url)),
                None => Ok(()),
            },
            // So that one sees it happen.
            Role::Keeper => writeln!(text, "\n[keeper]\ngrace = \"30s\""),
            Role::Proxy | Role::All => Ok(()),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
        text
    }
}

/// A text as TOML and JSON write it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl From<u16> for Ports {
    fn from(first: u16) -> Self {
        Self { first }
    }
}

impl Ports {
    /// Ports of the public, the internal and the admin listener. With the usual first one the
    /// public door and the first directory are where commands look for them by themselves.
    pub fn of(self, part: &Part) -> [u16; 3] {
        let from = |step: u16| if self.first == 0 { 0 } else { self.first.saturating_add(step) };
        let number = part.number;
        match part.role {
            Role::All | Role::Proxy => [from(0), 0, from(1)],
            Role::Directory => [0, from(2 * number + 1), from(2 * number)],
            Role::Keeper => [0, 0, from(number + 5)],
            Role::Store => [0, from(2 * number + 18), from(2 * number + 19)],
        }
    }

    /// That of ZooKeeper.
    pub fn zookeeper(self) -> u16 {
        if self.first == 0 { 0 } else { self.first.saturating_add(9) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::ConfigArgs;
    use crate::config::HayrickConfig;

    #[test]
    fn no_port_is_given_twice() {
        let ports = Ports::from(8080);
        let mut given = BTreeSet::from([ports.zookeeper()]);
        let mut listeners = 1;
        for part in stages(32, Some("postgres://h/d")).iter().flatten() {
            let own: Vec<u16> = ports.of(part).into_iter().filter(|&port| port != 0).collect();
            listeners += own.len();
            given.extend(own);
        }
        assert_eq!(given.len(), listeners);
        assert!(given.contains(&8080) && given.contains(&8082), "where commands look: {given:?}");
        let part = &stages(1, None)[0][0];
        assert_eq!(Ports::from(0).of(part), [0; 3], "free ones");
    }

    #[test]
    fn what_is_configured_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hayrick.toml");
        for part in stages(2, Some("host=/run")).iter().flatten() {
            let config = part.config("h:1", Some("host=/run user='u\"'"));
            std::fs::write(&path, &config).unwrap();
            let args = ConfigArgs { config: Some(path.clone()), ..ConfigArgs::default() };
            let read = HayrickConfig::load(&args).unwrap();
            assert_eq!(read.cluster.unwrap().zookeeper.connect, "h:1", "{config}");
            assert_eq!(read.directory.postgres.is_some(), part.role == Role::Directory);
        }
    }
}
