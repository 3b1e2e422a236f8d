//! Brings the managers' Raft group to what the state says of who is a manager: adds learners, makes them voters once they
//! have caught up, gives members their new addresses, takes former managers out, and hands leadership over where the
//! leader itself is to go.
//!
//! Level-triggered, on the leader alone, one change at a time: losing all of it at any point costs a look. What comes
//! next is decided in [`step`]; here it is carried out.

mod hand_over;
mod herald;
pub(crate) mod step;

use std::{collections::BTreeMap, time::Duration};

use muster_proto::version::Term;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::hand_over::HandOverError;
use self::step::{Step, next_step};
pub(crate) use self::{hand_over::Succession, herald::Herald};
use crate::{
    leadership::Leadership,
    raft::{
        Peer,
        members::{Group, Members, MembersError},
    },
    replica::Replica,
};

/// A change that takes longer has lost its quorum; what became of it is seen in the group.
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// Before a change that failed is looked at again, and between looks while the group is not as it should be: a learner
/// that catches up is not announced.
const UNSETTLED: Duration = Duration::from_millis(100);
/// Between looks while it is. Whatever changes is announced, but for a member's silence.
const SETTLED: Duration = Duration::from_secs(2);

pub(crate) struct Service {
    pub(crate) members: Members,
    pub(crate) replica: Replica,
    pub(crate) succession: Succession,
}

impl Service {
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut leadership = self.replica.leadership();
        loop {
            let term =
                match leadership.wait_for(|now| now.leading().is_some()).await.as_deref().map(Leadership::leading) {
                    Ok(Some(term)) => term,
                    Ok(None) => continue,
                    Err(_closed) => return,
                };
            // What earlier leaders committed says who is a manager.
            match self.replica.barrier().await {
                Ok(()) => self.lead(term).await,
                Err(_) => sleep(UNSETTLED).await,
            }
        }
    }

    async fn lead(&self, term: Term) {
        let mut changes = self.replica.changes();
        while self.replica.leading() == Some(term) {
            changes.mark_unchanged();
            let (group, wanted) = (self.members.now(), self.wanted());
            let step = match next_step(&group, &wanted, self.members.me()) {
                // Who has just died still looks alive, and a change that needs it would never end.
                Some(Step::SetVoters(voters)) if !voters.is_superset(&group.voters) && group.joint.is_none() => {
                    let wanted = self.wanted();
                    next_step(&self.members.who_answers().await, &wanted, self.members.me())
                }
                step => step,
            };
            let Some(step) = step else {
                let pause = if is_settled(&group, &wanted) { SETTLED } else { UNSETTLED };
                // Either is a reason to look.
                let _ = timeout(pause, changes.changed()).await;
                // Of a burst of changes, one look.
                sleep(UNSETTLED).await;
                continue;
            };
            tracing::info!(%step, "the managers change");
            match timeout(CHANGE_MAX, self.carry_out(step)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    tracing::warn!(%why, "a change of the managers failed; looking again");
                    sleep(UNSETTLED).await;
                }
                Err(_elapsed) => tracing::warn!("a change of the managers takes long; looking again"),
            }
        }
    }

    fn wanted(&self) -> BTreeMap<u64, Peer> {
        self.replica.read(|state| {
            let peer = |node: &muster_proto::node::Node| Peer { node_id: node.id, address: node.address.clone() };
            state.managers().filter_map(|node| node.raft_id.map(|id| (id.0, peer(node)))).collect()
        })
    }

    async fn carry_out(&self, step: Step) -> Result<(), String> {
        let text = |why: MembersError| why.to_string();
        match step {
            Step::AddLearner { raft_id, peer } => self.members.add_learner(raft_id, peer).await.map_err(text),
            Step::Readdress { raft_id, peer } => {
                self.members.readdress(BTreeMap::from([(raft_id, peer)])).await.map_err(text)
            }
            Step::SetVoters(voters) => self.members.set_voters(voters).await.map_err(text),
            Step::RemoveLearner(raft_id) => self.members.remove_learner(raft_id).await.map_err(text),
            Step::HandOver => self.succession.hand_over().await.map_err(|why| why.to_string()),
        }
    }
}

fn is_settled(group: &Group, wanted: &BTreeMap<u64, Peer>) -> bool {
    !group.changing && group.learners.is_empty() && group.voters.iter().eq(wanted.keys())
}
