//! The manager's services as this host's doors offer them: always there, and passed on to the manager while this host
//! has one. Without one every call is answered with what to do about it.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use muster_manager::authorization::{Roll, Standing};
use muster_proto::id::NodeId;
use tokio::sync::watch;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

const NO_CLUSTER: &str = "this host is in no cluster; start one with `muster init`, or join one with `muster join`";

/// What is behind the gate: the manager's own services, boxed because their type is the manager's affair.
pub(super) type Inner = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

#[derive(Clone)]
enum Behind {
    Open {
        service: Inner,
        roll: Arc<dyn Roll>,
    },
    /// Why there is nothing, and what to do.
    Closed(Arc<str>),
}

#[derive(Clone)]
pub(super) struct Gate(watch::Sender<Behind>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(Behind::Closed(NO_CLUSTER.into())))
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
    pub(super) fn point_to(&self, managers: &[String]) {
        let where_to = match managers {
            [] => "one of its managers".to_owned(),
            [only] => format!("its manager, {only}"),
            several => format!("one of its managers: {}", several.join(", ")),
        };
        self.put(Behind::Closed(format!("this node is a worker of its cluster; run the command on {where_to}").into()));
    }

    /// What only a manager could do, while this host's manager is not there for a reason of its own.
    pub(super) fn refuse(&self, why: &str) {
        self.put(Behind::Closed(why.into()));
    }

    fn put(&self, behind: Behind) {
        self.0.send_replace(behind);
    }
}

/// Whom the manager behind it knows as members; nobody, where there is none.
impl Roll for Gate {
    fn standing(&self, node: NodeId) -> Standing {
        match &*self.0.borrow() {
            Behind::Open { roll, .. } => roll.standing(node),
            // Certificates have to do.
            Behind::Closed(_) => Standing::Unlisted,
        }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut exchanged = self.0.subscribe();
        let state = match &*exchanged.borrow_and_update() {
            Behind::Open { roll, .. } => roll.changed(),
            Behind::Closed(_) => Box::pin(std::future::pending()),
        };
        Box::pin(async move {
            tokio::select! {
                // The gate itself is gone: nobody asks again.
                ended = exchanged.changed() => if ended.is_err() {
                    std::future::pending::<()>().await;
                },
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
        let behind = self.0.borrow().clone();
        Box::pin(async move {
            match behind {
                Behind::Open { mut service, .. } => service.call(request).await,
                Behind::Closed(why) => Ok(Status::failed_precondition(&*why).into_http()),
            }
        })
    }
}
