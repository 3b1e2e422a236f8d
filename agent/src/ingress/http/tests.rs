//! Message boundaries, whatever way the bytes are cut, and the heads that end the following of a connection.

use proptest::prelude::*;

use super::*;

const BUSY: Standing = Standing::Busy { replayable: false };
const REPLAYABLE: Standing = Standing::Busy { replayable: true };

fn exchange(request: &str, response: &str) -> Standing {
    let mut tracker = Tracker::new();
    assert_eq!(tracker.request(request.as_bytes()), request.len());
    tracker.response(response.as_bytes());
    tracker.standing()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_full_answer_ends_the_exchange_and_half_of_one_does_not() {
    assert_eq!(exchange(GET, OK), Standing::Between);
    assert_eq!(exchange(GET, &OK[..OK.len() - 1]), BUSY);
    assert_eq!(exchange(GET, ""), REPLAYABLE);
    assert_eq!(exchange("GET / HT", ""), REPLAYABLE);
    assert_eq!(exchange("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", ""), BUSY);
    assert_eq!(exchange("", ""), Standing::Fresh);
}

#[test]
fn answers_without_a_body_are_known() {
    assert_eq!(exchange("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), Standing::Between);
    assert_eq!(exchange(GET, "HTTP/1.1 204 No Content\r\n\r\n"), Standing::Between);
    assert_eq!(exchange(GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"), Standing::Between);
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    let expect = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut tracker = Tracker::new();
    assert_eq!(tracker.request(expect.as_bytes()), expect.len());
    tracker.response(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(tracker.standing(), BUSY);
    assert_eq!(tracker.request(b"ab"), 2);
    tracker.response(OK.as_bytes());
    assert_eq!(tracker.standing(), Standing::Between);
}

#[test]
fn an_early_answer_waits_for_the_rest_of_its_request() {
    let mut tracker = Tracker::new();
    tracker.request(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab");
    tracker.response(OK.as_bytes());
    assert_eq!(tracker.standing(), BUSY);
    assert_eq!(tracker.request(b"cdGET"), 5, "the exchange ends with the body, and the next request begins");
    assert_eq!(tracker.standing(), REPLAYABLE);
}

#[test]
fn a_pipelined_request_is_held_back_until_the_first_is_answered() {
    let mut tracker = Tracker::new();
    let both = format!("{GET}{GET}");
    assert_eq!(tracker.request(both.as_bytes()), GET.len());
    assert_eq!(tracker.request(GET.as_bytes()), 0);
    tracker.response(OK.as_bytes());
    assert_eq!(tracker.request(GET.as_bytes()), GET.len());
}

#[test]
fn a_connection_that_is_to_close_is_on_its_last_exchange() {
    assert_eq!(exchange("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", OK), Standing::Last);
    assert_eq!(exchange("GET / HTTP/1.0\r\n\r\n", OK), Standing::Last);
    assert_eq!(exchange(GET, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), Standing::Last);
    assert_eq!(exchange(GET, "HTTP/1.1 200 OK\r\n\r\nuntil the end"), Standing::Last);
    assert_eq!(
        exchange(GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
        Standing::Between
    );
}

#[test]
fn what_is_not_http_passes_untouched() {
    let mut upgrade = Tracker::new();
    upgrade.request(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    upgrade.response(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi");
    assert_eq!(upgrade.standing(), Standing::Opaque);
    assert_eq!(upgrade.request(b"GET / HTTP/1.1\r\n\r\n\x00\x01"), 20);
    assert_eq!(exchange("CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"), Standing::Opaque);
    assert_eq!(exchange("\x16\x03\x01", ""), Standing::Opaque);
    assert_eq!(exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""), Standing::Opaque);
    assert_eq!(exchange("", "220 mail.example\r\n"), Standing::Opaque);
    assert_eq!(exchange("HELO\r\n", "250 ok\r\n"), Standing::Opaque);
    assert_eq!(exchange(GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"), Standing::Opaque);
}

#[test]
fn a_stray_line_end_after_a_body_begins_no_request() {
    let mut tracker = Tracker::new();
    tracker.request(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na");
    tracker.response(OK.as_bytes());
    assert_eq!(tracker.request(b"\r\n"), 2);
    assert_eq!(tracker.standing(), Standing::Between);
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..200)
}

/// Framed by its length or in chunks of `chunk` bytes.
fn framed(start: &str, body: &[u8], chunk: Option<usize>) -> Vec<u8> {
    let Some(chunk) = chunk else {
        return [format!("{start}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    };
    let mut out = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.chunks(chunk) {
        out.extend(format!("{:x};n=1\r\n", piece.len()).bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\nT: x\r\n\r\n");
    out
}

fn message(start: &'static str) -> impl Strategy<Value = Vec<u8>> {
    (body(), proptest::option::of(1..50usize)).prop_map(move |(body, chunk)| framed(start, &body, chunk))
}

/// Sizes to cut a stream into, used round and round.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..40usize, 1..10)
}

fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    cuts.iter().cycle().map_while(move |&cut| {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    /// However the bytes come, each request ends where it ends, and so does each response.
    #[test]
    fn boundaries_do_not_depend_on_how_the_stream_is_cut(
        exchanges in proptest::collection::vec(
            (message("POST /x HTTP/1.1\r\nHost: a\r\n"), message("HTTP/1.1 200 OK\r\n")), 1..5),
        cuts in cuts(),
    ) {
        let requests: Vec<u8> = exchanges.iter().flat_map(|(request, _)| request.clone()).collect();
        let mut tracker = Tracker::new();
        let mut sent = 0;
        for (request, response) in &exchanges {
            let begin = sent;
            for piece in pieces(&requests[begin..], &cuts) {
                let passed = tracker.request(piece);
                sent += passed;
                if passed < piece.len() {
                    break;
                }
            }
            prop_assert_eq!(sent - begin, request.len());
            let last = response.len() - 1;
            for piece in pieces(&response[..last], &cuts) {
                tracker.response(piece);
                prop_assert_eq!(tracker.standing(), BUSY);
            }
            tracker.response(&response[last..]);
            prop_assert_eq!(tracker.standing(), Standing::Between);
        }
    }

    /// Never a panic, never a byte lost or made up.
    #[test]
    fn any_bytes_at_all_are_survived(
        steps in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..30),
    ) {
        let mut tracker = Tracker::new();
        for (from_client, bytes) in steps {
            if from_client {
                prop_assert!(tracker.request(&bytes) <= bytes.len());
            } else {
                tracker.response(&bytes);
            }
        }
    }
}
