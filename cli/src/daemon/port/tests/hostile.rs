//! Peers that mean harm, or are something else: each comes to nothing, and whoever means well is served meanwhile.

use std::convert::Infallible;

use futures_util::future::join_all;
use muster_manager::{
    ca::{Authority, PeerIdentity},
    clock::{Clock, WallClock},
};
use muster_proto::node::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use tonic::{Code, body::Body};

use super::{
    super::Inner,
    site::{CLUSTER, MANAGER, SESSION, Site, WORKER, call, hold, send, soon},
};

/// As many as one address may have without a certificate, in the lobby.
const PLACES: usize = 64;

async fn connect(site: &Site) -> TcpStream {
    soon("connecting", TcpStream::connect(site.address)).await.expect("accepted")
}

/// Closed by the other end, or reset.
async fn ends(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    // What may come is an alert of TLS.
    let read = soon("the end", stream.read_to_end(&mut answer)).await;
    assert!(read.is_err() || answer.len() < 64, "{answer:?}");
}

#[tokio::test]
async fn bytes_that_are_no_handshake_end_the_connection() {
    let site = Site::start().await;
    let random: Vec<u8> = (0..100_000).map(|_| rand::random()).collect();
    let begun = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0xff; 600]].concat();
    let http = b"GET / HTTP/1.1\r\nHost: muster\r\n\r\n".to_vec();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for bytes in [random, begun, http, http2, vec![0; 70_000]] {
        let mut stream = connect(&site).await;
        // It may be closed before all is taken.
        drop(stream.write_all(&bytes).await);
        ends(&mut stream).await;
    }
    site.still_serves().await;
    site.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_given_up() {
    let site = Site::start().await;
    let mut stream = connect(&site).await;
    stream.write_all(&[0x16, 3, 1]).await.expect("taken");
    let mut silent = connect(&site).await;
    ends(&mut stream).await;
    ends(&mut silent).await;
    site.still_serves().await;
    site.stop().await;
}

#[tokio::test]
async fn a_thousand_that_say_nothing_keep_nobody_out() {
    let site = Site::start().await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(connect(&site).await);
    }
    site.still_serves().await;
    let joining = site.nobody().await;
    assert_eq!(call(&joining, "muster.v1.Membership/Join").await.code(), Code::Ok);
    // All but a few have lost their places to later ones, long before a handshake's time is over.
    let early = silent.len() - PLACES;
    soon("their end", join_all(silent[..early].iter_mut().map(ends))).await;
    site.stop().await;
}

#[tokio::test]
async fn strangers_that_stay_lose_their_places_to_others() {
    let site = Site::start().await;
    let first = site.nobody().await;
    let (held, ()) = tokio::join!(hold_as_stranger(&first), async {
        for _ in 0..2 * PLACES {
            let next = site.nobody().await;
            assert_eq!(call(&next, "muster.v1.Membership/Join").await.code(), Code::Ok);
            // It stays connected.
            std::mem::forget(next);
        }
    });
    assert_eq!(held.code(), Code::Unavailable, "{held}");
    site.still_serves().await;
    site.stop().await;
}

async fn hold_as_stranger(channel: &tonic::transport::Channel) -> tonic::Status {
    send(channel, "muster.v1.Membership/Join", &[("hold", "yes")]).await
}

#[tokio::test]
async fn metadata_without_end_reaches_nothing() {
    let site = Site::start().await;
    let worker = site.channel(&site.keeper(WORKER, Role::Worker));
    let value = "x".repeat(1 << 10);
    let names: Vec<String> = (0..64).map(|number| format!("name-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    let refused = send(&worker, SESSION, &headers).await;
    assert_ne!(refused.code(), Code::Ok, "{refused}");
    site.still_serves().await;
    site.stop().await;
}

/// Each is a stream that a manager holds.
#[tokio::test]
async fn a_worker_has_few_calls_at_once() {
    let arrived = watch::Sender::new((0_usize, 0_usize));
    let counted = arrived.clone();
    let services = Inner::new(tower::service_fn(move |request: http::Request<Body>| {
        let by = request.extensions().get::<PeerIdentity>().map(|peer| peer.role);
        counted.send_modify(|(workers, managers)| match by {
            Some(Role::Worker) => *workers += 1,
            Some(Role::Manager) => *managers += 1,
            None => {}
        });
        std::future::pending::<Result<http::Response<Body>, Infallible>>()
    }));
    let site = Site::start_with(Authority::create(CLUSTER, WallClock.now()).expect("a CA"), services).await;
    let held = |node, role| {
        let channel = site.channel(&site.keeper(node, role));
        async move { join_all((0..64).map(|_| call(&channel, SESSION))).await }
    };
    let mut seen = arrived.subscribe();
    let counts = async {
        soon("a worker's calls", seen.wait_for(|(workers, _)| *workers >= 16)).await.expect("counted");
        // A manager's come after them, and all of them.
        tokio::select! {
            _answered = held(MANAGER, Role::Manager) => panic!("nothing is answered"),
            all = soon("a manager's calls", seen.wait_for(|(_, managers)| *managers == 64)) => *all.expect("counted"),
        }
    };
    tokio::select! {
        _answered = held(WORKER, Role::Worker) => panic!("nothing is answered"),
        counts = counts => assert_eq!(counts, (16, 64)),
    }
    site.stop().await;
}

#[tokio::test]
async fn calls_that_are_given_up_at_once_keep_nobody_out() {
    let site = Site::start().await;
    let worker = site.channel(&site.keeper(WORKER, Role::Worker));
    for _ in 0..2_000 {
        tokio::select! {
            biased;
            held = hold(&worker) => assert_ne!(held.code(), Code::Ok),
            () = tokio::task::yield_now() => {}
        }
    }
    site.still_serves().await;
    site.stop().await;
}

#[tokio::test]
async fn a_call_that_does_not_end_does_not_hold_up_the_stop() {
    let site = Site::start().await;
    let worker = site.channel(&site.keeper(WORKER, Role::Worker));
    assert_eq!(call(&worker, SESSION).await.code(), Code::Ok);
    let (held, ()) = tokio::join!(hold(&worker), async { site.stop().await });
    assert_ne!(held.code(), Code::Ok, "{held}");
}
