//! The agent's side of the one stream to the managers: opens it, keeps it, opens it again.
//!
//! [`Sessions::run`] goes from manager to manager until one serves; [`link`] is one session, a loop over everything that
//! can happen to it. Assignments go to the roster, reports come from the outbox ([`reports`]), log streams are read on
//! the side ([`logs`]). Losing a session changes nothing on this host.

pub(crate) mod acquaintance;
mod candidates;
pub(crate) mod delta;
mod link;
mod logs;
pub(crate) mod reports;

use std::sync::Arc;

use muster_proto::node::NodeDescription;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    dial::Dial,
    executor::{Executor, Identity},
    isolation::Isolation,
    task::Directory,
};
use acquaintance::Acquaintance;
use candidates::{Candidates, Tried};
use delta::Delta;
use link::{Ended, Link};
use reports::Outbox;

/// All that sessions need, and that outlives each of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) identity: Identity,
    /// As configured: tried besides those that managers name.
    pub(crate) managers: Vec<String>,
    pub(crate) advertise_addr: String,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) outbox: Outbox,
    pub(crate) directory: Arc<Directory>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) description: watch::Receiver<NodeDescription>,
    pub(crate) deltas: mpsc::Sender<Delta>,
    pub(crate) acquaintance: Acquaintance,
    pub(crate) isolation: Isolation,
}

impl Sessions {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut candidates = Candidates::new(self.candidates());
        let mut last_words = String::new();
        while let Some(manager) = candidates.next() {
            let Ended { how, why } = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = Link::serve(&self, &manager) => ended,
            };
            candidates.learn(self.candidates());
            // Once for each reason: a manager that is away for an hour fills no log.
            match &how {
                Tried::Redirected { leader } => debug!(%manager, %leader, "sent on to the leader"),
                Tried::Refused if why == last_words => debug!(%manager, reason = why, "still no session"),
                Tried::Served { .. } | Tried::Refused => {
                    warn!(%manager, reason = why, "no session; trying again, and containers run on meanwhile");
                }
            }
            last_words = why;
            let pause = candidates.tried(&manager, how, rand::random());
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
        shutdown.cancelled().await;
    }

    /// What managers said of themselves comes first: it is newer than what was configured.
    fn candidates(&self) -> Vec<String> {
        self.acquaintance.managers().into_iter().chain(self.managers.iter().cloned()).collect()
    }
}
