//! What this host can tell of its membership by itself, also while nobody else can be asked.

use std::path::Path;

use super::{member::Member, record::Record, whereabouts::Whereabouts};

#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) record: Record,
    managers: Whereabouts,
    /// None of a member whose parts did not start.
    agent: Option<muster_agent::Handle>,
}

impl Membership {
    pub(super) fn of(member: &Member) -> Self {
        let (record, agent) = (member.record().clone(), member.agent().clone());
        Self { managers: Whereabouts::of(&agent, &record), record, agent: Some(agent) }
    }

    /// `agent` is the agent's folder. Blocking.
    pub(super) fn of_nothing_but(record: Record, agent: &Path) -> Self {
        Self { managers: Whereabouts::remembered(agent, &record), record, agent: None }
    }

    pub(super) fn managers(&self) -> Vec<String> {
        self.managers.latest()
    }

    /// Why no manager has a session with this node.
    pub(super) fn trouble(&self) -> Option<String> {
        self.agent.as_ref().and_then(muster_agent::Handle::trouble)
    }
}
