//! What users do with nodes.

use expect_test::expect;
use muster_proto::v1;
use tonic::Status;

use crate::{
    agent::{Agent, description},
    bench::{Bench, NODE, replicated, soon},
};

async fn node(bench: &mut Bench) -> v1::Node {
    let request = v1::GetNodeRequest { node: NODE.to_string() };
    soon("get", bench.control.get_node(request)).await.expect("there").into_inner().node.expect("a node")
}

async fn update(bench: &mut Bench, request: v1::UpdateNodeRequest) -> Result<u64, Status> {
    soon("update", bench.control.update_node(request)).await.map(|answer| answer.into_inner().version)
}

fn labels(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn what_is_asked_of_a_node_is_so() {
    let mut bench = Bench::start().await;
    // It names the host, so that the node can be called by that.
    let _agent = Agent::connect(&bench).await;
    let described = soon("a description", async {
        loop {
            let now = node(&mut bench).await;
            if now.description.is_some() {
                return now;
            }
        }
    });
    let before = described.await;
    let hostname = before.description.clone().expect("waited for").hostname;
    let wanted = v1::UpdateNodeRequest {
        node: hostname,
        version: before.version,
        availability: v1::Availability::Pause.into(),
        labels: labels(&[("zone", "a"), ("disk", "ssd")]),
        role: v1::Role::Unspecified.into(),
    };
    let version = update(&mut bench, wanted.clone()).await.expect("updated");
    let after = node(&mut bench).await;
    assert_eq!(
        (after.version, after.role, after.availability(), &after.labels),
        (version, before.role, v1::Availability::Pause, &wanted.labels)
    );

    let prefix = after.id[..20].to_owned();
    let wanted = v1::UpdateNodeRequest { node: prefix, version, labels: labels(&[("zone", "b")]), ..wanted };
    update(&mut bench, wanted.clone()).await.expect("updated");
    assert_eq!(node(&mut bench).await.labels, wanted.labels, "what is left out is removed");
    bench.stop().await;
}

#[tokio::test]
async fn refusals_say_what_happened_and_what_to_do() {
    let mut bench = Bench::start().await;
    let before = node(&mut bench).await;
    let good = v1::UpdateNodeRequest {
        node: before.id.clone(),
        version: before.version,
        availability: v1::Availability::Active.into(),
        labels: labels(&[]),
        role: v1::Role::Unspecified.into(),
    };
    let refused = [
        v1::UpdateNodeRequest { node: "nope".to_owned(), ..good.clone() },
        v1::UpdateNodeRequest { node: String::new(), ..good.clone() },
        v1::UpdateNodeRequest { version: before.version + 9, ..good.clone() },
        v1::UpdateNodeRequest { availability: 0, ..good.clone() },
        v1::UpdateNodeRequest { availability: 77, ..good.clone() },
        v1::UpdateNodeRequest { labels: labels(&[("a b", "")]), ..good.clone() },
        v1::UpdateNodeRequest { labels: labels(&[("long", &"x".repeat(8193))]), ..good.clone() },
    ];
    let mut said = Vec::new();
    for request in refused {
        let status = update(&mut bench, request).await.expect_err("refused");
        let text =
            status.message().replace(&format!("version {}, now {}", before.version + 9, before.version), "VERSIONS");
        said.push(format!("{:?}: {text}", status.code()));
    }
    expect![[r#"
        NotFound: no node "nope"; `muster node ls` lists them
        InvalidArgument: no node was named; `muster node ls` lists them
        Aborted: the node has changed since it was read (VERSIONS); read it again and repeat the change
        InvalidArgument: availability is not set
        InvalidArgument: availability is 77, which is not known here
        InvalidArgument: a node label cannot be called "a b"; use 1 to 255 characters without spaces
        InvalidArgument: the value of the node label "long" is too long; keep it to 8KiB"#]]
    .assert_eq(&said.join("\n"));
    assert_eq!(node(&mut bench).await, before, "a refusal changes nothing");
    bench.stop().await;
}

/// What has nowhere to go is said with the answer, and only by the change that begins the drain.
#[tokio::test]
async fn a_drain_says_which_tasks_stay_and_why() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    agent.heartbeat(1, Some(description("host1"))).await;
    agent.hear_until("an answer", |agent| agent.heartbeats_acked == 1).await;
    bench.handle.leases().renew(NODE, std::time::Duration::from_secs(3_600));
    bench.create(&replicated("web", "app:1", 2)).await.expect("created");
    agent.obey_until("two tasks", |agent| agent.assigned.len() == 2).await;
    let drain = async |bench: &mut Bench, zone: &str| {
        let before = node(bench).await;
        let request = v1::UpdateNodeRequest {
            node: before.id,
            version: before.version,
            availability: v1::Availability::Drain.into(),
            labels: labels(&[("zone", zone)]),
            role: v1::Role::Unspecified.into(),
        };
        soon("update", bench.control.update_node(request)).await.expect("drained").into_inner().warnings
    };
    expect![[r#"
        [
            "node host1 is drained, and no other node takes 2 of its tasks, which stay there until one does: web.1, web.2 (no suitable node among 1 node: 1 drained); add a node or make room, and the drain goes on by itself",
        ]
    "#]]
    .assert_debug_eq(&drain(&mut bench, "a").await);
    assert_eq!(drain(&mut bench, "b").await, Vec::<String>::new());
    bench.stop().await;
}
