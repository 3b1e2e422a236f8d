//! A manager reduced to its word: one Dispatcher on loopback that sends what the test says and keeps what it hears.

pub(crate) mod dial;
pub(crate) mod node;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::Stream;
use muster_proto::{
    assignment::{Assignment, IngressService, LEADER_METADATA, TaskReport},
    container::ContainerSpec,
    id::{NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    placement::Placement,
    resources::{Limits, ResourceRequirements},
    restart::RestartPolicy,
    task::{Slot, TaskSpec, TaskStatus, Template},
    task_state::{DesiredState, TaskState},
    v1::{
        self, NodeOrders,
        agent_message::{LogChunk, Message as FromAgent},
        dispatcher_server::{Dispatcher, DispatcherServer},
        manager_message::{Assignments, HeartbeatAck, Message, OpenLog, ReportsAck, Welcome},
    },
    version::Fence,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Far longer than anything waited for here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What it says, and when it stops listening.
#[derive(Clone, Debug, Default)]
struct Word {
    tasks: BTreeMap<TaskId, Assignment>,
    forgotten: Vec<TaskId>,
    log: Option<OpenLog>,
    silent: bool,
    /// Of all managers.
    managers: Vec<String>,
    removed: Vec<String>,
    ingress: Vec<IngressService>,
    incarnation: u64,
    /// Longer than any test.
    long_lease: bool,
    /// Leads in its place.
    leader: Option<String>,
    /// Counts the times that all sessions were ended.
    ended: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Heard {
    hellos: u32,
    last: BTreeMap<TaskId, TaskStatus>,
    reports: Vec<TaskReport>,
    /// That carried reports.
    messages: u64,
    described: Vec<v1::NodeDescription>,
    log: Vec<LogChunk>,
}

impl Heard {
    /// Whether the task was said to be in the middle of something.
    pub(crate) fn hindered(&self, task: TaskId) -> bool {
        self.last.get(&task).is_some_and(|status| status.error.is_some())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) address: SocketAddr,
    word: watch::Sender<Word>,
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
    _server: Arc<Server>,
}

#[derive(Debug)]
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Service {
    word: watch::Sender<Word>,
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
}

impl Manager {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (word, heard, changed) = (watch::Sender::default(), Arc::default(), watch::Sender::default());
        let service = Service { word: word.clone(), heard: Arc::clone(&heard), changed: changed.clone() };
        let server = tonic::transport::Server::builder()
            .add_service(DispatcherServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { address, word, heard, changed, _server: Arc::new(Server(server)) }
    }

    pub(crate) fn assign(&self, assignment: Assignment) {
        self.word.send_modify(|word| drop(word.tasks.insert(assignment.task_id, assignment)));
    }

    pub(crate) fn want(&self, task: TaskId, desired: DesiredState) {
        self.word.send_modify(|word| word.tasks.get_mut(&task).unwrap().desired = desired);
    }

    /// The row goes: told at once, and missing from every later complete set.
    pub(crate) fn forget(&self, task: TaskId) {
        self.word.send_modify(|word| {
            word.tasks.remove(&task);
            word.forgotten.push(task);
        });
    }

    /// The row goes without a word: only the next complete set shows it.
    pub(crate) fn lose(&self, task: TaskId) {
        self.word.send_modify(|word| drop(word.tasks.remove(&task)));
    }

    pub(crate) fn open_log(&self, task: TaskId) {
        let open = OpenLog { stream: 1, task_id: task.to_string(), credit: 16, ..OpenLog::default() };
        self.word.send_modify(|word| word.log = Some(open));
    }

    pub(crate) fn end_sessions(&self) {
        self.word.send_modify(|word| word.ended += 1);
    }

    pub(crate) fn list(&self, ingress: Vec<IngressService>) {
        self.word.send_modify(|word| word.ingress = ingress);
    }

    /// Neither acks nor ends anything.
    pub(crate) fn fall_silent(&self, silent: bool) {
        self.word.send_modify(|word| word.silent = silent);
    }

    /// In the next welcome, and at once where there is a session.
    pub(crate) fn name_managers(&self, managers: &[&Manager]) {
        let managers = managers.iter().map(|manager| manager.address.to_string()).collect();
        self.word.send_modify(|word| word.managers = managers);
    }

    pub(crate) fn remove_node(&self, node: NodeId) {
        self.word.send_modify(|word| word.removed.push(node.to_string()));
    }

    /// In the next welcome: one that no test outlasts. Else it is a second.
    pub(crate) fn grant_long_leases(&self) {
        self.word.send_modify(|word| word.long_lease = true);
    }

    pub(crate) fn belong_to(&self, incarnation: u64) {
        self.word.send_modify(|word| word.incarnation = incarnation);
    }

    /// From now on sends agents on to another; those in a session are told when it ends.
    pub(crate) fn follow(&self, leader: &Manager) {
        self.word.send_modify(|word| word.leader = Some(leader.address.to_string()));
    }

    pub(crate) fn lead(&self) {
        self.word.send_modify(|word| word.leader = None);
    }

    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&Heard) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = find(&self.heard.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        match timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_elapsed) => panic!("waited for {what}: {:#?}", self.heard.lock().unwrap()),
        }
    }

    pub(crate) async fn until_state(&self, task: TaskId, state: TaskState) -> TaskStatus {
        self.until(&state.to_string(), |heard| heard.last.get(&task).filter(|s| s.state == state).cloned()).await
    }

    pub(crate) async fn until_removed(&self, task: TaskId) -> TaskStatus {
        self.until("removal", |heard| heard.last.get(&task).filter(|s| s.removed).cloned()).await
    }

    pub(crate) async fn until_sessions(&self, count: u32) {
        self.until("a session", |heard| (heard.hellos >= count).then_some(())).await;
    }

    pub(crate) async fn until_described(&self, find: impl Fn(&v1::NodeDescription) -> bool) {
        self.until("a description", |heard| heard.described.last().filter(|d| find(d)).map(drop)).await;
    }

    pub(crate) async fn until_log_end(&self) -> Vec<LogChunk> {
        self.until("the log's end", |heard| heard.log.last().is_some_and(|c| c.end).then(|| heard.log.clone())).await
    }

    pub(crate) fn sessions(&self) -> u32 {
        self.heard.lock().unwrap().hellos
    }

    pub(crate) fn reports(&self) -> usize {
        self.heard.lock().unwrap().reports.len()
    }

    /// Messages with reports: each is an entry in the log of a manager that has nothing else to do.
    pub(crate) fn messages(&self) -> u64 {
        self.heard.lock().unwrap().messages
    }

    /// How often this very status was told.
    pub(crate) fn times_told(&self, task: TaskId, state: TaskState) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.reports.iter().filter(|report| report.task_id == task && report.status.state == state).count()
    }

    /// Forgets what it heard, as a new manager would not know it.
    pub(crate) fn clear(&self) {
        self.heard.lock().unwrap().last.clear();
    }
}

type Outbound = Pin<Box<dyn Stream<Item = Result<v1::ManagerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Dispatcher for Service {
    type SessionStream = Outbound;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Outbound>, Status> {
        if let Some(leader) = &self.word.borrow().leader {
            return Err(not_leading(leader));
        }
        let (out, outbound) = mpsc::channel(64);
        let (word, heard, changed) = (self.word.subscribe(), Arc::clone(&self.heard), self.changed.clone());
        tokio::spawn(serve(request.into_inner(), out, word, heard, changed));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

async fn serve(
    mut inbound: Streaming<v1::AgentMessage>,
    out: mpsc::Sender<Result<v1::ManagerMessage, Status>>,
    mut word: watch::Receiver<Word>,
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
) {
    let said = word.borrow_and_update().clone();
    let mut ordered = orders(&said);
    let mut ack = Some(Message::Welcome(Welcome {
        heartbeat_ms: 100,
        lease_ms: if said.long_lease { 600_000 } else { 1_000 },
        orders: Some(ordered.clone()),
        incarnation: said.incarnation,
    }));
    let mut told = 0;
    let mut log_open = false;
    let mut first = Some(assignments(&said, 0, true));
    loop {
        let silent = word.borrow().silent;
        for message in ack.take().into_iter().chain(first.take().filter(|_| !silent)) {
            let message = v1::ManagerMessage { message: Some(message) };
            if out.send(Ok(message)).await.is_err() {
                return;
            }
        }
        if told == 0 {
            told = said.forgotten.len() + 1;
        }
        tokio::select! {
            message = inbound.message() => match message {
                Ok(Some(message)) => {
                    ack = hear(message, &mut heard.lock().unwrap(), silent);
                    changed.send_modify(|count| *count += 1);
                }
                Ok(None) | Err(_) => return,
            },
            _ = word.changed() => {
                let now = word.borrow_and_update().clone();
                if now.ended != said.ended {
                    return;
                }
                if let Some(leader) = &now.leader {
                    // The agent may have gone meanwhile.
                    let _ = out.send(Err(not_leading(leader))).await;
                    return;
                }
                if orders(&now) != ordered {
                    ordered = orders(&now);
                    ack = Some(Message::Orders(ordered.clone()));
                }
                first = Some(assignments(&now, told - 1, false));
                told = now.forgotten.len() + 1;
                if let Some(open) = now.log.filter(|_| !log_open) {
                    log_open = true;
                    ack = Some(Message::OpenLog(open));
                }
            }
        }
    }
}

fn not_leading(leader: &str) -> Status {
    let mut status = Status::unavailable("another manager leads");
    status.metadata_mut().insert(LEADER_METADATA, leader.parse().unwrap());
    status
}

fn orders(word: &Word) -> NodeOrders {
    NodeOrders {
        role: v1::Role::Worker.into(),
        managers: word.managers.clone(),
        removed: word.removed.clone(),
        ..NodeOrders::default()
    }
}

fn assignments(word: &Word, forgotten_before: usize, complete: bool) -> Message {
    Message::Assignments(Assignments {
        complete,
        assign: word.tasks.values().map(Into::into).collect(),
        forget: word.forgotten[forgotten_before..].iter().map(ToString::to_string).collect(),
        ingress: word.ingress.iter().map(Into::into).collect(),
        ..Assignments::default()
    })
}

fn hear(message: v1::AgentMessage, heard: &mut Heard, silent: bool) -> Option<Message> {
    match message.message.unwrap() {
        FromAgent::Hello(hello) => {
            heard.hellos += 1;
            heard.described.extend(hello.description);
            None
        }
        FromAgent::Heartbeat(heartbeat) => {
            heard.described.extend(heartbeat.description);
            (!silent).then_some(Message::HeartbeatAck(HeartbeatAck { sequence: heartbeat.sequence }))
        }
        FromAgent::Reports(_) if silent => None,
        FromAgent::Reports(reports) => {
            heard.messages += 1;
            for report in reports.reports {
                let report = TaskReport::try_from(report).unwrap();
                heard.last.insert(report.task_id, report.status.clone());
                heard.reports.push(report);
            }
            Some(Message::ReportsAck(ReportsAck { sequence: reports.sequence }))
        }
        FromAgent::Log(chunk) => {
            heard.log.push(chunk);
            None
        }
    }
}

pub(crate) fn task(number: u128) -> TaskId {
    TaskId::from_bits(number)
}

pub(crate) fn assignment(number: u128, env: &[&str]) -> Assignment {
    let env = env.iter().map(|entry| (*entry).to_owned()).collect();
    let spec = TaskSpec {
        container: ContainerSpec { env, ..ContainerSpec::new("web:1") },
        resources: ResourceRequirements::default(),
        restart: RestartPolicy::default(),
        placement: Placement::default(),
        force_update: 0,
        on_isolation: OnIsolation::default(),
    };
    Assignment {
        task_id: task(number),
        service_id: ServiceId::from_bits(1),
        service_name: "web".to_owned(),
        slot: Slot::Number(1),
        fence: Fence(7),
        desired: DesiredState::Running,
        template: Arc::new(Template { spec, host_ports: Vec::new() }),
        limits: Limits::default(),
    }
}
