//! Commands through any manager, while leaders come and go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use muster_manager::Start;
use muster_proto::v1::{self, control_client::ControlClient};
use tokio::sync::Notify;
use tonic::{Code, Request, transport::Channel};

use crate::bench::{Bench, create, soon};

async fn names(control: &mut ControlClient<Channel>) -> Vec<String> {
    let answer = soon("a list", control.list_services(v1::ListServicesRequest {})).await.unwrap().into_inner();
    answer.services.into_iter().map(|service| service.service.unwrap().spec.unwrap().name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_manager_takes_commands_and_sees_at_once_what_another_took() {
    let bench = Bench::of(3).await;
    for id in 1..=3 {
        let mut control = bench.one(id).control().await;
        soon("a create", control.create_service(create(id))).await.unwrap();
        for other in 1..=3 {
            let seen = names(&mut bench.one(other).control().await).await;
            assert!(seen.contains(&format!("s{id}")), "{other} answers {seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_wait_out_the_death_of_a_leader() {
    let mut bench = Bench::of(3).await;
    let some = Arc::new(Notify::new());
    let mut control = bench.one(2).control().await;
    let written = tokio::spawn({
        let some = some.clone();
        async move {
            let mut longest = Duration::ZERO;
            for number in 1..=60 {
                let began = std::time::Instant::now();
                // Also where the first attempt made it and its answer was lost.
                control.create_service(create(number)).await.unwrap_or_else(|status| panic!("{number}: {status}"));
                longest = longest.max(began.elapsed());
                if number == 20 {
                    some.notify_one();
                }
            }
            longest
        }
    });
    soon("some commands", some.notified()).await;
    bench.one_mut(1).kill().await;
    let longest = soon("all commands", written).await.unwrap();
    println!("the longest command took {longest:?}");
    assert_eq!(names(&mut bench.one(3).control().await).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_as_unavailable_when_its_leader_is_lost_and_opens_again() {
    let mut bench = Bench::of(3).await;
    let mut control = bench.one(2).control().await;
    let created = soon("a create", control.create_service(create(1))).await.unwrap().into_inner();
    let wanted = || v1::GetServiceRequest { service: created.id.clone() };
    let mut watch = soon("a watch", control.watch_service(wanted())).await.unwrap().into_inner();
    assert!(soon("an answer", watch.message()).await.unwrap().is_some());
    bench.one_mut(1).kill().await;
    let ended = soon("an end", watch.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    let mut watch = soon("a watch", control.watch_service(wanted())).await.unwrap().into_inner();
    assert!(soon("an answer", watch.message()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_passed_on_is_not_passed_on_again() {
    let bench = Bench::of(3).await;
    let mut control = bench.one(2).control().await;
    let mut request = Request::new(v1::ListServicesRequest {});
    request.metadata_mut().insert("muster-passed-on", "1".parse().unwrap());
    let refused = soon("an answer", control.list_services(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(refused.metadata().get("muster-leader").unwrap(), &bench.one(1).address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_without_a_majority_says_so_instead_of_waiting_for_ever() {
    let bench = Bench::of(3).await;
    bench.wires.isolate(1, [2, 3]);
    bench.wires.isolate(2, [3]);
    let mut control = bench.one(2).control().await;
    let refused = soon("an answer", control.create_service(create(1))).await.unwrap_err();
    assert!(refused.message().contains("have no leader"), "{refused}");
}

/// As often as `MUSTER_ROUNDS` says; prints how long no write was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_die_one_after_the_other_and_writes_go_on() {
    let rounds = std::env::var("MUSTER_ROUNDS").map_or(2, |text| text.parse::<u64>().unwrap());
    let mut bench = Bench::of(3).await;
    let mut pauses = Vec::new();
    for round in 1..=rounds {
        let leader = bench.leader().await.id;
        let mut control = bench.one(leader % 3 + 1).control().await;
        soon("a create", control.create_service(create(round * 2))).await.unwrap();
        bench.one_mut(leader).cut_off().await;
        let died = Instant::now();
        soon("a create", control.create_service(create(round * 2 + 1))).await.unwrap();
        pauses.push(died.elapsed());
        bench.one_mut(leader).kill().await;
        bench.one_mut(leader).start(Start::Again).await;
        bench.agreed().await;
    }
    pauses.sort();
    println!("no write for {pauses:?}");
}

/// As often as `MUSTER_ROUNDS` says; prints how long it took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_round_and_commands_wait_for_it() {
    let rounds = std::env::var("MUSTER_ROUNDS").map_or(3, |text| text.parse::<u64>().unwrap());
    let bench = Bench::of(3).await;
    let mut pauses = Vec::new();
    for round in 1..=rounds {
        let leader = bench.leader().await;
        let mut control = bench.one(leader.id % 3 + 1).control().await;
        soon("a create", control.create_service(create(round * 2))).await.unwrap();
        let began = Instant::now();
        soon("a hand-over", leader.handle().hand_over()).await.unwrap();
        soon("a create", control.create_service(create(round * 2 + 1))).await.unwrap();
        pauses.push(began.elapsed());
    }
    pauses.sort();
    println!("handed over, with the next write, in {pauses:?}");
}
