//! Single decisions, one after another, on the cluster of [`super::model`].

use super::model::{World, id, vid};
use super::*;
use crate::keeper::view::Condition;

/// What is planned for the only volume.
fn job(world: &mut World) -> Option<(String, String)> {
    let plan = world.plan();
    assert!(plan.jobs.len() <= 1);
    plan.jobs.first().map(|job| (job.work.to_string(), job.step.to_string()))
}

/// Takes the step that is planned, and tells it.
fn step(world: &mut World) -> String {
    let plan = world.plan();
    let Some(job) = plan.jobs.first() else { return "nothing".to_owned() };
    world.take(job);
    format!("{}: {}", job.work, job.step)
}

fn replicas(world: &World) -> Vec<String> {
    world.volume(1).replicas.iter().map(ToString::to_string).collect()
}

fn lose(world: &mut World, store: usize) {
    let store = world.stores.get_mut(&id(store)).unwrap();
    store.is_up = false;
    store.is_lost = true;
}

#[test]
fn a_well_volume_is_left_alone() {
    assert_eq!(job(&mut World::new(&[3])), None);
}

#[test]
fn a_lost_replica_is_made_again_in_another_rack() {
    let mut world = World::new(&[2]);
    world.stores.get_mut(&id(1)).unwrap().is_up = false;
    assert_eq!(job(&mut world), None, "not before the grace is over");
    assert!(world.plan().stuck[&vid(1)].contains("s1 is away"));
    lose(&mut world, 1);
    let steps: Vec<_> = (0..6).map(|_| step(&mut world)).collect();
    assert_eq!(
        steps,
        [
            "replace the replica of s1 on s2: create",
            "replace the replica of s1 on s2: sync",
            "replace the replica of s1 on s2: change the map",
            "settle the epoch: fence",
            "let s2 in: change the map",
            "nothing",
        ]
    );
    assert_eq!(replicas(&world), ["s0", "s2"]);
    // It comes back, and is not believed.
    world.stores.get_mut(&id(1)).unwrap().is_up = true;
    assert_eq!(step(&mut world), "remove from s1: remove");
    assert_eq!(job(&mut world), None);
}

#[test]
fn what_was_left_behind_stays_until_the_set_is_whole_and_alike() {
    let mut world = World::new(&[2]);
    world.replica(&id(3), vid(1), 1, Condition::Whole);
    world.stores.get_mut(&id(0)).unwrap().is_up = false;
    assert_eq!(job(&mut world), None, "one of the set is away");
    world.stores.get_mut(&id(0)).unwrap().is_up = true;
    let replica = |world: &mut World, store| {
        let store = world.stores.get_mut(&id(store)).unwrap();
        store.replicas.get_mut(&vid(1)).unwrap().needles.insert(7);
    };
    replica(&mut world, 0);
    assert_eq!(step(&mut world), "make replicas alike: sync");
    assert_eq!(step(&mut world), "remove from s3: change the map", "its epoch must be below");
    assert_eq!(step(&mut world), "settle the epoch: fence");
    assert_eq!(step(&mut world), "remove from s3: remove");
    assert_eq!(step(&mut world), "nothing");
}

#[test]
fn a_wiped_store_gets_its_replica_again_at_once() {
    let mut world = World::new(&[3]);
    world.stores.get_mut(&id(2)).unwrap().replicas.clear();
    assert_eq!(step(&mut world), "make again on s2: create");
    assert_eq!(step(&mut world), "make again on s2: sync");
    assert_eq!(step(&mut world), "nothing");
}

#[test]
fn a_lone_replica_that_is_lost_is_waited_for() {
    let mut world = World::new(&[1]);
    lose(&mut world, 0);
    assert_eq!(job(&mut world), None);
    let reason = &world.plan().stuck[&vid(1)];
    assert!(reason.contains("no replica holds all") && reason.contains("s0"), "{reason}");
}

#[test]
fn a_volume_takes_no_needles_while_it_changes_hands() {
    let mut world = World::new(&[1]);
    world.order("drain:s0");
    let mut steps = Vec::new();
    let mut closed = Vec::new();
    while job(&mut world).is_some() {
        steps.push(step(&mut world));
        if !world.volume(1).takes_needles() {
            closed.push(steps.len());
        }
    }
    assert_eq!(
        steps,
        [
            "move from s0 to s1: create",
            "move from s0 to s1: sync",
            "move from s0 to s1: change the map",
            "settle the epoch: fence",
            "move from s0 to s1: change the map",
            "settle the epoch: fence",
            "move from s0: change the map",
            "settle the epoch: fence",
            "remove from s0: remove",
        ],
    );
    assert_eq!(closed, [3, 4, 5, 6], "it is copied before it is closed");
    assert_eq!(replicas(&world), ["s1"]);
}

#[test]
fn deletes_that_the_old_replica_took_meanwhile_are_not_missed() {
    let mut world = World::new(&[1]);
    let needle = |world: &mut World, store: usize| {
        let store = world.stores.get_mut(&id(store)).unwrap();
        store.replicas.get_mut(&vid(1)).unwrap().needles.insert(7);
    };
    needle(&mut world, 0);
    world.order("move:1:s0:s3");
    while replicas(&world) == ["s0"] {
        step(&mut world);
    }
    let old = world.stores.get_mut(&id(0)).unwrap().replicas.get_mut(&vid(1)).unwrap();
    old.needles.clear();
    old.tombstones.insert(7);
    world.settle();
    assert_eq!(replicas(&world), ["s3"]);
    assert!(world.stores[&id(3)].replicas[&vid(1)].needles.is_empty());
    assert!(world.map.orders.is_empty(), "the order is struck");
}

#[test]
fn an_order_says_where_to() {
    let mut world = World::new(&[2]);
    world.order("copy:1:s3");
    world.settle();
    assert_eq!(replicas(&world), ["s0", "s1", "s3"]);
    world.order("move:1:s1:s5");
    world.settle();
    assert_eq!(replicas(&world), ["s0", "s3", "s5"]);
    assert!(world.map.orders.is_empty());
}

#[test]
fn damage_is_mended_once_from_a_replica_without() {
    let mut world = World::new(&[2]);
    world.stores.get_mut(&id(0)).unwrap().replicas.get_mut(&vid(1)).unwrap().damaged = true;
    let plan = world.plan();
    let Step::Sync { fills, check: true, .. } = &plan.jobs[0].step else { panic!("{plan:?}") };
    assert_eq!(fills, &[Fill { on: id(0), from: vec![id(1)] }]);
    world.hints.mended.insert((vid(1), id(0)));
    assert_eq!(job(&mut world), None, "what nobody can give is not asked for without end");
}

#[test]
fn an_ordered_repair_reads_every_replica_and_is_done() {
    let mut world = World::new(&[2]);
    world.order("repair:1");
    assert_eq!(step(&mut world), "repair: check and sync");
    assert_eq!(world.plan().done, [Order::Repair { volume: vid(1) }.id()]);
}

#[test]
fn a_map_from_a_backup_learns_the_epoch_from_the_replicas() {
    let mut world = World::new(&[2]);
    for store in 0..2 {
        world.stores.get_mut(&id(store)).unwrap().replicas.get_mut(&vid(1)).unwrap().epoch = 9;
    }
    assert_eq!(step(&mut world), "settle the epoch: change the map");
    assert_eq!(world.volume(1).epoch, 9);
    assert_eq!(step(&mut world), "nothing");
}

#[test]
fn racks_that_are_shared_are_left_for_free_ones() {
    let mut world = World::new(&[1]);
    world.map.volumes.get_mut(&vid(1)).unwrap().value.replicas.push(id(4));
    world.replica(&id(4), vid(1), 1, Condition::Whole);
    world.settle();
    let replicas = &world.volume(1).replicas;
    let racks: BTreeSet<_> =
        replicas.iter().map(|store| world.map.stores[store].rack.clone()).collect();
    assert_eq!(racks.len(), 2, "s0 and s4 stand in one rack");
}

#[test]
fn stores_are_balanced_and_the_order_is_struck() {
    let mut world = World::new(&[1; 12]);
    world.stores.values_mut().for_each(|store| store.replicas.clear());
    // All of it on two stores.
    for number in 1..=12 {
        let store = id(usize::from(number % 2 == 0));
        world.replica(&store, vid(number), 1, Condition::Whole);
        world.map.volumes.get_mut(&vid(number)).unwrap().value.replicas = vec![store];
    }
    world.bytes = 50 << 20;
    world.order("rebalance");
    world.settle();
    let on_each = world.stores.values().map(|store| store.replicas.len());
    assert_eq!(on_each.collect::<Vec<_>>(), [2; 6]);
    assert!(world.map.orders.is_empty());
}

#[test]
fn one_replica_at_a_time_is_compacted() {
    let mut world = World::new(&[2]);
    world.bytes = 100 << 20;
    for store in 0..2 {
        let store = world.stores.get_mut(&id(store)).unwrap();
        store.replicas.get_mut(&vid(1)).unwrap().garbage_bytes = 40 << 20;
    }
    assert_eq!(step(&mut world), "compact on s1: hold scrubs");
    let plan = world.plan();
    assert_eq!(plan.jobs.len(), 1);
    assert!(matches!(plan.jobs[0].step, Step::Compact { .. }));
    world.stores.get_mut(&id(0)).unwrap().is_up = false;
    assert_eq!(job(&mut world), None, "not while a replica is away");
}

#[test]
fn machines_that_are_shared_are_left_for_free_ones() {
    // All in one rack; s0 and s1 on one machine, and s2, s3 on another.
    let mut world = World::new(&[2]);
    for (number, known) in world.map.stores.values_mut().enumerate() {
        known.rack = "r".parse().unwrap();
        known.host = format!("m{}", number / 2).parse().unwrap();
    }
    assert_eq!(step(&mut world), "move from s0 to s2: create");
    world.settle();
    let replicas = replicas(&world);
    assert!(replicas.contains(&"s1".to_owned()) && !replicas.contains(&"s0".to_owned()));
}

#[test]
fn a_move_that_is_taken_back_is_given_up_while_the_old_replica_is_in_the_set() {
    let mut world = World::new(&[1]);
    let before = ["move from s0 to s3: create", "move from s0 to s3: sync"];
    let closed = ["move from s0 to s3: change the map", "settle the epoch: fence"];
    let over = ["move from s0 to s3: change the map"];
    // Nothing but a copy was made.
    world.order("move:1:s0:s3");
    assert_eq!(before.map(|_| step(&mut world)), before);
    world.map.orders.clear();
    world.settle();
    assert_eq!((replicas(&world), world.stores[&id(3)].replicas.len()), (vec!["s0".into()], 0));
    // The volume takes no needles.
    world.order("move:1:s0:s3");
    assert_eq!(before.map(|_| step(&mut world)), before);
    assert_eq!(closed.map(|_| step(&mut world)), closed);
    world.map.orders.clear();
    assert_eq!(step(&mut world), "give up the move from s0: change the map");
    assert!(world.volume(1).takes_needles());
    world.settle();
    assert_eq!((replicas(&world), world.stores[&id(3)].replicas.len()), (vec!["s0".into()], 0));
    // It has changed hands, and there is no way back.
    world.order("move:1:s0:s3");
    assert_eq!(before.map(|_| step(&mut world)), before);
    assert_eq!(closed.map(|_| step(&mut world)), closed);
    assert_eq!(over.map(|_| step(&mut world)), over);
    world.map.orders.clear();
    world.settle();
    assert_eq!((replicas(&world), world.stores[&id(0)].replicas.len()), (vec!["s3".into()], 0));
}

#[test]
fn one_replica_at_a_time_is_scrubbed() {
    let mut world = World::new(&[3]);
    for store in 0..3 {
        let store = world.stores.get_mut(&id(store)).unwrap();
        store.replicas.get_mut(&vid(1)).unwrap().is_due = true;
    }
    world.scrub(&id(0));
    world.scrub(&id(1));
    assert_eq!(step(&mut world), "scrub on s1 alone: hold scrubs");
    let reading = |world: &World, store| world.stores[&id(store)].reading.is_some();
    assert_eq!([0, 1, 2].map(|store| reading(&world, store)), [false, true, false]);
    world.scrub(&id(2));
    assert!(!reading(&world, 2) && job(&mut world).is_none(), "it waits for its turn");
    // A new leader says so again, which changes nothing.
    world.hints.held.clear();
    assert_eq!(step(&mut world), "scrub on s1 alone: hold scrubs");
    world.scrub(&id(1));
    world.lapse();
    world.scrub(&id(2));
    assert_eq!(step(&mut world), "scrub on s2 alone: hold scrubs");
}

#[test]
fn one_on_its_way_to_rest_does_not_bring_the_others_to_rest() {
    let mut world = World::new(&[2]);
    world.stores.get_mut(&id(0)).unwrap().reading = Some(vid(1));
    assert_eq!(step(&mut world), "scrub on s0 alone: hold scrubs");
    // It began before it was told, and has read as much by the time it is asked.
    world.stores.get_mut(&id(1)).unwrap().reading = Some(vid(1));
    assert_eq!(step(&mut world), "scrub on s0 alone: hold scrubs");
    assert_eq!(world.stores[&id(0)].reading, Some(vid(1)), "one goes on");
    assert_eq!(world.stores[&id(1)].reading, None);
}

#[test]
fn what_is_compacted_is_not_scrubbed() {
    let mut world = World::new(&[2]);
    for store in 0..2 {
        let store = world.stores.get_mut(&id(store)).unwrap();
        let replica = store.replicas.get_mut(&vid(1)).unwrap();
        (replica.is_due, replica.garbage_bytes) = (true, 500);
    }
    world.scrub(&id(0));
    assert_eq!(step(&mut world), "scrub on s0 alone: hold scrubs");
    assert_eq!(step(&mut world), "compact on s1: hold scrubs");
    assert_eq!(step(&mut world), "compact on s1: compact");
    assert_eq!(step(&mut world), "compact on s0: compact");
    world.settle();
}

#[test]
fn a_pause_is_told() {
    let mut world = World::new(&[1]);
    assert!(!world.plan().is_paused);
    world.order("pause");
    assert!(world.plan().is_paused);
}

#[test]
fn an_old_replica_makes_room_for_a_new_one_where_there_is_no_other_store() {
    let mut world = World::new(&[2]);
    for store in 2..6 {
        lose(&mut world, store);
    }
    // s1 was replaced by s2, which is lost in its turn.
    world.map.volumes.get_mut(&vid(1)).unwrap().value.replicas = vec![id(0), id(2)];
    world.map.volumes.get_mut(&vid(1)).unwrap().value.epoch = 2;
    let new = world.stores.get_mut(&id(0)).unwrap().replicas.get_mut(&vid(1)).unwrap();
    new.epoch = 2;
    let old = world.stores.get_mut(&id(1)).unwrap().replicas.get_mut(&vid(1)).unwrap();
    old.needles.insert(7);
    assert_eq!(step(&mut world), "replace the replica of s2 on s1: remove");
    world.settle();
    assert_eq!(replicas(&world), ["s0", "s1"]);
    assert!(world.stores[&id(1)].replicas[&vid(1)].needles.is_empty(), "what was deleted stays so");
}

#[test]
fn a_replica_that_lost_its_epoch_is_told_it() {
    let mut world = World::new(&[2]);
    let replica = world.stores.get_mut(&id(1)).unwrap().replicas.get_mut(&vid(1)).unwrap();
    (replica.condition, replica.epoch) = (Condition::Failed, 0);
    assert_eq!(step(&mut world), "settle the epoch: fence");
    assert_eq!(job(&mut world), None, "one that failed for another reason is waited for");
}
