//! Compaction under fire: clients put, delete, overwrite and read all the time, one of them so
//! slowly that it holds on to files long replaced, and the power goes at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::{Progress, files};
use hayrick_store::{NeedleReader, NewNeedle, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::budget::Budget;
use crate::client::{Client, Got, open, options, runtime};
use crate::record::{E1, Name, Record, id, needle, vid};

/// Written before the fire, every third of them deleted.
const OLD: u64 = 60;
/// Streamed, because it is too large to be read at once.
const LARGE: Name = (1, 500);
const LARGE_BYTES: usize = 600_000;
/// Read at a time by the slow reader.
const PIECE: u64 = 48 << 10;
/// Compactions while the clients are at work.
const COMPACTIONS: u64 = 2;

/// A volume with something to compact, as its disk and its clients' record.
fn prepared() -> (MemoryDisk, Record) {
    let (disk, runtime) = (MemoryDisk::new(), runtime());
    let store = open(&disk, &options()).unwrap();
    let mut client = Client::new(store, Record::new(false), &runtime);
    client.create_volume(1).unwrap();
    for first in (0..OLD).step_by(4) {
        client.put(&(first..first + 4).map(|key| (1, key)).collect::<Vec<_>>()).unwrap();
    }
    for key in (0..OLD).step_by(3) {
        client.delete((1, key)).unwrap();
    }
    let large = NewNeedle { data: large(), ..needle(LARGE) };
    runtime.block_on(client.store.put(vid(1), E1, vec![large])).unwrap();
    let record = client.close();
    (disk, record)
}

fn large() -> Bytes {
    let mut rng = StdRng::seed_from_u64(7);
    (0..LARGE_BYTES).map(|_| rng.random::<u8>()).collect()
}

/// The same files on another disk.
fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    for name in disk.list().unwrap() {
        copy.put(&name, disk.bytes(&name).unwrap());
    }
    copy
}

/// One client: new needles, deletes of old ones and of its own, until the compactions are over.
fn write(store: &Arc<Store>, record: Record, own: u64, over: &AtomicBool) -> Record {
    let runtime = runtime();
    let mut client = Client::new(Arc::clone(store), record, &runtime);
    for turn in 0.. {
        if over.load(Ordering::Relaxed) && turn >= 3 {
            break;
        }
        let key = own + turn * 3;
        let written = client.put(&[(1, key), (1, key + 1)]).and_then(|()| {
            // An overwrite: the new needle first, then the old one goes.
            let old = if turn % 2 == 0 { key + 1 } else { key - 3 };
            client.delete((1, old))
        });
        if written.is_err() {
            break;
        }
    }
    client.record
}

/// Reads a needle piece by piece while its file is replaced; right to the end, or the power is gone.
fn stream(reader: &NeedleReader, disk: &MemoryDisk, over: &AtomicBool) {
    let (runtime, expected) = (runtime(), large());
    let mut at = 0;
    while at < reader.size() {
        // The last pieces are read when the file has long been replaced.
        if at > reader.size() / 2 && !over.load(Ordering::Relaxed) {
            std::thread::yield_now();
            continue;
        }
        let end = (at + PIECE).min(reader.size());
        match runtime.block_on(reader.read(at..end)) {
            Ok(piece) => {
                let range = usize::try_from(at).unwrap()..usize::try_from(end).unwrap();
                assert!(piece == expected[range], "wrong bytes were streamed");
            }
            Err(_) if disk.is_cut() => return,
            Err(error) => panic!("a slow reader was left behind: {error}"),
        }
        at = end;
    }
}

/// Reads what never changes, again and again.
fn read(store: &Arc<Store>, disk: &MemoryDisk, over: &AtomicBool) {
    let runtime = runtime();
    let client = Client::new(Arc::clone(store), Record::new(false), &runtime);
    while !over.load(Ordering::Relaxed) {
        for key in 0..OLD {
            match client.get((1, key)) {
                Got::Right => assert!(key % 3 != 0, "needle {key} is back"),
                Got::Gone => assert!(key % 3 == 0, "needle {key} is lost"),
                Got::Error(_) if disk.is_cut() => return,
                Got::Error(error) => panic!("needle {key}: {error}"),
            }
        }
    }
}

/// What is known when the fire is over, by client, and the number of steps it took.
fn fire(disk: &MemoryDisk, old: &Record, cut: Option<u64>) -> (Vec<Record>, u64) {
    let before = disk.steps();
    let store = open(disk, &options()).unwrap();
    let reader = runtime().block_on(store.open_needle(id(LARGE))).unwrap();
    if let Some(steps) = cut {
        disk.cut_after(steps);
    }
    let over = AtomicBool::new(false);
    let records = std::thread::scope(|scope| {
        let writers = [(old.clone(), 1000), (Record::new(false), 100_000)];
        let writers = writers.map(|(record, own)| {
            scope.spawn({
                let (store, over) = (&store, &over);
                move || write(store, record, own, over)
            })
        });
        let readers = [
            scope.spawn(|| stream(&reader, disk, &over)),
            scope.spawn(|| read(&store, disk, &over)),
        ];
        let compacted = (0..COMPACTIONS).try_for_each(|_| {
            let volume = store.volume(vid(1))?;
            volume.compact(&Progress::default()).map(drop)
        });
        over.store(true, Ordering::Relaxed);
        if let Err(error) = compacted {
            assert!(disk.is_cut(), "compaction under fire: {error}");
        }
        for reader in readers {
            reader.join().unwrap();
        }
        writers.map(|writer| writer.join().unwrap())
    });
    (records.into(), disk.steps() - before)
}

fn check(disk: &MemoryDisk, records: &[Record], when: &str) {
    let runtime = runtime();
    let store = open(disk, &options()).unwrap();
    for record in records {
        let client = Client::new(Arc::clone(&store), record.clone(), &runtime);
        client.check_health(when);
        client.check(when);
    }
    let client = Client::new(store, Record::new(false), &runtime);
    client.verify(when);
    let streamed = runtime.block_on(async {
        let reader = client.store.open_needle(id(LARGE)).await?;
        reader.read(0..reader.size()).await
    });
    assert!(streamed.is_ok_and(|bytes| bytes == large()), "{when}: the large needle");
    client.compact(1).unwrap();
    for record in records {
        Client::new(Arc::clone(&client.store), record.clone(), &runtime).check(when);
    }
}

#[test]
fn compaction_under_fire_with_the_power_cut_at_every_step_loses_and_resurrects_nothing() {
    let (image, old) = prepared();
    let (mut cuts, mut mid_compaction) = (0, 0);
    let mut budget = Budget::seconds(8);
    budget.spend(|rng| {
        let whole = copy(&image);
        let (records, steps) = fire(&whole, &old, None);
        check(&whole, &records, "without a cut");
        for cut in 0..=steps {
            let disk = copy(&image);
            let (records, _) = fire(&disk, &old, Some(cut));
            mid_compaction += u64::from(disk.bytes(&files::compacting(vid(1))).is_some());
            cuts += 1;
            check(&disk.crash(rng), &records, &format!("the power was cut at step {cut}"));
            disk.restore_power();
            check(&disk, &records, &format!("the process was killed at step {cut}"));
        }
    });
    assert!(mid_compaction > 0, "no cut came in the middle of a compaction");
    budget.report(format!("{cuts} cuts, {mid_compaction} of them in the middle of a compaction"));
}
