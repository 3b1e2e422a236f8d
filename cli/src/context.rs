//! What every client command is given.

use muster_proto::v1;

use crate::{
    connect::{Daemon, Host},
    error::Error,
    object::{self, Node, Service, Task},
    out::Out,
    surroundings::Surroundings,
};

#[derive(Debug)]
pub struct Context<'a> {
    pub host: Host,
    pub out: &'a mut Out,
    pub surroundings: &'a dyn Surroundings,
}

impl Context<'_> {
    pub async fn connect(&self) -> Result<Daemon, Error> {
        Daemon::connect(&self.host).await
    }
}

impl Daemon {
    /// By name, id, or a prefix of an id.
    pub async fn service(&self, service: &str) -> Result<Service, Error> {
        let request = v1::GetServiceRequest { service: service.to_owned() };
        let answer = self.control().get_service(request).await?.into_inner();
        answer.service.ok_or_else(|| object::missing("the service"))?.try_into()
    }

    pub async fn tasks(&self, of: v1::ListTasksRequest) -> Result<Vec<Task>, Error> {
        object::task::all(self.control().list_tasks(of).await?.into_inner().tasks)
    }

    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        let answer = self.control().list_nodes(v1::ListNodesRequest {}).await?.into_inner();
        object::node::all(answer.nodes)
    }
}

/// Goes through all the named objects; a failure of one is told and does not keep the others from their turn.
#[derive(Debug, Default)]
pub struct Each {
    failed: bool,
}

impl Each {
    /// Tells the error of one; only a broken pipe ends it all.
    pub fn note(&mut self, outcome: Result<(), Error>, out: &mut Out) -> Result<(), Error> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Error::BrokenPipe) => Err(Error::BrokenPipe),
            Err(error) => {
                self.failed = true;
                if let Some(text) = error.shown() {
                    out.note(text);
                }
                Ok(())
            }
        }
    }

    pub fn outcome(self) -> Result<(), Error> {
        if self.failed { Err(Error::Told) } else { Ok(()) }
    }
}
