//! This node's own manager: opened on a store of its own, served at the port, and kept a manager in the eyes of others.

use std::{sync::Arc, time::Duration};

use muster_manager::{
    Manager, RunError, Start as Beginning,
    ca::{Keeper, NodeKey},
    connect::Connect,
    outside::Outside,
    raft::grpc::Grpc,
};
use muster_proto::version::RaftId;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::util::BoxCloneSyncService;

use super::{Surroundings, remove};
use crate::daemon::{
    dial::Secured,
    gate::{Gate, Inner},
    now,
    preflight::LocalHost,
    record::{Record, Store},
};

/// How long a manager reads its state from the disk before it can sign itself a certificate.
const HEAL_MAX: Duration = Duration::from_secs(10);

/// Opens this node's manager, on a store that is made first where it has none yet. Cut short anywhere, it goes on there
/// when it is repeated.
pub(super) async fn open(
    surroundings: &Surroundings,
    record: &mut Record,
    raft_id: RaftId,
    keeper: &Keeper,
    preflight: &Arc<LocalHost>,
    beginning: Beginning,
) -> anyhow::Result<Manager> {
    let folder = surroundings.data_dir.member();
    if record.store == Store::Former {
        remove(&surroundings.data_dir.manager())?;
        record.store = Store::Begun;
        record.write(&folder)?;
    }
    let beginning = match record.store {
        Store::Own => beginning,
        Store::Begun | Store::Former => Beginning::Member,
    };
    let config = muster_manager::Config {
        data_dir: surroundings.data_dir.path().to_owned(),
        cluster_id: record.cluster_id,
        node_id: record.node_id,
        raft_id: raft_id.0,
        advertise_addr: record.advertise_addr.clone(),
        cluster_key: record.cluster_key()?,
        preflight: Arc::clone(preflight) as _,
    };
    let transport = Arc::new(Grpc::new(Arc::new(Secured::new(keeper.clone()))));
    let manager = Manager::open(config, Outside::of_host(transport), beginning).await?;
    if record.store != Store::Own {
        record.store = Store::Own;
        record.write(&folder)?;
    }
    Ok(manager)
}

/// A manager that the others let go has nothing left to do; what becomes of its node is not for it to say.
pub(super) async fn run_until_told(manager: Manager, gate: Gate, shutdown: CancellationToken) -> anyhow::Result<()> {
    match manager.run(shutdown.clone()).await {
        Err(RunError::Dismissed(why)) => {
            tracing::warn!("this node's manager has ended: {why}");
            gate.refuse(&why.to_string());
            shutdown.cancelled().await;
            Ok(())
        }
        ended => Ok(ended?),
    }
}

/// What the manager offers, each for those whom the table of authorization names. What only the leader does goes on to
/// the leader.
pub(super) fn services(manager: &muster_manager::Handle, keeper: &Keeper) -> Inner {
    let connect: Arc<dyn Connect> = Arc::new(Secured::new(keeper.clone()));
    let routes = Routes::new(manager.forward(Arc::clone(&connect), manager.control()))
        .add_service(manager.forward(connect, manager.membership()))
        .add_service(manager.dispatcher())
        .add_service(manager.raft());
    BoxCloneSyncService::new(routes.prepare())
}

/// A manager whose certificate has run out makes itself another, and so does one that goes on under another Raft id:
/// nobody would take it for the manager that it is otherwise.
pub(super) async fn heal(
    surroundings: &Surroundings,
    record: Record,
    keeper: &Keeper,
    manager: &muster_manager::Handle,
) -> anyhow::Result<Record> {
    let identity = keeper.identity();
    let why = match (identity.expires_at > now(), identity.raft_id == record.raft_id) {
        (true, true) => return Ok(record),
        (false, _) => "had expired",
        (true, false) => "did not name the manager that this node is now",
    };
    let public_key = NodeKey::from_pem(&record.identity.key)?.public_der();
    let changes = manager.replica().watch();
    let signed = async {
        loop {
            match manager.certify_self(&public_key) {
                Ok(grant) if grant.raft_id.map(RaftId) == record.raft_id => return grant,
                // It was demoted and promoted since: the others have to let go of it first, and say so.
                Ok(_) => tracing::debug!("this manager is to be another one"),
                // What it knows is still on its way from the disk.
                Err(why) => tracing::debug!("no certificate of its own yet: {}", why.message()),
            }
            changes.changed().await;
        }
    };
    match tokio::time::timeout(HEAL_MAX, signed).await {
        Ok(grant) => {
            let healed = Record { is_self_signed: true, ..record.granted(grant)? };
            healed.write(&surroundings.data_dir.member())?;
            keeper.replace(healed.credentials()?)?;
            tracing::warn!("this manager's certificate {why}; it has signed itself the next");
            Ok(healed)
        }
        Err(_elapsed) => {
            tracing::error!(
                "this manager's certificate {why}, and its state cannot sign another; recover on another manager"
            );
            Ok(record)
        }
    }
}
