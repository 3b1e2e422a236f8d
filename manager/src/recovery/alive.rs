//! Which nodes that a copy of the state knows still run as managers: they know more than the copy, and would be ended by a
//! cluster that goes on from it. Who was a worker then may be one of them.
//!
//! A host without power is none, and needs no more than its time to be silent. Of one that takes connections and does not
//! say what it is nothing is guessed.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use muster_core::{recovery, state::State};
use muster_proto::{
    id::ClusterId,
    time::Timestamp,
    v1::{self, raft_client::RaftClient},
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::{
    connect::{self, Connect, NO_MANAGER_METADATA},
    outside::Network,
    raft::{
        Peer, Vote,
        network::NOBODY,
        wire::{self, Ballot, Candidacy, Envelope, VoteAsked, WireError},
    },
};

/// For each, all attempts together: a lost packet costs one second.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Between two attempts: a daemon that has just started is not ready yet.
const PAUSE: Duration = Duration::from_millis(200);
/// Nodes that are asked at once.
const AT_ONCE: usize = 128;

/// By their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub running: Vec<String>,
    /// Somebody is there, and whether it is a manager cannot be told.
    pub unclear: Vec<(String, Unclear)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error("it takes connections and does not answer")]
    Silent,
    #[error("it takes connections and does not prove to be the node that the backup knows there")]
    Unproven,
    #[error("it says: {0}")]
    Said(String),
}

/// What is known of one so far.
enum Sight {
    Nobody,
    Manager,
    Unclear(Unclear),
}

/// `connect` speaks for the manager that would go on `now`. The question is one that nobody is ended by: of a manager that
/// has no state yet.
pub async fn managers(state: &State, now: Timestamp, connect: Arc<dyn Connect>, network: Arc<dyn Network>) -> Found {
    let Some(cluster) = state.cluster() else { return Found::default() };
    let from = recovery::next_raft_id(cluster, now).0;
    let looks = state.nodes().map(|node| {
        let peer = Peer { node_id: node.id, address: node.address.clone() };
        let question = question(cluster.id, from, node.raft_id.map_or(NOBODY, |raft_id| raft_id.0));
        let (connect, network) = (connect.clone(), network.clone());
        async move {
            let sight = match question {
                Ok(question) => look(&peer, &question, &*connect, &*network).await,
                Err(why) => Sight::Unclear(Unclear::Said(why.to_string())),
            };
            (peer.address, sight)
        }
    });
    let mut found = Found::default();
    let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some((address, sight)) = looks.next().await {
        match sight {
            Sight::Nobody => {}
            Sight::Manager => found.running.push(address),
            Sight::Unclear(why) => found.unclear.push((address, why)),
        }
    }
    found
}

fn question(cluster: ClusterId, from: u64, to: u64) -> Result<Vec<u8>, WireError> {
    let asked = VoteAsked { vote: Vote::default(), last_log_id: None };
    let body = Ballot { asked, why: Candidacy::Sounding };
    wire::encode(&Envelope { cluster, incarnation: 0, from, to, body })
}

async fn look(peer: &Peer, question: &[u8], connect: &dyn Connect, network: &dyn Network) -> Sight {
    let mut sight = Sight::Nobody;
    let looked = async {
        loop {
            if network.connect(&peer.address).await.is_ok() {
                if let Sight::Nobody = sight {
                    sight = Sight::Unclear(Unclear::Silent);
                }
                match ask(peer, question, connect).await {
                    Ok(seen) => return seen,
                    Err(why) => sight = Sight::Unclear(why),
                }
            }
            sleep(PAUSE).await;
        }
    };
    timeout(ANSWER_MAX, looked).await.unwrap_or(sight)
}

/// Any answer is a manager's, a refusal too: workers and managers that were let go do not know the call.
async fn ask(peer: &Peer, question: &[u8], connect: &dyn Connect) -> Result<Sight, Unclear> {
    let stream = connect.connect(peer).await.map_err(|why| {
        tracing::warn!(%peer, %why, "cannot tell whether a manager runs there");
        Unclear::Unproven
    })?;
    let mut client = RaftClient::new(connect::channel_over(stream));
    match client.vote(v1::RaftRequest { body: question.to_owned() }).await {
        Ok(_) => Ok(Sight::Manager),
        Err(status) if is_no_manager(&status) => Ok(Sight::Nobody),
        Err(status) => Err(Unclear::Said(status.message().to_owned())),
    }
}

fn is_no_manager(status: &Status) -> bool {
    status.code() == Code::Unimplemented || status.metadata().contains_key(NO_MANAGER_METADATA)
}

#[cfg(test)]
mod tests;
