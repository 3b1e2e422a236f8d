//! What holds of rebalances: they come to rest, never have less ready than before, keep to their budget and to what nodes
//! have, and what they plan they do.

use std::{collections::BTreeMap, time::Duration};

use muster_core::{
    command::{Command, Outcome},
    plan::rebalance::{self, Held, Rebalance},
};
use muster_proto::{
    cluster::ClusterSpec,
    id::{NodeId, ServiceId},
    node::{Availability, NodeState},
    resources::NANO_CPUS_PER_CORE,
    task_state::TaskState,
    time::Timestamp,
};
use proptest::prelude::*;

use crate::{
    properties::{config, serves, world},
    scenario::update_node,
    spec,
    world::{World, node_id},
};

/// Cores of each node, as [`World`] makes them.
const CORES: u64 = 4;
/// Far more than the moves that there can be.
const REBALANCES_MAX: usize = 200;

fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just("replicas=1"),
        2 => Just("replicas=4"),
        1 => Just("replicas=9"),
        1 => Just("image=slow"),
        1 => Just("parallelism=2"),
        1 => Just("parallelism=0"),
        1 => Just("reserve-cpu=1"),
        1 => Just("reserve-cpu=2"),
        1 => Just("constraint=zone:a"),
        1 => Just("spread=zone"),
        1 => Just("max-per-node=2"),
        1 => Just("volume=data"),
        1 => Just("order=stop-first"),
    ]
}

fn services() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    prop::collection::vec(prop::collection::vec(word(), 0..4), 1..8)
}

/// All services on the nodes of `at_first`, and then the others take tasks as well.
fn crowded(services: &[Vec<&'static str>], at_first: u8) -> World {
    let mut world = world(4);
    for number in 1..=4 {
        let set_availability = |availability| {
            move |spec: &mut muster_proto::node::NodeSpec| {
                spec.availability = availability;
                let zone = if number % 2 == 0 { "a" } else { "b" };
                spec.labels.insert("zone".to_owned(), zone.to_owned());
            }
        };
        let is_first = at_first & (1 << (number - 1)) != 0;
        let availability = if is_first { Availability::Active } else { Availability::Pause };
        assert_eq!(update_node(&mut world, node_id(number), set_availability(availability)), None);
    }
    for words in services {
        let id = world.next_service_id();
        let mut spec = spec::base(&format!("s{}", id.bits()));
        words.iter().for_each(|word| spec::set(&mut spec, word));
        world.commit(Command::CreateService { id, spec: Box::new(spec) });
    }
    run(&mut world, 10_000);
    for number in 1..=4 {
        let active = |spec: &mut muster_proto::node::NodeSpec| spec.availability = Availability::Active;
        assert_eq!(update_node(&mut world, node_id(number), active), None);
    }
    run(&mut world, 10_000);
    world
}

fn run(world: &mut World, millis: u64) {
    let end = world.now + Duration::from_millis(millis);
    world.run_until(end);
}

fn ready(world: &World) -> BTreeMap<ServiceId, usize> {
    let mut ready = BTreeMap::new();
    for task in world.state.tasks().filter(|task| serves(world, task)) {
        *ready.entry(task.service_id).or_default() += 1;
    }
    ready
}

fn nothing_is_overbooked(world: &World) {
    let mut reserved: BTreeMap<NodeId, u64> = BTreeMap::new();
    for task in world.state.tasks().filter(|task| task.holds_resources()) {
        let node = task.node_id.expect("it holds resources there");
        *reserved.entry(node).or_default() += task.template.spec.resources.reservations.nano_cpus;
    }
    assert!(reserved.values().all(|cpus| *cpus <= CORES * NANO_CPUS_PER_CORE), "{reserved:?}");
}

/// The sums of squares that a rebalance makes smaller: for each service without preferences, and over all.
fn imbalance(world: &World) -> (BTreeMap<ServiceId, usize>, usize) {
    let mut all: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut each: BTreeMap<(ServiceId, NodeId), usize> = BTreeMap::new();
    for task in world.state.tasks().filter(|task| task.is_active() && task.status.state == TaskState::Running) {
        let node = task.node_id.expect("it runs there");
        *all.entry(node).or_default() += 1;
        *each.entry((task.service_id, node)).or_default() += 1;
    }
    let mut services = BTreeMap::new();
    for ((service, _), count) in each {
        *services.entry(service).or_default() += count * count;
    }
    (services, all.values().map(|count| count * count).sum())
}

/// It hears of the nodes one after the other: of the second task's first, where both would go in turn.
#[test]
fn a_new_leader_that_hears_of_one_node_first_comes_to_rest() {
    let mut world = crowded(&[vec!["replicas=4"]], 1);
    let plan = world.rebalance(2);
    assert_eq!(plan.moves.len(), 2);
    world.move_tasks(&plan);
    world.new_leader();
    run(&mut world, 10_000);
    assert_eq!(ready(&world).values().sum::<usize>(), 4);
    assert!(world.rebalance(2).moves.len() < 2, "the first two have moved");
}

/// What the leader moves by itself, when a node came or went at `changed` for the last time.
fn automatic(world: &World, changed: Timestamp) -> Rebalance {
    rebalance::automatic(&world.state, world.liveness(), world.now, changed)
}

#[test]
fn what_moves_by_itself_says_why_it_holds() {
    let mut world = crowded(&[vec!["replicas=4"], vec!["constraint=zone:nowhere"]], 1);
    let long_ago = world.now;
    run(&mut world, 10_000);
    assert_eq!(automatic(&world, long_ago), Rebalance::default(), "nobody asked for it");
    let cluster = world.state.cluster().expect("a cluster").clone();
    let spec = Box::new(ClusterSpec { auto_rebalance: true, ..cluster.spec });
    world.commit(Command::UpdateCluster { version: cluster.version, spec });

    let until = world.now + Duration::from_secs(10);
    assert_eq!(automatic(&world, world.now).held, Some(Held::Quiet { until }));
    let plan = automatic(&world, long_ago);
    assert!(!plan.moves.is_empty(), "a task of another service that no node takes is no reason: {plan:?}");
    world.move_tasks(&plan);
    assert_eq!(automatic(&world, long_ago).held, Some(Held::Moving));
    run(&mut world, 10_000);
    world.set_liveness(node_id(4), NodeState::Down);
    assert_eq!(automatic(&world, long_ago).held, Some(Held::NodesAway([node_id(4)].into())));
}

fn rest(services: &[Vec<&'static str>], at_first: u8, most: usize, leader: Option<u64>) -> Result<(), TestCaseError> {
    let mut world = crowded(services, at_first);
    let has_preferences = services.iter().flatten().any(|word| *word == "spread=zone");
    let mut rested = false;
    for _ in 0..REBALANCES_MAX {
        let plan = world.rebalance(most);
        prop_assert!(plan.held.is_none() && plan.moves.len() <= most, "{:?}", plan);
        if plan.moves.is_empty() {
            rested = true;
            break;
        }
        let before = (ready(&world), imbalance(&world));
        let outcome = world.move_tasks(&plan);
        prop_assert!(matches!(outcome, Outcome::Done { .. }), "{:?}", outcome);
        for step in 0..20 {
            if leader == Some(step) {
                world.new_leader();
            }
            run(&mut world, 900);
            nothing_is_overbooked(&world);
            let now = ready(&world);
            for (service, count) in &before.0 {
                prop_assert!(now.get(service) >= Some(count), "{} had {} ready", service, count);
            }
            world.check();
        }
        let is_left = world.state.tasks().any(|task| task.is_active() && task.moves_to.is_some());
        prop_assert!(!is_left, "a move neither ends nor is given up");
        for one in &plan.moves {
            let there = world.state.tasks_of_slot(one.service, one.slot).filter(|task| serves(&world, task));
            let there: Vec<NodeId> = there.filter_map(|task| task.node_id).collect();
            prop_assert_eq!(there, vec![one.to], "what is planned is done");
        }
        let after = imbalance(&world);
        // A task that waited for room may run where another left: then there is more to spread.
        let counts_are_equal = ready(&world) == before.0;
        prop_assert!(has_preferences || !counts_are_equal || after < before.1, "{:?} became {:?}", before.1, after);
    }
    prop_assert!(rested, "rebalances go on for ever");
    Ok(())
}

/// A task of the third service finds no node until one of the second makes room.
#[test]
fn a_task_that_waits_for_room_takes_what_a_move_leaves() {
    let services = [vec![], vec!["reserve-cpu=1"], vec!["constraint=zone:a", "replicas=4", "reserve-cpu=2"]];
    rest(&services, 7, 1, None).unwrap();
}

proptest! {
    #![proptest_config(config(24))]

    /// Planted: moves that make nothing better (caught by the first history), that look at a node's load alone (after 78), that
    /// stop their task first (by the first).
    #[test]
    fn rebalances_come_to_rest_and_take_nothing_away(
        services in services(), at_first in 1..15u8, most in 1..6usize, leader in prop::option::of(0..10u64),
    ) {
        rest(&services, at_first, most, leader)?;
    }
}
