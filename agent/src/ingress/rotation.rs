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

#[cfg(test)]
mod tests {
    use muster_proto::{
        endpoint::{PortConfig, Protocol, PublishMode},
        id::{NodeId, ServiceId},
    };

    use super::*;

    const PORT: u16 = 80;

    fn task(n: u8) -> TaskId {
        TaskId::from_bits(u128::from(n))
    }

    fn list(rotation: &mut Rotation, tasks: &[u8]) {
        let backends = tasks.iter().map(|&n| Backend {
            task_id: task(n),
            node_id: NodeId::from_bits(1),
            address: [127, 0, 0, n].into(),
            node_address: "node:7377".to_owned(),
        });
        let port = PortConfig { protocol: Protocol::Tcp, target: 8080, published: PORT, mode: PublishMode::Ingress };
        let service_id = ServiceId::from_bits(1);
        rotation.set(vec![IngressService { service_id, ports: vec![port], backends: backends.collect() }]);
    }

    fn pick(rotation: &mut Rotation, tried: &[TaskId]) -> Option<(TaskId, Lease)> {
        match rotation.pick(PORT, tried, Instant::now()) {
            Pick::Backend(choice) => Some((choice.backend.task_id, choice.lease)),
            Pick::NoBackend | Pick::NoRoute => None,
        }
    }

    #[test]
    fn the_least_busy_comes_first_and_equals_take_turns() {
        let mut rotation = Rotation::default();
        list(&mut rotation, &[1, 2, 3]);
        let mut leases: Vec<_> = (0..6).map(|_| pick(&mut rotation, &[]).expect("a backend")).collect();
        let order: Vec<_> = leases.iter().map(|(id, _)| *id).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3].map(task));
        leases.retain(|(id, _)| *id != task(2));
        assert_eq!(pick(&mut rotation, &[]).expect("a backend").0, task(2), "though it is the turn of the first");
    }

    #[test]
    fn one_that_failed_is_asked_last_for_a_while() {
        let mut rotation = Rotation::default();
        list(&mut rotation, &[1, 2]);
        let now = Instant::now();
        rotation.failed(task(1), now);
        let _busy = pick(&mut rotation, &[]).expect("a backend");
        assert_eq!(pick(&mut rotation, &[]).expect("a backend").0, task(2), "though it has a connection already");
        assert_eq!(pick(&mut rotation, &[task(2)]).expect("a backend").0, task(1), "better than none");
        let later = rotation.pick(PORT, &[], now + AVOID_AFTER_FAILURE);
        assert!(matches!(later, Pick::Backend(choice) if choice.backend.task_id == task(1)));
    }

    #[test]
    fn a_drained_task_stays_out_whatever_an_old_list_says() {
        let mut rotation = Rotation::default();
        list(&mut rotation, &[1]);
        let (_, lease) = pick(&mut rotation, &[]).expect("a backend");
        let connections = rotation.drain(task(1));
        assert!(lease.leaving.is_cancelled());
        list(&mut rotation, &[1]);
        assert!(pick(&mut rotation, &[]).is_none());
        assert_eq!(connections.len(), 1);
        drop(lease);
        assert!(connections.is_empty());
        rotation.drain(task(2));
        list(&mut rotation, &[2]);
        assert!(pick(&mut rotation, &[]).is_none(), "also when it was drained before it was ever listed");
        list(&mut rotation, &[]);
        assert!(rotation.members.is_empty(), "and nothing is kept of those that are gone");
    }

    #[test]
    fn a_task_that_left_the_list_may_come_back() {
        let mut rotation = Rotation::default();
        list(&mut rotation, &[1]);
        let (_, old) = pick(&mut rotation, &[]).expect("a backend");
        list(&mut rotation, &[]);
        assert!(old.leaving.is_cancelled());
        assert!(pick(&mut rotation, &[]).is_none());
        list(&mut rotation, &[1]);
        let (_, new) = pick(&mut rotation, &[]).expect("it is back");
        assert!(!new.leaving.is_cancelled());
    }
}
