//! Bytes that changed on disk.

use super::*;

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
