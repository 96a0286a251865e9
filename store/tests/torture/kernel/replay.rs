//! A disk that logs what it is told, and the states in which a power cut may leave it.
//!
//! nbdkit serves a disk that writes down every write and every flush. From that log, images
//! are made: everything up to some flush, and any of the writes after it. Each is mounted,
//! and the store on it opened.

use std::fs;
use std::ops::Range;
use std::path::Path;

use hayrick_store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::device::{Mount, Nbd, make_image};
use super::{can_run, check_left_behind, options_in, rounds, text};
use crate::client::{CLUSTER, Client, runtime};
use crate::record::{Name, Record};

const MIB: u64 = 48;

/// Keeps the disk in memory, and appends to the log: offset and length as 8 bytes each, then
/// the data. A flush is a write of nothing.
const PLUGIN: &str = r#"
import builtins, struct
API_VERSION = 2
disk = bytearray()
log = None
def config(key, value):
    global disk, log
    if key == "image":
        disk = bytearray(builtins.open(value, "rb").read())
    if key == "log":
        log = builtins.open(value, "ab", buffering=0)
def open(readonly):
    return 1
def get_size(h):
    return len(disk)
def can_flush(h):
    return True
def pread(h, buf, offset, flags):
    buf[:] = disk[offset:offset + len(buf)]
def pwrite(h, buf, offset, flags):
    disk[offset:offset + len(buf)] = buf
    log.write(struct.pack("<QQ", offset, len(buf)) + bytes(buf))
def flush(h, flags):
    log.write(struct.pack("<QQ", 0, 0))
"#;

enum Entry {
    Write { offset: u64, data: Range<usize> },
    Flush,
}

/// What a client did when the log was how long.
struct Event {
    log_bytes: u64,
    note: Note,
}

enum Note {
    Volume(u32),
    Put(Vec<Name>, bool),
    Delete(Name, bool),
}

#[test]
fn unflushed_writes_in_any_order_lose_nothing_acknowledged() {
    let tools = ["nbdkit", "nbdfuse", "mkfs.ext4"];
    if !can_run("the replay of a disk's writes", &tools) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, log) = (dir.path().join("empty.img"), dir.path().join("writes.log"));
    make_image(&image, MIB, &["mkfs.ext4", "-qF"]);
    let events = record_a_run(dir.path(), &image, &log);
    let bytes = fs::read(&log).unwrap();
    let entries = parse(&bytes);
    let mut rng = StdRng::seed_from_u64(rand::random());
    let images = rounds(8, 300);
    for number in 0..images {
        let cut = rng.random_range(0..entries.len());
        check_image(&image, &bytes, &entries, cut, &events, &mut rng, dir.path());
        if number + 1 == images {
            println!("{images} crash images of {} writes and flushes", entries.len());
        }
    }
}

/// Runs a store on the logging disk and notes how long the log was at each answer.
fn record_a_run(dir: &Path, image: &Path, log: &Path) -> Vec<Event> {
    let plugin = dir.join("log_disk.py");
    fs::write(&plugin, PLUGIN).unwrap();
    let (image, log_key) = (format!("image={}", text(image)), format!("log={}", text(log)));
    let nbd = Nbd::start(dir, &["python", text(&plugin), &image, &log_key]);
    let place = dir.join("run");
    let _mount = Mount::new(&[], &nbd.device, &place);
    let runtime = runtime();
    let store = Store::open(CLUSTER, options_in(&place)).unwrap();
    let mut client = Client::new(store, Record::default(), &runtime);
    let mut events = Vec::new();
    let mut note = |note| {
        events.push(Event { log_bytes: fs::metadata(log).unwrap().len(), note });
    };
    for volume in 1..=2 {
        client.create_volume(volume).unwrap();
        note(Note::Volume(volume));
    }
    for step in 0..40u64 {
        let volume = u32::try_from(step % 2).unwrap() + 1;
        let batch: Vec<Name> = (0..=step % 4).map(|n| (volume, step * 5 + n)).collect();
        note(Note::Put(batch.clone(), false));
        client.put(&batch).unwrap();
        note(Note::Put(batch.clone(), true));
        if step % 3 == 2 {
            note(Note::Delete(batch[0], false));
            client.delete(batch[0]).unwrap();
            note(Note::Delete(batch[0], true));
        }
        match step {
            13 | 29 => client.compact(volume).unwrap(),
            9 | 21 => client.checkpoint(volume).unwrap(),
            _ => {}
        }
    }
    events
}

fn parse(bytes: &[u8]) -> Vec<Entry> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let mut entries = Vec::new();
    let mut at = 0;
    while let (Some(offset), Some(len)) = (number(at), number(at + 8)) {
        let data = at + 16..at + 16 + usize::try_from(len).unwrap();
        at = data.end;
        let flush = data.is_empty();
        entries.push(if flush { Entry::Flush } else { Entry::Write { offset, data } });
    }
    entries
}

fn check_image(
    empty: &Path,
    log: &[u8],
    entries: &[Entry],
    cut: usize,
    events: &[Event],
    rng: &mut StdRng,
    dir: &Path,
) {
    let mut disk = fs::read(empty).unwrap();
    let flushed =
        entries[..cut].iter().rposition(|entry| matches!(entry, Entry::Flush)).unwrap_or(0);
    let mut log_bytes = 0;
    for (number, entry) in entries[..cut].iter().enumerate() {
        log_bytes += 16;
        let Entry::Write { offset, data } = entry else { continue };
        log_bytes += data.len() as u64;
        let start = usize::try_from(*offset).unwrap();
        let data = &log[data.clone()];
        if number < flushed || rng.random() {
            disk[start..start + data.len()].copy_from_slice(data);
        } else if rng.random_ratio(1, 4) {
            // Some sectors of it.
            for (sector, piece) in data.chunks(512).enumerate().filter(|_| rng.random()) {
                let at = start + sector * 512;
                disk[at..at + piece.len()].copy_from_slice(piece);
            }
        }
    }
    let image = dir.join("crash.img");
    fs::write(&image, disk).unwrap();
    let place = dir.join("crash");
    let _mount = Mount::image(&image, &place);
    check_left_behind(&place, record_at(events, log_bytes), &format!("cut after {cut} requests"));
}

/// What the client had been told when the log was this long.
fn record_at(events: &[Event], log_bytes: u64) -> Record {
    let mut record = Record::default();
    let unknown = || hayrick_store::StoreError::Busy { what: "no answer yet" };
    for Event { note, .. } in events.iter().filter(|event| event.log_bytes <= log_bytes) {
        match note {
            Note::Volume(volume) => _ = record.volumes.insert(*volume),
            Note::Put(batch, true) => record.note_put(batch, &Ok(())),
            Note::Put(batch, false) => record.note_put(batch, &Err(unknown())),
            Note::Delete(name, true) => record.note_delete(*name, &Ok(true)),
            Note::Delete(name, false) => record.note_delete(*name, &Err(unknown())),
        }
    }
    record
}
