//! The agent's side of the one stream to the managers: opens it, keeps it, opens it again.
//!
//! [`Sessions::run`] goes from manager to manager until one serves; [`link`] is one session, a loop over everything that
//! can happen to it. Assignments go to the roster, reports come from the outbox ([`reports`]), log streams are read on
//! the side ([`logs`]). Losing a session changes nothing on this host.

mod backoff;
pub(crate) mod delta;
mod link;
mod logs;
pub(crate) mod reports;

use std::{collections::BTreeSet, sync::Arc};

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
    task::Directory,
};
use backoff::Backoff;
use delta::Delta;
use link::{Ended, Link};
use reports::Outbox;

/// All that sessions need, and that outlives each of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) identity: Identity,
    /// As configured: tried besides those that managers name.
    pub(crate) managers: Vec<String>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) outbox: Outbox,
    pub(crate) directory: Arc<Directory>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) description: watch::Receiver<NodeDescription>,
    pub(crate) deltas: mpsc::Sender<Delta>,
}

impl Sessions {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut known: Vec<String> = self.managers.clone();
        let mut turn = 0;
        let mut last_words = String::new();
        while !known.is_empty() {
            let manager = known[turn % known.len()].clone();
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = Link::serve(&self, &manager) => ended,
            };
            let (why, served) = match ended {
                Ended::NotServed(why) => (why, false),
                Ended::Lost { managers, why } => {
                    known = with_configured(&self.managers, managers);
                    turn = known.iter().position(|address| *address == manager).unwrap_or_default();
                    (why, true)
                }
            };
            if served {
                backoff.reset();
            } else {
                turn += 1;
            }
            // Once for each reason: a manager that is away for an hour fills no log.
            if served || why != last_words {
                warn!(%manager, reason = why, "no session; trying again, and containers run on meanwhile");
            } else {
                debug!(%manager, reason = why, "still no session");
            }
            last_words = why;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(backoff.next(rand::random())) => {}
            }
        }
        shutdown.cancelled().await;
    }
}

fn with_configured(configured: &[String], named: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    named.into_iter().chain(configured.iter().cloned()).filter(|address| seen.insert(address.clone())).collect()
}
