//! Which executor this daemon uses.

use std::sync::Arc;

use muster_agent::executor::{
    Executor, Identity,
    docker::{self, Docker},
    sim::Sim,
};

use super::args::{Args, EngineChoice};

/// `auto` means Docker Engine, also while it does not answer: the node then says that its engine is unavailable, and
/// takes work as soon as it is there.
pub(super) fn choose(args: &Args, identity: Identity) -> Arc<dyn Executor> {
    match args.engine {
        EngineChoice::Auto | EngineChoice::Docker => {
            Arc::new(Docker::connect(docker::Options { socket: args.docker_socket.clone(), identity }))
        }
        EngineChoice::Sim => Arc::new(Sim::new(identity)),
    }
}
