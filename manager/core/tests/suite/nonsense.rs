//! Entries that no leader should propose: stale, repeated, about objects that are not there, or plainly absurd. Applying
//! them must neither panic nor leave a state that cannot be stored, and planning must cope with whatever comes of it.

use std::{sync::Arc, time::Duration};

use muster_core::{
    action::Action,
    apply::apply,
    command::{Command, Entry, Founding, LogPosition, Move, OtherTokens, Steer},
    liveness::Liveness,
    plan::{Dirty, IdSource, Input, plan},
    state::{State, snapshot::Snapshot},
};
use muster_proto::{
    assignment::TaskReport,
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, RequestId, ServiceId, TaskId, TokenId},
    node::{Availability, NodeSpec, Role},
    restart::RestartRecord,
    rollout::{Rollout, RolloutState, Trust},
    service::{Mode, ServiceSpec},
    task::{Evidence, Slot, TaskStatus},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    trust::{CertificateAuthority, Digest, NodeCertificate, Root, Token},
    version::{Fence, TemplateVersion, Term, Version},
    waiting::WaitingOn,
};
use proptest::prelude::*;

use crate::{properties, spec};

/// Few of each, so that most entries are about something that is there.
fn id() -> impl Strategy<Value = u128> {
    0..5u128
}

fn index() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..40u64, 1 => Just(u64::MAX)]
}

fn at() -> impl Strategy<Value = Timestamp> {
    prop_oneof![8 => 0..200_000u64, 1 => Just(u64::MAX)].prop_map(Timestamp::from_millis)
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        4 => (0..4u32).prop_map(Slot::Number),
        1 => Just(Slot::Number(u32::MAX)),
        1 => id().prop_map(|id| Slot::Node(NodeId::from_bits(id))),
    ]
}

fn desired() -> impl Strategy<Value = DesiredState> {
    prop::sample::select(vec![DesiredState::Ready, DesiredState::Running, DesiredState::Shutdown, DesiredState::Remove])
}

fn text() -> impl Strategy<Value = String> {
    // However many bytes are kept, one of the two is cut inside a character.
    let long = (0..2usize).prop_map(|before| "a".repeat(before) + &"é".repeat(3_000));
    prop_oneof![4 => Just("text".to_owned()), 1 => long, 1 => Just(String::new())]
}

fn status() -> impl Strategy<Value = TaskStatus> {
    let state = prop::sample::select(TaskState::ALL.to_vec());
    (state, at(), text(), prop::option::of(text()), prop::option::of(at()), any::<bool>()).prop_map(
        |(state, at, message, error, running_at, removed)| TaskStatus {
            error: error.clone(),
            running_at,
            exit_code: Some(i32::MIN),
            container_id: error.clone(),
            address: Some([10, 0, 0, 1].into()),
            evidence: error.map(|line| {
                Box::new(Evidence { log_tail: vec![line.clone(); 30], health: Some(line), oom_killed: true })
            }),
            removed,
            ..TaskStatus::new(state, at, message)
        },
    )
}

fn service_spec() -> impl Strategy<Value = ServiceSpec> {
    let name = prop::sample::select(vec!["a", "b", "", "c"]);
    let mode = prop_oneof![
        4 => (0..4u32).prop_map(|replicas| Mode::Replicated { replicas }),
        1 => Just(Mode::Replicated { replicas: u32::MAX }),
        2 => Just(Mode::Global),
    ];
    let ratio = prop::sample::select(vec![0.0, 0.5, f32::NAN, f32::INFINITY, -1.0]);
    let span = prop::sample::select(vec![Duration::ZERO, Duration::from_secs(5), Duration::MAX]);
    let port = prop::sample::select(vec!["port=0:80", "port=80:80", "host-port=443", "volume=x", "label=x"]);
    let count = prop::sample::select(vec![0, 1, u32::MAX]);
    (name, mode, ratio, span, port, count).prop_map(|(name, mode, ratio, span, word, count)| {
        let mut made = spec::base(name);
        made.mode = mode;
        spec::set(&mut made, word);
        made.task.restart.delay = Some(span);
        made.task.restart.window = span;
        made.task.restart.max_attempts = Some(count);
        made.task.placement.max_replicas_per_node = Some(count);
        for config in [&mut made.update, &mut made.rollback] {
            config.max_failure_ratio = ratio;
            config.parallelism = count;
            config.canary = count;
            (config.delay, config.monitor, config.progress_deadline) = (span, span, span);
        }
        made
    })
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let state = prop::sample::select(vec![
        RolloutState::Updating,
        RolloutState::Paused,
        RolloutState::Completed,
        RolloutState::RollbackStarted,
        RolloutState::RollbackPaused,
        RolloutState::RollbackCompleted,
    ]);
    (state, index(), at(), slot()).prop_map(|(state, target, at, slot)| Rollout {
        state,
        target: TemplateVersion(target),
        started_at: at,
        completed_at: None,
        progressed_at: at,
        done: [slot].into(),
        failed: [slot].into(),
        failures: Vec::new(),
        message: String::new(),
        hold: None,
        trust: Trust::default(),
        canaries: [slot].into(),
    })
}

fn restarts() -> impl Strategy<Value = RestartRecord> {
    (prop::sample::select(vec![0, 1, u32::MAX]), at()).prop_map(|(count, at)| RestartRecord {
        failures: count,
        attempts: count,
        recent: vec![at; 200],
    })
}

fn placement() -> impl Strategy<Value = Result<NodeId, WaitingOn>> {
    prop_oneof![id().prop_map(|id| Ok(NodeId::from_bits(id))), Just(Err(WaitingOn::NoNodes))]
}

fn creation() -> impl Strategy<Value = Action> {
    let numbers = (id(), id(), index(), index());
    (numbers, slot(), desired(), prop::option::of(at()), restarts(), placement()).prop_map(
        |((id, service, slot_version, template), slot, desired, start_after, restarts, placement)| Action::CreateTask {
            id: TaskId::from_bits(id),
            service_id: ServiceId::from_bits(service),
            slot,
            slot_version: Version(slot_version),
            template_version: TemplateVersion(template),
            desired,
            start_after,
            restarts,
            placement,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let task = || (id().prop_map(TaskId::from_bits), index().prop_map(Version));
    let service = || (id().prop_map(ServiceId::from_bits), index().prop_map(Version));
    prop_oneof![
        6 => creation(),
        1 => (task(), id()).prop_map(|((id, version), node)| Action::AssignTask {
            id, version, node_id: NodeId::from_bits(node)
        }),
        2 => (task(), desired()).prop_map(|((id, version), desired)| Action::SetDesired { id, version, desired }),
        1 => task().prop_map(|(id, version)| Action::SetWaiting { id, version, waiting: None }),
        1 => task().prop_map(|(id, version)| Action::KeepTask { id, version }),
        1 => task().prop_map(|(id, version)| Action::OrphanTask { id, version }),
        1 => task().prop_map(|(id, version)| Action::ForgetTask { id, version }),
        2 => (service(), rollout()).prop_map(|((service_id, version), rollout)| Action::SetRollout {
            service_id, version, rollout: Box::new(rollout)
        }),
        1 => (service(), rollout()).prop_map(|((service_id, version), rollout)| Action::StartRollback {
            service_id, version, rollout: Box::new(rollout)
        }),
    ]
}

fn report() -> impl Strategy<Value = (NodeId, TaskReport)> {
    (id(), id(), index(), status()).prop_map(|(node, task, fence, status)| {
        (NodeId::from_bits(node), TaskReport { task_id: TaskId::from_bits(task), fence: Fence(fence), status })
    })
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Worker, Role::Manager])
}

fn certificate() -> impl Strategy<Value = NodeCertificate> {
    (0..2u8, 0..2u8, role(), at(), 0..2u8).prop_map(|(key, root, role, expires_at, shown)| NodeCertificate {
        key: Digest([key; 32]),
        root: Digest([root; 32]),
        role,
        expires_at,
        shown: Some(Digest([shown; 32])),
    })
}

fn token() -> impl Strategy<Value = Token> {
    (id(), role(), prop::option::of(at()), prop::option::of(0..2u32)).prop_map(|(id, role, expires_at, uses_left)| {
        Token {
            id: TokenId::from_bits(id),
            role,
            hash: Digest([0; 32]),
            created_at: Timestamp::EPOCH,
            expires_at,
            uses_left,
        }
    })
}

fn authority() -> impl Strategy<Value = CertificateAuthority> {
    (0..2u8).prop_map(|root| CertificateAuthority {
        root: Root { certificate_pem: String::new(), digest: Digest([root; 32]) },
        sealed_key: Vec::new(),
        previous: None,
        crossed_pem: None,
    })
}

/// About who is a member, and by what right.
fn membership() -> impl Strategy<Value = Command> {
    let node = || id().prop_map(NodeId::from_bits);
    let others = prop::sample::select(vec![OtherTokens::Kept, OtherTokens::Voided]);
    prop_oneof![
        (node(), node_spec(), id(), certificate(), 1..4u16).prop_map(|(id, spec, token, certificate, log_format)| {
            Command::AdmitNode {
                id,
                spec,
                address: id.to_string(),
                token: TokenId::from_bits(token),
                certificate,
                log_format,
            }
        }),
        (node(), certificate(), 1..4u16).prop_map(|(id, certificate, log_format)| Command::CertifyNode {
            id,
            certificate,
            log_format
        }),
        node().prop_map(|id| Command::RemoveNode { id }),
        (node(), index().prop_map(Version), role()).prop_map(|(id, version, role)| Command::ChangeRole {
            id,
            version,
            role
        }),
        (token(), others).prop_map(|(token, others)| Command::CreateToken { token, others }),
        authority().prop_map(|authority| Command::RotateRoot { authority }),
        Just(Command::FinishRootRotation),
        index().prop_map(|version| Command::UpdateCluster {
            version: Version(version),
            spec: Box::new(ClusterSpec { task_history_limit: 1, ..ClusterSpec::default() })
        }),
    ]
}

fn founding() -> impl Strategy<Value = Option<Box<Founding>>> {
    prop::option::of((authority(), certificate(), prop::collection::vec(token(), 0..3)).prop_map(
        |(authority, certificate, tokens)| Box::new(Founding { authority, certificate, tokens, log_format: 2 }),
    ))
}

fn node_spec() -> impl Strategy<Value = NodeSpec> {
    let availability = prop::sample::select(vec![Availability::Active, Availability::Pause, Availability::Drain]);
    (role(), availability).prop_map(|(role, availability)| NodeSpec { role, availability, ..NodeSpec::default() })
}

/// Now and then one that was there before.
fn request() -> impl Strategy<Value = Option<RequestId>> {
    prop_oneof![3 => Just(None), 1 => id().prop_map(|id| Some(RequestId::from_bits(id)))]
}

fn command() -> impl Strategy<Value = Command> {
    let service = || id().prop_map(ServiceId::from_bits);
    let node = || id().prop_map(NodeId::from_bits);
    let version = || index().prop_map(Version);
    prop_oneof![
        1 => (node(), node_spec(), founding()).prop_map(|(node_id, node, founding)| Command::CreateCluster {
            id: ClusterId::from_bits(1), spec: ClusterSpec::default(), node_id, node, address: String::new(), founding
        }),
        2 => (service(), service_spec()).prop_map(|(id, spec)| Command::CreateService { id, spec: Box::new(spec) }),
        4 => (service(), version(), service_spec()).prop_map(|(id, version, spec)| Command::UpdateService {
            id, version, spec: Box::new(spec)
        }),
        2 => (service(), version()).prop_map(|(id, version)| Command::RollbackService { id, version }),
        1 => service().prop_map(|id| Command::RemoveService { id }),
        2 => (service(), version(), prop::sample::select(vec![Steer::Pause, Steer::Resume, Steer::Promote]))
            .prop_map(|(id, version, steer)| Command::SteerRollout { id, version, steer }),
        1 => (node(), node_spec()).prop_map(|(id, spec)| Command::JoinNode { id, spec, address: String::new() }),
        1 => (node(), version(), node_spec()).prop_map(|(id, version, spec)| Command::UpdateNode { id, version, spec }),
        4 => membership(),
        4 => prop::collection::vec(report(), 0..6).prop_map(|reports| Command::ReportTasks { reports }),
        2 => prop::collection::vec((id(), index(), id()), 0..4).prop_map(|moves| Command::MoveTasks {
            moves: moves
                .into_iter()
                .map(|(task, version, to)| Move {
                    task: TaskId::from_bits(task),
                    version: Version(version),
                    to: NodeId::from_bits(to),
                })
                .collect(),
        }),
        8 => (0..2u64, prop::collection::vec(action(), 0..8)).prop_map(|(term, actions)| Command::Execute {
            term: Term(term), actions
        }),
    ]
}

/// Objects are given the version they have more often than chance would.
fn informed(state: &State, mut command: Command) -> Command {
    let service_version = |id: ServiceId| state.service(id).map(|service| service.version);
    let task_version = |id: TaskId| state.task(id).map(|task| task.version);
    match &mut command {
        Command::UpdateService { id, version, .. }
        | Command::RollbackService { id, version }
        | Command::SteerRollout { id, version, .. } => {
            *version = service_version(*id).unwrap_or(*version);
        }
        Command::UpdateNode { id, version, .. } | Command::ChangeRole { id, version, .. } => {
            *version = state.node(*id).map_or(*version, |node| node.version);
        }
        Command::ReportTasks { reports } => {
            for (node, report) in reports {
                if let Some(task) = state.task(report.task_id) {
                    report.fence = task.fence;
                    *node = task.node_id.unwrap_or(*node);
                }
            }
        }
        Command::MoveTasks { moves } => {
            for one in moves {
                one.version = task_version(one.task).unwrap_or(one.version);
            }
        }
        Command::Execute { actions, .. } => {
            for action in actions {
                match action {
                    Action::CreateTask { service_id, slot, slot_version, template_version, .. } => {
                        *slot_version = state.slot_version(*service_id, *slot);
                        *template_version =
                            state.service(*service_id).map_or(*template_version, |service| service.template_version);
                    }
                    Action::AssignTask { id, version, .. }
                    | Action::SetDesired { id, version, .. }
                    | Action::SetWaiting { id, version, .. }
                    | Action::KeepTask { id, version }
                    | Action::OrphanTask { id, version }
                    | Action::ForgetTask { id, version } => *version = task_version(*id).unwrap_or(*version),
                    Action::SetRollout { service_id, version, rollout }
                    | Action::StartRollback { service_id, version, rollout } => {
                        if let Some(service) = state.service(*service_id) {
                            *version = service.version;
                            rollout.target = service.template_version;
                        }
                    }
                }
            }
        }
        Command::CreateCluster { .. }
        | Command::CreateService { .. }
        | Command::RemoveService { .. }
        | Command::JoinNode { .. }
        | Command::AdmitNode { .. }
        | Command::CertifyNode { .. }
        | Command::RemoveNode { .. }
        | Command::CreateToken { .. }
        | Command::RotateRoot { .. }
        | Command::FinishRootRotation
        | Command::DescribeNode { .. } => {}
        Command::UpdateCluster { version, .. } => {
            *version = state.cluster().map_or(*version, |cluster| cluster.version);
        }
    }
    command
}

struct Ids(u128);

impl IdSource for Ids {
    fn task_id(&mut self) -> TaskId {
        self.0 += 1;
        TaskId::from_bits(1 << 64 | self.0)
    }
}

fn look(state: &State, now: Timestamp) {
    let mut liveness = Liveness::default();
    liveness.ready(NodeId::from_bits(1));
    liveness.down(NodeId::from_bits(2), now);
    let input = Input { state, liveness: &liveness, now, dirty: &Dirty::Everything };
    let planned = plan(input, &mut Ids(0));
    // A slot's step is never torn apart, so the bound is not sharp to the last action.
    assert!(planned.actions.len() <= muster_core::plan::ACTIONS_MAX, "{} actions", planned.actions.len());
    assert!(planned.wake.values().all(|at| *at > now), "a wake-up in the past would spin");
}

fn reads_back(state: &State) {
    let bytes = rmp_serde::to_vec(&Snapshot::of(state)).expect("a state can be written");
    let read: Snapshot = rmp_serde::from_slice(&bytes).expect("what was written can be read");
    let read = read.into_state().expect("a written state is whole");
    // Not every number that is no number equals itself.
    assert_eq!(rmp_serde::to_vec(&Snapshot::of(&read)).expect("again"), bytes);
    for task in read.tasks() {
        let service = read.service(task.service_id).filter(|s| s.template_version == task.template_version);
        assert!(service.is_none_or(|s| Arc::ptr_eq(&s.template, &task.template)), "a template is there twice");
    }
}

proptest! {
    #![proptest_config(properties::config(96))]

    /// Planted: a text that is cut inside a character; caught after 749 rows of entries, since such texts are generated.
    #[test]
    fn nonsense_is_survived(
        commands in prop::collection::vec((command(), at(), any::<bool>(), request()), 1..40)
    ) {
        let mut state = State::default();
        for (number, (command, at, well_informed, request)) in (1..).zip(commands) {
            let command = if well_informed { informed(&state, command) } else { command };
            let position = LogPosition { term: Term(1), index: number };
            apply(&mut state, position, &Entry::new(at, request, command));
            prop_assert_eq!(state.applied(), position);
            reads_back(&state);
            look(&state, at);
        }
    }
}
