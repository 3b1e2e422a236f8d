//! The agent's side of the one stream to the managers: opens it, keeps it, opens it again.
//!
//! [`reach`] asks managers until one serves ([`open`]); [`link`] is one session, a loop over everything that can happen
//! to it. Assignments go to the roster, reports come from the outbox ([`reports`]), log streams are read on
//! the side ([`logs`]). Losing a session changes nothing on this host.

pub(crate) mod acquaintance;
mod candidates;
pub(crate) mod delta;
mod link;
mod logs;
mod open;
mod reach;
pub(crate) mod reports;

use std::{convert::Infallible, sync::Arc};

use muster_proto::node::NodeDescription;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    dial::Dial,
    executor::{Executor, Identity},
    isolation::Isolation,
    task::Directory,
};
use acquaintance::Acquaintance;
use candidates::Candidates;
use delta::Delta;
use link::{Ended, Link};
use reach::Words;
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
    /// Why there is no session; None while there is one.
    pub(crate) trouble: watch::Sender<Option<String>>,
    pub(crate) isolation: Isolation,
}

impl Sessions {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            never = self.one_after_another() => match never {},
        }
    }

    async fn one_after_another(&self) -> Infallible {
        let mut candidates = Candidates::new(self.candidates());
        let mut words = Words::new(self.trouble.clone());
        loop {
            let opened = self.reach(&mut candidates, &mut words).await;
            words.hush();
            let manager = opened.manager.clone();
            let Ended { why, was_stable } = Link::serve(self, opened).await;
            candidates.learn(self.candidates());
            if was_stable {
                words.forget();
            }
            words.tell(&manager, &why);
            sleep(candidates.served(was_stable, why.leader, rand::random())).await;
        }
    }

    /// What managers said of themselves comes first: it is newer than what was configured.
    fn candidates(&self) -> Vec<String> {
        self.acquaintance.managers().into_iter().chain(self.managers.iter().cloned()).collect()
    }
}
