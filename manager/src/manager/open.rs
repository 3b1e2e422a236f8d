//! From a folder to a running manager, and from nothing to a cluster of one.

use std::{collections::BTreeMap, sync::Arc};

use muster_core::{
    command::{Command, Outcome},
    rejection::Rejection,
};
use muster_proto::{
    id::ClusterId,
    node::{NodeSpec, Role},
};
use openraft::error::{InitializeError, RaftError};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{Bootstrap, Config, Handle, Manager, Start};
use crate::{
    clock::{Clock, StateClock},
    compaction,
    dispatcher::sessions::Sessions,
    failure::Failure,
    group::{self, Succession},
    leader, leadership,
    leases::Leases,
    machine::Machine,
    membership::Attempts,
    outside::Outside,
    proposer::{self, Proposer},
    raft::{
        self, Peer, Raft,
        contact::Contact,
        election,
        inbox::{Inbox, Installing, Invited},
        members::Members,
        network::Network,
        recent::Recent,
        standing::Standing,
    },
    read_point::{self, ReadPoints},
    replica::{ProposeError, Replica, Shared},
    reports, room, rotation,
    snapshots::Snapshots,
    storage::{self, Missing, Opened, log::Appended},
    streams::Streams,
};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] storage::OpenError),
    #[error(
        "the folder belongs to cluster {found}, this node to {expected}; choose another folder with --data-dir, or leave that cluster first"
    )]
    OtherCluster { expected: ClusterId, found: ClusterId },
    #[error("the cluster could not be made; run `muster init` again")]
    Bootstrap(#[source] ProposeError),
    #[error("the making of the cluster was cut short; run `muster init` again")]
    Unfinished,
    #[error("the manager could not start: {0}")]
    Failed(Arc<str>),
}

/// The founder's. Nobody else brings a group into being.
const FIRST_RAFT_ID: u64 = 1;

impl Manager {
    /// Starts this manager on its folder, where it makes or finds what `begin` says.
    pub async fn open(config: Config, outside: Outside, begin: Start) -> Result<Self, OpenError> {
        outside.clone().run(Self::open_within(config, outside, begin)).await
    }

    async fn open_within(config: Config, outside: Outside, begin: Start) -> Result<Self, OpenError> {
        let folder = storage::folder(&config.data_dir);
        let missing = match &begin {
            Start::Again => Missing::Refuse,
            Start::Cluster(_) | Start::Member => Missing::Create,
        };
        let disk = outside.disk.clone();
        let opened = outside.disk.run(move || Ok(storage::open(&disk, &folder, missing))).await;
        let opened = opened.map_err(|why| OpenError::Failed(why.to_string().into()))??;
        let settings = raft::config(config.cluster_id.to_string(), outside.disk.snapshot_every());
        let manager = start(config, outside, settings, opened).await?;
        match manager.settle(begin).await {
            Ok(()) => Ok(manager),
            Err(why) => {
                let failure = manager.failure.clone();
                manager.close().await;
                Err(failure.get().map_or(why, OpenError::Failed))
            }
        }
    }

    pub(super) async fn settle(&self, begin: Start) -> Result<(), OpenError> {
        match begin {
            Start::Cluster(bootstrap) => {
                self.initialise().await?;
                self.create_cluster(bootstrap).await?;
            }
            // Who was let in by others waits for them, after a restart too.
            Start::Again if self.handle.config.raft_id != FIRST_RAFT_ID => {}
            Start::Again => {
                if !self.raft.is_initialized().await.map_err(|why| OpenError::Failed(why.to_string().into()))? {
                    return Err(OpenError::Unfinished);
                }
            }
            Start::Member => {}
        }
        let expected = self.handle.config.cluster_id;
        match self.handle.replica.read(|state| state.cluster().map(|cluster| cluster.id)) {
            Some(found) if found != expected => Err(OpenError::OtherCluster { expected, found }),
            // None: what makes the cluster is in the log and not known to be committed yet.
            Some(_) | None => Ok(()),
        }
    }

    /// Makes this manager the one voter. Nothing to do where it is a voter already.
    async fn initialise(&self) -> Result<(), OpenError> {
        let Config { raft_id, node_id, advertise_addr, .. } = &self.handle.config;
        let me = Peer { node_id: *node_id, address: advertise_addr.clone() };
        match self.raft.initialize(BTreeMap::from([(*raft_id, me)])).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(why @ RaftError::APIError(InitializeError::NotInMembers(_))) => {
                Err(OpenError::Failed(why.to_string().into()))
            }
            Err(RaftError::Fatal(why)) => Err(OpenError::Failed(why.to_string().into())),
        }
    }

    async fn create_cluster(&self, bootstrap: Bootstrap) -> Result<(), OpenError> {
        let Config { cluster_id, node_id, advertise_addr, .. } = &self.handle.config;
        let command = Command::CreateCluster {
            id: *cluster_id,
            spec: bootstrap.spec,
            node_id: *node_id,
            node: NodeSpec { role: Role::Manager, ..NodeSpec::default() },
            address: advertise_addr.clone(),
            founding: bootstrap.founding,
        };
        match self.handle.replica.propose(command).await {
            Ok(Outcome::Done { .. } | Outcome::Partly { .. } | Outcome::Rejected(Rejection::ClusterExists)) => Ok(()),
            Ok(Outcome::Rejected(why)) => Err(OpenError::Failed(why.to_string().into())),
            Err(why) => Err(OpenError::Bootstrap(why)),
        }
    }
}

/// What one manager's copy of the log is replicated with.
struct Replication {
    raft: Raft,
    network: Network,
    shared: Arc<Shared>,
    snapshots: Arc<Snapshots>,
    standing: Standing,
    contact: Contact,
    invited: Invited,
    failure: Failure,
    appended: Appended,
}

async fn replicate(
    config: &Config,
    outside: &Outside,
    settings: Arc<openraft::Config>,
    opened: Opened,
) -> Result<Replication, OpenError> {
    let failure = opened.log.failure().clone();
    let appended = opened.log.appended();
    let (snapshots, transport) = (opened.snapshots, outside.transport.clone());
    let machine = Machine::new(snapshots.clone(), failure.clone());
    let shared = machine.shared();
    let standing = Standing::new(config.cluster_id, config.raft_id, shared.clone());
    let (contact, invited) = (Contact::new(), Invited::default());
    let network = Network {
        standing: standing.clone(),
        transport,
        snapshots: snapshots.clone(),
        contact: contact.clone(),
        invited: invited.clone(),
    };
    let raft = Raft::new(config.raft_id, settings, network.clone(), Recent::new(opened.log), machine)
        .await
        .map_err(|fatal| OpenError::Failed(failure.get().unwrap_or_else(|| fatal.to_string().into())))?;
    Ok(Replication { raft, network, shared, snapshots, standing, contact, invited, failure, appended })
}

pub(super) async fn start(
    config: Config,
    outside: Outside,
    settings: Arc<openraft::Config>,
    opened: Opened,
) -> Result<Manager, OpenError> {
    let Replication { raft, network, shared, snapshots, standing, contact, invited, failure, appended } =
        replicate(&config, &outside, settings, opened).await?;
    let clock: Arc<dyn Clock> = Arc::new(StateClock::new(outside.clock.clone(), shared.clone()));
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let (room, looking) = room::new(outside.disk.clone(), config.data_dir.clone());
    let (leading, leadership, backing) = leadership::new(raft.clone(), contact.clone());
    let (proposals, queue) = mpsc::channel(proposer::QUEUED_MAX);
    let (read_points, readers) = mpsc::channel(read_point::WAITING_MAX);
    let replica = Replica::new(shared, proposals, read_points, leadership.clone(), failure.clone(), room.clone());
    let reading =
        ReadPoints { raft: raft.clone(), leadership: leadership.clone(), failure: failure.clone(), queue: readers };
    let leases = Leases::new(outside.clock.clone());
    let (reports, batching) = reports::new(replica.clone());
    let places = Arc::new(Semaphore::new(proposer::IN_FLIGHT_MAX));
    let members = Members::new(raft.clone(), network);
    let succession = Succession { members: members.clone(), proposals: places.clone() };
    let proposer =
        Proposer { raft: raft.clone(), clock: clock.clone(), queue, leadership, failure: failure.clone(), places };
    let following =
        group::Service { members: members.clone(), replica: replica.clone(), succession: succession.clone() };
    let herald = group::Herald { members: members.clone(), replica: replica.clone(), leases: leases.clone() };
    let leader = leader::Service::new(replica.clone(), leases.clone(), clock, outside.random.clone());
    tasks.spawn(outside.run(leading.run(stop.clone())));
    tasks.spawn(outside.run(compaction::run(raft.clone(), appended, outside.disk.snapshot_every(), stop.clone())));
    let election = election::Service {
        raft: raft.clone(),
        members: members.clone(),
        contact: contact.clone(),
        room: room.clone(),
        random: outside.random.clone(),
    };
    tasks.spawn(outside.run(election.run(stop.clone())));
    tasks.spawn(outside.run(proposer.run(stop.clone())));
    tasks.spawn(outside.run(reading.run(stop.clone())));
    tasks.spawn(outside.run(batching.run(stop.clone())));
    tasks.spawn(outside.run(rotation::run(replica.clone(), stop.clone())));
    tasks.spawn(outside.run(leader.run(stop.clone())));
    tasks.spawn(outside.run(following.run(stop.clone())));
    tasks.spawn(outside.run(herald.run(stop.clone())));
    tasks.spawn(outside.run(looking.run(succession.clone(), stop.clone())));
    let (sessions, attempts, streams) = (Sessions::default(), Attempts::default(), Streams::default());
    let dismissed = standing.dismissed();
    let installing = Installing::default();
    let inbox =
        Inbox { standing, raft: raft.clone(), snapshots, contact, invited, room, installing, backing: backing.clone() };
    let turns = Arc::new(Semaphore::new(1));
    let handle = Handle {
        config,
        outside,
        inbox,
        members,
        succession,
        replica,
        backing,
        leases,
        reports,
        sessions,
        attempts,
        turns,
        streams,
    };
    Ok(Manager { handle, raft, tasks, stop, failure, dismissed })
}
