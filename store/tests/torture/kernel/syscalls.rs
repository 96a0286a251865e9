//! The N-th system call of a kind failing, or being the last one of the process.

use hayrick_store::volume::files;

use super::child::{Running, Work};
use super::{can_run, check_left_behind, rounds, text};
use crate::record::{Record, vid};

const FAULTS: [(&str, &str); 15] = [
    ("fdatasync", "error=EIO"),
    ("fdatasync", "signal=SIGKILL"),
    ("fsync", "error=EIO"),
    ("fsync", "signal=SIGKILL"),
    ("pwrite64", "error=EIO"),
    ("pwrite64", "error=ENOSPC"),
    ("pwrite64", "error=EINTR"),
    ("pwrite64", "signal=SIGKILL"),
    ("pread64", "error=EIO"),
    ("preadv2", "error=EIO"),
    ("rename", "error=EIO"),
    ("rename", "signal=SIGKILL"),
    ("ftruncate", "error=EIO"),
    ("fallocate", "error=ENOSPC"),
    ("unlink", "error=EIO"),
];

#[test]
fn no_failing_system_call_costs_anything_acknowledged() {
    if !can_run("failing system calls", &["strace"]) {
        return;
    }
    let mut injected = 0;
    let last = rounds(1, 12);
    // An ordinary run takes one call of each kind, another one each time.
    let first = if last == 1 { 1 + rand::random::<u64>() % 6 } else { 1 };
    for (call, fault) in FAULTS {
        for nth in first..first + last {
            let dir = tempfile::tempdir().unwrap();
            let inject = format!("inject={call}:{fault}:when={nth}");
            let trace = format!("trace={call}");
            let null = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
            let under: Vec<String> =
                ["strace", "-f"].iter().chain(&null).map(ToString::to_string).collect();
            let work = Work { base: 0, threads: 1, steps: 20 };
            let record = Running::start(dir.path(), work, Record::default(), &under).finish();
            check_left_behind(dir.path(), record, &inject);
            injected += 1;
        }
    }
    println!("{injected} faults by strace");
}

/// Every read of an index file failing, at the start and after each checkpoint.
#[test]
fn an_index_file_that_cannot_be_read_costs_a_scan_and_nothing_else() {
    if !can_run("the unreadable index file", &["strace"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let work = Work { base: 0, threads: 1, steps: 20 };
    let record = Running::start(dir.path(), work, Record::default(), &[]).finish();
    let index = dir.path().join("store").join(files::index(vid(1), 1));
    assert!(index.exists(), "the first child saved its index");
    let inject = ["-e", "trace=pread64", "-e", "inject=pread64:error=EIO", "-P", text(&index)];
    let under: Vec<String> = ["strace", "-f", "-o", "/dev/null"]
        .iter()
        .chain(&inject)
        .map(ToString::to_string)
        .collect();
    let mut child = Running::start(dir.path(), Work { base: 1_000_000, ..work }, record, &under);
    child.listen(u64::MAX / 4);
    assert!(child.answers > 20, "the child got no further than answer {}", child.answers);
    check_left_behind(dir.path(), child.finish(), "without the index file");
}
