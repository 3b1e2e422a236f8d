//! This host as its daemon sees it: in no cluster, or a member of one. The one place where that changes; each change is
//! written down before it is begun and can be finished by the next daemon.

mod beginning;
mod ending;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use muster_agent::executor::{EngineDescription, Identity as Owner};
use muster_manager::{Start as Beginning, digest::StateDigest, recovery::Recovered};
use muster_proto::{
    id::{ClusterId, NodeId},
    v1,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, watch},
};

use super::{
    advertise,
    args::Args,
    data_dir::DataDir,
    engine,
    gate::Gate,
    join::{self, Wish},
    leave,
    member::{self, Member, Surroundings},
    membership::Membership,
    record::{Phase, Record},
    recover,
    tend::Look,
};

/// More failures than this at once tell nobody anything new.
const FAILURES_MAX: usize = 4;
/// How long a daemon that is told to stop waits for an `init`, `join` or `leave` to come to its end.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// How long `join` waits for a new manager to become a voter before it says that this is still to come.
const VOTER_MAX: Duration = Duration::from_secs(10);
/// How long `join` waits for its node to be one that others see: up, and under its name. It is so without it a moment later.
const SEEN_MAX: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });

#[derive(Debug)]
pub(super) struct Host {
    args: Args,
    data_dir: Arc<DataDir>,
    gate: Gate,
    member: Mutex<Option<Member>>,
    /// What the membership is, told whenever it changes.
    changed: watch::Sender<Option<Membership>>,
    failures: (mpsc::Sender<anyhow::Error>, Mutex<mpsc::Receiver<anyhow::Error>>),
}

/// A new member, as `join` reports it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) record: Record,
    pub(super) voter: bool,
}

/// The end of a membership, as `leave` reports it.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) containers_removed: u32,
    /// What is to be done about the cluster that was left.
    pub(super) warnings: Vec<String>,
}

impl Host {
    /// Goes on where the last daemon on this data folder stopped.
    pub(super) async fn open(args: Args) -> anyhow::Result<Self> {
        let data_dir = Arc::new(DataDir::open(&args.data_dir)?);
        let (sender, receiver) = mpsc::channel(FAILURES_MAX);
        let host = Self {
            args,
            data_dir,
            gate: Gate::default(),
            member: Mutex::new(None),
            changed: watch::Sender::new(None),
            failures: (sender, Mutex::new(receiver)),
        };
        match Record::read(&host.data_dir.member())? {
            Some(record) => host.resume(record).await?,
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

    async fn resume(&self, record: Record) -> anyhow::Result<()> {
        match record.phase {
            Phase::Member => {
                let record = recover::finish(&self.data_dir, record)?;
                let listener = join::listen(self.args.listen_addr).await?;
                let record = self.with_present_address(record, &listener).await?;
                let started = self.start(record, Beginning::Again, listener).await?;
                self.announce(Some(&started));
                *self.member.lock().await = Some(started);
            }
            Phase::Creating => {
                // Nobody was told of that cluster, so no task of it ever was.
                tracing::warn!("an earlier `init` did not finish; clearing up after it");
                member::erase(&self.data_dir)?;
            }
            Phase::Joining => tracing::warn!("an earlier `join` did not finish; repeat it, or start anew with `init`"),
            Phase::Leaving => {
                tracing::warn!("an earlier `leave` did not finish; finishing it");
                leave::remove_containers(&self.args, &record).await.with_context(|| {
                    format!(
                        "an earlier `muster leave` has not removed all containers of cluster {}; make sure that the engine \
                         runs and start the daemon again",
                        record.cluster_id
                    )
                })?;
                member::erase(&self.data_dir)?;
            }
        }
        Ok(())
    }

    /// A daemon that is started with another address than before tells the others of it.
    async fn with_present_address(&self, record: Record, listener: &TcpListener) -> anyhow::Result<Record> {
        let Some(configured) = self.args.advertise_addr.as_deref() else { return Ok(record) };
        let address = advertise::moved(&record.advertise_addr, configured, self.args.listen_addr)?;
        if address == record.advertise_addr {
            return Ok(record);
        }
        if record.raft_id.is_some() {
            advertise::check_patiently(&address, listener).await?;
        } else if let Err(error) = advertise::check(&address, listener).await {
            // Managers turn to it there, and a router in between may lead others here without leading this host to itself.
            tracing::warn!("{error:#}");
        }
        tracing::info!(from = %record.advertise_addr, to = %address, "this node has another address");
        let moved = Record { advertise_addr: address, ..record };
        moved.write(&self.data_dir.member())?;
        Ok(moved)
    }

    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    pub(super) fn args(&self) -> &Args {
        &self.args
    }

    /// Returns when a part has failed that the daemon cannot be without.
    pub(super) async fn failed(&self) -> anyhow::Error {
        let failure = self.failures.1.lock().await.recv().await;
        failure.unwrap_or_else(|| anyhow!("the daemon lost track of its parts"))
    }

    /// Nobody can change the membership before what is returned is dropped. None: somebody is in the middle of it.
    pub(super) async fn stop(&self) -> Option<impl Sized> {
        // An `init` or `leave` under way is cut off, and seen to at the next start.
        let Ok(mut slot) = tokio::time::timeout(BUSY_MAX, self.member.lock()).await else {
            tracing::warn!("stopping in the middle of a change of membership; the next start clears up after it");
            return None;
        };
        if let Some(member) = slot.take() {
            member.stop().await;
        }
        Some(slot)
    }

    async fn start(&self, record: Record, beginning: Beginning, listener: TcpListener) -> anyhow::Result<Member> {
        let surroundings = Surroundings {
            args: self.args.clone(),
            data_dir: Arc::clone(&self.data_dir),
            gate: self.gate.clone(),
            failures: self.failures.0.clone(),
        };
        Member::start(surroundings, record, beginning, listener).await
    }

    /// Changes whenever the membership does.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Membership>> {
        self.changed.subscribe()
    }

    fn announce(&self, member: Option<&Member>) {
        self.changed.send_replace(member.map(Membership::of));
    }

    /// None when this host is in no cluster.
    pub(super) async fn look(&self) -> Option<Look> {
        let slot = self.member.lock().await;
        let member = slot.as_ref()?;
        Some(Look {
            record: member.record().clone(),
            credentials: member.keeper().credentials(),
            managers: member.managers(),
            orders: member.agent().orders(),
            serving: member.serving().map(muster_manager::Handle::raft_id),
            dismissed: member.dismissed(),
            log_format: member.serving().and_then(|manager| {
                let own = member.record().node_id;
                manager.replica().read(|state| state.node(own).map(|node| node.log_format))
            }),
        })
    }

    /// What the cluster has granted to the node that `asked`. Dropped where the membership is another by now.
    pub(super) async fn take_on(&self, asked: &Record, grant: v1::Grant) -> anyhow::Result<()> {
        let mut slot = self.member.lock().await;
        let Some(member) = slot.as_mut().filter(|member| member.record() == asked) else { return Ok(()) };
        let granted = asked.granted(grant)?;
        if granted.cluster_id != asked.cluster_id {
            bail!(
                "the managers granted membership of cluster {}; look who answers at their addresses",
                granted.cluster_id
            );
        }
        member.take_on(granted).await?;
        self.announce(Some(member));
        Ok(())
    }

    /// See [`Member::heal`].
    pub(super) async fn heal(&self) -> anyhow::Result<()> {
        let mut slot = self.member.lock().await;
        let Some(member) = slot.as_mut() else { return Ok(()) };
        let before = member.record().clone();
        member.heal().await?;
        if *member.record() != before {
            self.announce(Some(member));
        }
        Ok(())
    }

    /// A manager has said that node `own` is removed. Whoever asks this host for what managers do is told so from now on.
    pub(super) async fn say_removed(&self, own: NodeId) {
        let slot = self.member.lock().await;
        if let Some(member) = slot.as_ref().filter(|member| member.record().node_id == own) {
            member.say_removed();
        }
    }

    /// Makes this host a node of a cluster that is there.
    pub(super) async fn join(&self, request: &v1::JoinClusterRequest) -> anyhow::Result<Joined> {
        let mut slot = self.member.lock().await;
        let earlier = self.refuse_members(slot.as_ref())?;
        let wish = Wish::read(request)?;
        let advertise_addr = self.advertise(&request.advertise_addr)?;
        let folder = self.data_dir.member();
        let listener = join::listen(self.args.listen_addr).await?;
        let newcomer = join::newcomer(earlier.as_ref(), &wish, advertise_addr)?;
        newcomer.write(&folder)?;
        let granted = match join::ask(&wish, &newcomer, &listener).await {
            Ok(granted) => granted,
            Err(refused) => {
                if refused.leaves_nothing(earlier.as_ref()) {
                    member::erase(&self.data_dir)?;
                }
                return Err(refused.into());
            }
        };
        granted.write(&folder)?;
        let started = self.start(granted.clone(), Beginning::Again, listener).await;
        let member = started.context(
            "this host is a node of the cluster now and could not start as one; mend what is said here and start its \
             daemon again, or take it out with `muster leave`",
        )?;
        let (manager, mut orders) = (member.manager().cloned(), member.agent().orders());
        self.announce(Some(&member));
        *slot = Some(member);
        drop(slot);
        let voter = async {
            match manager {
                Some(manager) => tokio::time::timeout(VOTER_MAX, manager.until_voter()).await.is_ok(),
                None => false,
            }
        };
        // A manager that gives orders has a session with this node, which began with what the node is.
        let seen = async {
            // Also where it takes longer, this host has joined.
            let _ = tokio::time::timeout(SEEN_MAX, orders.wait_for(Option::is_some)).await;
        };
        let (voter, ()) = tokio::join!(voter, seen);
        Ok(Joined { record: granted, voter })
    }

    /// Where others will reach this host, and what they will reach there.
    async fn listen(&self, asked: &str) -> anyhow::Result<(String, TcpListener)> {
        let address = self.advertise(asked)?;
        let listener = join::listen(self.args.listen_addr).await?;
        advertise::check(&address, &listener).await?;
        Ok((address, listener))
    }

    fn advertise(&self, asked: &str) -> anyhow::Result<String> {
        advertise::choose(asked, self.args.advertise_addr.as_deref(), self.args.listen_addr)
    }

    /// A cluster of this manager alone, which goes on from what it has.
    pub(super) async fn recover(&self, force: Force, advertise_addr: &str) -> anyhow::Result<(Record, Recovered)> {
        let mut slot = self.member.lock().await;
        let Some(member) = slot.as_mut() else {
            bail!(
                "this host is in no cluster; restore one from a backup with `muster restore`, or start one with `muster init`"
            );
        };
        let address = match advertise_addr {
            "" => member.record().advertise_addr.clone(),
            asked => advertise::moved(&member.record().advertise_addr, asked, self.args.listen_addr)?,
        };
        recover::check(member, force).await?;
        if !advertise_addr.is_empty() {
            member.check_address(&address).await?;
        }
        let recovered = member.recover(address).await?;
        self.announce(Some(member));
        Ok((member.record().clone(), recovered))
    }

    pub(super) async fn describe(&self) -> anyhow::Result<(Option<Membership>, EngineDescription)> {
        // Not asked of the member itself, which a `join` keeps busy for as long as it waits.
        let announced = self.changed.borrow().clone();
        let membership = match announced {
            Some(membership) => Some(membership),
            // It may be one all the same, whose parts did not start.
            None => Record::read(&self.data_dir.member())?
                .filter(|record| record.phase == Phase::Member)
                .map(|record| Membership::of_nothing_but(record, &self.data_dir.agent())),
        };
        let record = membership.as_ref().map(|membership| &membership.record);
        let nobody = Owner { cluster_id: ClusterId::from_bits(0), node_id: NodeId::from_bits(0) };
        let owner = record.map_or(nobody, |record| Owner { cluster_id: record.cluster_id, node_id: record.node_id });
        Ok((membership, engine::choose(&self.args, owner).describe().await))
    }

    /// Of this manager's copy of the state; None where there is none.
    pub(super) async fn state_digest(&self) -> anyhow::Result<Option<StateDigest>> {
        let manager = self.member.lock().await.as_ref().and_then(|member| member.manager().cloned());
        let Some(manager) = manager else { return Ok(None) };
        let digest = tokio::task::spawn_blocking(move || manager.replica().state_digest()).await?;
        Ok(Some(digest.context("the state of this manager cannot be encoded")?))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    No,
    Yes,
}

#[cfg(test)]
mod tests;
