//! The log of one task, read through its node's session.

use std::collections::VecDeque;

use futures_util::{Stream, stream};
use muster_proto::v1;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Subject;
use crate::dispatcher::{
    log_streams::{CREDIT, Open, Options, PARTS_MAX, Part, Request},
    sessions::Sessions,
};

/// Chunks read before the agent is told of it: half of its credit, so that it rarely waits.
const CREDIT_AFTER: u32 = CREDIT / 2;

struct Source {
    subject: Subject,
    stream: u64,
    session: mpsc::Sender<Request>,
    parts: mpsc::Receiver<Part>,
    /// Read since the agent was last given credit.
    uncredited: u32,
    lines: VecDeque<v1::LogLine>,
    ended: bool,
    /// Dropped with the source: the session then tells the agent to stop.
    _reader: DropGuard,
}

/// Ends when the log does; says so in a notice where it cannot be had, or ended early.
pub(super) fn open(sessions: &Sessions, subject: Subject, options: Options) -> impl Stream<Item = v1::LogLine> + use<> {
    let session = sessions.log_requests(subject.node);
    let stream = sessions.log_stream_number();
    stream::unfold(State::Closed { session, subject, stream, options }, State::next)
}

enum State {
    Closed { session: Option<mpsc::Sender<Request>>, subject: Subject, stream: u64, options: Options },
    Open(Box<Source>),
    End,
}

impl State {
    async fn next(self) -> Option<(v1::LogLine, State)> {
        let mut source = match self {
            State::Closed { session, subject, stream, options } => match request(session, &subject, stream, options)
                .await
            {
                Some((session, parts, reader)) => Box::new(Source {
                    subject,
                    stream,
                    session,
                    parts,
                    uncredited: 0,
                    lines: VecDeque::new(),
                    ended: false,
                    _reader: reader,
                }),
                None => {
                    let why = "its node has no session with this manager; its log can be read once the node is back";
                    return Some((notice(&subject, why), State::End));
                }
            },
            State::Open(source) => source,
            State::End => return None,
        };
        source.line().await.map(|line| (line, State::Open(source)))
    }
}

async fn request(
    session: Option<mpsc::Sender<Request>>,
    subject: &Subject,
    stream: u64,
    options: Options,
) -> Option<(mpsc::Sender<Request>, mpsc::Receiver<Part>, DropGuard)> {
    let (sink, parts) = mpsc::channel(PARTS_MAX);
    let abandoned = CancellationToken::new();
    let open = Open { stream, task: subject.task, options, sink, abandoned: abandoned.clone() };
    let session = session?;
    session.send(Request::Open(open)).await.ok()?;
    Some((session, parts, abandoned.drop_guard()))
}

impl Source {
    async fn line(&mut self) -> Option<v1::LogLine> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            match self.parts.recv().await {
                Some(part) => self.take(part).await,
                None => {
                    self.ended = true;
                    let why = "the log broke off: its node lost the session; ask for the logs again";
                    return Some(notice(&self.subject, why));
                }
            }
        }
    }

    async fn take(&mut self, part: Part) {
        let subject = &self.subject;
        self.lines.extend(part.lines.into_iter().map(|entry| v1::LogLine {
            task_id: subject.task.to_string(),
            task_name: subject.name.clone(),
            node_id: subject.node.to_string(),
            stderr: entry.stderr,
            text: entry.text,
            timestamp: entry.timestamp,
            notice: false,
        }));
        if let Some(Err(why)) = &part.end {
            self.lines.push_back(notice(subject, &format!("the log cannot be read: {why}")));
        }
        self.ended = part.end.is_some();
        self.uncredited += 1;
        if self.uncredited >= CREDIT_AFTER && !self.ended {
            let credit = Request::Credit { stream: self.stream, chunks: self.uncredited };
            self.uncredited = 0;
            // A session that is gone shows at the next read.
            let _ = self.session.send(credit).await;
        }
    }
}

fn notice(subject: &Subject, text: &str) -> v1::LogLine {
    v1::LogLine {
        task_id: subject.task.to_string(),
        task_name: subject.name.clone(),
        node_id: subject.node.to_string(),
        text: format!("{}: {text}\n", subject.name).into_bytes(),
        notice: true,
        ..v1::LogLine::default()
    }
}
