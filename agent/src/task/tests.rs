//! Whole lives of tasks against simulated containers, on a paused clock.

mod isolated;

use std::{sync::Arc, time::Duration};

use muster_proto::{
    assignment::Assignment,
    health::{HealthCheck, HealthPolicy, Probe},
    id::{ClusterId, NodeId, ServiceId, TaskId},
    restart::RestartCondition,
    task::{Evidence, Slot, TaskStatus},
    task_state::{
        DesiredState,
        TaskState::{self, Complete, Failed, Rejected, Running, Shutdown},
    },
    time::Timestamp,
};
use proptest::prelude::*;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::{
    actor::{Actor, Beginning, Order},
    context::Context,
    fixture,
};
use crate::{
    clock::Clock,
    executor::{
        Executor, Found, Identity,
        sim::{Engine, Sim},
    },
    ingress::{self, Ingress},
    isolation::Isolation,
    store,
};

const NODE: NodeId = NodeId::from_bits(1);

/// Longer than anything here takes, in paused time.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }

    fn since_boot(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One task at work, and all that was told of it.
struct Bench {
    sim: Arc<Sim>,
    context: Arc<Context>,
    order: watch::Sender<Order>,
    told: watch::Receiver<Vec<TaskStatus>>,
    /// How many of them were waited for.
    seen: usize,
    actor: JoinHandle<TaskId>,
    _parts: JoinSet<()>,
    _dir: tempfile::TempDir,
}

fn assignment(env: &[&str], change: impl FnOnce(&mut Assignment)) -> Arc<Assignment> {
    let mut assignment = (*fixture::assignment(1)).clone();
    let mut template = (*assignment.template).clone();
    template.spec.container.env = env.iter().map(|entry| (*entry).to_owned()).collect();
    assignment.template = Arc::new(template);
    change(&mut assignment);
    Arc::new(assignment)
}

fn with_check(retries: u32) -> impl FnOnce(&mut Assignment) {
    move |assignment| {
        let mut template = (*assignment.template).clone();
        template.spec.container.health = HealthPolicy::Check(HealthCheck {
            probe: Probe::Command { argv: vec!["check".to_owned()], shell: false },
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            retries,
            start_period: Duration::ZERO,
        });
        assignment.template = Arc::new(template);
    }
}

fn sim() -> Arc<Sim> {
    Arc::new(Sim::new(Identity { cluster_id: ClusterId::from_bits(1), node_id: NODE }))
}

impl Bench {
    fn new(assignment: Arc<Assignment>) -> Self {
        Self::with(sim(), assignment, Beginning::New, Some(Vec::new()))
    }

    fn with(sim: Arc<Sim>, assignment: Arc<Assignment>, beginning: Beginning, census: Option<Vec<Found>>) -> Self {
        let clock = Arc::new(PausedClock(Instant::now()));
        let isolation = Isolation::new(clock.clone(), None);
        let order = Order { assignment, asked_after: None, forget: false };
        Self::begin(sim, order, beginning, census, clock, isolation)
    }

    fn begin(
        sim: Arc<Sim>,
        order: Order,
        beginning: Beginning,
        census: Option<Vec<Found>>,
        clock: Arc<PausedClock>,
        isolation: Isolation,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, writer, _) = store::open(dir.path()).unwrap();
        let mut parts = JoinSet::new();
        parts.spawn(writer.run());
        let ingress = Ingress::new(ingress::Config {
            node: NODE,
            dial: Arc::<ingress::fake::Nodes>::default().seen_from(NODE),
            ip: [127, 0, 0, 1].into(),
        })
        .handle();
        let census = watch::channel(census.map(Arc::new)).1;
        let context = Arc::new(Context::new(sim.clone(), ingress, store, clock, census, isolation));
        let (order, orders) = watch::channel(order);
        let actor = tokio::spawn(Actor::new(context.clone(), orders, beginning).run());
        let (teller, told) = watch::channel(Vec::new());
        let outbox = context.outbox.clone();
        parts.spawn(async move {
            let mut sequence = 0;
            loop {
                outbox.filled().await;
                sequence += 1;
                let statuses = outbox.everything(sequence).into_iter().map(|report| report.status);
                teller.send_modify(|told| told.extend(statuses));
            }
        });
        Self { sim, context, order, told, seen: 0, actor, _parts: parts, _dir: dir }
    }

    fn want(&self, desired: DesiredState) {
        self.order.send_modify(|order| Arc::make_mut(&mut order.assignment).desired = desired);
    }

    fn forget(&self) {
        self.order.send_modify(|order| order.forget = true);
    }

    /// The first status of this kind after those that were waited for before.
    async fn until(&mut self, reached: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
        let mut told = self.told.clone();
        let place = |told: &Vec<TaskStatus>| told.iter().skip(self.seen).position(&reached);
        let Ok(found) = timeout(PATIENCE, told.wait_for(|told| place(told).is_some())).await else {
            panic!("{:#?}", self.told.borrow());
        };
        let found = found.unwrap();
        self.seen += place(&found).unwrap() + 1;
        found[self.seen - 1].clone()
    }

    async fn until_state(&mut self, state: TaskState) -> TaskStatus {
        self.until(|status| status.state == state).await
    }

    async fn finished(self) {
        self.forget();
        timeout(PATIENCE, self.actor).await.expect("the actor does not end").unwrap();
        assert_eq!(self.sim.list().await.unwrap(), [], "containers are left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_life() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_START_MS=250"], |a| a.desired = DesiredState::Ready));
    let ready = bench.until_state(TaskState::Ready).await;
    assert_eq!((ready.container_id.is_some(), bench.sim.starts().len()), (true, 0));
    bench.want(DesiredState::Running);
    let running = bench.until_state(Running).await;
    assert_eq!(running.running_at, Some(running.at));
    bench.want(DesiredState::Shutdown);
    let shut = bench.until_state(Shutdown).await;
    assert_eq!((shut.exit_code, shut.removed, shut.running_at), (Some(0), false, running.running_at));
    bench.want(DesiredState::Remove);
    bench.until(|status| status.removed).await;
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_by_itself() {
    for (how, state, error) in [
        ("3@100", Failed, Some("exit code 3")),
        ("0@100", Complete, None),
        ("oom@100", Failed, Some("killed: out of memory (limit 64 MiB)")),
    ] {
        let exit = format!("MUSTER_SIM_EXIT={how}");
        let mut bench = Bench::new(assignment(&[&exit, "MUSTER_SIM_LOG=about to end"], |_| {}));
        let ended = bench.until(|status| status.state.is_final()).await;
        assert_eq!((ended.state, ended.error.as_deref()), (state, error));
        let evidence = ended.evidence.expect("nobody asked for the end");
        assert!(evidence.log_tail.contains(&"about to end".to_owned()), "{evidence:?}");
        assert_eq!(evidence.oom_killed, how.starts_with("oom"));
        assert_eq!(ended.exit_code.is_some_and(|code| code == 0), state == Complete);
        bench.finished().await;
    }
}

/// Whether the slot of a task that ends so is in a crash loop then, and what was kept of it.
async fn after_end(how: &str, condition: RestartCondition, is_in_loop: bool) -> (bool, Option<Evidence>) {
    let env = [format!("MUSTER_SIM_EXIT={how}"), "MUSTER_SIM_LOG=about to end".to_owned()];
    let mut bench = Bench::new(assignment(&env.each_ref().map(String::as_str), |assignment| {
        Arc::make_mut(&mut assignment.template).spec.restart.condition = condition;
    }));
    let (place, outbox) = ((ServiceId::from_bits(1), Slot::Number(1)), bench.context.outbox.clone());
    if is_in_loop {
        outbox.crashed(place);
    }
    let ended = bench.until(|status| status.state.is_final()).await;
    bench.finished().await;
    (outbox.is_in_loop(place), ended.evidence.map(|evidence| *evidence))
}

#[tokio::test(start_paused = true)]
async fn success_is_a_failure_only_of_what_is_to_run_for_ever() {
    let (is_in_loop, evidence) = after_end("0@100", RestartCondition::Any, false).await;
    assert!(is_in_loop && evidence.is_some());
    for condition in [RestartCondition::OnFailure, RestartCondition::None] {
        assert_eq!(after_end("0@100", condition, false).await, (false, None), "{condition}");
        let (is_in_loop, evidence) = after_end("3@100", condition, false).await;
        assert!(is_in_loop && evidence.is_some(), "{condition}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stable_run_ends_a_crash_loop() {
    let is_in_loop = async |how, before| after_end(how, RestartCondition::Any, before).await.0;
    assert!(is_in_loop("3@59000", false).await);
    assert!(!is_in_loop("3@60100", false).await);
    assert!(!is_in_loop("3@60100", true).await);
    assert!(!is_in_loop("0@60100", true).await);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_start_is_rejected() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_PREPARE_ERROR=no such image"], |_| {}));
    let rejected = bench.until(|status| status.removed).await;
    assert_eq!((rejected.state, rejected.error.as_deref()), (Rejected, Some("no such image")));
    bench.finished().await;

    let mut bench = Bench::new(assignment(&["MUSTER_SIM_START_ERROR=no such command"], |_| {}));
    let rejected = bench.until_state(Rejected).await;
    assert_eq!((rejected.removed, rejected.error.as_deref()), (false, Some("no such command")));
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn running_means_ready_and_is_noticed_soon() {
    let env = ["MUSTER_SIM_HEALTH=pass@3200"];
    let mut bench = Bench::new(assignment(&env, with_check(3)));
    let running = bench.until_state(Running).await;
    assert!((3_200..3_800).contains(&running.at.millis()), "{}", running.at.millis());
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_passes_fails_with_what_its_check_said() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_HEALTH=fail"], with_check(2)));
    let failed = bench.until_state(Failed).await;
    assert!(failed.at.millis() >= 4_000, "two intervals: {}", failed.at.millis());
    assert_eq!(
        failed.error.as_deref(),
        Some("unhealthy: health command ended with exit code 1: check fails as scripted")
    );
    assert!(failed.evidence.unwrap().health.unwrap().contains("fails as scripted"));
    assert_eq!(failed.running_at, None);
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_becomes_unhealthy_fails() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_HEALTH=fail@5000"], with_check(2)));
    bench.until_state(Running).await;
    bench.until(|status| status.error.as_ref().is_some_and(|e| e.starts_with("health check failed 1 of 2"))).await;
    let failed = bench.until_state(Failed).await;
    assert!(failed.running_at.is_some() && failed.error.unwrap().starts_with("unhealthy: "));
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_before_the_start_starts_nothing() {
    for env in [&["MUSTER_SIM_PREPARE_MS=60000"][..], &[]] {
        let mut bench = Bench::new(assignment(env, |a| a.desired = DesiredState::Ready));
        if env.is_empty() {
            bench.until_state(TaskState::Ready).await;
        } else {
            bench.until_state(TaskState::Preparing).await;
            // Past the middle: the engine has made the container and not said so yet.
            sleep(Duration::from_secs(45)).await;
        }
        bench.want(DesiredState::Shutdown);
        // What never ran leaves nothing behind, for its history neither.
        let shut = bench.until(|status| status.state == Shutdown && status.removed).await;
        assert_eq!(shut.message, "shut down before it was started");
        assert_eq!(bench.sim.starts(), []);
        bench.finished().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_process_is_killed_when_its_grace_is_over() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_STOP_MS=60000"], |_| {}));
    let running = bench.until_state(Running).await;
    bench.want(DesiredState::Remove);
    let shut = bench.until(|status| status.removed).await;
    assert_eq!((shut.state, shut.exit_code), (Shutdown, Some(137)));
    assert_eq!(shut.at.since(running.at).as_secs(), 10);
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_fails_no_task() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_EXIT=7@120000"], with_check(1)));
    bench.until_state(Running).await;
    bench.sim.set_engine(Engine::Away);
    bench.until(|status| status.error.as_ref().is_some_and(|error| error.contains("engine unavailable"))).await;
    sleep(Duration::from_secs(60)).await;
    bench.sim.set_engine(Engine::Up);
    let back = bench.until(|status| status.error.is_none()).await;
    assert_eq!((back.state, back.message.as_str()), (Running, "running"));
    assert_eq!(bench.until_state(Failed).await.exit_code, Some(7));
    assert_eq!(bench.sim.starts().len(), 1);
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_was_lost_is_not_done_twice() {
    let mut bench = Bench::new(assignment(&["MUSTER_SIM_START_MS=1000", "MUSTER_SIM_EXIT=3@100"], |_| {}));
    bench.until_state(TaskState::Starting).await;
    sleep(Duration::from_millis(700)).await;
    bench.sim.set_engine(Engine::Away);
    bench.until(|status| status.error.is_some()).await;
    bench.sim.set_engine(Engine::Up);
    assert_eq!(bench.until_state(Failed).await.exit_code, Some(3));
    assert_eq!(bench.sim.starts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_an_engine_that_is_not_there_yet() {
    let sim = sim();
    sim.set_engine(Engine::Away);
    let mut bench = Bench::with(sim, assignment(&[], |_| {}), Beginning::New, Some(Vec::new()));
    let waits =
        bench.until(|status| status.error.as_ref().is_some_and(|error| error.contains("engine unavailable"))).await;
    assert_eq!(waits.state, TaskState::Preparing);
    bench.sim.set_engine(Engine::Up);
    bench.until_state(Running).await;
    bench.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_taken_up_again() {
    let assignment = assignment(&[], |_| {});
    let mut first = Bench::new(assignment.clone());
    let status = first.until_state(Running).await;
    let (sim, census) = (first.sim.clone(), first.sim.list().await.unwrap());
    first.actor.abort();
    for status in [Some(status), None] {
        let resumed = Beginning::Resumed { status: status.clone(), image_health: None };
        let mut bench = Bench::with(sim.clone(), assignment.clone(), resumed, Some(census.clone()));
        let again = bench.until_state(Running).await;
        assert_eq!(sim.starts().len(), 1);
        if let Some(status) = status {
            assert_eq!(again.running_at, status.running_at);
        }
        assert_eq!(bench.context.directory.get(assignment.task_id), Some(census[0].container.clone()));
        bench.actor.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_removed_fails_its_task() {
    let mut status = TaskStatus::new(Running, Timestamp::EPOCH, "running");
    status.running_at = Some(Timestamp::EPOCH);
    let resumed = Beginning::Resumed { status: Some(status), image_health: None };
    let mut bench = Bench::with(sim(), assignment(&[], |_| {}), resumed, Some(Vec::new()));
    let failed = bench.until(|status| status.removed).await;
    assert_eq!((failed.state, failed.error.as_deref()), (Failed, Some("its container was removed by somebody else")));
    bench.finished().await;
}

#[derive(Clone, Debug)]
enum Deed {
    Want(DesiredState),
    Engine(Engine),
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        prop::sample::select(
            &[DesiredState::Ready, DesiredState::Running, DesiredState::Shutdown, DesiredState::Remove][..]
        )
        .prop_map(Deed::Want),
        prop::sample::select(&[Engine::Away, Engine::Up][..]).prop_map(Deed::Engine),
        (0u64..3_000).prop_map(Deed::Pass),
    ]
}

fn script() -> impl Strategy<Value = Vec<&'static str>> {
    let entries = [
        "MUSTER_SIM_PREPARE_MS=700",
        "MUSTER_SIM_START_MS=700",
        "MUSTER_SIM_EXIT=1@900",
        "MUSTER_SIM_EXIT=0@2000",
        "MUSTER_SIM_HEALTH=pass@1200",
        "MUSTER_SIM_HEALTH=fail@1200",
        "MUSTER_SIM_STOP_MS=1500",
        "MUSTER_SIM_PREPARE_ERROR=no",
        "MUSTER_SIM_START_ERROR=no",
    ];
    prop::sample::subsequence(entries.to_vec(), 0..4)
}

async fn play(env: Vec<&str>, deeds: Vec<Deed>, checked: bool) {
    let change = |assignment: &mut Assignment| {
        assignment.desired = DesiredState::Ready;
        if checked {
            with_check(2)(assignment);
        }
    };
    let bench = Bench::new(assignment(&env, change));
    let mut wanted = DesiredState::Ready;
    let mut was_wanted_to_run = false;
    for deed in deeds {
        match deed {
            Deed::Want(desired) if desired > wanted => {
                wanted = desired;
                was_wanted_to_run |= desired == DesiredState::Running;
                bench.want(desired);
            }
            Deed::Want(_) => {}
            Deed::Engine(engine) => bench.sim.set_engine(engine),
            Deed::Pass(ms) => sleep(Duration::from_millis(ms)).await,
        }
    }
    bench.sim.set_engine(Engine::Up);
    bench.forget();
    let (sim, mut told) = (bench.sim.clone(), bench.told.clone());
    bench.finished().await;
    assert!(sim.starts().len() <= usize::from(was_wanted_to_run), "started {} times", sim.starts().len());
    let last_is_final = |told: &Vec<TaskStatus>| told.last().is_some_and(|s| s.state.is_final() && s.removed);
    // The one who gathers what is told may be a step behind the actor.
    let told = timeout(PATIENCE, told.wait_for(last_is_final)).await.expect("the end was not told").unwrap().clone();
    for pair in told.windows(2) {
        let [before, after] = pair else { unreachable!("windows of two") };
        assert!(before.state <= after.state && before.removed <= after.removed, "{before:?} then {after:?}");
        assert!(!before.state.is_final() || before.state == after.state, "{before:?} then {after:?}");
        assert!(before.running_at.is_none() || before.running_at == after.running_at, "{before:?} then {after:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever is scripted and whenever it is stopped, with the engine coming and going: statuses only grow, nothing is
    /// started that was never wanted to run, nothing twice, and in the end nothing is left.
    #[test]
    fn any_life_ends_clean(env in script(), deeds in prop::collection::vec(deed(), 0..12), checked: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(env, deeds, checked));
    }
}
