//! `muster cluster update`.

use std::time::Duration;

use clap::builder::BoolishValueParser;
use muster_proto::{cluster::ClusterSpec, parse, resources::PIDS_MAX, v1, validate};
use tonic::Code;

use crate::{context::Context, error::Error, flags::whole};

/// Change settings that hold for the whole cluster
///
/// What is not named stays as it is. All takes effect at once and on all nodes; `muster cluster inspect --pretty` shows
/// what holds.
///
/// A node that is not heard from for the lease is down, and its tasks are replaced; so a longer lease overlooks longer
/// gaps and replaces later. Nodes send ten heartbeats in a lease, or one each --heartbeat where that is more often: it
/// matters with a lease of more than ten of them. A lease has to be two at least.
///
/// Default limits are for services that ask for none; tasks that run keep theirs until they are replaced. Certificates
/// have their new validity from their next renewal on.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster cluster update --lease 10s
  muster cluster update --default-memory-limit 512m --default-pids-limit 1024
  muster cluster update --task-history-limit 2 --cert-expiry 720h
  muster cluster update --auto-rebalance true")]
pub struct Args {
    /// Ended tasks that are kept for each slot
    #[arg(long, value_name = "N", value_parser = whole(0..=ClusterSpec::TASK_HISTORY_MAX))]
    pub task_history_limit: Option<u32>,
    /// The longest that nodes wait before they say again that they are there (Swarm: --dispatcher-heartbeat)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, alias = "dispatcher-heartbeat")]
    pub heartbeat: Option<Duration>,
    /// A node that is silent for so long is down
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub lease: Option<Duration>,
    /// Most memory for tasks of services that say nothing of it, as 512m or 2g; 0 for none
    #[arg(long, value_name = "BYTES", value_parser = parse::memory)]
    pub default_memory_limit: Option<u64>,
    /// Most processes for tasks of services that say nothing of it; 0 for none
    #[arg(long, value_name = "N", value_parser = whole(0..=PIDS_MAX))]
    pub default_pids_limit: Option<u64>,
    /// How long nodes' certificates are good for; they are renewed well before
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, visible_alias = "certificate-validity")]
    pub cert_expiry: Option<Duration>,
    /// Move tasks to nodes that join or come back, a few at a time, as `muster rebalance` would: true or false
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub auto_rebalance: Option<bool>,
}

/// So many changes made meanwhile are read and this one made again.
const ATTEMPTS_MAX: u32 = 10;

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    if !args.names_anything() {
        return Err(Error::Usage(
            "nothing to change is named; `muster cluster update --help` lists what can be".to_owned(),
        ));
    }
    let daemon = context.connect().await?;
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let before = daemon.cluster().await?;
        let spec = args.changed(before.spec)?;
        let request = v1::UpdateClusterRequest { version: before.version, spec: Some((&spec).into()) };
        attempts_left -= 1;
        match daemon.control().update_cluster(request).await {
            Ok(_) => return context.out.line(&before.id),
            Err(status) if status.code() == Code::Aborted && attempts_left > 0 => {}
            Err(status) => return Err(status.into()),
        }
    }
}

impl Args {
    fn names_anything(&self) -> bool {
        self.task_history_limit.is_some()
            || self.heartbeat.is_some()
            || self.lease.is_some()
            || self.default_memory_limit.is_some()
            || self.default_pids_limit.is_some()
            || self.cert_expiry.is_some()
            || self.auto_rebalance.is_some()
    }

    /// The settings with what was named in place of what was.
    fn changed(&self, before: ClusterSpec) -> Result<ClusterSpec, Error> {
        let spec = ClusterSpec {
            task_history_limit: self.task_history_limit.unwrap_or(before.task_history_limit),
            heartbeat: self.heartbeat.unwrap_or(before.heartbeat),
            lease: self.lease.unwrap_or(before.lease),
            default_memory_limit_bytes: self.default_memory_limit.unwrap_or(before.default_memory_limit_bytes),
            default_pids_limit: self.default_pids_limit.unwrap_or(before.default_pids_limit),
            certificate_validity: self.cert_expiry.unwrap_or(before.certificate_validity),
            auto_rebalance: self.auto_rebalance.unwrap_or(before.auto_rebalance),
        };
        validate::cluster_spec(&spec).map_err(|invalid| Error::Usage(invalid.to_string()))?;
        Ok(spec)
    }
}
