//! This host as its daemon sees it: in no cluster, or a member of one.

use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, mpsc};

use anyhow::{Context, anyhow, bail};
use muster_agent::executor::{EngineDescription, Identity};
use muster_manager::{
    self as manager,
    ca::{ClusterKey, Credentials, NodeKey},
    founding,
};
use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId},
    task_state::DesiredState,
    time::Timestamp,
};

use crate::format::text::counted;

use super::{
    advertise,
    args::Args,
    data_dir::DataDir,
    engine,
    gate::Gate,
    member::{self, Member, Start},
    record::{self, Phase, Record},
};

/// More failures than this at once tell nobody anything new.
const FAILURES_MAX: usize = 4;
/// How long a daemon that is told to stop waits for an `init` or `leave` to come to its end.
const BUSY_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Host {
    args: Args,
    data_dir: DataDir,
    gate: Gate,
    member: Mutex<Option<Member>>,
    failures: (mpsc::Sender<anyhow::Error>, Mutex<mpsc::Receiver<anyhow::Error>>),
}

impl Host {
    /// Goes on where the last daemon on this data folder stopped.
    pub(super) async fn open(args: Args) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&args.data_dir)?;
        let (sender, receiver) = mpsc::channel(FAILURES_MAX);
        let gate = Gate::default();
        let host = Self { args, data_dir, gate, member: Mutex::new(None), failures: (sender, Mutex::new(receiver)) };
        match Record::read(&host.data_dir.member())? {
            Some(record) => match record.phase {
                Phase::Member => {
                    let started = host.start_member(record, manager::Start::Again, None).await?;
                    *host.member.lock().await = Some(started);
                }
                Phase::Creating => {
                    // Nobody was told of that cluster, so no task of it ever was.
                    tracing::warn!("an earlier `init` did not finish; clearing up after it");
                    member::erase(&host.data_dir)?;
                }
                Phase::Leaving => {
                    tracing::warn!("an earlier `leave` did not finish; finishing it");
                    host.remove_containers(&record).await?;
                    member::erase(&host.data_dir)?;
                }
            },
            None if host.data_dir.manager().exists() => bail!(
                "{} is missing, but {} holds the state of a cluster; restore the folder `member` from a copy, or move \
                 the data folder away to start anew",
                host.data_dir.member().join("node.json").display(),
                host.data_dir.manager().display()
            ),
            None => {}
        }
        Ok(host)
    }

    pub(super) fn control(&self) -> Gate {
        self.gate.clone()
    }

    /// Returns when a part has failed that the daemon cannot be without.
    pub(super) async fn failed(&self) -> anyhow::Error {
        let failure = self.failures.1.lock().await.recv().await;
        failure.unwrap_or_else(|| anyhow!("the daemon lost track of its parts"))
    }

    pub(super) async fn stop(&self) {
        // An `init` or `leave` under way is cut off, and seen to at the next start.
        let Ok(mut slot) = tokio::time::timeout(BUSY_MAX, self.member.lock()).await else {
            return tracing::warn!("stopping in the middle of an `init` or `leave`; the next start clears up after it");
        };
        if let Some(member) = slot.take() {
            member.stop(&self.gate).await;
        }
    }

    async fn start_member(
        &self,
        record: Record,
        begin: manager::Start,
        listener: Option<tokio::net::TcpListener>,
    ) -> anyhow::Result<Member> {
        let listener = match listener {
            Some(listener) => listener,
            None => member::listen(self.args.listen_addr).await?,
        };
        let start = Start {
            args: &self.args,
            data_dir: &self.data_dir,
            gate: &self.gate,
            failures: self.failures.0.clone(),
            listener,
        };
        Member::start(start, record, begin).await
    }

    /// Makes a cluster of this host alone.
    pub(super) async fn init(&self, advertise_addr: &str) -> anyhow::Result<Record> {
        let mut slot = self.member.lock().await;
        if let Some(member) = slot.as_ref() {
            bail!(
                "this host is in cluster {} already; see it with `muster info`, or leave it first with `muster leave`",
                member.record.cluster_id
            );
        }
        let advertise_addr =
            advertise::choose(advertise_addr, self.args.advertise_addr.as_deref(), self.args.listen_addr)?;
        let listener = member::listen(self.args.listen_addr).await?;
        let record = Record {
            phase: Phase::Creating,
            cluster_id: ClusterId::from_bits(rand::random()),
            node_id: NodeId::from_bits(rand::random()),
            raft_id: FIRST_RAFT_ID,
            advertise_addr,
        };
        match self.create(&record, listener).await {
            Ok(member) => {
                let record = member.record.clone();
                *slot = Some(member);
                Ok(record)
            }
            Err(error) => {
                member::erase(&self.data_dir)?;
                Err(error)
            }
        }
    }

    async fn create(&self, record: &Record, listener: tokio::net::TcpListener) -> anyhow::Result<Member> {
        let folder = self.data_dir.member();
        record.write(&folder)?;
        let (node_key, cluster_key) = (NodeKey::generate()?, ClusterKey::generate()?);
        let now = Timestamp::EPOCH + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let begun = founding::begin(
            record.cluster_id,
            record.node_id,
            &node_key.public_der(),
            &cluster_key,
            ClusterSpec::default(),
            now,
        )?;
        record::write_durably(&folder.join(record::CLUSTER_KEY_FILE), cluster_key.bytes(), 0o600)?;
        let credentials = Credentials::from_pem(begun.root_pem, begun.certificate_pem, node_key.key_pem())?;
        record::write_credentials(&folder, &credentials)?;
        let begin = manager::Start::Cluster(begun.bootstrap);
        let mut member = self.start_member(record.clone(), begin, Some(listener)).await?;
        let record = Record { phase: Phase::Member, ..record.clone() };
        match record.write(&folder) {
            Ok(()) => {
                member.record = record;
                Ok(member)
            }
            Err(error) => {
                member.stop(&self.gate).await;
                Err(error)
            }
        }
    }

    /// Ends this host's membership and with it, as it is the only manager, the cluster. Returns how many containers
    /// were removed.
    pub(super) async fn leave(&self, force: Force) -> anyhow::Result<u32> {
        let mut slot = self.member.lock().await;
        let Some(member) = slot.as_ref() else {
            bail!("this host is in no cluster; there is nothing to leave");
        };
        if force == Force::No {
            let (services, tasks) = member.manager.replica().read(|state| {
                let wanted = state.tasks().filter(|task| task.desired <= DesiredState::Running && task.is_active());
                (state.services().count(), wanted.count())
            });
            bail!(
                "this node is the cluster's only manager: leaving ends the cluster and stops {} with {}; if that is what \
                 you want, repeat with --force",
                counted(services, "service"),
                counted(tasks, "task")
            );
        }
        let record = Record { phase: Phase::Leaving, ..member.record.clone() };
        record.write(&self.data_dir.member())?;
        let Some(member) = slot.take() else { return Ok(0) };
        let removed = member.agent.remove_everything().await;
        let stays = Record { phase: Phase::Member, ..record };
        member.stop(&self.gate).await;
        match removed {
            Ok(count) => {
                member::erase(&self.data_dir)?;
                Ok(count)
            }
            // Who forgot the cluster now could never tell which containers were its own.
            Err(error) => {
                stays.write(&self.data_dir.member())?;
                *slot = Some(self.start_member(stays, manager::Start::Again, None).await?);
                Err(anyhow::Error::new(error).context("this host stays in its cluster"))
            }
        }
    }

    /// What an interrupted `leave` has left in the engine.
    async fn remove_containers(&self, record: &Record) -> anyhow::Result<()> {
        let identity = Identity { cluster_id: record.cluster_id, node_id: record.node_id };
        let executor = engine::choose(&self.args, identity);
        let cleared = async {
            for found in executor.list().await? {
                executor.remove(&found.container).await?;
            }
            anyhow::Ok(())
        };
        cleared.await.with_context(|| {
            format!(
                "an earlier `muster leave` has not removed all containers of cluster {}; make sure that the engine runs \
                 and start the daemon again",
                record.cluster_id
            )
        })
    }

    pub(super) async fn describe(&self) -> anyhow::Result<(Option<Record>, EngineDescription)> {
        let record = self.member.lock().await.as_ref().map(|member| member.record.clone());
        let nobody = Identity { cluster_id: ClusterId::from_bits(0), node_id: NodeId::from_bits(0) };
        let identity = record
            .as_ref()
            .map_or(nobody, |record| Identity { cluster_id: record.cluster_id, node_id: record.node_id });
        Ok((record, engine::choose(&self.args, identity).describe().await))
    }

    pub(super) fn args(&self) -> &Args {
        &self.args
    }
}

/// Raft ids are never used twice in a cluster; the first manager has the first.
const FIRST_RAFT_ID: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    No,
    Yes,
}
