//! What this host can tell of its membership by itself, also while nobody else can be asked.

use super::{member::Member, record::Record, whereabouts::Whereabouts};

#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) record: Record,
    /// None of a member whose parts did not start.
    agent: Option<muster_agent::Handle>,
}

impl Membership {
    pub(super) fn of(member: &Member) -> Self {
        Self { record: member.record().clone(), agent: Some(member.agent().clone()) }
    }

    pub(super) fn of_nothing_but(record: Record) -> Self {
        Self { record, agent: None }
    }

    pub(super) fn managers(&self) -> Vec<String> {
        let managers = match &self.agent {
            Some(agent) => Whereabouts::of(agent, &self.record),
            None => Whereabouts::granted(&self.record),
        };
        managers.latest()
    }

    /// Why no manager has a session with this node.
    pub(super) fn trouble(&self) -> Option<String> {
        self.agent.as_ref().and_then(muster_agent::Handle::trouble)
    }
}
