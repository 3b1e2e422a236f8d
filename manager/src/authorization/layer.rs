//! Asks the table before a call reaches a service. At the port and at the local socket.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Caller, Roll, decide};
use crate::{ca::Presented, clock::Clock};

/// A layer for tonic's server. At the port it expects [`Presented`] among a call's extensions, where the connection
/// has put it, and takes a call without it for nobody's. It hands on the [`crate::ca::PeerIdentity`] and the [`Caller`].
#[derive(Clone, Debug)]
pub struct Authorize(Door);

#[derive(Clone, Debug)]
enum Door {
    Port(Arc<dyn Roll>, Arc<dyn Clock>),
    Socket,
}

impl Authorize {
    #[must_use]
    pub fn at_port(roll: Arc<dyn Roll>, clock: Arc<dyn Clock>) -> Self {
        Self(Door::Port(roll, clock))
    }

    #[must_use]
    pub fn at_socket() -> Self {
        Self(Door::Socket)
    }
}

impl<S> Layer<S> for Authorize {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        Authorized { door: self.0.clone(), inner }
    }
}

#[derive(Clone, Debug)]
pub struct Authorized<S> {
    door: Door,
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Authorized<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let caller = match &self.door {
            Door::Socket => Caller::Local,
            Door::Port(roll, clock) => {
                let presented = request.extensions().get().copied().unwrap_or(Presented::Nothing);
                if let Presented::Certificate(identity) = presented {
                    request.extensions_mut().insert(identity);
                }
                Caller::of(presented, clock.now(), &**roll)
            }
        };
        match decide(request.uri().path(), caller) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(denied) => {
                tracing::debug!(?caller, rpc = request.uri().path(), "denied");
                Either::Right(ready(Ok(denied.status().into_http())))
            }
        }
    }
}
