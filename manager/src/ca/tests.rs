//! Real handshakes on loopback: who gets in, and who the server takes them for.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, stream};
use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    v1::{
        self,
        dispatcher_client::DispatcherClient,
        dispatcher_server::{Dispatcher, DispatcherServer},
        manager_message::{Message, Welcome},
    },
};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{ClientTlsConfig, Endpoint, Server},
};

use super::{Authority, Credentials, PeerIdentity, peer};

const CLUSTER: ClusterId = ClusterId::from_bits(1);
const MANAGER: NodeId = NodeId::from_bits(10);
const WORKER: NodeId = NodeId::from_bits(11);
const DEADLINE: Duration = Duration::from_secs(30);

/// Says to each caller who it is.
struct WhoAmI;

#[tonic::async_trait]
impl Dispatcher for WhoAmI {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::ManagerMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let PeerIdentity { cluster_id, node_id, role } = peer(&request)?;
        let said = vec![cluster_id.to_string(), node_id.to_string(), role.to_string()];
        let welcome =
            Welcome { orders: Some(v1::NodeOrders { managers: said, ..Default::default() }), ..Welcome::default() };
        let message = v1::ManagerMessage { message: Some(Message::Welcome(welcome)) };
        Ok(Response::new(Box::pin(stream::iter([Ok(message)]))))
    }
}

async fn serve(credentials: Option<&Credentials>, tasks: &mut JoinSet<()>) -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let mut server = Server::builder();
    if let Some(credentials) = credentials {
        server = server.tls_config(credentials.server_tls()).expect("our own credentials");
    }
    let router = server.add_service(DispatcherServer::new(WhoAmI));
    tasks.spawn(async move { router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("serves") });
    port
}

async fn ask(port: u16, tls: Option<ClientTlsConfig>) -> Result<Vec<String>, Status> {
    let call = async {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://127.0.0.1:{port}")).expect("an address");
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls).expect("our own credentials");
        }
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut answers = DispatcherClient::new(channel).session(stream::pending()).await?.into_inner();
        match answers.message().await?.and_then(|message| message.message) {
            Some(Message::Welcome(welcome)) => Ok(welcome.orders.unwrap_or_default().managers),
            other => panic!("{other:?}"),
        }
    };
    tokio::time::timeout(DEADLINE, call).await.expect("an answer")
}

fn authority() -> Authority {
    Authority::create(CLUSTER).expect("a CA")
}

#[tokio::test]
async fn a_member_is_taken_for_who_its_certificate_says() {
    let (authority, mut tasks) = (authority(), JoinSet::new());
    let port = serve(Some(&authority.issue(MANAGER, Role::Manager).expect("issued")), &mut tasks).await;
    for (node, role) in [(WORKER, Role::Worker), (MANAGER, Role::Manager)] {
        let tls = authority.issue(node, role).expect("issued").client_tls();
        let told = ask(port, Some(tls)).await.expect("a member");
        assert_eq!(told, [CLUSTER.to_string(), node.to_string(), role.to_string()]);
    }
    tasks.shutdown().await;
}

#[tokio::test]
async fn strangers_are_refused() {
    let (authority, mut tasks) = (authority(), JoinSet::new());
    let port = serve(Some(&authority.issue(MANAGER, Role::Manager).expect("issued")), &mut tasks).await;
    let member = authority.issue(WORKER, Role::Worker).expect("issued");
    let foreign = self::authority().issue(WORKER, Role::Worker).expect("issued");

    let no_certificate = ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(&member.ca_pem))
        .domain_name(super::manager_name(CLUSTER));
    ask(port, Some(no_certificate)).await.expect_err("no certificate");

    // Trusts the server, and shows a certificate of another CA for the same cluster and node.
    let forged = Credentials { ca_pem: member.ca_pem.clone(), ..foreign.clone() };
    ask(port, Some(forged.client_tls())).await.expect_err("another CA's certificate");

    // A client that is asked to trust another CA does not.
    ask(port, Some(foreign.client_tls())).await.expect_err("another CA's server");
    ask(port, None).await.expect_err("no TLS");
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_worker_cannot_pose_as_a_manager() {
    let (authority, mut tasks) = (authority(), JoinSet::new());
    let port = serve(Some(&authority.issue(WORKER, Role::Worker).expect("issued")), &mut tasks).await;
    let tls = authority.issue(MANAGER, Role::Manager).expect("issued").client_tls();
    ask(port, Some(tls)).await.expect_err("the server's certificate has no manager's name");
    tasks.shutdown().await;
}

#[tokio::test]
async fn without_tls_nobody_is_anybody() {
    let mut tasks = JoinSet::new();
    let port = serve(None, &mut tasks).await;
    let refused = ask(port, None).await.expect_err("no certificate");
    assert_eq!(refused.code(), Code::Unauthenticated);
    tasks.shutdown().await;
}

#[test]
fn a_ca_read_back_issues_for_the_same_cluster() {
    let made = authority();
    let read = Authority::from_pem(made.cert_pem(), made.key_pem()).expect("its own PEM");
    assert_eq!(read.cluster(), CLUSTER);
    let Credentials { cluster, ca_pem, cert_pem, key_pem } = read.issue(WORKER, Role::Worker).expect("issued");
    assert_eq!((cluster, ca_pem.as_str()), (CLUSTER, made.cert_pem()));
    let read = Credentials::from_pem(ca_pem, cert_pem, key_pem).expect("its own PEM");
    assert_eq!(read.cluster, CLUSTER);
}

#[test]
fn a_key_without_its_certificate_is_refused() {
    assert!(Authority::from_pem("", authority().key_pem()).is_err());
    assert!(Authority::from_pem(authority().cert_pem(), "").is_err());
}
