//! Any manager serves any command: what reaches one that does not lead goes on to the leader and its answer back.
//!
//! A call is repeated, with the same request id, when the leader changes or the connection to it breaks before anything
//! of the answer has come; it waits for a leader while there is none. What was passed on once is not passed on again:
//! its receiver serves it or says that it does not lead. A stream whose leader is lost ends as unavailable, and whoever
//! reads it opens it again.
//!
//! Stands behind the table of who may call what, so that who calls is known. Deliberately absent: what the calls mean.

mod body;
mod origin;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use muster_proto::id::{REQUEST_ID_METADATA, RequestId};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, body::Body, server::NamedService, transport::Channel};
use tower::{Service, ServiceExt};

use self::{
    body::Answer,
    origin::{Origin, Word},
};
use crate::{
    authorization::Denied,
    connect::{self, Connect, SHORT_PING_MAX},
    leadership::Leadership,
    manager::Handle,
    raft::Peer,
    status::{self, REPEAT_METADATA, UNTOUCHED_METADATA},
};

/// What gRPC puts around a request.
const FRAME_BYTES_MAX: usize = 1 << 10;
/// How long a call is tried anew, from its first failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts at the same leader.
const PAUSE: Duration = Duration::from_millis(20);
/// On a call that another manager has passed on.
const PASSED_ON: &str = "muster-passed-on";

/// A service whose calls may be passed on. They are held in memory for that, also while their caller has not shown who
/// it is, so none may be larger than the service has a use for.
pub trait PassedOn: NamedService {
    const REQUEST_BYTES_MAX: usize;
}

impl Handle {
    /// A service of this manager, or the leader's in its place.
    #[must_use]
    pub fn forward<S: PassedOn>(&self, connect: Arc<dyn Connect>, service: S) -> Forward<S> {
        Forward {
            handle: Arc::new(self.clone()),
            leader: Arc::new(Leader { connect, channel: Mutex::default() }),
            inner: service,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Forward<S> {
    /// Cloned with each call, several times.
    handle: Arc<Handle>,
    leader: Arc<Leader>,
    inner: S,
}

/// The connection to the leader, kept open.
#[derive(Debug)]
struct Leader {
    connect: Arc<dyn Connect>,
    channel: Mutex<Option<(Peer, Channel)>>,
}

impl Leader {
    fn channel(&self, leader: &Peer) -> Channel {
        let mut held = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((peer, channel)) if peer == leader => channel.clone(),
            Some(_) | None => {
                let channel = connect::channel(&self.connect, leader, SHORT_PING_MAX);
                *held = Some((leader.clone(), channel.clone()));
                channel
            }
        }
    }

    fn forget(&self, leader: &Peer) {
        let mut held = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|(peer, _)| peer == leader);
    }
}

/// A request as it is sent, as often as need be.
struct Call {
    parts: Parts,
    body: Bytes,
}

/// Whom the attempts at a call have reached so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// Nobody who could have done anything.
    Nobody,
    Somebody,
}

impl Reached {
    /// After an attempt whose end was not waited for.
    fn and(self, leadership: &Leadership) -> Self {
        match leadership {
            Leadership::Nobody => self,
            Leadership::Me { .. } | Leadership::Other { .. } => Self::Somebody,
        }
    }

    /// A refusal says of its own attempt alone that nothing was done.
    fn told(self, mut response: http::Response<Body>) -> http::Response<Body> {
        match self {
            Self::Nobody => {}
            Self::Somebody => drop(response.headers_mut().remove(UNTOUCHED_METADATA)),
        }
        response
    }
}

enum Attempt {
    Answered(http::Response<Body>),
    /// Nothing was done, or what was done is remembered under the request's id.
    Repeat(Status),
}

impl<S: NamedService> NamedService for Forward<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Forward<S>
where
    S: PassedOn
        + Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.serve(request).await) })
    }
}

impl<S> Forward<S>
where
    S: PassedOn
        + Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    async fn serve(&self, request: http::Request<Body>) -> http::Response<Body> {
        let (mut parts, body) = request.into_parts();
        let body = match Limited::new(body, S::REQUEST_BYTES_MAX + FRAME_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Status::out_of_range("the request is too large or was cut short").into_http(),
        };
        if parts.headers.remove(PASSED_ON).is_some() {
            match origin::word(&parts.extensions) {
                Word::Believed => {
                    let now = self.handle.outside.clock.now();
                    if let Err(denied) = origin::adopt(&mut parts, self.handle.replica(), now) {
                        return denied.into_http();
                    }
                    return self.serve_once(&Call { parts, body }).await;
                }
                Word::Unlisted(node) => return Denied::Unlisted(node).status().into_http(),
                Word::Ignored => {}
            }
        }
        origin::strip(&mut parts.headers);
        if !parts.headers.contains_key(REQUEST_ID_METADATA) {
            let id = RequestId::from_bits(self.handle.outside.random.wide_bits()).to_string();
            if let Ok(id) = HeaderValue::from_str(&id) {
                parts.headers.insert(REQUEST_ID_METADATA, id);
            }
        }
        self.serve_until_done(&Call { parts, body }).await
    }

    async fn serve_once(&self, call: &Call) -> http::Response<Body> {
        let leadership = self.handle.replica().leadership().borrow().clone();
        match leadership {
            Leadership::Me { .. } => self.serve_here(call, &leadership).await,
            Leadership::Other { .. } | Leadership::Nobody => status::not_leading(&leadership).into_http(),
        }
    }

    async fn serve_until_done(&self, call: &Call) -> http::Response<Body> {
        let mut leadership = self.handle.replica().leadership();
        let (mut give_up, mut reached) = (None, Reached::Nobody);
        loop {
            let now = leadership.borrow_and_update().clone();
            let attempt = async {
                match &now {
                    Leadership::Me { .. } => attempted(self.serve_here(call, &now).await),
                    Leadership::Other { leader, .. } => self.pass_on(call, leader).await,
                    Leadership::Nobody => std::future::pending().await,
                }
            };
            let until = match (give_up, &now) {
                (None, Leadership::Nobody) => Some(*give_up.insert(Instant::now() + PATIENCE)),
                (Some(until), Leadership::Nobody) => Some(until),
                (_, Leadership::Me { .. } | Leadership::Other { .. }) => None,
            };
            let another = leadership.wait_for(|then| then.is_known() && *then != now);
            let failed = tokio::select! {
                biased;
                attempt = attempt => match attempt {
                    Attempt::Answered(response) => return reached.told(response),
                    Attempt::Repeat(why) => why,
                },
                // Whatever became of it there, the new leader knows of it.
                changed = another => match changed {
                    Ok(_) => {
                        reached = reached.and(&now);
                        continue;
                    }
                    Err(_closed) => return crate::streams::stopping().into_http(),
                },
                () = elapsed(until) => {
                    return reached.told(status::untouched(status::not_leading(&now)).into_http());
                }
            };
            if *give_up.get_or_insert_with(|| Instant::now() + PATIENCE) <= Instant::now() {
                return reached.told(failed.into_http());
            }
            if !failed.metadata().contains_key(UNTOUCHED_METADATA) {
                reached = Reached::Somebody;
            }
            // Either is a reason to try again.
            let _ = timeout(PAUSE, leadership.changed()).await;
        }
    }

    async fn serve_here(&self, call: &Call, leadership: &Leadership) -> http::Response<Body> {
        let service = self.inner.clone();
        match service.oneshot(call.request()).await {
            Ok(response) => Answer::of_mine(response, self.handle.replica().leadership(), leadership.leading()),
            Err(never) => match never {},
        }
    }

    async fn pass_on(&self, call: &Call, leader: &Peer) -> Attempt {
        let mut request = call.request();
        Origin::of(&call.parts.extensions).write(request.headers_mut());
        request.headers_mut().insert(PASSED_ON, HeaderValue::from_static("1"));
        match self.leader.channel(leader).oneshot(request).await {
            Ok(response) if wants_repetition(&response) => attempted(response),
            Ok(response) => match Answer::of_another(response).await {
                Ok(response) => Attempt::Answered(response),
                Err(broken) => Attempt::Repeat(broken),
            },
            Err(why) => {
                tracing::debug!(%leader, error = %why, "a call did not get through to the leader");
                self.leader.forget(leader);
                Attempt::Repeat(Status::unavailable(
                    "the manager that leads cannot be reached from this one; try again in a moment",
                ))
            }
        }
    }
}

impl Call {
    fn request(&self) -> http::Request<Body> {
        http::Request::from_parts(self.parts.clone(), Body::new(Full::new(self.body.clone())))
    }
}

async fn elapsed(until: Option<Instant>) {
    match until {
        // Its end is what is waited for.
        Some(until) => {
            let _ = timeout_at(until, std::future::pending::<()>()).await;
        }
        None => std::future::pending().await,
    }
}

fn wants_repetition(response: &http::Response<Body>) -> bool {
    response.headers().contains_key(REPEAT_METADATA)
}

fn attempted(mut response: http::Response<Body>) -> Attempt {
    match response.headers_mut().remove(REPEAT_METADATA) {
        Some(_) => Attempt::Repeat(
            Status::from_header_map(response.headers()).unwrap_or_else(|| Status::unavailable("try again in a moment")),
        ),
        None => Attempt::Answered(response),
    }
}
