//! Clusters that begin on this host: a new one, and one that goes on from a backup. What fails leaves nothing behind.

use muster_manager::{
    Start as Beginning,
    backup::Backup,
    ca::{ClusterKey, NodeKey},
    founding,
    outside::random::HostRandom,
    recovery::Recovered,
};
use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId},
    node::Role,
};
use tokio::net::TcpListener;

use super::{Force, Host};
use crate::daemon::{
    member::{self, Member},
    now,
    record::{Identity, Phase, Record, Store, hex},
    restore,
};

impl Host {
    /// Makes a cluster of this host alone.
    pub(in crate::daemon) async fn init(&self, advertise_addr: &str) -> anyhow::Result<Record> {
        let mut slot = self.member.lock().await;
        self.refuse_members(slot.as_ref())?;
        let (advertise_addr, listener) = self.listen(advertise_addr).await?;
        match self.create(advertise_addr, listener).await {
            Ok(member) => {
                let record = member.record().clone();
                self.announce(Some(&member));
                *slot = Some(member);
                Ok(record)
            }
            Err(error) => {
                member::erase(&self.data_dir)?;
                Err(error)
            }
        }
    }

    async fn create(&self, advertise_addr: String, listener: TcpListener) -> anyhow::Result<Member> {
        let (cluster_id, node_id) = (ClusterId::from_bits(rand::random()), NodeId::from_bits(rand::random()));
        let (node_key, cluster_key) = (NodeKey::generate()?, ClusterKey::generate()?);
        let spec = ClusterSpec::default();
        let public_key = node_key.public_der();
        let begun = founding::begin(cluster_id, node_id, &public_key, &cluster_key, spec, now(), &HostRandom)?;
        let record = Record {
            phase: Phase::Creating,
            cluster_id,
            node_id,
            advertise_addr: advertise_addr.clone(),
            role: Role::Manager,
            raft_id: Some(founding::FIRST_RAFT_ID),
            store: Store::Own,
            managers: vec![advertise_addr],
            incarnation: 1,
            recovering: None,
            is_self_signed: false,
            identity: Identity {
                roots: begun.root_pem,
                certificate: begun.certificate_pem,
                key: node_key.key_pem(),
                cluster_key: Some(hex(cluster_key.bytes())),
            },
        };
        let folder = self.data_dir.member();
        record.write(&folder)?;
        let member = self.start(record.clone(), Beginning::Cluster(begun.bootstrap), listener).await?;
        self.settle(member, record).await
    }

    /// Whether one could begin here, as far as that can be told without the backup.
    pub(in crate::daemon) async fn check_restore(&self, advertise_addr: &str) -> anyhow::Result<()> {
        let slot = self.member.lock().await;
        self.refuse_members(slot.as_ref())?;
        self.listen(advertise_addr).await.map(|_| ())
    }

    /// Makes a cluster of this host alone that goes on from a backup.
    pub(in crate::daemon) async fn restore(
        &self,
        advertise_addr: &str,
        force: Force,
        backup: Vec<u8>,
    ) -> anyhow::Result<(Record, Recovered)> {
        let mut slot = self.member.lock().await;
        self.refuse_members(slot.as_ref())?;
        let (advertise_addr, listener) = self.listen(advertise_addr).await?;
        let backup = restore::read(backup).await?;
        match self.go_on_from(backup, advertise_addr, force, listener).await {
            Ok((member, recovered)) => {
                let record = member.record().clone();
                self.announce(Some(&member));
                *slot = Some(member);
                Ok((record, recovered))
            }
            Err(error) => {
                member::erase(&self.data_dir)?;
                Err(error)
            }
        }
    }

    async fn go_on_from(
        &self,
        backup: Backup,
        advertise_addr: String,
        force: Force,
        listener: TcpListener,
    ) -> anyhow::Result<(Member, Recovered)> {
        let (record, recovered) = restore::prepare(&self.data_dir, backup, advertise_addr, force, &listener).await?;
        let member = self.start(record.clone(), Beginning::Again, listener).await?;
        Ok((self.settle(member, record).await?, recovered))
    }

    /// A member whose making is complete.
    async fn settle(&self, mut member: Member, record: Record) -> anyhow::Result<Member> {
        match member.take_on(Record { phase: Phase::Member, ..record }).await {
            Ok(()) => Ok(member),
            Err(error) => {
                member.stop().await;
                Err(error)
            }
        }
    }
}
