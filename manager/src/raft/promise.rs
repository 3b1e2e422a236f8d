//! What managers bind themselves to with what they say to each other: whom they will not follow any more. Read off the
//! bytes of their messages, by whoever checks from outside that promises are kept: the simulation.

use std::io;

use muster_proto::version::Term;
use serde::Deserialize;

use crate::{
    outside::Store,
    raft::{
        Vote, term_of,
        transport::Call,
        wire::{self, Appended, Envelope, Reply, VoteGiven},
    },
    storage,
};

/// Made to everyone, for ever: nobody who leads in an earlier term is voted for or followed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// To the candidate: a vote.
    Vote(Term),
    /// To the leader: it is followed.
    Follow(Term),
    /// To whoever was refused: another is followed, or was voted for.
    Another(Term),
}

impl Promise {
    #[must_use]
    pub fn term(&self) -> Term {
        match self {
            Promise::Vote(term) | Promise::Follow(term) | Promise::Another(term) => *term,
        }
    }
}

/// Of a message, what a promise needs: skips the entries.
#[derive(Deserialize)]
struct Asked {
    vote: Vote,
}

/// What a manager promises by this answer to that message. None: nothing, or it is no answer of a manager.
#[must_use]
pub fn given(call: Call, message: &[u8], answer: &[u8]) -> Option<Promise> {
    match call {
        Call::Vote => match wire::decode(answer).ok()? {
            Reply::Given(VoteGiven { vote, vote_granted: true, .. }) => Some(Promise::Vote(term(&vote))),
            Reply::Given(VoteGiven { vote, vote_granted: false, .. }) => Some(Promise::Another(term(&vote))),
            Reply::Refused(_) | Reply::NoRoom => None,
        },
        Call::Append => match wire::decode(answer).ok()? {
            Reply::Given(Appended::Success | Appended::PartialSuccess(_) | Appended::Conflict) | Reply::NoRoom => {
                let asked: Envelope<Asked> = wire::decode(message).ok()?;
                Some(Promise::Follow(term(&asked.body.vote)))
            }
            Reply::Given(Appended::HigherVote(vote)) => Some(Promise::Another(term(&vote))),
            Reply::Refused(_) => None,
        },
        Call::Elect => None,
    }
}

/// What the store of a manager knows of its promises. None: it never made one.
pub fn kept(store: &dyn Store) -> io::Result<Option<Term>> {
    Ok(storage::log::vote_of(store)?.map(|vote| term(&vote)))
}

fn term(vote: &Vote) -> Term {
    term_of(*vote.leader_id())
}
