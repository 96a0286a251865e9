//! How a cluster must be once all is well again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use hayrick_directory::fsck::{FsckFinding, FsckRequest, FsckStatus};
use hayrick_directory::http::admin::DirectoryStatus;
use hayrick_proxy::http::Listing;
use hayrick_store::{NeedleId, VolumeId};

use super::fleet::{COPIES, Fleet};

/// Needles that are asked for one by one.
const SAMPLE: usize = 1_000;
/// At one time.
const ASKED_AT_ONCE: usize = 16;

/// Older needles are of no upload that is under way.
const NO_UPLOAD_MS: u64 = 1_000;

/// Whether every proxy's clock has told the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    Right,
    /// One was ahead for a while. A needle tells its age by its proxy's clock: one without a name
    /// counts as an upload's that is under way, until that time has come.
    Jumped,
}

/// How a cluster became well.
#[derive(Debug, Default)]
pub struct Settled {
    pub after: Duration,
    /// Needles that no name held: of uploads whose proxy died, or whose outcome nobody knew. They
    /// were deleted as an operator deletes them.
    pub orphans: u64,
    /// Those that will be deleted when their time has come.
    pub young: u64,
}

/// One replica, as its store reports it.
struct Replica {
    store: usize,
    live_needles: u64,
    digest: Option<String>,
}

impl Fleet {
    /// Waits until every object has all its copies, the copies are the same, nothing waits to be
    /// deleted, and nothing else is stored. Answers how that went, or what is still amiss.
    pub async fn settle(&self, patience: Duration, clocks: Clocks) -> Result<Settled, String> {
        let (began, mut settled) = (Instant::now(), Settled::default());
        loop {
            let trouble = match self.trouble().await {
                None => self.compare(&mut settled, clocks).await,
                trouble => trouble,
            };
            match trouble {
                None => return Ok(Settled { after: began.elapsed(), ..settled }),
                Some(trouble) if began.elapsed() > patience => {
                    return Err(format!("not settled: {trouble}"));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// Compares all needles with all names, and has those deleted that no name holds. What is not
    /// as it must be.
    async fn compare(&self, settled: &mut Settled, clocks: Clocks) -> Option<String> {
        let url = format!("{}/directory/fsck", self.directories[0].admin);
        let request =
            FsckRequest { volumes: Vec::new(), grace_ms: NO_UPLOAD_MS, delete_orphans: true };
        let mut answer: Result<FsckStatus, _> =
            self.http.post(&url).json(&request).send_json().await;
        while answer.as_ref().is_ok_and(|status| status.running) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = self.http.get(&url).send_json().await;
        }
        let status = match answer {
            Ok(status) => status,
            Err(error) => return Some(error.to_string()),
        };
        settled.orphans += status.findings.iter().map(|finding| finding.orphans).sum::<u64>();
        settled.young = status.findings.iter().map(|finding| finding.young).sum();
        let is_amiss = |finding: &FsckFinding| {
            let FsckFinding { orphans, young, unnamed, unreadable, missing_needles, .. } = finding;
            !finding.silent.is_empty()
                || (clocks == Clocks::Right && *young > 0)
                || [orphans, unnamed, unreadable, missing_needles].iter().any(|n| **n > 0)
        };
        let failed = status.failed.clone();
        failed.or_else(|| {
            status.findings.iter().find(|finding| is_amiss(finding)).map(|f| format!("{f:?}"))
        })
    }

    /// What is not as it must be, as far as stores and directories say it of themselves.
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
        for directory in &self.directories {
            let url = format!("{}/directory/status", directory.admin);
            let status: Result<DirectoryStatus, _> = self.http.get(url).send_json().await;
            match status {
                Ok(status) if status.garbage_needles == 0 => {}
                Ok(status) => {
                    return Some(format!("{} needles of garbage", status.garbage_needles));
                }
                Err(error) => return Some(error.to_string()),
            }
        }
        let needles: u64 = volumes.values().flatten().map(|replica| replica.live_needles).sum();
        // At least one for each.
        match self.count_names().await {
            Ok(names) => (needles < names * COPIES as u64)
                .then(|| format!("{needles} needles for {names} names in {COPIES} copies")),
            Err(error) => Some(error),
        }
    }

    /// Asks the stores for needles themselves: those that names hold are on as many stores as
    /// they should be, and the others on none. What is not so, in words.
    pub async fn misplaced(&self, held: Vec<NeedleId>, gone: Vec<NeedleId>) -> Vec<String> {
        let held = sample(held).map(|needle| (needle, COPIES));
        let gone = sample(gone).map(|needle| (needle, 0));
        let asked = stream::iter(held.chain(gone)).map(async |(needle, expected)| {
            let copies = self.copies(needle).await;
            (copies != expected).then(|| format!("{copies} of {expected} copies of {needle}"))
        });
        asked.buffer_unordered(ASKED_AT_ONCE).filter_map(async |wrong| wrong).collect().await
    }

    /// How many stores serve a needle.
    async fn copies(&self, needle: NeedleId) -> usize {
        let NeedleId { volume, key, cookie } = needle;
        let mut copies = 0;
        for store in &self.stores {
            let store = store.internal.as_deref().unwrap();
            let url = format!("{store}/{volume}/{key}/{cookie}");
            copies += usize::from(self.http.head(url).send().await.is_ok());
        }
        copies
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

/// Some that are spread evenly over all.
fn sample(needles: Vec<NeedleId>) -> impl Iterator<Item = NeedleId> {
    let step = needles.len().div_ceil(SAMPLE).max(1);
    needles.into_iter().step_by(step)
}
