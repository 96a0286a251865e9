//! Needles put, read, repeated and deleted.

use super::*;

#[test]
fn what_is_put_is_read_and_what_is_deleted_is_gone() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    put(&volume, &[2, 41, 3]).unwrap();
    assert!(delete(&volume, 2).unwrap());
    assert!(!delete(&volume, 2).unwrap(), "a second delete finds nothing");
    for volume in [volume, open(&disk)] {
        for key in [1, 41, 3] {
            assert_has(&volume, key);
        }
        assert_gone(&volume, 2);
        assert_gone(&volume, 4);
        assert_eq!(volume.stats().totals.live_needles, 3);
    }
}

#[test]
fn a_wrong_cookie_reads_and_deletes_nothing() {
    let (_disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    let wrong = Cookie::new(9999);
    assert!(matches!(volume.open_needle(Key::new(1), wrong), Err(StoreError::NotFound)));
    assert!(matches!(volume.delete(Key::new(1), wrong), Err(StoreError::NotFound)));
    assert_has(&volume, 1);
}

#[test]
fn a_retry_changes_nothing_and_other_content_is_a_conflict() {
    let (_disk, volume) = new_volume();
    put(&volume, &[1, 2]).unwrap();
    let before = volume.stats().file_bytes;
    put(&volume, &[1, 2]).unwrap();
    put(&volume, &[2]).unwrap();
    assert_eq!(volume.stats().file_bytes, before);
    let other =
        volume.put(vec![needle(3, b"new"), needle(1, b"other")]).unwrap().blocking_recv().unwrap();
    assert!(matches!(other, Err(StoreError::Conflict { .. })));
    assert_gone(&volume, 3);
    assert_has(&volume, 1);
    delete(&volume, 1).unwrap();
    assert!(matches!(put(&volume, &[1]), Err(StoreError::Conflict { .. })), "a key is used once");
}

#[test]
fn a_put_that_comes_after_its_delete_is_refused() {
    let (disk, volume) = new_volume();
    assert!(!delete(&volume, 5).unwrap());
    assert!(matches!(put(&volume, &[5]), Err(StoreError::Conflict { .. })));
    let volume = open(&disk);
    assert!(matches!(put(&volume, &[5]), Err(StoreError::Conflict { .. })));
}

#[test]
fn any_range_of_a_large_needle_is_right_and_one_bad_block_hurts_no_other() {
    let (disk, volume) = new_volume();
    let data: Vec<u8> =
        (0..700_000u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    volume.put(vec![needle(1, &data)]).unwrap().blocking_recv().unwrap().unwrap();
    let stored = volume.open_needle(Key::new(1), cookie(1)).unwrap();
    for range in [0..0, 0..1, 65_535..65_537, 131_072..196_608, 699_999..700_000, 0..700_000, 5..5]
    {
        let expected =
            &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(stored.read(&range).unwrap(), expected, "{range:?}");
    }
    // A byte in the middle of block 3 of the data.
    disk.flip(&files::volume(id()), SUPERBLOCK_BYTES + 52 + 3 * 65_536 + 77, 1);
    assert!(matches!(stored.read(&(200_000..200_001)), Err(StoreError::Corrupt { .. })));
    assert!(matches!(stored.read(&(0..700_000)), Err(StoreError::Corrupt { .. })));
    assert!(stored.read(&(0..196_608)).is_ok());
    assert!(stored.read(&(262_144..700_000)).is_ok());
    assert_eq!(volume.stats().failed_reads, 2);
}

#[test]
fn the_digest_depends_on_content_not_on_order() {
    let (_d1, one) = new_volume();
    let (_d2, two) = new_volume();
    put(&one, &[1, 2, 3]).unwrap();
    delete(&one, 2).unwrap();
    for key in [3, 4, 1] {
        put(&two, &[key]).unwrap();
    }
    assert_ne!(one.stats().totals.digest, two.stats().totals.digest);
    delete(&two, 4).unwrap();
    two.compact(&Progress::default()).unwrap();
    assert_eq!(one.stats().totals.digest, two.stats().totals.digest);
}
