//! What a start finds: index files, torn ends, strangers and yesterday's format.

use super::*;

#[test]
fn a_checkpoint_spares_the_next_start_the_scan() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 2).unwrap();
    let totals = volume.stats().totals;
    volume.close().unwrap();
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert_eq!(report, OpenReport::default());
    assert_eq!(volume.stats().totals, totals);
    assert_has(&volume, 1);
    assert_gone(&volume, 2);
    put(&volume, &[4]).unwrap();
    drop(volume);
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert!(report.scanned_bytes > 0 && report.scanned_bytes < 500);
    for key in [1, 3, 4] {
        assert_has(&volume, key);
    }
}

#[test]
fn a_damaged_or_missing_index_file_is_made_again() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 2).unwrap();
    let totals = volume.stats().totals;
    volume.close().unwrap();
    let name = files::index(id(), 1);
    for at in [0, 9, 100, 4096, 4100, 8191] {
        disk.flip(&name, at, 0x10);
        let (volume, report) = open_with(&disk, options()).unwrap();
        assert!(report.index_problem.is_some(), "byte {at}");
        assert_eq!(volume.stats().totals, totals);
        disk.flip(&name, at, 0x10);
    }
    disk.remove(&name).unwrap();
    assert_eq!(open(&disk).stats().totals, totals);
}

#[test]
fn a_bad_sector_under_the_index_file_costs_a_scan_and_nothing_else() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 2).unwrap();
    let totals = volume.stats().totals;
    volume.close().unwrap();
    let name = files::index(id(), 1);
    for sector in [0, 4096] {
        disk.spoil(&name, sector..sector + 512);
        let (volume, report) = open_with(&disk, options()).unwrap();
        assert!(report.index_problem.is_some() && report.scanned_bytes > 0, "{report:?}");
        assert_eq!(volume.stats().totals, totals);
        assert_eq!(volume.stats().condition, Condition::Writable);
        assert_has(&volume, 1);
        drop(volume);
        disk.spoil(&name, 0..0);
    }
    // A new one takes its place when the volume is closed.
    disk.spoil(&name, 0..512);
    let volume = open(&disk);
    put(&volume, &[4]).unwrap();
    volume.close().unwrap();
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert_eq!(report, OpenReport::default());
    assert_has(&volume, 4);
}

#[test]
fn files_of_another_cluster_or_volume_are_refused() {
    let (disk, volume) = new_volume();
    drop(volume);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let other = Volume::open(&shared, Uuid::from_u128(78), id(), options());
    assert!(matches!(other, Err(OpenError::OtherCluster { .. })));
    let two = VolumeId::new(2).unwrap();
    disk.put(&files::volume(two), disk.bytes(&files::volume(id())).unwrap());
    assert!(matches!(
        Volume::open(&shared, CLUSTER, two, options()),
        Err(OpenError::OtherVolume { .. })
    ));
}

#[test]
fn a_torn_tail_is_cut_by_itself_at_every_length() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2]).unwrap();
    let kept = volume.stats().file_bytes;
    put(&volume, &[3]).unwrap();
    drop(volume);
    let name = files::volume(id());
    let whole = disk.bytes(&name).unwrap();
    for len in usize::try_from(kept).unwrap()..whole.len() {
        let torn = MemoryDisk::new();
        torn.put(&name, whole[..len].to_vec());
        let (volume, report) = open_with(&torn, options()).unwrap();
        assert_eq!(report.cut_bytes, len as u64 - kept);
        assert_has(&volume, 1);
        assert_has(&volume, 2);
        assert_gone(&volume, 3);
        put(&volume, &[3]).unwrap();
        assert_has(&open(&torn), 3);
    }
}

/// Written by an independent program from the tables in the format modules: every kind of
/// record, a batch, an empty needle, and one of two blocks.
#[test]
fn yesterdays_volume_still_opens() {
    let disk = MemoryDisk::new();
    disk.put(&files::volume(id()), include_bytes!("../../../testdata/v1/volume.vol").to_vec());
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert!(report.damage.is_empty() && report.cut_bytes == 0 && report.aborted == 0, "{report:?}");
    let read = |key: u64| {
        let found =
            volume.open_needle(Key::new(key), Cookie::new(u32::try_from(key).unwrap() + 10))?;
        assert_eq!((found.meta().bucket, found.meta().name), ("b", &*format!("n{key}")));
        found.read(&(0..found.size()))
    };
    let big: Vec<u8> =
        (0..70_001u32).map(|i| (i.wrapping_mul(i) + i / 251).to_le_bytes()[0]).collect();
    for (key, data) in [(1, &b"first"[..]), (2, b""), (3, &big), (6, b"last")] {
        assert_eq!(read(key).unwrap(), data, "needle {key}");
    }
    for key in [4, 5] {
        assert!(matches!(read(key), Err(StoreError::NotFound)), "needle {key}");
    }
    let stats = volume.stats();
    assert_eq!((stats.totals.live_needles, stats.totals.tombstones, stats.generation), (4, 1, 3));
    assert_eq!(volume.verify(&Progress::default()).unwrap().good_needles, 4);
}
