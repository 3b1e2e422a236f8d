//! What a command's change calls another look at: the planner's dirty set and the dispatcher's.

use std::collections::BTreeSet;

use muster_proto::{
    id::{NodeId, ServiceId},
    node::{Node, Role},
    service::Service,
    task::Task,
};

use crate::{assign, state::State};

/// Where a change calls for another look. It says where, never what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose spec, tasks or rollout changed; also removed ones.
    pub services: BTreeSet<ServiceId>,
    /// Nodes whose assignments may have changed.
    pub nodes: BTreeSet<NodeId>,
    /// A node came, went, or changed what it offers: any waiting task may now fit. (Tasks that ended are not counted:
    /// every plan looks at all waiting tasks.)
    pub capacity: bool,
    /// Ports or backends of some service changed, or how a node is reached: every node's ingress may have.
    pub ingress: bool,
    /// Roles, managers' addresses or the cluster's settings changed: every node's orders may have, or what its session
    /// began with.
    pub orders: bool,
}

impl Touched {
    pub(super) fn service(&mut self, before: Option<&Service>, after: Option<&Service>) {
        self.services.extend(before.or(after).map(|service| service.id));
        let ports = |service: Option<&Service>| {
            service.filter(|service| assign::has_ingress(service)).map(|service| service.ports.clone())
        };
        self.ingress |= ports(before) != ports(after);
    }

    /// `before` or `after` is None where the row came or went.
    pub(super) fn node(&mut self, before: Option<&Node>, after: Option<&Node>) {
        self.capacity = true;
        let address = |node: Option<&Node>| node.map(|node| node.address.clone());
        let manager = |node: Option<&Node>| address(node.filter(|node| node.spec.role == Role::Manager));
        self.ingress |= address(before) != address(after);
        self.orders |= manager(before) != manager(after);
    }

    /// `before` or `after` is None where the row came or went. `state` is the one after the change.
    pub(super) fn task(&mut self, state: &State, before: Option<&Task>, after: Option<&Task>) {
        let Some(service_id) = before.or(after).map(|task| task.service_id) else { return };
        self.services.insert(service_id);
        let (told, tell) = (before.and_then(assign::standing), after.and_then(assign::standing));
        if told != tell {
            self.nodes.extend([told, tell].into_iter().flatten().map(|(node, ..)| node));
        }
        if before.and_then(assign::serving) != after.and_then(assign::serving) {
            self.ingress |= state.service(service_id).is_some_and(assign::has_ingress);
        }
    }
}
