//! Random histories of a cluster, each of which must end well.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Put(usize),
    Delete(usize),
    Deliver(usize),
    /// Plans, and takes some of the steps.
    Steps(usize, usize),
    /// Another leads, and remembers nothing.
    NewLeader,
    Down(usize),
    Lost(usize),
    Up(usize),
    /// Only while all is well: it comes back empty, or never.
    Wipe(usize),
    Gone(usize),
    Damage(usize),
    Garbage(usize),
    /// All that a store has is to be scrubbed.
    Due(usize),
    /// A store begins to scrub, or is through.
    Scrub(usize),
    /// Holds of scrubs come to their end.
    Lapse,
    Order(&'static str),
    /// An operator takes all orders back.
    TakeBack,
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let number = 0..STORES * 4;
    let orders = prop::sample::select(vec![
        "drain:s1",
        "move:1:s0:s4",
        "move:2:s1:s5",
        "copy:1:s5",
        "repair:2",
        "rebalance",
    ]);
    prop_oneof![
        4 => number.clone().prop_map(Put),
        2 => number.clone().prop_map(Delete),
        12 => number.clone().prop_map(Deliver),
        12 => (number.clone(), 1..4_usize).prop_map(|(at, count)| Steps(at, count)),
        2 => Just(NewLeader),
        2 => number.clone().prop_map(Down),
        3 => number.clone().prop_map(Lost),
        3 => number.clone().prop_map(Up),
        1 => number.clone().prop_map(Wipe),
        1 => number.clone().prop_map(Gone),
        1 => number.clone().prop_map(Damage),
        2 => number.clone().prop_map(Garbage),
        1 => number.clone().prop_map(Due),
        4 => number.clone().prop_map(Scrub),
        1 => Just(Lapse),
        2 => orders.prop_map(Order),
        1 => Just(TakeBack),
    ]
}

/// Lets a history happen; answers which store is gone for good.
fn live(world: &mut World, events: &[Event]) -> Option<usize> {
    let mut gone = None;
    for event in events {
        match *event {
            Event::Put(number) => world.begin(number, false),
            Event::Delete(number) => world.begin(number, true),
            Event::Deliver(number) => world.deliver(number),
            Event::Steps(from, count) => {
                let plan = world.plan();
                let from = from % plan.jobs.len().max(1);
                for job in plan.jobs.iter().skip(from).take(count) {
                    world.take(job);
                }
            }
            Event::NewLeader => world.hints = Hints::default(),
            Event::Down(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                (store.is_up, store.reading) = (false, None);
                // A store forgets holds when it is started again.
                store.replicas.values_mut().for_each(|replica| replica.is_held = false);
            }
            Event::Lost(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.is_lost = !store.is_up;
            }
            Event::Up(store) if gone != Some(store % STORES) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                (store.is_up, store.is_lost) = (true, false);
            }
            Event::Wipe(store) | Event::Gone(store) => {
                let number = store % STORES;
                let needed = world.holds_a_lone_replica(&id(number));
                if needed || gone.is_some() || !world.is_well() {
                    continue;
                }
                let store = world.stores.get_mut(&id(number)).unwrap();
                store.reading = None;
                if matches!(event, Event::Wipe(_)) {
                    store.replicas.clear();
                } else {
                    (store.is_up, store.is_lost, gone) = (false, true, Some(number));
                }
            }
            Event::Damage(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.replicas.values_mut().for_each(|replica| replica.damaged = true);
            }
            Event::Garbage(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.replicas.values_mut().for_each(|replica| replica.garbage_bytes = 500);
            }
            Event::Due(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.replicas.values_mut().for_each(|replica| replica.is_due = true);
            }
            Event::Scrub(store) => world.scrub(&id(store % STORES)),
            Event::Lapse => world.lapse(),
            Event::Order(order) => world.order(order),
            Event::TakeBack => world.map.orders.clear(),
            Event::Up(_) => {}
        }
        world.assert_nothing_is_lost();
    }
    gone
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_the_plan_ends_with_full_replication(
        events in prop::collection::vec(event(), 1..120),
        copies in prop::collection::vec(1..4_usize, 1..4),
        per_machine in 1..3_usize,
    ) {
        let mut world = World::new(&copies);
        for (number, known) in world.map.stores.values_mut().enumerate() {
            known.host = format!("m{}", number / per_machine).parse().unwrap();
        }
        let gone = live(&mut world, &events);
        for (number, store) in world.stores.values_mut().enumerate() {
            store.is_up = gone != Some(number);
            store.is_lost = !store.is_up;
        }
        // An operator takes back what can never be.
        let largest = world.map.volumes.values().map(|entry| entry.value.replicas.len()).max();
        let crowded = largest.unwrap() + 1 >= STORES - 1 - usize::from(gone.is_some());
        let impossible = |order: &Order| match order {
            Order::Drain { .. } => crowded,
            Order::Move { to, .. } | Order::Copy { to, .. } => gone.map(id).as_ref() == Some(to),
            _ => false,
        };
        world.map.orders.retain(|_, order| !impossible(order));
        world.settle();
        // What is still on its way arrives, and deletes are tried until they are done.
        for _ in 0..200 {
            world.deliver(0);
        }
        prop_assert!(world.writes.is_empty());
        world.settle();
        world.assert_fully_replicated(gone);
    }
}
