//! The next step of one volume. What is nearest to a loss is looked at first.

use hayrick_store::Epoch;

use super::case::Case;
use super::target::Targets;
use super::wishes::Wishes;
use super::{Fill, Step, Verdict, Work};
use crate::keeper::view::{Condition, Replica};
use crate::{StoreId, Volume};

use Verdict::{Do, Pass, Wait};

pub(super) fn next(case: &Case<'_>, wishes: &Wishes, targets: &mut Targets<'_>) -> Verdict {
    settle(case)
        .or(|| drop_abandoned(case))
        .or(|| refill(case))
        .or(|| admit(case))
        .or(|| replace(case, targets))
        .or(|| wait_for_the_set(case))
        .or(|| go_on_moving(case, wishes, targets))
        .or(|| mend(case))
        .or(|| scrub_one_by_one(case))
        .or(|| compare(case))
        .or(|| repair(case, wishes))
        .or(|| clear(case, wishes))
        .or(|| copy(case, wishes, targets))
        .or(|| begin_to_move(case, wishes, targets))
        .or(|| compact(case))
}

impl Verdict {
    fn or(self, next: impl FnOnce() -> Self) -> Self {
        if matches!(self, Pass) { next() } else { self }
    }
}

/// Nothing is decided while replicas of the set do not know their epoch, or know a newer one
/// than a map that was put back from a backup.
fn settle(case: &Case<'_>) -> Verdict {
    let highest = case.here.iter().map(|(_, replica)| replica.epoch).max();
    if let Some(epoch) = highest.filter(|epoch| *epoch > case.epoch()) {
        let volume = Volume { epoch: epoch.get(), ..case.volume.clone() };
        return Do(Work::Settle, Step::Change(volume));
    }
    // One that failed takes no writes, whatever the epoch.
    let usable = |condition| matches!(condition, Condition::Whole | Condition::Copying);
    let Volume { moving, joining, .. } = case.volume;
    let source = case.extras.iter().filter(|(store, _)| moving.as_ref() == Some(store));
    let is_changing = moving.is_some() || joining.is_some();
    let behind = case.here.iter().chain(source).filter(|(store, replica)| {
        let told = replica.epoch == case.epoch() && (!is_changing || case.is_fenced(store));
        usable(replica.condition) && !told
    });
    let on: Vec<_> = behind.map(|(store, _)| (*store).clone()).collect();
    if on.is_empty() { Pass } else { Do(Work::Settle, Step::Fence { on, epoch: case.epoch() }) }
}

/// A copy that was begun for a set that never came to be holds nothing that others lack, and
/// stands where a new copy may have to.
fn drop_abandoned(case: &Case<'_>) -> Verdict {
    let mut extras = case.extras.iter();
    let abandoned = extras.find(|(_, replica)| {
        replica.condition == Condition::Copying && replica.epoch <= case.epoch()
    });
    match abandoned {
        Some((store, _)) => remove(case, Work::Clear { on: (*store).clone() }, store),
        None => Pass,
    }
}

/// A store that answers and has lost the volume gets it again, at once.
fn refill(case: &Case<'_>) -> Verdict {
    let copying = |condition| condition == Condition::Copying;
    let filled = case.here.iter().filter(|(_, replica)| copying(replica.condition));
    let filled: Vec<_> = filled.map(|(store, _)| *store).collect();
    let Some(first) = filled.first().or(case.missing.first()) else { return Pass };
    let work = Work::Refill { on: (*first).clone() };
    if case.sources().is_empty() {
        return no_source(case);
    }
    if filled.is_empty() {
        return Do(work, Step::Create { on: (*first).clone(), epoch: case.epoch() });
    }
    let fills: Vec<Fill> = filled.into_iter().map(|store| case.fill(store)).collect();
    Do(work, Step::Sync { fills, epoch: case.epoch(), check: false })
}

/// A replica that is not coming back is made again elsewhere.
fn replace(case: &Case<'_>, targets: &mut Targets<'_>) -> Verdict {
    let newcomer = case.lost.iter().find(|store| case.volume.joining.as_ref() == Some(**store));
    let Some(&lost) = newcomer.or(case.lost.first()) else { return Pass };
    if case.sources().is_empty() {
        return no_source(case);
    }
    let kept = without(&case.volume.replicas, lost);
    let Some(to) = targets.choose(case, &kept) else {
        return Wait(Some(format!(
            "the replica on {lost} is lost, and no other store can take it: add a store"
        )));
    };
    let work = Work::Replace { lost: lost.clone(), to: to.clone() };
    let moving = case.volume.moving.clone().filter(|from| from != lost);
    grow(case, work, to, Volume { replicas: kept, moving, ..case.volume.clone() })
}

/// What the others took before they were fenced reached a newcomer only if it was copied since:
/// an old set may have acknowledged needles until then.
fn admit(case: &Case<'_>) -> Verdict {
    let Some(joining) = case.volume.joining.as_ref() else { return Pass };
    if case.lost.contains(&joining) {
        return Pass;
    }
    let Some((store, replica)) = case.whole().find(|(store, _)| *store == joining) else {
        return is_away(joining);
    };
    let work = Work::Admit { to: store.clone() };
    if case.is_like_the_set(replica) || case.is_filled(store) {
        return Do(work, Step::Change(Volume { joining: None, ..case.volume.clone() }));
    }
    if case.sources().is_empty() {
        return no_source(case);
    }
    Do(work, Step::Sync { fills: vec![case.fill(store)], epoch: case.epoch(), check: false })
}

fn wait_for_the_set(case: &Case<'_>) -> Verdict {
    // One that has lost its epoch obeys again once it is told it.
    let mut failed = case.here.iter().filter(|(_, own)| own.condition == Condition::Failed);
    if let Some((store, _)) = failed.find(|(_, own)| own.epoch == Epoch::NONE) {
        let step = Step::Fence { on: vec![(*store).clone()], epoch: case.epoch() };
        return Do(Work::Settle, step);
    }
    match case.away.first() {
        Some(store) => is_away(store),
        None => Pass,
    }
}

fn is_away(store: &StoreId) -> Verdict {
    Wait(Some(format!("the replica on {store} is away")))
}

/// A move that was begun is carried on, whoever began it. If it is not wanted any more, it is given up
/// for as long as the old replica is in the set; the copy is removed after that.
fn go_on_moving(case: &Case<'_>, wishes: &Wishes, targets: &mut Targets<'_>) -> Verdict {
    let Some(from) = case.volume.moving.as_ref() else { return Pass };
    if !case.volume.replicas.contains(from) {
        return finish_moving(case, from);
    }
    let kept = without(&case.volume.replicas, from);
    let wanted = wishes.wants(case, from);
    let to = if wanted { wishes.target_of(case, from, &kept, targets) } else { None };
    let Some(to) = to else {
        return Do(Work::GiveUp { from: from.clone() }, stop_moving(case));
    };
    let work = Work::Move { from: from.clone(), to: Some(to.clone()) };
    grow(case, work, &to, Volume { replicas: kept, ..case.volume.clone() })
}

/// The set is without the old replica. Deletes that it took to the end must not be missed.
fn finish_moving(case: &Case<'_>, from: &StoreId) -> Verdict {
    let work = Work::Move { from: from.clone(), to: None };
    let seen = case.facts.view.stores.get(from);
    if seen.is_some_and(|seen| seen.replicas.is_none() && !seen.is_lost) {
        return Wait(Some(format!("the replica on {from}, which is being moved, is away")));
    }
    let old = case.extra(from).filter(|replica| replica.is_whole());
    let lack = case.whole().filter(|(_, replica)| old.is_some_and(|old| !old.equals(replica)));
    let fills: Vec<Fill> =
        lack.map(|(store, _)| Fill { on: store.clone(), from: vec![from.clone()] }).collect();
    if fills.iter().all(|fill| case.is_filled(&fill.on)) {
        return Do(work, stop_moving(case));
    }
    Do(work, Step::Sync { fills, epoch: case.epoch(), check: false })
}

/// The epoch rises, so that what is left behind is below it.
fn stop_moving(case: &Case<'_>) -> Step {
    let epoch = case.next_epoch().get();
    Step::Change(Volume { moving: None, epoch, ..case.volume.clone() })
}

/// Needles that cannot be read are fetched from a replica where they can.
fn mend(case: &Case<'_>) -> Verdict {
    let tried = |store: &StoreId| case.facts.hints.mended.contains(&(case.id, store.clone()));
    let damaged = |replica: &Replica| replica.damaged > 0 && case.volume.replicas.len() > 1;
    match case.whole().find(|(store, replica)| damaged(replica) && !tried(store)) {
        Some((store, _)) => {
            let (fills, epoch) = (vec![case.fill(store)], case.epoch());
            Do(Work::Mend { on: store.clone() }, Step::Sync { fills, epoch, check: true })
        }
        None => Pass,
    }
}

fn compare(case: &Case<'_>) -> Verdict {
    if case.is_alike() {
        Pass
    } else if case.facts.hints.unlike.contains(&case.id) {
        let (fills, epoch) = (case.fill_all(), case.epoch());
        Do(Work::Compare, Step::Sync { fills, epoch, check: false })
    } else {
        Wait(None)
    }
}

fn repair(case: &Case<'_>, wishes: &Wishes) -> Verdict {
    if wishes.repairs.contains(&case.id) {
        let (fills, epoch) = (case.fill_all(), case.epoch());
        Do(Work::Repair, Step::Sync { fills, epoch, check: true })
    } else {
        Pass
    }
}

/// All of the set are there, whole and alike: what is not in it and not on its way into it is
/// not needed.
fn clear(case: &Case<'_>, wishes: &Wishes) -> Verdict {
    let needed = |store: &StoreId| {
        let wanted =
            wishes.copies.get(&case.id) == Some(store) || wishes.moves.contains_key(&case.id);
        wanted && case.extra(store).is_some_and(|replica| case.is_fresh(replica))
    };
    match case.extras.iter().find(|(store, _)| !needed(store)) {
        Some((store, _)) => remove(case, Work::Clear { on: (*store).clone() }, store),
        None => Pass,
    }
}

fn copy(case: &Case<'_>, wishes: &Wishes, targets: &mut Targets<'_>) -> Verdict {
    let Some(to) = wishes.copies.get(&case.id) else { return Pass };
    if !targets.fits(case, to, case.size_bytes()) {
        return Wait(Some(format!("{to} cannot take a copy now")));
    }
    grow(case, Work::Copy { to: to.clone() }, to, case.volume.clone())
}

fn begin_to_move(case: &Case<'_>, wishes: &Wishes, targets: &mut Targets<'_>) -> Verdict {
    let Some(from) = wishes.moves.get(&case.id) else { return Pass };
    let kept = without(&case.volume.replicas, from);
    let Some(to) = wishes.target_of(case, from, &kept, targets) else {
        return Wait(Some(format!("it is to leave {from}, and no other store can take it")));
    };
    let work = Work::Move { from: from.clone(), to: Some(to.clone()) };
    // The copy must still be above the map's epoch when that has risen by one.
    let above = |epoch: Epoch| Epoch::new(epoch.get().saturating_add(1));
    let Some(copy) = case.extra(&to) else {
        return Do(work, Step::Create { on: to, epoch: above(case.next_epoch()) });
    };
    let is_above = copy.epoch > above(case.epoch());
    if is_above && is_filled(case, &to, copy) {
        let epoch = above(case.epoch()).get();
        let moving = Volume { moving: Some(from.clone()), epoch, ..case.volume.clone() };
        return Do(work, Step::Change(moving));
    }
    // A sync raises the epoch of one that was begun for something else.
    let epoch = if is_above { copy.epoch } else { above(case.next_epoch()) };
    Do(work, Step::Sync { fills: vec![case.fill(&to)], epoch, check: false })
}

/// Whether a copy has what the others have, or had when it was last filled.
fn is_filled(case: &Case<'_>, to: &StoreId, copy: &Replica) -> bool {
    copy.is_whole() && (case.is_like_the_set(copy) || case.is_filled(to))
}

/// Stores read all they have, over and over, by a schedule of their own. Of one volume only one
/// replica is read at a time, so that the others serve at full speed: the one that is furthest goes
/// on, and the others have their turn when it is through. One that was told to rest is never preferred
/// to one that was not, however far it came on its way there: else all of them would end up resting.
fn scrub_one_by_one(case: &Case<'_>) -> Verdict {
    let reading = case.here.iter().filter_map(|(store, own)| {
        // What an operator wants read does not rest.
        let goes_on = !case.was_told_to_rest(store);
        Some((own.is_scrub_ordered, goes_on, own.scrub?.done_bytes, store))
    });
    let Some((.., first)) = reading.max() else { return Pass };
    let on = case.not_held(|store| store != *first);
    if on.is_empty() { Pass } else { Do(Work::Scrub { on: (*first).clone() }, Step::Hold { on }) }
}

/// One replica at a time: the others serve meanwhile. All are alike, so what one has deleted
/// none of the others has, and it may let those tombstones go; but not while a copy is being
/// made, or may be on a store that is away, with needles that were deleted since.
fn compact(case: &Case<'_>) -> Verdict {
    let config = case.facts.config;
    let worthwhile = |replica: &Replica| {
        config.compact_at_garbage_ratio > 0.0
            && replica.garbage_ratio() >= config.compact_at_garbage_ratio
            && replica.garbage_bytes >= config.compact_min_garbage.bytes()
    };
    let worst = case.whole().filter(|(_, replica)| worthwhile(replica));
    match worst.max_by_key(|(_, replica)| replica.garbage_bytes) {
        Some((store, replica)) => {
            let (on, epoch) = (store.clone(), case.epoch());
            let unheld = case.not_held(|_| true);
            if !unheld.is_empty() {
                return Do(Work::Compact { on }, Step::Hold { on: unheld });
            }
            if case.here.iter().any(|(_, replica)| replica.scrub.is_some()) {
                // It is on its way to rest, or an operator wants it read.
                return Wait(None);
            }
            let all_answer = case.facts.view.stores.values().all(|seen| seen.replicas.is_some());
            let is_settled = all_answer && case.extras.is_empty();
            let through_ns = is_settled.then_some(replica.last_append_ns);
            let held = case.volume.replicas.clone();
            let step = Step::Compact { on: on.clone(), epoch, through_ns, held };
            Do(Work::Compact { on }, step)
        }
        None => Pass,
    }
}

/// Takes a store into the set: a copy is made there and filled before the map says so.
fn grow(case: &Case<'_>, work: Work, to: &StoreId, mut next: Volume) -> Verdict {
    let Some(copy) = case.extra(to) else {
        let step = Step::Create { on: to.clone(), epoch: case.next_epoch() };
        return Do(work, step);
    };
    if case.is_fresh(copy) && is_filled(case, to, copy) {
        next.replicas.push(to.clone());
        next.epoch = copy.epoch.get();
        // A closed volume took nothing since it was fenced, and the copy was filled after that.
        next.joining = case.volume.moving.is_none().then(|| to.clone());
        return Do(work, Step::Change(next));
    }
    let fresh = case.is_fresh(copy);
    if !fresh && !case.is_like_the_set(copy) {
        // It was left behind, and must not bring back what was deleted since.
        return remove(case, work, to);
    }
    // A sync raises the epoch of one that holds what the set holds.
    let epoch = if fresh { copy.epoch } else { case.next_epoch() };
    Do(work, Step::Sync { fills: vec![case.fill(to)], epoch, check: false })
}

/// With an epoch above its own, and not above that of the set.
fn remove(case: &Case<'_>, work: Work, store: &StoreId) -> Verdict {
    let known = case.extra(store).map_or(Epoch::NONE, |replica| replica.epoch);
    if known < case.epoch() {
        return Do(work, Step::Remove { on: store.clone(), epoch: case.epoch() });
    }
    let epoch = case.next_epoch().get();
    Do(work, Step::Change(Volume { epoch, ..case.volume.clone() }))
}

fn no_source(case: &Case<'_>) -> Verdict {
    let lacking = case.lost.iter().chain(&case.away).chain(&case.missing);
    let lacking: Vec<_> = lacking.map(|store| store.as_str()).collect();
    Wait(Some(format!(
        "no replica holds all: bring back one of these stores with its data: {}",
        lacking.join(", ")
    )))
}

fn without(replicas: &[StoreId], store: &StoreId) -> Vec<StoreId> {
    replicas.iter().filter(|other| *other != store).cloned().collect()
}
