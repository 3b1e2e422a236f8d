//! What this node asks of its cluster's managers in its own name: the next certificate, and to be let go.
//!
//! Any manager will do; the first that answers decides. A manager that cannot be reached, or has no leader to turn to, is
//! passed over.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use muster_manager::{
    authorization::Denied,
    ca::{DialError, Expect, Keeper},
    connect::NO_MANAGER_METADATA,
};
use muster_proto::{
    assignment::LEADER_METADATA,
    id::NodeId,
    v1::{self, membership_client::MembershipClient},
};
use tonic::{Code, Status, transport::Channel};

/// Of one manager. It may have to wait for an election.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Of a call whose connection broke, to the same manager.
const REPEATS_MAX: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Managers {
    pub(super) keeper: Keeper,
    /// `host:port` each.
    pub(super) addresses: Vec<String>,
}

/// Why nothing came of a question.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// In the words of a manager that could have done it.
    #[error("{0}")]
    Refused(String),
    #[error("no manager could be asked; the last said: {0}")]
    Unheard(String),
    #[error("no manager's address is known; run `muster leave --force` and join again")]
    Nobody,
}

impl AskError {
    /// Without what to do about it.
    pub(super) fn happened(&self) -> &str {
        match self {
            AskError::Refused(said) | AskError::Unheard(said) => said.split("; ").next().unwrap_or_default(),
            AskError::Nobody => "no manager's address is known",
        }
    }
}

impl Managers {
    pub(super) async fn renew(&self, request: v1::RenewRequest) -> Result<v1::Grant, AskError> {
        self.ask(|mut client| {
            let request = request.clone();
            async move { client.renew(request).await.map(tonic::Response::into_inner) }
        })
        .await
    }

    /// `own` is not heard any more once it was let go: where that answer was lost, this one says as much.
    pub(super) async fn depart(&self, own: NodeId, request: v1::DepartRequest) -> Result<(), AskError> {
        let gone = Denied::Removed(own).status();
        self.ask(|mut client| {
            let gone = &gone;
            async move {
                match client.depart(request).await {
                    Ok(_departed) => Ok(()),
                    Err(status) if (status.code(), status.message()) == (gone.code(), gone.message()) => Ok(()),
                    Err(status) => Err(status),
                }
            }
        })
        .await
    }

    /// A manager that does not lead says who does, and is followed there at once.
    async fn ask<T, F>(&self, call: impl Fn(MembershipClient<Channel>) -> F) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut to_ask: VecDeque<String> = self.addresses.iter().cloned().collect();
        let mut asked = BTreeSet::new();
        let mut repeats_left = REPEATS_MAX;
        let mut last = None;
        while let Some(address) = to_ask.pop_front() {
            if !asked.insert(address.clone()) {
                continue;
            }
            let channel = match self.keeper.channel(&address, Expect::AnyManager) {
                Ok(channel) => channel,
                Err(error) => {
                    last = Some(error.to_string());
                    continue;
                }
            };
            match tokio::time::timeout(ANSWER_MAX, call(MembershipClient::new(channel))).await {
                Ok(Ok(answer)) => return Ok(answer),
                // A manager that is let go is cut off as such in the middle of its own call, and may ask again as what it
                // is now.
                Ok(Err(status)) if is_broken(&status) && repeats_left > 0 => {
                    repeats_left -= 1;
                    asked.remove(&address);
                    to_ask.push_front(address);
                }
                Ok(Err(status)) if passes_over(&status) => {
                    let leader = status.metadata().get(LEADER_METADATA).and_then(|leader| leader.to_str().ok());
                    leader.into_iter().for_each(|leader| to_ask.push_front(leader.to_owned()));
                    last = Some(said(&status));
                }
                Ok(Err(status)) => return Err(AskError::Refused(said(&status))),
                Err(_elapsed) => last = Some(format!("{address} did not answer in time")),
            }
        }
        Err(last.map_or(AskError::Nobody, AskError::Unheard))
    }
}

/// The connection was there and broke.
fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some() && DialError::behind(status).is_none()
}

/// Whether another manager may answer where this one did not.
fn passes_over(status: &Status) -> bool {
    // The list may name a node that is to be a manager, or was one, and runs none now.
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown)
        || status.metadata().contains_key(NO_MANAGER_METADATA)
}

/// The sentence for the user, from wherever the failure comes.
pub(super) fn said(status: &Status) -> String {
    match DialError::behind(status) {
        Some(error) => match std::error::Error::source(error) {
            Some(cause) => format!("{error} ({cause})"),
            None => error.to_string(),
        },
        None => status.message().to_owned(),
    }
}
