//! `muster info`.

use std::time::Duration;

use muster_proto::{show, time::Timestamp, v1};
use serde_json::{Value, json};

use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    format::{
        flag::{self, Format},
        lines::Lines,
        object,
    },
    object::{ManagerStatus, Node},
};

/// Show this host's daemon and its cluster
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster info
  muster info --format '{{.Cluster.TasksRunning}}'
  muster info --state-digest --format '{{.State.AppliedIndex}} {{.State.Digest}}'")]
pub struct Args {
    /// json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
    /// Also a digest of this manager's copy of the cluster's state: managers that applied as much have the same
    #[arg(long)]
    pub state_digest: bool,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let host = daemon.local().info(v1::InfoRequest { state_digest: args.state_digest }).await?.into_inner();
    let cluster = match &host.membership {
        Some(membership) if membership.manager => Cluster::ask(&daemon).await,
        Some(_) | None => Cluster::NotAsked,
    };
    match &args.format {
        Format::Json => context.out.line(object::compact(view(&host, &cluster))),
        Format::Template(template) => context.out.line(object::rendered(template, &view(&host, &cluster))?),
        Format::Table => context.out.bytes(people(&host, &cluster).as_bytes()),
        Format::TableOf(_) => Err(flag::no_table("info")),
    }
}

/// What the managers say, as far as they say anything: a host whose cluster has no leader can still be asked about.
enum Cluster {
    /// Workers are told little, and hosts in no cluster nothing.
    NotAsked,
    /// Why they did not answer.
    Silent(String),
    Told {
        cluster: Box<v1::GetClusterResponse>,
        nodes: Vec<Node>,
    },
}

impl Cluster {
    async fn ask(daemon: &Daemon) -> Self {
        let asked = async {
            let cluster = daemon.control().get_cluster(v1::GetClusterRequest {}).await?.into_inner();
            Ok::<_, Error>(Cluster::Told { cluster: Box::new(cluster), nodes: daemon.nodes().await? })
        };
        asked.await.unwrap_or_else(|error| Cluster::Silent(error.to_string()))
    }

    fn nodes(&self) -> &[Node] {
        match self {
            Cluster::NotAsked | Cluster::Silent(_) => &[],
            Cluster::Told { nodes, .. } => nodes,
        }
    }

    fn told(&self) -> Option<&v1::GetClusterResponse> {
        match self {
            Cluster::NotAsked | Cluster::Silent(_) => None,
            Cluster::Told { cluster, .. } => Some(cluster),
        }
    }

    fn trouble(&self) -> Option<&str> {
        match self {
            Cluster::NotAsked | Cluster::Told { .. } => None,
            Cluster::Silent(why) => Some(why),
        }
    }
}

/// What the managers say for themselves comes before what this node's agent makes of them.
fn trouble<'a>(host: &'a v1::InfoResponse, cluster: &'a Cluster) -> Option<&'a str> {
    cluster.trouble().or_else(|| host.membership.as_ref()?.trouble.as_deref())
}

fn managers(nodes: &[Node]) -> impl Iterator<Item = &Node> {
    nodes.iter().filter(|node| node.manager_status() != ManagerStatus::None)
}

fn view(host: &v1::InfoResponse, cluster: &Cluster) -> Value {
    json!({
        "Version": host.version,
        "Hostname": host.hostname,
        "DataDir": host.data_dir,
        "ListenAddr": host.listen_addr,
        "PID": host.pid,
        "Engine": {
            "Name": host.engine,
            "Version": host.engine_version,
            "Unavailable": host.engine_unavailable,
        },
        "Membership": host.membership.as_ref().map(|membership| json!({
            "ClusterID": membership.cluster_id,
            "NodeID": membership.node_id,
            "AdvertiseAddr": membership.advertise_addr,
            "Manager": membership.manager,
            "Managers": membership.managers,
            "Incarnation": membership.incarnation,
            "CertificateExpiresAt": expiry(membership).map(|at| at.to_string()),
        })),
        "State": host.state.as_ref().map(|state| json!({
            "AppliedIndex": state.applied_index,
            "Digest": state.digest,
        })),
        "Cluster": cluster.told().map(|told| cluster_view(told, cluster.nodes())),
        "ClusterTrouble": trouble(host, cluster),
    })
}

fn cluster_view(cluster: &v1::GetClusterResponse, nodes: &[Node]) -> Value {
    let manager = |node: &Node| json!({"ID": node.id, "Hostname": node.hostname(), "Addr": node.address, "Status": node.manager_status().to_string()});
    json!({
        "ID": cluster.id,
        "CreatedAt": Timestamp::from_millis(cluster.created_at).to_string(),
        "Incarnation": cluster.incarnation,
        "RemoteManagers": managers(nodes).map(manager).collect::<Vec<_>>(),
        "Managers": cluster.managers,
        "Nodes": cluster.nodes,
        "Services": cluster.services,
        "TasksRunning": cluster.tasks_running,
        "TaskHistoryLimit": cluster.task_history_limit,
        "HeartbeatMillis": cluster.heartbeat_ms,
        "LeaseMillis": cluster.lease_ms,
        "DefaultMemoryLimitBytes": cluster.default_memory_limit_bytes,
        "DefaultPidsLimit": cluster.default_pids_limit,
        "Term": cluster.term,
        "AppliedIndex": cluster.applied_index,
    })
}

fn expiry(membership: &v1::Member) -> Option<Timestamp> {
    membership.certificate_expires_at.map(Timestamp::from_millis)
}

fn people(host: &v1::InfoResponse, cluster: &Cluster) -> String {
    let mut lines = Lines::new();
    lines.heading("Daemon").under("Version", &host.version).under("Hostname", &host.hostname);
    lines.under("Data folder", &host.data_dir).under("Listens on", &host.listen_addr).under("PID", host.pid);
    lines.under("Engine", format_args!("{} {}", host.engine, host.engine_version));
    lines.under("Engine trouble", host.engine_unavailable.clone().unwrap_or_default());
    let Some(membership) = &host.membership else {
        lines.top("Cluster", "none; start one with `muster init`, or join one with `muster join`");
        return lines.text();
    };
    lines.heading("Node").under("ID", &membership.node_id).under("Address", &membership.advertise_addr);
    lines.under("Role", if membership.manager { "manager" } else { "worker" });
    lines.under("Certificate until", expiry(membership).map_or_else(String::new, |at| at.to_string()));
    lines.heading("Cluster").under("ID", &membership.cluster_id).under("Incarnation", membership.incarnation);
    lines.under("Trouble", trouble(host, cluster).unwrap_or_default());
    for manager in managers(cluster.nodes()) {
        let status = manager.manager_status();
        lines.under("Manager", format_args!("{} at {}, {status}", manager.hostname(), manager.address));
    }
    if cluster.told().is_none() {
        lines.under("Managers", membership.managers.join(", "));
    }
    if let Some(cluster) = cluster.told() {
        let limit = |amount: u64, shown: fn(u64) -> String| if amount == 0 { "none".into() } else { shown(amount) };
        let millis = |millis: u64| show::duration(Duration::from_millis(millis));
        lines.under("Created", Timestamp::from_millis(cluster.created_at));
        lines.under("Managers", cluster.managers).under("Nodes", cluster.nodes).under("Services", cluster.services);
        lines.under("Tasks running", cluster.tasks_running);
        lines.under("Task history", format_args!("{} for each slot", cluster.task_history_limit));
        lines.under("Heartbeat", millis(cluster.heartbeat_ms)).under("Lease", millis(cluster.lease_ms));
        lines.under("Default memory", limit(cluster.default_memory_limit_bytes, show::bytes));
        lines.under("Default pids", limit(cluster.default_pids_limit, |pids| pids.to_string()));
        lines.under("Raft", format_args!("term {}, applied {}", cluster.term, cluster.applied_index));
    }
    if let Some(state) = &host.state {
        lines.under("State", format_args!("{} after command {}", state.digest, state.applied_index));
    }
    lines.text()
}
