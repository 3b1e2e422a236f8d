//! Which executor this daemon uses, and what stops its containers where the daemon cannot.

use std::{ffi::OsString, path::Path, sync::Arc};

use muster_agent::{
    GuardCommand,
    executor::{
        Executor, Identity,
        docker::{self, Docker},
        sim::Sim,
    },
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

/// This very binary, also where the file it was started from has been replaced since. Simulated containers end with the
/// daemon and need no guard.
pub(super) fn guard(args: &Args, identity: Identity, agent_dir: &Path) -> Option<GuardCommand> {
    match args.engine {
        EngineChoice::Sim => None,
        EngineChoice::Auto | EngineChoice::Docker => Some(GuardCommand {
            program: "/proc/self/exe".into(),
            args: vec![
                OsString::from("guard"),
                OsString::from("--agent-dir"),
                agent_dir.into(),
                OsString::from("--docker-socket"),
                args.docker_socket.clone().into(),
                OsString::from("--cluster"),
                identity.cluster_id.to_string().into(),
                OsString::from("--node"),
                identity.node_id.to_string().into(),
            ],
        }),
    }
}
