//! `--detach` and `--quiet`, and the waiting they decide about.

use crate::{
    context::Context,
    error::Error,
    object::Service,
    wait::{
        verdict::{Change, Goal, RolloutBefore},
        watch::{self, Chatter, Wait},
    },
};

#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitFlags {
    /// Return at once instead of waiting until the service is as asked
    #[arg(short, long)]
    pub detach: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// A change that the daemon has accepted.
#[derive(Debug)]
pub struct Accepted<'a> {
    pub service_id: &'a str,
    pub name: &'a str,
    pub change: Change,
    pub version: u64,
    pub rollout_before: Option<RolloutBefore>,
}

impl<'a> Accepted<'a> {
    /// A change of a service that was there before, and the version that it has now.
    #[must_use]
    pub fn of(before: &'a Service, change: Change, version: u64) -> Self {
        Self {
            service_id: &before.id,
            name: &before.spec.name,
            change,
            version,
            rollout_before: before.rollout.as_ref().map(RolloutBefore::of),
        }
    }
}

impl WaitFlags {
    pub async fn wait(&self, accepted: Accepted<'_>, context: &mut Context<'_>) -> Result<(), Error> {
        if self.detach {
            return Ok(());
        }
        // The id that was printed is of use while the wait still goes on.
        context.out.flush()?;
        let Accepted { service_id, name, change, version, rollout_before } = accepted;
        let wait = Wait {
            host: &context.host,
            service_id,
            name,
            goal: Goal { change, version, rollout_before },
            chatter: if self.quiet { Chatter::Quiet } else { Chatter::Progress },
        };
        watch::until_as_asked(wait, context.out).await
    }
}
