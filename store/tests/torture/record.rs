//! What a client knows of a store, by the answers that it was given.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hayrick_store::{Cookie, Epoch, Key, Meta, NeedleId, NewNeedle, StoreError, VolumeId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A volume's number and a key in it.
pub type Name = (u32, u64);

/// What is known of a needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its put was acknowledged.
    Stored,
    /// Its delete was.
    Deleted,
    /// The last answer about it was an error: either will do.
    Unsure,
}

/// A client's record of answers.
#[derive(Debug, Clone, Default)]
pub struct Record {
    needles: BTreeMap<Name, Known>,
    /// Volumes whose making was acknowledged.
    pub volumes: BTreeSet<u32>,
    /// Batches that were answered with an error and not touched since: all of it, or nothing.
    doubtful: Vec<Vec<Name>>,
    /// Whether a key may be used again after its tombstone was compacted away.
    forgets_tombstones: bool,
}

/// The epoch of a new volume.
pub const E1: Epoch = Epoch::new(1);

pub fn vid(volume: u32) -> VolumeId {
    VolumeId::new(volume).unwrap()
}

fn cookie((volume, key): Name) -> Cookie {
    Cookie::new(volume * 1000 + u32::try_from(key % 1000).unwrap())
}

pub fn id(name: Name) -> NeedleId {
    NeedleId::new(vid(name.0), Key::new(name.1), cookie(name))
}

/// What belongs under a name: from nothing to a few hundred bytes, and 70,000 now and then.
pub fn content((volume, key): Name) -> Vec<u8> {
    let len = if key % 23 == 22 { 70_000 } else { usize::try_from((key * 37 + 11) % 600).unwrap() };
    let mut rng = StdRng::seed_from_u64(key << 32 | u64::from(volume));
    (0..len).map(|_| rng.random()).collect()
}

pub fn needle(name: Name) -> NewNeedle {
    let meta = Meta { bucket: "b".into(), name: format!("{name:?}"), ..Meta::default() };
    NewNeedle {
        key: Key::new(name.1),
        cookie: cookie(name),
        meta,
        data: Bytes::from(content(name)),
    }
}

impl Record {
    pub fn new(forgets_tombstones: bool) -> Self {
        Self { forgets_tombstones, ..Self::default() }
    }

    pub fn of(&self, name: Name) -> Option<Known> {
        self.needles.get(&name).copied()
    }

    pub fn needles(&self) -> impl Iterator<Item = (Name, Known)> {
        self.needles.iter().map(|(name, known)| (*name, *known))
    }

    pub fn doubtful(&self) -> &[Vec<Name>] {
        &self.doubtful
    }

    /// Notes the answer to a batch.
    pub fn note_put(&mut self, batch: &[Name], answer: &Result<(), StoreError>) {
        match answer {
            Ok(()) => self.set(batch, Known::Stored),
            Err(StoreError::Conflict { .. }) => self.note_conflict(batch),
            Err(_) => self.note_failed_put(batch),
        }
    }

    /// The content of a name never differs, so only a delete can be in the way. It may be one
    /// that waits for its own sync, and so promises nothing yet.
    fn note_conflict(&self, batch: &[Name]) {
        let may_be_deleted =
            |name: &&Name| matches!(self.needles.get(name), Some(Known::Deleted | Known::Unsure));
        let explained = batch.iter().any(|name| may_be_deleted(&name));
        assert!(explained, "a conflict, but nothing was deleted: {batch:?}");
    }

    /// A lone put met a conflict while nothing else was on its way.
    pub fn note_deleted(&mut self, name: Name) {
        self.set(&[name], Known::Deleted);
    }

    fn note_failed_put(&mut self, batch: &[Name]) {
        let open = |name: &&Name| match self.needles.get(name) {
            None | Some(Known::Unsure) => true,
            Some(Known::Deleted) => self.forgets_tombstones,
            Some(Known::Stored) => false,
        };
        let unsure: Vec<Name> = batch.iter().filter(open).copied().collect();
        let news = batch.iter().all(|name| !self.needles.contains_key(name));
        self.set(&unsure, Known::Unsure);
        if news {
            self.doubtful.push(unsure);
        }
    }

    /// Notes the answer to a delete.
    pub fn note_delete(&mut self, name: Name, answer: &Result<bool, StoreError>) {
        let before = self.of(name);
        match answer {
            Ok(existed) => {
                assert!(
                    *existed || before != Some(Known::Stored),
                    "nothing to delete, but {name:?} was stored"
                );
                self.set(&[name], Known::Deleted);
            }
            Err(_) if before == Some(Known::Deleted) => {}
            Err(_) => self.set(&[name], Known::Unsure),
        }
    }

    fn set(&mut self, names: &[Name], known: Known) {
        self.doubtful.retain(|batch| !batch.iter().any(|name| names.contains(name)));
        self.needles.extend(names.iter().map(|name| (*name, known)));
    }
}
