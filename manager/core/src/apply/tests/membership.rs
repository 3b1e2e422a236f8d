//! Who becomes a member and by what right, in which role, and what is left of who is taken out.

use muster_proto::{
    id::{RequestId, TokenId},
    node::{Availability, Role},
    trust::{CertificateAuthority, Digest, NodeCertificate, Root, Token},
    version::RaftId,
};

use super::*;
use crate::command::{Founding, LOG_FORMAT, OtherTokens, SEVERAL_MANAGERS};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const WORKERS: TokenId = TokenId::from_bits(1);
const MANAGERS: TokenId = TokenId::from_bits(2);
const B: NodeId = NodeId::from_bits(2);
const C: NodeId = NodeId::from_bits(3);

fn certificate(key: u8, root: u8, role: Role) -> NodeCertificate {
    let expires_at = Timestamp::from_millis(1_000);
    NodeCertificate { key: Digest([key; 32]), root: Digest([root; 32]), role, expires_at, shown: None }
}

fn token(id: TokenId, role: Role) -> Token {
    Token { id, role, hash: Digest([0; 32]), created_at: Timestamp::EPOCH, expires_at: None, uses_left: None }
}

fn authority(root: u8) -> CertificateAuthority {
    let root = Root { certificate_pem: String::new(), digest: Digest([root; 32]) };
    CertificateAuthority { root, sealed_key: Vec::new(), previous: None, crossed_pem: None }
}

/// A cluster with a root, a manager and two standing tokens.
fn founded() -> Log {
    let mut log = Log { state: State::default(), index: 0 };
    let founding = Founding {
        authority: authority(1),
        certificate: certificate(1, 1, Role::Manager),
        tokens: vec![token(WORKERS, Role::Worker), token(MANAGERS, Role::Manager)],
        log_format: LOG_FORMAT,
    };
    log.done(Command::CreateCluster {
        id: ClusterId::from_bits(1),
        spec: ClusterSpec { certificate_validity: std::time::Duration::from_millis(500), ..ClusterSpec::default() },
        node_id: NODE,
        node: NodeSpec { role: Role::Manager, ..NodeSpec::default() },
        address: "10.0.0.1:7377".to_owned(),
        founding: Some(Box::new(founding)),
    });
    log
}

fn admission(id: NodeId, key: u8, token: TokenId) -> Command {
    Command::AdmitNode {
        id,
        spec: NodeSpec { availability: Availability::Pause, ..NodeSpec::default() },
        address: format!("10.0.0.{}:7377", id.bits()),
        token,
        certificate: certificate(key, 1, if token == MANAGERS { Role::Manager } else { Role::Worker }),
        log_format: LOG_FORMAT,
    }
}

fn older(mut admission: Command) -> Command {
    if let Command::AdmitNode { log_format, .. } = &mut admission {
        *log_format = LOG_FORMAT - 1;
    }
    admission
}

impl Log {
    fn role(&mut self, id: NodeId, role: Role) -> Outcome {
        let version = self.state.node(id).expect("the node").version;
        self.apply(Command::ChangeRole { id, version, role })
    }

    fn raft_id(&self, id: NodeId) -> Option<RaftId> {
        self.state.node(id).expect("the node").raft_id
    }

    fn asked(&mut self, request: u128, command: Command) -> Outcome {
        self.index += 1;
        let at = LogPosition { term: TERM, index: self.index };
        let entry = Entry::new(Timestamp::from_millis(self.index), Some(RequestId::from_bits(request)), command);
        apply(&mut self.state, at, &entry).0
    }
}

#[test]
fn a_host_is_admitted_once_in_the_role_of_its_token() {
    let mut log = founded();
    log.done(Command::CreateToken {
        token: Token { uses_left: Some(1), ..token(TokenId::from_bits(3), Role::Worker) },
        others: OtherTokens::Kept,
    });
    log.done(admission(B, 2, TokenId::from_bits(3)));
    let node = log.state.node(B).expect("admitted").clone();
    assert_eq!((node.spec.role, node.spec.availability, node.raft_id), (Role::Worker, Availability::Pause, None));
    assert_eq!((node.certificate.expect("held").key, node.log_format), (Digest([2; 32]), LOG_FORMAT));
    log.done(admission(B, 2, TokenId::from_bits(3)));
    assert_eq!(log.refused(admission(B, 9, WORKERS)), Rejection::OtherKey(B));
    let used_up = log.refused(admission(C, 3, TokenId::from_bits(3)));
    assert_eq!(used_up, Rejection::TokenUsedUp { role: Role::Worker });
    assert_eq!(log.refused(admission(C, 3, TokenId::from_bits(77))), Rejection::TokenUnknown);
    log.done(admission(C, 3, MANAGERS));
    assert_eq!(log.raft_id(C), Some(RaftId(2)));
}

#[test]
fn a_token_that_expired_admits_nobody() {
    let mut log = founded();
    let expires_at = Some(Timestamp::from_millis(4));
    let passing = Token { expires_at, ..token(TokenId::from_bits(3), Role::Manager) };
    log.done(Command::CreateToken { token: passing, others: OtherTokens::Kept });
    log.done(admission(B, 2, TokenId::from_bits(3)));
    let expired = log.refused(admission(C, 3, TokenId::from_bits(3)));
    assert_eq!(expired, Rejection::TokenExpired { role: Role::Manager });
}

#[test]
fn an_address_belongs_to_one_node() {
    let mut log = founded();
    let mut second = admission(B, 2, WORKERS);
    if let Command::AdmitNode { address, .. } = &mut second {
        "10.0.0.1:7377".clone_into(address);
    }
    let taken = Rejection::AddressTaken { address: "10.0.0.1:7377".to_owned(), node: NODE };
    assert_eq!(log.refused(second), taken);
}

#[test]
fn a_manager_must_read_the_log_and_uses_up_no_token_otherwise() {
    let mut log = founded();
    let once = Token { uses_left: Some(1), ..token(MANAGERS, Role::Manager) };
    log.done(Command::CreateToken { token: once, others: OtherTokens::Kept });
    let reads = LOG_FORMAT - 1;
    assert_eq!(log.refused(older(admission(B, 2, MANAGERS))), Rejection::ReadsOlderLog { reads, uses: LOG_FORMAT });
    log.done(older(admission(C, 3, WORKERS)));
    assert_eq!(log.role(C, Role::Manager), Outcome::Rejected(Rejection::ReadsOlderLog { reads, uses: LOG_FORMAT }));
    log.done(admission(B, 2, MANAGERS));
}

#[test]
fn the_cluster_uses_what_its_oldest_manager_reads() {
    let mut log = founded();
    log.done(admission(B, 2, MANAGERS));
    assert_eq!(log.state.log_format(), LOG_FORMAT);
    let certificate = certificate(2, 1, Role::Manager);
    log.done(Command::CertifyNode { id: B, certificate, log_format: LOG_FORMAT - 1 });
    assert_eq!(log.state.log_format(), LOG_FORMAT - 1);
    assert_eq!(log.state.oldest_manager().map(|node| node.id), Some(B));
    log.role(B, Role::Worker);
    assert_eq!(log.state.log_format(), LOG_FORMAT, "a worker reads no log");
}

#[test]
fn every_promotion_gives_another_raft_id() {
    let mut log = founded();
    log.done(admission(B, 2, WORKERS));
    for number in [2, 3] {
        assert!(matches!(log.role(B, Role::Manager), Outcome::Done { .. }));
        assert_eq!(log.raft_id(B), Some(RaftId(number)));
        assert!(!log.state.is_retired(RaftId(number)));
        assert!(matches!(log.role(B, Role::Worker), Outcome::Done { .. }));
        assert!(log.raft_id(B).is_none() && log.state.is_retired(RaftId(number)));
    }
    assert!(!log.state.is_retired(RaftId(4)), "nobody has heard of it");
    assert_eq!(log.role(NODE, Role::Worker), Outcome::Rejected(Rejection::LastManager(NODE)));
    assert_eq!(log.refused(Command::RemoveNode { id: NODE }), Rejection::LastManager(NODE));
    let late = Command::ChangeRole { id: B, version: Version(1), role: Role::Manager };
    assert!(matches!(log.refused(late), Rejection::NodeChanged { .. }));
}

#[test]
fn a_certificate_is_for_the_role_there_is_and_changes_no_version() {
    let mut log = founded();
    log.done(admission(B, 2, WORKERS));
    let version = log.state.node(B).expect("the node").version;
    let certify = |role| Command::CertifyNode { id: B, certificate: certificate(4, 1, role), log_format: LOG_FORMAT };
    assert_eq!(log.refused(certify(Role::Manager)), Rejection::OtherRole(B, Role::Worker));
    log.done(certify(Role::Worker));
    let node = log.state.node(B).expect("the node");
    assert_eq!((node.version, node.certificate.as_ref().map(|held| held.key)), (version, Some(Digest([4; 32]))));
}

#[test]
fn who_was_removed_stays_out_and_loses_its_tasks() {
    let mut log = founded();
    log.done(admission(B, 2, WORKERS));
    log.done(Command::CreateService { id: WEB, spec: Box::new(spec("v1")) });
    let mut made = creation(0, log.web().template_version.0);
    if let Action::CreateTask { placement, .. } = &mut made {
        *placement = Ok(B);
    }
    assert_eq!(log.execute(made), None);
    log.done(Command::RemoveNode { id: B });
    assert!(log.state.was_removed(B));
    let task = log.state.task(TASK).expect("kept as history");
    assert_eq!((task.status.state, task.status.removed), (TaskState::Orphaned, true));
    assert_eq!(log.refused(admission(B, 2, WORKERS)), Rejection::NodeRemoved(B));
    assert_eq!(log.refused(Command::RemoveNode { id: B }), Rejection::NoSuchNode(B));
    // Its certificate ends at 1,000 and could be renewed for another day.
    log.done(admission(C, 3, WORKERS));
    log.index = 1_000 + DAY_MS - 2;
    log.done(Command::RemoveNode { id: C });
    assert!(log.state.was_removed(B) && log.state.was_removed(C));
    log.done(admission(NodeId::from_bits(4), 4, WORKERS));
    log.done(Command::RemoveNode { id: NodeId::from_bits(4) });
    assert!(!log.state.was_removed(B));
}

#[test]
fn who_was_removed_is_remembered_until_the_last_of_its_certificates_has_ended() {
    let mut log = founded();
    log.done(admission(B, 2, WORKERS));
    let certify = |expires_at| {
        let expires_at = Timestamp::from_millis(expires_at);
        let certificate = NodeCertificate { expires_at, ..certificate(2, 1, Role::Worker) };
        Command::CertifyNode { id: B, certificate, log_format: LOG_FORMAT }
    };
    // The validity was shortened after the first.
    log.done(certify(90 * DAY_MS));
    log.done(certify(2_000));
    log.done(Command::RemoveNode { id: B });
    assert_eq!(log.state.removed_nodes.get(&B), Some(&Timestamp::from_millis(91 * DAY_MS)));
}

#[test]
fn of_too_many_that_were_removed_whose_certificates_end_first_is_forgotten() {
    let mut log = founded();
    // The one with the smallest id has the certificate that lasts longest.
    for number in (1_000..5_097u64).rev() {
        let id = NodeId::from_bits(u128::from(number));
        log.done(admission(id, 2, WORKERS));
        let expires_at = Timestamp::from_millis(1_000_000 - number);
        let certificate = NodeCertificate { expires_at, ..certificate(2, 1, Role::Worker) };
        log.done(Command::CertifyNode { id, certificate, log_format: LOG_FORMAT });
        log.done(Command::RemoveNode { id });
    }
    let removed = |number: u128| log.state.was_removed(NodeId::from_bits(number));
    assert!(removed(1_000) && removed(5_095) && !removed(5_096));
    assert_eq!(crate::assign::orders(&log.state, NODE).expect("a member").removed.len(), 4_096);
}

#[test]
fn a_rotation_voids_the_tokens_of_its_role_and_there_is_a_limit() {
    let mut log = founded();
    let of = |number: u128| token(TokenId::from_bits(number), Role::Worker);
    log.done(Command::CreateToken { token: of(3), others: OtherTokens::Voided });
    assert_eq!(log.state.tokens().keys().copied().collect::<Vec<_>>(), [MANAGERS, TokenId::from_bits(3)]);
    for number in 4..130 {
        log.done(Command::CreateToken { token: of(number), others: OtherTokens::Kept });
    }
    let one_more = || Command::CreateToken { token: of(130), others: OtherTokens::Kept };
    assert_eq!(log.refused(one_more()), Rejection::TooManyTokens(128));
    log.done(Command::CreateToken { token: of(131), others: OtherTokens::Voided });
    log.done(one_more());
}

#[test]
fn a_root_is_given_up_once_nobody_needs_it() {
    let mut log = founded();
    log.done(admission(B, 2, WORKERS));
    log.done(Command::RotateRoot {
        authority: CertificateAuthority { crossed_pem: Some("the key of 2, by 1".to_owned()), ..authority(2) },
    });
    assert!(log.state.tokens().is_empty(), "they carry the digest of the former root");
    let roots =
        |log: &Log| log.state.authority().expect("a root").roots().map(|root| root.digest.0[0]).collect::<Vec<_>>();
    assert_eq!(roots(&log), [2, 1]);
    assert_eq!(log.refused(Command::RotateRoot { authority: authority(3) }), Rejection::RotationUnderWay);
    assert_eq!(log.refused(Command::FinishRootRotation), Rejection::NotCertified(NODE));
    for (id, role) in [(NODE, Role::Manager), (B, Role::Worker)] {
        assert!(matches!(log.refused(Command::FinishRootRotation), Rejection::NotCertified(_)));
        let mut certify = |shown| {
            let certificate = NodeCertificate { shown: Some(Digest([shown; 32])), ..certificate(1, 2, role) };
            log.done(Command::CertifyNode { id, certificate, log_format: LOG_FORMAT });
            crate::assign::orders(&log.state, id).expect("a member").show_certificate
        };
        assert!(certify(1), "it may not have reached the node");
        assert!(!certify(2));
    }
    log.done(Command::FinishRootRotation);
    assert_eq!(roots(&log), [2]);
    assert_eq!(log.state.authority().expect("a root").crossed_pem, None);
}

#[test]
fn a_repeated_request_is_answered_and_not_carried_out_again() {
    let mut log = founded();
    let create = |id| Command::CreateService { id: ServiceId::from_bits(id), spec: Box::new(spec("v1")) };
    let first = log.asked(1, create(1));
    assert!(matches!(first, Outcome::Done { .. }));
    let taken = log.asked(2, create(2));
    assert!(matches!(taken, Outcome::Rejected(Rejection::NameTaken { .. })));
    log.done(Command::RemoveService { id: WEB });
    let before = log.state.clone();
    assert_eq!(log.asked(1, create(1)), first);
    assert_eq!(log.asked(2, create(2)), taken, "also what was refused and would be accepted by now");
    (log.state.applied, log.state.stamped) = (before.applied, before.stamped);
    assert!(log.state == before);
    assert!(matches!(log.asked(3, create(1)), Outcome::Done { .. }));
}

#[test]
fn an_entry_has_the_lowest_format_that_can_carry_it() {
    let format = |request, command| Entry::new(Timestamp::EPOCH, request, command).format;
    let remove = || Command::RemoveService { id: WEB };
    assert_eq!(format(None, remove()), 1);
    assert_eq!(format(Some(RequestId::from_bits(1)), remove()), SEVERAL_MANAGERS);
    assert_eq!(format(None, Command::FinishRootRotation), SEVERAL_MANAGERS);
    assert_eq!(format(None, Command::JoinNode { id: B, spec: NodeSpec::default(), address: String::new() }), 1);
}
