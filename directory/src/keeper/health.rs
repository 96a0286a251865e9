//! Whether a store is well, judged from many rounds and not from the last one.
//!
//! A store is asked for its status in each round. One that did not answer, was slow beside the
//! others, or could not give a needle that it has, had a bad round. A few bad rounds in a row
//! make it ill, and only some more good ones make it well again, so that a store that comes and
//! goes is not given replicas each time it comes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::KeeperConfig;

/// Late is what takes this many times as long as with the others.
const SLOW_FACTOR: u32 = 10;

/// What the keeper thinks of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It may be given replicas.
    Well,
    /// It answers, but is slow or gives errors: it keeps what it has and is given nothing.
    Ill,
    /// It does not answer.
    Away,
}

/// How one round went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Round {
    /// It answered, so soon.
    Answered(Duration),
    /// It answered, but a needle that it has could not be read, for this reason.
    Faulty(String),
    /// It did not answer, for this reason.
    Silent(String),
}

/// The opinion of one store, and what it rests on.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    health: Health,
    reason: Option<String>,
    bad: u32,
    good: u32,
    /// Since when it has not been well and answering.
    away_since: Option<Instant>,
}

impl Default for Judge {
    /// Well until the contrary is seen: a new keeper must not take all stores for ill.
    fn default() -> Self {
        Self { health: Health::Well, reason: None, bad: 0, good: 0, away_since: None }
    }
}

impl Judge {
    /// Takes note of a round. `usual` is how soon the other stores answered.
    pub(crate) fn note(&mut self, round: Round, usual: Option<Duration>, config: &KeeperConfig) {
        let (next, reason) = match round {
            Round::Answered(took) if is_slow(took, usual, config) => {
                (Health::Ill, format!("it answers in {} ms", took.as_millis()))
            }
            Round::Answered(_) => return self.good_round(config),
            Round::Faulty(reason) => (Health::Ill, reason),
            Round::Silent(reason) => {
                self.away_since.get_or_insert_with(Instant::now);
                (Health::Away, reason)
            }
        };
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        // Once it is not well, what it is called follows what it does.
        if self.bad >= config.bad_rounds || self.health != Health::Well {
            self.health = next;
        }
        self.reason = Some(reason);
    }

    fn good_round(&mut self, config: &KeeperConfig) {
        self.bad = 0;
        self.good = self.good.saturating_add(1);
        if self.health == Health::Well || self.good >= config.good_rounds {
            *self = Self { good: self.good, ..Self::default() };
        }
    }

    /// Whether it was seen to be well, and for long enough: a new keeper has seen nothing yet.
    pub(crate) fn is_known_well(&self, config: &KeeperConfig) -> bool {
        self.health == Health::Well && self.good >= config.good_rounds
    }

    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Why it is not well, or what was wrong in the last round.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Since when it has been away, not counting the times that it came back only for moments.
    pub(crate) fn away_since(&self) -> Option<Instant> {
        self.away_since
    }
}

fn is_slow(took: Duration, usual: Option<Duration>, config: &KeeperConfig) -> bool {
    took > config.slow.duration() && usual.is_some_and(|usual| took > usual * SLOW_FACTOR)
}

/// How soon the others answered: the middle of their times.
pub(crate) fn usual(mut others: Vec<Duration>) -> Option<Duration> {
    others.sort_unstable();
    others.get(others.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn config() -> KeeperConfig {
        KeeperConfig { bad_rounds: 3, good_rounds: 2, ..KeeperConfig::default() }
    }

    /// `g` good, `s` slow, `f` faulty, `x` silent.
    fn after(rounds: &str) -> Judge {
        let mut judge = Judge::default();
        for round in rounds.chars() {
            let round = match round {
                'g' => Round::Answered(2 * MS),
                's' => Round::Answered(600 * MS),
                'f' => Round::Faulty("bad needle".to_owned()),
                _ => Round::Silent("refused".to_owned()),
            };
            judge.note(round, Some(3 * MS), &config());
        }
        judge
    }

    #[test]
    fn few_bad_rounds_change_nothing_and_many_do() {
        for (rounds, health) in [
            ("", Health::Well),
            ("xx", Health::Well),
            ("xxgxxg", Health::Well),
            ("xxx", Health::Away),
            ("sss", Health::Ill),
            ("fff", Health::Ill),
            ("ffx", Health::Away),
            ("xxxs", Health::Ill),
            ("xxxg", Health::Away),
            ("xxxgxg", Health::Away),
            ("xxxgg", Health::Well),
        ] {
            assert_eq!(after(rounds).health(), health, "{rounds}");
        }
    }

    #[test]
    fn a_new_keeper_knows_nothing_of_a_store() {
        for (rounds, known) in
            [("", false), ("g", false), ("gg", true), ("ggs", false), ("sssgg", true)]
        {
            assert_eq!(after(rounds).is_known_well(&config()), known, "{rounds}");
        }
    }

    #[test]
    fn the_time_away_goes_on_while_it_comes_and_goes() {
        assert!(after("x").away_since().is_some(), "from the first round that it misses");
        assert!(after("xxxgxg").away_since().is_some());
        assert!(after("xxxgg").away_since().is_none());
        assert!(after("sss").away_since().is_none(), "slow is not away");
    }

    #[test]
    fn slow_is_told_from_the_others() {
        let slow = |took: u32, usual: Option<u32>| {
            is_slow(took * MS, usual.map(|usual| usual * MS), &config())
        };
        assert!(slow(600, Some(5)));
        assert!(!slow(600, Some(100)), "all are slow");
        assert!(!slow(600, None), "there is no other");
        assert!(!slow(400, Some(1)), "not so slow that it matters");
        assert_eq!(usual(vec![9 * MS, MS, 2 * MS]), Some(2 * MS));
        assert_eq!(usual(Vec::new()), None);
    }
}
