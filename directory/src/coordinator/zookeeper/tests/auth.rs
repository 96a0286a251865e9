//! Who may look in, and which cluster it is.

use zookeeper_client::Error;

use super::*;
use crate::coordinator::conformance::sees;
use crate::testing::bucket;

fn with_password(config: &ZooKeeperConfig, password: &str) -> ZooKeeperConfig {
    let auth = Some(Secret::new(format!("hayrick:{password}")));
    ZooKeeperConfig { auth, ..config.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_reads_and_changes_anything() {
    let config = fresh();
    let hushed = with_password(&config, "hush");
    let coordinator = open(&hushed).await;
    coordinator.create_bucket(bucket("photos", 1)).await.unwrap();
    let key = AccessKey::generate("photos".parse().unwrap(), 1).unwrap();
    coordinator.add_access_key(key.clone()).await.unwrap();
    let volume = coordinator.reserve_volume_id().await.unwrap();
    coordinator
        .publish_volume(volume, crate::coordinator::conformance::volume(&["a"]))
        .await
        .unwrap();
    coordinator.lease_keys(volume, 1).await.unwrap();
    let stranger = plain_client(&config).await;
    for path in [
        layout::CLUSTER.to_owned(),
        layout::VOLUME_IDS.to_owned(),
        layout::key_lease_path(volume),
        Entry::Volume(volume).path(),
        Entry::Bucket(key.bucket.clone()).path(),
        Entry::AccessKey(key.bucket.clone(), key.id.clone()).path(),
    ] {
        assert_eq!(stranger.get_data(&path).await.unwrap_err(), Error::NoAuth, "{path}");
        let (children, _) = match stranger.get_children(&path).await {
            Ok(found) => found,
            Err(error) => {
                assert_eq!(error, Error::NoAuth);
                continue;
            }
        };
        panic!("{path} shows its children {children:?}");
    }
    let deleted = stranger.delete("/buckets/photos", None).await;
    assert_eq!(deleted.unwrap_err(), Error::NoAuth);
    // Another process with the password sees all of it.
    let colleague = open(&hushed).await;
    assert_eq!(colleague.map().access_keys[&key.id], key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_none_are_refused_by_name() {
    let config = fresh();
    let _owner = open(&with_password(&config, "hush")).await;
    for wrong in [with_password(&config, "guess"), config.clone()] {
        let Err(error) = ZooKeeperCoordinator::open(wrong, None).await else { panic!("opened") };
        assert!(matches!(error, CoordinatorError::Denied(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("password") && !text.contains("guess"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_and_an_empty_place_are_refused() {
    let config = fresh();
    let id = open(&config).await.map().cluster_id;
    let joined = ZooKeeperCoordinator::open(config.clone(), Some(id)).await.unwrap();
    assert_eq!(joined.map().cluster_id, id);
    let other = Uuid::new_v4();
    let refused = ZooKeeperCoordinator::open(config, Some(other)).await.err();
    let Some(CoordinatorError::WrongCluster { found, expected, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((found, expected), (Some(id), other));
    let refused = ZooKeeperCoordinator::open(fresh(), Some(other)).await.err();
    assert!(
        matches!(refused, Some(CoordinatorError::WrongCluster { found: None, .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_in_two_folders_know_nothing_of_each_other() {
    let config = fresh();
    let deeper = ZooKeeperConfig { connect: format!("{}/b/c", config.connect), ..config.clone() };
    let (one, two) = (open(&config).await, open(&deeper).await);
    assert_ne!(one.map().cluster_id, two.map().cluster_id);
    one.create_bucket(bucket("photos", 1)).await.unwrap();
    two.create_bucket(bucket("scans", 1)).await.unwrap();
    let names = |map: Arc<ClusterMap>| map.buckets.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(sees(&*one, |map| !map.buckets.is_empty()).await),
        ["photos".parse().unwrap()]
    );
    assert_eq!(names(sees(&*two, |map| !map.buckets.is_empty()).await), ["scans".parse().unwrap()]);
    assert_eq!(one.reserve_volume_id().await.unwrap(), two.reserve_volume_id().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_begin_a_cluster_at_once_begin_one() {
    let config = fresh();
    let opened = (0..8).map(|_| ZooKeeperCoordinator::open(config.clone(), None));
    let opened = futures::future::join_all(opened).await;
    let ids = opened.into_iter().map(|one| one.unwrap().map().cluster_id);
    let ids: std::collections::HashSet<_> = ids.collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}
