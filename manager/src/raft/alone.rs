//! The transport of a manager without any other to talk to.

use futures_util::future::{BoxFuture, ready};

use crate::raft::transport::{Call, Chunks, Target, Transport, TransportError};

type Answer = Result<Vec<u8>, TransportError>;

#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

fn nobody<'a>(target: &Target) -> BoxFuture<'a, Answer> {
    Box::pin(ready(Err(TransportError::Unreachable(format!("no connection to {target}")))))
}

impl Transport for Alone {
    fn call<'a>(&'a self, target: &'a Target, _call: Call, _message: Vec<u8>) -> BoxFuture<'a, Answer> {
        nobody(target)
    }

    fn snapshot<'a>(&'a self, target: &'a Target, _offer: Vec<u8>, _chunks: Chunks) -> BoxFuture<'a, Answer> {
        nobody(target)
    }
}
