//! Members' connections: those that are passed on, and how they end when the node is no member any more.

use std::time::Duration;

use muster_agent::dial::Dial as _;
use muster_manager::{
    authorization::Standing,
    ca::{Authority, Credentials, Keeper, NODE_VALIDITY, Part},
    clock::{Clock, WallClock},
};
use muster_proto::node::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use super::site::{CLUSTER, DEMOTED, MANAGER, MYSELF, NEW, REMOVED, SESSION, Site, WORKER, call, hold, issue, soon};
use crate::daemon::dial::Secured;

#[tokio::test]
async fn a_connection_that_an_agent_passes_on_arrives_with_its_bytes_and_its_node() {
    let site = Site::start().await;
    for (node, role) in [(WORKER, Role::Worker), (MANAGER, Role::Manager), (NEW, Role::Worker)] {
        let keeper = site.keeper(node, role);
        let mut here = site.relay(&keeper).await;
        here.write_all(b"ping").await.expect("sends");
        here.shutdown().await.expect("ends its half");
        let (from, mut there) = soon("arriving", async { site.relayed.lock().await.recv().await }).await.expect("one");
        assert_eq!(from, node);
        let mut heard = String::new();
        soon("the bytes", there.read_to_string(&mut heard)).await.expect("read");
        assert_eq!(heard, "ping");
        there.write_all(b"pong").await.expect("sends");
        there.shutdown().await.expect("ends its half");
        heard.clear();
        soon("the answer", here.read_to_string(&mut heard)).await.expect("read");
        assert_eq!(heard, "pong");
    }
    site.stop().await;
}

#[tokio::test]
async fn nobody_else_has_a_connection_passed_on() {
    let site = Site::start().await;
    let strangers = [site.foreign(), site.expired(WORKER).await, site.keeper(REMOVED, Role::Worker)];
    for keeper in strangers {
        let mut stream = site.relay(&keeper).await;
        let ended = soon("the end", stream.read_to_end(&mut Vec::new())).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{keeper:?}: {ended:?}");
        assert!(site.relayed.lock().await.try_recv().is_err());
    }
    site.stop().await;
}

#[tokio::test]
async fn a_removed_node_is_cut_off_at_once_and_told_so_when_it_comes_back() {
    let site = Site::start().await;
    let keeper = site.keeper(WORKER, Role::Worker);
    let channel = site.channel(&keeper);
    assert_eq!(call(&channel, SESSION).await.code(), Code::Ok);
    let mut relayed = site.relay(&keeper).await;
    let (_, mut there) = soon("arriving", async { site.relayed.lock().await.recv().await }).await.expect("one");

    let (held, ()) = tokio::join!(hold(&channel), async {
        site.book.write(WORKER, Standing::Removed);
        soon("the end there", there.read_u8()).await.expect_err("cut");
        drop(there);
        soon("the end here", relayed.read_u8()).await.expect_err("cut");
    });
    assert_ne!(held.code(), Code::Ok, "{held}");

    let refused = call(&channel, SESSION).await;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("was removed from this cluster; run `muster leave --force` there"), "{refused}");
    site.stop().await;
}

#[tokio::test]
async fn a_demoted_manager_is_cut_off_and_may_do_what_a_worker_may() {
    let site = Site::start().await;
    let channel = site.channel(&site.keeper(MANAGER, Role::Manager));
    assert_eq!(call(&channel, "muster.v1.Control/ListNodes").await.code(), Code::Ok);
    let (held, ()) = tokio::join!(hold(&channel), async {
        site.book.write(MANAGER, Standing::Member(Role::Worker));
    });
    assert_ne!(held.code(), Code::Ok, "{held}");
    assert_eq!(call(&channel, "muster.v1.Control/ListNodes").await.code(), Code::PermissionDenied);
    assert_eq!(call(&channel, "muster.v1.Membership/Renew").await.code(), Code::Ok);
    site.stop().await;
}

/// The bytes are a client's, and the role of the node that passes them on is nothing to it.
#[tokio::test]
async fn a_demoted_managers_clients_are_served_on() {
    let site = Site::start().await;
    let keeper = site.keeper(MANAGER, Role::Manager);
    let channel = site.channel(&keeper);
    assert_eq!(call(&channel, SESSION).await.code(), Code::Ok);
    let mut here = site.relay(&keeper).await;
    let (_, mut there) = soon("arriving", async { site.relayed.lock().await.recv().await }).await.expect("one");
    let (held, ()) = tokio::join!(hold(&channel), async {
        site.book.write(MANAGER, Standing::Member(Role::Worker));
    });
    assert_ne!(held.code(), Code::Ok, "calls were cut off: {held}");
    there.write_all(b"still here").await.expect("sends");
    there.shutdown().await.expect("ends its half");
    let mut heard = String::new();
    soon("the bytes", here.read_to_string(&mut heard)).await.expect("read");
    assert_eq!(heard, "still here");
    site.stop().await;
}

/// A client that pauses for longer than a host may be silent.
const PAUSE: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_client_may_take_its_time_to_read() {
    let site = Site::start().await;
    let keeper = site.keeper(WORKER, Role::Worker);
    let dialled = Secured::new(keeper).node(MYSELF, &site.address.to_string());
    let mut here = soon("dialling", dialled).await.expect("is secured");
    let (_, mut there) = soon("arriving", async { site.relayed.lock().await.recv().await }).await.expect("one");
    let body: Vec<u8> = (0..=250).cycle().take(64 << 20).collect();
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        there.write_all(&sent).await?;
        there.shutdown().await
    });
    // What is looked at is what becomes of bytes that wait: the pause is not waited for, it is what happens.
    tokio::time::sleep(PAUSE).await;
    let mut heard = Vec::new();
    soon("the body", here.read_to_end(&mut heard)).await.expect("whole");
    assert!(heard == body);
    sending.await.expect("no panic").expect("sent");
    site.stop().await;
}

#[tokio::test]
async fn who_is_behind_does_not_cut_off_a_manager_that_it_has_not_heard_of() {
    let site = Site::start().await;
    let channel = site.channel(&site.keeper(DEMOTED, Role::Manager));
    let (first, ()) = tokio::join!(hold_until(&channel, &site), async {
        for standing in [Standing::Unlisted, Standing::Member(Role::Worker)] {
            site.book.write(DEMOTED, standing);
            assert_eq!(call(&channel, "muster.v1.Raft/Append").await.code(), Code::Ok);
        }
        site.shutdown.cancel();
    });
    assert_ne!(first.code(), Code::Ok, "the port has stopped");
    soon("stopping", site.running).await.expect("no panic").expect("a clean end");
}

/// Held until the port stops; a connection that was cut before would answer too soon.
async fn hold_until(channel: &tonic::transport::Channel, site: &Site) -> tonic::Status {
    let held = hold(channel).await;
    assert!(site.shutdown.is_cancelled(), "cut before its time: {held}");
    held
}

#[tokio::test]
async fn a_connection_ends_with_the_root_that_signed_its_certificate() {
    let site = Site::start().await;
    let next = Authority::create(CLUSTER, WallClock.now()).expect("a CA");
    let (old, new) = (site.authority.cert_pem().to_owned(), next.cert_pem().to_owned());
    let crossed = site.authority.certify(&next, WallClock.now()).expect("certified");
    let trusting = |node, role, roots: String, chain: &str| {
        let mut credentials = issue(&next, node, role, NODE_VALIDITY);
        credentials.ca_pem = roots;
        credentials.cert_pem.push_str(chain);
        credentials
    };
    let keeper = site.keeper(WORKER, Role::Worker);
    let behind = site.channel(&keeper);
    let mut here = site.relay(&keeper).await;
    let (_, mut there) = soon("arriving", async { site.relayed.lock().await.recv().await }).await.expect("one");
    let renewed = trusting(MANAGER, Role::Manager, format!("{new}{old}"), &crossed);
    let renewed = site.channel(&Keeper::new(renewed).expect("a keeper"));
    let exchange = |roots: String| {
        site.keeper.replace(trusting(MYSELF, Role::Manager, roots, &crossed)).expect("the same node");
    };
    let (held, ()) = tokio::join!(hold(&behind), async {
        exchange(format!("{new}{old}"));
        for channel in [&behind, &renewed] {
            assert_eq!(call(channel, SESSION).await.code(), Code::Ok, "both are trusted");
        }
        exchange(new.clone());
    });
    assert_ne!(held.code(), Code::Ok, "{held}");
    assert_eq!(call(&renewed, SESSION).await.code(), Code::Ok);
    here.write_all(b"!").await.expect("sends");
    assert_eq!(soon("the byte", there.read_u8()).await.expect("a client's is left to end"), b'!');
    site.stop().await;
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_it_was_opened_with() {
    let site = Site::start().await;
    let short = Credentials::issue(&site.authority, WORKER, Part::Worker, WallClock.now(), Duration::from_secs(2))
        .expect("issued");
    let keeper = Keeper::new(short).expect("a keeper");
    let channel = site.channel(&keeper);
    let held = hold(&channel).await;
    assert_ne!(held.code(), Code::Ok, "{held}");
    let refused = call(&channel, SESSION).await;
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert_eq!(call(&channel, "muster.v1.Membership/Renew").await.code(), Code::Ok);

    // With the next certificate the same channel goes on; its connection is a new one, so the old one is not used.
    let next =
        Credentials::issue(&site.authority, WORKER, Part::Worker, WallClock.now(), NODE_VALIDITY).expect("issued");
    keeper.replace(next).expect("the same node");
    let channel = site.channel(&keeper);
    assert_eq!(call(&channel, SESSION).await.code(), Code::Ok);
    site.stop().await;
}
