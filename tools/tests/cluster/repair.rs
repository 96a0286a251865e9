//! A store with a gibibyte of needles that is lost for good.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};

use super::Cluster;
use super::keeper::status;

const MIB: u64 = 1 << 20;
/// Of an object: one needle.
const OBJECT_BYTES: usize = 8 << 20;
const UPLOADS_AT_ONCE: usize = 4;
/// What the store that is lost has.
const LOST_BYTES: u64 = 1 << 30;
/// Four stores' worth of them: with two copies on three stores, each has its share long before.
const MOST_OBJECTS: usize = 4 << 7;
const PATIENCE: Duration = Duration::from_mins(10);

fn object(number: usize) -> Vec<u8> {
    number.to_le_bytes().repeat(OBJECT_BYTES / size_of::<usize>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_of_a_gibibyte_is_repaired_by_itself() {
    if std::env::var_os("HAYRICK_TORTURE_SECONDS").is_none() {
        return;
    }
    let cluster = Cluster::start().await;
    let keeper = cluster.keeper("k1");
    let live_bytes = async |store: &str| {
        let volumes = cluster.volumes().await;
        let own = volumes.get(store).into_iter().flatten();
        own.map(|volume| volume.live_bytes).sum::<u64>()
    };
    let mut stored = 0;
    while live_bytes("s1").await < LOST_BYTES {
        let next = stored + UPLOADS_AT_ONCE;
        let puts = stream::iter(stored..next).map(async |number| {
            cluster.put(number % 2, &format!("n{number}"), object(number)).await.unwrap()
        });
        puts.buffer_unordered(UPLOADS_AT_ONCE).for_each(async |_| ()).await;
        stored = next;
        assert!(stored < MOST_OBJECTS, "s1 gets nothing");
    }
    let lost = live_bytes("s1").await;
    cluster.stores[0].kill();
    let (began, mut copying) = (Instant::now(), None);
    while !cluster.is_fully_replicated().await {
        if copying.is_none() && !status(&cluster, &keeper).await.running.is_empty() {
            copying = Some(began.elapsed());
        }
        assert!(began.elapsed() < PATIENCE, "not repaired: {:?}", cluster.map().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    let copying = copying.unwrap_or_default();
    println!(
        "{} MiB lost; copying began after {:.1} s and took {:.1} s",
        lost / MIB,
        copying.as_secs_f64(),
        took.saturating_sub(copying).as_secs_f64(),
    );
    for number in 0..stored {
        let name = format!("n{number}");
        assert!(cluster.get(number % 2, &name).await.unwrap() == object(number), "{name}");
    }
}
