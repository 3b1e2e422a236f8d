//! Whole commands against a fake daemon on a real socket: what is printed, what is asked, how it ends.

mod changing;
mod cluster;
mod draining;
mod failures;
mod hosts;
mod members;
mod rebalancing;
mod sealed;
mod showing;
mod usage;
mod waiting;

use expect_test::Expect;
use muster_proto::v1::{self, TaskState};

use super::{
    NOW,
    fake::{Ran, World, run},
    objects::{failed, id, node, service, task, waiting},
};

pub(super) fn world() -> World {
    let web = service("--name web --replicas 3 -p 8000:8000 -l team=shop myapp:1.0.0");
    let agent = service("--name agent --mode global --limit-memory 64m agent:2");
    let mut early = failed(&web, 2, "t2old", "exit code 3");
    early.status.as_mut().unwrap().at -= 3_600_000;
    let mut pending = task(&web, 3, "t3", TaskState::Pending);
    pending.status.as_mut().unwrap().at -= 120_000;
    World {
        tasks: vec![
            early,
            task(&web, 1, "t1", TaskState::Running),
            task(&web, 2, "t2", TaskState::Starting),
            waiting(pending, "no suitable node among 1 node: 1 4 cpu asked, at most 2 free"),
        ],
        services: vec![web, agent],
        nodes: vec![node("n1", "host1")],
        membership: Some(v1::Member {
            cluster_id: id("c1"),
            node_id: id("n1"),
            advertise_addr: "10.0.0.1:7377".to_owned(),
            manager: true,
            managers: vec!["10.0.0.1:7377".to_owned()],
            incarnation: 1,
            certificate_expires_at: Some(NOW.millis() + 86_400_000),
            trouble: None,
        }),
        managers: vec!["10.0.0.1:7377".to_owned()],
        ..World::default()
    }
}

/// Exit code, stdout, stderr.
pub(super) fn shown(ran: &Ran) -> String {
    let stderr: String = ran.stderr.lines().map(|line| format!("stderr: {line}\n")).collect();
    format!("{}{stderr}exit code {}\n", ran.stdout, ran.code)
}

pub(super) fn check(line: &str, expected: Expect) -> Ran {
    let ran = run(world(), line);
    expected.assert_eq(&shown(&ran));
    ran
}
