//! One client connection, from accept to close: bytes both ways, with flow control, and the change of backend between
//! two HTTP requests.
//!
//! Both directions live in one poll function over one struct, because a response must go on flowing while a request
//! does not, and either can end first. Bytes are read into a buffer on the stack and written on at once; only what the
//! other side does not take is kept, at most one buffer for each direction, and an idle connection keeps none.

mod backend;
mod stream;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    Shared, dial,
    http::{Standing, Tracker},
};
use backend::Backend;
use stream::{Read, read};

/// How long a client may stay connected between requests without a backend: longer than clients keep idle
/// connections themselves, so that they are the ones to close.
const PARKED_MAX: Duration = Duration::from_secs(300);

/// How long a client may take, without moving a byte, to close once its backend has.
const LINGER_MAX: Duration = Duration::from_secs(30);

pub(super) async fn run(client: TcpStream, port: u16, shared: &Shared) {
    let mut relay = Relay::new(client, shared.stopping.clone());
    loop {
        match poll_fn(|cx| relay.poll(cx)).await {
            Next::Dial => match dial::upstream(shared, port, &relay.client).await {
                Some(upstream) => relay.attach(Backend::new(upstream)),
                None => return,
            },
            Next::Close => return,
            Next::Abort => {
                // A plain close would make a cut-off response look whole where its end is the connection's.
                if let Err(error) = relay.client.set_zero_linger() {
                    tracing::debug!(port, %error, "a client could not be told that its backend broke off");
                }
                return;
            }
        }
    }
}

/// What the relay cannot do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The client's bytes need a backend.
    Dial,
    Close,
    Abort,
}

/// Whether a step moved something; when none did, all that can wake the relay is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Yes,
    No,
}

type Step = Result<Moved, Next>;

struct Relay {
    client: TcpStream,
    /// None before the first, and while parked between requests.
    backend: Option<Backend>,
    tracker: Tracker,
    /// Let through and not yet taken by the backend.
    up: BytesMut,
    /// Read from the client and not let through: the next request.
    held: BytesMut,
    client_ended: bool,
    /// The client's end was passed on to this backend.
    up_shut: bool,
    /// Not yet taken by the client.
    down: BytesMut,
    /// Nothing will follow what is in `down`.
    down_ended: bool,
    down_shut: bool,
    stopping: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    fn new(client: TcpStream, stopping: CancellationToken) -> Self {
        Self {
            client,
            backend: None,
            tracker: Tracker::new(),
            up: BytesMut::new(),
            held: BytesMut::new(),
            client_ended: false,
            up_shut: false,
            down: BytesMut::new(),
            down_ended: false,
            down_shut: false,
            stopped: Box::pin(stopping.clone().cancelled_owned()),
            stopping,
            patience: None,
        }
    }

    fn attach(&mut self, backend: Backend) {
        self.backend = Some(backend);
        self.up_shut = false;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        // Only to be woken by it.
        let _ = self.stopped.as_mut().poll(cx);
        match self.drive(cx) {
            Ok(()) => self.poll_patience(cx).map(|()| Next::Close),
            Err(next) => Poll::Ready(next),
        }
    }

    /// Moves bytes until none can be moved.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Next> {
        loop {
            self.decide(cx)?;
            // Responses first: they make room, and a backend that closed is noticed before it is sent a request.
            let steps = [self.flush_down(cx)?, self.fill_down(cx)?, self.flush_up(cx)?, self.fill_up(cx)?];
            if steps == [Moved::No; 4] {
                return self.decide(cx);
            }
            self.patience = None;
        }
    }

    /// What follows from where the connection stands.
    fn decide(&mut self, cx: &mut Context<'_>) -> Result<(), Next> {
        let leaving = self.backend.as_mut().is_some_and(|backend| backend.poll_leaving(cx).is_ready());
        let standing = self.tracker.standing();
        let client_is_through = self.client_ended && self.held.is_empty();
        if self.down_ended {
            if self.backend.as_ref().is_some_and(|backend| backend.is_broken) {
                self.backend_gone();
            }
            let up_over = self.backend.is_none() || self.up_shut;
            let nothing_left = (client_is_through && up_over) || self.stopping.is_cancelled();
            return if self.down_shut && nothing_left { Err(Next::Close) } else { Ok(()) };
        }
        match standing {
            Standing::Between => {
                if leaving && self.up.is_empty() {
                    self.backend = None;
                }
                if self.down.is_empty() && (client_is_through || self.stopping.is_cancelled()) {
                    return Err(Next::Close);
                }
                if self.backend.is_none() && !self.held.is_empty() {
                    return Err(Next::Dial);
                }
            }
            Standing::Fresh => {
                if self.stopping.is_cancelled() {
                    return Err(Next::Close);
                }
                // Nobody has said anything: the backend is not missed, and another may be one that speaks first.
                if leaving && !self.client_ended {
                    self.backend = None;
                }
                if self.backend.is_none() {
                    return Err(Next::Dial);
                }
            }
            Standing::Busy { .. } | Standing::Last | Standing::Opaque => {
                if self.backend.is_none() {
                    return Err(Next::Dial);
                }
            }
        }
        Ok(())
    }

    fn flush_down(&mut self, cx: &mut Context<'_>) -> Step {
        let moved = stream::flush(&mut self.client, &mut self.down, cx).map_err(|_| Next::Close)?;
        let all_passed = self.down.is_empty() && self.down_ended;
        if all_passed && !self.down_shut && stream::shutdown(&mut self.client, cx).is_ready() {
            self.down_shut = true;
            return Ok(Moved::Yes);
        }
        Ok(moved)
    }

    fn fill_down(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(backend) = self.backend.as_mut().filter(|_| self.down.is_empty() && !self.down_ended) else {
            return Ok(Moved::No);
        };
        let (tracker, client, down) = (&mut self.tracker, &mut self.client, &mut self.down);
        let answer = read(&mut backend.stream, cx, |bytes, cx| {
            tracker.response(bytes);
            stream::write(client, bytes, down, cx)
        });
        match answer {
            Poll::Pending => Ok(Moved::No),
            Poll::Ready(Ok(Read::Bytes(written))) => {
                backend.answers();
                written.map_err(|_| Next::Close)?;
                Ok(Moved::Yes)
            }
            Poll::Ready(Ok(Read::End)) => self.backend_ended(Ok(())),
            Poll::Ready(Err(error)) => self.backend_ended(Err(error)),
        }
    }

    /// The backend closed or broke: hide it where nothing is lost by that, else pass it on.
    fn backend_ended(&mut self, how: io::Result<()>) -> Step {
        let replay = self.backend.as_ref().is_some_and(Backend::has_replay);
        match (self.tracker.standing(), how) {
            (Standing::Between, _) => {
                self.up.clear();
                self.backend = None;
            }
            (Standing::Busy { replayable: true }, _) if replay => {
                let kept = self.backend.take().and_then(Backend::into_replay).unwrap_or_default();
                self.up = BytesMut::from(kept.as_slice());
            }
            // A response that nothing but the connection's end delimits is whole only when that end is a proper one.
            (Standing::Fresh | Standing::Busy { .. } | Standing::Last | Standing::Opaque, Err(_)) => {
                return Err(Next::Abort);
            }
            (Standing::Busy { .. } | Standing::Last, Ok(())) => {
                self.backend_gone();
                self.down_ended = true;
            }
            // May be only half closed: the client may go on sending.
            (Standing::Fresh | Standing::Opaque, Ok(())) => self.down_ended = true,
        }
        Ok(Moved::Yes)
    }

    /// For good: what the client sends from here on is for nobody.
    fn backend_gone(&mut self) {
        self.backend = None;
        self.up.clear();
        self.held.clear();
    }

    fn flush_up(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(backend) = self.backend.as_mut().filter(|backend| !backend.is_broken) else { return Ok(Moved::No) };
        let Ok(moved) = stream::flush(&mut backend.stream, &mut self.up, cx) else {
            // Its end, or an answer it sent before, is read next.
            backend.is_broken = true;
            return Ok(Moved::Yes);
        };
        let all_passed = self.client_ended && self.up.is_empty() && self.held.is_empty();
        if all_passed && !self.up_shut && stream::shutdown(&mut backend.stream, cx).is_ready() {
            self.up_shut = true;
            return Ok(Moved::Yes);
        }
        Ok(moved)
    }

    fn fill_up(&mut self, cx: &mut Context<'_>) -> Step {
        if !self.held.is_empty() {
            return self.let_through(cx);
        }
        let has_room = self.up.is_empty() && !self.backend.as_ref().is_some_and(|backend| backend.is_broken);
        if self.client_ended || !has_room {
            return Ok(Moved::No);
        }
        let held = &mut self.held;
        match read(&mut self.client, cx, |bytes, _| held.extend_from_slice(bytes)) {
            Poll::Pending => Ok(Moved::No),
            Poll::Ready(Ok(Read::Bytes(()))) => {
                if self.down_ended && self.backend.is_none() {
                    // Too late to be of use to anybody; read so that closing does not cut off the response.
                    self.held.clear();
                    return Ok(Moved::Yes);
                }
                self.let_through(cx)?;
                Ok(Moved::Yes)
            }
            Poll::Ready(Ok(Read::End)) => {
                self.client_ended = true;
                Ok(Moved::Yes)
            }
            Poll::Ready(Err(_)) => Err(Next::Close),
        }
    }

    /// Gives the backend what it may have of the held bytes.
    fn let_through(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(backend) = self.backend.as_mut().filter(|backend| self.up.is_empty() && !backend.is_broken) else {
            return Ok(Moved::No);
        };
        let begins = match self.tracker.standing() {
            Standing::Between if backend.poll_leaving(cx).is_ready() => return Ok(Moved::No),
            Standing::Fresh | Standing::Between => true,
            Standing::Busy { .. } | Standing::Last | Standing::Opaque => false,
        };
        let passed = self.tracker.request(&self.held);
        if passed == 0 {
            return Ok(Moved::No);
        }
        if begins {
            backend.begin_request();
        }
        let bytes = self.held.split_to(passed);
        backend.sends(&bytes);
        if stream::write(&mut backend.stream, &bytes, &mut self.up, cx).is_err() {
            backend.is_broken = true;
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        Ok(Moved::Yes)
    }

    /// Ready when the client has been of no use for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = match (self.down_ended, &self.backend) {
            (true, _) => LINGER_MAX,
            (false, None) => PARKED_MAX,
            (false, Some(_)) => return Poll::Pending,
        };
        self.patience.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
    }
}
