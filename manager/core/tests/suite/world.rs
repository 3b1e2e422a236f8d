//! A leader, its log and its nodes in one value: commands and time go in, the real `apply` and `plan` answer, fake
//! agents carry it out. After every step it checks what must always hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_core::{
    action::Action,
    apply::{Touched, apply},
    command::{Command, Entry, LogPosition, Outcome},
    liveness::Liveness,
    plan::{
        Dirty, IdSource, Input, Plan,
        concern::{OutageWatch, services_of_nodes},
        plan,
        rebalance::{Rebalance, Relocation, automatic, rebalance},
    },
    state::{State, snapshot::Snapshot},
    terms::{self, Terms},
};
use muster_proto::{
    assignment::TaskReport,
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, ServiceId, TaskId},
    node::{EngineHealth, NodeDescription, NodeSpec, NodeState},
    resources::{NANO_CPUS_PER_CORE, Resources},
    time::Timestamp,
    version::Term,
};

use crate::{
    agents::Agents,
    promises::{self, Promises},
};

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

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) agents: Agents,
    pub(crate) trace: Vec<String>,
    pub(crate) listener: Listener,
    liveness: Liveness,
    /// Nodes that the managers cannot hear.
    silent: BTreeSet<NodeId>,
    /// When their leases are over for the managers, and for the nodes themselves.
    ends: BTreeMap<NodeId, Timestamp>,
    ends_there: BTreeMap<NodeId, Timestamp>,
    /// What the nodes have told, oldest first.
    told: Vec<(NodeId, TaskReport)>,
    promises: Promises,
    touched: Touched,
    /// Came, went, or changed since the last plan.
    changed_nodes: BTreeSet<NodeId>,
    /// When one came or went last, as far as this leader knows.
    nodes_changed: Timestamp,
    outage: OutageWatch,
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
            ends: BTreeMap::new(),
            ends_there: BTreeMap::new(),
            told: Vec::new(),
            promises: Promises::default(),
            touched: Touched::default(),
            changed_nodes: BTreeSet::new(),
            nodes_changed: START,
            outage: OutageWatch::default(),
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

    /// The node says how its engine is.
    pub(crate) fn describe(&mut self, id: NodeId, engine_health: EngineHealth) {
        let Some(node) = self.state.node(id) else { return };
        let address = node.address.clone();
        let Some(known) = node.description.clone() else { return };
        let description = Box::new(NodeDescription { engine_health, ..known });
        self.commit(Command::DescribeNode { id, description, address });
    }

    pub(crate) fn set_liveness(&mut self, node: NodeId, state: NodeState) {
        self.ends.remove(&node);
        match state {
            NodeState::Ready => {
                self.silent.remove(&node);
                self.ends_there.remove(&node);
                self.liveness.ready(node);
            }
            NodeState::Down => {
                self.silent.insert(node);
                self.liveness.down(node, self.now);
                self.ends_there.remove(&node);
                self.agents.isolate(node, self.now);
            }
            NodeState::Unknown => {
                self.silent.insert(node);
                self.liveness.forget(node);
            }
        }
        self.note_changed(node);
    }

    fn note_changed(&mut self, node: NodeId) {
        self.changed_nodes.insert(node);
        self.nodes_changed = self.now;
    }

    /// The managers hear the node no more. Both sides count its lease from here.
    pub(crate) fn cut(&mut self, node: NodeId) {
        if self.state.node(node).is_some() && !self.silent.contains(&node) {
            self.silent.insert(node);
            let lease = Terms::of(&self.state).lease;
            self.ends.insert(node, self.now + lease);
            self.ends_there.insert(node, self.now + lease);
        }
    }

    /// Removed, it is told nothing more; what it runs until its lease is over nobody knows.
    pub(crate) fn remove_node(&mut self, node: NodeId) -> Outcome {
        let lease = Terms::of(&self.state).lease;
        let outcome = self.commit(Command::RemoveNode { id: node });
        if self.state.node(node).is_none() {
            if !self.silent.contains(&node) {
                self.ends_there.insert(node, self.now + lease);
            }
            self.silent.insert(node);
            self.ends.remove(&node);
            self.liveness.forget(node);
        }
        outcome
    }

    /// The leader's clock is set forward, and no time has gone by.
    pub(crate) fn step_clock(&mut self, gap: Duration) {
        self.now = self.now + gap;
        self.liveness.skip(gap, self.now);
        self.agents.skip(gap);
        for end in self.ends.values_mut().chain(self.ends_there.values_mut()) {
            *end = *end + gap;
        }
    }

    /// Leases that are over by now.
    fn end_leases(&mut self) {
        let over = |ends: &BTreeMap<NodeId, Timestamp>, now| -> Vec<NodeId> {
            ends.iter().filter(|(_, end)| **end <= now).map(|(node, _)| *node).collect()
        };
        for node in over(&self.ends_there, self.now) {
            self.ends_there.remove(&node);
            self.agents.isolate(node, self.now);
        }
        for node in over(&self.ends, self.now) {
            self.ends.remove(&node);
            self.liveness.down(node, self.now);
            self.note_changed(node);
        }
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(crate) fn is_down(&self, node: NodeId) -> bool {
        self.liveness.of(node) == NodeState::Down
    }

    /// For a failure's message.
    pub(crate) fn told(&self) -> String {
        self.trace.join("\n")
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
        promises::nothing_is_given_out_twice(&self.state);
        self.promises.note_specs(&self.state);
        self.touched.services.extend(touched.services);
        self.touched.nodes.extend(touched.nodes);
        if touched.capacity {
            let versions =
                |state: &State| -> BTreeMap<_, _> { state.nodes().map(|node| (node.id, node.version)).collect() };
            let (before, after) = (versions(&before), versions(&self.state));
            let changed = before.keys().chain(after.keys()).filter(|id| before.get(id) != after.get(id));
            self.changed_nodes.extend(changed.copied());
        }
        outcome
    }

    pub(crate) fn rebalance(&self, most: usize) -> Rebalance {
        rebalance(&self.state, &self.liveness, self.now, most)
    }

    /// What the leader moves by itself.
    pub(crate) fn rebalance_by_itself(&self) -> Rebalance {
        automatic(&self.state, &self.liveness, self.now, self.nodes_changed)
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

    /// The leader plans until nothing follows. That must be after one plan that does not ask for more.
    pub(crate) fn settle(&mut self) {
        let mut may_follow = true;
        for _ in 0..PLANS_TO_REST_MAX {
            let touched = std::mem::take(&mut self.touched);
            let dirty = self.dirty(&touched);
            let (complete, ids) = self.plan_of(&Dirty::Everything);
            if std::mem::take(&mut self.look_everywhere) {
                self.wake.clone_from(&complete.wake);
            } else {
                self.look_only_at(&dirty, &complete);
            }
            self.ids = ids;
            self.hear(&touched.nodes);
            if complete.actions.is_empty() {
                self.observe();
                return;
            }
            assert!(may_follow, "planning does not come to rest: {:#?}\n{}", complete.actions, self.trace.join("\n"));
            may_follow = complete.more;
            self.look_everywhere |= complete.more;
            self.execute(complete.actions);
        }
        panic!("planning does not come to rest");
    }

    /// What the leader's hints come to.
    fn dirty(&mut self, touched: &Touched) -> BTreeSet<ServiceId> {
        let mut dirty = touched.services.clone();
        dirty.extend(self.wake.iter().filter(|(_, at)| **at <= self.now).map(|(service, _)| *service));
        dirty.extend(services_of_nodes(&self.state, &std::mem::take(&mut self.changed_nodes)));
        dirty.extend(self.outage.changed(&self.state, &self.liveness, self.now));
        dirty
    }

    /// The hints are enough: nothing happens elsewhere, and nobody sleeps through a time that something hangs on.
    fn look_only_at(&mut self, dirty: &BTreeSet<ServiceId>, complete: &Plan) {
        let partial = match dirty.is_empty() {
            true => Plan::default(),
            false => self.plan_of(&Dirty::Services(dirty.clone())).0,
        };
        assert_eq!(
            partial.actions,
            complete.actions,
            "a plan of {dirty:?} at {:?} misses something\n{}",
            self.now,
            self.trace.join("\n")
        );
        self.wake.retain(|service, _| !dirty.contains(service));
        self.wake.extend(partial.wake);
        for (service, at) in &complete.wake {
            let wake = self.wake.get(service);
            assert!(wake.is_some_and(|wake| wake <= at), "{service} is woken at {wake:?} and not at {at:?}");
        }
    }

    fn execute(&mut self, actions: Vec<Action>) {
        let served = promises::serving(self);
        let outcome = self.commit(Command::Execute { term: self.position.term, actions: actions.clone() });
        let stale: BTreeMap<u32, String> = match outcome {
            Outcome::Done { .. } => BTreeMap::new(),
            Outcome::Partly { stale, .. } => stale.into_iter().map(|(at, why)| (at, why.to_string())).collect(),
            Outcome::Rejected(rejection) => panic!("a fresh plan was rejected: {rejection}"),
        };
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
        let mut promises = std::mem::take(&mut self.promises);
        promises.planned(self, &served);
        self.promises = promises;
    }

    fn observe(&mut self) {
        let mut promises = std::mem::take(&mut self.promises);
        promises.observe(self);
        self.promises = promises;
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
        let (mut reports, now) = (Vec::new(), self.now);
        for node in nodes.into_iter().filter(|node| !self.silent.contains(node)) {
            reports.extend(self.agents.reports(node, now).into_iter().map(|report| (node, report)));
        }
        if reports.is_empty() {
            return false;
        }
        self.commit(Command::ReportTasks { reports: reports.clone() });
        self.told.extend(reports.iter().cloned());
        let mut trace = std::mem::take(&mut self.trace);
        for (node, report) in &reports {
            (self.listener)(self, Event::Reported(*node, report.task_id), &mut trace);
        }
        self.trace = trace;
        true
    }

    /// The so-many-th report from the newest on arrives once more, delayed or repeated on its way.
    pub(crate) fn hear_again(&mut self, which: usize) {
        if let Some(report) = self.told.iter().rev().nth(which).cloned() {
            self.commit(Command::ReportTasks { reports: vec![report] });
        }
    }

    /// Runs until `end`: agents step, reports are committed, plans made, each at its time.
    pub(crate) fn run_until(&mut self, end: Timestamp) {
        loop {
            self.end_leases();
            self.settle();
            // Also hosts that were removed.
            let nodes = self.agents.nodes();
            for node in &nodes {
                self.agents.step(*node, self.now);
            }
            if self.collect_reports() {
                continue;
            }
            let steps = nodes.iter().filter_map(|node| self.agents.next_step(*node));
            let leases = self.ends.values().chain(self.ends_there.values()).copied();
            let next = steps.chain(self.wake.values().copied()).chain(leases).filter(|at| *at > self.now).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = at,
                None => {
                    self.now = end;
                    self.end_leases();
                    self.settle();
                    return;
                }
            }
        }
    }

    /// A silent node is heard again: it gets its assignments and tells what it missed.
    pub(crate) fn reconnect(&mut self, node: NodeId) {
        if self.state.node(node).is_none() {
            return;
        }
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
        self.outage = OutageWatch::default();
        self.look_everywhere = true;
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        self.liveness = Liveness::default();
        self.liveness.begin(self.now);
        self.nodes_changed = self.now;
        self.settle();
        let first_lease = terms::longest_lease(&self.state, self.now);
        for node in nodes {
            if self.silent.contains(&node) {
                self.ends.insert(node, self.now + first_lease);
            } else {
                self.reconnect(node);
            }
        }
    }
}

pub(crate) fn node_id(number: u32) -> NodeId {
    NodeId::from_bits(u128::from(number))
}

mod check {
    //! What every single entry must leave true.
    //!
    //! Planted: a report that leads back; caught after 5 histories, since reports arrive more than once.

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
            let told = |state: &State| muster_core::assign::ingress(state, &BTreeSet::new());
            assert_eq!(told(before), told(after));
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

        /// Of one version, on nodes that are heard: two may be wanted only while one of them is being drained or moved
        /// away.
        fn no_more_than_one_sound_task_per_slot(&self) {
            let mut seen = BTreeSet::new();
            for task in self.state.tasks().filter(|task| task.is_active()) {
                let away = task.node_id.is_some_and(|node| {
                    self.liveness.of(node) != NodeState::Ready
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
