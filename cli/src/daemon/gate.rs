//! The manager's services as this host's doors offer them: always there, and passed on to the manager while this host
//! has one. Without one every call is answered with what to do about it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use muster_manager::{
    authorization::{Roll, Standing},
    connect::NO_MANAGER_METADATA,
};
use muster_proto::id::NodeId;
use tokio::sync::watch;
use tonic::{Status, body::Body, metadata::MetadataValue, server::NamedService};
use tower::Service;

use super::whereabouts::Whereabouts;

const NO_CLUSTER: &str = "this host is in no cluster; start one with `muster init`, or join one with `muster join`";

/// What is behind the gate: the manager's own services, boxed because their type is the manager's affair.
pub(super) type Inner = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

#[derive(Clone)]
enum Behind {
    Open {
        service: Inner,
        roll: Arc<dyn Roll>,
    },
    /// The managers are elsewhere.
    Elsewhere(Whereabouts),
    /// Why there is nothing, and what to do.
    Closed(Arc<str>),
}

#[derive(Clone)]
pub(super) struct Gate {
    behind: watch::Sender<Behind>,
    /// Who is no node any more, as the managers have told this host's agent.
    removed: watch::Sender<Removed>,
}

type Removed = watch::Receiver<BTreeSet<NodeId>>;

impl Default for Gate {
    fn default() -> Self {
        let (_, nobody) = watch::channel(BTreeSet::new());
        Self { behind: watch::Sender::new(Behind::Closed(NO_CLUSTER.into())), removed: watch::Sender::new(nobody) }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// `roll` is what this host's manager knows of the members.
    pub(super) fn open(&self, service: Inner, roll: Arc<dyn Roll>) {
        self.put(Behind::Open { service, roll });
    }

    /// This host is in no cluster.
    pub(super) fn close(&self) {
        self.put(Behind::Closed(NO_CLUSTER.into()));
    }

    /// This host is in a cluster and no manager; `managers` are where to go.
    pub(super) fn point_to(&self, managers: Whereabouts) {
        self.put(Behind::Elsewhere(managers));
    }

    /// What only a manager could do, while this host's manager is not there for a reason of its own.
    pub(super) fn refuse(&self, why: &str) {
        self.put(Behind::Closed(why.into()));
    }

    /// What this host knows of the members while it has no manager that knows better.
    pub(super) fn heed(&self, removed: Removed) {
        self.removed.send_replace(removed);
    }

    fn put(&self, behind: Behind) {
        self.behind.send_replace(behind);
    }
}

/// Whom the manager behind it knows as members; where there is none, who was removed, and of the others nothing.
impl Roll for Gate {
    fn standing(&self, node: NodeId) -> Standing {
        match &*self.behind.borrow() {
            Behind::Open { roll, .. } => roll.standing(node),
            Behind::Elsewhere(_) | Behind::Closed(_) if self.removed.borrow().borrow().contains(&node) => {
                Standing::Removed
            }
            // Certificates have to do.
            Behind::Elsewhere(_) | Behind::Closed(_) => Standing::Unlisted,
        }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let (mut exchanged, mut heeded) = (self.behind.subscribe(), self.removed.subscribe());
        let mut removed = heeded.borrow_and_update().clone();
        removed.mark_unchanged();
        let state = match &*exchanged.borrow_and_update() {
            Behind::Open { roll, .. } => roll.changed(),
            Behind::Elsewhere(_) | Behind::Closed(_) => Box::pin(std::future::pending()),
        };
        Box::pin(async move {
            tokio::select! {
                // The gate itself is gone: nobody asks again.
                ended = exchanged.changed() => if ended.is_err() {
                    std::future::pending::<()>().await;
                },
                Ok(()) = heeded.changed() => {}
                Ok(()) = removed.changed() => {}
                () = state => {}
            }
        })
    }
}

/// On the local socket, where other services have a place beside it.
impl NamedService for Gate {
    const NAME: &'static str = "muster.v1.Control";
}

impl Service<http::Request<Body>> for Gate {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let behind = self.behind.borrow().clone();
        Box::pin(async move {
            match behind {
                Behind::Open { mut service, .. } => service.call(request).await,
                Behind::Elsewhere(managers) => Ok(no_manager(&elsewhere(&managers.latest())).into_http()),
                Behind::Closed(why) => Ok(no_manager(&why).into_http()),
            }
        })
    }
}

fn elsewhere(managers: &[String]) -> String {
    let where_to = match managers {
        [] => "one of its managers".to_owned(),
        [only] => format!("its manager, {only}"),
        several => format!("one of its managers: {}", several.join(", ")),
    };
    format!("this node is a worker of its cluster; run the command on {where_to}")
}

fn no_manager(why: &str) -> Status {
    let mut status = Status::failed_precondition(why);
    status.metadata_mut().insert(NO_MANAGER_METADATA, MetadataValue::from_static("1"));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn users_of_a_worker_are_sent_to_the_managers_of_now() {
        let (told, heard) = watch::channel(Vec::new());
        let mut gate = Gate::default();
        gate.point_to(Whereabouts::new(heard, &["a:1"]));
        let mut said = async || {
            let answer = gate.call(http::Request::new(Body::empty())).await.unwrap();
            Status::from_header_map(answer.headers()).expect("a refusal").message().to_owned()
        };
        assert_eq!(said().await, "this node is a worker of its cluster; run the command on its manager, a:1");
        told.send_replace(vec!["b:1".to_owned(), "c:1".to_owned()]);
        let now = "this node is a worker of its cluster; run the command on one of its managers: b:1, c:1";
        assert_eq!(said().await, now);
    }

    #[tokio::test]
    async fn a_host_without_a_manager_knows_who_was_removed() {
        let (gate, node) = (Gate::default(), NodeId::from_bits(7));
        gate.point_to(Whereabouts::new(watch::channel(Vec::new()).1, &[]));
        assert_eq!(gate.standing(node), Standing::Unlisted);
        let changed = gate.changed();
        let (told, removed) = watch::channel(BTreeSet::new());
        gate.heed(removed);
        changed.await;
        let changed = gate.changed();
        told.send_replace(BTreeSet::from([node]));
        changed.await;
        assert_eq!(gate.standing(node), Standing::Removed);
        assert_eq!(gate.standing(NodeId::from_bits(8)), Standing::Unlisted);
        gate.close();
        assert_eq!(gate.standing(node), Standing::Removed, "until it is told of another cluster");
    }
}
