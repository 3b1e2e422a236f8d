//! The open streams of this manager's RPCs: how many there may be, and how they end when the manager stops.

use std::{future::ready, sync::Arc};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use crate::status;

/// Sessions, watches and logs together. A session takes about 10 KiB, and a cluster has at most 10,000 nodes.
const STREAMS_MAX: usize = 16_384;

#[derive(Clone, Debug)]
pub(crate) struct Streams {
    stop: CancellationToken,
    tasks: TaskTracker,
    free: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { stop: CancellationToken::new(), tasks: TaskTracker::new(), free: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }
}

impl Streams {
    /// A place for one more stream, until the permit is dropped.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        if self.stop.is_cancelled() {
            return Err(stopping());
        }
        Arc::clone(&self.free).try_acquire_owned().map_err(|_full| {
            Status::resource_exhausted(format!("{STREAMS_MAX} streams are open on this manager; try again later"))
        })
    }

    /// Runs the task of a stream; [`Streams::close`] waits for it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Cancelled when the manager stops: every stream then ends with [`stopping`].
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// What a stream says, until the manager stops: it is told so, since an end without a word would be taken for the end
    /// of all there is to say.
    pub(crate) fn until_stopped<T, S>(&self, said: S) -> impl Stream<Item = Result<T, Status>> + Send + use<T, S>
    where
        T: Send,
        S: Stream<Item = Result<T, Status>> + Send,
    {
        let stop = self.stop.clone();
        let last = stream::iter([()]).filter_map(move |()| ready(stop.is_cancelled().then(|| Err(stopping()))));
        said.take_until(self.stop.clone().cancelled_owned()).chain(last)
    }

    /// Ends all streams and waits for their tasks.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

pub(crate) fn stopping() -> Status {
    status::elsewhere(Status::unavailable("the manager stops; its work goes on, try again in a moment"))
}
