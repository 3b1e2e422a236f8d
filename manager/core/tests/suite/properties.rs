//! What holds through any history: random services, updates, crashes, lost and drained nodes, new leaders, time.
//!
//! `World` itself checks every entry and every plan: states only grow, nothing is forgotten early, what is touched is
//! told, planning comes to rest at once, a plan of what is dirty equals one of everything, nobody sleeps through a time
//! that something hangs on, a written state reads back. What holds across a whole history is in [`crate::promises`].
//! Planted for the hints: an outage whose end concerns nobody, waiting tasks that no node's change concerns. For the
//! sleep: no wake-up times at all, none for the end of an outage's patience.
//!
//! `MUSTER_CASES=2000 cargo test -p muster-core` runs longer; each failure prints the history that led to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_core::{
    command::{Command, Steer},
    state::State,
};
use muster_proto::{
    cluster::ClusterSpec,
    isolation::OnIsolation,
    node::{Availability, EngineHealth, NodeState},
    service::{Mode, Service},
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
};
use proptest::prelude::*;

use crate::{
    agents::Image,
    promises,
    scenario::update_node,
    spec, trace,
    world::{World, node_id},
};

/// A small cluster, and one that is large enough for outages.
const SIZES: [u32; 2] = [4, 11];
/// Numbers of nodes that are there, or may join.
const NODES_MAX: u32 = 12;
const HISTORY_LIMIT: u32 = 2;
/// Images whose tasks become ready and stay up.
const WORKING: [&str; 3] = ["v1", "v2", "slow"];

#[derive(Clone, Debug)]
enum Op {
    Create(Vec<&'static str>),
    Update(usize, Vec<&'static str>),
    Rollback(usize),
    Steer(usize, Steer),
    Remove(usize),
    Node(u32, NodeOp),
    /// At most so many moves.
    Rebalance(usize),
    /// The so-many-th running container ends.
    Crash(usize, i32),
    /// The so-many-th report from the newest on arrives again.
    HearAgain(usize),
    Run(u64),
    /// The leader's clock is set forward by so many milliseconds.
    Step(u64),
    /// Heartbeat and lease in milliseconds.
    Terms(u64, u64),
    NewLeader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeOp {
    Cut,
    Down,
    Join,
    Remove,
    EngineOff,
    EngineOn,
    Up,
    Reboot,
    Drain,
    Pause,
    Active,
    Label,
}

/// Few enough for every build, or as many as the environment asks for.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    // How many cases a run takes is the tester's to say; what a manager decides does not hang on it.
    #[expect(clippy::disallowed_methods)]
    let asked = std::env::var("MUSTER_CASES").ok().map(|cases| cases.parse().expect("a number of cases"));
    ProptestConfig { cases: asked.unwrap_or(cases), ..ProptestConfig::default() }
}

fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("replicas=0"),
        Just("replicas=1"),
        Just("replicas=3"),
        Just("replicas=6"),
        Just("image=v1"),
        Just("image=crashes"),
        Just("image=refused"),
        Just("image=slow"),
        Just("image=never"),
        Just("image=once"),
        Just("image=v2"),
        Just("force"),
        Just("parallelism=1"),
        Just("parallelism=2"),
        Just("parallelism=0"),
        Just("delay=2s"),
        Just("order=start-first"),
        Just("order=stop-first"),
        Just("action=pause"),
        Just("action=continue"),
        Just("action=rollback"),
        Just("rollback-action=continue"),
        Just("ratio=0.4"),
        Just("monitor=1s"),
        Just("canary=1"),
        Just("isolation=stop"),
        Just("deadline=8s"),
        Just("volume=data"),
        Just("host-port=443"),
        Just("port=80:80"),
        Just("port=0:80"),
        Just("restart=none"),
        Just("restart=on-failure"),
        Just("attempts=2"),
        Just("window=10s"),
        Just("restart-delay=0s"),
        Just("reserve-cpu=2"),
        Just("constraint=zone:a"),
        Just("label=x"),
    ]
}

fn words(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(word(), count)
}

fn service_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => words(0..6).prop_map(Op::Create),
        1 => words(0..4).prop_map(|mut words| { words.push("global"); Op::Create(words) }),
        6 => (0..3usize, words(0..3)).prop_map(|(which, words)| Op::Update(which, words)),
        1 => (0..3usize).prop_map(Op::Rollback),
        2 => (0..3usize, prop::sample::select(vec![Steer::Pause, Steer::Resume, Steer::Promote]))
            .prop_map(|(which, steer)| Op::Steer(which, steer)),
        1 => (0..3usize).prop_map(Op::Remove),
    ]
}

fn node_op() -> impl Strategy<Value = Op> {
    let verb = prop_oneof![
        3 => Just(NodeOp::Cut),
        1 => Just(NodeOp::Down),
        4 => Just(NodeOp::Up),
        1 => Just(NodeOp::Join),
        1 => Just(NodeOp::Remove),
        1 => Just(NodeOp::EngineOff),
        1 => Just(NodeOp::EngineOn),
        1 => Just(NodeOp::Reboot),
        1 => Just(NodeOp::Drain),
        1 => Just(NodeOp::Pause),
        2 => Just(NodeOp::Active),
        1 => Just(NodeOp::Label),
    ];
    (1..=NODES_MAX, verb).prop_map(|(node, verb)| Op::Node(node, verb))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => service_op(),
        3 => node_op(),
        1 => (0..8usize, 0..2).prop_map(|(which, code)| Op::Crash(which, code)),
        6 => prop_oneof![Just(0), Just(100), Just(400), Just(1_500), Just(9_000), Just(70_000)].prop_map(Op::Run),
        1 => prop::sample::select(vec![150, 3_000, 60_000]).prop_map(Op::Step),
        1 => prop::sample::select(vec![(1_000, 3_000), (500, 1_000), (2_000, 20_000)])
            .prop_map(|(heartbeat, lease)| Op::Terms(heartbeat, lease)),
        1 => (1..5usize).prop_map(Op::Rebalance),
        1 => (0..12usize).prop_map(Op::HearAgain),
        1 => Just(Op::NewLeader),
    ]
}

fn steady_op() -> impl Strategy<Value = Op> {
    // Down and up again while the first are still on their way out.
    let replicas = prop::sample::select(vec!["replicas=0", "replicas=1", "replicas=3"]);
    prop_oneof![
        4 => service_op(),
        2 => (0..3usize, replicas).prop_map(|(which, replicas)| Op::Update(which, vec![replicas])),
        1 => (0..8usize, 0..2).prop_map(|(which, code)| Op::Crash(which, code)),
        1 => (1..=NODES_MAX, prop_oneof![Just(NodeOp::Drain), Just(NodeOp::Pause), Just(NodeOp::Active)])
            .prop_map(|(node, verb)| Op::Node(node, verb)),
        5 => prop_oneof![Just(0), Just(100), Just(400), Just(1_500), Just(9_000)].prop_map(Op::Run),
        1 => (1..5usize).prop_map(Op::Rebalance),
        1 => (0..12usize).prop_map(Op::HearAgain),
        1 => Just(Op::NewLeader),
    ]
}

/// What begins a hand-over or a rollout, and what comes between its halves.
fn begun_op() -> impl Strategy<Value = Op> {
    let words = prop::sample::select(vec![
        "image=v1",
        "image=v2",
        "image=slow",
        "image=slow",
        "image=never",
        "image=crashes",
        "order=start-first",
        "action=pause",
        "canary=1",
        "delay=2s",
        "parallelism=2",
        "replicas=4",
        "isolation=stop",
        "force",
    ]);
    let verb = prop_oneof![
        3 => Just(NodeOp::Drain),
        3 => Just(NodeOp::Active),
        1 => Just(NodeOp::Cut),
        1 => Just(NodeOp::Up),
        1 => Just(NodeOp::Reboot),
    ];
    let steer = prop::sample::select(vec![Steer::Pause, Steer::Resume, Steer::Promote]);
    prop_oneof![
        3 => (0..2usize, prop::collection::vec(words, 1..3)).prop_map(|(which, words)| Op::Update(which, words)),
        1 => (0..2usize).prop_map(Op::Rollback),
        2 => (0..2usize, steer).prop_map(|(which, steer)| Op::Steer(which, steer)),
        4 => (1..=SIZES[0], verb).prop_map(|(node, verb)| Op::Node(node, verb)),
        1 => (1..5usize).prop_map(Op::Rebalance),
        5 => prop::sample::select(vec![0, 400, 1_500, 4_000, 9_000]).prop_map(Op::Run),
        1 => (0..12usize).prop_map(Op::HearAgain),
        1 => Just(Op::NewLeader),
    ]
}

/// Rollouts and drains of services that all but fill their nodes: where a successor finds room only when another leaves.
fn crowded_op() -> impl Strategy<Value = Op> {
    let words = prop::sample::select(vec![
        "image=v1",
        "image=v2",
        "image=slow",
        "image=never",
        "image=crashes",
        "image=refused",
        "order=start-first",
        "order=stop-first",
        "order=auto",
        "parallelism=1",
        "parallelism=2",
        "action=pause",
        "delay=2s",
        "reserve-cpu=1",
        "reserve-cpu=2",
        "host-port=443",
        "volume=data",
        "force",
    ]);
    let verb = prop_oneof![3 => Just(NodeOp::Drain), 3 => Just(NodeOp::Active), 1 => Just(NodeOp::Pause)];
    prop_oneof![
        4 => (0..2usize, prop::collection::vec(words, 1..3)).prop_map(|(which, words)| Op::Update(which, words)),
        1 => (0..2usize).prop_map(Op::Rollback),
        1 => (0..2usize, prop::sample::select(vec![Steer::Pause, Steer::Resume]))
            .prop_map(|(which, steer)| Op::Steer(which, steer)),
        4 => (1..=SIZES[0], verb).prop_map(|(node, verb)| Op::Node(node, verb)),
        1 => (0..8usize).prop_map(|which| Op::Crash(which, 1)),
        1 => (1..5usize).prop_map(Op::Rebalance),
        6 => prop::sample::select(vec![0, 200, 400, 1_500, 4_000]).prop_map(Op::Run),
        1 => (0..12usize).prop_map(Op::HearAgain),
        1 => Just(Op::NewLeader),
    ]
}

/// What a lease, its end and the grace after it can meet with.
fn cut_op() -> impl Strategy<Value = Op> {
    let verb = prop_oneof![
        4 => Just(NodeOp::Cut),
        4 => Just(NodeOp::Up),
        1 => Just(NodeOp::Down),
        1 => Just(NodeOp::Reboot),
        1 => Just(NodeOp::Remove),
        1 => Just(NodeOp::Join),
        1 => Just(NodeOp::Drain),
        1 => Just(NodeOp::Active),
    ];
    let words = prop::sample::select(vec!["image=v1", "image=v2", "image=slow", "replicas=1", "replicas=3", "force"]);
    prop_oneof![
        6 => (1..=SIZES[0] + 1, verb).prop_map(|(node, verb)| Op::Node(node, verb)),
        2 => (0..2usize, prop::collection::vec(words, 1..3)).prop_map(|(which, words)| Op::Update(which, words)),
        // A lease of 3 s, its end, and the grace.
        8 => prop::sample::select(vec![100, 500, 1_000, 2_900, 3_000, 9_000, 12_000]).prop_map(Op::Run),
        1 => prop::sample::select(vec![150, 3_000, 60_000]).prop_map(Op::Step),
        1 => prop::sample::select(vec![(1_000, 3_000), (500, 1_000), (2_000, 20_000)])
            .prop_map(|(heartbeat, lease)| Op::Terms(heartbeat, lease)),
        1 => (0..12usize).prop_map(Op::HearAgain),
        1 => Just(Op::NewLeader),
    ]
}

pub(crate) fn world(nodes: u32) -> World {
    let spec = ClusterSpec { task_history_limit: HISTORY_LIMIT, ..ClusterSpec::default() };
    let mut world = World::new(spec, nodes);
    let seconds = Duration::from_secs;
    let image = Image::default;
    for (name, image) in [
        ("crashes", Image { exit: Some((seconds(0), 1)), ..image() }),
        ("refused", Image { refused: true, ..image() }),
        ("slow", Image { start: Some(seconds(3)), stop: seconds(2), ..image() }),
        ("never", Image { start: None, stop: seconds(3), ..image() }),
        ("once", Image { exit: Some((seconds(4), 0)), ..image() }),
    ] {
        world.agents.images.insert(name.to_owned(), image);
    }
    world.settle();
    world
}

fn nth_service(world: &World, which: usize) -> Option<Service> {
    let services: Vec<&Service> = world.state.services().collect();
    services.get(which % services.len().max(1)).copied().cloned()
}

fn perform(world: &mut World, op: &Op) {
    match op {
        Op::Create(words) => {
            let id = world.next_service_id();
            let mut spec = spec::base(&format!("s{}", id.bits()));
            words.iter().for_each(|word| spec::set(&mut spec, word));
            world.commit(Command::CreateService { id, spec: Box::new(spec) });
        }
        Op::Update(which, words) => {
            if let Some(service) = nth_service(world, *which) {
                let mut spec = service.spec;
                words.iter().for_each(|word| spec::set(&mut spec, word));
                let spec = Box::new(spec);
                world.commit(Command::UpdateService { id: service.id, version: service.version, spec });
            }
        }
        Op::Rollback(which) => {
            if let Some(service) = nth_service(world, *which) {
                world.commit(Command::RollbackService { id: service.id, version: service.version });
            }
        }
        Op::Steer(which, steer) => {
            if let Some(service) = nth_service(world, *which) {
                world.commit(Command::SteerRollout { id: service.id, version: service.version, steer: *steer });
            }
        }
        Op::Remove(which) => {
            if let Some(service) = nth_service(world, *which) {
                world.commit(Command::RemoveService { id: service.id });
            }
        }
        Op::Node(number, verb) => perform_on_node(world, *number, *verb),
        Op::Crash(which, code) => {
            let running: Vec<_> = world.agents.running().collect();
            if let Some((node, task, _)) = running.get(which % running.len().max(1)) {
                let now = world.now;
                world.agents.crash(*node, *task, *code, now);
            }
        }
        Op::HearAgain(which) => world.hear_again(*which),
        Op::Run(millis) => {
            let end = world.now + Duration::from_millis(*millis);
            world.run_until(end);
        }
        Op::Step(millis) => world.step_clock(Duration::from_millis(*millis)),
        Op::Terms(heartbeat, lease) => {
            let cluster = world.state.cluster().expect("a cluster").clone();
            let (heartbeat, lease) = (Duration::from_millis(*heartbeat), Duration::from_millis(*lease));
            let spec = Box::new(ClusterSpec { heartbeat, lease, ..cluster.spec });
            world.commit(Command::UpdateCluster { version: cluster.version, spec });
        }
        Op::Rebalance(most) => {
            let plan = world.rebalance(*most);
            assert!(plan.moves.len() <= *most, "{plan:?}");
            world.move_tasks(&plan);
        }
        Op::NewLeader => world.new_leader(),
    }
    world.settle();
}

fn perform_on_node(world: &mut World, number: u32, verb: NodeOp) {
    let id = node_id(number);
    if world.state.node(id).is_none() {
        if verb == NodeOp::Join && !world.state.was_removed(id) {
            world.join(number);
            world.introduce(number, 4);
        }
        return;
    }
    match verb {
        NodeOp::Join => {}
        NodeOp::Cut => world.cut(id),
        NodeOp::Remove => {
            world.remove_node(id);
        }
        NodeOp::EngineOff => world.describe(id, EngineHealth::Unavailable("it does not answer".to_owned())),
        NodeOp::EngineOn => world.describe(id, EngineHealth::Ok),
        NodeOp::Down => world.set_liveness(id, NodeState::Down),
        NodeOp::Up => world.reconnect(id),
        NodeOp::Reboot => {
            let now = world.now;
            world.agents.reboot(id, now);
            world.reconnect(id);
        }
        NodeOp::Drain => availability(world, number, Availability::Drain),
        NodeOp::Pause => availability(world, number, Availability::Pause),
        NodeOp::Active => availability(world, number, Availability::Active),
        NodeOp::Label => {
            update_node(world, id, |spec| {
                spec.labels.insert("zone".to_owned(), "a".to_owned());
            });
        }
    }
}

fn availability(world: &mut World, number: u32, availability: Availability) {
    let refused = update_node(world, node_id(number), |spec| spec.availability = availability);
    assert_eq!(refused, None);
}

fn with_short_deadline(op: &Op) -> Op {
    let extended =
        |words: &[&'static str]| words.iter().copied().chain(["deadline=8s", "rollback-deadline=8s"]).collect();
    match op {
        Op::Create(words) => Op::Create(extended(words)),
        Op::Update(which, words) => Op::Update(*which, extended(words)),
        other => other.clone(),
    }
}

pub(crate) fn serves(world: &World, task: &Task) -> bool {
    let up = task.node_id.is_some_and(|node| !world.is_silent(node));
    task.status.state == TaskState::Running && task.desired == DesiredState::Running && up
}

/// Of every replicated service, at rest: no more than asked for. A slot with two is told at once which one stays.
fn no_more_serve_than_wanted(world: &World) {
    for service in world.state.services() {
        let Mode::Replicated { replicas } = service.spec.mode else { continue };
        let tasks = || world.state.tasks_of_service(service.id);
        let count = tasks().filter(|task| serves(world, task)).count();
        assert!(count <= replicas as usize, "{count} of {} serve, {replicas} are wanted", service.spec.name);
        let slots: BTreeSet<Slot> =
            tasks().filter(|task| task.desired <= DesiredState::Running).map(|task| task.slot).collect();
        assert_eq!(slots.len(), replicas as usize, "slots of {}", service.spec.name);
    }
}

/// Planted: what ran last is kept beside the limit; caught after 28 histories.
fn history_is_bounded(world: &World) {
    let mut ended: BTreeMap<_, u32> = BTreeMap::new();
    for task in world.state.tasks() {
        // What a removed node took along may run there for a while, and its row stays for as long.
        let counts = task.status.state.is_final() && task.status.state != TaskState::Orphaned;
        if task.desired == DesiredState::Shutdown && counts {
            *ended.entry((task.service_id, task.slot)).or_default() += 1;
        }
    }
    assert!(ended.values().all(|count| *count <= HISTORY_LIMIT), "{ended:?}");
}

/// A task without a node says why, and so does one that is held back.
///
/// Planted: a task that waits for its predecessor and does not say so; caught after 30 histories.
fn nothing_waits_silently(state: &State) {
    for task in state.tasks().filter(|task| task.is_active()) {
        assert!(task.node_id.is_some() || task.waiting.is_some(), "{} waits silently", task.name());
        let held = task.desired == DesiredState::Ready && task.waiting.is_none();
        assert!(!held, "{} is held back silently", task.name());
    }
}

/// Hosts at work on a slot that cannot run twice: no two at once, while no node is lost.
fn exclusive_slots_never_overlap(world: &World) {
    let mut running = BTreeMap::new();
    for work in world.agents.at_work().filter(|work| work.has_volume || work.on_isolation == OnIsolation::Stop) {
        if let Some(other) = running.insert((work.service, work.slot), work.task) {
            panic!("{} runs beside {other} in slot {}", work.task, work.slot);
        }
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn any_history_keeps_its_promises(
        nodes in prop::sample::select(SIZES.to_vec()),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let mut world = world(nodes);
        world.listener = trace::listen;
        for op in &ops {
            perform(&mut world, op);
            no_more_serve_than_wanted(&world);
            history_is_bounded(&world);
            world.state.services().for_each(promises::every_end_has_a_reason);
            nothing_waits_silently(&world.state);
            world.check();
        }
    }

    /// At the hosts, while no node is lost.
    ///
    /// Planted: a container that is starting and does not count as at work; an exclusive task that does not wait for what is
    /// on its way out. Caught after 16 and 32 histories, the second since services are scaled down and up again.
    #[test]
    fn what_cannot_run_twice_does_not(ops in prop::collection::vec(steady_op(), 1..30)) {
        let mut world = world(SIZES[0]);
        let exclusive = |op: &Op| match op {
            Op::Create(words) => Op::Create(words.iter().copied().chain(["volume=data"]).collect()),
            // An order that was asked for by name is the user's own risk.
            Op::Update(which, words) => {
                Op::Update(*which, words.iter().copied().chain(["order=auto"]).collect())
            }
            other => other.clone(),
        };
        for op in ops.iter().map(exclusive) {
            match op {
                // Step by step, to look in between.
                Op::Run(millis) => for _ in 0..millis / 100 {
                    perform(&mut world, &Op::Run(100));
                    exclusive_slots_never_overlap(&world);
                },
                op => perform(&mut world, &op),
            }
            exclusive_slots_never_overlap(&world);
        }
    }

    /// Whatever happens to nodes and leaders: where the network breaks, the agent stops what asked for it in its grace.
    ///
    /// Planted: a lost task that is replaced before its grace is over (caught by the first history). By tests of their own: a
    /// removed node's tasks not waited for (`node_removed_isolation`), a clock's leap that counts as time (the ledger's), a
    /// shortened lease that a new leader forgets (`apply`'s).
    #[test]
    fn at_most_one_is_never_two(ops in prop::collection::vec(cut_op(), 1..30)) {
        let mut world = world(SIZES[0]);
        world.listener = trace::listen;
        for replicas in ["replicas=1", "replicas=3"] {
            perform(&mut world, &Op::Create(vec!["isolation=stop", replicas, "image=slow"]));
        }
        perform(&mut world, &Op::Run(9_000));
        for op in &ops {
            perform(&mut world, op);
        }
    }

    /// What rollouts and drains do to services that all but fill their nodes.
    #[test]
    fn in_a_crowd_rollouts_and_drains_keep_their_promises(ops in prop::collection::vec(crowded_op(), 1..25)) {
        let mut world = world(SIZES[0]);
        world.listener = trace::listen;
        perform(&mut world, &Op::Create(vec!["replicas=3", "reserve-cpu=2", "deadline=8s", "rollback-deadline=8s"]));
        perform(&mut world, &Op::Create(vec!["replicas=6", "reserve-cpu=1", "deadline=8s", "rollback-deadline=8s"]));
        perform(&mut world, &Op::Run(2_000));
        for op in ops.iter().map(with_short_deadline) {
            perform(&mut world, &op);
            nothing_waits_silently(&world.state);
            world.check();
        }
    }

    /// Once the faults are over, every rollout ends and every service is as asked, as far as its image lets it.
    ///
    /// Planted: a rollback without a deadline; rows that stay when nobody holds anything for them. Caught after 78 and 2
    /// histories.
    #[test]
    fn a_quiet_cluster_converges(
        nodes in prop::sample::select(SIZES.to_vec()),
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let mut world = world(nodes);
        // With the default deadline the fake clusters would run for hours.
        for op in ops.iter().map(with_short_deadline) {
            perform(&mut world, &op);
        }
        for number in 1..=NODES_MAX {
            perform_on_node(&mut world, number, NodeOp::Up);
            perform_on_node(&mut world, number, NodeOp::Active);
            perform_on_node(&mut world, number, NodeOp::EngineOn);
        }
        // Six slots, each with a deadline and a pause of its own, and the same again for the way back.
        perform(&mut world, &Op::Run(600_000));
        for service in world.state.services() {
            let rollout = service.rollout.as_ref();
            prop_assert!(rollout.is_none_or(|r| !r.state.is_moving()), "{:?}", rollout);
            prop_assert!(!rollout.is_some_and(|r| r.message.is_empty()));
            for task in world.state.tasks_of_service(service.id).filter(|task| task.is_active()) {
                let image = task.template.spec.container.image.as_str();
                let works = WORKING.contains(&image);
                let unplaced = task.node_id.is_none() && task.waiting.is_some();
                prop_assert!(!works || unplaced || serves(&world, task), "{} {:?}", task.name(), task);
            }
        }
        for task in world.state.tasks().filter(|task| world.state.service(task.service_id).is_none()) {
            prop_assert!(false, "{} of a removed service is left", task.name());
        }
    }

    /// Whatever has been, also before the last drain: nothing hangs.
    ///
    /// Planted: a rollback without a deadline; caught after 505 histories. What is named at `what_was_begun_ends` other
    /// promises catch first, after 84 and 106.
    #[test]
    fn drains_moves_and_rollouts_end(
        ops in prop::collection::vec(begun_op(), 1..25),
        drained in prop::collection::btree_set(2..=SIZES[0], 1..3),
    ) {
        let mut world = world(SIZES[0]);
        world.listener = trace::listen;
        perform(&mut world, &Op::Create(vec!["replicas=3", "image=slow", "deadline=8s", "rollback-deadline=8s"]));
        perform(&mut world, &Op::Create(vec!["replicas=6", "deadline=8s", "rollback-deadline=8s"]));
        perform(&mut world, &Op::Run(9_000));
        for op in ops.iter().map(with_short_deadline) {
            perform(&mut world, &op);
        }
        for number in 1..=NODES_MAX {
            perform_on_node(&mut world, number, NodeOp::Up);
            perform_on_node(&mut world, number, NodeOp::EngineOn);
            if drained.contains(&number) {
                perform_on_node(&mut world, number, NodeOp::Drain);
            } else if number <= SIZES[0] {
                perform_on_node(&mut world, number, NodeOp::Active);
            }
        }
        perform(&mut world, &Op::Run(900_000));
        promises::what_was_begun_ends(&world, |image| WORKING.contains(&image));
    }
}

/// One log entry holds so many actions; what does not fit comes with the next plan, and nothing is made twice.
#[test]
fn a_large_service_comes_in_several_plans() {
    let mut world = world(SIZES[0]);
    let mut spec = spec::base("large");
    spec::set(&mut spec, "replicas=4500");
    let id = world.next_service_id();
    let before = world.entries();
    world.commit(Command::CreateService { id, spec: Box::new(spec.clone()) });
    world.settle();
    no_more_serve_than_wanted(&world);
    assert_eq!(world.state.tasks_of_service(id).count(), 4_500);
    assert_eq!(world.entries() - before, 1 + 3, "the spec, and three plans");
    spec::set(&mut spec, "replicas=1");
    let version = world.state.service(id).expect("the service").version;
    world.commit(Command::UpdateService { id, version, spec: Box::new(spec) });
    world.settle();
    no_more_serve_than_wanted(&world);
}
