//! The Control service as the local socket offers it: always there, and passed on to the manager while this host has
//! one. Without a manager every call is answered with what to do about it.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, RwLock},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

const NO_CLUSTER: &str = "this host is in no cluster; start one with `muster init`";

/// What is behind the gate: the manager's own service, boxed because its type is the manager's affair.
pub(super) type Inner = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

#[derive(Clone, Default)]
pub(super) struct Gate {
    inner: Arc<RwLock<Option<Inner>>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    pub(super) fn open(&self, service: Inner) {
        *self.inner.write().expect("no holder of this lock panics") = Some(service);
    }

    pub(super) fn close(&self) {
        *self.inner.write().expect("no holder of this lock panics") = None;
    }
}

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
        let inner = self.inner.read().expect("no holder of this lock panics").clone();
        Box::pin(async move {
            match inner {
                Some(mut service) => service.call(request).await,
                None => Ok(Status::failed_precondition(NO_CLUSTER).into_http()),
            }
        })
    }
}
