//! A port on loopback with a roll that a test writes, and callers of every kind.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use muster_agent::dial::Stream;
use muster_manager::{
    authorization::{Roll, Standing},
    ca::{
        Alpn, Authority, Credentials, Expect, Keeper, NODE_VALIDITY, Part, PeerIdentity, Presented, dial_pinned, digest,
    },
    clock::{Clock, WallClock},
};
use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    version::RaftId,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, server::TcpConnectInfo},
};
use tower::{Service, ServiceExt};

use super::super::{Inner, Options, Port};

pub(super) const CLUSTER: ClusterId = ClusterId::from_bits(1);
pub(super) const MYSELF: NodeId = NodeId::from_bits(10);
pub(super) const MANAGER: NodeId = NodeId::from_bits(11);
pub(super) const WORKER: NodeId = NodeId::from_bits(12);
pub(super) const REMOVED: NodeId = NodeId::from_bits(13);
pub(super) const DEMOTED: NodeId = NodeId::from_bits(14);
pub(super) const ANOTHER_WORKER: NodeId = NodeId::from_bits(16);
/// In nobody's list.
pub(super) const NEW: NodeId = NodeId::from_bits(15);
/// Of whoever is a manager here.
const RAFT_ID: RaftId = RaftId(7);
/// For whatever shall happen; far above what it takes, so that only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, happens).await.unwrap_or_else(|_| panic!("{what} did not happen in {DEADLINE:?}"))
}

/// A roll that tests write.
#[derive(Debug)]
pub(super) struct Book(watch::Sender<BTreeMap<NodeId, Standing>>);

impl Book {
    pub(super) fn write(&self, node: NodeId, standing: Standing) {
        self.0.send_modify(|rows| {
            rows.insert(node, standing);
        });
    }
}

impl Roll for Book {
    fn standing(&self, node: NodeId) -> Standing {
        self.0.borrow().get(&node).copied().unwrap_or(Standing::Unlisted)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut rows = self.0.subscribe();
        Box::pin(async move { drop(rows.changed().await) })
    }
}

pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    pub(super) book: Arc<Book>,
    /// This host's own.
    pub(super) keeper: Keeper,
    pub(super) relayed: Mutex<mpsc::UnboundedReceiver<(NodeId, Stream)>>,
    pub(super) shutdown: CancellationToken,
    pub(super) running: JoinHandle<anyhow::Result<()>>,
}

/// Says that a call has reached it, and by whom; a call that asks to be held is never answered.
pub(super) fn reached() -> Inner {
    Inner::new(tower::service_fn(|request: http::Request<Body>| async move {
        if request.headers().contains_key("hold") {
            std::future::pending::<()>().await;
        }
        if request.extensions().get::<Presented>().is_some() {
            let from = request.extensions().get().and_then(TcpConnectInfo::remote_addr);
            assert!(from.is_some_and(|from| from.ip().is_loopback()), "services are told from where a call comes");
        }
        let by = request.extensions().get().map(|peer: &PeerIdentity| format!("{} {}", peer.node_id, peer.role));
        Ok::<_, Infallible>(Status::ok(format!("reached by {}", by.as_deref().unwrap_or("nobody"))).into_http())
    }))
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(Authority::create(CLUSTER, WallClock.now()).expect("a CA"), reached()).await
    }

    pub(super) async fn start_with(authority: Authority, services: Inner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let rows = BTreeMap::from([
            (MYSELF, Standing::Member(Role::Manager)),
            (MANAGER, Standing::Member(Role::Manager)),
            (WORKER, Standing::Member(Role::Worker)),
            (ANOTHER_WORKER, Standing::Member(Role::Worker)),
            (REMOVED, Standing::Removed),
            (DEMOTED, Standing::Member(Role::Worker)),
        ]);
        let book = Arc::new(Book(watch::Sender::new(rows)));
        let (sender, relayed) = mpsc::unbounded_channel();
        let keeper = Keeper::new(issue(&authority, MYSELF, Role::Manager, NODE_VALIDITY)).expect("a keeper");
        let options = Options {
            keeper: keeper.clone(),
            roll: book.clone(),
            services,
            relay: Arc::new(move |node, stream| drop(sender.send((node, stream)))),
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(Port::new(options, listener).run(shutdown.clone()));
        Self { address, authority, book, keeper, relayed: Mutex::new(relayed), shutdown, running }
    }

    pub(super) fn keeper(&self, node: NodeId, role: Role) -> Keeper {
        Keeper::new(issue(&self.authority, node, role, NODE_VALIDITY)).expect("a keeper")
    }

    /// Trusts this cluster, and shows a certificate of another CA for the same cluster and a manager of it.
    pub(super) fn foreign(&self) -> Keeper {
        let other = Authority::create(CLUSTER, WallClock.now()).expect("a CA");
        let mut forged = issue(&other, MANAGER, Role::Manager, NODE_VALIDITY);
        forged.ca_pem.push_str(self.authority.cert_pem());
        Keeper::new(forged).expect("a keeper")
    }

    /// Long enough ago that it has, and so lately that it may renew.
    pub(super) async fn expired(&self, node: NodeId) -> Keeper {
        let credentials = issue(&self.authority, node, Role::Worker, Duration::ZERO);
        let ended = async {
            while credentials.identity().expect("its own").expires_at >= WallClock.now() {
                tokio::task::yield_now().await;
            }
        };
        soon("the end of the certificate", ended).await;
        Keeper::new(credentials).expect("a keeper")
    }

    pub(super) fn channel(&self, keeper: &Keeper) -> Channel {
        keeper.channel(&self.address.to_string(), Expect::AnyManager).expect("an address")
    }

    /// As an agent passes a client's connection on.
    pub(super) async fn relay(&self, keeper: &Keeper) -> TlsStream<TcpStream> {
        let address = self.address.to_string();
        soon("dialling", keeper.dial(&address, Expect::Node(MYSELF), Alpn::Relay)).await.expect("is secured")
    }

    pub(super) async fn nobody(&self) -> Channel {
        let ca = digest(self.authority.cert_pem()).expect("its own");
        soon("joining", dial_pinned(&self.address.to_string(), ca)).await.expect("the cluster of the token").0
    }

    /// That whoever means well still gets in.
    pub(super) async fn still_serves(&self) {
        let told = call(&self.channel(&self.keeper(WORKER, Role::Worker)), SESSION).await;
        assert_eq!((told.code(), told.message()), (Code::Ok, &*format!("reached by {WORKER} worker")));
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        soon("stopping", self.running).await.expect("no panic").expect("a clean end");
    }
}

/// Stand on a call that a manager passes on.
pub(super) const PASSED_ON: (&str, &str) = ("muster-passed-on", "1");
pub(super) const ORIGIN: &str = "muster-origin";

/// The origin of a call that the worker made.
pub(super) fn name_of(worker: NodeId) -> String {
    format!("{worker} worker {}", u64::MAX)
}

pub(super) const SESSION: &str = "muster.v1.Dispatcher/Session";

pub(super) fn issue(authority: &Authority, node: NodeId, role: Role, validity: Duration) -> Credentials {
    let part = match role {
        Role::Worker => Part::Worker,
        Role::Manager => Part::Manager(RAFT_ID),
    };
    Credentials::issue(authority, node, part, WallClock.now(), validity).expect("issued")
}

/// What the call is answered with; the bytes of a message do not matter to who may make it.
pub(super) async fn call(channel: &Channel, rpc: &str) -> Status {
    send(channel, rpc, &[]).await
}

pub(super) async fn hold(channel: &Channel) -> Status {
    send(channel, SESSION, &[("hold", "yes")]).await
}

pub(super) async fn send(channel: &Channel, rpc: &str, headers: &[(&str, &str)]) -> Status {
    let mut channel = channel.clone();
    let mut request = http::Request::post(format!("/{rpc}")).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answered = async {
        let request = request.body(Body::empty()).expect("a request");
        channel.ready().await?.call(request).await
    };
    match soon("an answer", answered).await {
        Ok(response) => Status::from_header_map(response.headers())
            .unwrap_or_else(|| Status::unknown(format!("HTTP status {}", response.status().as_u16()))),
        Err(error) => Status::unavailable(error.to_string()),
    }
}
