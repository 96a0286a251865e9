//! Whether the replicas of a volume hold the same, whatever the names say.
//!
//! Replicas take every needle at about the same time and not at the same moment, so those of a
//! volume in use differ at most looks. They are looked at again until they are alike for once,
//! or until all of them have stood still for a while and still differ.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future;
use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{ReplicaContent, StoreId, Stores};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// After so many pauses without a change they are believed to stand still.
const STILL_PAUSES: u32 = 4;
/// After so many pauses what keeps changing is left alone.
const MAX_PAUSES: u32 = 16;

/// How the replicas of a volume compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// All hold the same live needles.
    Alike,
    /// They do not, and nothing is under way that would change it.
    Unlike,
    /// They differed at every look, and something was changing all the while.
    Changing,
    /// Some replica did not tell what it holds.
    #[default]
    Unknown,
}

/// How many live needles a replica has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaNeedles {
    /// Where it is.
    pub store: StoreId,
    /// Its live needles.
    pub live_needles: u64,
}

/// What came of comparing the replicas of a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) agreement: Agreement,
    /// What each of them holds, if they are unlike.
    pub(super) replicas: Vec<ReplicaNeedles>,
}

/// Compares the replicas of each volume, which are on these stores.
pub(super) async fn compare(
    stores: &dyn Stores,
    volumes: &BTreeMap<VolumeId, Vec<StoreId>>,
) -> BTreeMap<VolumeId, Compared> {
    let mut seen: BTreeMap<VolumeId, Seen> = BTreeMap::new();
    let mut open: BTreeSet<VolumeId> = volumes.keys().copied().collect();
    for pause in 0..=MAX_PAUSES {
        if pause > 0 {
            sleep(PAUSE).await;
        }
        let replicas = volumes.iter().filter(|(volume, _)| open.contains(volume));
        let told = ask(stores, replicas.clone().flat_map(|(_, stores)| stores)).await;
        for (volume, replicas) in replicas {
            let content = |store| told.get(store)?.get(volume).cloned();
            seen.entry(*volume).or_default().note(replicas.iter().map(content).collect());
        }
        open.retain(|volume| seen.get(volume).map(Seen::agreement) == Some(Agreement::Changing));
        if open.is_empty() {
            break;
        }
    }
    let compared = |(volume, seen): (VolumeId, Seen)| {
        let replicas = volumes.get(&volume).map(Vec::as_slice).unwrap_or_default();
        (volume, seen.compared(replicas))
    };
    seen.into_iter().map(compared).collect()
}

/// What each of these stores that answers says of its replicas.
async fn ask<'a>(
    stores: &dyn Stores,
    asked: impl Iterator<Item = &'a StoreId>,
) -> BTreeMap<StoreId, BTreeMap<VolumeId, ReplicaContent>> {
    let asked: BTreeSet<&StoreId> = asked.collect();
    let answers = asked.iter().map(|store| stores.contents(store));
    let answers = future::join_all(answers).await;
    let told = asked.into_iter().zip(answers);
    told.filter_map(|(store, answer)| Some((store.clone(), answer.ok()?))).collect()
}

/// What the replicas of a volume held when they were looked at last.
#[derive(Default)]
struct Seen {
    /// `None` if not all of them told.
    contents: Option<Vec<ReplicaContent>>,
    /// For how many pauses that has been so.
    pauses: u32,
}

impl Seen {
    fn note(&mut self, contents: Option<Vec<ReplicaContent>>) {
        self.pauses = if self.contents == contents { self.pauses + 1 } else { 0 };
        self.contents = contents;
    }

    fn agreement(&self) -> Agreement {
        let contents = self.contents.as_deref().unwrap_or_default();
        let Some(first) = contents.first() else { return Agreement::Unknown };
        if contents.iter().any(|content| content.digest.is_none()) {
            return Agreement::Unknown;
        }
        let held = |content: &ReplicaContent| (content.digest.clone(), content.live_needles);
        if contents.iter().all(|content| held(content) == held(first)) {
            Agreement::Alike
        } else if self.pauses >= STILL_PAUSES {
            Agreement::Unlike
        } else {
            Agreement::Changing
        }
    }

    fn compared(self, replicas: &[StoreId]) -> Compared {
        let agreement = self.agreement();
        let contents = self.contents.filter(|_| agreement == Agreement::Unlike);
        let needles = |(store, content): (&StoreId, ReplicaContent)| ReplicaNeedles {
            store: store.clone(),
            live_needles: content.live_needles,
        };
        let replicas = replicas.iter().zip(contents.unwrap_or_default()).map(needles).collect();
        Compared { agreement, replicas }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{FakeStores, store};

    fn volume() -> VolumeId {
        VolumeId::new(7).unwrap()
    }

    /// Has a store say what its replica of the volume holds.
    fn tell(stores: &FakeStores, id: &str, digest: Option<&str>, last_append_ns: u64) {
        let digest = digest.map(str::to_owned);
        let content = ReplicaContent { digest, live_needles: 3, last_append_ns };
        stores.with(id, |store| store.contents.insert(volume(), content));
    }

    async fn compared(stores: &FakeStores) -> Compared {
        let volumes = [(volume(), vec![store("a"), store("b")])].into();
        compare(stores, &volumes).await.remove(&volume()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_stand_still_are_alike_or_not() {
        let stores = FakeStores::new(&["a", "b"]);
        tell(&stores, "a", Some("x"), 1);
        tell(&stores, "b", Some("x"), 2);
        assert_eq!(compared(&stores).await.agreement, Agreement::Alike);
        tell(&stores, "b", Some("y"), 2);
        let unlike = compared(&stores).await;
        let of = |id| ReplicaNeedles { store: store(id), live_needles: 3 };
        assert_eq!(unlike.agreement, Agreement::Unlike);
        assert_eq!(unlike.replicas, [of("a"), of("b")]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_tell_is_not_judged() {
        let stores = FakeStores::new(&["a", "b"]);
        tell(&stores, "a", Some("x"), 1);
        assert_eq!(compared(&stores).await, Compared::default(), "no such replica");
        tell(&stores, "b", None, 1);
        assert_eq!(compared(&stores).await, Compared::default(), "not known exactly");
        tell(&stores, "b", Some("y"), 1);
        stores.with("b", |store| store.down = true);
        assert_eq!(compared(&stores).await, Compared::default(), "no answer");
    }

    /// Between two looks each has taken more, and one is always a needle behind.
    #[tokio::test(start_paused = true)]
    async fn what_changes_all_the_while_is_not_called_unlike() {
        let stores = FakeStores::new(&["a", "b"]);
        let changes = Arc::clone(&stores);
        let changing = tokio::spawn(async move {
            for step in 1_u64.. {
                tell(&changes, "a", Some(&format!("{step}")), step);
                tell(&changes, "b", Some(&format!("{}", step - 1)), step);
                sleep(PAUSE).await;
            }
        });
        tokio::task::yield_now().await;
        assert_eq!(compared(&stores).await.agreement, Agreement::Changing);
        changing.abort();
        let _ = changing.await;
        tell(&stores, "b", Some("last"), 1);
        tell(&stores, "a", Some("last"), 1);
        assert_eq!(compared(&stores).await.agreement, Agreement::Alike);
    }
}
