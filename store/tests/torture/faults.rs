//! Every call of a fixed history failing in turn.

use hayrick_store::StoreError;
use hayrick_store::config::StoreOptions;
use hayrick_store::storage::memory::{Call, Fault, MemoryDisk};
use hayrick_store::volume::{Condition, files};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::io::Errno;
use tokio::runtime::Runtime;

use crate::budget::Budget;
use crate::client::{Client, Got, open, options, runtime};
use crate::history::{Op, Step, perform};
use crate::record::{Known, Name, Record, id, vid};

/// Two volumes, large and small needles, batches, deletes, compaction, checkpoints and starts.
fn history() -> Vec<Step> {
    use Step::{Burst, Checkpoint, Compact, Delete, Put, Reopen, Restart, Roll};
    let batch = |volume: u32, keys: &[u64]| keys.iter().map(|key| (volume, *key)).collect();
    vec![
        Roll(1),
        Put(batch(1, &[1, 2, 22])),
        Roll(2),
        Put(batch(2, &[1])),
        Delete((1, 2)),
        Checkpoint(1),
        Burst(vec![Op::Put(batch(1, &[3, 4])), Op::Delete((1, 3)), Op::Put(batch(1, &[5]))]),
        Restart,
        Put(batch(2, &[6, 7, 8, 45])),
        Delete((2, 7)),
        Compact(1),
        Put(batch(1, &[9, 10])),
        Delete((1, 1)),
        Reopen,
        Put(batch(1, &[11])),
        Compact(2),
        Checkpoint(2),
        Put(batch(2, &[12, 13])),
        Delete((2, 12)),
    ]
}

const RETRYABLE: [Fault; 2] = [Fault::Short, Fault::System(Errno::INTR)];

/// Which faults a call may meet on a real system.
fn faults_of(call: Call) -> Vec<Fault> {
    let mut faults = vec![Fault::System(Errno::IO)];
    match call {
        Call::Read => faults.extend(RETRYABLE),
        Call::Write => {
            faults.extend(RETRYABLE);
            faults.push(Fault::System(Errno::NOSPC));
        }
        Call::Sync | Call::Allocate | Call::Create | Call::Rename | Call::SyncNames => {
            faults.push(Fault::System(Errno::NOSPC));
        }
        Call::SetLen | Call::Open | Call::Remove | Call::List => {}
    }
    faults
}

#[test]
fn no_single_fault_costs_anything_acknowledged() {
    let runtime = runtime();
    let options = options();
    let calls = {
        let disk = MemoryDisk::new();
        run(&disk, &options, &runtime);
        Call::ALL.map(|call| (call, disk.calls(call)))
    };
    let (mut injected, mut met) = (0, 0);
    let mut budget = Budget::seconds(0);
    budget.spend(|rng| {
        for (call, count) in calls {
            for fault in faults_of(call) {
                for skip in 0..count {
                    for for_good in [false, true] {
                        if for_good && (RETRYABLE.contains(&fault) || skip % 5 != 0) {
                            continue;
                        }
                        injected += 1;
                        let plan = Plan { call, fault, skip, for_good };
                        met += u64::from(fail(&plan, &options, &runtime, rng));
                    }
                }
            }
        }
    });
    budget.report(format!("{injected} faults planned, {met} met"));
}

#[derive(Debug)]
struct Plan {
    call: Call,
    fault: Fault,
    skip: u64,
    for_good: bool,
}

/// Runs the history with one fault and tells whether it was met.
fn fail(plan: &Plan, options: &StoreOptions, runtime: &Runtime, rng: &mut StdRng) -> bool {
    let when = format!("{plan:?}");
    let disk = MemoryDisk::new();
    if plan.for_good {
        disk.fail_from(plan.call, plan.skip, plan.fault);
    } else {
        disk.fail_next(plan.call, plan.skip, plan.fault);
    }
    let (store, record) = run(&disk, options, runtime);
    let met = disk.stop_failing();
    if let Some(store) = store {
        let client = Client::new(store, record.clone(), runtime);
        check_running(&client, &when);
    }
    if RETRYABLE.contains(&plan.fault) {
        let unsure = record.needles().filter(|(_, known)| *known == Known::Unsure).count();
        assert_eq!(unsure, 0, "{when}: short and interrupted calls are nobody's business");
    }
    after_restart(&disk, record.clone(), options, runtime, rng, &when);
    disk.evict();
    after_restart(&disk, record, options, runtime, rng, &when);
    met
}

/// Goes on whatever fails, as clients and operators do; a start that fails is tried again.
fn run(
    disk: &MemoryDisk,
    options: &StoreOptions,
    runtime: &Runtime,
) -> (Option<std::sync::Arc<hayrick_store::Store>>, Record) {
    let start = |record| {
        let store = open(disk, options).or_else(|| open(disk, options))?;
        Some(Client::new(store, record, runtime))
    };
    let mut record = Record::new(false);
    let Some(mut client) = start(record.clone()) else { return (None, record) };
    for step in &history() {
        match step {
            Step::Reopen => record = client.close(),
            Step::Restart => record = client.record,
            step => {
                let _ = perform(&mut client, disk, step);
                continue;
            }
        }
        match start(record.clone()) {
            Some(opened) => client = opened,
            None => return (None, record),
        }
    }
    (Some(client.store), client.record)
}

/// A store that met a fault and was not restarted serves what it has, claims nothing that it
/// did not acknowledge, and a volume that lost a write takes no more.
fn check_running(client: &Client<'_>, when: &str) {
    for (name, known) in client.record.needles() {
        match (known, client.get(name)) {
            (Known::Stored | Known::Unsure, Got::Right)
            | (Known::Deleted | Known::Unsure, Got::Gone)
            // Its volume could not be opened while the fault was there.
            | (_, Got::Error(StoreError::Failed { .. })) => {}
            (known, got) => panic!("{when}: {name:?} is {known:?}, but reads {got:?}"),
        }
    }
    for volume in client.store.volumes() {
        if matches!(volume.stats().condition, Condition::Failed(_)) {
            let refused =
                volume.delete(id((volume.id().get(), 1)).key, id((volume.id().get(), 1)).cookie);
            let refused = refused.and_then(|answer| answer.blocking_recv().unwrap());
            assert!(refused.is_err(), "{when}: a failed volume takes deletes");
        }
    }
}

fn after_restart(
    disk: &MemoryDisk,
    record: Record,
    options: &StoreOptions,
    runtime: &Runtime,
    rng: &mut StdRng,
    when: &str,
) {
    let mut client = Client::new(open(disk, options).unwrap(), record, runtime);
    client.check_health(when);
    client.check(when);
    let retried: Vec<Name> = client
        .record
        .needles()
        .filter(|(_, known)| *known == Known::Unsure)
        .map(|(n, _)| n)
        .collect();
    for name in retried {
        match client.put(&[name]) {
            Err(StoreError::Conflict { .. } | StoreError::NoVolume(_)) => {}
            put => put.unwrap_or_else(|error| panic!("{when}: {error}")),
        }
    }
    for volume in client.record.volumes.clone() {
        client.put(&[(volume, 600), (volume, 601)]).or_else(conflict_is_fine).unwrap();
    }
    client.check(when);
    let record = client.record.clone();
    drop(client);
    let after = disk.crash(rng);
    let client = Client::new(open(&after, options).unwrap(), record, runtime);
    client.check_health(when);
    client.check(when);
    client.verify(when);
}

fn conflict_is_fine(error: StoreError) -> Result<(), StoreError> {
    if matches!(error, StoreError::Conflict { .. }) { Ok(()) } else { Err(error) }
}

/// A store with one volume and one needle in it.
fn small(runtime: &Runtime) -> (MemoryDisk, Client<'_>) {
    let disk = MemoryDisk::new();
    let store = open(&disk, &options()).unwrap();
    let mut client = Client::new(store, Record::new(false), runtime);
    client.create_volume(1).unwrap();
    client.put(&[(1, 1)]).unwrap();
    (disk, client)
}

/// Trap 6 of the field: the sync of a group failed, and the index kept its needles.
#[test]
fn a_batch_whose_sync_failed_is_never_claimed_and_the_volume_takes_no_more() {
    for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
        let runtime = runtime();
        let (disk, mut client) = small(&runtime);
        disk.fail_next(Call::Sync, 0, errno);
        let batch = [(1, 2), (1, 3), (1, 4)];
        assert!(matches!(client.put(&batch), Err(StoreError::Failed { .. })));
        assert!(batch.iter().all(|name| matches!(client.get(*name), Got::Gone)));
        // The kernel says yes to the next sync, but the volume no longer asks.
        assert!(matches!(client.put(&[(1, 5)]), Err(StoreError::Failed { .. })));
        assert!(matches!(client.delete((1, 1)), Err(StoreError::Failed { .. })));
        assert!(matches!(client.compact(1), Err(StoreError::Failed { .. })));
        assert!(matches!(client.checkpoint(1), Err(StoreError::Failed { .. })));
        assert!(matches!(client.get((1, 1)), Got::Right));
    }
}

/// Trap 14 of the field: a full disk was noticed late, and what came meanwhile was lost.
#[test]
fn a_full_disk_refuses_puts_at_once_and_takes_deletes_and_reads() {
    for call in [Call::Allocate, Call::Write] {
        let runtime = runtime();
        let (disk, mut client) = small(&runtime);
        client.put(&[(1, 22)]).unwrap();
        disk.fail_from(call, 0, Errno::NOSPC);
        // The record fits into what is set aside already, unless it is about writing.
        let large: Vec<Name> = (0..400).map(|n| (1, 22 + 23 * n)).collect();
        assert!(matches!(client.put(&large), Err(StoreError::DiskFull(_))), "{call:?}");
        assert!(matches!(client.put(&[(1, 2)]), Err(StoreError::DiskFull(_))), "{call:?}");
        assert!(matches!(client.get((1, 22)), Got::Right));
        if call == Call::Allocate {
            client.delete((1, 1)).unwrap();
        }
        disk.stop_failing();
        client.delete((1, 22)).unwrap();
        client.store.volume(vid(1)).unwrap().recheck_space();
        client.put(&[(1, 2)]).unwrap();
        client.check("there is room again");
        let disk = disk.crash(&mut StdRng::seed_from_u64(1));
        let record = client.record.clone();
        Client::new(open(&disk, &options()).unwrap(), record, &runtime).check("after a crash");
    }
}

/// Trap 1 of the field: one EIO, and the replica's files were deleted.
#[test]
fn an_eio_deletes_no_file_and_no_needle() {
    let runtime = runtime();
    let (disk, mut client) = small(&runtime);
    let before = disk.bytes(&files::volume(vid(1))).unwrap();
    for call in Call::ALL {
        disk.fail_from(call, 0, Errno::IO);
        let _ = client.put(&[(1, 7)]);
        let _ = client.delete((1, 7));
        let _ = client.compact(1);
        let _ = client.checkpoint(1);
        let _ = client.get((1, 1));
        drop(open(&disk, &options()));
        disk.stop_failing();
        assert!(disk.bytes(&files::volume(vid(1))).unwrap().starts_with(&before), "{call:?}");
    }
    let client = Client::new(open(&disk, &options()).unwrap(), client.record.clone(), &runtime);
    client.check("the device is well again");
}
