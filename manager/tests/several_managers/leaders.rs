//! Leaders that are none any more and do not know it, and managers that would be leaders and should not.

use std::{sync::atomic::Ordering, time::Duration};

use muster_proto::{
    assignment::SESSION_PROTOCOL,
    v1::{
        self,
        agent_message::{Heartbeat, Hello, Message as Said},
        manager_message::Message as Heard,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::bench::{Bench, CALLER, CLUSTER, One, node, service, service_of, soon};

/// An agent's session, by hand.
struct Session {
    say: mpsc::Sender<v1::AgentMessage>,
    hear: Streaming<v1::ManagerMessage>,
    acked: u64,
}

impl Session {
    async fn open(leader: &One) -> Self {
        let (say, said) = mpsc::channel(16);
        let me = node(leader.id).to_string();
        let hello = Hello {
            cluster_id: CLUSTER.to_string(),
            node_id: me.clone(),
            protocol: SESSION_PROTOCOL,
            ..Hello::default()
        };
        say.send(v1::AgentMessage { message: Some(Said::Hello(hello)) }).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(said));
        request.metadata_mut().insert(CALLER, me.parse().unwrap());
        let hear = soon("a session", leader.dispatcher().await.session(request)).await.unwrap().into_inner();
        Self { say, hear, acked: 0 }
    }

    async fn beat(&self, sequence: u64) {
        let beat = Heartbeat { sequence, description: None };
        self.say.send(v1::AgentMessage { message: Some(Said::Heartbeat(beat)) }).await.unwrap();
    }

    /// Takes in what comes until a heartbeat is answered. Err: the session has ended.
    async fn ack(&mut self) -> Result<u64, Status> {
        loop {
            let message = soon("a message", self.hear.message()).await?;
            let message = message.ok_or_else(|| Status::ok("the session ended"))?.message;
            if let Some(Heard::HeartbeatAck(ack)) = message {
                self.acked = ack.sequence;
                return Ok(ack.sequence);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_is_none_any_more_and_its_sessions_end() {
    let bench = Bench::of(3).await;
    let leader = bench.one(1);
    let mut session = Session::open(leader).await;
    session.beat(1).await;
    assert_eq!(session.ack().await.unwrap(), 1);
    leader.trouble.hang();
    let write = tokio::spawn({
        let replica = leader.handle().replica().clone();
        async move { replica.propose(service(1)).await }
    });
    let mut leadership = leader.handle().replica().leadership();
    soon("stepping back", leadership.wait_for(|now| now.leading().is_none())).await.unwrap();
    session.ack().await.expect_err("an end");
    bench.until_another_leads(1).await;
    leader.trouble.end_hanging();
    // It may have been taken over by the new leader, or not.
    let _ = soon("an answer", write).await.unwrap();
    bench.agreed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_grants_no_lease_from_then_on() {
    let bench = Bench::of(3).await;
    let mut session = Session::open(bench.one(1)).await;
    session.beat(1).await;
    assert_eq!(session.ack().await.unwrap(), 1);
    bench.wires.isolate(1, [2, 3]);
    // It still takes itself for the leader, and the session is open.
    for sequence in 2..6 {
        session.beat(sequence).await;
    }
    let ended = session.ack().await;
    assert!(ended.is_err(), "heartbeat {ended:?} was answered without a majority");
    assert_eq!(session.acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_was_cut_off_alone_comes_back_without_an_election() {
    let bench = Bench::of(3).await;
    let began = bench.one(1).handle().replica().leading();
    assert!(began.is_some());
    bench.wires.isolate(3, [1, 2]);
    // Time enough for it to miss its leader and to stand for election several times.
    let mut leadership = bench.one(3).handle().replica().leadership();
    let lost = leadership.wait_for(|now| !now.is_known());
    let _ = tokio::time::timeout(Duration::from_secs(5), lost).await;
    bench.one(1).propose(service(1)).await;
    bench.wires.mend();
    bench.one(3).until("what it missed", |state| state.services().count() == 1).await;
    bench.one(1).propose(service(2)).await;
    bench.agreed().await;
    assert_eq!(bench.one(1).handle().replica().leading(), began);
}

/// Its certificate has run out: it hears of nobody, and nobody takes its calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_calls_are_refused_comes_back_without_an_election() {
    let bench = Bench::of(3).await;
    let began = bench.one(1).handle().replica().leading();
    assert!(began.is_some());
    bench.wires.shut_out(3);
    bench.wires.isolate(3, [1, 2]);
    bench.wires.refused(3, 10).await;
    bench.wires.mend();
    bench.wires.let_in(3);
    bench.one(1).propose(service(1)).await;
    bench.one(3).until("what it missed", |state| state.services().count() == 1).await;
    bench.agreed().await;
    assert_eq!(bench.one(1).handle().replica().leading(), began);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_followers_have_no_room_leads_on_and_says_why_nothing_changes_when_it_has_none_either() {
    let bench = Bench::of(3).await;
    let leader = bench.one(1);
    let (replica, began) = (leader.handle().replica(), leader.handle().replica().leading());
    let mut session = Session::open(leader).await;
    for id in [2, 3] {
        bench.one(id).trouble.full.store(true, Ordering::Relaxed);
    }
    // They see it in a moment; what comes until then is still taken.
    let mut number = 0;
    let stuck = loop {
        number += 1;
        let replica = replica.clone();
        let mut proposal = tokio::spawn(async move { replica.propose(service(number)).await });
        if tokio::time::timeout(Duration::from_secs(1), &mut proposal).await.is_err() {
            break proposal;
        }
    };
    // Longer than a leader is believed that nobody answers.
    for sequence in 1..=60 {
        session.beat(sequence).await;
        assert_eq!(session.ack().await.unwrap(), sequence);
    }
    assert_eq!(replica.leading(), began);
    let group = leader.handle().members().now();
    assert!(group.is_heard(2, 1) && group.is_heard(3, 1), "those whose disks are full are there all the same");

    leader.trouble.full.store(true, Ordering::Relaxed);
    let refused = soon("a refusal", async {
        loop {
            number += 1;
            let proposed = tokio::time::timeout(Duration::from_millis(500), replica.propose(service(number))).await;
            if let Ok(Err(why)) = proposed {
                return why;
            }
        }
    });
    assert!(refused.await.to_string().contains("nearly full"));

    for one in bench.all.values() {
        one.trouble.full.store(false, Ordering::Relaxed);
    }
    // It may have waited too long.
    let _ = soon("an answer", stuck).await.unwrap();
    bench.agreed().await;
    // Each looks now and then whether there is room again.
    soon("room", async {
        while bench.leader().await.handle().replica().propose(service(1_000_000)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bench.agreed().await;
}

/// Each of them takes longer than openraft waits for an answer, the large ones several times as long as a leader is missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_get_through_slow_connections_and_cost_no_election() {
    const BYTES_PER_S: usize = 200 << 10;
    let bench = Bench::of(3).await;
    bench.wires.slow_calls(BYTES_PER_S);
    bench.one(1).propose(service(1)).await;
    let leader = bench.leader().await;
    let began = leader.handle().replica().leading();
    for (number, bytes) in (2..).zip([300 << 10, 30 << 10, 300 << 10, 0]) {
        leader.propose(service_of(number, bytes)).await;
    }
    assert_eq!(leader.handle().replica().leading(), began);
    bench.agreed().await;
}
