//! Clients for whom no backend takes connections.

use super::*;
use crate::ingress::dial::HOLD_MAX;

async fn until(what: &str, reached: impl Fn() -> bool) {
    let wait = async {
        while !reached() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.expect(what);
}

/// A service that is down must not keep those that are up from their clients.
#[tokio::test]
async fn clients_that_wait_take_half_of_the_places_and_none_once_they_have_given_up() {
    let edge = Edge::start();
    edge.publish(&[]);
    let shared = edge.handle.shared.clone();
    let room = shared.waiting_slots.available_permits();
    assert!(2 * room <= shared.slots.available_permits());
    let all_but_one =
        shared.waiting_slots.try_acquire_many(u32::try_from(room).expect("few") - 1).expect("nobody waits");
    let begin = Instant::now();
    let mut waits = edge.connect().await;
    waits.send("GET / HTTP/1.1\r\n\r\n").await;
    until("the client to wait", || shared.waiting_slots.available_permits() == 0).await;
    assert_eq!(edge.connect().await.answer().await, None, "one too many is refused");

    drop(waits);
    until("the client's end to be seen", || shared.waiting_slots.available_permits() == 1).await;
    assert!(begin.elapsed() < HOLD_MAX, "it kept its place as if it were there");
    let _server = edge.serve(11, Manners::Proper).await;
    let mut next = edge.connect().await;
    next.send("GET / HTTP/1.1\r\n\r\n").await;
    until("the next client to wait", || shared.waiting_slots.available_permits() == 0).await;
    edge.publish(&[11]);
    assert_eq!(next.answer().await.as_deref(), Some("11"));
    assert_eq!(shared.waiting_slots.available_permits(), 1, "it waits no more");
    drop(all_but_one);
    edge.stop().await;
}
