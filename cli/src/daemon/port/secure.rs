//! One connection: its handshake, what it is worth, and what it is then handed to.

use std::{net::SocketAddr, time::Duration};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use muster_manager::{
    authorization::{self, Caller},
    ca::{Alpn, Presented},
    clock::{Clock, WallClock},
};
use rustls::pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{body::Body, transport::server::TcpConnectInfo};
use tower::Service;

use super::{
    Refused, Shared,
    connection::{Connection, Standing},
};

/// A connection that has not said who it is holds a place no longer than this.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Who has shown nothing that counts is here to join or to renew: a minute outlasts an election and a slow disk.
const STRANGER_MAX: Duration = Duration::from_secs(60);
/// A peer that stopped answering is noticed after one of these and its timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for connections that are passed on, where HTTP/2 asks nothing.
const TCP_KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const TCP_UNANSWERED_MAX: Duration = Duration::from_secs(8);
/// Calls at once on one connection. A manager passes on those of all its users over one.
const CALLS_MAX: u32 = 512;
/// And of a stranger: it has one thing to ask.
const CALLS_OF_STRANGERS_MAX: u32 = 4;
/// A call's metadata. Ours take a few hundred bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Answers to calls that the caller has given up, and calls that it gave up before they were looked at: beyond it the
/// connection ends, as it is a flood ("rapid reset").
const RESETS_MAX: usize = 64;
/// What the other end may send before it is read: over all calls of a connection, and in one of them.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

pub(super) async fn serve(shared: &Shared, stream: TcpStream, from: SocketAddr) -> Result<(), Refused> {
    let place = shared.lobby.enter(from.ip());
    let secured = tokio::select! {
        secured = timeout(HANDSHAKE_MAX, handshake(shared, stream)) => secured.map_err(|_elapsed| Refused::Slow)??,
        () = place.taken.cancelled() => return Err(Refused::Crowded),
        () = shared.shutdown.cancelled() => return Ok(()),
    };
    let session = secured.get_ref().1;
    let alpn = Alpn::of(session.alpn_protocol()).ok_or(Refused::Protocol)?;
    let now = WallClock.now();
    let keeper = &shared.options.keeper;
    let (roots, certificates) = (keeper.roots(), owned(session.peer_certificates()));
    let presented = keeper.presented(Some(&certificates), now);
    // First the seat, then what this host knows of the node: whoever changes that later finds the connection.
    let (standing, life) = match presented {
        Presented::Certificate(identity) => {
            // A client on its way to a published port may end what it began, whatever becomes of the root.
            let kept = match alpn {
                Alpn::Grpc => &*certificates,
                Alpn::Relay => &[],
            };
            let seat = shared.connections.enter(identity.node_id, kept, &*shared.options.roll);
            let left = identity.expires_at.since(now);
            // A certificate is good for its time, also on a connection that outlasts it: the next has the newer one.
            let life = if left.is_zero() { STRANGER_MAX } else { left };
            (Standing::Member(seat.ok_or(Refused::TooMany(identity.node_id))?), life)
        }
        Presented::Nothing | Presented::Worthless(_) => (Standing::Stranger(place), STRANGER_MAX),
    };
    // As above: whoever exchanged them before the seat was taken did not find the connection.
    if keeper.roots() != roots {
        return Err(Refused::Roots);
    }
    drop(certificates);
    let caller = Caller::of(presented, now, &*shared.options.roll);
    let connection = Connection::new(secured, standing, life);
    match alpn {
        Alpn::Grpc => calls(shared, presented, from, connection).await,
        Alpn::Relay => {
            authorization::decide(authorization::RELAY, caller).map_err(Refused::Relay)?;
            if let Presented::Certificate(identity) = presented {
                (shared.options.relay)(identity.node_id, Box::new(connection));
            }
        }
    }
    Ok(())
}

/// For as long as the connection lasts: whoever gives a root up asks about them again.
fn owned(certificates: Option<&[CertificateDer<'_>]>) -> Vec<CertificateDer<'static>> {
    certificates.unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect()
}

async fn handshake(shared: &Shared, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refused> {
    // A heartbeat must not wait for the acknowledgement of the message before.
    stream.set_nodelay(true).map_err(Refused::Handshake)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE_AFTER).with_interval(TCP_KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(3)).map_err(Refused::Handshake)?;
    socket.set_tcp_user_timeout(Some(TCP_UNANSWERED_MAX)).map_err(Refused::Handshake)?;
    TlsAcceptor::from(shared.options.keeper.server_config()).accept(stream).await.map_err(Refused::Handshake)
}

/// Until the other end goes, the connection is cut, or the port stops and the open calls have ended.
async fn calls(shared: &Shared, presented: Presented, from: SocketAddr, connection: Connection) {
    let authorized = shared.authorized.clone();
    let address = TcpConnectInfo { local_addr: None, remote_addr: Some(from) };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(presented);
        // Where `tonic::Request::remote_addr` looks for it.
        request.extensions_mut().insert(address.clone());
        authorized.clone().call(request)
    });
    let at_once = match presented {
        Presented::Certificate(_) => CALLS_MAX,
        Presented::Nothing | Presented::Worthless(_) => CALLS_OF_STRANGERS_MAX,
    };
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(at_once)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .serve_connection(TokioIo::new(connection), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = shared.shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection broke off: {error}");
    }
}
