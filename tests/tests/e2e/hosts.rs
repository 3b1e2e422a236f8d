//! The hosts that other tests stand on: connected, cut off, deaf in one direction, powered off, and gone afterwards.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bollard::models::ContainerCreateBody;
use muster_chaos::hosts::{self, Hosts};
use muster_tests::{
    daemon::{Daemon, Engine, Place},
    engine::Images,
    host_engine::HostEngine,
    private_engine, wait,
};

use crate::MUSTER;

/// Long enough for two namespaces of one machine; a cable that was pulled answers nothing for longer.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

fn reaches(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, CONNECT_WITHIN).is_ok()
}

#[test]
fn hosts_are_apart_and_go_without_a_trace() {
    let Some(()) = hosts::present("hosts_are_apart_and_go_without_a_trace") else { return };
    let hosts = Hosts::make(2);
    let daemon = Daemon::start_at(MUSTER, Engine::Sim, Place::host(&hosts, 0));
    daemon.ok(&["init"]);
    let address = daemon.address();
    wait::until("the port to answer", || if reaches(address) { Ok(()) } else { Err(()) });

    let from_the_other = || {
        let word = format!("echo >/dev/tcp/{}/{}", address.ip(), address.port());
        let output = hosts.command(1, "timeout").args(["0.5", "bash", "-c", &word]).output();
        output.expect("bash runs").status.success()
    };
    assert!(from_the_other());
    hosts.deafen(0, 1);
    assert!(!from_the_other() && reaches(address), "deaf to one host and not to the other");
    hosts.hear(0);
    assert!(from_the_other());
    hosts.cut(0);
    assert!(!from_the_other() && !reaches(address));
    hosts.heal(0);
    wait::until("the cable to carry again", || if from_the_other() { Ok(()) } else { Err(()) });

    let (name, folder) = (hosts.namespace(0).to_owned(), hosts.folder().to_owned());
    drop(daemon);
    drop(hosts);
    let left = Command::new("ip").args(["netns", "list"]).output().expect("ip runs");
    assert!(!String::from_utf8_lossy(&left.stdout).contains(&name), "{left:?}");
    assert!(!folder.exists());
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// A running container of the image: its id, and its first process.
fn run(engine: &HostEngine, image: &str) -> (String, PathBuf) {
    block_on(async {
        let docker = muster_cli::demo::image::connect(&engine.socket()).unwrap();
        let body = ContainerCreateBody { image: Some(image.to_owned()), ..ContainerCreateBody::default() };
        let id = docker.create_container(None, body).await.expect("a container").id;
        docker.start_container(&id, None).await.expect("it starts");
        let shown = docker.inspect_container(&id, None).await.expect("it is there");
        let process = shown.state.and_then(|state| state.pid).expect("it runs");
        (id, PathBuf::from(format!("/proc/{process}")))
    })
}

/// One that has ended may wait for its parent, who may be nobody.
fn lives(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn runs(engine: &HostEngine, id: &str) -> Option<bool> {
    block_on(async {
        let docker = muster_cli::demo::image::connect(&engine.socket()).unwrap();
        docker.inspect_container(id, None).await.ok()?.state?.running
    })
}

#[test]
fn a_host_without_power_runs_nothing_and_its_engine_keeps_its_data() {
    let test = "a_host_without_power_runs_nothing";
    let (Some(()), Some(())) = (hosts::present(test), private_engine::present(test)) else { return };
    let images = Images::make(&["1.0.0"]);
    let hosts = Hosts::make(1);
    let engine = HostEngine::start(&hosts, 0);
    engine.load(&images.name("1.0.0"));
    let (id, process) = run(&engine, &images.name("1.0.0"));
    assert!(lives(&process));

    hosts.power_off(0);
    drop(engine);
    assert!(!lives(&process), "a container ran on without power");
    hosts.heal(0);
    let engine = HostEngine::start(&hosts, 0);
    assert_eq!(runs(&engine, &id), Some(false), "it is there as it was left: ended");
}
