//! What a session still has to say: the difference between what a node was told and what it should know. Pure.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{assign, state::State};
use muster_proto::{
    assignment::{Assignment, IngressService},
    id::{NodeId, ServiceId, TaskId},
};

/// All that one node should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) assignments: BTreeMap<TaskId, Assignment>,
    pub(super) ingress: BTreeMap<ServiceId, IngressService>,
}

/// One `Assignments` message before it is put on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) complete: bool,
    pub(super) assign: Vec<Assignment>,
    pub(super) forget: Vec<TaskId>,
    pub(super) ingress: Vec<IngressService>,
    pub(super) ingress_gone: Vec<ServiceId>,
}

impl View {
    /// `down`: the nodes whose lease is over.
    pub(super) fn of(state: &State, node: NodeId, down: &BTreeSet<NodeId>) -> Self {
        Self {
            assignments: assign::assignments(state, node),
            ingress: assign::ingress(state, down).into_iter().map(|service| (service.service_id, service)).collect(),
        }
    }

    /// The first message of a session.
    pub(super) fn whole(&self) -> Delta {
        Delta {
            complete: true,
            assign: self.assignments.values().cloned().collect(),
            ingress: self.ingress.values().cloned().collect(),
            ..Delta::default()
        }
    }

    /// What leads from here to `next`; None where there is nothing to say.
    pub(super) fn delta_to(&self, next: &View) -> Option<Delta> {
        let (assign, forget) = changes(&self.assignments, &next.assignments);
        let (ingress, ingress_gone) = changes(&self.ingress, &next.ingress);
        let delta = Delta { complete: false, assign, forget, ingress, ingress_gone };
        (delta != Delta::default()).then_some(delta)
    }
}

/// The new and changed values, and the keys that are gone.
fn changes<K: Copy + Ord, V: Clone + PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> (Vec<V>, Vec<K>) {
    let put = new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(_, value)| value.clone());
    let gone = old.keys().filter(|key| !new.contains_key(key)).copied();
    (put.collect(), gone.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_proto::{
        assignment::Backend,
        container::ContainerSpec,
        isolation::OnIsolation,
        resources::Limits,
        task::{Slot, TaskSpec, Template},
        task_state::DesiredState,
        version::Fence,
    };
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn assignment(task: u128, fence: u64, desired: DesiredState) -> Assignment {
        let spec = TaskSpec {
            container: ContainerSpec::new("app:1"),
            resources: Default::default(),
            restart: Default::default(),
            placement: Default::default(),
            force_update: 0,
            on_isolation: OnIsolation::default(),
        };
        Assignment {
            task_id: TaskId::from_bits(task),
            service_id: ServiceId::from_bits(1),
            service_name: "web".into(),
            slot: Slot::Number(1),
            fence: Fence(fence),
            desired,
            template: Arc::new(Template { spec, host_ports: Vec::new() }),
            limits: Limits::default(),
        }
    }

    fn ingress(service: u128, backends: u128) -> IngressService {
        let backend = |task| Backend {
            task_id: TaskId::from_bits(task),
            node_id: NodeId::from_bits(1),
            address: [10, 0, 0, 1].into(),
            node_address: "10.0.0.9:7377".into(),
        };
        IngressService {
            service_id: ServiceId::from_bits(service),
            ports: Vec::new(),
            backends: (0..backends).map(backend).collect(),
        }
    }

    fn view() -> impl Strategy<Value = View> {
        let desired = prop_oneof![Just(DesiredState::Ready), Just(DesiredState::Running), Just(DesiredState::Remove)];
        let tasks = btree_map(0..8u128, (0..3u64, desired), 0..8);
        let services = btree_map(0..4u128, 0..3u128, 0..4);
        (tasks, services).prop_map(|(tasks, services)| View {
            assignments: tasks
                .into_iter()
                .map(|(id, (fence, desired))| (TaskId::from_bits(id), assignment(id, fence, desired)))
                .collect(),
            ingress: services.into_iter().map(|(id, n)| (ServiceId::from_bits(id), ingress(id, n))).collect(),
        })
    }

    /// What an agent makes of a message.
    fn hear(known: &mut View, delta: Delta) {
        if delta.complete {
            *known = View::default();
        }
        known.assignments.extend(delta.assign.into_iter().map(|a| (a.task_id, a)));
        known.ingress.extend(delta.ingress.into_iter().map(|i| (i.service_id, i)));
        known.assignments.retain(|id, _| !delta.forget.contains(id));
        known.ingress.retain(|id, _| !delta.ingress_gone.contains(id));
    }

    proptest! {
        #[test]
        fn an_agent_that_hears_everything_knows_what_it_should(before in view(), views in proptest::collection::vec(view(), 1..6)) {
            let mut known = before;
            let mut told = views[0].clone();
            hear(&mut known, told.whole());
            for next in views {
                if let Some(delta) = told.delta_to(&next) {
                    hear(&mut known, delta);
                }
                told = next;
                prop_assert_eq!(&known, &told);
            }
        }

        #[test]
        fn nothing_is_said_twice(view in view()) {
            prop_assert_eq!(view.delta_to(&view), None);
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let tasks = |list: &[Assignment]| View {
            assignments: list.iter().map(|a| (a.task_id, a.clone())).collect(),
            ingress: BTreeMap::new(),
        };
        let (kept, gone) = (assignment(1, 5, DesiredState::Running), assignment(2, 5, DesiredState::Remove));
        let changed = assignment(3, 5, DesiredState::Shutdown);
        let before = tasks(&[kept.clone(), gone.clone(), assignment(3, 5, DesiredState::Running)]);
        let after = tasks(&[kept, changed.clone()]);
        let expected = Delta { assign: vec![changed], forget: vec![gone.task_id], ..Delta::default() };
        assert_eq!(before.delta_to(&after), Some(expected));
    }
}
