//! Lets the whole cluster know which stores are not well, so that directories place nothing on them
//! which see nothing of it themselves.

use super::Shared;
use super::observe::Observer;
use crate::keeper::health::{Health, Judge};
use crate::{ClusterMap, CoordinatorError, Illness, StoreId, SystemClock, WallClock as _};

/// What the map is to say of a store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Ill(StoreId, String),
    Well(StoreId),
}

impl Observer {
    /// How the map differs from what was seen. The damping is in the judgement: neither one bad
    /// round nor one good one changes it.
    pub(super) fn news(&self, map: &ClusterMap) -> Vec<News> {
        let judges = self.judges();
        let is_well =
            |store: &StoreId| judges.get(store).is_some_and(|own| own.health() == Health::Well);
        // A keeper that reaches less than half of those that ZooKeeper hears is cut off itself.
        let there = map.stores.iter().filter(|(_, known)| known.member.is_some());
        let (well, silent): (Vec<_>, Vec<_>) = there.partition(|(store, _)| is_well(store));
        let is_cut_off = well.len() < silent.len();
        let fallen = judges.iter().filter(|(store, judge)| {
            judge.health() != Health::Well && !map.ill.contains_key(*store) && !is_cut_off
        });
        let fallen = fallen.map(|(store, judge)| {
            News::Ill(store.clone(), judge.reason().unwrap_or("it does not answer").to_owned())
        });
        let risen = map.ill.keys().filter(|store| {
            let known_well = |own: &Judge| own.is_known_well(self.config());
            // Nobody speaks any more of one that was struck off.
            !map.stores.contains_key(*store) || judges.get(*store).is_some_and(known_well)
        });
        fallen.chain(risen.map(|store| News::Well(store.clone()))).collect()
    }
}

impl Shared {
    /// Has the map say so. What does not work now is tried in the next round.
    pub(super) async fn tell(&self, news: Vec<News>) {
        for news in news {
            let (store, told) = match news {
                News::Ill(store, reason) => {
                    let illness = Illness { reason, since_ms: SystemClock.now_ms() };
                    let told = self.coordinator.mark_ill(&store, illness).await;
                    (store, told)
                }
                News::Well(store) => {
                    let told = self.coordinator.mark_well(&store).await;
                    (store, told)
                }
            };
            note(&store, told);
        }
    }
}

fn note(store: &StoreId, told: Result<(), CoordinatorError>) {
    if let Err(error) = told {
        tracing::warn!(%store, %error, "the map does not say how the store is");
    }
}
