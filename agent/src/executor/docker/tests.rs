//! The executor on a real Docker Engine, and before sockets where none answers.

mod harness;

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use muster_proto::{
    container::Ulimit,
    id::{ClusterId, NodeId},
    mount::{Mount, MountSource},
    time::Timestamp,
};
use tokio::net::{TcpStream, UnixListener};

use super::*;
use harness::{Bench, connect, labels, strings};

const DEADLINE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);

async fn until_it_listens(address: IpAddr) {
    let begin = Instant::now();
    while TcpStream::connect((address, 8000)).await.is_err() {
        assert!(begin.elapsed() < DEADLINE, "the app never listened");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_container_lives_and_goes() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let docker = &bench.docker;
    let task = bench.assignment(1, |_, _| {});
    let container = bench.prepared(&task).await;
    assert_eq!(docker.inspect(&container).await.expect("inspected"), ContainerState::Created);

    let address = docker.start(&container).await.expect("started").expect("an address");
    until_it_listens(address).await;
    docker.start(&container).await.expect("starting what runs is no error");
    let running = ContainerState::Running { address: Some(address) };
    assert_eq!(docker.inspect(&container).await.expect("inspected"), running);
    let found = Found {
        container: container.clone(),
        task_id: task.task_id,
        fence: task.fence,
        state: running,
        isolation_grace: None,
    };
    assert_eq!(docker.list().await.expect("listed"), [found]);
    let other_node = Identity { node_id: NodeId::from_bits(9), ..bench.identity };
    assert_eq!(connect(Docker::SOCKET, other_node).list().await.expect("listed"), []);

    let check = docker.exec(&container, &strings(&["/app", "check"]), DEADLINE).await.expect("ran");
    assert_eq!(check, ExecOutput { code: 0, text: "ok\n".to_owned() });
    let missing = docker.exec(&container, &strings(&["/nope"]), DEADLINE).await.expect("answered");
    assert_ne!(missing.code, 0);
    let endless = docker.exec(&container, &strings(&["/app", "alloc", "1"]), Duration::from_millis(500)).await;
    assert!(matches!(&endless, Err(ExecutorError::Failed(text)) if text.contains("took longer")), "{endless:?}");

    docker.stop(&container, GRACE).await.expect("stopped");
    docker.stop(&container, GRACE).await.expect("stopping what is stopped is no error");
    let exit = docker.wait(&container).await.expect("ended");
    assert_eq!(exit, Exit { code: 0, oom_killed: false, error: None }, "the stop signal was heard");
    docker.remove(&container).await.expect("removed");
    docker.remove(&container).await.expect("removing what is gone is no error");
    assert!(matches!(docker.inspect(&container).await, Err(ExecutorError::Gone)));
    assert!(matches!(docker.wait(&container).await, Err(ExecutorError::Gone)));
}

#[tokio::test]
async fn exits_are_told_apart() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let exit = bench.exit_of(&bench.assignment(1, |container, _| container.args = strings(&["exit", "3"]))).await;
    assert_eq!(exit, Exit { code: 3, oom_killed: false, error: None });

    let greedy = bench.assignment(2, |container, limits| {
        container.args = strings(&["alloc", "64"]);
        limits.memory_bytes = 16 << 20;
    });
    let exit = bench.exit_of(&greedy).await;
    assert_eq!(exit, Exit { code: EXIT_SIGKILL, oom_killed: true, error: None });
    let container = bench.prepared(&greedy).await;
    assert!(bench.docker.was_oom_killed(&container).await.expect("asked"), "the engine's events say so too");

    let deaf = bench.assignment(3, |container, limits| {
        container.env = strings(&["IGNORE_TERM=1"]);
        limits.memory_bytes = 64 << 20;
    });
    let container = bench.prepared(&deaf).await;
    bench.docker.start(&container).await.expect("started");
    bench.docker.stop(&container, Duration::from_millis(300)).await.expect("killed in the end");
    let exit = bench.docker.wait(&container).await.expect("ended");
    assert_eq!(exit, Exit { code: EXIT_SIGKILL, oom_killed: false, error: None });
}

#[tokio::test]
async fn what_was_asked_for_is_what_the_engine_has() {
    let Some(bench) = Bench::new(&["HEALTHCHECK --interval=2s CMD [\"/app\", \"check\"]"]).await else { return };
    let task = bench.assignment(1, |container, limits| {
        container.labels = labels(&[("tier", "front"), ("muster.node", "forged")]);
        container.hostname = Some("webhost".to_owned());
        container.user = Some("1000:1000".to_owned());
        container.workdir = Some("/work".to_owned());
        container.env = strings(&["A=1"]);
        container.read_only = true;
        container.cap_add = strings(&["NET_ADMIN"]);
        container.cap_drop = strings(&["MKNOD"]);
        container.stop_signal = Some("SIGINT".to_owned());
        container.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 100, hard: 200 }];
        let source = MountSource::Tmpfs { size_bytes: 1 << 20, mode: Some(0o1777) };
        container.mounts = vec![Mount { source, target: "/scratch".to_owned(), read_only: false }];
        *limits = muster_proto::resources::Limits { nano_cpus: 500_000_000, memory_bytes: 32 << 20, pids: 20 };
    });
    let prepared = bench.docker.prepare(&task, &|_| {}).await.expect("prepared");
    let health = prepared.image_health.expect("the image has a check");
    assert_eq!(health.interval, Duration::from_secs(2));

    let found = bench.docker.inspected(&prepared.container.0).await.expect("inspected");
    assert_eq!(found.name, Some(format!("/web.3.{}", task.task_id)));
    let config = found.config.expect("a config");
    let has = config.labels.expect("labels");
    assert_eq!(has.get("tier").map(String::as_str), Some("front"));
    assert_eq!(has.get("muster.node"), Some(&bench.identity.node_id.to_string()), "a forged label does not hold");
    assert_eq!(has.get("muster.service-name").map(String::as_str), Some("web"));
    assert_eq!(config.hostname.as_deref(), Some("webhost"));
    assert_eq!(config.user.as_deref(), Some("1000:1000"));
    assert_eq!(config.working_dir.as_deref(), Some("/work"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(config.healthcheck.and_then(|check| check.test), Some(strings(&["NONE"])), "the agent checks health");
    let host = found.host_config.expect("a host config");
    assert_eq!((host.nano_cpus, host.memory, host.pids_limit), (Some(500_000_000), Some(32 << 20), Some(20)));
    assert_eq!(host.memory_swap, host.memory);
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.security_opt, Some(strings(&["no-new-privileges"])));
    assert_eq!(host.cap_add, Some(strings(&["NET_ADMIN"])));
    assert_eq!(host.cap_drop, Some(strings(&["MKNOD"])));
    assert_eq!(host.ulimits.map(|list| list.len()), Some(1));
    assert_eq!(host.mounts.map(|list| list.len()), Some(1));
}

#[tokio::test]
async fn logs_come_by_stream_tail_and_time() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let task = bench.assignment(1, |_, _| {});
    let container = bench.prepared(&task).await;
    let address = bench.docker.start(&container).await.expect("started").expect("an address");
    until_it_listens(address).await;
    let mut following = bench.docker.logs(&container, LogOptions { follow: true, ..LogOptions::default() });
    let first = timeout(DEADLINE, following.next()).await.expect("in time").expect("a line").expect("a record");
    assert_eq!((first.text.as_slice(), first.stderr), (&b"listening on port 8000"[..], false));
    bench.docker.stop(&container, GRACE).await.expect("stopped");
    let second = timeout(DEADLINE, following.next()).await.expect("in time").expect("a line").expect("a record");
    assert_eq!(second.text, b"stopped");
    assert!(timeout(DEADLINE, following.next()).await.expect("in time").is_none(), "following ends with the container");

    let last = bench.all_logs(&container, LogOptions { tail: Some(1), ..LogOptions::default() }).await;
    assert_eq!(last, [second]);
    let whole = bench.all_logs(&container, LogOptions::default()).await;
    assert_eq!(whole.len(), 2);
    let later = std::time::UNIX_EPOCH.elapsed().expect("after 1970") + Duration::from_secs(3600);
    let since = Timestamp::from_millis(u64::try_from(later.as_millis()).expect("fits")).millis();
    assert_eq!(bench.all_logs(&container, LogOptions { since: Some(since), ..LogOptions::default() }).await, []);

    let wrong = bench.assignment(2, |container, _| container.args = strings(&["what"]));
    let container = bench.prepared(&wrong).await;
    bench.docker.start(&container).await.expect("started");
    bench.docker.wait(&container).await.expect("ended");
    let complaint = bench.all_logs(&container, LogOptions::default()).await;
    assert!(complaint[0].stderr && complaint[0].text.starts_with(b"demo-app: usage"), "{complaint:?}");
}

#[tokio::test]
async fn a_second_try_adopts_what_the_first_made() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let task = bench.assignment(1, |_, _| {});
    let container = bench.prepared(&task).await;
    assert_eq!(bench.prepared(&task).await, container);
    let stranger = Identity { cluster_id: ClusterId::from_bits(1), ..bench.identity };
    let refusal = connect(Docker::SOCKET, stranger).prepare(&task, &|_| {}).await.expect_err("not its own");
    assert!(refusal.to_string().contains("not this task's"), "{refusal}");
}

#[tokio::test]
async fn a_creation_that_was_broken_off_is_in_the_next_list() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let task = bench.assignment(1, |_, _| {});
    let begun = tokio::sync::Notify::new();
    let progress = |message: String| {
        if message.starts_with("creating") {
            begun.notify_one();
        }
    };
    tokio::select! {
        biased;
        prepared = bench.docker.prepare(&task, &progress) => panic!("not broken off: {prepared:?}"),
        () = begun.notified() => {}
    }
    let found = bench.docker.list().await.expect("listed");
    assert_eq!(found.iter().map(|found| found.task_id).collect::<Vec<_>>(), [task.task_id]);
    bench.docker.remove(&found[0].container).await.expect("removed");
}

#[tokio::test]
async fn what_can_never_run_is_refused() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let absent = bench.assignment(1, |container, _| container.entrypoint = strings(&["/nope"]));
    let container = bench.prepared(&absent).await;
    let refusal = bench.docker.start(&container).await.expect_err("there is no such file");
    assert!(matches!(&refusal, ExecutorError::Refused(text) if text.contains("/nope")), "{refusal:?}");

    let elsewhere = bench.assignment(2, |container, _| {
        container.pin = Some(ImagePin::LocalId(format!("sha256:{}", "0".repeat(64))));
    });
    let refusal = bench.docker.prepare(&elsewhere, &|_| {}).await.expect_err("not on this node");
    assert!(matches!(&refusal, ExecutorError::Refused(text) if text.contains("push it to a registry")), "{refusal:?}");

    let source = MountSource::Bind { path: "/no/such/folder".to_owned() };
    let unmountable = bench.assignment(3, |container, _| {
        container.mounts = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
    });
    let refusal = bench.docker.prepare(&unmountable, &|_| {}).await.expect_err("nothing to mount");
    assert!(matches!(&refusal, ExecutorError::Refused(text) if text.contains("/no/such/folder")), "{refusal:?}");
}

#[tokio::test]
async fn a_host_port_that_is_taken_fails_with_a_sentence() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let task = bench.assignment_on_host_port(1, port);
    let container = bench.prepared(&task).await;
    let failure = bench.docker.start(&container).await.expect_err("it is taken");
    assert!(matches!(&failure, ExecutorError::Failed(text) if text.contains("by another process")), "{failure:?}");
    drop(taken);
    bench.docker.start(&container).await.expect("now it is free");
    let second = bench.prepared(&bench.assignment_on_host_port(2, port)).await;
    let failure = bench.docker.start(&second).await.expect_err("it is taken");
    assert!(matches!(&failure, ExecutorError::Failed(text) if text.contains("by another container")), "{failure:?}");
}

/// Answers every question with "manifest unknown". Ends with the test's process.
fn empty_registry() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let (status, body) = if request[..length].starts_with(b"GET /v2/ ") {
                ("200 OK", "{}")
            } else {
                ("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
            };
            let response = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            // The engine tries TLS first and hangs up on this.
            stream.write_all(response.as_bytes()).ok();
        }
    });
    port
}

#[tokio::test]
async fn an_image_no_registry_has_is_refused_and_a_registry_that_is_away_is_not_final() {
    let Some(bench) = Bench::new(&[]).await else { return };
    assert_eq!(bench.docker.resolve(&bench.tag).await.expect("local"), ImagePin::LocalId(bench.image_id.clone()));
    let pinned = format!("web@sha256:{}", "a".repeat(64));
    let digest = ImagePin::Digest(format!("sha256:{}", "a".repeat(64)));
    assert_eq!(bench.docker.resolve(&pinned).await.expect("already said"), digest);

    let unknown = format!("127.0.0.1:{}/web:1", empty_registry());
    let refusal = bench.docker.resolve(&unknown).await.expect_err("unknown");
    assert!(matches!(&refusal, Unresolved::Missing(text) if text.contains("manifest unknown")), "{refusal:?}");
    let unheard = bench.docker.resolve("127.0.0.1:1/web:1").await.expect_err("nobody listens there");
    assert!(matches!(&unheard, Unresolved::Unreachable(text) if text.contains("refused")), "{unheard:?}");
    let task = bench.assignment(1, |container, _| {
        container.image = unknown;
        container.pin = None;
    });
    let refusal = bench.docker.prepare(&task, &|_| {}).await.expect_err("unknown");
    assert!(matches!(&refusal, ExecutorError::Refused(text) if text.contains("manifest")), "{refusal:?}");

    let away = bench.assignment(2, |container, _| {
        container.image = "127.0.0.1:1/web:1".to_owned();
        container.pin = None;
    });
    let failure = bench.docker.prepare(&away, &|_| {}).await.expect_err("nobody listens there");
    assert!(matches!(&failure, ExecutorError::Failed(_)), "{failure:?}");
}

#[tokio::test]
async fn the_engine_describes_itself() {
    let Some(bench) = Bench::new(&[]).await else { return };
    let description = bench.docker.describe().await;
    assert_eq!((description.name, &description.health), ("docker", &EngineHealth::Ok));
    assert_eq!(description.os, "linux");
    assert!(description.resources.nano_cpus >= NANO_CPUS_PER_CORE && description.resources.memory_bytes > 0);
    bench.docker.ping().await.expect("it answers");
}

#[tokio::test]
async fn an_engine_that_is_not_there_or_does_not_answer_is_unavailable() {
    let identity = Identity { cluster_id: ClusterId::from_bits(1), node_id: NodeId::from_bits(1) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let absent = connect(folder.path().join("absent.sock"), identity);
    assert!(matches!(absent.describe().await.health, EngineHealth::Unavailable(text) if text.contains("start Docker")));
    assert!(matches!(absent.list().await, Err(ExecutorError::Unavailable(_))));

    let path = folder.path().join("silent.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let silent = connect(&path, identity);
    assert!(
        matches!(silent.describe().await.health, EngineHealth::Unavailable(text) if text.contains("did not answer"))
    );
    assert!(matches!(silent.ping().await, Err(ExecutorError::Unavailable(_))));

    let path = folder.path().join("closing.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let closing = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let broken = connect(&path, identity);
    let container = ContainerId("x".to_owned());
    assert!(matches!(broken.wait(&container).await, Err(ExecutorError::Unavailable(_))));
    assert!(matches!(broken.inspect(&container).await, Err(ExecutorError::Unavailable(_))));
    closing.abort();
}
