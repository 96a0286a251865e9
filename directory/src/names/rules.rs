//! What a change comes to, given what is there: the same for every engine.

use std::collections::HashSet;

use hayrick_store::NeedleId;

use super::{Committed, NamesError, Put, Row};

/// What a put comes to.
#[derive(Debug)]
pub(super) struct PutEffect {
    pub(super) answer: Committed,
    /// Whether the row is to be written.
    pub(super) writes_row: bool,
    /// The needles to be queued for deletion.
    pub(super) leaving: Vec<NeedleId>,
}

/// Decides on a put. `current` is the row that is there, and `removed` the version of the
/// last removal that may have been of the name. `in_doubt` says that an earlier attempt may have
/// been carried out.
///
/// Who finds a higher version there must take one above it, whichever clock gave that out: what
/// an upload that is over has stored is older than it. Only where that may be its own past is it
/// another matter.
pub(super) fn put(
    put: &Put,
    current: Option<Row>,
    removed: u64,
    in_doubt: bool,
) -> Result<PutEffect, NamesError> {
    let nothing = |answer| PutEffect { answer, writes_row: false, leaving: Vec::new() };
    if current.as_ref() == Some(&put.row) {
        return Ok(nothing(Committed::Unchanged));
    }
    let version = current.as_ref().map(|row| row.version);
    // Of a name that is there, earlier removals do not matter.
    let last = version.unwrap_or(removed);
    if in_doubt && last >= put.row.version {
        return Ok(nothing(Committed::Superseded));
    }
    put.condition.check(version)?;
    if last >= put.row.version {
        return Err(NamesError::StaleVersion { current: last });
    }
    let Some(current) = current else {
        return Ok(PutEffect { answer: Committed::Created, writes_row: true, leaving: Vec::new() });
    };
    let leaving = leaving(current.needle_ids(), &put.row);
    Ok(PutEffect { answer: Committed::Replaced(current), writes_row: true, leaving })
}

/// The needles among `old` that the row `new` does not hold: a change of metadata keeps
/// its needles.
pub(super) fn leaving(old: impl Iterator<Item = NeedleId>, new: &Row) -> Vec<NeedleId> {
    let kept: HashSet<NeedleId> = new.needle_ids().collect();
    old.filter(|id| !kept.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Condition;
    use crate::names::conformance::{put as put_of, row};

    #[test]
    fn what_an_earlier_attempt_may_have_done_is_not_done_again() {
        let decide = |version, current, removed, in_doubt| {
            let effect =
                put(&put_of("a", row(version), Condition::None), current, removed, in_doubt);
            effect.map(|effect| (effect.answer, effect.writes_row))
        };
        let stale = |current| Err(NamesError::StaleVersion { current });
        let hidden = || Ok((Committed::Superseded, false));
        assert_eq!(decide(4, Some(row(5)), 0, false), stale(5));
        assert_eq!(decide(4, Some(row(5)), 0, true), hidden());
        assert_eq!(decide(4, None, 4, false), stale(4));
        assert_eq!(decide(4, None, 4, true), hidden());
        for in_doubt in [false, true] {
            assert_eq!(decide(4, Some(row(4)), 9, in_doubt), Ok((Committed::Unchanged, false)));
            assert_eq!(decide(4, None, 3, in_doubt), Ok((Committed::Created, true)));
            let replaced = Ok((Committed::Replaced(row(3)), true));
            assert_eq!(decide(4, Some(row(3)), 9, in_doubt), replaced, "removed before it was put");
        }
    }
}
