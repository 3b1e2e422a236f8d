//! Two agents, each with a manager of its own that may be behind: connections to a task on the other's node.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use crate::fake::{
    Manager, PATIENCE, assignment,
    dial::Nodes,
    node::{IDENTITY, Node, config},
    task,
};
use muster_agent::executor::{Identity, sim::Sim};
use muster_proto::{
    assignment::{Backend, IngressService},
    endpoint::{PortConfig, Protocol, PublishMode},
    id::{NodeId, ServiceId},
    task_state::{
        DesiredState,
        TaskState::{Running, Shutdown},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

const HERE: NodeId = IDENTITY.node_id;
const THERE: NodeId = NodeId::from_bits(3);
const TARGET: u16 = 8080;

/// Published ports are opened here; of other tests, and other runs of this one, at other addresses.
fn address(last: u8) -> Ipv4Addr {
    let process = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, process[2] | 128, process[3], last)
}

/// Says its number to everyone who asks a line, for as long as lines come.
async fn serve(number: u8, connections: &mut JoinSet<()>) {
    let listener = TcpListener::bind((address(number), TARGET)).await.unwrap();
    connections.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut read = [0; 512];
                while stream.read(&mut read).await.is_ok_and(|count| count > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{number}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn published(port: u16, backends: &[(u8, NodeId)]) -> Vec<IngressService> {
    let backend = |&(number, node_id): &(u8, NodeId)| Backend {
        task_id: task(number.into()),
        node_id,
        address: address(number).into(),
        node_address: "node:7377".to_owned(),
    };
    vec![IngressService {
        service_id: ServiceId::from_bits(1),
        ports: vec![PortConfig {
            protocol: Protocol::Tcp,
            target: TARGET,
            published: port,
            mode: PublishMode::Ingress,
        }],
        backends: backends.iter().map(backend).collect(),
    }]
}

async fn connect(node: u8, port: u16) -> TcpStream {
    let connecting = async {
        loop {
            match TcpStream::connect((address(node), port)).await {
                Ok(stream) => return stream,
                Err(_not_yet) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, connecting).await.expect("the port is not open")
}

async fn get(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = vec![0; "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n11".len()];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8(answer[answer.len() - 2..].to_vec()).unwrap()
}

async fn start(nodes: &Nodes, node: NodeId, last: u8, dir: &Path, manager: &Manager) -> Node {
    let identity = Identity { node_id: node, ..IDENTITY };
    let sim = Arc::new(Sim::new(identity));
    let config = muster_agent::Config {
        identity,
        dial: nodes.seen_from(node),
        advertise_addr: String::new(),
        ingress_ip: address(last).into(),
        ..config(dir, &sim, vec![manager.address.to_string()])
    };
    let agent = Node::start_with(config).await;
    nodes.join(node, agent.handle.clone());
    agent
}

#[tokio::test]
async fn a_task_that_stops_loses_no_request_of_a_node_that_hears_of_it_late() {
    let (nodes, mut servers) = (Nodes::default(), JoinSet::new());
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (near, far) = (Manager::start().await, Manager::start().await);
    let here = start(&nodes, HERE, 1, dirs.0.path(), &near).await;
    let there = start(&nodes, THERE, 2, dirs.1.path(), &far).await;
    for number in [11, 12] {
        serve(number, &mut servers).await;
        far.assign(assignment(number.into(), &[&format!("MUSTER_SIM_ADDRESS={}", address(number))]));
        far.until_state(task(number.into()), Running).await;
    }
    near.list(published(8001, &[(11, THERE)]));
    far.list(published(8001, &[(11, THERE)]));
    let mut client = connect(1, 8001).await;
    assert_eq!(get(&mut client).await, "11");

    // Its own node hears first; the other goes on as if nothing was.
    far.list(published(8001, &[(12, THERE)]));
    far.want(task(11), DesiredState::Shutdown);
    far.until("a drain", |heard| heard.hindered(task(11)).then_some(())).await;
    assert_eq!(get(&mut client).await, "11", "what was connected is served to its end");
    let mut late = connect(1, 8001).await;
    let (answer, ()) = tokio::join!(get(&mut late), async { near.list(published(8001, &[(12, THERE)])) });
    assert_eq!(answer, "12");
    far.until_state(task(11), Shutdown).await;
    assert_eq!(get(&mut client).await, "12", "it moved between two requests");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn published_ports_work_after_a_restart_while_no_manager_answers() {
    let (nodes, mut servers) = (Nodes::default(), JoinSet::new());
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (near, far) = (Manager::start().await, Manager::start().await);
    let here = start(&nodes, HERE, 3, dirs.0.path(), &near).await;
    let there = start(&nodes, THERE, 4, dirs.1.path(), &far).await;
    serve(13, &mut servers).await;
    far.assign(assignment(13, &[&format!("MUSTER_SIM_ADDRESS={}", address(13))]));
    far.until_state(task(13), Running).await;
    near.list(published(8002, &[(13, THERE)]));
    far.list(published(8002, &[(13, THERE)]));
    assert_eq!(get(&mut connect(3, 8002).await).await, "13");
    here.stop().await;

    near.fall_silent(true);
    let here = start(&nodes, HERE, 3, dirs.0.path(), &near).await;
    assert_eq!(get(&mut connect(3, 8002).await).await, "13");
    here.stop().await;
    there.stop().await;
}
