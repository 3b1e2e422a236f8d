//! What is refused, what is left out, and what an update does to a service's versions.

mod membership;

use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, ServiceId, TaskId},
    node::NodeSpec,
    restart::RestartRecord,
    rollout::{Rollout, RolloutState},
    service::{Mode, Service, ServiceSpec},
    task::{Slot, TaskStatus},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::{Fence, TemplateVersion, Term, Version},
    waiting::WaitingOn,
};

use super::*;
use crate::{action::Action, plan::schedule::fixture, terms};

const TERM: Term = Term(3);
const WEB: ServiceId = ServiceId::from_bits(1);
const TASK: TaskId = TaskId::from_bits(7);
const NODE: NodeId = NodeId::from_bits(1);

/// A log and the state it leads to.
struct Log {
    state: State,
    index: u64,
}

impl Log {
    fn new() -> Self {
        let mut log = Self { state: State::default(), index: 0 };
        log.done(Command::CreateCluster {
            id: ClusterId::from_bits(1),
            spec: ClusterSpec::default(),
            node_id: NODE,
            node: NodeSpec::default(),
            address: "10.0.0.1:7377".to_owned(),
            founding: None,
        });
        log
    }

    fn with_service() -> Self {
        let mut log = Self::new();
        log.done(Command::CreateService { id: WEB, spec: Box::new(spec("v1")) });
        log
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at = LogPosition { term: TERM, index: self.index };
        let entry = Entry::new(Timestamp::from_millis(self.index), None, command);
        apply(&mut self.state, at, &entry).0
    }

    fn done(&mut self, command: Command) {
        let outcome = self.apply(command);
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }

    fn refused(&mut self, command: Command) -> Rejection {
        match self.apply(command) {
            Outcome::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }

    /// Why the one action was left out; None: it was carried out.
    fn execute(&mut self, action: Action) -> Option<Rejection> {
        match self.apply(Command::Execute { term: TERM, actions: vec![action] }) {
            Outcome::Done { .. } => None,
            Outcome::Partly { mut stale, .. } => stale.pop().map(|(_, why)| why),
            Outcome::Rejected(why) => panic!("{why}"),
        }
    }

    fn web(&self) -> &Service {
        self.state.service(WEB).expect("the service")
    }

    fn update(&mut self, change: impl FnOnce(&mut ServiceSpec)) {
        let mut spec = self.web().spec.clone();
        change(&mut spec);
        self.done(Command::UpdateService { id: WEB, version: self.web().version, spec: Box::new(spec) });
    }

    fn rollout(&mut self, state: RolloutState) {
        let rollout = Rollout { state, ..*self.web().rollout.clone().expect("a rollout") };
        let version = self.web().version;
        assert_eq!(self.execute(Action::SetRollout { service_id: WEB, version, rollout: Box::new(rollout) }), None);
    }

    fn previous(&self) -> Option<(&str, Mode)> {
        let previous = self.web().previous.as_ref()?;
        Some((previous.spec.task.container.image.as_str(), previous.spec.mode))
    }

    fn state_of_rollout(&self) -> Option<RolloutState> {
        self.web().rollout.as_ref().map(|rollout| rollout.state)
    }
}

fn spec(image: &str) -> ServiceSpec {
    let mut spec = fixture::service(1).spec;
    "web".clone_into(&mut spec.name);
    image.clone_into(&mut spec.task.container.image);
    spec
}

fn image(image: &'static str) -> impl FnOnce(&mut ServiceSpec) {
    move |spec| image.clone_into(&mut spec.task.container.image)
}

fn creation(slot_version: u64, template_version: u64) -> Action {
    Action::CreateTask {
        id: TASK,
        service_id: WEB,
        slot: Slot::Number(1),
        slot_version: Version(slot_version),
        template_version: TemplateVersion(template_version),
        desired: DesiredState::Running,
        start_after: None,
        restarts: RestartRecord::default(),
        placement: Ok(NODE),
    }
}

const ONE: Mode = Mode::Replicated { replicas: 1 };

#[test]
fn nothing_goes_before_the_cluster() {
    let mut log = Log { state: State::default(), index: 0 };
    assert_eq!(log.refused(Command::RemoveService { id: WEB }), Rejection::NoCluster);
    assert_eq!(log.state.applied().index, 1, "a refused entry is applied all the same");
}

#[test]
fn a_name_has_one_owner_until_it_is_removed() {
    let mut log = Log::with_service();
    let other = || Command::CreateService { id: ServiceId::from_bits(2), spec: Box::new(spec("v1")) };
    assert_eq!(log.refused(other()), Rejection::NameTaken { name: "web".to_owned(), id: WEB });
    log.done(Command::RemoveService { id: WEB });
    log.done(other());
}

#[test]
fn an_update_names_the_version_it_read() {
    let mut log = Log::with_service();
    let read = log.web().version;
    log.update(image("v2"));
    let now = log.web().version;
    let late = Command::UpdateService { id: WEB, version: read, spec: Box::new(spec("v3")) };
    assert_eq!(log.refused(late), Rejection::ServiceChanged { read, now });
}

#[test]
fn name_and_mode_stay() {
    let mut log = Log::with_service();
    let version = log.web().version;
    let mut renamed = spec("v1");
    "other".clone_into(&mut renamed.name);
    let update = |spec| Command::UpdateService { id: WEB, version, spec: Box::new(spec) };
    assert_eq!(log.refused(update(renamed)), Rejection::NameChanged("web".to_owned()));
    let mut global = spec("v1");
    global.mode = Mode::Global;
    assert_eq!(log.refused(update(global)), Rejection::ModeChanged);
}

#[test]
fn only_another_template_begins_a_rollout_and_a_known_one_keeps_its_number() {
    let mut log = Log::with_service();
    let first = log.web().template_version;
    log.update(|spec| spec.mode = Mode::Replicated { replicas: 5 });
    assert_eq!((log.state_of_rollout(), log.web().template_version), (None, first));
    log.update(image("v2"));
    assert_eq!(log.state_of_rollout(), Some(RolloutState::Updating));
    assert!(log.web().template_version > first);
    log.rollout(RolloutState::Completed);
    log.update(image("v1"));
    assert_eq!((log.state_of_rollout(), log.web().template_version), (Some(RolloutState::Updating), first));
}

#[test]
fn an_update_that_changes_nothing_changes_nothing() {
    let mut log = Log::with_service();
    let before = log.web().clone();
    log.update(|_| {});
    assert_eq!(*log.web(), before);
}

#[test]
fn a_paused_rollout_goes_on_when_it_is_asked_to_and_not_when_it_is_scaled() {
    let mut log = Log::with_service();
    log.update(image("v2"));
    log.rollout(RolloutState::Paused);
    log.update(|spec| spec.mode = Mode::Replicated { replicas: 5 });
    assert_eq!(log.state_of_rollout(), Some(RolloutState::Paused));
    log.update(|_| {});
    assert_eq!(log.state_of_rollout(), Some(RolloutState::Updating));
}

#[test]
fn an_update_over_an_unfinished_one_keeps_the_spec_before_both() {
    let mut log = Log::with_service();
    log.update(image("v2"));
    log.update(|spec| spec.mode = Mode::Replicated { replicas: 5 });
    assert_eq!(log.previous(), Some(("v1", Mode::Replicated { replicas: 5 })), "scaling holds for the way back");
    log.update(image("v3"));
    assert_eq!(log.previous().map(|(image, _)| image), Some("v1"));
    log.rollout(RolloutState::Completed);
    log.update(image("v4"));
    assert_eq!(log.previous().map(|(image, _)| image), Some("v3"));
    log.update(image("v3"));
    assert_eq!(log.previous(), None, "the way back from the spec before is not known");
}

#[test]
fn a_rollback_by_hand_swaps_the_specs() {
    let mut log = Log::with_service();
    let version = log.web().version;
    let without = log.refused(Command::RollbackService { id: WEB, version });
    assert_eq!(without, Rejection::NoPreviousSpec("web".to_owned()));
    log.update(image("v2"));
    for (now, before) in [("v1", "v2"), ("v2", "v1")] {
        log.done(Command::RollbackService { id: WEB, version: log.web().version });
        assert_eq!(log.web().spec.task.container.image, now);
        assert_eq!(log.previous(), Some((before, ONE)));
        assert_eq!(log.state_of_rollout(), Some(RolloutState::RollbackStarted));
    }
}

#[test]
fn a_rollback_of_the_planner_gives_the_failed_spec_up() {
    let mut log = Log::with_service();
    let first = log.web().template_version;
    log.update(image("v2"));
    let books = Rollout {
        state: RolloutState::RollbackStarted,
        target: first,
        ..*log.web().rollout.clone().expect("a rollout")
    };
    let (version, rollout) = (log.web().version, Box::new(books));
    let action = Action::StartRollback { service_id: WEB, version, rollout };
    assert_eq!(log.execute(action.clone()), None);
    assert_eq!((log.web().spec.task.container.image.as_str(), log.previous()), ("v1", None));
    let again = log.execute(action);
    assert!(matches!(again, Some(Rejection::ServiceChanged { .. })), "{again:?}");
}

#[test]
fn a_plan_of_another_term_is_void() {
    let mut log = Log::with_service();
    let stale = Command::Execute { term: Term(2), actions: vec![creation(0, 2)] };
    assert_eq!(log.refused(stale), Rejection::StaleTerm { made: Term(2), now: TERM });
    assert_eq!(log.state.task(TASK), None);
}

#[test]
fn a_plan_made_twice_makes_no_task_twice() {
    let mut log = Log::with_service();
    assert_eq!(log.execute(creation(0, 2)), None);
    let mut again = creation(0, 2);
    if let Action::CreateTask { id, .. } = &mut again {
        *id = TaskId::from_bits(8);
    }
    assert_eq!(log.execute(again), Some(Rejection::SlotChanged));
}

#[test]
fn a_task_is_made_only_of_a_template_the_service_knows() {
    let mut log = Log::with_service();
    assert_eq!(log.execute(creation(0, 99)), Some(Rejection::StaleTemplate));
    log.update(image("v2"));
    assert_eq!(log.execute(creation(0, 2)), None, "the one before is known");
    let task = log.state.task(TASK).expect("the task");
    assert_eq!((task.fence, task.status.state), (Fence(log.index), TaskState::Assigned));
}

#[test]
fn a_stale_action_is_left_out_alone() {
    let mut log = Log::with_service();
    let want = |id, version, desired| Action::SetDesired { id, version: Version(version), desired };
    let actions = vec![
        want(TASK, 99, DesiredState::Shutdown),
        creation(0, 2),
        // Made by this very plan, whatever version it names.
        want(TASK, 0, DesiredState::Shutdown),
        want(TASK, 0, DesiredState::Running),
    ];
    let outcome = log.apply(Command::Execute { term: TERM, actions });
    let stale = vec![(0, Rejection::NoSuchTask(TASK)), (3, Rejection::NotForward)];
    assert_eq!(outcome, Outcome::Partly { version: Version(log.index), stale });
    let (version, changed) = (Version(log.index - 1), Some(Rejection::TaskChanged));
    assert_eq!(log.execute(Action::SetWaiting { id: TASK, version, waiting: Some(WaitingOn::NoNodes) }), changed);
}

#[test]
fn a_row_goes_only_when_its_agent_has_cleaned_up() {
    let mut log = Log::with_service();
    log.execute(creation(0, 2));
    let forget = |log: &Log| Action::ForgetTask { id: TASK, version: log.state.task(TASK).expect("the task").version };
    assert_eq!(log.execute(forget(&log)), Some(Rejection::NotForward));
    let fence = log.state.task(TASK).expect("the task").fence;
    let status = TaskStatus { removed: true, ..TaskStatus::new(TaskState::Shutdown, Timestamp::EPOCH, "gone") };
    let report = |fence| muster_proto::assignment::TaskReport { task_id: TASK, fence, status: status.clone() };
    let reports =
        vec![(NODE, report(Fence(fence.0 - 1))), (NodeId::from_bits(2), report(fence)), (NODE, report(fence))];
    let outcome = log.apply(Command::ReportTasks { reports });
    let stale = vec![(0, Rejection::StaleFence), (1, Rejection::StaleFence)];
    assert_eq!(outcome, Outcome::Partly { version: Version(log.index), stale });
    assert_eq!(log.execute(forget(&log)), None);
    assert_eq!(log.state.tasks_of_service(WEB).count(), 0);
}

/// A new leader grants its first lease by this, and a cut off agent may count on the longer one.
#[test]
fn a_lease_that_was_made_shorter_is_remembered_for_a_while() {
    let seconds = std::time::Duration::from_secs;
    let mut log = Log::new();
    let mut set = |lease: u64| {
        let cluster = log.state.cluster().expect("a cluster").clone();
        let spec = Box::new(ClusterSpec { lease: seconds(lease), ..cluster.spec });
        log.done(Command::UpdateCluster { version: cluster.version, spec });
        let now = Timestamp::from_millis(log.index);
        [now, now + seconds(60 * 60)].map(|at| terms::longest_lease(&log.state, at).as_secs())
    };
    assert_eq!(set(30), [30, 30]);
    assert_eq!(set(10), [30, 10]);
    assert_eq!(set(3), [30, 3], "the longest of all that count");
    assert_eq!(set(20), [30, 20]);
}

/// Each agent's session began with the terms as they were.
#[test]
fn other_terms_concern_every_session() {
    let mut log = Log::new();
    let spec = ClusterSpec { heartbeat: std::time::Duration::from_millis(1), ..ClusterSpec::default() };
    let touched = |log: &mut Log, command| {
        log.index += 1;
        let entry = Entry::new(Timestamp::from_millis(log.index), None, command);
        apply(&mut log.state, LogPosition { term: TERM, index: log.index }, &entry).1
    };
    let version = log.state.cluster().expect("a cluster").version;
    assert!(touched(&mut log, Command::UpdateCluster { version, spec: Box::new(spec) }).orders);
    // No heartbeat is shorter than 50 ms; with that the 251st node is one too many.
    let join = |number: u128| Command::JoinNode {
        id: NodeId::from_bits(number),
        spec: NodeSpec::default(),
        address: number.to_string(),
    };
    for number in 2..=250 {
        assert!(!touched(&mut log, join(number)).orders, "{number}");
    }
    assert!(touched(&mut log, join(251)).orders);
    assert!(touched(&mut log, Command::RemoveNode { id: NodeId::from_bits(251) }).orders);
}
