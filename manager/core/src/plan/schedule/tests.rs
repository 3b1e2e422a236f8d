//! Single placements and their explanations, word for word.

use std::sync::Arc;

use expect_test::{Expect, expect};
use muster_proto::{
    id::{NodeId, TaskId},
    node::{Availability, EngineHealth, Node, NodeState},
    placement::{Comparison, Constraint, NodeField, SpreadOver},
    resources::Resources,
    restart::RestartRecord,
    service::Service,
    task::{Slot, Task, TaskStatus, Template},
    task_state::{DesiredState, TaskState},
    waiting::Refusal,
};

use super::{
    Placer, Start, eligible, fixture,
    service_use::{FAILURES_MANY, FAILURES_WINDOW},
};
use crate::{effect::NewTask, liveness::Liveness, plan::draft::Draft, state::State};

fn service(change: impl FnOnce(&mut Template)) -> Service {
    let mut service = fixture::service(1);
    change(Arc::make_mut(&mut service.template));
    service
}

fn place((state, liveness): &(State, Liveness), service: &Service, slot: u32) -> String {
    let placed = Placer::new(state, liveness, fixture::NOW).decide(
        service,
        &service.template,
        Slot::Number(slot),
        Start::AtOnce,
    );
    placed.map_or_else(|waiting| waiting.to_string(), |node| format!("node {}", node.bits()))
}

fn check(cluster: &(State, Liveness), service: &Service, expected: Expect) {
    expected.assert_eq(&place(cluster, service, 1));
}

fn leaving(mut task: Task) -> Task {
    task.desired = DesiredState::Shutdown;
    task
}

fn failed(mut task: Task, ago: std::time::Duration) -> Task {
    let at = muster_proto::time::Timestamp::from_millis(fixture::NOW.millis() - ago.as_millis() as u64);
    task.status = TaskStatus::new(TaskState::Failed, at, "failed");
    task
}

#[test]
fn each_refusal_is_counted_most_first() {
    let mut nodes: Vec<Node> = (1..=9).map(fixture::node).collect();
    nodes[2].spec.availability = Availability::Pause;
    nodes[3].spec.availability = Availability::Drain;
    nodes[4].description.as_mut().expect("described").engine_health = EngineHealth::Unavailable("no socket".into());
    for (place, cores) in [(5, 1), (6, 2), (7, 1)] {
        nodes[place].description.as_mut().expect("described").resources.nano_cpus = cores * 500_000_000;
    }
    nodes[8].spec.labels.insert("zone".into(), "b".into());
    let mut cluster = fixture::cluster(nodes, []);
    fixture::see(&mut cluster.1, NodeId::from_bits(1), NodeState::Down);
    fixture::see(&mut cluster.1, NodeId::from_bits(2), NodeState::Unknown);
    let service = service(|template| {
        template.spec.resources.reservations.nano_cpus = 1_500_000_000;
        let field = NodeField::Label("zone".into());
        let constraint = Constraint { field, comparison: Comparison::NotEqual, value: "b".into() };
        template.spec.placement.constraints.push(constraint);
    });
    check(
        &cluster,
        &service,
        expect![
            "no suitable node among 9 nodes: 3 1.5 cpu asked, at most 1 free; 1 down; 1 not heard from yet; 1 paused; 1 drained; 1 engine unavailable: no socket; 1 constraint node.labels.zone!=b not met"
        ],
    );
}

#[test]
fn a_cluster_whose_nodes_never_had_a_session_has_no_nodes() {
    let mut node = fixture::node(1);
    node.description = None;
    check(&fixture::cluster([node], []), &service(|_| ()), expect!["no node has joined with a working agent"]);
    check(&fixture::cluster([], []), &service(|_| ()), expect!["no node has joined with a working agent"]);
}

#[test]
fn what_other_tasks_reserve_is_not_free() {
    let big = service(|template| template.spec.resources.reservations.memory_bytes = 3 << 30);
    let nodes = || [fixture::node(1), fixture::node(2)];
    let running = |number: u32| fixture::task(number.into(), &big, number, &fixture::node(number.into()));
    check(&fixture::cluster(nodes(), [running(1)]), &big, expect!["node 2"]);
    let full = fixture::cluster(nodes(), [running(1), running(2)]);
    expect!["no suitable node among 2 nodes: 2 3GiB memory asked, at most 1GiB free"].assert_eq(&place(&full, &big, 3));
}

#[test]
fn a_stopping_predecessor_that_holds_the_port_is_named_as_such() {
    let web = service(|template| template.host_ports.push(fixture::host_port(80)));
    let here = fixture::node(1);
    let own = leaving(fixture::task(1, &web, 1, &here));
    check(&fixture::cluster([here.clone()], [own.clone()]), &web, expect!["the slot's previous task has not stopped"]);

    let mut other = fixture::task(2, &web, 2, &here);
    other.template = Arc::clone(&web.template);
    check(
        &fixture::cluster([here.clone()], [own.clone(), other]),
        &web,
        expect!["no suitable node among 1 node: 1 host port 80 in use"],
    );
    check(&fixture::cluster([here, fixture::node(2)], [own]), &web, expect!["node 2"]);
}

#[test]
fn a_slots_own_task_does_not_use_up_the_limit_of_replicas() {
    let one_each = service(|template| template.spec.placement.max_replicas_per_node = Some(1));
    let cluster = fixture::cluster([fixture::node(1)], [fixture::task(1, &one_each, 1, &fixture::node(1))]);
    assert_eq!(place(&cluster, &one_each, 1), "node 1", "start-first on one node");
    assert_eq!(place(&cluster, &one_each, 2), "no suitable node among 1 node: 1 at its limit of 1 replicas per node");
}

#[test]
fn replacing_every_slot_start_first_keeps_the_spread() {
    let service = service(|_| ());
    let nodes: Vec<Node> = (1..=3).map(fixture::node).collect();
    let old: Vec<Task> = (1..=3).map(|n| fixture::task(n, &service, n as u32, &nodes[n as usize - 1])).collect();
    let (state, liveness) = fixture::cluster(nodes.clone(), old.clone());
    let mut placer = Placer::new(&state, &liveness, fixture::NOW);
    let mut chosen = Vec::new();
    for slot in 1..=3u32 {
        let node =
            placer.decide(&service, &service.template, Slot::Number(slot), Start::AtOnce).expect("every node takes it");
        let new = fixture::task(u128::from(slot) + 10, &service, slot, &fixture::node(node.bits()));
        placer.note(new.id, Some(&new));
        placer.note(old[slot as usize - 1].id, Some(&leaving(old[slot as usize - 1].clone())));
        chosen.push(node.bits());
    }
    chosen.sort_unstable();
    assert_eq!(chosen, [1, 2, 3]);
}

#[test]
fn preferences_come_in_order_and_tasks_on_refused_nodes_count_in_their_branch() {
    let service = service(|template| {
        let over = |key: &str| SpreadOver(NodeField::Label(key.into()));
        template.spec.placement.preferences = vec![over("zone"), over("rack")];
    });
    let node = |number, zone: &str, rack: &str| {
        let mut node = fixture::node(number);
        node.spec.labels.extend([("zone".into(), zone.into()), ("rack".into(), rack.into())]);
        node
    };
    let mut paused = node(1, "a", "1");
    paused.spec.availability = Availability::Pause;
    let nodes = [paused.clone(), node(2, "a", "2"), node(3, "b", "1"), node(4, "b", "2")];
    let mut tasks = vec![fixture::task(1, &service, 11, &paused)];
    assert_eq!(place(&fixture::cluster(nodes.clone(), tasks.clone()), &service, 1), "node 3");
    tasks.push(fixture::task(2, &service, 12, &nodes[2]));
    tasks.push(fixture::task(3, &service, 13, &paused));
    assert_eq!(place(&fixture::cluster(nodes, tasks), &service, 1), "node 4");
}

#[test]
fn a_node_where_the_template_keeps_failing_comes_last_for_a_while() {
    let service = service(|_| ());
    let nodes = [fixture::node(1), fixture::node(2)];
    let cluster = |failures: u32, ago| {
        let failures = (1..=failures).map(|n| failed(fixture::task(n.into(), &service, 1, &nodes[0]), ago));
        let running = fixture::task(99, &service, 2, &nodes[1]);
        fixture::cluster(nodes.clone(), failures.chain([running]))
    };
    let lately = std::time::Duration::from_secs(1);
    assert_eq!(place(&cluster(FAILURES_MANY - 1, lately), &service, 1), "node 1");
    assert_eq!(place(&cluster(FAILURES_MANY, lately), &service, 1), "node 2");
    assert_eq!(place(&cluster(FAILURES_MANY, FAILURES_WINDOW), &service, 1), "node 1");
    let mut changed = service.clone();
    Arc::make_mut(&mut changed.template).spec.force_update = 1;
    assert_eq!(place(&cluster(FAILURES_MANY, lately), &changed, 1), "node 1", "another template");
}

#[test]
fn among_equals_the_least_loaded_then_the_freest_node_wins() {
    let service = service(|_| ());
    let other = fixture::service(2);
    let busy = fixture::task(1, &other, 1, &fixture::node(1));
    let mut large = fixture::node(3);
    large.description.as_mut().expect("described").resources = Resources { nano_cpus: 1, memory_bytes: 8 << 30 };
    let cluster = fixture::cluster([fixture::node(1), fixture::node(2), large], [busy]);
    assert_eq!(place(&cluster, &service, 1), "node 3");
}

#[test]
fn what_the_draft_placed_is_counted_at_once() {
    let web = service(|template| template.host_ports.push(fixture::host_port(80)));
    let (mut state, liveness) = fixture::cluster([fixture::node(1), fixture::node(2)], []);
    state.services.insert(web.id, web.clone().into());
    let mut draft = Draft::new(&state, fixture::NOW);
    let mut placer = Placer::new(&state, &liveness, fixture::NOW);
    let mut placed = Vec::new();
    for number in 1..=3u32 {
        let (id, slot) = (TaskId::from_bits(number.into()), Slot::Number(number));
        draft.create(&NewTask {
            id,
            service_id: web.id,
            slot,
            template_version: web.template_version,
            desired: DesiredState::Running,
            start_after: None,
            restarts: RestartRecord::default(),
        });
        let placement = placer.place(&draft, &web, &web.template, slot, Start::AtOnce);
        placed.push(placement.as_ref().map_or_else(ToString::to_string, |node| format!("node {}", node.bits())));
        draft.place(id, placement);
    }
    assert_eq!(placed, ["node 1", "node 2", "no suitable node among 2 nodes: 2 host port 80 in use"]);
}

#[test]
fn a_global_slot_has_one_node_only() {
    let web = service(|template| template.host_ports.push(fixture::host_port(80)));
    let (one, two) = (fixture::node(1), fixture::node(2));
    let (state, liveness) = fixture::cluster([one.clone(), two.clone()], [fixture::task(1, &web, 1, &one)]);
    let mut placer = Placer::new(&state, &liveness, fixture::NOW);
    let mut placed =
        |node: NodeId| placer.decide(&web, &web.template, Slot::Node(node), Start::AtOnce).map_err(|w| w.to_string());
    assert_eq!(placed(two.id), Ok(two.id));
    expect!["no suitable node among 1 node: 1 host port 80 in use"]
        .assert_eq(&placed(one.id).expect_err("the port is held"));
}

#[test]
fn a_host_port_of_the_slots_own_task_is_free_for_who_starts_after_it() {
    let web = service(|template| template.host_ports.push(fixture::host_port(80)));
    let one = fixture::node(1);
    let (state, liveness) = fixture::cluster([one.clone()], [fixture::task(1, &web, 1, &one)]);
    let mut placer = Placer::new(&state, &liveness, fixture::NOW);
    let mut placed = |slot, start| placer.decide(&web, &web.template, Slot::Number(slot), start).ok();
    assert_eq!(placed(1, Start::AfterPredecessor), Some(one.id));
    assert_eq!(placed(1, Start::AtOnce), None);
    assert_eq!(placed(2, Start::AfterPredecessor), None, "it is another slot's");
    assert_eq!(placed(1, Start::AfterPredecessor), Some(one.id));
}

#[test]
fn a_node_without_room_is_eligible_and_one_that_fails_a_constraint_is_not() {
    let mut greedy = service(|template| template.spec.resources.reservations.nano_cpus = u64::MAX);
    let (mut node, mut liveness) = (fixture::node(1), Liveness::default());
    assert_eq!(eligible(&liveness, &greedy, &node), Err(Refusal::NodeUnknown));
    fixture::see(&mut liveness, node.id, NodeState::Ready);
    assert_eq!(eligible(&liveness, &greedy, &node), Ok(()));
    node.spec.availability = Availability::Drain;
    assert_eq!(eligible(&liveness, &greedy, &node), Err(Refusal::NodeDrained));
    fixture::see(&mut liveness, node.id, NodeState::Down);
    assert_eq!(eligible(&liveness, &greedy, &node), Err(Refusal::NodeDrained), "down, and drained all the same");
    node.spec.availability = Availability::Active;
    let elsewhere = Constraint { field: NodeField::Id, comparison: Comparison::NotEqual, value: node.id.to_string() };
    Arc::make_mut(&mut greedy.template).spec.placement.constraints.push(elsewhere.clone());
    assert_eq!(eligible(&liveness, &greedy, &node), Err(Refusal::Constraint(elsewhere)));
}
