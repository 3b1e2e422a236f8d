//! The log streams that a manager opened in this session: one reader each, which sends no more than it has credit for.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use muster_proto::{
    id::TaskId,
    v1::{LogEntry, agent_message::LogChunk, manager_message::OpenLog},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
};

use crate::{
    executor::{self, Executor, LogOptions, LogRecord},
    task::Directory,
};

/// Readers at a time in one session; each holds a connection to the engine.
const STREAMS_MAX: usize = 128;
/// In one chunk: whatever of it comes first.
const CHUNK_LINES_MAX: usize = 256;
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Of one line; the engine splits them long before.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Chunks that wait for the session, of all streams.
const CHUNKS_MAX: usize = 16;

type Records = BoxStream<'static, executor::Result<LogRecord>>;

struct Reader {
    credit: Arc<Semaphore>,
    task: AbortHandle,
}

/// Its readers end with it.
pub(super) struct Readers {
    executor: Arc<dyn Executor>,
    directory: Arc<Directory>,
    chunks: mpsc::Sender<LogChunk>,
    open: BTreeMap<u64, Reader>,
    tasks: JoinSet<u64>,
}

impl Readers {
    pub(super) fn new(executor: Arc<dyn Executor>, directory: Arc<Directory>) -> (Self, mpsc::Receiver<LogChunk>) {
        let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
        (Self { executor, directory, chunks, open: BTreeMap::new(), tasks: JoinSet::new() }, receiver)
    }

    pub(super) fn open(&mut self, request: OpenLog) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok(stream) = ended {
                self.open.remove(&stream);
            }
        }
        let stream = request.stream;
        let credit = Arc::new(Semaphore::new(permits(request.credit)));
        let records = match self.records(&request) {
            Ok(records) => records,
            Err(why) => futures_util::stream::once(async { Err(executor::ExecutorError::Failed(why)) }).boxed(),
        };
        let task = self.tasks.spawn(read(stream, records, credit.clone(), self.chunks.clone()));
        if let Some(earlier) = self.open.insert(stream, Reader { credit, task }) {
            earlier.task.abort();
        }
    }

    fn records(&self, request: &OpenLog) -> Result<Records, String> {
        if self.open.len() >= STREAMS_MAX {
            return Err(format!("this node reads {STREAMS_MAX} logs already; end one of them"));
        }
        let task: TaskId = request.task_id.parse().map_err(|_invalid| format!("{} is no task", request.task_id))?;
        let container = self.directory.get(task).ok_or_else(|| format!("task {task} has no container on this node"))?;
        let options = LogOptions { follow: request.follow, tail: request.tail, since: request.since };
        Ok(self.executor.logs(&container, options))
    }

    pub(super) fn credit(&mut self, stream: u64, chunks: u32) {
        if let Some(reader) = self.open.get(&stream) {
            let room = Semaphore::MAX_PERMITS - reader.credit.available_permits();
            reader.credit.add_permits(permits(chunks).min(room));
        }
    }

    pub(super) fn close(&mut self, stream: u64) {
        if let Some(reader) = self.open.remove(&stream) {
            reader.task.abort();
        }
    }
}

fn permits(chunks: u32) -> usize {
    usize::try_from(chunks).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

async fn read(stream: u64, mut records: Records, credit: Arc<Semaphore>, chunks: mpsc::Sender<LogChunk>) -> u64 {
    loop {
        // Reading waits for credit, so that the engine holds what nobody takes.
        let Ok(permit) = credit.acquire().await else { return stream };
        permit.forget();
        let chunk = gather(stream, &mut records).await;
        let end = chunk.end;
        if chunks.send(chunk).await.is_err() || end {
            return stream;
        }
    }
}

/// Waits for one record and takes with it those that are there already.
async fn gather(stream: u64, records: &mut Records) -> LogChunk {
    let mut chunk = LogChunk { stream, lines: Vec::new(), end: false, error: None };
    let mut bytes = 0;
    let mut next = records.next().await;
    loop {
        match next {
            Some(Ok(record)) => {
                let mut text = record.text;
                text.truncate(LINE_BYTES_MAX);
                bytes += text.len();
                chunk.lines.push(LogEntry { stderr: record.stderr, text, timestamp: record.timestamp });
            }
            Some(Err(error)) => {
                return LogChunk { end: true, error: Some(error.to_string()), ..chunk };
            }
            None => return LogChunk { end: true, ..chunk },
        }
        if chunk.lines.len() >= CHUNK_LINES_MAX || bytes >= CHUNK_BYTES_MAX {
            return chunk;
        }
        match records.next().now_or_never() {
            Some(ready) => next = ready,
            None => return chunk,
        }
    }
}
