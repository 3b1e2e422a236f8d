//! What a manager of three holds in memory: with nothing, and with a long history of services and finished tasks; and how
//! soon one that was killed serves again with it. The tasks ran on two workers, whose engines are simulated: what those
//! hold of their containers is said beside it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use muster_proto::v1;
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine},
};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    api::{self, Control},
    idle, spread,
};

const MANAGERS: usize = 3;
const WORKERS: usize = 2;
/// Requests under way at once while the history is made.
const AT_ONCE: usize = 32;
const SETTLE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_secs(1);
/// For all tasks to end after the last service was made.
const ENDED_WITHIN: Duration = Duration::from_secs(1800);
const RESTARTS: usize = 5;
/// The history is made of copies of this one.
const PATTERN: &str = "pattern";

pub(crate) fn run(program: &str, services: usize, tasks: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut cluster = Cluster::local(program, &Engine::Sim, MANAGERS, WORKERS);
    thread::sleep(SETTLE);
    println!("{MANAGERS} managers that also work, and {WORKERS} workers, idle");
    println!("  managers, resident    {}", spread(&resident(&cluster.nodes()[..MANAGERS])?, "MiB each"));
    println!("  workers, resident     {}", spread(&resident(&cluster.nodes()[MANAGERS..])?, "MiB each"));
    for manager in 0..MANAGERS {
        cluster[0].ok(&["node", "update", "--availability", "drain", &cluster[manager].node_id()]);
    }

    make_history(&runtime, &cluster, services, tasks)?;
    thread::sleep(SETTLE);
    println!("with {services} services and {} finished tasks", services * tasks);
    println!("  managers, resident    {}", spread(&resident(&cluster.nodes()[..MANAGERS])?, "MiB each"));
    println!("  workers, resident     {}", spread(&resident(&cluster.nodes()[MANAGERS..])?, "MiB each"));

    let mut serving = Vec::new();
    for round in 0..RESTARTS {
        let manager = round % MANAGERS;
        cluster[manager].kill();
        let began = Instant::now();
        cluster[manager].restart();
        // What it shows must be current, so it has applied everything there is.
        let shown = cluster[manager].ok(&["service", "inspect", "--format", "{{.Spec.Name}}", PATTERN]);
        anyhow::ensure!(shown == PATTERN, "unexpected answer {shown:?}");
        serving.push(began.elapsed().as_secs_f64());
        cluster.wait_managers(manager, MANAGERS);
    }
    println!("  killed and started, until it answers   {}", spread(&serving, "s"));
    thread::sleep(SETTLE);
    println!(
        "  managers, resident after that          {}",
        spread(&resident(&cluster.nodes()[..MANAGERS])?, "MiB each")
    );
    Ok(())
}

fn resident(nodes: &[Daemon]) -> anyhow::Result<Vec<f64>> {
    nodes.iter().map(idle::resident_mib).collect()
}

/// Services whose tasks end at once, and for good.
fn make_history(runtime: &Runtime, cluster: &Cluster, services: usize, tasks: usize) -> anyhow::Result<()> {
    let (leader, replicas) = (cluster.leader(), tasks.to_string());
    let mut create = vec!["service", "create", "--detach", "--quiet", "--name", PATTERN, "--replicas", &replicas];
    create.extend(["--restart-condition", "none", "--env", "MUSTER_SIM_EXIT=0@0", "sim:1"]);
    cluster[leader].ok(&create);
    runtime.block_on(async {
        let mut control = api::connect(&cluster[leader]).await?;
        let request = v1::GetServiceRequest { service: PATTERN.to_owned() };
        let pattern = control.get_service(request).await?.into_inner().service.and_then(|service| service.spec);
        let pattern = pattern.context("a service without a spec")?;
        let mut creating = JoinSet::new();
        for number in 1..services {
            if creating.len() >= AT_ONCE {
                creating.join_next().await.context("a creation")???;
            }
            let spec = v1::ServiceSpec { name: format!("history{number}"), ..pattern.clone() };
            creating.spawn(create_service(control.clone(), spec));
        }
        while let Some(created) = creating.join_next().await {
            created??;
        }
        ended(control, services * tasks).await
    })
}

async fn create_service(mut control: Control, spec: v1::ServiceSpec) -> anyhow::Result<()> {
    control.create_service(v1::CreateServiceRequest { spec: Some(spec) }).await?;
    Ok(())
}

/// Returns once so many tasks have ended.
async fn ended(mut control: Control, tasks: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let request = v1::ListTasksRequest { service_id: String::new(), node_id: String::new() };
        let found = control.list_tasks(request).await?.into_inner().tasks;
        let complete =
            |task: &&v1::Task| task.status.as_ref().is_some_and(|status| status.state() == v1::TaskState::Complete);
        let complete = found.iter().filter(complete).count();
        if complete >= tasks {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < ENDED_WITHIN, "only {complete} of {tasks} tasks have ended");
        tokio::time::sleep(POLL).await;
    }
}
