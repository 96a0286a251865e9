//! How a cluster must be once all is well again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hayrick_proxy::http::Listing;
use hayrick_store::VolumeId;

use super::fleet::{COPIES, Fleet};

/// One replica, as its store reports it.
struct Replica {
    store: usize,
    live_needles: u64,
    digest: Option<String>,
}

impl Fleet {
    /// Waits until every object has all its copies, the copies are the same, and nothing else
    /// is stored. Answers how long that took.
    pub async fn settle(&self, patience: Duration) -> Duration {
        let began = Instant::now();
        loop {
            match self.trouble().await {
                None => return began.elapsed(),
                Some(trouble) if began.elapsed() > patience => panic!("not settled: {trouble}"),
                Some(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// What is not as it must be.
    async fn trouble(&self) -> Option<String> {
        let mut volumes: BTreeMap<VolumeId, Vec<Replica>> = BTreeMap::new();
        for (store, process) in (1..).zip(&self.stores) {
            let Some(status) = self.status(process).await else {
                return Some(format!("store {store} does not answer"));
            };
            for volume in status.volumes {
                let (live_needles, digest) = (volume.live_needles, volume.digest);
                volumes.entry(volume.volume).or_default().push(Replica {
                    store,
                    live_needles,
                    digest,
                });
            }
        }
        for (volume, replicas) in &volumes {
            let same = replicas.iter().all(|replica| {
                replica.digest.is_some()
                    && replicas.iter().all(|other| other.digest == replica.digest)
            });
            let empty = replicas.iter().all(|replica| replica.live_needles == 0);
            if !empty && (!same || replicas.len() != COPIES) {
                let replica =
                    |r: &Replica| format!("s{} {} {:?}", r.store, r.live_needles, r.digest);
                let replicas: Vec<_> = replicas.iter().map(replica).collect();
                return Some(format!("volume {volume}: {replicas:?}"));
            }
        }
        let needles: u64 = volumes.values().flatten().map(|replica| replica.live_needles).sum();
        let names = match self.count_names().await {
            Ok(names) => names,
            Err(error) => return Some(error),
        };
        (needles != names * COPIES as u64)
            .then(|| format!("{needles} needles for {names} names in {COPIES} copies"))
    }

    async fn count_names(&self) -> Result<u64, String> {
        let door = self.proxies[0].public.as_deref().unwrap();
        let (mut count, mut cursor) = (0, String::new());
        loop {
            let url = format!("{door}/photos?limit=1000{cursor}");
            let page: Listing =
                self.http.get(url).send_json().await.map_err(|error| error.to_string())?;
            count += page.objects.len() as u64;
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(count),
            }
        }
    }
}
