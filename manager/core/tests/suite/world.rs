//! A leader, its log and its nodes in one value: commands and time go in, the real `apply` and `plan` answer, fake
//! agents carry it out. After every step it checks what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{
    action::Action,
    apply::{Touched, apply},
    command::{Command, Entry, LogPosition, Outcome},
    liveness::Liveness,
    plan::{
        Dirty, IdSource, Input, Plan, plan,
        rebalance::{Rebalance, Relocation, rebalance},
    },
    state::{State, snapshot::Snapshot},
};
use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, ServiceId, TaskId},
    node::{EngineHealth, NodeDescription, NodeSpec, NodeState},
    resources::{NANO_CPUS_PER_CORE, Resources},
    time::Timestamp,
    version::Term,
};

use crate::agents::Agents;

/// t1, t2, … in the order they are made.
#[derive(Clone, Debug, Default)]
struct Counter(u128);

impl IdSource for Counter {
    fn task_id(&mut self) -> TaskId {
        self.0 += 1;
        TaskId::from_bits(self.0)
    }
}

/// Something that happened, for whoever keeps a trace.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    Executed(&'a Action),
    Stale(&'a Action, String),
    Reported(NodeId, TaskId),
}

pub(crate) type Listener = fn(&World, Event<'_>, &mut Vec<String>);

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) agents: Agents,
    pub(crate) trace: Vec<String>,
    pub(crate) listener: Listener,
    liveness: Liveness,
    /// Nodes that the managers cannot hear.
    silent: BTreeSet<NodeId>,
    touched: Touched,
    look_everywhere: bool,
    wake: BTreeMap<ServiceId, Timestamp>,
    position: LogPosition,
    ids: Counter,
    services_made: u128,
}

/// The leader's clock at the start of every history.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000);

/// A plan and the next one; with a list that was cut there may be more.
const PLANS_TO_REST_MAX: usize = 50;

impl World {
    pub(crate) fn new(spec: ClusterSpec, nodes: u32) -> Self {
        let mut world = Self {
            state: State::default(),
            now: START,
            agents: Agents::default(),
            trace: Vec::new(),
            listener: |_, _, _| {},
            liveness: Liveness::default(),
            silent: BTreeSet::new(),
            touched: Touched::default(),
            look_everywhere: true,
            wake: BTreeMap::new(),
            position: LogPosition { term: Term(1), index: 0 },
            ids: Counter::default(),
            services_made: 0,
        };
        let command = Command::CreateCluster {
            id: ClusterId::from_bits(1),
            spec,
            node_id: node_id(1),
            node: NodeSpec::default(),
            address: "10.0.0.1:7377".to_owned(),
            founding: None,
        };
        world.commit(command);
        for number in 2..=nodes {
            world.join(number);
        }
        for number in 1..=nodes {
            world.introduce(number, 4);
        }
        world
    }

    pub(crate) fn join(&mut self, number: u32) {
        let address = format!("10.0.0.{number}:7377");
        self.commit(Command::JoinNode { id: node_id(number), spec: NodeSpec::default(), address });
    }

    /// The node's first session.
    pub(crate) fn introduce(&mut self, number: u32, cores: u64) {
        let description = NodeDescription {
            hostname: format!("n{number}"),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            resources: Resources { nano_cpus: cores * NANO_CPUS_PER_CORE, memory_bytes: 8 << 30 },
            engine: "sim".to_owned(),
            engine_version: "1".to_owned(),
            engine_labels: BTreeMap::new(),
            engine_health: EngineHealth::Ok,
            problems: Vec::new(),
            muster_version: "0.1.0".to_owned(),
        };
        let address = format!("10.0.0.{number}:7377");
        self.commit(Command::DescribeNode { id: node_id(number), description: Box::new(description), address });
        self.set_liveness(node_id(number), NodeState::Ready);
    }

    pub(crate) fn set_liveness(&mut self, node: NodeId, state: NodeState) {
        match state {
            NodeState::Ready => self.silent.remove(&node),
            NodeState::Down | NodeState::Unknown => self.silent.insert(node),
        };
        match state {
            NodeState::Ready => self.liveness.ready(node),
            NodeState::Down => {
                self.liveness.down(node, self.now);
                self.agents.isolate(node, self.now);
            }
            NodeState::Unknown => self.liveness.forget(node),
        }
        self.look_everywhere = true;
    }

    pub(crate) fn is_silent(&self, node: NodeId) -> bool {
        self.silent.contains(&node)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.position.index
    }

    pub(crate) fn next_service_id(&mut self) -> ServiceId {
        self.services_made += 1;
        ServiceId::from_bits(self.services_made)
    }

    /// One entry is committed and applied.
    pub(crate) fn commit(&mut self, command: Command) -> Outcome {
        self.position.index += 1;
        let entry = Entry::new(self.now, None, command);
        let before = self.state.clone();
        let (outcome, touched) = apply(&mut self.state, self.position, &entry);
        check::step(&before, &self.state, &outcome, &touched);
        self.touched.services.extend(touched.services);
        self.touched.nodes.extend(touched.nodes);
        self.touched.capacity |= touched.capacity;
        outcome
    }

    pub(crate) fn rebalance(&self, most: usize) -> Rebalance {
        rebalance(&self.state, &self.liveness, self.now, most)
    }

    pub(crate) fn move_tasks(&mut self, plan: &Rebalance) -> Outcome {
        self.commit(Command::MoveTasks { moves: plan.moves.iter().map(Relocation::as_move).collect() })
    }

    fn plan_of(&self, dirty: &Dirty) -> (Plan, Counter) {
        let mut ids = self.ids.clone();
        let input = Input { state: &self.state, liveness: &self.liveness, now: self.now, dirty };
        let plan = plan(input, &mut ids);
        (plan, ids)
    }

    /// The leader plans until nothing follows. That must be at once.
    pub(crate) fn settle(&mut self) {
        let mut cut = true;
        for _ in 0..PLANS_TO_REST_MAX {
            let touched = std::mem::take(&mut self.touched);
            let everywhere = std::mem::take(&mut self.look_everywhere) || touched.capacity;
            let due = self.wake.iter().filter(|(_, at)| **at <= self.now).map(|(service, _)| *service);
            let dirty: BTreeSet<ServiceId> = touched.services.iter().copied().chain(due).collect();
            let (complete, ids) = self.plan_of(&Dirty::Everything);
            if !everywhere {
                let (partial, _) = self.plan_of(&Dirty::Services(dirty.clone()));
                assert_eq!(partial.actions, complete.actions, "a plan of {dirty:?} misses something");
            }
            self.wake.clone_from(&complete.wake);
            self.ids = ids;
            self.hear(&touched.nodes);
            if complete.actions.is_empty() {
                return;
            }
            assert!(cut, "planning does not come to rest: {:#?}\n{}", complete.actions, self.trace.join("\n"));
            cut = complete.more;
            self.look_everywhere |= complete.more;
            self.execute(complete.actions);
        }
        panic!("planning does not come to rest");
    }

    fn execute(&mut self, actions: Vec<Action>) {
        let served = check::serving_slots(self);
        let outcome = self.commit(Command::Execute { term: self.position.term, actions: actions.clone() });
        let stale: BTreeMap<u32, String> = match outcome {
            Outcome::Done { .. } => BTreeMap::new(),
            Outcome::Partly { stale, .. } => stale.into_iter().map(|(at, why)| (at, why.to_string())).collect(),
            Outcome::Rejected(rejection) => panic!("a fresh plan was rejected: {rejection}"),
        };
        check::no_more_given_up_than_allowed(self, &served);
        let mut trace = std::mem::take(&mut self.trace);
        for (place, action) in (0..).zip(&actions) {
            match stale.get(&place) {
                Some(why) => {
                    (self.listener)(self, Event::Stale(action, why.clone()), &mut trace);
                    panic!("a fresh plan has a stale action: {why}: {action:?}");
                }
                None => (self.listener)(self, Event::Executed(action), &mut trace),
            }
        }
        self.trace = trace;
    }

    fn hear(&mut self, nodes: &BTreeSet<NodeId>) {
        for node in nodes {
            if !self.silent.contains(node) {
                self.agents.hear(&self.state, *node, self.now);
            }
        }
    }

    /// The agents that are heard say what is new.
    fn collect_reports(&mut self) -> bool {
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        let mut reports = Vec::new();
        for node in nodes.into_iter().filter(|node| !self.silent.contains(node)) {
            reports.extend(self.agents.reports(node).into_iter().map(|report| (node, report)));
        }
        if reports.is_empty() {
            return false;
        }
        self.commit(Command::ReportTasks { reports: reports.clone() });
        let mut trace = std::mem::take(&mut self.trace);
        for (node, report) in &reports {
            (self.listener)(self, Event::Reported(*node, report.task_id), &mut trace);
        }
        self.trace = trace;
        true
    }

    /// Runs until `end`: agents step, reports are committed, plans made, each at its time.
    pub(crate) fn run_until(&mut self, end: Timestamp) {
        loop {
            self.settle();
            let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
            for node in &nodes {
                self.agents.step(*node, self.now);
            }
            if self.collect_reports() {
                continue;
            }
            let steps = nodes.iter().filter_map(|node| self.agents.next_step(*node));
            let next = steps.chain(self.wake.values().copied()).filter(|at| *at > self.now).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = at,
                None => {
                    self.now = end;
                    self.settle();
                    return;
                }
            }
        }
    }

    /// A silent node is heard again: it gets its assignments and tells what it missed.
    pub(crate) fn reconnect(&mut self, node: NodeId) {
        self.set_liveness(node, NodeState::Ready);
        self.agents.step(node, self.now);
        self.collect_reports();
        self.settle();
        self.agents.hear(&self.state, node, self.now);
    }

    /// Another leader takes over: it knows nothing of liveness, wake-ups and what was touched, and looks everywhere. The
    /// nodes it can reach renew their leases at once.
    pub(crate) fn new_leader(&mut self) {
        self.position.term.0 += 1;
        self.wake.clear();
        self.touched = Touched::default();
        self.look_everywhere = true;
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        let silent = self.silent.clone();
        for node in &nodes {
            self.set_liveness(*node, NodeState::Unknown);
        }
        self.settle();
        for node in nodes {
            match silent.contains(&node) {
                true => self.set_liveness(node, NodeState::Down),
                false => self.reconnect(node),
            }
        }
    }
}

pub(crate) fn node_id(number: u32) -> NodeId {
    NodeId::from_bits(u128::from(number))
}

mod check {
    //! What every single entry must leave true.

    use super::*;
    use muster_proto::task_state::DesiredState;

    pub(super) fn step(before: &State, after: &State, outcome: &Outcome, touched: &Touched) {
        for task in before.tasks() {
            let Some(now) = after.task(task.id) else {
                assert!(task.status.removed || task.node_id.is_none(), "{} was forgotten too early", task.id);
                continue;
            };
            assert!(now.status.state >= task.status.state, "{} went back", task.id);
            assert!(now.desired >= task.desired, "{} is wanted again", task.id);
            assert!(now.fence >= task.fence, "{} has an older fence", task.id);
            assert!(task.node_id.is_none() || now.node_id == task.node_id, "{} moved", task.id);
            if now != task {
                assert!(touched.services.contains(&task.service_id), "a change of {} was not said", task.id);
            }
        }
        if let Outcome::Rejected(_) = outcome {
            assert_eq!(before.services().collect::<Vec<_>>(), after.services().collect::<Vec<_>>());
            assert_eq!(before.tasks().collect::<Vec<_>>(), after.tasks().collect::<Vec<_>>());
        }
        ports_are_owned_once(after);
        touched_is_enough(before, after, touched);
    }

    type Served = BTreeMap<ServiceId, BTreeSet<muster_proto::task::Slot>>;

    /// Slots with a task that runs, is wanted, and stands on a node that is up and not drained.
    pub(super) fn serving_slots(world: &World) -> Served {
        let mut served = Served::new();
        for task in world.state.tasks() {
            let node = task.node_id.and_then(|node| world.state.node(node));
            let stays = node.is_some_and(|node| {
                node.spec.availability != muster_proto::node::Availability::Drain
                    && world.liveness.of(node.id) != NodeState::Down
            });
            let wanted = task.desired == DesiredState::Running;
            if stays && wanted && task.status.state == muster_proto::task_state::TaskState::Running {
                served.entry(task.service_id).or_default().insert(task.slot);
            }
        }
        served
    }

    /// A plan that stops serving tasks without another in their place: only as many as the update's parallelism.
    pub(super) fn no_more_given_up_than_allowed(world: &World, before: &Served) {
        let after = serving_slots(world);
        for (id, slots) in before {
            let Some(service) = world.state.service(*id) else { continue };
            let nobody = BTreeSet::new();
            let lost = slots.difference(after.get(id).unwrap_or(&nobody)).filter(|slot| {
                // A slot that is no longer wanted is not given up.
                world.state.tasks_of_slot(*id, **slot).any(|task| task.desired <= DesiredState::Running)
            });
            let back = service.rollout.as_ref().is_some_and(|rollout| rollout.state.is_rollback());
            let config = if back { &service.spec.rollback } else { &service.spec.update };
            let lost = lost.count();
            assert!(
                config.parallelism == 0 || lost <= config.parallelism as usize,
                "{lost} serving slots of {} were given up at once",
                service.spec.name
            );
        }
    }

    fn ports_are_owned_once(state: &State) {
        let mut owners = BTreeSet::new();
        for service in state.services() {
            for port in service.ports.iter().filter(|p| p.mode == muster_proto::endpoint::PublishMode::Ingress) {
                assert!(port.published != 0 && owners.insert(port.published), "port {} twice", port.published);
            }
        }
    }

    /// Whoever sends only what is touched sends all that changed.
    fn touched_is_enough(before: &State, after: &State, touched: &Touched) {
        let told = |state: &State, node| muster_core::assign::assignments(state, node);
        for node in after.nodes().filter(|node| !touched.nodes.contains(&node.id)) {
            assert_eq!(told(before, node.id), told(after, node.id), "node {} was not touched", node.id);
        }
        if !touched.ingress {
            assert_eq!(muster_core::assign::ingress(before), muster_core::assign::ingress(after));
        }
        let orders = |state: &State, node| muster_core::assign::orders(state, node);
        for node in after.nodes().filter(|node| !touched.orders && !touched.nodes.contains(&node.id)) {
            assert_eq!(orders(before, node.id), orders(after, node.id), "node {} was not touched", node.id);
        }
    }

    impl World {
        /// What holds of the whole at any time.
        pub(crate) fn check(&self) {
            let snapshot = Snapshot::of(&self.state);
            let bytes = rmp_serde::to_vec(&snapshot).expect("a state can be written");
            let read: Snapshot = rmp_serde::from_slice(&bytes).expect("what was written can be read");
            assert_eq!(read.into_state().expect("a written state is whole"), self.state);
            for (node, task, fence) in self.agents.running() {
                if let Some(row) = self.state.task(task) {
                    assert_eq!((row.node_id, row.fence), (Some(node), fence), "{task} runs under another fence");
                }
            }
            self.no_more_than_one_sound_task_per_slot();
        }

        /// Of one version, on nodes that are up: two may be wanted only while one of them is being drained or moved
        /// away.
        fn no_more_than_one_sound_task_per_slot(&self) {
            let mut seen = BTreeSet::new();
            for task in self.state.tasks().filter(|task| task.is_active()) {
                let away = task.node_id.is_some_and(|node| {
                    self.liveness.of(node) == NodeState::Down
                        || self
                            .state
                            .node(node)
                            .is_none_or(|node| node.spec.availability == muster_proto::node::Availability::Drain)
                }) || task.moves_to.is_some();
                assert!(task.desired <= DesiredState::Running);
                if !away {
                    let place = (task.service_id, task.slot, task.template_version);
                    assert!(seen.insert(place), "{} is filled twice", task.name());
                }
            }
        }
    }
}
