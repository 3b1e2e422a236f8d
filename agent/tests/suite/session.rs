//! What an agent and its manager do with each other.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use crate::fake::{
    Manager, PATIENCE, assignment,
    node::{IDENTITY, Node, config},
    task,
};
use muster_agent::executor::{
    ContainerState, Executor,
    sim::{Engine, Sim},
};
use muster_proto::{
    assignment::IngressService,
    endpoint::{PortConfig, Protocol, PublishMode},
    id::{NodeId, ServiceId},
    task_state::{
        DesiredState,
        TaskState::{Failed, Preparing, Running, Shutdown},
    },
    v1::NodeDescription,
};
use tokio::time::{Instant, timeout};

fn sim() -> Arc<Sim> {
    Arc::new(Sim::new(IDENTITY))
}

async fn running(sim: &Sim) -> usize {
    let found = sim.list().await.unwrap();
    found.iter().filter(|found| matches!(found.state, ContainerState::Running { .. })).count()
}

#[tokio::test]
async fn a_task_comes_and_goes() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.assign(assignment(1, &["MUSTER_SIM_LOG=hello"]));
    manager.until_state(task(1), Running).await;

    manager.open_log(task(1));
    let chunks = manager.until_log_end().await;
    let lines: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.lines).map(|line| line.text.clone()).collect();
    assert!(lines.contains(&b"hello\n".to_vec()), "{lines:?}");

    manager.want(task(1), DesiredState::Shutdown);
    manager.until_state(task(1), Shutdown).await;
    manager.want(task(1), DesiredState::Remove);
    manager.until_removed(task(1)).await;
    assert_eq!(sim.list().await.unwrap(), []);
    manager.forget(task(1));
    let file = dir.path().join("tasks").join(format!("{}.json", task(1)));
    timeout(PATIENCE, async {
        while file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a forgotten task is still on disk");
    agent.stop().await;
}

#[tokio::test]
async fn a_lost_session_changes_nothing_and_what_it_missed_is_told() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.assign(assignment(1, &[]));
    manager.assign(assignment(2, &["MUSTER_SIM_PREPARE_MS=1"]));
    manager.until_state(task(1), Running).await;
    manager.until_state(task(2), Running).await;

    // Silent for longer than the lease: the agent gives the session up and opens another.
    manager.fall_silent(true);
    manager.want(task(2), DesiredState::Shutdown);
    manager.until_sessions(2).await;
    manager.fall_silent(false);
    manager.end_sessions();
    manager.until_state(task(2), Shutdown).await;
    assert_eq!(sim.starts().len(), 2);
    assert_eq!(running(&sim).await, 1);
    assert_eq!(manager.times_told(task(1), Running), 1, "what was confirmed is not told again");
    agent.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_agent_takes_up_what_runs() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    for number in 1..=3 {
        manager.assign(assignment(number, &[]));
    }
    for number in 1..=3 {
        manager.until_state(task(number), Running).await;
    }
    agent.stop().await;
    assert_eq!(running(&sim).await, 3);

    // Meanwhile one row goes for good, and one record is damaged.
    manager.lose(task(2));
    manager.clear();
    fs::write(dir.path().join("tasks").join(format!("{}.json", task(3))), "half a rec").unwrap();
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.until_state(task(1), Running).await;
    manager.until_state(task(3), Running).await;
    timeout(PATIENCE, async {
        while sim.list().await.unwrap().len() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a container that nobody asks for stays");
    assert_eq!(sim.starts().len(), 3, "nothing was started again");
    assert_eq!(running(&sim).await, 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_container_without_a_record_runs_on_until_managers_say_that_nobody_wants_it() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.assign(assignment(1, &[]));
    manager.until_state(task(1), Running).await;
    agent.stop().await;
    fs::remove_file(dir.path().join("tasks").join(format!("{}.json", task(1)))).unwrap();
    manager.lose(task(1));
    manager.fall_silent(true);
    let sessions = manager.sessions();
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.until_sessions(sessions + 2).await;
    assert_eq!(running(&sim).await, 1, "no manager has spoken yet");
    manager.fall_silent(false);
    manager.end_sessions();
    timeout(PATIENCE, async {
        while !sim.list().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a container that nobody asks for stays");
    agent.stop().await;
}

#[tokio::test]
async fn the_engines_health_is_told_at_once_and_leaving_removes_everything() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    sim.set_engine(Engine::Away);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.until_described(|description| description.engine_unavailable.is_some()).await;
    sim.set_engine(Engine::Up);
    manager.until_described(|description| description.engine_unavailable.is_none()).await;
    for number in 1..=3 {
        manager.assign(assignment(number, &[]));
    }
    for number in 1..=3 {
        manager.until_state(task(number), Running).await;
    }
    assert_eq!(agent.handle.remove_everything().await.unwrap(), 3);
    assert_eq!(sim.list().await.unwrap(), []);
    agent.stop().await;
    assert_eq!(fs::read_dir(dir.path().join("tasks")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_agent_goes_to_the_leader_that_it_is_sent_to_and_remembers_all_managers() {
    let (dir, sim) = (tempfile::tempdir().unwrap(), sim());
    let (first, second, third) = (Manager::start().await, Manager::start().await, Manager::start().await);
    first.follow(&second);
    second.name_managers(&[&first, &second]);
    let agent = Node::start(dir.path(), &sim, &first).await;
    second.until_sessions(1).await;
    let mut orders = agent.handle.orders();
    let named = |list: &[&Manager]| list.iter().map(|manager| manager.address.to_string()).collect::<Vec<_>>();
    let expected = named(&[&second, &third]);
    second.name_managers(&[&second, &third]);
    let heard = orders.wait_for(|orders| orders.as_ref().is_some_and(|orders| orders.managers == expected));
    timeout(PATIENCE, heard).await.expect("told").unwrap();
    let gone = NodeId::from_bits(77);
    second.remove_node(gone);
    let mut removed = agent.handle.removed();
    let heard = removed.wait_for(|removed| removed.contains(&gone));
    timeout(PATIENCE, heard).await.expect("told").unwrap();
    third.remove_node(gone);
    second.follow(&third);
    third.until_sessions(1).await;
    agent.stop().await;

    // Started anew it knows them from its disk: the one it was configured with is away.
    first.follow(&first);
    let before = third.sessions();
    let agent = Node::start_with(config(dir.path(), &sim, Vec::new())).await;
    assert!(agent.handle.removed().borrow().contains(&gone), "before anybody has spoken");
    third.until_sessions(before + 1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_manager_of_an_earlier_incarnation_is_refused() {
    let (dir, sim) = (tempfile::tempdir().unwrap(), sim());
    let (recovered, left_behind) = (Manager::start().await, Manager::start().await);
    recovered.belong_to(2);
    left_behind.belong_to(1);
    let agent = Node::start(dir.path(), &sim, &recovered).await;
    recovered.assign(assignment(1, &[]));
    recovered.until_state(task(1), Running).await;
    agent.stop().await;

    // It knows of no task, and would have the container removed.
    let agent = Node::start(dir.path(), &sim, &left_behind).await;
    left_behind.until_sessions(3).await;
    assert_eq!(running(&sim).await, 1);
    assert_eq!(left_behind.reports(), 0);
    left_behind.belong_to(3);
    left_behind.assign(assignment(1, &[]));
    left_behind.until_state(task(1), Running).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_manager_that_calls_is_asked_for_a_session_and_one_left_behind_is_not() {
    let (dir, sim) = (tempfile::tempdir().unwrap(), sim());
    let (former, left_behind, restored) = (Manager::start().await, Manager::start().await, Manager::start().await);
    former.belong_to(2);
    left_behind.belong_to(1);
    restored.belong_to(3);
    let agent = Node::start(dir.path(), &sim, &former).await;
    former.assign(assignment(1, &[]));
    former.until_state(task(1), Running).await;

    // It takes the node's calls, and is none that it would have a session with.
    former.belong_to(1);
    former.end_sessions();
    let call = |manager: &Manager, incarnation| agent.handle.called(incarnation, vec![manager.address.to_string()]);
    call(&left_behind, 1).expect_err("it is of an earlier incarnation");
    restored.assign(assignment(1, &[]));
    restored.assign(assignment(2, &[]));
    // Taken once the node has no session, and then named again and again.
    let calls = async {
        loop {
            call(&restored, 3).unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = restored.until_sessions(1) => {}
        () = calls => {}
    }
    restored.until_state(task(2), Running).await;
    assert_eq!((left_behind.sessions(), sim.starts().len(), running(&sim).await), (0, 2, 2));
    agent.stop().await;
}

#[tokio::test]
async fn images_that_take_long_to_fetch_hold_up_no_other_task() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    for number in 1..=12 {
        manager.assign(assignment(number, &["MUSTER_SIM_FETCH_MS=3600000"]));
        manager.until_state(task(number), Preparing).await;
    }
    manager.assign(assignment(13, &[]));
    manager.until_state(task(13), Running).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_crash_loop_costs_one_message_a_second_and_every_end_is_told() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    let begin = Instant::now();
    let crash = ["MUSTER_SIM_EXIT=3@10", "MUSTER_SIM_LOG=no database"];
    manager.assign(assignment(1, &crash));
    manager.until_state(task(1), Failed).await;
    let of_the_first = manager.messages();
    for attempt in 2..=4 {
        // Its pause is over long before its predecessor's end is told.
        manager.assign(assignment(attempt, &crash));
        let failed = manager.until_state(task(attempt), Failed).await;
        assert_eq!(failed.exit_code, Some(3));
        assert!(failed.evidence.is_some_and(|evidence| evidence.log_tail.contains(&"no database".to_owned())));
    }
    let is_one_a_second = || {
        let (looped, elapsed) = (manager.messages() - of_the_first, begin.elapsed());
        assert!((1..=elapsed.as_secs()).contains(&looped), "{looped} messages in {elapsed:?}");
    };
    is_one_a_second();

    // Nor does a session that breaks off cost one more: what it did not confirm goes with the rest.
    for attempt in 5..=7 {
        manager.assign(assignment(attempt, &crash));
        manager.end_sessions();
        assert_eq!(manager.until_state(task(attempt), Failed).await.exit_code, Some(3));
    }
    is_one_a_second();
    agent.stop().await;
}

fn is_hindered(description: &NodeDescription) -> bool {
    description.problems.iter().any(|problem| problem.contains("takes no new tasks"))
}

fn published(port: u16) -> IngressService {
    let port = PortConfig { protocol: Protocol::Tcp, target: 8000, published: port, mode: PublishMode::Ingress };
    IngressService { service_id: ServiceId::from_bits(1), ports: vec![port], backends: Vec::new() }
}

/// Every write fails, as on a full disk.
#[tokio::test]
async fn a_disk_that_takes_nothing_holds_up_no_end_and_no_list() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.assign(assignment(1, &[]));
    manager.assign(assignment(2, &[]));
    manager.until_state(task(2), Running).await;
    manager.until_state(task(1), Running).await;
    let (tasks, away) = (dir.path().join("tasks"), dir.path().join("away"));
    fs::rename(&tasks, &away).unwrap();
    fs::write(&tasks, "no folder").unwrap();

    manager.assign(assignment(3, &[]));
    manager.until_described(is_hindered).await;
    manager.want(task(1), DesiredState::Shutdown);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    manager.list(vec![published(port.port())]);
    manager.until_state(task(1), Shutdown).await;
    manager.forget(task(2));
    timeout(PATIENCE, async {
        while running(&sim).await > 0 || TcpStream::connect(port).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a list that is not applied, or a container that nobody asks for");
    assert_eq!(manager.times_told(task(3), Running), 0, "it is not on the disk");

    // Neither what shall begin nor what shall end waits any more: nobody would hear of it when there is room again.
    manager.forget(task(3));
    manager.forget(task(1));
    manager.until_described(|description| !is_hindered(description)).await;
    manager.assign(assignment(4, &[]));
    manager.until_described(is_hindered).await;

    fs::remove_file(&tasks).unwrap();
    fs::rename(&away, &tasks).unwrap();
    manager.until_state(task(4), Running).await;
    manager.until_described(|description| !is_hindered(description)).await;
    agent.stop().await;
}
