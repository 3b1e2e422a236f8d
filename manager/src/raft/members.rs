//! Who belongs to the managers' Raft group, and the steps that change it. Each is safe by itself (openraft goes through
//! a joint membership); which to take when is decided by whoever calls.
//!
//! Only the leader can take them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use muster_proto::{id::NodeId, v1};
use openraft::{
    ChangeMembers, ServerState,
    error::{ClientWriteError, RaftError},
};
use tokio::time::timeout;

use tokio::time::{Instant, sleep};

use crate::raft::{
    Metrics, Peer, Raft, VOTE_MAX,
    network::Network,
    transport::{Call, Target, TransportError},
    wire::{Ballot, Candidacy, HandOver, Sounded, VoteAsked},
};

/// Who answered within this is there: several heartbeats.
pub const REACHABLE: Duration = Duration::from_millis(1_500);

/// Between looks at who has answered: a fraction of a heartbeat.
const ANSWER_POLL: Duration = Duration::from_millis(20);

#[derive(Clone)]
pub struct Members {
    raft: Raft,
    network: Network,
}

impl fmt::Debug for Members {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Members").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The group as this manager knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub voters: BTreeSet<u64>,
    pub learners: BTreeSet<u64>,
    pub peers: BTreeMap<u64, Peer>,
    /// A change that is not complete: until it is, no other is begun.
    pub changing: bool,
    /// The last change is not known to be committed.
    pub uncommitted: bool,
    /// Two sets of voters decide together; these are to be the voters then.
    pub joint: Option<BTreeSet<u64>>,
    /// How far each member's log is known to be the leader's. Empty on a manager that does not lead.
    pub matched: BTreeMap<u64, u64>,
    /// How long ago each member answered last. Means something on the leader alone.
    pub silence: BTreeMap<u64, Duration>,
    /// The last entry of this manager's own log.
    pub last: u64,
}

impl Group {
    #[must_use]
    pub fn is_heard(&self, raft_id: u64, leader: u64) -> bool {
        raft_id == leader || self.silence.get(&raft_id).is_some_and(|silence| *silence < REACHABLE)
    }

    /// Whether a member is there and lacks no more than so many entries.
    #[must_use]
    pub fn is_current(&self, raft_id: u64, leader: u64, lag_max: u64) -> bool {
        self.is_heard(raft_id, leader)
            && self.matched.get(&raft_id).is_some_and(|matched| matched.saturating_add(lag_max) >= self.last)
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum MembersError {
    #[error("this manager does not lead")]
    NotLeader,
    #[error("another change of the managers is under way")]
    Changing,
    #[error("this manager has stopped")]
    Stopped,
    #[error("the manager that was to take over did not: {0}")]
    NotTaken(TransportError),
    #[error("the change of the managers was refused: {0}")]
    Refused(String),
}

impl Members {
    pub(crate) fn new(raft: Raft, network: Network) -> Self {
        Self { raft, network }
    }

    /// This manager's own Raft id.
    #[must_use]
    pub fn me(&self) -> u64 {
        self.network.standing.raft_id
    }

    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    #[must_use]
    pub fn now(&self) -> Group {
        self.group(&self.raft.metrics().borrow())
    }

    /// Returns once the group is so; never where it never is.
    pub async fn until(&self, holds: impl Fn(&Group) -> bool) {
        let mut metrics = self.raft.metrics();
        while !holds(&self.group(&metrics.borrow_and_update())) {
            if metrics.changed().await.is_err() {
                // Raft has ended, and the group with it.
                return std::future::pending().await;
            }
        }
    }

    /// The group, in which only those voters count as heard that have answered since this was called. Heartbeats come
    /// all the time, so it takes no longer than it takes to miss somebody.
    pub async fn who_answers(&self) -> Group {
        let asked = Instant::now();
        loop {
            let (mut group, waited) = (self.now(), asked.elapsed());
            let missed = |id: &u64| group.silence.get(id).is_none_or(|silence| *silence > waited);
            let due = group.voters.iter().any(|id| group.is_heard(*id, self.me()) && *id != self.me() && missed(id));
            if !due || waited >= REACHABLE {
                group.silence.retain(|_, silence| *silence <= waited);
                return group;
            }
            sleep(ANSWER_POLL).await;
        }
    }

    pub(crate) async fn led_by_another(&self) {
        let mut metrics = self.raft.metrics();
        // Its end is the end of this leader, too.
        let _ = metrics.wait_for(|now| now.current_leader.is_some_and(|leader| leader != now.id)).await;
    }

    fn group(&self, now: &Metrics) -> Group {
        let membership = now.membership_config.membership();
        let sets = membership.get_joint_config();
        let committed = now.last_applied >= *now.membership_config.log_id();
        let replication = now.replication.as_ref();
        Group {
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            peers: membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect(),
            changing: sets.len() > 1 || !committed,
            uncommitted: !committed,
            joint: sets.last().filter(|_| sets.len() > 1).cloned(),
            silence: self.network.contact.answers(),
            matched: replication
                .map(|all| all.iter().map(|(id, matched)| (*id, matched.map_or(0, |last| last.index))).collect())
                .unwrap_or_default(),
            last: now.last_log_index.unwrap_or(0),
        }
    }

    /// Adds a member that gets everything and decides nothing. Returns once that is committed.
    pub async fn add_learner(&self, raft_id: u64, peer: Peer) -> Result<(), MembersError> {
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(raft_id, peer)]))).await
    }

    /// Gives members new addresses.
    pub async fn readdress(&self, peers: BTreeMap<u64, Peer>) -> Result<(), MembersError> {
        self.change(ChangeMembers::SetNodes(peers)).await
    }

    /// From now on these decide. Who decided before and is not among them is no member any more.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), MembersError> {
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Takes a learner out.
    pub async fn remove_learner(&self, raft_id: u64) -> Result<(), MembersError> {
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([raft_id]))).await
    }

    /// Asks a voter to stand for election now. It is heard by whoever has seen nothing newer, which a voter that is
    /// up to date has not. Returns when it has the word, not when it leads.
    pub async fn hand_over(&self, raft_id: u64) -> Result<(), MembersError> {
        let (term, target) = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow();
            let peer = now.membership_config.membership().get_node(&raft_id).cloned();
            if now.current_leader != Some(now.id) {
                return Err(MembersError::NotLeader);
            }
            let Some(peer) = peer else {
                return Err(MembersError::Refused(format!("there is no manager {raft_id}")));
            };
            (now.current_term, Target { raft_id, peer })
        };
        let word = self.network.call::<_, ()>(&target, Call::Elect, HandOver { term });
        word.await.map_err(MembersError::NotTaken)
    }

    /// Whether so many of the others that this manager could lead with them have not heard of a leader lately either.
    /// A manager that was cut off alone would otherwise come back with a higher term, and end the term of a leader that
    /// all others follow. Who refuses the question, as the calls of one whose certificate has run out are, would refuse its
    /// vote as well.
    pub(crate) async fn would_elect(&self) -> bool {
        let (asked, sets, peers) = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow();
            let membership = now.membership_config.membership();
            let peers = membership.voter_ids().filter(|id| *id != now.id);
            let peers = peers.filter_map(|id| membership.get_node(&id).map(|peer| (id, peer.clone())));
            let asked = VoteAsked { vote: now.vote, last_log_id: None };
            (asked, membership.get_joint_config().clone(), peers.collect::<Vec<_>>())
        };
        let mut answers = peers
            .into_iter()
            .map(|(raft_id, peer)| {
                let ballot = Ballot { asked: asked.clone(), why: Candidacy::Sounding };
                let target = Target { raft_id, peer };
                async move {
                    match self.network.call(&target, Call::Vote, ballot).await {
                        Ok(Sounded { misses_leader }) => (raft_id, misses_leader),
                        Err(
                            TransportError::Refused(_)
                            | TransportError::NoRoom
                            | TransportError::Unreachable(_)
                            | TransportError::Broken(_),
                        ) => (raft_id, false),
                    }
                }
            })
            .collect::<FuturesUnordered<_>>();
        let mut willing = BTreeSet::from([self.me()]);
        let is_enough =
            |willing: &BTreeSet<u64>| sets.iter().all(|set| set.intersection(willing).count() > set.len() / 2);
        let counted = async {
            while !is_enough(&willing) {
                let Some((raft_id, misses_leader)) = answers.next().await else { return false };
                if misses_leader {
                    willing.insert(raft_id);
                }
            }
            true
        };
        timeout(VOTE_MAX, counted).await.unwrap_or(false)
    }

    /// Of those who are no members only these are called from now on.
    pub(crate) fn keep_connections(&self, others: impl Iterator<Item = NodeId>) {
        let mut nodes: BTreeSet<_> = others.collect();
        let metrics = self.raft.metrics();
        nodes.extend(metrics.borrow().membership_config.nodes().map(|(_, peer)| peer.node_id));
        self.network.transport.keep(&nodes);
    }

    /// See [`Network::tell`].
    pub(crate) async fn tell(&self, peer: Peer) {
        self.network.tell(peer).await;
    }

    /// Lets a node know where the managers are.
    pub(crate) async fn tell_whereabouts(&self, peer: &Peer, word: v1::TellRequest) {
        if let Err(why) = self.network.transport.tell(peer, word).await {
            tracing::trace!(%peer, %why, "not told where the managers are");
        }
    }

    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<(), MembersError> {
        match self.raft.change_membership(change, false).await {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(MembersError::Stopped),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(MembersError::NotLeader),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(why))) => Err(match why {
                openraft::error::ChangeMembershipError::InProgress(_) => MembersError::Changing,
                why => MembersError::Refused(why.to_string()),
            }),
        }
    }
}
