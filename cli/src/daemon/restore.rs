//! `muster restore`: a cluster of this host alone, from a backup.
//!
//! The host takes over as a node of its own, whatever nodes the backup knows. Until it is a member nothing is kept of a
//! restore that fails.

use std::sync::Arc;

use anyhow::{Context, bail};
use muster_core::{recovery::Survivor, state::State};
use muster_manager::{
    backup::{self, Backup},
    ca::{Keeper, NodeKey},
    founding,
    outside::network::HostNetwork,
    recovery::{
        self, Recovered,
        alive::{self, Found},
    },
};
use muster_proto::{id::NodeId, node::Role, time::Timestamp};
use tokio::net::TcpListener;

use super::{
    advertise,
    data_dir::DataDir,
    dial::Secured,
    host::Force,
    record::{Identity, Phase, Record, Store, hex},
};

/// Of a backup as it comes from the command line; it is held in memory.
pub(super) const BACKUP_BYTES_MAX: usize = 1 << 30;

/// Reads what `muster backup` wrote.
pub(super) async fn read(bytes: Vec<u8>) -> anyhow::Result<Backup> {
    let read = tokio::task::spawn_blocking(move || backup::read(&bytes)).await;
    Ok(read.context("the reading of the backup broke off; repeat the command")??)
}

/// Makes the manager's store. The record is that of a node which is about to be.
pub(super) async fn prepare(
    data_dir: &DataDir,
    backup: Backup,
    advertise_addr: String,
    force: Force,
    listener: &TcpListener,
) -> anyhow::Result<(Record, Recovered)> {
    let Backup { state, cluster_key, made_at: _ } = backup;
    let (node_id, node_key, now) = (NodeId::from_bits(rand::random()), NodeKey::generate()?, super::now());
    let successor = founding::take_over(&state, node_id, &node_key.public_der(), &cluster_key, now)?;
    let mut record = Record {
        phase: Phase::Creating,
        cluster_id: successor.cluster_id,
        node_id,
        advertise_addr: advertise_addr.clone(),
        role: Role::Manager,
        raft_id: None,
        store: Store::Own,
        managers: vec![advertise_addr.clone()],
        incarnation: 0,
        recovering: None,
        is_self_signed: false,
        identity: Identity {
            roots: successor.roots_pem,
            certificate: successor.certificate_pem,
            key: node_key.key_pem(),
            cluster_key: Some(hex(cluster_key.bytes())),
        },
    };
    if force == Force::No {
        refuse_beside_managers(&state, &record, now, listener).await?;
    }
    record.write(&data_dir.member())?;
    let survivor = Survivor { id: node_id, address: advertise_addr, certificate: Some(successor.certificate) };
    let recovered = recovery::found(data_dir.path(), state, &survivor, now).await?;
    record.raft_id = Some(recovered.raft_id);
    record.incarnation = recovered.incarnation;
    record.write(&data_dir.member())?;
    Ok((record, recovered))
}

/// What still runs knows more than the backup, and would be ended by it.
async fn refuse_beside_managers(
    state: &State,
    record: &Record,
    now: Timestamp,
    listener: &TcpListener,
) -> anyhow::Result<()> {
    let keeper = Keeper::new(record.credentials()?).context("the certificate that was made cannot be used")?;
    let Found { running, unclear } =
        alive::managers(state, now, Arc::new(Secured::new(keeper)), Arc::new(HostNetwork)).await;
    if !running.is_empty() {
        bail!(
            "managers of this cluster still run and know more than the backup ({}); where they have lost their quorum run \
             `muster recover` on one of them, or stop their daemons first; with --force they are managers no more, and what \
             they decided since the backup is lost",
            running.join(", ")
        );
    }
    let mut untold = Vec::new();
    for (address, why) in unclear {
        // It may have been this host, which answers nobody yet.
        if advertise::check(&address, listener).await.is_err() {
            untold.push(format!("{address}: {why}"));
        }
    }
    if untold.is_empty() {
        return Ok(());
    }
    bail!(
        "cannot tell whether managers of this cluster still run ({}); stop what listens there, or repeat with --force where \
         it is none",
        untold.join(", ")
    )
}
