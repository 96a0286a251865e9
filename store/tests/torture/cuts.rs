//! The power cut, or the process killed, at every step of a history.

use hayrick_store::StoreError;
use hayrick_store::storage::memory::MemoryDisk;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;

use crate::budget::Budget;
use crate::client::{Client, Got, open, runtime};
use crate::history::History;
use crate::record::{Known, Name, Record};

/// What was tried.
#[derive(Default)]
struct Tally {
    cuts: u64,
    images: u64,
}

/// All cut points of short histories: whatever the power cut leaves, what was acknowledged is
/// there, what was deleted is gone, batches are whole or absent, and the store goes on by itself.
#[test]
fn a_cut_at_every_step_loses_nothing_acknowledged() {
    let runtime = runtime();
    let mut tally = Tally::default();
    let mut budget = Budget::seconds(9);
    budget.spend(|rng| {
        let len = rng.random_range(4..9);
        let history = History::random(rng, len);
        for cut in 0..=steps_of(&history, &runtime) {
            torture(&history, cut, &runtime, rng, &mut tally);
        }
    });
    budget.report(format!("{} cut points, {} states after them", tally.cuts, tally.images));
}

/// Any cut point of long histories.
#[test]
fn a_cut_anywhere_in_a_long_history_loses_nothing_acknowledged() {
    let runtime = runtime();
    let mut tally = Tally::default();
    let mut budget = Budget::seconds(6);
    budget.spend(|rng| {
        let len = rng.random_range(20..80);
        let history = History::random(rng, len);
        let steps = steps_of(&history, &runtime);
        for _ in 0..3 {
            let cut = rng.random_range(0..=steps);
            torture(&history, cut, &runtime, rng, &mut tally);
        }
    });
    budget.report(format!("{} cut points, {} states after them", tally.cuts, tally.images));
}

fn steps_of(history: &History, runtime: &Runtime) -> u64 {
    let disk = MemoryDisk::new();
    let record = history.run_until_cut(&disk, runtime);
    let client = Client::new(open(&disk, &history.options).unwrap(), record, runtime);
    client.check("without a cut");
    disk.steps()
}

fn torture(history: &History, cut: u64, runtime: &Runtime, rng: &mut StdRng, tally: &mut Tally) {
    let disk = MemoryDisk::new();
    disk.cut_after(cut);
    let record = history.run_until_cut(&disk, runtime);
    let mut images = Vec::new();
    if history.is_synced() {
        images.extend((0..2).map(|_| ("the power was cut", disk.crash(rng))));
    }
    disk.restore_power();
    images.push(("the process was killed", disk));
    tally.cuts += 1;
    for (how, image) in images {
        tally.images += 1;
        let when = format!("{how} at step {cut} of {history:?}");
        aftermath(history, image, record.clone(), runtime, rng, &when);
    }
}

fn aftermath(
    history: &History,
    mut disk: MemoryDisk,
    record: Record,
    runtime: &Runtime,
    rng: &mut StdRng,
    when: &str,
) {
    if rng.random_ratio(1, 3) {
        disk = cut_again_while_opening(history, disk, rng);
    }
    let reopen = |disk: &MemoryDisk, record| {
        let store = open(disk, &history.options);
        let client = Client::new(store.unwrap(), record, runtime);
        client.check_health(when);
        client.check(when);
        client
    };
    let mut client = reopen(&disk, record);
    go_on(&mut client, rng);
    client.check(when);
    let totals = totals(&client);

    // A second cut changes nothing that the first start decided.
    if history.is_synced() {
        disk = disk.crash(rng);
    }
    let record = std::mem::take(&mut client.record);
    drop(client);
    let mut client = reopen(&disk, record);
    assert_eq!(self::totals(&client), totals, "{when}");
    client.verify(when);
    for volume in client.store.volumes() {
        client.compact(volume.id().get()).unwrap();
    }
    client.check(when);
    go_on(&mut client, rng);

    if history.is_synced() {
        disk = disk.crash(rng);
    }
    let client = reopen(&disk, std::mem::take(&mut client.record));
    client.verify(when);
}

/// The cut comes back while the first one is being recovered from.
fn cut_again_while_opening(history: &History, disk: MemoryDisk, rng: &mut StdRng) -> MemoryDisk {
    disk.cut_after(rng.random_range(0..8));
    drop(open(&disk, &history.options));
    let after = if history.is_synced() && rng.random() { disk.crash(rng) } else { disk };
    after.restore_power();
    after
}

/// A client repeats what it is unsure of, and goes on with its work.
fn go_on(client: &mut Client<'_>, rng: &mut StdRng) {
    let unsure: Vec<Name> = client
        .record
        .needles()
        .filter(|(name, known)| *known == Known::Unsure && client.record.volumes.contains(&name.0))
        .map(|(name, _)| name)
        .collect();
    for name in unsure {
        if rng.random() {
            match client.put(&[name]) {
                Err(StoreError::Conflict { .. }) => client.record.note_deleted(name),
                put => put.unwrap(),
            }
        } else {
            client.delete(name).unwrap();
        }
    }
    let fresh = rng.random_range(100..900);
    for volume in client.record.volumes.clone() {
        if matches!(client.get((volume, fresh)), Got::Gone) {
            let _ = client.put(&[(volume, fresh), (volume, fresh + 1)]);
        }
        client.delete((volume, rng.random_range(0..24))).unwrap();
    }
    // Making a volume syncs the names of all files, so it must not always come to their help.
    if rng.random_ratio(1, 4) {
        client.create_volume(40).unwrap();
        client.put(&[(40, fresh)]).ok();
    }
}

fn totals(client: &Client<'_>) -> Vec<hayrick_store::volume::digest::Totals> {
    client.store.volumes().iter().map(|volume| volume.stats().totals).collect()
}
