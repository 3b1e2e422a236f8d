//! Hosts become nodes, stay nodes and leave.

use muster_core::{
    command::{Command, LOG_FORMAT, OtherTokens},
    state::State,
};
use muster_manager::{
    ca::NodeKey,
    clock::{Clock, WallClock},
    membership::JOIN_PROTOCOL,
};
use muster_proto::{
    id::{NodeId, TokenId},
    node::{Availability, Role},
    time::Timestamp,
    trust::Token,
    v1,
};
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinSet};
use tonic::{Code, Request, Status};

use crate::bench::{Bench, CALLER, CALLERS_ROOT, NODE, soon};

/// A host that would be a node.
pub(crate) struct Newcomer {
    pub(crate) id: NodeId,
    key: NodeKey,
    address: String,
    /// What it answers with at its address.
    word: &'static str,
    answers: JoinSet<()>,
}

impl Newcomer {
    pub(crate) async fn new(id: u128) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let mut answers = JoinSet::new();
        let word = "0123456789abcdef";
        answers.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Whoever went away does not want it.
                let _ = stream.write_all(word.as_bytes()).await;
            }
        });
        let key = NodeKey::generate().expect("random");
        Self { id: NodeId::from_bits(id), key, address, word, answers }
    }

    fn request(&self, secret: &str) -> v1::JoinRequest {
        v1::JoinRequest {
            protocol: JOIN_PROTOCOL,
            secret: secret.to_owned(),
            node_id: self.id.to_string(),
            public_key: self.key.public_der(),
            advertise_addr: self.address.clone(),
            probe: self.word.to_owned(),
            availability: v1::Availability::Drain.into(),
            hostname: "newcomer".to_owned(),
            muster_version: "0.2.0".to_owned(),
            log_format: LOG_FORMAT.into(),
        }
    }

    pub(crate) async fn join(&self, bench: &Bench, secret: &str) -> Result<v1::Grant, Status> {
        ask(bench, self.request(secret)).await
    }
}

async fn ask(bench: &Bench, request: v1::JoinRequest) -> Result<v1::Grant, Status> {
    soon("join", bench.membership().join(request)).await.map(tonic::Response::into_inner)
}

fn asked_by<T>(id: NodeId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(CALLER, id.to_string().parse().expect("ASCII"));
    request
}

pub(crate) async fn renew(bench: &Bench, newcomer: &Newcomer) -> Result<v1::Grant, Status> {
    renew_showing(bench, newcomer, None).await
}

/// With a certificate of that root.
pub(crate) async fn renew_showing(bench: &Bench, newcomer: &Newcomer, root: Option<&str>) -> Result<v1::Grant, Status> {
    let request = v1::RenewRequest {
        public_key: newcomer.key.public_der(),
        log_format: LOG_FORMAT.into(),
        advertise_addr: newcomer.address.clone(),
    };
    let mut request = asked_by(newcomer.id, request);
    if let Some(root) = root {
        request.metadata_mut().insert(CALLERS_ROOT, root.parse().expect("ASCII"));
    }
    soon("renew", bench.membership().renew(request)).await.map(tonic::Response::into_inner)
}

async fn depart(bench: &Bench, id: NodeId) -> Result<(), Status> {
    let request = asked_by(id, v1::DepartRequest { force: false });
    soon("depart", bench.membership().depart(request)).await.map(|_| ())
}

pub(crate) fn read<T>(bench: &Bench, look: impl FnOnce(&State) -> T) -> T {
    bench.handle.replica().read(look)
}

/// The secret of the standing token.
pub(crate) fn secret(bench: &Bench, role: Role) -> String {
    let id = read(bench, |state| state.tokens().values().find(|token| token.role == role).map(|token| token.id));
    bench.cluster_key.join_secret(id.expect("a standing token")).to_string()
}

async fn token(bench: &Bench, expires_at: Option<Timestamp>, uses_left: Option<u32>) -> String {
    let id = TokenId::from_bits(99);
    let secret = bench.cluster_key.join_secret(id);
    let token =
        Token { id, role: Role::Worker, hash: secret.hash(), created_at: WallClock.now(), expires_at, uses_left };
    let command = Command::CreateToken { token, others: OtherTokens::Kept };
    soon("create", bench.handle.replica().propose(command)).await.expect("created");
    secret.to_string()
}

fn refusal(answer: Result<v1::Grant, Status>, code: Code, says: &str) {
    let refused = answer.expect_err(says);
    assert_eq!(refused.code(), code, "{refused}");
    assert!(refused.message().contains(says), "{refused}");
}

#[tokio::test]
async fn a_host_with_a_token_becomes_a_node_and_repeats_that() {
    let bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    let secret = secret(&bench, Role::Worker);
    let grant = newcomer.join(&bench, &secret).await.expect("granted");
    assert_eq!((grant.role(), grant.raft_id, grant.cluster_key), (v1::Role::Worker, None, None));
    assert_eq!((grant.node_id, grant.incarnation), (newcomer.id.to_string(), 1));
    assert_eq!(grant.managers, ["127.0.0.1:7377"]);
    let (node, root) = read(&bench, |state| {
        let root = state.authority().map(|authority| authority.root.certificate_pem.clone());
        (state.node(newcomer.id).cloned().expect("a node"), root.expect("a root"))
    });
    assert_eq!(grant.roots_pem, [root]);
    assert_eq!(node.address, newcomer.address);
    assert_eq!(node.spec.availability, Availability::Drain);
    assert_eq!(node.log_format, LOG_FORMAT);

    let again = newcomer.join(&bench, &secret).await.expect("granted anew");
    assert_eq!(again.node_id, newcomer.id.to_string());
    assert_eq!(read(&bench, |state| state.nodes().count()), 2);
    let mut other = Newcomer::new(7).await;
    other.address.clone_from(&newcomer.address);
    refusal(other.join(&bench, &secret).await, Code::PermissionDenied, "joined with another key");
    let other = Newcomer { id: NodeId::from_bits(8), ..newcomer };
    refusal(other.join(&bench, &secret).await, Code::AlreadyExists, "uses the address");
    bench.stop().await;
}

#[tokio::test]
async fn a_managers_grant_has_what_a_manager_needs_and_only_a_managers_token_gets_it() {
    let bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    let grant = newcomer.join(&bench, &secret(&bench, Role::Manager)).await.expect("granted");
    assert_eq!((grant.role(), grant.raft_id), (v1::Role::Manager, Some(2)));
    assert_eq!(grant.cluster_key.as_deref(), Some(bench.cluster_key.bytes().as_slice()));
    assert_eq!(grant.managers.len(), 2);
    let answer = newcomer.join(&bench, &secret(&bench, Role::Worker)).await;
    refusal(answer, Code::AlreadyExists, "exists already");
    bench.stop().await;
}

#[tokio::test]
async fn tokens_that_are_not_valid_are_refused_and_say_why() {
    let bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    let expired = token(&bench, Some(Timestamp::from_millis(1)), None).await;
    refusal(newcomer.join(&bench, &expired).await, Code::PermissionDenied, "has expired");
    let once = token(&bench, None, Some(1)).await;
    newcomer.join(&bench, &once).await.expect("the first");
    newcomer.join(&bench, &once).await.expect("the same host repeats it");
    refusal(Newcomer::new(8).await.join(&bench, &once).await, Code::PermissionDenied, "is used up");
    for _ in 0..10 {
        refusal(newcomer.join(&bench, "nonsense").await, Code::PermissionDenied, "is not valid");
    }
    let standing = secret(&bench, Role::Worker);
    refusal(newcomer.join(&bench, &standing).await, Code::ResourceExhausted, "wait");
    bench.stop().await;
}

#[tokio::test]
async fn a_spent_token_does_not_open_a_node_that_is_in_use() {
    let bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    let once = token(&bench, None, Some(1)).await;
    newcomer.join(&bench, &once).await.expect("granted");
    let description = crate::agent::description("b").try_into().expect("valid");
    let address = newcomer.address.clone();
    let command = Command::DescribeNode { id: newcomer.id, description: Box::new(description), address };
    soon("describe", bench.handle.replica().propose(command)).await.expect("described");
    refusal(newcomer.join(&bench, &once).await, Code::AlreadyExists, "exists already");
    bench.stop().await;
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_or_reads_an_older_log_is_refused() {
    let bench = Bench::start().await;
    let mut newcomer = Newcomer::new(7).await;
    let secret = secret(&bench, Role::Worker);
    newcomer.word = "fedcba9876543210";
    refusal(newcomer.join(&bench, &secret).await, Code::FailedPrecondition, "another host answers there");
    newcomer.answers.shutdown().await;
    refusal(newcomer.join(&bench, &secret).await, Code::FailedPrecondition, "cannot be reached from this manager");
    let older = v1::JoinRequest { log_format: u32::from(LOG_FORMAT) - 1, ..newcomer.request(&secret) };
    refusal(ask(&bench, older).await, Code::FailedPrecondition, "upgrade muster there first");
    assert_eq!(read(&bench, |state| state.nodes().count()), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_renewal_follows_the_role_and_ends_with_the_membership() {
    let bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    newcomer.join(&bench, &secret(&bench, Role::Worker)).await.expect("granted");
    let grant = renew(&bench, &newcomer).await.expect("renewed");
    assert_eq!((grant.role(), grant.raft_id), (v1::Role::Worker, None));
    let version = read(&bench, |state| state.node(newcomer.id).expect("a node").version);
    let command = Command::ChangeRole { id: newcomer.id, version, role: Role::Manager };
    soon("promote", bench.handle.replica().propose(command)).await.expect("promoted");
    let grant = renew(&bench, &newcomer).await.expect("renewed");
    assert_eq!((grant.role(), grant.raft_id), (v1::Role::Manager, Some(2)));
    assert!(grant.cluster_key.is_some());
    let held = read(&bench, |state| state.node(newcomer.id).expect("a node").certificate.clone());
    assert_eq!(held.map(|held| held.role), Some(Role::Manager));

    // It is in no Raft group yet, so nothing has to be waited for.
    depart(&bench, newcomer.id).await.expect("gone");
    assert!(read(&bench, |state| state.was_removed(newcomer.id)));
    depart(&bench, newcomer.id).await.expect("gone already");
    refusal(renew(&bench, &newcomer).await, Code::PermissionDenied, "was removed");
    let answer = newcomer.join(&bench, &secret(&bench, Role::Worker)).await;
    refusal(answer, Code::PermissionDenied, "was removed");
    bench.stop().await;
}

#[tokio::test]
async fn the_only_manager_stays() {
    let bench = Bench::start().await;
    let refused = depart(&bench, NODE).await.expect_err("the last");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let nameless = soon("renew", bench.membership().renew(v1::RenewRequest::default())).await;
    assert_eq!(nameless.map(|_| ()).expect_err("nobody").code(), Code::Unauthenticated);
    bench.stop().await;
}
