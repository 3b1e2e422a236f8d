//! The demo's steps, each with its time and the count of failed requests.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    clients::{AT_EACH, Clients},
    cluster::{Cluster, NODES, SERVICE},
    image, leader, load,
    load::Tally,
    steps::{Steps, show},
};

/// The published port opens a moment after the first task is ready.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Requests to each node to find all replicas with.
const SURVEY: usize = 20;
/// By then nobody sends anything to a node that has died.
const AVOIDED_AFTER: Duration = Duration::from_secs(1);
/// The load goes on until this many requests were sent, so that the count means something.
const REQUESTS_MIN: u64 = 3_000;

pub(super) async fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut steps = Steps::begin();
    form(cluster, &mut steps).await?;
    let second = serve(cluster, &mut steps).await?;

    say!("\n{AT_EACH} clients at each node's port send requests from here on, half of them over kept connections");
    let mut clients = Clients::start(cluster);
    change(cluster, &second, &clients, &mut steps).await?;
    let tally = clients.tally();
    if tally.failed > 0 {
        bail!("{} requests failed: {}", tally.failed, tally.failures.join("; "));
    }
    let died = leader::lose(cluster, &mut clients, &mut steps).await?;

    while clients.tally().requests < REQUESTS_MIN {
        tokio::time::sleep(POLL).await;
    }
    let last = survey(cluster).await?;
    let tally = clients.finish().await;
    report(&tally, &last, died)?;
    say!("the whole demo took {:.1} s", steps.all().as_secs_f64());
    Ok(())
}

/// Three managers that also run services.
async fn form(cluster: &mut Cluster, steps: &mut Steps) -> anyhow::Result<()> {
    for node in &mut cluster.nodes {
        steps.next(&node.name, "muster daemon");
        node.start().await?;
        steps.done(&format!("at {}, talked to through {}", node.listens(), node.socket().display()));
    }
    steps.next(&cluster.nodes[0].name, "muster init");
    cluster.init().await?;
    steps.done("a cluster of one node");

    let [first, others @ ..] = cluster.nodes.as_slice() else { bail!("a demo without nodes") };
    steps.next(&first.name, "muster join-token manager");
    let told = first.muster(&["join-token", "manager"]).await?;
    let join = told.lines().map(str::trim).find(|line| line.starts_with("muster join "));
    let join = join.context("`muster join-token` did not say how a host joins")?;
    steps.done("says what to type on the others");
    for node in others {
        steps.next(&node.name, join);
        node.muster(&join.split(' ').skip(1).collect::<Vec<_>>()).await?;
        steps.done("joined as a manager");
    }
    leader::all_up(cluster, 0).await?;
    steps.next(&first.name, "muster node ls");
    show(&first.muster(&["node", "ls"]).await?);
    steps.done(&format!("{NODES} managers, which also run services"));
    Ok(())
}

/// A service of the first version that answers at every node. Returns the image of the second.
async fn serve(cluster: &mut Cluster, steps: &mut Steps) -> anyhow::Result<String> {
    steps.next("", "making two images of the demo app");
    let (first, second) = (cluster.make_image("1.0.0").await?, cluster.make_image("2.0.0").await?);
    steps.done(&format!("{first}, {second}"));

    let publish = format!("{}:{}", cluster.port, image::PORT);
    let health = format!("{}/healthz", image::PORT);
    let create =
        ["service", "create", "--replicas", "3", "--name", SERVICE, "-p", &publish, "--health-http", &health, &first];
    let node = &cluster.nodes[1];
    steps.next(&node.name, &format!("muster {}", create.join(" ")));
    node.muster(&create).await?;
    for number in 0..cluster.nodes.len() {
        first_answer(cluster, number).await?;
    }
    steps.done("3 of 3 replicas ready");

    let targets: Vec<String> = (0..NODES).map(|number| format!("http://{}", cluster.target(number))).collect();
    steps.next("", &format!("curl {}   ({SURVEY} times each)", targets.join(" ")));
    let seen = survey(cluster).await?;
    steps.done(&format!("{} answers from {} replicas, 0 failed", SURVEY * NODES, seen.len()));
    Ok(second)
}

async fn change(cluster: &Cluster, second: &str, clients: &Clients, steps: &mut Steps) -> anyhow::Result<()> {
    let [first, _, third] = cluster.nodes.as_slice() else { bail!("a demo of other than {NODES} nodes") };
    let scale = format!("{SERVICE}=5");
    steps.next(&third.name, &format!("muster service scale {scale}"));
    third.muster(&["service", "scale", &scale]).await?;
    steps.done(&counted("5 of 5 replicas ready", &clients.tally()));

    steps.next(&first.name, &format!("muster service update --image {second} {SERVICE}"));
    first.muster(&["service", "update", "--image", second, SERVICE]).await?;
    steps.done(&counted("every replica runs 2.0.0", &clients.tally()));
    Ok(())
}

fn counted(text: &str, tally: &Tally) -> String {
    format!("{text}; {} requests so far, {} failed", tally.requests, tally.failed)
}

pub(super) async fn first_answer(cluster: &Cluster, number: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        match load::get(cluster.target(number)).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > FIRST_ANSWER_MAX => {
                let name = &cluster.nodes[number].name;
                return Err(error).with_context(|| format!("the published port of {name} did not answer"));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Who answers, whichever node is asked.
async fn survey(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for number in 0..cluster.nodes.len() {
        for _ in 0..SURVEY {
            seen.insert(load::get(cluster.target(number)).await?);
        }
    }
    Ok(seen)
}

/// Requests that were in flight through the node that died may have failed with it, those on connections that were kept to
/// it until the other end had heard of that as well, and no others.
fn report(tally: &Tally, last: &BTreeSet<String>, died: Instant) -> anyhow::Result<()> {
    let of = |version: &str| -> u64 {
        let wanted = format!("version {version} ");
        tally.answers.iter().filter(|(body, _)| body.starts_with(&wanted)).map(|(_, count)| count).sum()
    };
    say!(
        "\n{} requests: {} answered by 1.0.0, {} by 2.0.0, {} failed; the slowest took {} ms",
        tally.requests,
        of("1.0.0"),
        of("2.0.0"),
        tally.failed,
        tally.slowest.as_millis()
    );
    if tally.failed_last.is_some_and(|began| began > died + AVOIDED_AFTER) {
        bail!(
            "requests failed that began more than {AVOIDED_AFTER:?} after the node died: {}",
            tally.failures.join("; ")
        );
    }
    if tally.failed > 0 {
        say!("those that failed were in flight through the node that died, or sent before the others knew of its end");
    }
    if let Some(old) = last.iter().find(|body| !body.starts_with("version 2.0.0 ")) {
        bail!("after the update a request was still answered by {old:?}");
    }
    Ok(())
}
