//! What holds of every sequence of placements, checked on random clusters against the plainest possible counting.

use std::{collections::BTreeMap, sync::Arc};

use muster_proto::{
    id::{NodeId, TaskId},
    node::{Availability, Node, NodeState},
    placement::{Comparison, Constraint, NodeField, SpreadOver},
    resources::Resources,
    service::Service,
    task::{Slot, Task, TaskStatus},
    task_state::{DesiredState, TaskState},
    waiting::WaitingOn,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Placer, Start, fixture};
use crate::{liveness::Liveness, state::State};

#[derive(Clone, Debug)]
enum Step {
    /// One more task, in a slot that may be filled already.
    Place {
        service: Index,
        slot: u32,
    },
    /// A task is told to stop, and still holds what it has.
    Retire(Index),
    End(Index),
}

fn nodes() -> impl Strategy<Value = Vec<(Node, NodeState)>> {
    let state = prop_oneof![6 => Just(NodeState::Ready), 1 => Just(NodeState::Down), 1 => Just(NodeState::Unknown)];
    let availability =
        prop_oneof![6 => Just(Availability::Active), 1 => Just(Availability::Pause), 1 => Just(Availability::Drain)];
    let zone = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    vec((state, availability, zone, 0..5u64), 1..7).prop_map(|drawn| {
        let node = |(number, (state, availability, zone, cores)): (u128, (_, _, Option<&str>, u64))| {
            let mut node = fixture::node(number);
            node.spec.availability = availability;
            node.spec.labels.extend(zone.map(|zone| ("zone".to_owned(), zone.to_owned())));
            let description = node.description.as_mut().expect("the fixture describes its nodes");
            description.resources = Resources { nano_cpus: cores, memory_bytes: cores * 10 };
            (node, state)
        };
        (1..).zip(drawn).map(node).collect()
    })
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    let one = (0..3u64, prop::option::of(80..82u16), prop::option::of(1..3u32), any::<bool>(), any::<bool>());
    vec(one, 1..4).prop_map(|drawn| {
        let service = |(number, (cores, port, max, zoned, spread)): (u128, (u64, Option<u16>, _, _, _))| {
            let mut service = fixture::service(number);
            let template = Arc::make_mut(&mut service.template);
            template.spec.resources.reservations = Resources { nano_cpus: cores, memory_bytes: cores * 7 };
            template.host_ports = port.map(fixture::host_port).into_iter().collect();
            template.spec.placement.max_replicas_per_node = max;
            let zone = NodeField::Label("zone".into());
            if zoned {
                let constraint =
                    Constraint { field: zone.clone(), comparison: Comparison::NotEqual, value: "b".into() };
                template.spec.placement.constraints.push(constraint);
            }
            if spread {
                template.spec.placement.preferences.push(SpreadOver(zone));
            }
            service
        };
        (1..).zip(drawn).map(service).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<Index>(), 1..6u32).prop_map(|(service, slot)| Step::Place { service, slot }),
        1 => any::<Index>().prop_map(Step::Retire),
        1 => any::<Index>().prop_map(Step::End),
    ];
    vec(step, 1..40)
}

fn cluster(nodes: &[(Node, NodeState)], tasks: impl IntoIterator<Item = Task>) -> (State, Liveness) {
    let (state, mut liveness) = fixture::cluster(nodes.iter().map(|(node, _)| node.clone()), tasks);
    for (node, alive) in nodes {
        fixture::see(&mut liveness, node.id, *alive);
    }
    (state, liveness)
}

/// No node holds more than it has, no port twice, no more replicas than allowed; nothing sits where it may not.
fn assert_within_bounds(nodes: &[(Node, NodeState)], tasks: &BTreeMap<TaskId, Task>) {
    for (node, alive) in nodes {
        let here: Vec<&Task> =
            tasks.values().filter(|task| task.node_id == Some(node.id) && task.holds_resources()).collect();
        let reserved: u64 = here.iter().map(|task| task.template.spec.resources.reservations.nano_cpus).sum();
        let total = node.description.as_ref().expect("the fixture describes its nodes").resources.nano_cpus;
        assert!(reserved <= total, "{reserved} of {total} cpus reserved");

        let mut ports: Vec<u16> = here.iter().flat_map(|t| &t.template.host_ports).map(|p| p.published).collect();
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] != pair[1]), "one port twice: {ports:?}");

        for task in here.iter().filter(|task| task.is_active()) {
            let mut slots: Vec<Slot> = here
                .iter()
                .filter(|other| other.is_active() && other.service_id == task.service_id)
                .map(|other| other.slot)
                .collect();
            slots.sort_unstable();
            slots.dedup();
            let max = task.template.spec.placement.max_replicas_per_node;
            assert!(max.is_none_or(|max| slots.len() <= max as usize), "{slots:?} where {max:?} may be");
        }
        let zone_b = node.spec.labels.get("zone").is_some_and(|zone| zone == "b");
        for task in here {
            assert_eq!(*alive, NodeState::Ready);
            assert_eq!(node.spec.availability, Availability::Active);
            assert!(!zone_b || task.template.spec.placement.constraints.is_empty());
        }
    }
}

proptest! {
    /// A placer that followed the plan so far decides as one that starts from the state the plan would lead to.
    #[test]
    fn following_a_plan_and_starting_anew_agree(nodes in nodes(), services in services(), steps in steps()) {
        let (state, liveness) = cluster(&nodes, []);
        let mut placer = Placer::new(&state, &liveness, fixture::NOW);
        let mut tasks: BTreeMap<TaskId, Task> = BTreeMap::new();
        for (number, step) in (1..).zip(steps) {
            let changed = match step {
                Step::Place { service, slot } => {
                    let service = service.get(&services);
                    let (later, _) = cluster(&nodes, tasks.values().cloned());
                    let anew = Placer::new(&later, &liveness, fixture::NOW)
                        .decide(service, &service.template, Slot::Number(slot), Start::AtOnce);
                    let placed = placer.decide(service, &service.template, Slot::Number(slot), Start::AtOnce);
                    prop_assert_eq!(&placed, &anew);
                    placed.ok().map(|node| fixture::task(number, service, slot, &fixture::node(node.bits())))
                }
                Step::Retire(which) => one_of(&tasks, which).map(|mut task| {
                    task.desired = DesiredState::Shutdown;
                    task
                }),
                Step::End(which) => one_of(&tasks, which).map(|mut task| {
                    task.status = TaskStatus::new(TaskState::Complete, fixture::NOW, "ended");
                    task
                }),
            };
            if let Some(task) = changed {
                placer.note(task.id, Some(&task));
                tasks.insert(task.id, task);
            }
            assert_within_bounds(&nodes, &tasks);
        }
    }

    #[test]
    fn a_refusal_counts_every_node_once(nodes in nodes(), services in services()) {
        let (state, liveness) = cluster(&nodes, []);
        let service = &services[0];
        let placed = Placer::new(&state, &liveness, fixture::NOW).decide(service, &service.template, Slot::Number(1), Start::AtOnce);
        if let Err(WaitingOn::NoSuitableNode { nodes: all, refusals }) = placed {
            prop_assert_eq!(all as usize, nodes.len());
            prop_assert_eq!(refusals.iter().map(|(count, _)| *count).sum::<u32>(), all);
        }
    }

    #[test]
    fn the_order_of_notes_decides_nothing(
        order in Just((1..12u128).collect::<Vec<_>>()).prop_shuffle(),
        on in vec(1..5u128, 11),
    ) {
        let (state, liveness) = fixture::cluster((1..5).map(fixture::node), []);
        let service = fixture::service(1);
        let placed = |order: &[u128]| {
            let mut placer = Placer::new(&state, &liveness, fixture::NOW);
            for number in order {
                let node = fixture::node(on[(*number - 1) as usize]);
                placer.note(TaskId::from_bits(*number), Some(&fixture::task(*number, &service, *number as u32, &node)));
            }
            placer.decide(&service, &service.template, Slot::Number(99), Start::AtOnce)
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(placed(&order), placed(&sorted));
    }

    #[test]
    fn equal_nodes_and_equal_zones_differ_by_one_task_at_most(nodes in 1..9u128, zones in 1..4u128, replicas in 0..30u32) {
        let nodes: Vec<Node> = (1..=nodes * zones).map(|number| {
            let mut node = fixture::node(number);
            node.spec.labels.insert("zone".into(), (number % zones).to_string());
            node
        }).collect();
        let (state, liveness) = fixture::cluster(nodes.clone(), []);
        let mut service = fixture::service(1);
        let preference = SpreadOver(NodeField::Label("zone".into()));
        Arc::make_mut(&mut service.template).spec.placement.preferences.push(preference);
        let mut placer = Placer::new(&state, &liveness, fixture::NOW);
        let mut per_node: BTreeMap<NodeId, u32> = nodes.iter().map(|node| (node.id, 0)).collect();
        for slot in 1..=replicas {
            let id = placer.decide(&service, &service.template, Slot::Number(slot), Start::AtOnce).expect("every node takes it");
            let task = fixture::task(slot.into(), &service, slot, &fixture::node(id.bits()));
            placer.note(task.id, Some(&task));
            *per_node.entry(id).or_default() += 1;
        }
        let mut per_zone: BTreeMap<u128, u32> = BTreeMap::new();
        for (node, count) in &per_node {
            *per_zone.entry(node.bits() % zones).or_default() += count;
        }
        prop_assert!(difference(per_node.values()) <= 1, "{per_node:?}");
        prop_assert!(difference(per_zone.values()) <= 1, "{per_zone:?}");
    }
}

fn one_of(tasks: &BTreeMap<TaskId, Task>, which: Index) -> Option<Task> {
    (!tasks.is_empty()).then(|| which.get(&tasks.values().collect::<Vec<_>>()).to_owned().clone())
}

fn difference<'a>(counts: impl Iterator<Item = &'a u32> + Clone) -> u32 {
    counts.clone().max().unwrap_or(&0) - counts.min().unwrap_or(&0)
}
