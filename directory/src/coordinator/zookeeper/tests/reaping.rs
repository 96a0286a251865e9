//! Several directories with one queue of garbage.

use super::*;
use crate::coordinator::conformance::sees;
use crate::testing::FakeStores;
use crate::{
    Directory, DirectoryConfig, FjallConfig, FjallNames, HybridClock, Names, Parts, SystemClock,
};

async fn directory(coordinator: &Arc<ZooKeeperCoordinator>, names: &Arc<FjallNames>) -> Directory {
    let parts = Parts {
        coordinator: Arc::clone(coordinator) as _,
        names: Arc::clone(names) as Arc<dyn Names>,
        stores: FakeStores::new(&["a"]),
        clock: HybridClock::new(SystemClock, 0),
        config: DirectoryConfig::default(),
    };
    Directory::new(parts).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_directory_reaps_and_another_when_it_is_gone() {
    let config = fresh();
    let folder = tempfile::tempdir().unwrap();
    let names = FjallNames::open(&folder.path().join("names"), &FjallConfig::default());
    let names = Arc::new(names.unwrap());
    let mut all = Vec::new();
    for number in 0..3 {
        let coordinator = open(&config).await;
        let directory = directory(&coordinator, &names).await;
        if number == 0 {
            assert!(directory.reaps(), "nobody else is there");
        }
        let registered = coordinator.register_directory(format!("d{number}:1")).await.unwrap();
        all.push((coordinator, directory, registered));
    }
    while !all.is_empty() {
        for (coordinator, ..) in &all {
            sees(&**coordinator, |map| map.directories.len() == all.len()).await;
        }
        let reapers = all.iter().filter(|(_, directory, _)| directory.reaps()).count();
        assert_eq!(reapers, 1, "of {}", all.len());
        let reaper = all.iter().position(|(_, directory, _)| directory.reaps()).unwrap();
        all.remove(reaper).2.leave().await.unwrap();
    }
}
