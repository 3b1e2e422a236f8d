//! Which backend the next connection of a port goes to. Pure: the time comes in, sockets are elsewhere.
//!
//! A backend is in rotation while the managers list it and nobody drained it. Draining is for good: a list that still
//! names the task (it was made before) does not bring it back. Leaving the list is not: a task that is listed again
//! takes connections again.
//!
//! A backend of this node must also be offered by its own agent, which knows its address now; the list's may be older
//! than the container.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use muster_proto::{
    assignment::{Backend, IngressService},
    id::{NodeId, ServiceId, TaskId},
};
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::Health;

/// A backend that refused a connection, or a node that did not answer, is asked last for this long. Without it, the one
/// that is down has the fewest connections and would be everybody's first choice.
const AVOID_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Rotation {
    /// This one.
    node: NodeId,
    members: BTreeMap<TaskId, Member>,
    routes: BTreeMap<u16, Route>,
    own: BTreeMap<TaskId, Own>,
    /// Nodes that did not answer, and until when they are avoided; only such as are listed.
    suspects: BTreeMap<NodeId, Instant>,
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

    fn lease(&self, unpublished: CancellationToken) -> Lease {
        Lease { leaving: self.leaving.clone(), unpublished, _connection: self.connections.token() }
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
    service_id: ServiceId,
    target: u16,
    backends: Vec<Backend>,
    /// Where the search for the least busy backend begins: ties go round.
    cursor: usize,
    /// Cancelled once the port is no longer published, or means something else.
    unpublished: CancellationToken,
}

/// One connection's hold on a backend. While it lives, the backend's drain waits.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) leaving: CancellationToken,
    pub(super) unpublished: CancellationToken,
    _connection: TaskTrackerToken,
}

/// How a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Here(SocketAddr),
    /// Through the agent of its node; `target` is the port inside the container.
    Through {
        node: NodeId,
        address: String,
        target: u16,
    },
}

impl Way {
    /// The node that must answer for it.
    pub(super) fn node(&self) -> Option<NodeId> {
        match self {
            Way::Here(_) => None,
            Way::Through { node, .. } => Some(*node),
        }
    }
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) task_id: TaskId,
    pub(super) way: Way,
    pub(super) lease: Lease,
}

#[derive(Debug)]
pub(super) enum Pick {
    Backend(Choice),
    /// The service has no ready task, or none that was not tried yet.
    NoBackend,
    /// No service publishes this port any more.
    NoRoute,
}

/// What one client was refused by.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) tasks: Vec<TaskId>,
    /// None of their tasks is tried any more.
    pub(super) nodes: Vec<NodeId>,
}

/// Whether a connection that came through another node may have a task of this one.
#[derive(Debug)]
pub(super) enum Admission {
    Granted {
        address: SocketAddr,
        lease: Lease,
    },
    /// The agent offers no such task: it never was here, is gone, or is not found yet.
    NoSuchTask,
    /// As far as this node has heard, which may change in a moment.
    NotPublished,
    /// It is on its way out.
    Refused,
}

/// A task of this node that takes connections.
#[derive(Clone, Copy, Debug)]
struct Own {
    service_id: ServiceId,
    address: IpAddr,
}

/// Smaller is better; the field order is the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    last_resort: bool,
    connections: usize,
    turn: usize,
}

impl Rotation {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            members: BTreeMap::new(),
            routes: BTreeMap::new(),
            own: BTreeMap::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// Takes the managers' list as the whole truth.
    pub(super) fn set(&mut self, services: Vec<IngressService>) {
        let (mut routes, mut before) = (BTreeMap::new(), std::mem::take(&mut self.routes));
        let (mut listed, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for service in services {
            listed.extend(service.backends.iter().map(|backend| backend.task_id));
            nodes.extend(service.backends.iter().map(|backend| backend.node_id));
            for port in &service.ports {
                // Managers give a port to one service only; should two claim it, the first keeps it.
                routes.entry(port.published).or_insert_with(|| {
                    let means = (service.service_id, port.target);
                    let (cursor, unpublished) = match before.get(&port.published) {
                        Some(route) if means == (route.service_id, route.target) => {
                            (route.cursor, before.remove(&port.published).map(|route| route.unpublished))
                        }
                        Some(_) | None => (0, None),
                    };
                    Route {
                        service_id: service.service_id,
                        target: port.target,
                        backends: service.backends.clone(),
                        cursor,
                        unpublished: unpublished.unwrap_or_default(),
                    }
                });
            }
        }
        self.routes = routes;
        before.values().for_each(|route| route.unpublished.cancel());
        self.suspects.retain(|node, _| nodes.contains(node));
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
        self.own.remove(&id);
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

    /// What this node's own agent says of a task: it takes connections there. Drained ones do not come back.
    pub(super) fn offer(&mut self, id: TaskId, service_id: ServiceId, address: IpAddr) {
        if self.members.get(&id).is_none_or(|member| member.standing != Standing::Drained) {
            self.own.insert(id, Own { service_id, address });
        }
    }

    /// Asked last until it was tried once more.
    pub(super) fn node_failed(&mut self, node: NodeId, now: Instant) {
        self.suspects.insert(node, now + AVOID_AFTER_FAILURE);
    }

    pub(super) fn reached(&mut self, id: TaskId, node: Option<NodeId>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.avoid_until = None;
        }
        if let Some(node) = node {
            self.suspects.remove(&node);
        }
    }

    /// For a connection from another node. `target` must be a port that the task's service publishes.
    pub(super) fn admit(&mut self, id: TaskId, target: u16) -> Admission {
        if self.members.get(&id).is_some_and(|member| member.standing == Standing::Drained) {
            return Admission::Refused;
        }
        let Some(own) = self.own.get(&id) else { return Admission::NoSuchTask };
        let published = |route: &&Route| route.service_id == own.service_id && route.target == target;
        let Some(route) = self.routes.values().find(published) else { return Admission::NotPublished };
        let member = self.members.entry(id).or_insert_with(|| Member::new(Standing::Unlisted));
        Admission::Granted {
            address: SocketAddr::new(own.address, target),
            lease: member.lease(route.unpublished.clone()),
        }
    }

    /// The least busy backend that was not tried, in turn among equals. Unhealthy ones, and those that just refused a
    /// connection, only when there is no other. One that was avoided for long enough goes to a single client first: the
    /// others go on avoiding it until that one has reached it.
    pub(super) fn pick(&mut self, port: u16, tried: &Tried, now: Instant) -> Pick {
        let Some(route) = self.routes.get_mut(&port) else { return Pick::NoRoute };
        let count = route.backends.len();
        let (members, own, suspects) = (&self.members, &self.own, &self.suspects);
        let best = (0..count)
            .filter_map(|turn| {
                let at = (route.cursor + turn) % count;
                let backend = &route.backends[at];
                let member = members.get(&backend.task_id).filter(|m| m.standing == Standing::Listed)?;
                let way = way(self.node, own, backend, route.target)?;
                let until = member.avoid_until.max(way.node().and_then(|node| suspects.get(&node).copied()));
                let last_resort = until.is_some_and(|until| until > now) || member.health == Health::Unhealthy;
                let rank = Rank { last_resort, connections: member.connections.len(), turn };
                let fresh = !tried.tasks.contains(&backend.task_id) && !tried.nodes.contains(&backend.node_id);
                fresh.then_some((rank, at, way))
            })
            .min_by_key(|(rank, _, _)| *rank);
        let Some((_, at, way)) = best else { return Pick::NoBackend };
        route.cursor = (at + 1) % count;
        let (task_id, unpublished) = (route.backends[at].task_id, route.unpublished.clone());
        if let Some(until) = way.node().and_then(|node| self.suspects.get_mut(&node)) {
            *until = now + AVOID_AFTER_FAILURE;
        }
        let Some(member) = self.members.get_mut(&task_id) else { return Pick::NoBackend };
        if member.avoid_until.is_some() {
            member.avoid_until = Some(now + AVOID_AFTER_FAILURE);
        }
        Pick::Backend(Choice { task_id, way, lease: member.lease(unpublished) })
    }
}

/// None: it is said to be here, and its agent does not offer it (yet, or any more).
fn way(here: NodeId, own: &BTreeMap<TaskId, Own>, backend: &Backend, target: u16) -> Option<Way> {
    if backend.node_id == here {
        return own.get(&backend.task_id).map(|own| Way::Here(SocketAddr::new(own.address, target)));
    }
    Some(Way::Through { node: backend.node_id, address: backend.node_address.clone(), target })
}

#[cfg(test)]
mod tests {
    use muster_proto::endpoint::{PortConfig, Protocol, PublishMode};

    use super::*;

    const HERE: NodeId = NodeId::from_bits(1);
    const THERE: NodeId = NodeId::from_bits(2);
    const SERVICE: ServiceId = ServiceId::from_bits(1);

    const PORT: u16 = 80;

    fn task(n: u8) -> TaskId {
        TaskId::from_bits(u128::from(n))
    }

    fn list(rotation: &mut Rotation, tasks: &[u8]) {
        let backends = tasks.iter().map(|&n| Backend {
            task_id: task(n),
            node_id: if n < 10 { HERE } else { THERE },
            address: [127, 0, 0, n].into(),
            node_address: "node:7377".to_owned(),
        });
        let port = PortConfig { protocol: Protocol::Tcp, target: 8080, published: PORT, mode: PublishMode::Ingress };
        rotation.set(vec![IngressService { service_id: SERVICE, ports: vec![port], backends: backends.collect() }]);
    }

    /// Tasks below 10 are here, and offered; the others are elsewhere.
    fn rotation(tasks: &[u8]) -> Rotation {
        let mut rotation = Rotation::new(HERE);
        for &n in tasks.iter().filter(|n| **n < 10) {
            rotation.offer(task(n), SERVICE, [127, 0, 0, n].into());
        }
        list(&mut rotation, tasks);
        rotation
    }

    fn pick_at(rotation: &mut Rotation, tried: &[TaskId], now: Instant) -> Option<(TaskId, Lease)> {
        let tried = Tried { tasks: tried.to_vec(), nodes: Vec::new() };
        match rotation.pick(PORT, &tried, now) {
            Pick::Backend(choice) => Some((choice.task_id, choice.lease)),
            Pick::NoBackend | Pick::NoRoute => None,
        }
    }

    fn pick(rotation: &mut Rotation, tried: &[TaskId]) -> Option<(TaskId, Lease)> {
        pick_at(rotation, tried, Instant::now())
    }

    #[test]
    fn the_least_busy_comes_first_and_equals_take_turns() {
        let mut rotation = rotation(&[1, 2, 3]);
        let mut leases: Vec<_> = (0..6).map(|_| pick(&mut rotation, &[]).expect("a backend")).collect();
        let order: Vec<_> = leases.iter().map(|(id, _)| *id).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3].map(task));
        leases.retain(|(id, _)| *id != task(2));
        assert_eq!(pick(&mut rotation, &[]).expect("a backend").0, task(2), "though it is the turn of the first");
    }

    #[test]
    fn one_that_failed_is_asked_last_for_a_while() {
        let mut rotation = rotation(&[1, 2]);
        let now = Instant::now();
        rotation.failed(task(1), now);
        let _busy = pick(&mut rotation, &[]).expect("a backend");
        assert_eq!(pick(&mut rotation, &[]).expect("a backend").0, task(2), "though it has a connection already");
        assert_eq!(pick(&mut rotation, &[task(2)]).expect("a backend").0, task(1), "better than none");
        let later = now + AVOID_AFTER_FAILURE * 2;
        assert_eq!(pick_at(&mut rotation, &[], later).expect("a backend").0, task(1));
        assert_eq!(pick_at(&mut rotation, &[], later).expect("a backend").0, task(2), "one client is enough to try it");
        rotation.reached(task(1), None);
        assert_eq!(pick_at(&mut rotation, &[], later).expect("a backend").0, task(1));
    }

    #[test]
    fn a_node_that_does_not_answer_is_avoided_with_all_its_tasks() {
        let mut rotation = rotation(&[1, 11, 12]);
        let now = Instant::now();
        rotation.node_failed(THERE, now);
        let _busy = [(); 3].map(|()| pick_at(&mut rotation, &[], now).filter(|(id, _)| *id == task(1)).expect("here"));
        assert_eq!(pick_at(&mut rotation, &[task(1)], now).expect("better than none").0, task(11));
        let later = now + AVOID_AFTER_FAILURE * 2;
        let again: Vec<_> = (0..3).filter_map(|_| pick_at(&mut rotation, &[], later)).map(|(id, _)| id).collect();
        assert_eq!(again, [12, 1, 1].map(task), "one client tries it");
        rotation.reached(task(12), Some(THERE));
        assert_ne!(pick_at(&mut rotation, &[], later).expect("a backend").0, task(1), "it is back");
        let none = Tried { tasks: vec![task(1)], nodes: vec![THERE] };
        assert!(matches!(rotation.pick(PORT, &none, later), Pick::NoBackend));
    }

    #[test]
    fn what_is_listed_here_is_used_once_it_is_offered() {
        let mut rotation = Rotation::new(HERE);
        list(&mut rotation, &[1]);
        assert!(pick(&mut rotation, &[]).is_none(), "a list from before a restart may name an address of another");
        rotation.offer(task(1), SERVICE, [127, 0, 0, 1].into());
        assert!(pick(&mut rotation, &[]).is_some());
    }

    #[test]
    fn other_nodes_get_in_until_the_task_drains() {
        let mut rotation = Rotation::new(HERE);
        let admit = |rotation: &mut Rotation| rotation.admit(task(1), 8080);
        assert!(matches!(admit(&mut rotation), Admission::NoSuchTask));
        rotation.offer(task(1), SERVICE, [127, 0, 0, 1].into());
        assert!(matches!(admit(&mut rotation), Admission::NotPublished));
        list(&mut rotation, &[2]);
        let Admission::Granted { address, lease } = admit(&mut rotation) else { panic!("not in this node's list yet") };
        assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert!(matches!(rotation.admit(task(1), 22), Admission::NotPublished));
        let connections = rotation.drain(task(1));
        assert_eq!(connections.len(), 1);
        assert!(matches!(admit(&mut rotation), Admission::Refused));
        rotation.offer(task(1), SERVICE, [127, 0, 0, 1].into());
        assert!(matches!(admit(&mut rotation), Admission::Refused), "draining is for good");
        drop(lease);
        assert!(connections.is_empty());
    }

    #[test]
    fn a_drained_task_stays_out_whatever_an_old_list_says() {
        let mut rotation = rotation(&[1]);
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
    fn connections_of_a_port_that_means_something_else_move() {
        let mut rotation = rotation(&[1]);
        let (_, lease) = pick(&mut rotation, &[]).expect("a backend");
        list(&mut rotation, &[1]);
        assert!(!lease.unpublished.is_cancelled(), "the same as before");
        let changed = PortConfig { protocol: Protocol::Tcp, target: 8081, published: PORT, mode: PublishMode::Ingress };
        let backends = rotation.routes[&PORT].backends.clone();
        rotation.set(vec![IngressService { service_id: SERVICE, ports: vec![changed], backends: backends.clone() }]);
        assert!(lease.unpublished.is_cancelled());
        let (_, lease) = pick(&mut rotation, &[]).expect("the same task, at its other port");
        rotation.set(vec![IngressService { service_id: SERVICE, ports: Vec::new(), backends }]);
        assert!(lease.unpublished.is_cancelled());
    }

    #[test]
    fn a_task_that_left_the_list_may_come_back() {
        let mut rotation = rotation(&[1]);
        let (_, old) = pick(&mut rotation, &[]).expect("a backend");
        list(&mut rotation, &[]);
        assert!(old.leaving.is_cancelled());
        assert!(pick(&mut rotation, &[]).is_none());
        list(&mut rotation, &[1]);
        let (_, new) = pick(&mut rotation, &[]).expect("it is back");
        assert!(!new.leaving.is_cancelled());
    }
}
