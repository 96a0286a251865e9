//! What is to be done next: a pure function of the cluster map and of what was seen.
//!
//! Nothing is remembered between two calls that a new leader would need. For each volume the
//! plan names one small step, each harmless if it is taken twice or was taken already: make an
//! empty copy, fill it, change the map, fence, remove. The state after the step is what the
//! next plan begins with, whoever makes it, so work is resumed by planning again.
//!
//! An epoch tells replicas apart:
//!
//! | a replica | is |
//! |---|---|
//! | in the set, below the map's epoch | to be fenced: it has not heard of the last change |
//! | not in the set, above it | a copy being made: it enters the set with its epoch |
//! | not in the set, at or below it | left behind by a change, and never believed: it may hold what was deleted since. It is removed, with an epoch above its own, once all of the set are there, whole and alike, or where a lost replica can be made again nowhere else |
//!
//! A volume is moved without needles coming in, once a copy has been filled, so that nothing
//! can be acknowledged by the old set and missed by the new one. Everywhere else the union of replicas is what counts: what
//! one has and another lacks is copied, needles and tombstones alike.

mod balance;
mod case;
mod next;
mod target;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hayrick_store::{Epoch, VolumeId};

use self::case::Case;
use self::target::Targets;
use self::wishes::Wishes;
use super::KeeperConfig;
use super::view::View;
use crate::{ClusterMap, Order, OrderId, StoreId, Volume};

/// What a plan is made from.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) map: &'a ClusterMap,
    pub(crate) view: &'a View,
    pub(crate) hints: &'a Hints,
    pub(crate) config: &'a KeeperConfig,
}

/// What the present leader has seen and done. A new one begins without, and at worst does a
/// thing again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hints {
    /// Replicas that were fenced at this epoch. One may know an epoch from a client, and still
    /// be busy with writes that it accepted under an older one.
    pub(crate) fenced: BTreeSet<(VolumeId, StoreId, Epoch)>,
    /// Replicas that were filled to the end while the volume had this epoch on the map.
    pub(crate) filled: BTreeSet<(VolumeId, StoreId, Epoch)>,
    /// Volumes whose replicas have differed for long enough, or stand still.
    pub(crate) unlike: BTreeSet<VolumeId>,
    /// Replicas whose scrub was told to rest not long ago.
    pub(crate) held: BTreeSet<(VolumeId, StoreId)>,
    /// Damaged replicas that were mended as far as could be.
    pub(crate) mended: BTreeSet<(VolumeId, StoreId)>,
    /// Orders to repair that have been carried out.
    pub(crate) repaired: BTreeSet<OrderId>,
}

/// All that is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// At most one for each volume, the most urgent first.
    pub(crate) jobs: Vec<Job>,
    /// Volumes that are not as they should be, and why nothing is done about it now.
    pub(crate) stuck: BTreeMap<VolumeId, String>,
    /// Orders that have been carried out, or never can be.
    pub(crate) done: Vec<OrderId>,
    /// Begin nothing that has not begun.
    pub(crate) is_paused: bool,
}

/// The next step of one volume's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) volume: VolumeId,
    /// That of the volume's entry on the map.
    pub(crate) revision: u64,
    /// The volume's epoch on the map.
    pub(crate) epoch: Epoch,
    pub(crate) work: Work,
    pub(crate) step: Step,
    /// How many whole replicas there are.
    pub(crate) whole: usize,
}

/// What a step is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Replicas are told the map's epoch, or the map theirs.
    Settle,
    /// A replica is made again on the store that lost it.
    Refill { on: StoreId },
    /// A replica of a lost store is made again elsewhere.
    Replace { lost: StoreId, to: StoreId },
    /// A replica that is in the set by now is made sure of.
    Admit { to: StoreId },
    /// Replicas that differ are made alike.
    Compare,
    /// Damaged needles are fetched from another replica.
    Mend { on: StoreId },
    /// A replica that is not in the set is removed.
    Clear { on: StoreId },
    /// An operator's repair.
    Repair,
    /// One more replica.
    Copy { to: StoreId },
    /// A replica goes from one store to another.
    Move { from: StoreId, to: Option<StoreId> },
    /// A replica stays on the store that it was to leave.
    GiveUp { from: StoreId },
    /// Garbage is given back.
    Compact { on: StoreId },
    /// A replica is scrubbed by its store, and no other of the volume.
    Scrub { on: StoreId },
}

/// One step. Each may be taken twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell these replicas the epoch.
    Fence { on: Vec<StoreId>, epoch: Epoch },
    /// Make an empty copy.
    Create { on: StoreId, epoch: Epoch },
    /// Have replicas fetch what they lack.
    Sync { fills: Vec<Fill>, epoch: Epoch, check: bool },
    /// Change the volume's entry on the map.
    Change(Volume),
    /// Remove a replica that is not in the set.
    Remove { on: StoreId, epoch: Epoch },
    /// Have the scrubs of these replicas rest for a while. They go on by themselves.
    Hold { on: Vec<StoreId> },
    /// Compact, and let tombstones up to `through_ns` go where nobody needs them any more.
    /// Meanwhile no replica, of those in `held`, is scrubbed.
    Compact { on: StoreId, epoch: Epoch, through_ns: Option<u64>, held: Vec<StoreId> },
}

/// One replica and where it fetches from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) on: StoreId,
    pub(crate) from: Vec<StoreId>,
}

/// What is said of one volume.
enum Verdict {
    /// Take this step.
    Do(Work, Step),
    /// Nothing now; the reason is told if it keeps the volume from being as it should be.
    Wait(Option<String>),
    /// Nothing in this respect: look at the next.
    Pass,
}

/// What is to be done now.
pub(crate) fn plan(facts: Facts<'_>) -> Plan {
    let mut targets = Targets::new(facts.view, facts.config);
    let wishes = Wishes::of(facts, &mut targets);
    let mut plan = Plan {
        done: wishes.done.clone(),
        is_paused: facts.map.orders.contains_key(&Order::Pause.id()),
        ..Plan::default()
    };
    for (&id, entry) in &facts.map.volumes {
        let case = Case::new(facts, id, &entry.value);
        match next::next(&case, &wishes, &mut targets) {
            Verdict::Do(work, step) => {
                let (revision, epoch, whole) = (entry.revision, case.epoch(), case.whole().count());
                plan.jobs.push(Job { volume: id, revision, epoch, work, step, whole });
            }
            Verdict::Wait(Some(reason)) => drop(plan.stuck.insert(id, reason)),
            Verdict::Wait(None) | Verdict::Pass => {}
        }
    }
    plan.jobs.sort_by_key(Job::urgency);
    plan
}

impl Job {
    /// What is nearest to a loss comes first, what only tidies up last.
    fn urgency(&self) -> (u8, usize) {
        let rank = match self.work {
            Work::Settle => 0,
            Work::Refill { .. } | Work::Replace { .. } | Work::Admit { .. } => 1,
            Work::Mend { .. } | Work::Compare => 2,
            Work::Repair | Work::Copy { .. } | Work::Move { .. } | Work::GiveUp { .. } => 3,
            Work::Clear { .. } => 4,
            Work::Scrub { .. } => 5,
            Work::Compact { .. } => 6,
        };
        (rank, self.whole)
    }

    /// Whether it is done in no time, and so need not wait for others to end.
    pub(crate) fn is_brief(&self) -> bool {
        matches!(self.work, Work::Settle | Work::Scrub { .. })
    }

    /// The stores that it puts bytes on.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &StoreId> {
        let (one, fills) = match &self.step {
            Step::Create { on, .. } => (Some(on), &[][..]),
            Step::Sync { fills, .. } => (None, &fills[..]),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(fills.iter().map(|fill| &fill.on))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settle => f.write_str("settle the epoch"),
            Self::Refill { on } => write!(f, "make again on {on}"),
            Self::Replace { lost, to } => write!(f, "replace the replica of {lost} on {to}"),
            Self::Admit { to } => write!(f, "let {to} in"),
            Self::Compare => f.write_str("make replicas alike"),
            Self::Mend { on } => write!(f, "mend on {on}"),
            Self::Clear { on } => write!(f, "remove from {on}"),
            Self::Repair => f.write_str("repair"),
            Self::Copy { to } => write!(f, "copy to {to}"),
            Self::Move { from, to: Some(to) } => write!(f, "move from {from} to {to}"),
            Self::Move { from, to: None } => write!(f, "move from {from}"),
            Self::GiveUp { from } => write!(f, "give up the move from {from}"),
            Self::Compact { on } => write!(f, "compact on {on}"),
            Self::Scrub { on } => write!(f, "scrub on {on} alone"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fence { .. } => "fence",
            Self::Create { .. } => "create",
            Self::Sync { check: false, .. } => "sync",
            Self::Sync { check: true, .. } => "check and sync",
            Self::Change(_) => "change the map",
            Self::Remove { .. } => "remove",
            Self::Hold { .. } => "hold scrubs",
            Self::Compact { .. } => "compact",
        })
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
