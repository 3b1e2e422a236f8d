//! Openraft's side of the [`Transport`]: encodes what openraft wants sent, cuts what takes too much, and puts what went
//! wrong in openraft's terms. One [`Link`] for each other member.

use std::{
    future::Future,
    iter,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openraft::{
    error::{
        Fatal, NetworkError, PayloadTooLarge, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
    },
    network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    outside::tasks,
    raft::{
        HEARTBEAT, LogId, Peer, TypeConfig, Vote,
        contact::Contact,
        inbox::Invited,
        standing::Standing,
        transport::{Call, Target, Transport, TransportError},
        wire::{
            self, Append, Appended, Ballot, Candidacy, Offer, Reply, SnapshotTaken, VoteAsked, VoteGiven, WireError,
        },
    },
    snapshots::Snapshots,
};

/// The Raft id of whoever is no member: none is given out.
pub(crate) const NOBODY: u64 = 0;

type RpcError = RPCError<u64, Peer, RaftError<u64>>;

/// Between two attempts to reach a member that cannot be reached. A heartbeat long: when it is back, it hears of its
/// leader before it calls an election.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the answer to a heartbeat beside something longer is waited for: the next may get through sooner.
const BEAT_MAX: Duration = Duration::from_millis(500);
/// Who answers heartbeats again after none for this long was cut off. Longer than two that are lost one after the other.
const CUT_AFTER: Duration = Duration::from_millis(1_200);

/// Why heartbeats beside something longer have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beaten {
    /// The member follows another.
    Outvoted(Vote),
    /// It was cut off for a while.
    Back,
}

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) standing: Standing,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) contact: Contact,
    pub(crate) invited: Invited,
}

#[derive(Debug)]
pub(crate) struct Link {
    network: Network,
    target: Target,
    load: Option<Load>,
    /// Where a load failed that began there: the next one is left alone for as long as it takes.
    failed_at: Option<(Vote, Option<LogId>)>,
}

/// Entries on their way. Openraft waits for an answer for a heartbeat's time, gives up, and sends the same again, for ever
/// where the connection or the other end's disk is slow. So what was begun goes on, and its answer is that of a later
/// attempt.
#[derive(Debug)]
struct Load {
    vote: Vote,
    prev: Option<LogId>,
    last: LogId,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Out(AbortOnDropHandle<Result<Appended, TransportError>>),
    /// The member has them, and openraft was not told yet.
    There,
}

impl Load {
    /// Whether these entries are under way with it, or the first of them.
    fn begins(&self, request: &Append) -> bool {
        let last = request.entries.last().map(|entry| entry.log_id);
        self.vote == request.vote && self.prev == request.prev_log_id && Some(self.last) <= last
    }
}

impl Link {
    async fn carry(&mut self, request: Append, last: LogId) -> Result<Appended, TransportError> {
        let (vote, prev, leader_commit) = (request.vote, request.prev_log_id, request.leader_commit);
        self.load.take_if(|load| !load.begins(&request));
        let is_of_before = self.load.is_some();
        let is_patient = self.failed_at == Some((vote, prev));
        let (network, target) = (self.network.clone(), self.target.clone());
        let load = self.load.get_or_insert_with(|| {
            let sending = async move { network.append_beating(&target, request, is_patient).await };
            let sending = tokio::spawn(tasks::inherit(sending));
            Load { vote, prev, last, way: Way::Out(AbortOnDropHandle::new(sending)) }
        });
        let carried = load.last;
        if let Way::Out(sending) = &mut load.way {
            match sending.await.unwrap_or_else(|why| Err(TransportError::Broken(why.to_string()))) {
                Ok(Appended::Success) => load.way = Way::There,
                other => {
                    self.load = None;
                    self.failed_at = other.is_err().then_some((vote, prev));
                    return other;
                }
            }
        }
        if is_of_before {
            // Openraft takes an answer for one to what it has just sent, and counts time from there.
            let again = Append { vote, prev_log_id: Some(carried), entries: Vec::new(), leader_commit };
            let answer = self.network.append(&self.target, again).await?;
            if answer != Appended::Success {
                self.load = None;
                return Ok(answer);
            }
        }
        self.load = None;
        Ok(so_far(carried, last))
    }
}

/// Of entries up to `last` the member has those up to `carried`.
fn so_far(carried: LogId, last: LogId) -> Appended {
    if carried == last { Appended::Success } else { Appended::PartialSuccess(Some(carried)) }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Link {
        Link {
            network: self.clone(),
            target: Target { raft_id: target, peer: peer.clone() },
            load: None,
            failed_at: None,
        }
    }
}

impl Network {
    /// Sends an append, and notes whether it was answered by one who follows.
    async fn append(&self, target: &Target, request: Append) -> Result<Appended, TransportError> {
        let (reign, sent) = (*request.vote.leader_id(), Instant::now());
        let message = wire::encode_append(&self.standing.seal(target.raft_id, request))?;
        let answer = self.deliver(target, Call::Append, message).await;
        match &answer {
            Ok(Appended::Success | Appended::PartialSuccess(_) | Appended::Conflict) | Err(TransportError::NoRoom) => {
                self.contact.follows(target.raft_id, reign, sent);
            }
            Ok(Appended::HigherVote(_))
            | Err(TransportError::Unreachable(_) | TransportError::Broken(_) | TransportError::Refused(_)) => {}
        }
        answer
    }

    /// The same, with heartbeats beside it. On a connection that is full of it they may come late enough to look like a cut:
    /// `is_patient` goes on all the same.
    async fn append_beating(
        &self,
        target: &Target,
        request: Append,
        is_patient: bool,
    ) -> Result<Appended, TransportError> {
        let vote = request.vote;
        tokio::select! {
            biased;
            answer = self.append(target, request) => answer,
            higher = self.until_outvoted(target, vote), if is_patient => Ok(Appended::HigherVote(higher)),
            beaten = self.beat(target, vote), if !is_patient => match beaten {
                Beaten::Outvoted(higher) => Ok(Appended::HigherVote(higher)),
                // TCP would wait for seconds before it goes on.
                Beaten::Back => Err(TransportError::Broken("the connection was cut meanwhile".to_owned())),
            },
        }
    }

    /// What was begun goes on after a cut.
    async fn until_outvoted(&self, target: &Target, vote: Vote) -> Vote {
        loop {
            match self.beat(target, vote).await {
                Beaten::Outvoted(higher) => return higher,
                Beaten::Back => {}
            }
        }
    }

    /// While openraft has a snapshot or entries under way to a member it sends it nothing else, not even heartbeats; and
    /// the member would miss its leader, and stand for election, the sooner the more it is needed.
    async fn beat(&self, target: &Target, vote: Vote) -> Beaten {
        let mut answered = Instant::now();
        let mut beats = interval_at(answered + HEARTBEAT, HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let beat = Append { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
            match timeout(BEAT_MAX, self.append(target, beat)).await {
                Ok(Ok(Appended::HigherVote(higher))) => return Beaten::Outvoted(higher),
                Ok(Ok(Appended::Success | Appended::PartialSuccess(_) | Appended::Conflict)) => {
                    if answered.elapsed() > CUT_AFTER {
                        return Beaten::Back;
                    }
                    answered = Instant::now();
                }
                // Whether it can be reached what is under way will tell.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        target: &Target,
        call: Call,
        body: Q,
    ) -> Result<A, TransportError> {
        let message = wire::encode(&self.standing.seal(target.raft_id, body))?;
        self.deliver(target, call, message).await
    }

    /// Lets a node that is no member know which incarnation of the cluster this is. A manager of an earlier one stops, whoever
    /// else is there has no such call. What it answers is not looked at: it may be a worker, and none of those dismisses a
    /// manager.
    pub(crate) async fn tell(&self, peer: Peer) {
        let asked = VoteAsked { vote: Vote::default(), last_log_id: None };
        let ballot = Ballot { asked, why: Candidacy::Sounding };
        let target = Target { raft_id: NOBODY, peer };
        let told = async {
            let message = wire::encode(&self.standing.seal(NOBODY, ballot))?;
            self.transport.call(&target, Call::Vote, message).await
        };
        if let Err(why) = told.await {
            tracing::trace!(%target, %why, "not told of this incarnation");
        }
    }

    async fn deliver<A: DeserializeOwned>(
        &self,
        target: &Target,
        call: Call,
        message: Vec<u8>,
    ) -> Result<A, TransportError> {
        let answer = self.transport.call(target, call, message).await?;
        self.open(target, &answer)
    }

    fn open<A: DeserializeOwned>(&self, target: &Target, answer: &[u8]) -> Result<A, TransportError> {
        match wire::decode(answer)? {
            Reply::Given(answer) => {
                self.contact.answered(target.raft_id);
                Ok(answer)
            }
            Reply::NoRoom => {
                self.contact.answered(target.raft_id);
                Err(TransportError::NoRoom)
            }
            Reply::Refused(why) => {
                self.standing.refused(why);
                Err(TransportError::Refused(why.to_string()))
            }
        }
    }

    /// Why this manager stands for election in the term that it asks votes for.
    fn candidacy(&self, asked: &VoteAsked) -> Candidacy {
        let handed = self.invited.load(Ordering::Relaxed);
        if handed != 0 && asked.vote.leader_id().term == handed + 1 {
            Candidacy::HandedOver { term: handed }
        } else {
            Candidacy::Silence
        }
    }
}

impl From<WireError> for TransportError {
    fn from(why: WireError) -> Self {
        TransportError::Refused(why.to_string())
    }
}

/// Unreachable makes openraft pause before it tries again, anything else does not.
fn unreachable(why: &TransportError) -> Unreachable {
    Unreachable::new(why)
}

fn rpc_error(why: &TransportError) -> RpcError {
    match why {
        TransportError::Unreachable(_) | TransportError::Refused(_) | TransportError::NoRoom => unreachable(why).into(),
        TransportError::Broken(_) => NetworkError::new(why).into(),
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(&mut self, request: Append, _option: RPCOption) -> Result<Appended, RpcError> {
        let fitting = wire::fitting(&request);
        if fitting < request.entries.len() {
            return Err(PayloadTooLarge::new_entries_hint(fitting as u64).into());
        }
        let last = request.entries.last().map(|entry| entry.log_id);
        let answer = match last {
            Some(last) => self.carry(request, last).await,
            None => self.network.append(&self.target, request).await,
        };
        answer.map_err(|why| rpc_error(&why))
    }

    async fn vote(&mut self, request: VoteAsked, _option: RPCOption) -> Result<VoteGiven, RpcError> {
        let ballot = Ballot { why: self.network.candidacy(&request), asked: request };
        self.network.call(&self.target, Call::Vote, ballot).await.map_err(|why| rpc_error(&why))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotTaken, StreamingError<TypeConfig, Fatal<u64>>> {
        let send = async {
            let (snapshots, file) = (&self.network.snapshots, snapshot.snapshot.clone());
            // One that cannot be read says so when it is.
            let bytes = snapshots.run(move |snapshots| snapshots.bytes(&file)).await.unwrap_or(0);
            let offer = Offer { vote, meta: snapshot.meta, bytes };
            let offer = wire::encode(&self.network.standing.seal(self.target.raft_id, offer))?;
            let chunks = self.network.snapshots.chunks(&snapshot.snapshot);
            let answer = self.network.transport.snapshot(&self.target, offer, chunks).await?;
            self.network.open(&self.target, &answer)
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            // What a snapshot is answered with, too.
            higher = self.network.until_outvoted(&self.target, vote) => Ok(SnapshotTaken { vote: higher }),
            sent = send => sent.map_err(|why| StreamingError::Unreachable(unreachable(&why))),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(iter::repeat(PAUSE))
    }
}

#[cfg(test)]
mod tests;
