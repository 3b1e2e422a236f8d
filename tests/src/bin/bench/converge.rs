//! How long a service takes to run all its replicas, beside what the engine itself needs to create and start as many
//! containers of the same image eight at a time. Measured in pairs, so that a machine that drifts drifts for both.

use std::{path::Path, time::Instant};

use anyhow::Context;
use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::RemoveContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use muster_cli::demo::image;
use muster_tests::{
    daemon::{Daemon, Engine},
    engine::{self, Images},
};

use crate::{service, spread};

/// As many as the agent starts at once.
const AT_ONCE: usize = 8;
/// The limits a service gets by default, so that both sides make the same containers.
const MEMORY_BYTES: i64 = 1 << 30;
const PIDS: i64 = 4096;

pub(crate) fn run(program: &str, replicas: usize, rounds: usize) -> anyhow::Result<()> {
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(program, Engine::Docker);
    let (mut alone, mut service, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let engine = engine_alone(&images.name("1.0.0"), replicas)?;
        let muster = service::create(&daemon, &images.name("1.0.0"), replicas);
        service::remove(&daemon);
        println!("round {round}: engine {engine:.2} s, service {muster:.2} s, ratio {:.2}", muster / engine);
        alone.push(engine);
        service.push(muster);
        ratios.push(muster / engine);
    }
    println!("{replicas} replicas to Running");
    println!("  engine alone, {AT_ONCE} at a time   {}", spread(&alone, "s"));
    println!("  service create               {}", spread(&service, "s"));
    println!("  ratio                        {}", spread(&ratios, "times"));
    Ok(())
}

fn engine_alone(image: &str, count: usize) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let docker = image::connect(Path::new(engine::SOCKET))?;
        let began = Instant::now();
        let started: Vec<anyhow::Result<String>> =
            stream::iter(0..count).map(|_| create_and_start(&docker, image)).buffer_unordered(AT_ONCE).collect().await;
        let took = began.elapsed().as_secs_f64();
        let removal = |id: String| {
            let docker = &docker;
            async move {
                let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
                docker.remove_container(&id, Some(options)).await.context("cannot remove a container")
            }
        };
        let made: Vec<String> = started.into_iter().collect::<anyhow::Result<_>>()?;
        stream::iter(made).map(removal).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(took)
    })
}

async fn create_and_start(docker: &Docker, image: &str) -> anyhow::Result<String> {
    let host_config = HostConfig { memory: Some(MEMORY_BYTES), pids_limit: Some(PIDS), ..HostConfig::default() };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    };
    let made = docker.create_container(None, body).await.context("cannot create a container")?;
    docker.start_container(&made.id, None).await.context("cannot start a container")?;
    Ok(made.id)
}
