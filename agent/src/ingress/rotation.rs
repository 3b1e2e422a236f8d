//! Which backend the next connection of a port goes to. Pure: the time comes in, sockets are elsewhere.
//!
//! A backend is in rotation while the managers list it and nobody drained it. Draining is for good: a list that still
//! names the task (it was made before) does not bring it back. Leaving the list is not: a task that is listed again
//! takes connections again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use muster_proto::{
    assignment::{Backend, IngressService},
    id::TaskId,
};
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::Health;

/// A backend that refused a connection is asked last for this long. Without it, the one that is down has the fewest
/// connections and would be everybody's first choice.
const AVOID_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Rotation {
    members: BTreeMap<TaskId, Member>,
    routes: BTreeMap<u16, Route>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Listed,
    Unlisted,
    Drained,
}

#[derive(Debug)]
struct Member {
    standing: Standing,
    health: Health,
    avoid_until: Option<Instant>,
    /// Counts the leases; closed once the task leaves rotation, so that waiting for it to be empty can end.
    connections: TaskTracker,
    leaving: CancellationToken,
}

impl Member {
    fn new(standing: Standing) -> Self {
        Self {
            standing,
            health: Health::Healthy,
            avoid_until: None,
            connections: TaskTracker::new(),
            leaving: CancellationToken::new(),
        }
    }

    fn leave(&mut self, standing: Standing) {
        self.standing = standing;
        self.leaving.cancel();
        self.connections.close();
    }

    /// Listed again after it was not: what left before stays on its way out.
    fn return_to_list(&mut self) {
        self.standing = Standing::Listed;
        self.leaving = CancellationToken::new();
        self.connections.reopen();
    }
}

#[derive(Debug)]
struct Route {
    target: u16,
    backends: Vec<Backend>,
    /// Where the search for the least busy backend begins: ties go round.
    cursor: usize,
}

/// One connection's hold on a backend. While it lives, the backend's drain waits.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) leaving: CancellationToken,
    _connection: TaskTrackerToken,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) backend: Backend,
    pub(super) target: u16,
    pub(super) lease: Lease,
}

impl Choice {
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.backend.address, self.target)
    }
}

#[derive(Debug)]
pub(super) enum Pick {
    Backend(Choice),
    /// The service has no ready task, or none that was not tried yet.
    NoBackend,
    /// No service publishes this port any more.
    NoRoute,
}

/// Smaller is better; the field order is the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    last_resort: bool,
    connections: usize,
    turn: usize,
}

impl Rotation {
    /// Takes the managers' list as the whole truth.
    pub(super) fn set(&mut self, services: Vec<IngressService>) {
        let mut routes = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for service in services {
            listed.extend(service.backends.iter().map(|backend| backend.task_id));
            for port in &service.ports {
                let cursor = self.routes.get(&port.published).map_or(0, |route| route.cursor);
                // Managers give a port to one service only; should two claim it, the first keeps it.
                routes.entry(port.published).or_insert_with(|| Route {
                    target: port.target,
                    backends: service.backends.clone(),
                    cursor,
                });
            }
        }
        self.routes = routes;
        for (id, member) in &mut self.members {
            if member.standing == Standing::Listed && !listed.contains(id) {
                member.leave(Standing::Unlisted);
            }
        }
        self.members.retain(|id, member| listed.contains(id) || !member.connections.is_empty());
        for id in listed {
            let member = self.members.entry(id).or_insert_with(|| Member::new(Standing::Listed));
            match member.standing {
                Standing::Unlisted => member.return_to_list(),
                Standing::Listed | Standing::Drained => {}
            }
        }
    }

    /// Out of rotation now and for good; the tracker is empty once the last connection is gone.
    pub(super) fn drain(&mut self, id: TaskId) -> TaskTracker {
        let member = self.members.entry(id).or_insert_with(|| Member::new(Standing::Unlisted));
        member.leave(Standing::Drained);
        member.connections.clone()
    }

    pub(super) fn set_health(&mut self, id: TaskId, health: Health) {
        self.members.entry(id).or_insert_with(|| Member::new(Standing::Unlisted)).health = health;
    }

    pub(super) fn failed(&mut self, id: TaskId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.avoid_until = Some(now + AVOID_AFTER_FAILURE);
        }
    }

    pub(super) fn ports(&self) -> BTreeSet<u16> {
        self.routes.keys().copied().collect()
    }

    /// The least busy backend not in `tried`, in turn among equals. Unhealthy ones, and those that just refused a
    /// connection, only when there is no other.
    pub(super) fn pick(&mut self, port: u16, tried: &[TaskId], now: Instant) -> Pick {
        let Some(route) = self.routes.get_mut(&port) else { return Pick::NoRoute };
        let count = route.backends.len();
        let members = &self.members;
        let best = (0..count)
            .filter_map(|turn| {
                let at = (route.cursor + turn) % count;
                let id = route.backends[at].task_id;
                let member = members.get(&id).filter(|m| m.standing == Standing::Listed)?;
                let avoided = member.avoid_until.is_some_and(|until| until > now);
                let last_resort = avoided || member.health == Health::Unhealthy;
                let rank = Rank { last_resort, connections: member.connections.len(), turn };
                (!tried.contains(&id)).then_some((rank, at, member))
            })
            .min_by_key(|(rank, _, _)| *rank);
        let Some((_, at, member)) = best else { return Pick::NoBackend };
        route.cursor = (at + 1) % count;
        Pick::Backend(Choice {
            backend: route.backends[at].clone(),
            target: route.target,
            lease: Lease { leaving: member.leaving.clone(), _connection: member.connections.token() },
        })
    }
}
