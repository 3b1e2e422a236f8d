//! Who leads, as this manager knows it, and whether a majority stands behind it.
//!
//! Openraft alone does not say so in time: while its task waits for this manager's disk it says nothing at all, and the
//! others may have another leader meanwhile. So what it said last is looked at again on a timer, beside what has passed
//! between the managers since.

use std::time::Duration;

use muster_proto::version::Term;
use openraft::ServerState;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    raft::{Metrics, Peer, Raft, contact::Contact, term_of},
    replica::ProposeError,
};

/// Openraft knows of a change a moment before [`follow`] has told it.
const TOLD_AFTER: Duration = Duration::from_millis(5);

/// A leader that no majority has answered for this long has been replaced, or cannot change anything.
const ALONE_MAX: Duration = Duration::from_secs(2);
/// A leader of which nothing was heard for this long is missed: whoever can stands for election by then.
pub(crate) const MISSED_AFTER: Duration = Duration::from_millis(900);
/// How often that is looked at when nothing happens.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// An election is on, or cannot be won.
    #[default]
    Nobody,
    /// Another manager.
    Other { term: Term, leader: Peer },
    /// This one. Until [`crate::replica::Replica::barrier`] has returned, entries of earlier leaders may be unapplied.
    Me { term: Term },
}

impl Leadership {
    #[must_use]
    pub fn leading(&self) -> Option<Term> {
        match self {
            Leadership::Me { term } => Some(*term),
            Leadership::Nobody | Leadership::Other { .. } => None,
        }
    }

    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Leadership::Me { .. } | Leadership::Other { .. } => true,
            Leadership::Nobody => false,
        }
    }

    fn of(metrics: &Metrics, contact: &Contact) -> Self {
        let reign = *metrics.vote.leader_id();
        let term = term_of(reign);
        match metrics.current_leader {
            None => Leadership::Nobody,
            // Of itself it believes more than openraft's word: what that was given for may be long past.
            Some(leader) if leader == metrics.id => {
                let leads = metrics.state == ServerState::Leader && !contact.is_over(reign);
                match backed(metrics, contact) {
                    Some(at) if leads && at.elapsed() <= ALONE_MAX => Leadership::Me { term },
                    // Whoever leads the others now, it is not known here. Or it is about to lead.
                    Some(_) | None => Leadership::Nobody,
                }
            }
            // One that is missed is none: this manager may not stand for election, or not be able to win one.
            Some(_) if contact.leader().elapsed() > MISSED_AFTER => Leadership::Nobody,
            Some(leader) => match metrics.membership_config.membership().get_node(&leader) {
                Some(peer) => Leadership::Other { term, leader: peer.clone() },
                None => Leadership::Nobody,
            },
        }
    }
}

fn backed(metrics: &Metrics, contact: &Contact) -> Option<Instant> {
    let sets = metrics.membership_config.membership().get_joint_config();
    contact.backed(metrics.id, *metrics.vote.leader_id(), sets)
}

/// Whether a majority stood behind this leader at a given moment or later: if so, nobody else had been elected by then.
#[derive(Clone, Debug)]
pub(crate) struct Backing {
    metrics: watch::Receiver<Metrics>,
    contact: Contact,
    told: watch::Receiver<Option<Instant>>,
}

impl Backing {
    /// Whether one that was asked within so long has answered since.
    pub(crate) fn is_fresh(&self, within: Duration) -> bool {
        now_backed(&self.metrics.borrow(), &self.contact).is_some_and(|at| at.elapsed() <= within)
    }

    /// The same, and whether it has applied an entry of its own reign, and with it whatever earlier leaders acknowledged.
    pub(crate) fn has_caught_up(&self, within: Duration) -> bool {
        let metrics = self.metrics.borrow();
        let caught_up = metrics.last_applied.is_some_and(|last| last.leader_id == *metrics.vote.leader_id());
        caught_up && now_backed(&metrics, &self.contact).is_some_and(|at| at.elapsed() <= within)
    }

    /// Returns once it is known; never where it never is. Cancel-safe.
    pub(crate) async fn since(mut self, at: Instant) {
        let behind = |backed: Option<Instant>| backed.is_some_and(|backed| backed >= at);
        if behind(now_backed(&self.metrics.borrow(), &self.contact)) {
            return;
        }
        if self.told.wait_for(|told| behind(*told)).await.is_err() {
            // The manager stops.
            std::future::pending().await
        }
    }
}

fn now_backed(metrics: &Metrics, contact: &Contact) -> Option<Instant> {
    (metrics.state == ServerState::Leader).then(|| backed(metrics, contact)).flatten()
}

/// After openraft has said that this manager does not lead. Returns when it may be asked again.
pub(crate) async fn elsewhere(
    leadership: &mut watch::Receiver<Leadership>,
    leader: Option<Peer>,
    deadline: Instant,
) -> Result<(), ProposeError> {
    match leader {
        // Openraft names the last leader for as long as it hears of no other.
        Some(leader) if leadership.borrow().is_known() => Err(ProposeError::NotLeader { leader: leader.address }),
        Some(_) | None => await_leader(leadership, deadline).await,
    }
}

/// After openraft has said that nobody leads: returns when somebody does. What was told before that is not believed.
async fn await_leader(leadership: &mut watch::Receiver<Leadership>, deadline: Instant) -> Result<(), ProposeError> {
    sleep_until(deadline.min(Instant::now() + TOLD_AFTER)).await;
    let known = timeout_at(deadline, leadership.wait_for(Leadership::is_known)).await.map(|known| known.map(drop));
    match known {
        // The last that was told stays when nobody tells any more.
        Ok(_) if leadership.has_changed().is_err() => Err(ProposeError::Stopping),
        Ok(Ok(())) => Ok(()),
        Ok(Err(_closed)) => Err(ProposeError::Stopping),
        Err(_elapsed) => Err(ProposeError::NoLeader),
    }
}

/// Keeps what it tells up to date until told to stop, or until Raft ends.
pub(crate) struct Service {
    raft: Raft,
    contact: Contact,
    leadership: watch::Sender<Leadership>,
    backing: watch::Sender<Option<Instant>>,
}

pub(crate) fn new(raft: Raft, contact: Contact) -> (Service, watch::Receiver<Leadership>, Backing) {
    let ((leadership, led), (backing, told)) = (watch::channel(Leadership::default()), watch::channel(None));
    let backed = Backing { metrics: raft.metrics(), contact: contact.clone(), told };
    (Service { raft, contact, leadership, backing }, led, backed)
}

impl Service {
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut metrics = self.raft.metrics();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tell(&metrics.borrow_and_update());
            tokio::select! {
                () = stop.cancelled() => return,
                changed = metrics.changed() => if changed.is_err() { return },
                () = self.contact.noted() => {}
                _ = looks.tick() => {}
            }
        }
    }

    fn tell(&self, metrics: &Metrics) {
        let (now, backed) = (Leadership::of(metrics, &self.contact), now_backed(metrics, &self.contact));
        self.leadership.send_if_modified(|held| {
            let changed = *held != now;
            if changed {
                *held = now;
            }
            changed
        });
        self.backing.send_if_modified(|held| std::mem::replace(held, backed) != backed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use openraft::{Membership, testing::log_id};

    use super::*;
    use crate::raft::{LEASE, StoredMembership, Vote};

    #[tokio::test(start_paused = true)]
    async fn a_copy_has_caught_up_once_its_reign_has_begun_and_while_others_follow() {
        let (contact, vote) = (Contact::new(), Vote::new_committed(4, 1));
        let group = Membership::new(vec![BTreeSet::from([1, 2, 3])], None);
        let metrics = Metrics {
            vote,
            state: ServerState::Leader,
            last_applied: Some(log_id(3, 2, 8)),
            membership_config: StoredMembership::new(None, group).into(),
            ..Metrics::new_initial(1)
        };
        let (told, now) = watch::channel(metrics);
        let backing = Backing { metrics: now, contact: contact.clone(), told: watch::channel(None).1 };
        contact.follows(2, *vote.leader_id(), Instant::now());
        assert!(backing.is_fresh(LEASE) && !backing.has_caught_up(LEASE), "what it applied last is of another leader");
        told.send_modify(|now| now.last_applied = Some(log_id(4, 1, 9)));
        assert!(backing.has_caught_up(LEASE));
        tokio::time::advance(LEASE + Duration::from_millis(1)).await;
        assert!(!backing.has_caught_up(LEASE), "nobody has followed for too long");
    }
}
