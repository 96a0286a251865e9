//! Kills a process in the middle of its commits: nothing acknowledged may be missing,
//! and nothing may be given out twice.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hayrick_directory::{
    BucketName, Condition, Coordinator, Discard, EmbeddedCoordinator, FjallConfig, FjallNames,
    Names, NeedleRef, ObjectName, Put, Remove, Row, Volume,
};
use hayrick_store::{Cookie, Key, NeedleId, VolumeId};

const FOLDER: &str = "HAYRICK_CRASH_TEST_FOLDER";
const ROUNDS: u32 = 8;
const TASKS: u64 = 16;

/// What the child says on its standard output once it is durable.
#[derive(Debug)]
enum Acknowledged {
    /// The name has this version, whose needle has the version as key.
    Put(String, u64),
    /// The name is gone since this version.
    Removed(String, u64),
    /// The needle with this key is queued.
    Discarded(u64),
    /// The key was leased.
    Leased(u64),
    /// The volume id was reserved.
    Reserved(u64),
}

impl Acknowledged {
    fn say(&self) {
        let line = match self {
            Self::Put(name, version) => format!("put {name} {version}\n"),
            Self::Removed(name, version) => format!("removed {name} {version}\n"),
            Self::Discarded(key) => format!("discarded - {key}\n"),
            Self::Leased(key) => format!("leased - {key}\n"),
            Self::Reserved(id) => format!("reserved - {id}\n"),
        };
        // One write, past the test harness, which would hold it back.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }

    /// `None` for what is no whole line of ours.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let (what, name) = (words.next()?, words.next()?.to_owned());
        let number = words.next()?.parse().ok()?;
        match what {
            "put" => Some(Self::Put(name, number)),
            "removed" => Some(Self::Removed(name, number)),
            "discarded" => Some(Self::Discarded(number)),
            "leased" => Some(Self::Leased(number)),
            "reserved" => Some(Self::Reserved(number)),
            _ => None,
        }
    }
}

fn bucket() -> BucketName {
    "photos".parse().unwrap()
}

fn needle(key: u64) -> NeedleId {
    NeedleId { volume: VolumeId::new(1).unwrap(), key: Key::new(key), cookie: Cookie::new(1) }
}

fn row(version: u64) -> Row {
    let needles = vec![NeedleRef { id: needle(version), size_bytes: 1 }];
    Row { version, size_bytes: 1, needles: needles.into(), ..Row::default() }
}

fn open(folder: &Path) -> (FjallNames, EmbeddedCoordinator) {
    let names = FjallNames::open(&folder.join("names"), &FjallConfig::default()).unwrap();
    (names, EmbeddedCoordinator::open(folder.join("cluster.json")).unwrap())
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(work(Path::new(&folder)));
}

/// Changes names and takes keys until it is killed.
async fn work(folder: &Path) {
    let (names, coordinator) = open(folder);
    let (names, coordinator) = (Arc::new(names), Arc::new(coordinator));
    let volume = VolumeId::new(1).unwrap();
    let queued = names.due_in(volume, 0..=u64::MAX, usize::MAX).await.unwrap();
    let highest = queued.iter().map(|garbage| garbage.id.key.get()).max().unwrap_or(0);
    let start = names.last_version().await.unwrap().max(highest) + 1;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let names = Arc::clone(&names);
        tasks.push(tokio::spawn(async move {
            for step in 0.. {
                change(&names, task, step, start + step * TASKS + task).await.say();
            }
        }));
    }
    tasks.push(tokio::spawn(async move {
        loop {
            for key in coordinator.lease_keys(volume, 3).await.unwrap() {
                Acknowledged::Leased(key).say();
            }
            let id = coordinator.reserve_volume_id().await.unwrap();
            Acknowledged::Reserved(u64::from(id.get())).say();
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
}

/// Each task has names of its own, so what is acknowledged for a name has an order.
async fn change(names: &FjallNames, task: u64, step: u64, version: u64) -> Acknowledged {
    let text = format!("{task}/{}", step % 3);
    let name: ObjectName = text.parse().unwrap();
    match step % 7 {
        5 => {
            let condition = Condition::None;
            let remove = Remove { bucket: bucket(), name, condition, version, due_ms: 0 };
            names.remove(remove).await.unwrap();
            Acknowledged::Removed(text, version)
        }
        6 => {
            let needles = vec![needle(version)];
            let discard = Discard { bucket: bucket(), name, needles, due_ms: 0 };
            names.discard(discard).await.unwrap();
            Acknowledged::Discarded(version)
        }
        _ => {
            let (row, condition) = (row(version), Condition::None);
            names.put(Put { bucket: bucket(), name, row, condition, due_ms: 0 }).await.unwrap();
            Acknowledged::Put(text, version)
        }
    }
}

/// Runs the child for a while and kills it; answers what it acknowledged.
fn run_and_kill(folder: &Path, after: Duration) -> Vec<Acknowledged> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let (mut lines, mut line) = (Vec::new(), String::new());
        while output.read_line(&mut line).unwrap() > 0 {
            lines.extend(Acknowledged::parse(&line));
            line.clear();
        }
        lines
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// All that was ever acknowledged.
#[derive(Default)]
struct Ledger {
    /// By name, the last acknowledged change: its version, and whether it was a put.
    names: BTreeMap<String, (u64, bool)>,
    puts: Vec<(String, u64)>,
    discarded: Vec<u64>,
    keys: HashSet<u64>,
    volume_ids: HashSet<u64>,
}

impl Ledger {
    fn add(&mut self, acknowledged: Vec<Acknowledged>) {
        for one in acknowledged {
            match one {
                Acknowledged::Put(name, version) => {
                    self.puts.push((name.clone(), version));
                    self.names.insert(name, (version, true));
                }
                Acknowledged::Removed(name, version) => {
                    self.names.insert(name, (version, false));
                }
                Acknowledged::Discarded(key) => self.discarded.push(key),
                Acknowledged::Leased(key) => {
                    assert!(self.keys.insert(key), "key {key} was leased twice");
                }
                Acknowledged::Reserved(id) => {
                    assert!(self.volume_ids.insert(id), "volume id {id} was reserved twice");
                }
            }
        }
    }

    async fn check(&self, names: &FjallNames) {
        let volume = VolumeId::new(1).unwrap();
        let queued = names.due_in(volume, 0..=u64::MAX, usize::MAX).await.unwrap();
        assert_eq!(queued.len() as u64, names.garbage_len().await.unwrap());
        let queued: HashSet<u64> = queued.iter().map(|garbage| garbage.id.key.get()).collect();
        let mut present = BTreeMap::new();
        for (name, &(version, is_put)) in &self.names {
            let row = names.get(&bucket(), &name.parse().unwrap()).await.unwrap();
            // A change that was not acknowledged may have been made after it.
            let found = row.as_ref().map_or(u64::MAX, |row| row.version);
            assert!(found >= version, "{name} fell back from {version} to {found}");
            if is_put && row.is_none() {
                assert!(
                    names.last_version().await.unwrap() > version,
                    "{name} of {version} is lost"
                );
                assert!(queued.contains(&version), "{name} of {version} is gone, not removed");
            }
            present.insert(name.clone(), found);
        }
        for (name, version) in &self.puts {
            let kept = queued.contains(version) || present.get(name) == Some(version);
            assert!(kept, "needle {version} of {name} is neither in use nor queued");
            assert!(!(queued.contains(version) && present.get(name) == Some(version)));
        }
        for key in &self.discarded {
            assert!(queued.contains(key), "discarded needle {key} is not queued");
        }
    }
}

#[test]
fn killed_at_any_moment_it_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_, coordinator) = open(folder.path());
        let id = coordinator.reserve_volume_id().await.unwrap();
        let replicas = vec!["a".parse().unwrap()];
        let volume = Volume::new(replicas);
        coordinator.publish_volume(id, volume).await.unwrap();
    });
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let after = Duration::from_millis(u64::from(150 + 83 * round));
        ledger.add(run_and_kill(folder.path(), after));
        let (names, coordinator) = open(folder.path());
        runtime.block_on(ledger.check(&names));
        runtime.block_on(async {
            let id = coordinator.reserve_volume_id().await.unwrap();
            assert!(ledger.volume_ids.insert(u64::from(id.get())), "{id} was reserved twice");
        });
    }
    assert!(ledger.puts.len() > 100, "the children acknowledged only {}", ledger.puts.len());
    assert!(ledger.keys.len() > 20, "the children leased only {} keys", ledger.keys.len());
}
