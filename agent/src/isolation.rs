//! Whether this node can still reach the managers, for tasks that must not run where it cannot (`--on-isolation stop`).
//!
//! The node's lease runs on the boot clock, from the *sending* of the last heartbeat that was answered. What is called
//! the lease here is longer than what managers grant by [`ISOLATION_SLACK`], which they wait for before they replace such
//! a task: so it is over here before it is over for them. The session renews it, actors ask [`Isolation::outages`] before and while
//! their container runs, and the [`sentinel`] wakes them when it ends. A process of its own ([`crate::guard`]) does the
//! stopping where this agent is paused or dead; the [`stamp`] on disk is what it goes by.
//!
//! It deliberately stops nothing itself, and tasks that are kept in isolation do not know it.

pub(crate) mod lease;
pub(crate) mod sentinel;
pub(crate) mod stamp;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_proto::isolation::ISOLATION_SLACK;
use tokio::sync::watch;

use crate::clock::Clock;
use lease::Lease;

/// Whether what stops tasks without this agent is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It was not asked for yet.
    Unknown,
    Ready,
    Hindered(String),
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Isolation {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    lease: Mutex<Lease>,
    outages: watch::Sender<u64>,
    /// Tasks at work that must not outlast the lease.
    guarded: watch::Sender<usize>,
    readiness: watch::Sender<Readiness>,
}

/// A task's word that it must not outlast the lease; taken back when it is dropped.
#[derive(Debug)]
pub(crate) struct Guarded(Isolation);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.shared.guarded.send_modify(|count| *count -= 1);
    }
}

impl Isolation {
    /// `until`: when the lease ends that an earlier daemon was granted, where that is known.
    pub(crate) fn new(clock: Arc<dyn Clock>, until: Option<Duration>) -> Self {
        let isolation = Self {
            shared: Arc::new(Shared {
                clock,
                lease: Mutex::new(Lease::new(until)),
                outages: watch::Sender::new(0),
                guarded: watch::Sender::new(0),
                readiness: watch::Sender::new(Readiness::Unknown),
            }),
        };
        isolation.outages();
        isolation
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.shared.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.shared.clock.since_boot()
    }

    /// A manager answered what was sent then. Whether the lease was over meanwhile is settled first: this agent may have
    /// been paused, and its tasks replaced.
    pub(crate) fn renew(&self, sent_at: Duration, span: Duration) {
        let (now, mut lease) = (self.now(), self.lease());
        lease.look(now);
        lease.renew(sent_at, span.saturating_add(ISOLATION_SLACK), now);
        self.publish(&lease);
    }

    /// How often the lease has run out, up to this moment.
    pub(crate) fn outages(&self) -> u64 {
        let (now, mut lease) = (self.now(), self.lease());
        lease.look(now);
        self.publish(&lease);
        lease.outages()
    }

    /// The outages up to this moment, where the lease holds now; None while it is over.
    pub(crate) fn held(&self) -> Option<u64> {
        let outages = self.outages();
        (!self.lease().is_over()).then_some(outages)
    }

    /// Since the lease was over the last time.
    pub(crate) fn since_outage(&self) -> Duration {
        self.now().saturating_sub(self.lease().ended_at())
    }

    fn publish(&self, lease: &Lease) {
        self.shared.outages.send_if_modified(|told| std::mem::replace(told, lease.outages()) != lease.outages());
    }

    /// Wakes when the lease has run out once more.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.shared.outages.subscribe()
    }

    pub(crate) fn guard(&self) -> Guarded {
        self.shared.guarded.send_modify(|count| *count += 1);
        Guarded(self.clone())
    }

    pub(crate) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }
}
