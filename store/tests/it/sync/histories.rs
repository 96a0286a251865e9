//! Any history, with whatever each replica missed of it: they end equal.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::world::{Replica, assert_equal, needle};

const REPLICAS: usize = 3;

/// Which replicas something reaches.
type Reach = [bool; REPLICAS];

#[derive(Debug, Clone)]
enum Step {
    /// A new needle.
    Put(Reach),
    /// One of the needles so far.
    Delete(prop::sample::Index, Reach),
    Compact(usize),
    /// The power of a replica is cut.
    Restart(usize),
    /// A needle of the first replica rots.
    Rot(prop::sample::Index, bool),
    /// One replica takes what another one has.
    Sync(usize, usize),
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![2 => Just([true; REPLICAS]), 3 => any::<Reach>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => reach().prop_map(Step::Put),
        4 => (any::<prop::sample::Index>(), reach()).prop_map(|(key, reach)| Step::Delete(key, reach)),
        1 => (0..REPLICAS).prop_map(Step::Compact),
        1 => (0..REPLICAS).prop_map(Step::Restart),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(key, head)| Step::Rot(key, head)),
        1 => (0..REPLICAS, 1..REPLICAS).prop_map(|(to, by)| Step::Sync(to, (to + by) % REPLICAS)),
    ]
}

/// What became of a needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Every replica has confirmed it.
    Stored,
    /// Some have it.
    Unsure,
    /// Some replica has deleted it.
    Deleted,
}

struct World {
    replicas: Vec<Replica>,
    fates: BTreeMap<u64, Fate>,
}

impl World {
    async fn new() -> Self {
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(Replica::new().await);
        }
        Self { replicas, fates: BTreeMap::new() }
    }

    async fn take(&mut self, step: Step, rng: &mut StdRng) {
        let count = self.fates.len() as u64;
        match step {
            Step::Put(reach) => {
                for replica in self.reached(reach) {
                    replica.put(count).await;
                }
                let stored = reach == [true; REPLICAS];
                self.fates.insert(count, if stored { Fate::Stored } else { Fate::Unsure });
            }
            Step::Delete(which, reach) if count > 0 && reach != [false; REPLICAS] => {
                let key = which.index(self.fates.len()) as u64;
                for replica in self.reached(reach) {
                    replica.delete(key).await;
                }
                self.fates.insert(key, Fate::Deleted);
            }
            Step::Compact(at) => self.replicas[at].compact().await,
            Step::Restart(at) => {
                let old = self.replicas.remove(at);
                let disk = old.disk.crash(rng);
                old.stop().await;
                self.replicas.insert(at, Replica::on(disk, 0).await);
            }
            Step::Rot(which, in_header) if count > 0 => {
                let key = which.index(self.fates.len()) as u64;
                let is_on =
                    async |at: usize| matches!(self.replicas[at].get(key).await, Ok(Some(())));
                // Else nobody could give it back.
                if is_on(0).await && (is_on(1).await || is_on(2).await) {
                    let data = needle(key).data;
                    self.replicas[0].rot(&data, if in_header { -20 } else { 2 });
                    self.replicas[0].disk.evict();
                }
            }
            Step::Sync(to, from) => {
                self.replicas[to].sync(&[&self.replicas[from]], true).await.unwrap();
            }
            Step::Delete(..) | Step::Rot(..) => {}
        }
    }

    fn reached(&self, reach: Reach) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().zip(reach).filter_map(|(replica, reached)| reached.then_some(replica))
    }

    /// Everybody takes from everybody, twice: what the first replica lost comes back with the
    /// second round at the latest.
    async fn reconcile(&self) {
        for _ in 0..2 {
            for (at, replica) in self.replicas.iter().enumerate() {
                let others = self.replicas.iter().enumerate().filter(|(other, _)| *other != at);
                let others: Vec<_> = others.map(|(_, other)| other).collect();
                replica.sync(&others, true).await.unwrap();
            }
        }
        for replica in &self.replicas {
            // What a needle with a rotten header took with it when it was deleted.
            if replica.status().digest.is_none() {
                replica.compact().await;
            }
        }
    }

    async fn check(&self) {
        let all: Vec<_> = self.replicas.iter().collect();
        assert_equal(&all);
        for (&key, fate) in &self.fates {
            let mut found = Vec::new();
            for replica in &self.replicas {
                found.push(replica.get(key).await.unwrap());
            }
            assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "needle {key}: {found:?}");
            match fate {
                Fate::Stored => assert_eq!(found[0], Some(()), "needle {key} is lost"),
                Fate::Deleted => assert_eq!(found[0], None, "needle {key} is back"),
                Fate::Unsure => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn replicas_that_missed_anything_end_equal(
        steps in prop::collection::vec(step(), 1..40),
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut world = World::new().await;
            for step in steps {
                world.take(step, &mut rng).await;
            }
            world.reconcile().await;
            world.check().await;
        });
    }
}
