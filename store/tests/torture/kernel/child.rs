//! The process that is killed: this test binary, started again, writing to a store and
//! telling of each answer. Its parent keeps the record.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use hayrick_store::volume::Progress;
use hayrick_store::{Store, StoreError};
use rand::Rng;

use super::options_in;
use crate::client::CLUSTER;
use crate::record::{E1, Name, Record, id, needle, vid};

const DIR: &str = "HAYRICK_TORTURE_CHILD";
/// Where its keys begin: no two children use the same.
const BASE: &str = "HAYRICK_TORTURE_BASE";
/// How many threads write.
const THREADS: &str = "HAYRICK_TORTURE_THREADS";
/// How many steps each thread takes.
const STEPS: &str = "HAYRICK_TORTURE_STEPS";

/// What a child is to do.
#[derive(Clone, Copy)]
pub struct Work {
    pub base: u64,
    pub threads: u64,
    pub steps: u64,
}

/// A command that does `work` in `dir`, to be run as it is or under another program.
pub fn command(dir: &Path, work: Work, under: &[String]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match under {
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(this);
            command
        }
        [] => Command::new(this),
    };
    command
        .args(["kernel::child::child", "--exact", "--nocapture", "--test-threads", "1"])
        .env(DIR, dir)
        .env(BASE, work.base.to_string())
        .env(THREADS, work.threads.to_string())
        .env(STEPS, work.steps.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A running child and what it has told.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub record: Record,
    pub answers: u64,
    deaf: bool,
}

impl Running {
    pub fn start(dir: &Path, work: Work, record: Record, under: &[String]) -> Self {
        let mut child = command(dir, work, under).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, record, answers: 0, deaf: false }
    }

    /// Listens until the child has told of `answers` answers, or is gone.
    pub fn listen(&mut self, answers: u64) {
        let enough = self.answers + answers;
        let mut line = String::new();
        while self.answers < enough && self.lines.read_line(&mut line).unwrap() > 0 {
            if !(self.deaf && line.starts_with("@ ok")) {
                self.answers += u64::from(note(&line, &mut self.record));
            }
            line.clear();
        }
    }

    /// Takes no more answers, only notes what is asked for.
    pub fn go_deaf(&mut self) {
        self.deaf = true;
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Listens to the end. Gives the record.
    pub fn finish(mut self) -> Record {
        self.listen(u64::MAX / 2);
        self.child.wait().unwrap();
        self.record
    }
}

/// Takes down what a line tells, and says whether it was an answer.
fn note(line: &str, record: &mut Record) -> bool {
    let mut words = line.split_whitespace();
    if words.next() != Some("@") {
        return false;
    }
    let (Some(stage), Some(what)) = (words.next(), words.next()) else { return false };
    let numbers: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
    // The last line may be cut short by the kill.
    let (Some(numbers), true) = (numbers, line.ends_with('\n')) else { return false };
    let volume = u32::try_from(numbers[0]).unwrap();
    let names: Vec<Name> = numbers[1..].iter().map(|key| (volume, *key)).collect();
    let unknown = || StoreError::Busy { what: "no answer yet" };
    match (stage, what) {
        ("ok", "volume") => _ = record.volumes.insert(volume),
        ("try", "put") => record.note_put(&names, &Err(unknown())),
        ("ok", "put") => record.note_put(&names, &Ok(())),
        ("try", "delete") => record.note_delete(names[0], &Err(unknown())),
        ("ok", "delete") => record.note_delete(names[0], &Ok(true)),
        _ => panic!("{line}"),
    }
    stage == "ok"
}

fn say(stage: &str, what: &str, volume: u32, keys: &[u64]) {
    let keys: Vec<String> = keys.iter().map(u64::to_string).collect();
    // One write, so that a kill cuts no line in two.
    let line = format!("@ {stage} {what} {volume} {}\n", keys.join(" "));
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// Not a test of its own: what a child process runs.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (base, threads, steps) = (number(BASE), number(THREADS), number(STEPS));
    let store = Store::open(CLUSTER, options_in(dir.as_ref())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for volume in 1..=2 {
        runtime.block_on(store.create_volume(vid(volume), E1)).unwrap();
        say("ok", "volume", volume, &[]);
    }
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (store, runtime) = (&store, &runtime);
            scope.spawn(move || {
                let mine = base + thread * 100_000;
                let mut stored = Vec::new();
                for step in 0..steps {
                    let key = mine + step * 4;
                    // A call that fails ends the thread: its store is to be opened again.
                    if work(runtime, store, step, key, &mut stored).is_none() {
                        return;
                    }
                }
            });
        }
    });
    runtime.block_on(store.close());
}

fn work(
    runtime: &tokio::runtime::Runtime,
    store: &std::sync::Arc<Store>,
    step: u64,
    key: u64,
    stored: &mut Vec<Name>,
) -> Option<()> {
    let volume = u32::try_from(step % 2).unwrap() + 1;
    let keys: Vec<u64> = (key..=key + step % 4).collect();
    say("try", "put", volume, &keys);
    let needles = keys.iter().map(|key| needle((volume, *key))).collect();
    runtime.block_on(store.put(vid(volume), E1, needles)).ok()?;
    say("ok", "put", volume, &keys);
    stored.extend(keys.iter().map(|key| (volume, *key)));
    if step % 3 == 2 {
        let name = stored.swap_remove(rand::rng().random_range(0..stored.len()));
        say("try", "delete", name.0, &[name.1]);
        runtime.block_on(store.delete(id(name), E1)).ok()?;
        say("ok", "delete", name.0, &[name.1]);
    }
    match step % 17 {
        7 => _ = store.volume(vid(volume)).ok()?.checkpoint(),
        13 => _ = store.volume(vid(volume)).ok()?.compact(&Progress::default()),
        _ => {}
    }
    Some(())
}
