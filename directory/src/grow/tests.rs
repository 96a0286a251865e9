use super::*;
use crate::testing::{FakeStores, LIMIT_BYTES, bucket, publish, store};
use crate::{EmbeddedCoordinator, VolumeState};

struct Bench {
    _folder: tempfile::TempDir,
    coordinator: Arc<EmbeddedCoordinator>,
    stores: Arc<FakeStores>,
    placement: Arc<Placement>,
    full: Arc<AtomicBool>,
    grower: Grower,
}

impl Bench {
    async fn new(stores: &[&str], copies: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let coordinator = EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap();
        let coordinator = Arc::new(coordinator);
        for &copies in copies {
            coordinator.create_bucket(bucket(&format!("copies-{copies}"), copies)).await.unwrap();
        }
        let (stores, placement) = (FakeStores::new(stores), Arc::new(Placement::default()));
        let full = Arc::new(AtomicBool::new(false));
        let grower = Grower::new(
            coordinator.clone(),
            stores.clone(),
            placement.clone(),
            full.clone(),
            GrowthConfig::default(),
        );
        Self { _folder: folder, coordinator, stores, placement, full, grower }
    }

    fn choice(&self, copies: usize) -> Option<VolumeId> {
        self.placement.choose(copies, 1, &[], 0, 0)
    }
}

#[tokio::test]
async fn makes_what_is_missing_and_no_more() {
    let mut bench = Bench::new(&["a"], &[1]).await;
    for _ in 0..5 {
        bench.grower.step().await;
        assert_eq!(bench.stores.volumes("a"), 2);
    }
    assert_eq!(bench.coordinator.map().volumes.len(), 2);
    assert!(bench.choice(1).is_some());
}

#[tokio::test]
async fn makes_none_while_there_is_no_bucket() {
    let mut bench = Bench::new(&["a"], &[]).await;
    bench.grower.step().await;
    assert_eq!(bench.stores.volumes("a"), 0);
}

#[tokio::test]
async fn grows_before_the_room_is_gone() {
    let mut bench = Bench::new(&["a"], &[1]).await;
    bench.grower.step().await;
    bench.stores.fill("a", LIMIT_BYTES * 74 / 100);
    bench.grower.step().await;
    assert_eq!(bench.stores.volumes("a"), 2);
    bench.stores.fill("a", LIMIT_BYTES * 76 / 100);
    bench.grower.step().await;
    assert_eq!(bench.stores.volumes("a"), 3);
    bench.stores.fill("a", LIMIT_BYTES);
    bench.grower.step().await;
    assert_eq!(bench.stores.volumes("a"), 5, "full ones do not count as writable");
}

#[tokio::test]
async fn copies_lie_on_different_stores() {
    let mut bench = Bench::new(&["a", "b", "c"], &[2]).await;
    bench.stores.with("b", |store| store.free_bytes = 10 << 20);
    bench.grower.step().await;
    for volume in bench.coordinator.map().volumes.values() {
        let mut replicas = volume.value.replicas.clone();
        replicas.sort();
        assert_eq!(replicas, [store("a"), store("c")], "b has too little room");
    }
    assert_eq!(bench.coordinator.map().volumes.len(), 2);
}

#[tokio::test]
async fn stores_that_are_as_empty_take_turns() {
    let mut bench = Bench::new(&["a", "b", "c"], &[2]).await;
    for _ in 0..3 {
        bench.grower.create_one(2).await.unwrap();
    }
    assert_eq!(["a", "b", "c"].map(|store| bench.stores.volumes(store)), [2, 2, 2]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_makes_its_volumes_unwritable() {
    let mut bench = Bench::new(&["a", "b"], &[2]).await;
    bench.grower.step().await;
    assert!(bench.choice(2).is_some());
    bench.stores.with("b", |store| store.down = true);
    bench.grower.step().await;
    assert_eq!(bench.choice(2), None);
    assert!(!bench.full.load(Ordering::Relaxed), "whether it is full is not known");
    bench.stores.with("b", |store| store.down = false);
    bench.grower.step().await;
    assert!(bench.choice(2).is_some());
    assert_eq!(bench.coordinator.map().volumes.len(), 2);
}

#[tokio::test]
async fn full_disks_are_told_and_no_volume_is_made_on_them() {
    let mut bench = Bench::new(&["a"], &[1]).await;
    bench.stores.with("a", |store| store.free_bytes = 1 << 20);
    bench.grower.step().await;
    assert_eq!(bench.stores.volumes("a"), 0);
    assert!(bench.full.load(Ordering::Relaxed));
    bench.stores.with("a", |store| store.free_bytes = 100 << 30);
    bench.grower.step().await;
    assert!(!bench.full.load(Ordering::Relaxed));
    assert!(bench.choice(1).is_some());
}

#[tokio::test]
async fn fewer_stores_than_copies_are_no_full_disks() {
    let mut bench = Bench::new(&["a"], &[2]).await;
    bench.grower.step().await;
    assert!(!bench.full.load(Ordering::Acquire), "a second store is what is missing");
    let made = bench.grower.create_one(2).await;
    assert!(matches!(made, Err(DirectoryError::NoWritableVolume { .. })), "{made:?}");
}

#[tokio::test]
async fn a_store_that_fails_to_make_volumes_is_not_asked_again_and_again() {
    let mut bench = Bench::new(&["a"], &[1]).await;
    bench.stores.with("a", |store| store.makes_unwritable = true);
    for _ in 0..5 {
        bench.grower.step().await;
    }
    assert_eq!(bench.stores.volumes("a"), 1, "an unwritable volume is made once per backoff");
    assert!(bench.coordinator.map().volumes.is_empty());

    let mut bench = Bench::new(&["a", "b"], &[1]).await;
    bench.stores.with("b", |store| store.refuses_volumes = true);
    bench.grower.step().await;
    assert_eq!((bench.stores.volumes("a"), bench.stores.volumes("b")), (2, 0));
}

#[tokio::test]
async fn a_crash_between_store_and_map_never_reuses_the_id() {
    let mut bench = Bench::new(&["a"], &[1]).await;
    let lost = bench.coordinator.reserve_volume_id().await.unwrap();
    bench.stores.create_volume(&store("a"), lost, FIRST_EPOCH).await.unwrap();
    bench.grower.step().await;
    let map = bench.coordinator.map();
    assert!(!map.volumes.contains_key(&lost));
    assert_eq!(map.volumes.len(), 2);
    assert_ne!(bench.choice(1), Some(lost));
}

#[tokio::test]
async fn rooms_are_those_of_the_least_replica() {
    let bench = Bench::new(&["a", "b"], &[]).await;
    let volume = publish(&*bench.coordinator, &bench.stores, &["a", "b"]).await;
    let lonely = publish(&*bench.coordinator, &bench.stores, &["a"]).await;
    bench.stores.fill("b", 400_000);
    let reports = bench.grower.ask_stores().await;
    let map = bench.coordinator.map();
    let found = rooms(&map, &reports);
    let room = |copies, free_bytes| {
        let (limit_bytes, is_well) = (LIMIT_BYTES, true);
        Room { copies, free_bytes, limit_bytes, is_well }
    };
    assert_eq!(found, BTreeMap::from([(volume, room(2, 600_000)), (lonely, room(1, LIMIT_BYTES))]));

    let mut read_only = reports.clone();
    for volume in &mut read_only.get_mut(&store("b")).unwrap().volumes {
        volume.writable = false;
    }
    assert_eq!(rooms(&map, &read_only), BTreeMap::from([(lonely, room(1, LIMIT_BYTES))]));
    let mut sealed = (*map).clone();
    sealed.volumes.get_mut(&lonely).unwrap().value.state = VolumeState::ReadOnly;
    assert!(!rooms(&sealed, &reports).contains_key(&lonely));
}

#[tokio::test]
async fn a_store_that_is_emptied_gets_nothing_new() {
    let mut bench = Bench::new(&["a", "b"], &[1]).await;
    let drain: crate::Order = "drain:a".parse().unwrap();
    let on_a = publish(&*bench.coordinator, &bench.stores, &["a"]).await;
    bench.coordinator.put_order(drain.clone()).await.unwrap();
    bench.grower.step().await;
    assert_eq!((bench.stores.volumes("a"), bench.stores.volumes("b")), (1, 2));
    let map = bench.coordinator.map();
    let report = bench.stores.status(&store("a")).await.unwrap();
    let reports = Reports::from([(store("a"), report)]);
    assert!(!rooms(&map, &reports).contains_key(&on_a), "no needles go to its volumes");
    bench.coordinator.remove_order(&drain.id()).await.unwrap();
    assert!(rooms(&bench.coordinator.map(), &reports).contains_key(&on_a));
}

#[tokio::test]
async fn a_store_that_is_ill_gets_nothing_while_others_have_room() {
    let mut bench = Bench::new(&["a", "b"], &[1]).await;
    let on_a = publish(&*bench.coordinator, &bench.stores, &["a"]).await;
    let illness = crate::Illness { reason: "slow".to_owned(), since_ms: 0 };
    bench.coordinator.mark_ill(&store("a"), illness).await.unwrap();
    bench.grower.step().await;
    assert_eq!((bench.stores.volumes("a"), bench.stores.volumes("b")), (1, 2));
    let is_on_a = |draw| bench.placement.choose(1, 1, &[], 0, draw) == Some(on_a);
    let draws = (0..100).map(|step| u64::MAX / 100 * step);
    assert!(!draws.clone().any(is_on_a), "though this directory sees that it answers");
    bench.stores.with("b", |store| store.down = true);
    bench.grower.step().await;
    assert!(!bench.full.load(Ordering::Relaxed));
    assert!(is_on_a(0), "there is no other");
    bench.stores.with("b", |store| store.down = false);
    bench.coordinator.mark_well(&store("a")).await.unwrap();
    bench.grower.step().await;
    let is_on_a = |draw| bench.placement.choose(1, 1, &[], 0, draw) == Some(on_a);
    assert!(draws.clone().any(is_on_a));
}

#[tokio::test]
async fn a_volume_on_the_move_takes_no_needles() {
    let bench = Bench::new(&["a"], &[1]).await;
    let id = publish(&*bench.coordinator, &bench.stores, &["a"]).await;
    let report = bench.stores.status(&store("a")).await.unwrap();
    let reports = Reports::from([(store("a"), report)]);
    assert!(rooms(&bench.coordinator.map(), &reports).contains_key(&id));
    let moving = Volume { moving: Some(store("a")), ..Volume::new(vec![store("a")]) };
    bench.coordinator.update_volume(id, 1, moving).await.unwrap();
    assert!(!rooms(&bench.coordinator.map(), &reports).contains_key(&id));
}
