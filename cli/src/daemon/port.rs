//! The one port where other nodes reach this one. What a connection is for is agreed on in its TLS handshake: calls to the
//! manager's services, or the bytes of one client of an ingress on their way to a task here.

pub(super) mod probe;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use muster_manager::{
    authorization::{self, Caller, Guard},
    ca::{Alpn, Keeper, Presented},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};

use super::gate::Gate;

/// A connection that has not said who it is holds a place no longer than this.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
const CONNECTIONS_MAX: usize = 4_096;
/// A peer that stopped answering is noticed after one of these and its timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAMS_MAX: u32 = 256;
/// How long open calls may take to end when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) keeper: Keeper,
    pub(super) gate: Gate,
    pub(super) agent: muster_agent::Handle,
}

#[derive(Debug)]
pub(super) struct Port {
    options: Options,
    listener: TcpListener,
}

pub(super) fn bind(options: Options, listener: TcpListener) -> Port {
    Port { options, listener }
}

impl Port {
    pub(super) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { options, listener } = self;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, from)) => {
                        connections.spawn(serve(options.clone(), stream, from, shutdown.child_token()));
                    }
                    Err(error) => {
                        // Out of descriptors, or a connection that was gone at once: neither is cured by a spin.
                        tracing::warn!("cannot take a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, drained).await.is_err() {
            connections.shutdown().await;
        }
        Ok(())
    }
}

async fn serve(options: Options, stream: TcpStream, from: SocketAddr, shutdown: CancellationToken) {
    if let Err(error) = connection(options, stream, shutdown).await {
        tracing::debug!(%from, "a connection ended: {error:#}");
    }
}

async fn connection(options: Options, stream: TcpStream, shutdown: CancellationToken) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(options.keeper.server_config());
    let secured = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await.context("the handshake took too long")??;
    let presented = options.keeper.presented(secured.get_ref().1.peer_certificates(), super::now());
    match Alpn::of(secured.get_ref().1.alpn_protocol()) {
        Some(Alpn::Grpc) => calls(options.gate, presented, secured, shutdown).await,
        Some(Alpn::Relay) => {
            let caller = Caller::of(presented, super::now(), &options.gate);
            authorization::decide(authorization::RELAY, caller)?;
            let Presented::Certificate(peer) = presented else { return Ok(()) };
            options.agent.accept_relay(peer.node_id, Box::new(secured));
            Ok(())
        }
        None => Ok(()),
    }
}

async fn calls(
    gate: Gate,
    presented: Presented,
    stream: TlsStream<TcpStream>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let guarded = Guard::at_port(Arc::new(gate.clone())).layer(gate);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(tonic::body::Body::new);
        request.extensions_mut().insert(presented);
        let mut guarded = guarded.clone();
        async move { guarded.call(request).await as Result<_, Infallible> }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return Ok(ended?),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}
