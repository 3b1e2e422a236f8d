//! The logs that one session carries: who reads which stream, and whether the agent keeps to its credit.
//!
//! An agent sends at most [`CREDIT`] chunks ahead of the reader, and a stream's channel holds as many and the end: a
//! chunk always finds room, so a slow reader never holds up the session and nothing is dropped. An agent that sends
//! more has its stream closed, and the reader sees it break off.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use muster_proto::{
    id::TaskId,
    v1::{
        LogEntry,
        agent_message::LogChunk,
        manager_message::{CloseLog, LogCredit, Message, OpenLog},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Chunks on their way from an agent to a reader. A chunk is at most one message, so this bounds the bytes too.
pub(crate) const CREDIT: u32 = 16;
/// The end needs no credit.
pub(crate) const PARTS_MAX: usize = CREDIT as usize + 1;

/// What a reader of logs asks of a node's session.
#[derive(Debug)]
pub(crate) enum Request {
    Open(Open),
    /// The reader has taken this many chunks.
    Credit {
        stream: u64,
        chunks: u32,
    },
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) stream: u64,
    pub(crate) task: TaskId,
    pub(crate) options: Options,
    /// Has room for [`PARTS_MAX`].
    pub(crate) sink: mpsc::Sender<Part>,
    /// Cancelled when nobody reads any more.
    pub(crate) abandoned: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) tail: Option<u32>,
    /// Milliseconds since the Unix epoch.
    pub(crate) since: Option<u64>,
}

/// What a reader gets: one chunk. The channel's end without a part that has an `end` means that the stream broke off.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) lines: Vec<LogEntry>,
    pub(crate) end: Option<Result<(), String>>,
}

#[derive(Debug, Default)]
pub(super) struct LogStreams {
    sinks: BTreeMap<u64, mpsc::Sender<Part>>,
    abandoned: FuturesUnordered<BoxFuture<'static, u64>>,
}

impl LogStreams {
    /// What to tell the agent.
    pub(super) fn asked(&mut self, request: Request) -> Option<Message> {
        match request {
            Request::Open(Open { stream, task, options, sink, abandoned }) => {
                self.sinks.insert(stream, sink);
                self.abandoned.push(abandoned.cancelled_owned().map(move |()| stream).boxed());
                let Options { follow, tail, since } = options;
                let task_id = task.to_string();
                Some(Message::OpenLog(OpenLog { stream, task_id, follow, tail, since, credit: CREDIT }))
            }
            Request::Credit { stream, chunks } => {
                self.sinks.contains_key(&stream).then_some(Message::LogCredit(LogCredit { stream, chunks }))
            }
        }
    }

    /// Hands a chunk on; what to tell the agent where it should stop.
    pub(super) fn heard(&mut self, chunk: LogChunk) -> Option<Message> {
        let LogChunk { stream, lines, end, error } = chunk;
        // None: it crossed our CloseLog, which the agent has by now or soon.
        let sink = self.sinks.get(&stream)?;
        let part = Part { lines, end: end.then(|| error.map_or(Ok(()), Err)) };
        // Full: the agent sent more than its credit. Closed: nobody reads.
        let taken = sink.try_send(part).is_ok();
        if end || !taken {
            self.sinks.remove(&stream);
        }
        (!taken && !end).then_some(Message::CloseLog(CloseLog { stream }))
    }

    /// A stream that nobody reads any more: what to tell the agent. Pends while there is none. Cancel-safe.
    pub(super) async fn abandoned(&mut self) -> Message {
        while let Some(stream) = self.abandoned.next().await {
            // It may have ended before its reader went.
            if self.sinks.remove(&stream).is_some() {
                return Message::CloseLog(CloseLog { stream });
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: u64 = 7;

    fn open(streams: &mut LogStreams) -> (mpsc::Receiver<Part>, CancellationToken) {
        let (sink, parts) = mpsc::channel(PARTS_MAX);
        let abandoned = CancellationToken::new();
        let options = Options { follow: true, tail: None, since: None };
        let open = Open { stream: STREAM, task: TaskId::from_bits(1), options, sink, abandoned: abandoned.clone() };
        assert!(matches!(streams.asked(Request::Open(open)), Some(Message::OpenLog(_))));
        (parts, abandoned)
    }

    fn chunk(end: bool) -> LogChunk {
        LogChunk { stream: STREAM, lines: vec![LogEntry::default()], end, error: None }
    }

    #[test]
    fn an_agent_that_oversteps_its_credit_is_told_to_stop_and_the_reader_sees_it() {
        let mut streams = LogStreams::default();
        let (mut parts, _abandoned) = open(&mut streams);
        for _ in 0..PARTS_MAX {
            assert_eq!(streams.heard(chunk(false)), None);
        }
        assert_eq!(streams.heard(chunk(false)), Some(Message::CloseLog(CloseLog { stream: STREAM })));
        assert_eq!(streams.heard(chunk(false)), None, "told once");
        for _ in 0..PARTS_MAX {
            assert_eq!(parts.try_recv().expect("what came before is kept").end, None);
        }
        assert_eq!(parts.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_is_closed_at_the_agent() {
        let mut streams = LogStreams::default();
        let (_parts, abandoned) = open(&mut streams);
        abandoned.cancel();
        assert_eq!(streams.abandoned().await, Message::CloseLog(CloseLog { stream: STREAM }));
    }

    #[test]
    fn a_stream_that_ended_hears_nothing_more() {
        let mut streams = LogStreams::default();
        let (mut parts, _abandoned) = open(&mut streams);
        assert_eq!(streams.heard(chunk(true)), None);
        assert_eq!(parts.try_recv().expect("the last chunk").end, Some(Ok(())));
        assert_eq!(streams.asked(Request::Credit { stream: STREAM, chunks: 1 }), None);
    }
}
