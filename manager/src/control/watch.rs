//! A service and its tasks, now and after every change.

use std::time::Duration;

use futures_util::{Stream, stream};
use muster_core::state::State;
use muster_proto::{id::ServiceId, v1};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{manager::Handle, pace::Pace, replica::Replica, streams::stopping};

/// A person watches, or a script that waits for an end.
const INTERVAL: Duration = Duration::from_millis(50);

struct Watch {
    id: ServiceId,
    replica: Replica,
    pace: Pace,
    stop: CancellationToken,
    sent: Option<v1::WatchServiceResponse>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// Runs as the caller reads: a slow one gets fewer and newer answers. Ends with an answer that has neither service nor
/// tasks.
pub(super) fn stream(
    handle: &Handle,
    id: ServiceId,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<v1::WatchServiceResponse, Status>> + Send + use<> {
    let replica = handle.replica.clone();
    let pace = Pace::new(replica.watch(), INTERVAL, move |touched| touched.services.contains(&id));
    let stop = handle.streams.stop().clone();
    let watch = Watch { id, replica, pace, stop, sent: None, ended: false, _place: place };
    stream::unfold(watch, |mut watch| async move { watch.next().await.map(|answer| (answer, watch)) })
}

impl Watch {
    async fn next(&mut self) -> Option<Result<v1::WatchServiceResponse, Status>> {
        while !self.ended {
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.ended = true;
                    return Some(Err(stopping()));
                }
                () = self.pace.changed() => {}
            }
            let now = self.replica.read(|state| look(state, self.id));
            self.ended = now.service.is_none() && now.tasks.is_empty();
            if self.sent.as_ref() != Some(&now) {
                self.sent = Some(now.clone());
                return Some(Ok(now));
            }
        }
        None
    }
}

fn look(state: &State, id: ServiceId) -> v1::WatchServiceResponse {
    v1::WatchServiceResponse {
        service: state.service(id).map(Into::into),
        tasks: state.tasks_of_service(id).map(Into::into).collect(),
    }
}
