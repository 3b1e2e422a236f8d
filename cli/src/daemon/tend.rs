//! Keeps this node what its cluster wants it to be: asks for the next certificate when the present one grows old, when
//! the cluster has another role for the node, and when it trusts other roots.
//!
//! One task beside the membership's parts. It decides from what the node has and what its last session was told; what
//! it is granted, [`Host`] takes on.

use std::{sync::Arc, time::Duration};

use muster_core::command::LOG_FORMAT;
use muster_manager::{
    authorization::Denied,
    ca::{self, Credentials, NodeKey},
    raft::standing::Dismissal,
};
use muster_proto::{
    id::NodeId,
    node::{NodeOrders, Role},
    time::Timestamp,
    v1,
    version::RaftId,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    host::Host,
    managers::{AskError, Managers},
    record::Record,
};

/// Between attempts, doubled after each that failed.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The longest sleep before the clock is read again: it may have been set.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Why a node needs another grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Another role, other roots, or the managers have not seen the certificate that they gave; or it is a manager and
    /// runs none, or another than it is to be.
    Ordered,
    /// The present certificate is one that this node's manager signed itself, and the cluster has not heard of it.
    Unrecorded,
    /// This muster reads another log format than the one before it did, and the others wait for it.
    Upgraded,
    /// Half of the certificate's life is over.
    Aged,
    /// Not for some time.
    In(Duration),
}

/// What one look at the membership finds.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) record: Record,
    pub(super) credentials: Credentials,
    pub(super) managers: Managers,
    pub(super) orders: watch::Receiver<Option<NodeOrders>>,
    /// Of the manager that runs here and that the others count on.
    pub(super) serving: Option<RaftId>,
    /// When they do no more.
    pub(super) dismissed: Option<watch::Receiver<Option<Dismissal>>>,
    /// The newest log format that the cluster believes this node's muster to read; managers only.
    pub(super) log_format: Option<u16>,
}

/// Marks the orders as seen: the next wake-up is for newer ones.
fn due(look: &mut Look, now: Timestamp) -> Due {
    let ordered = look.orders.borrow_and_update().as_ref().is_some_and(|orders| {
        orders.role != look.record.role
            || orders.roots_digest != ca::digests(&look.credentials.ca_pem)
            || orders.show_certificate
    });
    if ordered || look.record.raft_id != look.serving {
        return Due::Ordered;
    }
    if look.record.is_self_signed {
        return Due::Unrecorded;
    }
    if look.log_format.is_some_and(|known| known != LOG_FORMAT) {
        return Due::Upgraded;
    }
    // What cannot be read is renewed rather than trusted to last.
    let renew_at = look.credentials.renew_at().unwrap_or(Timestamp::EPOCH);
    if renew_at <= now { Due::Aged } else { Due::In(renew_at.since(now)) }
}

/// Until `shutdown`.
pub(super) async fn run(host: Arc<Host>, shutdown: CancellationToken) {
    let mut retry = RETRY_MIN;
    let mut changes = host.changes();
    loop {
        changes.mark_unchanged();
        let Some(mut look) = host.look().await else {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = changes.changed() => continue,
            }
        };
        let pause = match due(&mut look, super::now()) {
            Due::In(span) => {
                retry = RETRY_MIN;
                span.min(SLEEP_MAX)
            }
            why @ (Due::Ordered | Due::Unrecorded | Due::Upgraded | Due::Aged) => {
                match renew(&host, &look, why, &shutdown).await {
                    Ok(()) => {
                        // What was ordered and is not granted yet must not be asked for in a spin.
                        changes.mark_unchanged();
                        let pause = retry;
                        retry = (retry * 2).min(RETRY_MAX);
                        pause
                    }
                    Err(error) => {
                        tracing::warn!("the next certificate was not granted: {error:#}");
                        let seen_to = async {
                            if says_removed(&error, look.record.node_id) {
                                host.say_removed(look.record.node_id).await;
                            }
                            // Where no other manager can be asked, this host's own may have what it takes.
                            host.heal().await
                        };
                        tokio::select! {
                            () = shutdown.cancelled() => return,
                            healed = seen_to => if let Err(error) = healed { tracing::error!("{error:#}") },
                        }
                        retry = (retry * 2).min(RETRY_MAX);
                        retry
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = changes.changed() => {}
            _ = look.orders.changed() => retry = RETRY_MIN,
            () = let_go(look.dismissed) => retry = RETRY_MIN,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Returns when the others let this node's manager go, unless they have already.
async fn let_go(dismissed: Option<watch::Receiver<Option<Dismissal>>>) {
    match dismissed {
        Some(mut dismissed) if dismissed.borrow().is_none() => {
            // Without the manager there is nothing to hear.
            if dismissed.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        Some(_) | None => std::future::pending().await,
    }
}

/// Whether a manager has said so, in whose word it is for good.
fn says_removed(error: &anyhow::Error, own: NodeId) -> bool {
    match error.downcast_ref() {
        Some(AskError::Refused(why)) => *why == Denied::Removed(own).to_string(),
        Some(AskError::Unheard(_) | AskError::Nobody) | None => false,
    }
}

/// Who is to stop does not wait for the answer, which may never come: what was granted then is asked for again.
async fn renew(host: &Host, look: &Look, why: Due, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let request = v1::RenewRequest {
        public_key: NodeKey::from_pem(&look.record.identity.key)?.public_der(),
        log_format: LOG_FORMAT.into(),
    };
    let grant = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        granted = look.managers.renew(request) => granted?,
    };
    let role = v1::Role::try_from(grant.role).unwrap_or(v1::Role::Unspecified);
    let another = grant.raft_id.is_some_and(|granted| Some(RaftId(granted)) != look.record.raft_id);
    match (why, role, look.record.role) {
        (Due::Ordered, v1::Role::Manager, Role::Manager) if another => {
            tracing::info!("this node was demoted and is promoted to a manager again");
        }
        (Due::Ordered, v1::Role::Manager, Role::Worker) => tracing::info!("this node is promoted to a manager"),
        (Due::Ordered, v1::Role::Worker, Role::Manager) => tracing::info!("this node is no manager any more"),
        (Due::Ordered | Due::Unrecorded | Due::Upgraded | Due::Aged | Due::In(_), ..) => {
            tracing::info!("the node's certificate was renewed")
        }
    }
    host.take_on(&look.record, grant).await
}

#[cfg(test)]
mod tests {
    use muster_manager::ca::{Authority, Keeper, Part};
    use muster_proto::id::ClusterId;

    use super::*;
    use crate::daemon::{
        args::Args,
        record::{Identity, Phase, Store},
    };

    /// At a worker that knows managers at these addresses.
    fn look(addresses: Vec<String>) -> (Look, NodeOrders, watch::Sender<Option<NodeOrders>>) {
        let (cluster, node) = (ClusterId::from_bits(1), NodeId::from_bits(2));
        let authority = Authority::create(cluster, super::super::now()).unwrap();
        let (now, validity) = (super::super::now(), Duration::from_secs(3600));
        let credentials = Credentials::issue(&authority, node, Part::Worker, now, validity).unwrap();
        let keeper = Keeper::new(credentials.clone()).unwrap();
        let orders = NodeOrders {
            role: Role::Worker,
            roots_digest: ca::digests(&credentials.ca_pem),
            managers: Vec::new(),
            show_certificate: false,
            removed: Vec::new(),
        };
        let (tell, told) = watch::channel(None);
        tell.send_replace(Some(orders.clone()));
        let look = Look {
            record: Record {
                phase: Phase::Member,
                cluster_id: cluster,
                node_id: node,
                advertise_addr: String::new(),
                role: Role::Worker,
                raft_id: None,
                store: Store::Own,
                managers: Vec::new(),
                incarnation: 1,
                recovering: None,
                is_self_signed: false,
                identity: Identity {
                    roots: String::new(),
                    certificate: String::new(),
                    key: NodeKey::generate().unwrap().key_pem(),
                    cluster_key: None,
                },
            },
            credentials,
            managers: Managers { keeper, addresses },
            orders: told,
            serving: None,
            dismissed: None,
            log_format: None,
        };
        (look, orders, tell)
    }

    #[tokio::test]
    async fn who_is_to_stop_waits_for_no_manager() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::open(Args::for_tests(folder.path(), "127.0.0.1:7377")).await.unwrap();
        // It takes connections and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (look, ..) = look(vec![silent.local_addr().unwrap().to_string()]);
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        renew(&host, &look, Due::Aged, &shutdown).await.expect("not to have asked to the end");
    }

    #[test]
    fn that_a_node_is_removed_is_believed_of_a_manager_alone() {
        let own = NodeId::from_bits(2);
        let removed = |node| Denied::Removed(node).to_string();
        let cases = [
            (AskError::Refused(removed(own)), true),
            (AskError::Refused(removed(NodeId::from_bits(3))), false),
            (AskError::Unheard(removed(own)), false),
            (AskError::Nobody, false),
        ];
        for (error, is_removed) in cases {
            assert_eq!(says_removed(&error.into(), own), is_removed);
        }
    }

    /// The agent hands out the receiver it holds, which has seen nothing: had a look left it so, the loop would spin.
    #[test]
    fn a_look_leaves_the_orders_seen() {
        let (mut look, orders, tell) = look(Vec::new());
        assert!(look.orders.has_changed().unwrap());
        assert!(matches!(due(&mut look, super::super::now()), Due::In(_)));
        assert!(!look.orders.has_changed().unwrap());
        look.record.is_self_signed = true;
        assert_eq!(due(&mut look, super::super::now()), Due::Unrecorded);
        let others = [
            NodeOrders { role: Role::Manager, ..orders.clone() },
            NodeOrders { roots_digest: String::new(), ..orders.clone() },
            NodeOrders { show_certificate: true, ..orders },
        ];
        for orders in others {
            tell.send_replace(Some(orders));
            assert_eq!(due(&mut look, super::super::now()), Due::Ordered);
        }
    }
}
