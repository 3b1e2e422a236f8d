//! What other nodes find at this node's port: what its manager offers, while it has one, and what every node answers.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::{BoxFuture, FutureExt};
use muster_proto::v1::{
    self,
    whereabouts_server::{Whereabouts, WhereaboutsServer},
};
use tonic::{Request, Response, Status, body::Body, server::NamedService};
use tower::Service;

use super::gate::Gate;

/// Managers that a call may name, and the bytes of each address: more is none of Muster's.
const MANAGERS_MAX: usize = 64;
const ADDRESS_BYTES_MAX: usize = 300;

#[derive(Clone, Debug)]
pub(super) struct Doors {
    gate: Gate,
    everywhere: WhereaboutsServer<Told>,
}

/// Managers say where they are.
#[derive(Debug)]
struct Told {
    agent: muster_agent::Handle,
}

impl Doors {
    pub(super) fn new(gate: Gate, agent: muster_agent::Handle) -> Self {
        Self { gate, everywhere: WhereaboutsServer::new(Told { agent }) }
    }
}

impl Service<http::Request<Body>> for Doors {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1);
        if service == Some(WhereaboutsServer::<Told>::NAME) {
            self.everywhere.call(request).boxed()
        } else {
            self.gate.call(request)
        }
    }
}

#[tonic::async_trait]
impl Whereabouts for Told {
    async fn tell(&self, request: Request<v1::TellRequest>) -> Result<Response<v1::TellResponse>, Status> {
        let v1::TellRequest { managers, incarnation } = request.into_inner();
        if managers.len() > MANAGERS_MAX || managers.iter().any(|address| address.len() > ADDRESS_BYTES_MAX) {
            return Err(Status::invalid_argument(format!(
                "a call names at most {MANAGERS_MAX} managers, with at most {ADDRESS_BYTES_MAX} bytes each"
            )));
        }
        match self.agent.called(incarnation, managers) {
            Ok(()) => Ok(Response::new(v1::TellResponse {})),
            Err(why) => Err(Status::failed_precondition(why.to_string())),
        }
    }
}
