//! Message heads: where one ends, and what it says of the body that follows. Everything not plainly said is "not
//! understood", and the connection is then passed through untouched.

use httparse::{EMPTY_HEADER, Header, Status};

/// A head larger than this is not followed. Servers stop at 8 to 64 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Header fields in a head.
const FIELDS_MAX: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// Neither was given.
    Unsaid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    KeepAlive,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    /// Safe to send twice.
    Idempotent,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUnderstood;

/// Collects a head from pieces until its empty line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Collector {
    bytes: Vec<u8>,
    line_is_empty: bool,
}

impl Collector {
    /// Takes what of `bytes` belongs to the head. The length taken, once the head is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, NotUnderstood> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.line_is_empty => {
                    self.bytes.extend_from_slice(&bytes[..=at]);
                    return self.checked().map(|()| Some(at + 1));
                }
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        self.bytes.extend_from_slice(bytes);
        self.checked().map(|()| None)
    }

    fn checked(&self) -> Result<(), NotUnderstood> {
        if self.bytes.len() > HEAD_BYTES_MAX { Err(NotUnderstood) } else { Ok(()) }
    }

    pub(super) fn request(&self) -> Result<RequestHead, NotUnderstood> {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(&self.bytes) {
            Ok(Status::Complete(length)) if length == self.bytes.len() => {}
            Ok(_) | Err(_) => return Err(NotUnderstood),
        }
        let method = match parsed.method.ok_or(NotUnderstood)? {
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            "GET" | "OPTIONS" | "PUT" | "DELETE" | "TRACE" => Method::Idempotent,
            _ => Method::Other,
        };
        let version = parsed.version.ok_or(NotUnderstood)?;
        let framing = match framing(parsed.headers, version)? {
            Said::Plainly(framing) => framing,
            // A request cannot end with its connection.
            Said::OtherCoding => return Err(NotUnderstood),
        };
        Ok(RequestHead { method, framing, persistence: persistence(parsed.headers, version) })
    }

    pub(super) fn response(&self) -> Result<ResponseHead, NotUnderstood> {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(&self.bytes) {
            Ok(Status::Complete(length)) if length == self.bytes.len() => {}
            Ok(_) | Err(_) => return Err(NotUnderstood),
        }
        let version = parsed.version.ok_or(NotUnderstood)?;
        let framing = match framing(parsed.headers, version)? {
            Said::Plainly(framing) => framing,
            Said::OtherCoding => Framing::Unsaid,
        };
        let status = parsed.code.ok_or(NotUnderstood)?;
        Ok(ResponseHead { status, framing, persistence: persistence(parsed.headers, version) })
    }
}

enum Said {
    Plainly(Framing),
    /// A transfer coding that does not end with chunked.
    OtherCoding,
}

fn values<'a>(fields: &'a [Header<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn tokens<'a>(fields: &'a [Header<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    values(fields, name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn framing(fields: &[Header<'_>], version: u8) -> Result<Said, NotUnderstood> {
    let last_coding = tokens(fields, "transfer-encoding").last();
    let mut lengths = values(fields, "content-length");
    let length = lengths.next();
    match (last_coding, length) {
        (None, None) => Ok(Said::Plainly(Framing::Unsaid)),
        (None, Some(first)) => {
            if lengths.any(|other| other != first) {
                return Err(NotUnderstood);
            }
            number(first).map(|length| Said::Plainly(Framing::Length(length)))
        }
        // Both at once is how requests are smuggled; HTTP/1.0 has no codings.
        (Some(_), Some(_)) => Err(NotUnderstood),
        (Some(_), None) if version == 0 => Err(NotUnderstood),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Said::Plainly(Framing::Chunked)),
        (Some(_), None) => Ok(Said::OtherCoding),
    }
}

fn number(text: &[u8]) -> Result<u64, NotUnderstood> {
    let text = text.trim_ascii();
    // `parse` would take a sign.
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(NotUnderstood);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NotUnderstood)
}

fn persistence(fields: &[Header<'_>], version: u8) -> Persistence {
    let says = |token: &[u8]| tokens(fields, "connection").any(|said| said.eq_ignore_ascii_case(token));
    let stays = if version == 0 { says(b"keep-alive") && !says(b"close") } else { !says(b"close") };
    if stays { Persistence::KeepAlive } else { Persistence::Close }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<RequestHead, NotUnderstood> {
        let mut head = Collector::default();
        assert_eq!(head.take(text.as_bytes()), Ok(Some(text.len())));
        head.request()
    }

    #[test]
    fn reads_what_matters() {
        let head = request("POST / HTTP/1.1\r\nContent-Length: 7\r\nConnection: close\r\n\r\n").expect("understood");
        assert_eq!(head.method, Method::Other);
        assert_eq!(head.framing, Framing::Length(7));
        assert_eq!(head.persistence, Persistence::Close);
        let head = request("GET / HTTP/1.0\n\n").expect("bare line feeds are understood");
        assert_eq!((head.framing, head.persistence), (Framing::Unsaid, Persistence::Close));
    }

    #[test]
    fn refuses_to_guess_where_a_body_ends() {
        for fields in [
            "Content-Length: 7\r\nTransfer-Encoding: chunked",
            "Content-Length: 7\r\nContent-Length: 8",
            "Content-Length: +7",
            "Content-Length: ",
            "Transfer-Encoding: gzip",
        ] {
            assert_eq!(request(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")), Err(NotUnderstood), "{fields}");
        }
    }
}
