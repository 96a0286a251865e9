//! The double is itself tested: a crash model that forgives too much proves nothing.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::storage::{read_exact_at, write_all_at};

#[test]
fn what_was_synced_survives_every_crash_and_the_rest_only_some() {
    let disk = MemoryDisk::new();
    let file = disk.create("a").unwrap();
    disk.sync().unwrap();
    write_all_at(&*file, b"kept", 0).unwrap();
    file.sync().unwrap();
    write_all_at(&*file, b"lost?", 4).unwrap();
    let ends: std::collections::BTreeSet<_> = (0..200)
        .map(|seed| disk.crash(&mut StdRng::seed_from_u64(seed)).bytes("a").unwrap())
        .inspect(|bytes| assert!(bytes.starts_with(b"kept")))
        .collect();
    assert!(ends.contains(b"kept".as_slice()) && ends.contains(b"keptlost?".as_slice()));
    assert!(ends.len() > 3, "torn writes too: {ends:?}");
}

#[test]
fn a_rename_may_be_lost_until_the_directory_is_synced() {
    let disk = MemoryDisk::new();
    disk.put("new", b"2".to_vec());
    disk.put("live", b"1".to_vec());
    disk.rename("new", "live").unwrap();
    let seen: std::collections::BTreeSet<_> = (0..50)
        .map(|seed| disk.crash(&mut StdRng::seed_from_u64(seed)).bytes("live").unwrap())
        .collect();
    assert_eq!(seen.len(), 2);
    disk.sync().unwrap();
    for seed in 0..50 {
        assert_eq!(disk.crash(&mut StdRng::seed_from_u64(seed)).bytes("live").unwrap(), b"2");
    }
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_the_data_is_gone() {
    let disk = MemoryDisk::new();
    let file = disk.create("a").unwrap();
    disk.sync().unwrap();
    write_all_at(&*file, b"gone", 0).unwrap();
    disk.fail_next(Call::Sync, 0, rustix::io::Errno::IO);
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok());
    assert_eq!(read_exact_at(&*file, 4, 0).unwrap(), b"gone", "the page is still in memory");
    assert_ne!(disk.crash(&mut StdRng::seed_from_u64(0)).bytes("a").unwrap(), b"gone");
    write_all_at(&*file, b"here", 4).unwrap();
    file.sync().unwrap();
    disk.evict();
    assert_eq!(disk.bytes("a").unwrap(), b"\0\0\0\0here");
}

#[test]
fn short_and_interrupted_calls_are_taken_up_again() {
    for fault in [Fault::Short, rustix::io::Errno::INTR.into()] {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        disk.fail_next(Call::Write, 0, fault);
        write_all_at(&*file, b"all of it", 0).unwrap();
        assert!(disk.stop_failing());
        disk.fail_next(Call::Read, 0, fault);
        assert_eq!(read_exact_at(&*file, 9, 0).unwrap(), b"all of it");
        assert!(disk.stop_failing());
    }
}

#[test]
fn a_killed_process_finds_its_files_as_they_were() {
    let disk = MemoryDisk::new();
    let file = disk.create("a").unwrap();
    disk.cut_after(1);
    write_all_at(&*file, b"first", 0).unwrap();
    assert!(write_all_at(&*file, b"second", 0).is_err());
    disk.restore_power();
    assert_eq!(disk.bytes("a").unwrap(), b"first");
}
