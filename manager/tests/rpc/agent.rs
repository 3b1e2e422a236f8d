//! An agent made by hand: it hears what a session says and does what the test tells it.

use std::collections::BTreeMap;

use muster_proto::{
    assignment::SESSION_PROTOCOL,
    v1::{
        self,
        agent_message::{Heartbeat, Hello, Message as Said, Reports},
        manager_message::{Message as Heard, Welcome},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::bench::{Bench, CLUSTER, NODE, soon};

pub(crate) struct Agent {
    say: mpsc::Sender<v1::AgentMessage>,
    hear: Streaming<v1::ManagerMessage>,
    pub(crate) welcome: Welcome,
    /// What it knows of its tasks, by id.
    pub(crate) assigned: BTreeMap<String, v1::Assignment>,
    pub(crate) ingress: BTreeMap<String, v1::IngressService>,
    pub(crate) forgotten: Vec<String>,
    pub(crate) reports_acked: u64,
    pub(crate) heartbeats_acked: u64,
    /// Messages about logs, in order.
    pub(crate) log_requests: Vec<Heard>,
    pub(crate) orders: v1::NodeOrders,
    reports_sent: u64,
}

pub(crate) fn hello() -> Hello {
    Hello {
        cluster_id: CLUSTER.to_string(),
        node_id: NODE.to_string(),
        description: Some(description("first")),
        protocol: SESSION_PROTOCOL,
        ..Hello::default()
    }
}

pub(crate) fn description(hostname: &str) -> v1::NodeDescription {
    v1::NodeDescription {
        hostname: hostname.to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        resources: Some(v1::Resources { nano_cpus: 64_000_000_000, memory_bytes: 1 << 40 }),
        engine: "sim".to_owned(),
        engine_version: "1".to_owned(),
        muster_version: "0.1.0".to_owned(),
        ..v1::NodeDescription::default()
    }
}

impl Agent {
    /// Opens a session and hears its first two messages.
    pub(crate) async fn connect(bench: &Bench) -> Self {
        Self::try_connect(bench, hello()).await.expect("a session")
    }

    pub(crate) async fn try_connect(bench: &Bench, hello: Hello) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(64);
        say.send(v1::AgentMessage { message: Some(Said::Hello(hello)) }).await.expect("room");
        let session = async { bench.dispatcher().session(ReceiverStream::new(said)).await };
        let mut hear = soon("a session", session).await?.into_inner();
        let first = soon("a welcome", hear.message()).await?.and_then(|message| message.message);
        let Some(Heard::Welcome(welcome)) = first else { panic!("a session begins with Welcome: {first:?}") };
        let mut agent = Self {
            say,
            hear,
            orders: welcome.orders.clone().expect("a welcome says what the node should be"),
            welcome,
            assigned: BTreeMap::new(),
            ingress: BTreeMap::new(),
            forgotten: Vec::new(),
            reports_acked: 0,
            heartbeats_acked: 0,
            log_requests: Vec::new(),
            reports_sent: 0,
        };
        match agent.hear().await? {
            Heard::Assignments(first) if first.complete => Ok(agent),
            other => panic!("the whole set comes after Welcome: {other:?}"),
        }
    }

    /// Takes in the next message.
    pub(crate) async fn hear(&mut self) -> Result<Heard, Status> {
        let message = soon("a message", self.hear.message()).await?;
        let message = message.and_then(|message| message.message).ok_or_else(|| Status::ok("the session ended"))?;
        match &message {
            Heard::Welcome(_) => panic!("a second welcome"),
            Heard::HeartbeatAck(ack) => self.heartbeats_acked = ack.sequence,
            Heard::ReportsAck(ack) => {
                assert!(ack.sequence > self.reports_acked, "acknowledged in order");
                self.reports_acked = ack.sequence;
            }
            Heard::Assignments(changes) => self.take(changes),
            Heard::Orders(orders) => self.orders = orders.clone(),
            Heard::OpenLog(_) | Heard::CloseLog(_) | Heard::LogCredit(_) => self.log_requests.push(message.clone()),
        }
        Ok(message)
    }

    fn take(&mut self, changes: &v1::manager_message::Assignments) {
        if changes.complete {
            self.assigned.clear();
            self.ingress.clear();
        }
        self.assigned.extend(changes.assign.iter().map(|task| (task.task_id.clone(), task.clone())));
        self.ingress.extend(changes.ingress.iter().map(|service| (service.service_id.clone(), service.clone())));
        self.assigned.retain(|id, _| !changes.forget.contains(id));
        self.ingress.retain(|id, _| !changes.ingress_gone.contains(id));
        self.forgotten.extend(changes.forget.iter().cloned());
    }

    pub(crate) async fn hear_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        soon(what, async {
            while !holds(self) {
                self.hear().await.unwrap_or_else(|ended| panic!("{what}: {ended}"));
            }
        })
        .await;
    }

    pub(crate) async fn say(&self, message: Said) {
        self.say.send(v1::AgentMessage { message: Some(message) }).await.expect("the session is open");
    }

    pub(crate) async fn heartbeat(&self, sequence: u64, description: Option<v1::NodeDescription>) {
        self.say(Said::Heartbeat(Heartbeat { sequence, description })).await;
    }

    /// Sends reports and waits for their commit.
    pub(crate) async fn report(&mut self, reports: Vec<v1::TaskReport>) {
        self.reports_sent += 1;
        let sequence = self.reports_sent;
        self.say(Said::Reports(Reports { sequence, reports })).await;
        self.hear_until("an acknowledgement", |agent| agent.reports_acked >= sequence).await;
    }

    /// Does what every assignment asks for, and says so.
    pub(crate) async fn obey(&mut self) {
        let reports: Vec<_> = self.assigned.values().map(obeyed).collect();
        self.report(reports).await;
    }

    /// Hears and obeys until `holds`.
    pub(crate) async fn obey_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        soon(what, async {
            loop {
                self.obey().await;
                if holds(self) {
                    // What came while the reports were on their way is obeyed too.
                    return self.obey().await;
                }
                let before = (self.assigned.clone(), self.forgotten.len());
                self.hear_until(what, |agent| (&agent.assigned, agent.forgotten.len()) != (&before.0, before.1)).await;
            }
        })
        .await;
    }
}

fn obeyed(task: &v1::Assignment) -> v1::TaskReport {
    match task.desired() {
        v1::DesiredState::Ready => report(task, v1::TaskState::Ready),
        v1::DesiredState::Running => report(task, v1::TaskState::Running),
        v1::DesiredState::Shutdown => report(task, v1::TaskState::Shutdown),
        v1::DesiredState::Remove => {
            let mut report = report(task, v1::TaskState::Shutdown);
            report.status.as_mut().expect("set above").removed = true;
            report
        }
        v1::DesiredState::Unspecified => panic!("{task:?}"),
    }
}

pub(crate) fn report(task: &v1::Assignment, state: v1::TaskState) -> v1::TaskReport {
    let ran = state >= v1::TaskState::Running;
    let status = v1::TaskStatus {
        state: state.into(),
        at: 1_000,
        running_at: ran.then_some(1_000),
        message: "as told".to_owned(),
        container_id: Some(format!("container-of-{}", task.task_id)),
        address: ran.then(|| "10.0.0.9".to_owned()),
        ..v1::TaskStatus::default()
    };
    v1::TaskReport { task_id: task.task_id.clone(), fence: task.fence, status: Some(status) }
}
