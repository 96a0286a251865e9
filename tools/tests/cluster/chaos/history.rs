//! What the clients did and saw, and whether a store of objects may behave so.
//!
//! Each name has one writer, which waits for one write to end before it begins the next, and
//! gives the name up for ever after a write whose outcome it does not know. Anybody reads it. So a
//! read may see the last write that was acknowledged before the read began, or any write
//! that was under way during the read or whose outcome is unknown; and once a write has been seen,
//! nothing older may be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use hayrick_store::NeedleId;

/// What a write leaves under a name: the number of the put, or nothing.
pub type Value = Option<u64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered so.
    Acknowledged(Instant),
    /// It is under way, or ended without a clear answer.
    Unknown,
}

#[derive(Debug, Clone)]
struct Write {
    value: Value,
    began: Instant,
    outcome: Outcome,
    /// Where an acknowledged put went.
    needle: Option<NeedleId>,
}

#[derive(Debug, Clone, Copy)]
struct Read {
    began: Instant,
    ended: Instant,
    saw: Value,
}

#[derive(Debug, Clone, Default)]
pub struct Name {
    writes: Vec<Write>,
    reads: Vec<Read>,
}

/// What happened to all names.
#[derive(Default)]
pub struct History {
    names: Mutex<BTreeMap<String, Name>>,
}

impl History {
    /// A write begins; nothing is known of its outcome until [`History::acknowledged`].
    pub fn begin(&self, name: &str, value: Value) {
        let (began, outcome) = (Instant::now(), Outcome::Unknown);
        let write = Write { value, began, outcome, needle: None };
        self.names.lock().unwrap().entry(name.to_owned()).or_default().writes.push(write);
    }

    /// The name's last write was answered; what was put went there.
    pub fn acknowledged(&self, name: &str, needle: Option<NeedleId>) {
        let mut names = self.names.lock().unwrap();
        let last = names.get_mut(name).and_then(|name| name.writes.last_mut()).unwrap();
        last.outcome = Outcome::Acknowledged(Instant::now());
        last.needle = needle;
    }

    /// A read that began at `began` is over.
    pub fn read(&self, name: &str, began: Instant, saw: Value) {
        let read = Read { began, ended: Instant::now(), saw };
        self.names.lock().unwrap().entry(name.to_owned()).or_default().reads.push(read);
    }

    /// A name, if there is any, drawn by `draw`.
    pub fn pick(&self, draw: u32) -> Option<String> {
        let names = self.names.lock().unwrap();
        let at = usize::try_from(draw).ok()?.checked_rem(names.len())?;
        names.keys().nth(at).cloned()
    }

    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().keys().cloned().collect()
    }

    /// How many reads and writes there were.
    pub fn len(&self) -> usize {
        self.names.lock().unwrap().values().map(|name| name.writes.len() + name.reads.len()).sum()
    }

    /// The needles that are under a name for certain, and those that no name holds any more.
    pub fn needles(&self) -> (Vec<NeedleId>, Vec<NeedleId>) {
        let names = self.names.lock().unwrap();
        let held = names.values().filter_map(Name::held).collect();
        (held, names.values().flat_map(Name::replaced).collect())
    }

    /// The first thing that must not have been seen, in words.
    pub fn violation(&self) -> Option<String> {
        let names = self.names.lock().unwrap();
        let mut places = BTreeSet::new();
        let needles = names.values().flat_map(|name| &name.writes).filter_map(|put| put.needle);
        for needle in needles {
            if !places.insert((needle.volume, needle.key)) {
                return Some(format!("two objects were stored under the key of {needle}"));
            }
        }
        names.iter().find_map(|(name, history)| Some(format!("{name}: {}", history.violation()?)))
    }
}

impl Name {
    fn violation(&self) -> Option<String> {
        let mut reads = self.reads.clone();
        reads.sort_by_key(|read| read.ended);
        // The newest write that a read which is over has seen, and when that was over.
        let mut seen: Vec<(Instant, usize)> = Vec::new();
        for read in reads {
            let acknowledged = |write: &Write| match write.outcome {
                Outcome::Acknowledged(at) => at <= read.began,
                Outcome::Unknown => false,
            };
            let last = self.writes.iter().rposition(acknowledged);
            let seen_before = seen.iter().filter(|(ended, _)| *ended <= read.began);
            let floor = last.max(seen_before.map(|(_, write)| *write).max());
            let possible = (floor.unwrap_or(0)..self.writes.len())
                .filter(|at| self.writes.get(*at).is_some_and(|write| write.began < read.ended));
            let matching = possible.clone().find(|at| self.value(*at) == Some(read.saw));
            match matching {
                Some(at) => seen.push((read.ended, at)),
                None if floor.is_none() && read.saw.is_none() => {}
                None => {
                    let possible: Vec<_> = possible.filter_map(|at| self.value(at)).collect();
                    return Some(format!(
                        "a read saw {:?}, and only {possible:?} was possible (floor {floor:?}); {self:#?}",
                        read.saw
                    ));
                }
            }
        }
        None
    }

    /// The needle of the last write, if that is a put that was acknowledged.
    fn held(&self) -> Option<NeedleId> {
        self.writes.last()?.needle
    }

    /// The needles of puts that an acknowledged write followed.
    fn replaced(&self) -> impl Iterator<Item = NeedleId> {
        let acknowledged = |write: &Write| matches!(write.outcome, Outcome::Acknowledged(_));
        let last = self.writes.iter().rposition(acknowledged).unwrap_or(0);
        self.writes.iter().take(last).filter_map(|write| write.needle)
    }

    fn value(&self, at: usize) -> Option<Value> {
        self.writes.get(at).map(|write| write.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history in steps: what the checker must say of it.
    fn seen(steps: impl FnOnce(&History)) -> Option<String> {
        let history = History::default();
        steps(&history);
        history.violation()
    }

    fn put(history: &History, value: Value) {
        history.begin("n", value);
        history.acknowledged("n", value.map(needle));
    }

    fn needle(key: u64) -> NeedleId {
        format!("1,{key},1").parse().unwrap()
    }

    fn get(history: &History, saw: Value) {
        history.read("n", Instant::now(), saw);
    }

    #[test]
    fn a_sound_history_passes() {
        let sound = seen(|history| {
            get(history, None);
            put(history, Some(1));
            get(history, Some(1));
            let early = Instant::now();
            put(history, Some(2));
            history.read("n", early, Some(1));
            get(history, Some(2));
            put(history, None);
            get(history, None);
            put(history, Some(3));
            history.begin("n", Some(4));
            get(history, Some(3));
            get(history, Some(4));
        });
        assert_eq!(sound, None);
    }

    #[test]
    fn needles_are_told_apart_by_what_is_known_of_them() {
        let history = History::default();
        put(&history, Some(1));
        put(&history, Some(2));
        assert_eq!(history.needles(), (vec![needle(2)], vec![needle(1)]));
        history.begin("n", None);
        let unknown = history.needles();
        assert_eq!(unknown, (vec![], vec![needle(1)]), "the second may be deleted, or not");
        history.acknowledged("n", None);
        assert_eq!(history.needles(), (vec![], vec![needle(1), needle(2)]));
    }

    #[test]
    fn what_must_not_be_is_found() {
        type Steps = fn(&History);
        let cases: [(&str, Steps); 7] = [
            ("stored under one key with another", |history| {
                put(history, Some(1));
                history.begin("n", Some(2));
                history.acknowledged("n", Some(needle(1)));
            }),
            ("lost", |history| {
                put(history, Some(1));
                get(history, None);
            }),
            ("stale", |history| {
                put(history, Some(1));
                put(history, Some(2));
                get(history, Some(1));
            }),
            ("resurrected", |history| {
                put(history, Some(1));
                put(history, None);
                get(history, Some(1));
            }),
            ("from nowhere", |history| {
                put(history, Some(1));
                get(history, Some(7));
            }),
            ("undone after it was seen", |history| {
                put(history, Some(1));
                history.begin("n", Some(2));
                get(history, Some(2));
                get(history, Some(1));
            }),
            ("from the future", |history| {
                get(history, Some(1));
                put(history, Some(1));
            }),
        ];
        for (what, steps) in cases {
            assert!(seen(steps).is_some(), "{what}");
        }
    }
}
