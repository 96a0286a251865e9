//! Bytes that changed on disk.

use super::*;
use crate::format::NeedleOffset;
use crate::format::checksum::Trailer;
use crate::format::needle::{BatchPlace, Kind, NeedleHeader};
use crate::format::superblock::Superblock;

#[test]
fn every_flipped_byte_is_survived_and_never_served() {
    let (disk, volume) = new_volume();
    let keys = [1, 2, 3, 4, 5];
    for key in keys {
        put(&volume, &[key]).unwrap();
    }
    delete(&volume, 5).unwrap();
    // Proof that everything before it was acknowledged.
    put(&volume, &[6]).unwrap();
    drop(volume);
    let name = files::volume(id());
    let len = disk.bytes(&name).unwrap().len();
    for at in SUPERBLOCK_BYTES..len {
        disk.flip(&name, at, 0x55);
        let copy = MemoryDisk::new();
        copy.put(&name, disk.bytes(&name).unwrap());
        let volume = open(&copy);
        let mut lost = 0;
        for key in [1, 2, 3, 4, 6] {
            match get(&volume, key) {
                Ok(data) => assert_eq!(data, content_for(key)),
                Err(StoreError::NotFound | StoreError::Corrupt { .. }) => lost += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
        assert!(lost <= 1, "byte {at} cost {lost} needles");
        let report = volume.verify(&Progress::default()).unwrap();
        assert_eq!(report.good_needles + lost, 5 + u64::from(get(&volume, 5).is_ok()), "byte {at}");
        disk.flip(&name, at, 0x55);
    }
}

#[test]
fn a_volume_file_uploaded_as_an_object_is_never_taken_for_needles() {
    let (disk, volume) = new_volume();
    for key in 10..20 {
        put(&volume, &[key]).unwrap();
    }
    let image = disk.bytes(&files::volume(id())).unwrap();
    volume.put(vec![needle(1, &image)]).unwrap().blocking_recv().unwrap().unwrap();
    put(&volume, &[2]).unwrap();
    let at =
        usize::try_from(volume.shared.locate(Key::new(1)).unwrap().entry.offset.bytes()).unwrap();
    drop(volume);
    disk.flip(&files::volume(id()), at + 10, 1);
    let volume = open(&disk);
    assert_eq!(volume.stats().totals.live_needles, 11);
    assert_gone(&volume, 1);
    assert_has(&volume, 2);
}

/// A volume with needles, and what its superblock was.
fn with_superblock() -> (MemoryDisk, Vec<u8>) {
    let (disk, volume) = new_volume();
    for key in 1..=3 {
        put(&volume, &[key]).unwrap();
    }
    delete(&volume, 3).unwrap();
    drop(volume);
    let bytes = disk.bytes(&files::volume(id())).unwrap();
    (disk, bytes[..SUPERBLOCK_BYTES].to_vec())
}

fn assert_whole_again(disk: &MemoryDisk, good: &[u8], when: &str) {
    let bytes = disk.bytes(&files::volume(id())).unwrap();
    let [now, then] = [&bytes, good].map(|bytes| Superblock::from_bytes(bytes).unwrap());
    assert_eq!(now, Superblock { created_ms: now.created_ms, ..then }, "{when}");
}

#[test]
fn a_superblock_with_any_byte_flipped_costs_nothing() {
    let (disk, good) = with_superblock();
    let name = files::volume(id());
    for at in 0..SUPERBLOCK_BYTES {
        let copy = MemoryDisk::new();
        for file in disk.list().unwrap() {
            copy.put(&file, disk.bytes(&file).unwrap());
        }
        copy.flip(&name, at, 1 << (at % 8));
        let (volume, report) = open_with(&copy, options()).unwrap();
        assert!(report.superblock_problem.is_some(), "byte {at}");
        assert_has(&volume, 1);
        assert_has(&volume, 2);
        assert_gone(&volume, 3);
        put(&volume, &[4]).unwrap();
        drop(volume);
        assert_whole_again(&copy, &good, &format!("byte {at}"));
        assert_eq!(open_with(&copy, options()).unwrap().1.superblock_problem, None);
    }
}

#[test]
fn a_power_cut_while_a_superblock_is_made_again_costs_nothing() {
    let (disk, good) = with_superblock();
    let name = files::volume(id());
    disk.flip(&name, 40, 1);
    let image = || {
        let copy = MemoryDisk::new();
        for file in disk.list().unwrap() {
            copy.put(&file, disk.bytes(&file).unwrap());
        }
        copy
    };
    let steps = {
        let copy = image();
        drop(open(&copy));
        copy.steps()
    };
    assert!(steps > 2, "the superblock is written and synced");
    let mut rng = StdRng::seed_from_u64(1);
    for cut in 0..=steps {
        for _ in 0..8 {
            let copy = image();
            copy.cut_after(cut);
            drop(open_with(&copy, options()));
            let after = copy.crash(&mut rng);
            let volume = open(&after);
            assert_has(&volume, 1);
            put(&volume, &[4]).unwrap();
            assert_whole_again(&after, &good, &format!("cut after step {cut}"));
        }
    }
}

#[test]
fn a_superblock_is_never_made_from_another_volumes_index() {
    let (disk, _) = with_superblock();
    let (name, index) = (files::volume(id()), files::index(id(), 1));
    let foreign = {
        let (other, volume) = new_volume();
        put(&volume, &[1]).unwrap();
        volume.close().unwrap();
        other.bytes(&index).unwrap()
    };
    disk.flip(&name, 40, 1);
    let before = disk.bytes(&name).unwrap();
    let own = disk.bytes(&index).unwrap();
    disk.put(&index, foreign);
    assert!(matches!(open_with(&disk, options()), Err(OpenError::NoIdentity { .. })));
    disk.remove(&index).unwrap();
    assert!(matches!(open_with(&disk, options()), Err(OpenError::NoIdentity { .. })));
    assert_eq!(disk.bytes(&name).unwrap(), before, "an error never destroys");
    disk.put(&index, own);
    assert_has(&open(&disk), 1);
}

#[test]
fn a_bad_sector_under_the_superblock_costs_no_reads() {
    let (disk, good) = with_superblock();
    let name = files::volume(id());
    disk.spoil(&name, 512..1024);
    let volume = open(&disk);
    assert_has(&volume, 1);
    assert!(matches!(put(&volume, &[4]), Err(StoreError::Failed { .. })));
    drop(volume);
    disk.spoil(&name, 0..0);
    assert_eq!(disk.bytes(&name).unwrap()[..SUPERBLOCK_BYTES], good, "it may still be whole");
    put(&open(&disk), &[4]).unwrap();
}

#[test]
fn a_newer_version_is_refused_and_not_taken_for_rot() {
    let (disk, mut bytes) = with_superblock();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..SUPERBLOCK_BYTES - 4]);
    bytes[SUPERBLOCK_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&disk.bytes(&files::volume(id())).unwrap()[SUPERBLOCK_BYTES..]);
    disk.put(&files::volume(id()), bytes.clone());
    assert!(matches!(open_with(&disk, options()), Err(OpenError::Format(_))));
    assert_eq!(disk.bytes(&files::volume(id())).unwrap(), bytes);
}

/// Appends the header of a record without a body to the volume file, as nobody but the volume
/// itself could.
fn forge(disk: &MemoryDisk, change: impl FnOnce(&mut NeedleHeader)) {
    let name = files::volume(id());
    let mut bytes = disk.bytes(&name).unwrap();
    let salt = Superblock::from_bytes(&bytes).unwrap().salt();
    let offset = NeedleOffset::from_bytes(bytes.len() as u64).unwrap();
    let trailer = Trailer::of(&[], &[]);
    let mut header = NeedleHeader {
        kind: Kind::Data,
        key: Key::new(5),
        cookie: cookie(5),
        data_size: 0,
        meta_size: 0,
        body_crc: crc32fast::hash(trailer.as_bytes()),
        appended_ns: 1,
        synced_end: offset,
        batch: BatchPlace::ALONE,
    };
    change(&mut header);
    bytes.extend_from_slice(&header.to_bytes(salt, offset));
    bytes.extend_from_slice(trailer.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    disk.put(&name, bytes);
}

#[test]
fn a_record_that_seems_to_lie_within_another_never_comes_and_goes() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    drop(volume);
    forge(&disk, |header| header.data_size = 300);
    forge(&disk, |header| (header.kind, header.key) = (Kind::Tombstone, Key::new(1)));
    let volume = open(&disk);
    assert_has(&volume, 1);
    put(&volume, &[2, 3]).unwrap();
    let before = volume.stats().totals;
    drop(volume);
    let volume = open(&disk);
    assert_eq!(volume.stats().totals, before);
    for key in [1, 2, 3] {
        assert_has(&volume, key);
    }
}

#[test]
fn half_a_batch_takes_nothing_with_it_that_came_later_under_its_key() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    drop(volume);
    // Neither says that the other was synced.
    let unproven = NeedleOffset::from_bytes(SUPERBLOCK_BYTES as u64).unwrap();
    forge(&disk, |header| {
        (header.batch, header.cookie) = (BatchPlace { index: 0, len: 2 }, cookie(6));
        header.synced_end = unproven;
    });
    forge(&disk, |header| (header.appended_ns, header.synced_end) = (2, unproven));
    let volume = open(&disk);
    put(&volume, &[2]).unwrap();
    let before = volume.stats().totals;
    let found = |volume: &Volume| volume.open_needle(Key::new(5), cookie(5)).map(drop);
    found(&volume).unwrap();
    drop(volume);
    let volume = open(&disk);
    assert_eq!(volume.stats().totals, before);
    found(&volume).unwrap();
}

#[test]
fn two_halves_of_batches_under_one_key_are_both_taken_back() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    drop(volume);
    let unproven = NeedleOffset::from_bytes(SUPERBLOCK_BYTES as u64).unwrap();
    forge(&disk, |header| header.synced_end = unproven);
    for appended_ns in [2, 3] {
        forge(&disk, |header| {
            (header.batch, header.cookie) = (BatchPlace { index: 0, len: 2 }, cookie(6));
            (header.appended_ns, header.synced_end) = (appended_ns, unproven);
        });
    }
    forge(&disk, |header| {
        (header.key, header.appended_ns, header.synced_end) = (Key::new(7), 4, unproven);
    });
    let volume = open(&disk);
    put(&volume, &[2]).unwrap();
    let before = volume.stats().totals;
    volume.open_needle(Key::new(5), cookie(5)).map(drop).unwrap();
    drop(volume);
    let volume = open(&disk);
    assert_eq!(volume.stats().totals, before);
    volume.open_needle(Key::new(5), cookie(5)).map(drop).unwrap();
}

#[test]
fn damage_across_the_end_of_the_index_is_named_on_both_sides() {
    let (disk, volume) = new_volume();
    for key in 1..=5 {
        put(&volume, &[key]).unwrap();
    }
    volume.close().unwrap();
    let volume = open(&disk);
    for key in 6..=9 {
        put(&volume, &[key]).unwrap();
    }
    let offset = |key| volume.shared.locate(Key::new(key)).unwrap().entry.offset.bytes();
    let (start, known_end, end) = (offset(4), offset(6), offset(9));
    drop(volume);
    let (name, index) = (files::volume(id()), files::index(id(), 1));
    let mut bytes = disk.bytes(&name).unwrap();
    let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
    bytes[range].fill(0);
    disk.put(&name, bytes);
    let (file, index) = (disk.open(&name).unwrap(), disk.open(&index).unwrap());
    let report = verify_file(&*file, Some(&*index), &Progress::default()).unwrap();
    let named: Vec<_> =
        report.damaged.iter().map(|lost| (lost.offset, lost.key.map(Key::get))).collect();
    let fifth = named[1].0;
    assert_eq!(named, [(start, Some(4)), (fifth, Some(5)), (known_end, None)]);
    assert_eq!(report.damaged[2].size_bytes, end - known_end);
}
