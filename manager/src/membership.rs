//! How a host becomes a node, stays one and ceases to be one: the service that nodes, and hosts with a token, call.
//!
//! Served on the port for nodes; only the leader does it, so that what is granted is what holds. Each call checks what
//! can be known beforehand, proposes, and answers from the state that came of it: [`muster_core::apply`] has the last
//! word. All three can be repeated after a lost answer. Deliberately absent: the managers' Raft group, which follows the
//! state by itself.

mod admit;
mod attempts;
mod depart;
mod grant;
mod renew;
mod wish;

use muster_core::command::{Command, Outcome};
use muster_proto::{
    v1::{
        self,
        membership_server::{self, MembershipServer},
    },
    version::Version,
};
use tonic::{Request, Response, Status};

pub(crate) use self::attempts::Attempts;
pub use self::wish::address;
pub use crate::status::{NOT_AS_SUCH_METADATA, UNTOUCHED_METADATA};
use crate::{ca, forward::PassedOn, manager::Handle, status};

/// Of `Join`; counted up when a manager could misread a request.
pub const JOIN_PROTOCOL: u32 = 1;

/// Of a request: a key and a few short texts.
const REQUEST_BYTES_MAX: usize = 16 << 10;

impl Handle {
    /// To be served under TLS, to nodes and to hosts that would be nodes.
    #[must_use]
    pub fn membership(&self) -> MembershipServer<Membership> {
        MembershipServer::new(Membership { handle: self.clone() }).max_decoding_message_size(REQUEST_BYTES_MAX)
    }
}

impl PassedOn for MembershipServer<Membership> {
    const REQUEST_BYTES_MAX: usize = REQUEST_BYTES_MAX;
}

#[derive(Clone, Debug)]
pub struct Membership {
    handle: Handle,
}

impl Membership {
    /// After it returns, a read sees every change that was acknowledged before. Refused unless this manager leads.
    async fn up_to_date(&self) -> Result<(), Status> {
        self.handle.replica.barrier().await.map_err(|error| status::unproposed(&error))
    }

    async fn propose(&self, command: Command) -> Result<Version, Status> {
        self.outcome(command).await.and_then(status::accepted)
    }

    async fn outcome(&self, command: Command) -> Result<Outcome, Status> {
        self.handle.replica.propose(command).await.map_err(|error| status::unproposed(&error))
    }
}

#[tonic::async_trait]
impl membership_server::Membership for Membership {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::Grant>, Status> {
        let from = request.remote_addr().map(|address| address.ip());
        self.admit(request.into_inner(), from).await.map(Response::new)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::Grant>, Status> {
        let caller = ca::peer(&request)?;
        self.certify(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn depart(&self, request: Request<v1::DepartRequest>) -> Result<Response<v1::DepartResponse>, Status> {
        let caller = ca::peer(&request)?;
        self.let_go(&caller, request.into_inner().force).await.map(Response::new)
    }
}
