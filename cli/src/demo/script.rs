//! The demo's steps, each with its time and the count of failed requests.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    cluster::Cluster,
    image, load,
    load::{Load, Tally},
};

const CLIENTS: usize = 8;
/// The published port opens a moment after the first task is ready.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Requests to find all replicas with.
const SURVEY: usize = 60;
/// The load goes on past the update until this many requests were sent, so that the count means something.
const REQUESTS_MIN: u64 = 10_000;

struct Steps {
    began: Instant,
    step: Instant,
}

impl Steps {
    /// Says what is done next.
    fn next(&mut self, text: &str) {
        say!("\n$ {text}");
        self.step = Instant::now();
    }

    fn done(&self, text: &str) {
        say!("  {text}  ({:.2} s)", self.step.elapsed().as_secs_f64());
    }
}

pub(super) async fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut steps = Steps { began: Instant::now(), step: Instant::now() };
    steps.next("muster daemon");
    cluster.start_daemon().await?;
    steps.done(&format!("running in {}", cluster.folder().display()));

    steps.next("making two images of the demo app");
    let (first, second) = (cluster.make_image("1.0.0").await?, cluster.make_image("2.0.0").await?);
    steps.done(&format!("{first}, {second}"));

    steps.next("muster init");
    cluster.muster(&["init"]).await?;
    steps.done("a cluster of one node");

    let publish = format!("{}:{}", cluster.port, image::PORT);
    let health = format!("{}/healthz", image::PORT);
    let create =
        ["service", "create", "--replicas", "3", "--name", "web", "-p", &publish, "--health-http", &health, &first];
    steps.next(&format!("muster {}", create.join(" ")));
    cluster.muster(&create).await?;
    first_answer(cluster).await?;
    steps.done("3 of 3 replicas ready");

    steps.next(&format!("curl http://{}   ({SURVEY} times)", cluster.target()));
    let seen = survey(cluster).await?;
    steps.done(&format!("{SURVEY} answers from {} replicas, 0 failed", seen.len()));

    say!("\n{CLIENTS} clients send requests from here on, half of them over kept connections");
    let load = Load::start(cluster.target(), CLIENTS);

    steps.next("muster service scale web=5");
    cluster.muster(&["service", "scale", "web=5"]).await?;
    steps.done(&counted("5 of 5 replicas ready", &load.tally()));

    steps.next(&format!("muster service update --image {second} web"));
    cluster.muster(&["service", "update", "--image", &second, "web"]).await?;
    steps.done(&counted("every replica runs 2.0.0", &load.tally()));

    while load.tally().requests < REQUESTS_MIN {
        tokio::time::sleep(POLL).await;
    }
    let last = survey(cluster).await?;
    let tally = load.finish().await;
    say!("\n{}", cluster.muster(&["service", "ps", "web"]).await?);
    report(&tally, &last, steps.began.elapsed())
}

fn counted(text: &str, tally: &Tally) -> String {
    format!("{text}; {} requests so far, {} failed", tally.requests, tally.failed)
}

async fn first_answer(cluster: &Cluster) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        match load::get(cluster.target()).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > FIRST_ANSWER_MAX => {
                return Err(error).context("the published port did not answer");
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Who answers.
async fn survey(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for _ in 0..SURVEY {
        seen.insert(load::get(cluster.target()).await?);
    }
    Ok(seen)
}

fn report(tally: &Tally, last: &BTreeSet<String>, took: Duration) -> anyhow::Result<()> {
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
    say!("the whole demo took {:.1} s", took.as_secs_f64());
    if tally.failed > 0 {
        bail!("{} requests failed: {}", tally.failed, tally.failures.join("; "));
    }
    if let Some(old) = last.iter().find(|body| !body.starts_with("version 2.0.0 ")) {
        bail!("after the update a request was still answered by {old:?}");
    }
    Ok(())
}
