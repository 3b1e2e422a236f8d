//! Real handshakes on loopback: who is taken for whom, before and after certificates and roots are exchanged, and what
//! is said where a connection is refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    time::Timestamp,
    version::RaftId,
};
use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Alpn, Authority, CaError, Credentials, DialError, Expect, Keeper, NODE_VALIDITY, NodeKey, Part, PeerIdentity,
    Presented, Worthless, dial_pinned, digest,
};
use crate::clock::{Clock, WallClock};

const CLUSTER: ClusterId = ClusterId::from_bits(1);
const MANAGER: NodeId = NodeId::from_bits(10);
const WORKER: NodeId = NodeId::from_bits(11);
const RAFT_ID: RaftId = RaftId(7);
const DEADLINE: Duration = Duration::from_secs(30);

fn authority() -> Authority {
    Authority::create(CLUSTER, WallClock.now()).expect("a CA")
}

fn credentials(authority: &Authority, node: NodeId, role: Role) -> Credentials {
    Credentials::issue(authority, node, part(role), WallClock.now(), NODE_VALIDITY).expect("issued")
}

fn part(role: Role) -> Part {
    match role {
        Role::Worker => Part::Worker,
        Role::Manager => Part::Manager(RAFT_ID),
    }
}

fn keeper(authority: &Authority, node: NodeId, role: Role) -> Keeper {
    Keeper::new(credentials(authority, node, role)).expect("a keeper")
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).expect("small"))
}

/// What a server saw of a connection.
type Seen = (Presented, HandshakeKind);

/// Takes connections and writes down what they show.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(keeper: Keeper) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let Ok(mut stream) = TlsAcceptor::from(keeper.server_config()).accept(stream).await else { continue };
                let session = stream.get_ref().1;
                let presented = keeper.presented(session.peer_certificates(), now());
                noted.lock().unwrap().push((presented, session.handshake_kind().expect("done")));
                // The tickets go out with the first bytes.
                drop(stream.write_all(b".").await);
                drop(stream.shutdown().await);
            }
        });
        Self { address, seen, task }
    }

    async fn visit(&self, keeper: &Keeper, expect: Expect) -> Result<Seen, DialError> {
        let visit = async {
            let mut stream = keeper.dial(&self.address.to_string(), expect, Alpn::Relay).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("an answer");
            Ok(self.seen.lock().unwrap().pop().expect("noted before it answered"))
        };
        tokio::time::timeout(DEADLINE, visit).await.expect("an end")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn certificate(presented: Presented) -> PeerIdentity {
    match presented {
        Presented::Certificate(identity) => identity,
        Presented::Nothing | Presented::Worthless(_) => panic!("{presented:?}"),
    }
}

#[tokio::test]
async fn a_member_is_taken_for_who_its_certificate_says() {
    let authority = authority();
    let server = Server::start(keeper(&authority, MANAGER, Role::Manager)).await;
    for (node, role) in [(WORKER, Role::Worker), (MANAGER, Role::Manager)] {
        for expect in [Expect::AnyManager, Expect::Node(MANAGER)] {
            let (presented, _) = server.visit(&keeper(&authority, node, role), expect).await.expect("a member");
            let PeerIdentity { cluster_id, node_id, role: told, raft_id, root, expires_at } = certificate(presented);
            assert_eq!((cluster_id, node_id, told, raft_id), (CLUSTER, node, role, part(role).raft_id()));
            assert_eq!(root, Some(digest(authority.cert_pem()).unwrap()));
            assert!(expires_at > now());
        }
    }
}

#[tokio::test]
async fn only_who_was_meant_is_talked_to() {
    let authority = authority();
    let myself = keeper(&authority, MANAGER, Role::Manager);
    let worker = Server::start(keeper(&authority, WORKER, Role::Worker)).await;
    let error = worker.visit(&myself, Expect::AnyManager).await.expect_err("a worker is no manager");
    assert!(error.to_string().contains("is not a manager of this cluster"), "{error}");
    let error = worker.visit(&myself, Expect::Node(MANAGER)).await.expect_err("another node");
    assert!(error.to_string().contains(&format!("is not node {MANAGER}")), "{error}");
    worker.visit(&myself, Expect::Node(WORKER)).await.expect("the one that was meant");

    let foreign = Server::start(keeper(&self::authority(), MANAGER, Role::Manager)).await;
    let error = foreign.visit(&myself, Expect::AnyManager).await.expect_err("another CA");
    assert!(matches!(error, DialError::OtherAuthority { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_worth_nothing() {
    let (authority, other) = (authority(), self::authority());
    let server = Server::start(keeper(&authority, MANAGER, Role::Manager)).await;
    // Trusts the server, and shows a certificate of its own CA for the same cluster and node.
    let mut forged = credentials(&other, MANAGER, Role::Manager);
    forged.ca_pem.push_str(authority.cert_pem());
    let (presented, _) = server.visit(&Keeper::new(forged).unwrap(), Expect::AnyManager).await.expect("secured");
    assert_eq!(presented, Presented::Worthless(Worthless::OtherAuthority));
}

#[tokio::test]
async fn an_expired_certificate_counts_until_its_grace_ends() {
    let authority = authority();
    let manager = keeper(&authority, MANAGER, Role::Manager);
    let life = NODE_VALIDITY / 3;
    let short = Credentials::issue(&authority, WORKER, Part::Worker, WallClock.now(), life).unwrap();
    let expires_at = short.identity().unwrap().expires_at;
    let server = Server::start(manager.clone()).await;
    let (presented, _) = server.visit(&Keeper::new(short.clone()).unwrap(), Expect::AnyManager).await.unwrap();
    assert_eq!(certificate(presented).expires_at, expires_at);

    let leaf = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(
        short.cert_pem.as_bytes(),
    )
    .unwrap();
    let at = |when| manager.presented(Some(std::slice::from_ref(&leaf)), when);
    assert_eq!(certificate(at(expires_at + Duration::from_secs(2))).node_id, WORKER);
    assert_eq!(certificate(at(expires_at + life)).node_id, WORKER);
    assert_eq!(at(expires_at + life + Duration::from_secs(2)), Presented::Worthless(Worthless::LongExpired));
    assert_eq!(at(Timestamp::EPOCH), Presented::Worthless(Worthless::NotYetValid));
    assert_eq!(manager.presented(None, now()), Presented::Nothing);
    assert_eq!(manager.presented(Some(&[]), now()), Presented::Nothing);
}

#[tokio::test]
async fn an_expired_server_is_refused() {
    let authority = authority();
    let expired =
        Credentials::issue(&authority, MANAGER, part(Role::Manager), WallClock.now(), Duration::ZERO).unwrap();
    let server = Server::start(Keeper::new(expired).unwrap()).await;
    tokio::time::timeout(DEADLINE, async {
        // A certificate is good to the end of the second it expires in.
        loop {
            match server.visit(&keeper(&authority, WORKER, Role::Worker), Expect::AnyManager).await {
                Ok(_) => {}
                Err(DialError::Expired { .. }) => return,
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await
    .expect("it expires");
}

#[tokio::test]
async fn sessions_are_resumed_and_never_under_a_former_identity() {
    let authority = authority();
    let manager = keeper(&authority, MANAGER, Role::Manager);
    let server = Server::start(manager.clone()).await;
    let caller = keeper(&authority, WORKER, Role::Worker);
    let mut visits = Vec::new();
    for _ in 0..2 {
        visits.push(server.visit(&caller, Expect::AnyManager).await.unwrap());
    }
    assert_eq!(visits.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), [HandshakeKind::Full, HandshakeKind::Resumed]);
    assert_eq!(certificate(visits[1].0).role, Role::Worker);

    caller.replace(credentials(&authority, WORKER, Role::Manager)).unwrap();
    let (presented, kind) = server.visit(&caller, Expect::AnyManager).await.unwrap();
    assert_eq!((certificate(presented).role, kind), (Role::Manager, HandshakeKind::Full));

    manager.replace(credentials(&authority, MANAGER, Role::Manager)).unwrap();
    let (_, kind) = server.visit(&caller, Expect::AnyManager).await.unwrap();
    assert_ne!(kind, HandshakeKind::Resumed, "the server's own identity is another one now");
}

#[tokio::test]
async fn a_root_is_exchanged_without_a_moment_in_which_anybody_is_refused() {
    let (old, new) = (authority(), authority());
    let both = format!("{}{}", new.cert_pem(), old.cert_pem());
    let crossed = old.certify(&new, WallClock.now()).unwrap();
    let nodes = [keeper(&old, MANAGER, Role::Manager), keeper(&old, WORKER, Role::Worker)];
    // Two that hear of nothing all that time.
    let away = [keeper(&old, NodeId::from_bits(12), Role::Manager), keeper(&old, NodeId::from_bits(13), Role::Worker)];
    let (server, server_away) = (Server::start(nodes[0].clone()).await, Server::start(away[0].clone()).await);
    let visit = |from: &Keeper| {
        let from = from.clone();
        let server = &server;
        async move { certificate(server.visit(&from, Expect::AnyManager).await.expect("trusted").0) }
    };
    visit(&nodes[1]).await;
    // One after another has a certificate of the new root, and then gives the old one up.
    for stage in ["certificate", "forget"] {
        for (node, keeper) in nodes.iter().enumerate() {
            let (id, role) = [(MANAGER, Role::Manager), (WORKER, Role::Worker)][node];
            let mut next = credentials(&new, id, role);
            if stage == "certificate" {
                next.ca_pem.clone_from(&both);
                next.cert_pem.push_str(&crossed);
            }
            keeper.replace(next).unwrap();
            visit(&nodes[1]).await;
            if stage == "forget" {
                continue;
            }
            for keeper in &away {
                assert_eq!(visit(keeper).await.root, Some(digest(old.cert_pem()).unwrap()));
            }
            let (presented, _) = server_away.visit(keeper, Expect::AnyManager).await.expect("trusted");
            let PeerIdentity { node_id, root, .. } = certificate(presented);
            assert_eq!((node_id, root), (id, None), "on the word of the root that is known there");
        }
    }
    let error = server.visit(&away[1], Expect::AnyManager).await.expect_err("the old root is given up");
    assert!(matches!(error, DialError::OtherAuthority { .. }), "{error}");
}

#[test]
fn with_a_nodes_key_nobody_makes_nodes() {
    let authority = authority();
    let worker = credentials(&authority, WORKER, Role::Worker);
    let usurper = Authority::from_pem(&worker.cert_pem, &worker.key_pem).expect("it has a cluster's name");
    let mut forged = credentials(&usurper, MANAGER, Role::Manager);
    forged.cert_pem.push_str(&worker.cert_pem);
    forged.ca_pem.push_str(authority.cert_pem());
    let leaf_and_worker: Vec<_> =
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_slice_iter(
            forged.cert_pem.as_bytes(),
        )
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(leaf_and_worker.len(), 2);
    let judged = keeper(&authority, MANAGER, Role::Manager).presented(Some(&leaf_and_worker), now());
    assert_eq!(judged, Presented::Worthless(Worthless::OtherAuthority));
}

#[tokio::test]
async fn a_host_that_joins_recognises_the_cluster_by_its_digest() {
    let authority = authority();
    let server = Server::start(keeper(&authority, MANAGER, Role::Manager)).await;
    let pinned = |address: String, ca| async move {
        tokio::time::timeout(DEADLINE, dial_pinned(&address, ca)).await.expect("an end")
    };
    let (_channel, root) = pinned(server.address.to_string(), digest(authority.cert_pem()).unwrap()).await.unwrap();
    assert_eq!(digest(&root).unwrap(), digest(authority.cert_pem()).unwrap());
    let noted = async {
        while server.seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, noted).await.expect("the server notes it");
    assert_eq!(server.seen.lock().unwrap().pop().unwrap().0, Presented::Nothing);

    let other = digest(self::authority().cert_pem()).unwrap();
    let error = pinned(server.address.to_string(), other).await.expect_err("another cluster's token");
    assert!(matches!(error, DialError::OtherToken { .. }), "{error}");
    let worker = Server::start(keeper(&authority, WORKER, Role::Worker)).await;
    let error =
        pinned(worker.address.to_string(), digest(authority.cert_pem()).unwrap()).await.expect_err("no manager");
    assert!(matches!(error, DialError::NotManager { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_muster_is_named_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let web = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
            drop(stream.shutdown().await);
            drop(stream.read_to_end(&mut Vec::new()).await);
        }
    });
    let keeper = keeper(&authority(), WORKER, Role::Worker);
    let error = keeper.dial(&address, Expect::AnyManager, Alpn::Grpc).await.expect_err("a web server");
    assert!(matches!(error, DialError::NotMuster { .. }), "{error}");
    web.abort();
    drop(web.await);
    let error = keeper.dial(&address, Expect::AnyManager, Alpn::Grpc).await.expect_err("nobody is there");
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");

    let channel = keeper.channel(&address, Expect::AnyManager).unwrap();
    let mut client = muster_proto::v1::dispatcher_client::DispatcherClient::new(channel);
    let status = client.session(futures_util::stream::pending()).await.expect_err("nobody is there");
    let behind = DialError::behind(&status).expect("the reason is kept");
    assert!(matches!(behind, DialError::Unreachable { .. }), "{behind}");
}

#[test]
fn a_ca_read_back_signs_for_the_same_cluster() {
    let made = authority();
    let read = Authority::from_pem(made.cert_pem(), made.key_pem()).expect("its own PEM");
    assert_eq!(read.cluster(), CLUSTER);
    let key = NodeKey::generate().unwrap();
    let cert_pem = read.sign(WORKER, Part::Worker, &key.public_der(), WallClock.now(), NODE_VALIDITY).expect("signed");
    let key = NodeKey::from_pem(&key.key_pem()).expect("its own PEM");
    let read = Credentials::from_pem(made.cert_pem().to_owned(), cert_pem, key.key_pem()).expect("its own PEM");
    assert_eq!(read.cluster, CLUSTER);
    Keeper::new(read).expect("they hold together");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (authority, other) = (authority(), self::authority());
    assert!(Authority::from_pem("", authority.key_pem()).is_err());
    assert!(Authority::from_pem(authority.cert_pem(), "").is_err());
    assert!(matches!(Authority::from_pem(authority.cert_pem(), other.key_pem()), Err(CaError::AnotherKey)));

    let (ours, theirs) = (credentials(&authority, WORKER, Role::Worker), credentials(&other, WORKER, Role::Worker));
    let refused = |credentials| Keeper::new(credentials).expect_err("refused");
    let mixed = Credentials { key_pem: theirs.key_pem.clone(), ..ours.clone() };
    assert!(matches!(refused(mixed), CaError::Mismatch(_)));
    assert!(matches!(refused(Credentials { ca_pem: theirs.ca_pem, ..ours.clone() }), CaError::NoRoot));
    assert!(matches!(refused(Credentials { key_pem: String::new(), ..ours.clone() }), CaError::NoKey));
    assert!(matches!(refused(Credentials { cert_pem: ours.ca_pem.clone(), ..ours.clone() }), CaError::NoNode));
    let roots = Credentials { ca_pem: authority.cert_pem().repeat(5), ..ours.clone() };
    assert!(matches!(refused(roots), CaError::RootCount { found: 5 }));

    let keeper = Keeper::new(ours).unwrap();
    let another = keeper.replace(credentials(&authority, MANAGER, Role::Manager));
    assert!(matches!(another, Err(CaError::AnotherNode)));
    assert_eq!(keeper.node(), WORKER);
}

#[test]
fn a_public_key_that_is_none_is_refused() {
    let authority = authority();
    let other_kind = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for der in [b"".to_vec(), b"garbage".to_vec(), rcgen::PublicKeyData::subject_public_key_info(&other_kind)] {
        let refused = authority.sign(WORKER, Part::Worker, &der, WallClock.now(), NODE_VALIDITY);
        assert!(matches!(refused, Err(CaError::PublicKey(_))), "{refused:?}");
    }
}
