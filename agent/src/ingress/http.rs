//! Follows the messages of one HTTP/1 connection, to know when it is between two requests: only then may its backend
//! change. Pure; the relay shows it all bytes of both directions and asks where the connection stands.
//!
//! It changes no byte and delays none within a message. A second request is let through only once the first is
//! answered, so that at most one is ever in flight. Whatever it does not understand makes the connection
//! [`Standing::Opaque`], for good: then all bytes pass and the backend stays.

mod chunked;
mod head;

use chunked::{Advance, Chunked};
use head::{Collector, Framing, Method, Persistence, RequestHead};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No byte has passed yet: any backend will do, whatever the protocol.
    Fresh,
    /// The last request is answered in full and the next has not begun.
    Between,
    /// A request is on its way in or its response on its way out. `replayable`: sending the request again from its
    /// first byte to another backend does no harm.
    Busy { replayable: bool },
    /// The response ends with its connection.
    Last,
    /// Not HTTP/1, or not any more.
    Opaque,
}

#[derive(Debug)]
pub(super) struct Tracker {
    mode: Mode,
    request: Part<RequestHead>,
    response: Part<()>,
    /// Exchanges that are over.
    exchanges: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Http,
    Last,
    Opaque,
}

/// How far one message is. `H` is what is remembered of its head.
#[derive(Debug)]
enum Part<H> {
    Awaited,
    Head(Collector),
    Body(H, Body),
    Done(H),
}

#[derive(Debug)]
enum Body {
    Length(u64),
    Chunked(Chunked),
}

impl Body {
    fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::Length(0) | Framing::Unsaid => None,
            Framing::Length(length) => Some(Self::Length(length)),
            Framing::Chunked => Some(Self::Chunked(Chunked::new())),
        }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, chunked::Malformed> {
        match self {
            Self::Chunked(chunked) => chunked.advance(bytes),
            Self::Length(left) => match usize::try_from(*left) {
                Ok(whole) if whole <= bytes.len() => Ok(Advance::Ended(whole)),
                Ok(_) | Err(_) => {
                    *left -= bytes.len() as u64;
                    Ok(Advance::All)
                }
            },
        }
    }
}

impl<H> Part<H> {
    fn after_head(head: H, body: Option<Body>) -> Self {
        match body {
            Some(body) => Self::Body(head, body),
            None => Self::Done(head),
        }
    }
}

impl Tracker {
    pub(super) fn new() -> Self {
        Self { mode: Mode::Http, request: Part::Awaited, response: Part::Awaited, exchanges: 0 }
    }

    pub(super) fn standing(&self) -> Standing {
        match (self.mode, &self.request, &self.response) {
            (Mode::Opaque, ..) => Standing::Opaque,
            (Mode::Last, ..) => Standing::Last,
            (Mode::Http, Part::Awaited, Part::Awaited) if self.exchanges == 0 => Standing::Fresh,
            (Mode::Http, Part::Awaited, Part::Awaited) => Standing::Between,
            // Half a head is no request yet: nothing was done with it.
            (Mode::Http, Part::Head(_), Part::Awaited) => Standing::Busy { replayable: true },
            (Mode::Http, Part::Body(head, _) | Part::Done(head), Part::Awaited) => {
                Standing::Busy { replayable: matches!(head.method, Method::Idempotent | Method::Head) }
            }
            (Mode::Http, _, Part::Head(_) | Part::Body(..) | Part::Done(())) => Standing::Busy { replayable: false },
        }
    }

    /// How many of the client's bytes may go to the backend now; the rest waits until the response is through.
    pub(super) fn request(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && self.mode == Mode::Http {
            let rest = &bytes[passed..];
            match &mut self.request {
                Part::Awaited => match rest[0] {
                    // Some clients end a body with a line too many.
                    b'\r' | b'\n' if self.exchanges > 0 => passed += 1,
                    first if is_token(first) => self.request = Part::Head(Collector::default()),
                    _ => self.mode = Mode::Opaque,
                },
                Part::Head(head) => match head.take(rest) {
                    Ok(None) => return bytes.len(),
                    Ok(Some(taken)) => {
                        passed += taken;
                        match head.request() {
                            Ok(head) => self.request = Part::after_head(head, Body::new(head.framing)),
                            Err(head::NotUnderstood) => self.mode = Mode::Opaque,
                        }
                    }
                    Err(head::NotUnderstood) => self.mode = Mode::Opaque,
                },
                Part::Body(head, body) => match body.advance(rest) {
                    Ok(Advance::All) => return bytes.len(),
                    Ok(Advance::Ended(taken)) => {
                        passed += taken;
                        self.request = Part::Done(*head);
                    }
                    Err(chunked::Malformed) => self.mode = Mode::Opaque,
                },
                Part::Done(_) => {
                    self.end_exchange();
                    if matches!(self.request, Part::Done(_)) {
                        return passed;
                    }
                }
            }
        }
        self.end_exchange();
        match self.mode {
            Mode::Http => passed,
            Mode::Last | Mode::Opaque => bytes.len(),
        }
    }

    /// All of the backend's bytes go to the client.
    pub(super) fn response(&mut self, bytes: &[u8]) {
        let mut passed = 0;
        while passed < bytes.len() && self.mode == Mode::Http {
            let rest = &bytes[passed..];
            match &mut self.response {
                Part::Awaited => {
                    // A backend that speaks unasked, or before it can know what is asked, is followed no further.
                    self.response = Part::Head(Collector::default());
                    if matches!(self.request, Part::Awaited | Part::Head(_)) {
                        self.mode = Mode::Opaque;
                    }
                }
                Part::Head(head) => match head.take(rest) {
                    Ok(None) => return,
                    Ok(Some(taken)) => {
                        passed += taken;
                        self.response_head();
                    }
                    Err(head::NotUnderstood) => self.mode = Mode::Opaque,
                },
                Part::Body((), body) => match body.advance(rest) {
                    Ok(Advance::All) => return,
                    Ok(Advance::Ended(taken)) => {
                        passed += taken;
                        self.response = Part::Done(());
                    }
                    Err(chunked::Malformed) => self.mode = Mode::Opaque,
                },
                // More than was asked for.
                Part::Done(()) => self.mode = Mode::Opaque,
            }
        }
        self.end_exchange();
    }

    fn response_head(&mut self) {
        let (Part::Head(collected), Part::Body(request, _) | Part::Done(request)) = (&self.response, &self.request)
        else {
            self.mode = Mode::Opaque;
            return;
        };
        let Ok(head) = collected.response() else {
            self.mode = Mode::Opaque;
            return;
        };
        let success = (200..300).contains(&head.status);
        if head.status == 101 || (request.method == Method::Connect && success) {
            self.mode = Mode::Opaque;
            return;
        }
        if head.status < 200 {
            // 100 Continue and the like: the answer proper is still to come.
            self.response = Part::Head(Collector::default());
            return;
        }
        let bodiless = request.method == Method::Head || matches!(head.status, 204 | 304);
        if !bodiless && head.framing == Framing::Unsaid {
            self.mode = Mode::Last;
            return;
        }
        if head.persistence == Persistence::Close
            && let Part::Body(request, _) | Part::Done(request) = &mut self.request
        {
            request.persistence = Persistence::Close;
        }
        let body = if bodiless { None } else { Body::new(head.framing) };
        self.response = Part::after_head((), body);
    }

    /// Both messages whole: the next request may come, or nothing more will.
    fn end_exchange(&mut self) {
        if self.mode != Mode::Http {
            return;
        }
        if let (Part::Done(request), Part::Done(())) = (&self.request, &self.response) {
            match request.persistence {
                Persistence::KeepAlive => {
                    self.exchanges += 1;
                    self.request = Part::Awaited;
                    self.response = Part::Awaited;
                }
                Persistence::Close => self.mode = Mode::Last,
            }
        }
    }
}

/// May begin a method name. TLS, and most binary protocols, begin otherwise.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
