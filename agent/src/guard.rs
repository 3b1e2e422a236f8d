//! The guard: a process beside the daemon that stops tasks which must not run in isolation, where the daemon does not.
//!
//! The daemon starts one before it starts such a task ([`crate::isolation`]) and one is enough for a data folder: it
//! holds a lock there. It goes by the daemon's stamp alone. Once the lease is over and the daemon shows no sign of
//! being awake, it asks the executor for this node's containers and stops those that carry the mark, each with what is
//! left of its grace period. It knows no managers, no tasks and no assignments, and ends when there is nothing to guard.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use tracing::warn;

use crate::{
    clock::{self, Clock},
    executor::{ContainerId, ContainerState, Executor, Found},
    isolation::stamp::{self, Stamp},
};

/// Between two looks at the stamp.
const TICK: Duration = Duration::from_millis(100);
/// A daemon that was awake so recently stops its tasks itself, after draining them.
const AWAKE_MAX: Duration = Duration::from_millis(700);
/// Between two looks whether there is anything left to guard, once the daemon is silent.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// Between two looks for what is to be stopped.
const STOP_LOOK: Duration = Duration::from_millis(500);
/// A daemon that is silent for longer has no task that must not run in isolation, or is gone.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Tries to become the one guard, and the pause between them: a daemon looks ten times a second, and briefly.
const CLAIMS_MAX: u32 = 10;
const CLAIM_PAUSE: Duration = Duration::from_millis(30);

const LOCK_FILE: &str = "guard.lock";

pub(crate) fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("guard.log")
}

fn lock(data_dir: &Path) -> io::Result<Option<File>> {
    let file = File::create(data_dir.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

pub(crate) fn is_at_work(data_dir: &Path) -> io::Result<bool> {
    lock(data_dir).map(|free| free.is_none())
}

/// None: another guard is at work. Who only looks whether one is holds the lock for an instant too.
async fn claim(data_dir: &Path) -> io::Result<Option<File>> {
    for _look in 1..CLAIMS_MAX {
        if let Some(claimed) = lock(data_dir)? {
            return Ok(Some(claimed));
        }
        sleep(CLAIM_PAUSE).await;
    }
    lock(data_dir)
}

/// What a stamp calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The lease holds, or the daemon sees to its end.
    Wait,
    /// The daemon has said nothing for long; is anything left?
    Idle,
    /// The lease was over at that time, and nobody else acts.
    Stop { since: Duration },
}

fn decide(stamp: &Stamp, boot_id: &str, now: Duration) -> Verdict {
    let silent = now.saturating_sub(stamp.awake_at);
    if stamp.boot_id != boot_id || stamp.until > now {
        return if silent > SILENT_MAX { Verdict::Idle } else { Verdict::Wait };
    }
    if silent <= AWAKE_MAX { Verdict::Wait } else { Verdict::Stop { since: stamp.until } }
}

/// Until there is nothing to guard, or at once where another guard is at work. `data_dir` is the agent's.
pub async fn run(data_dir: &Path, executor: Arc<dyn Executor>, clock: Arc<dyn Clock>) -> io::Result<()> {
    let Some(_lock) = claim(data_dir).await? else { return Ok(()) };
    let boot_id = clock::boot_id();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut idle_look, mut stop_look) = (Instant::now(), None::<Instant>);
    let (mut stopping, mut is_told) = (BTreeSet::new(), false);
    let mut stops = JoinSet::new();
    loop {
        ticks.tick().await;
        while let Some(ended) = stops.try_join_next() {
            let container: ContainerId = ended.map_err(io::Error::other)?;
            stopping.remove(&container);
        }
        if !stamp::path(data_dir).exists() {
            // The node has left its cluster, and took its containers along.
            return Ok(());
        }
        let Some(stamp) = Stamp::read(data_dir) else { continue };
        match decide(&stamp, &boot_id, clock.since_boot()) {
            Verdict::Wait => {}
            Verdict::Idle if idle_look.elapsed() < IDLE_LOOK => {}
            Verdict::Idle => {
                idle_look = Instant::now();
                if executor.list().await.is_ok_and(|found| !found.iter().any(may_run)) {
                    return Ok(());
                }
            }
            Verdict::Stop { .. } if stop_look.is_some_and(|at| at.elapsed() < STOP_LOOK) => {}
            Verdict::Stop { since } => {
                stop_look = Some(Instant::now());
                let found = match executor.list().await {
                    Ok(found) => found,
                    // An engine that does not answer may run them all the same.
                    Err(_same) if is_told => continue,
                    Err(error) => {
                        warn!(%error, "the engine cannot be asked what is to be stopped; trying on");
                        is_told = true;
                        continue;
                    }
                };
                if !found.iter().any(may_run) && stopping.is_empty() && idle_look.elapsed() > IDLE_LOOK {
                    return Ok(());
                }
                for found in found.into_iter().filter(is_guarded) {
                    if stopping.insert(found.container.clone()) {
                        warn!(task = %found.task_id, "the node's lease is over and its daemon does not act; stopping");
                        let end = since + found.isolation_grace.unwrap_or_default();
                        let left = end.saturating_sub(clock.since_boot());
                        stops.spawn(stop(executor.clone(), found.container, left));
                    }
                }
            }
        }
    }
}

/// Also one that the daemon had started before it was silent, where the engine has yet to do so.
fn may_run(found: &Found) -> bool {
    found.isolation_grace.is_some() && !matches!(found.state, ContainerState::Exited(_))
}

fn is_guarded(found: &Found) -> bool {
    found.isolation_grace.is_some() && matches!(found.state, ContainerState::Running { .. })
}

/// One that fails is found, and stopped, again.
async fn stop(executor: Arc<dyn Executor>, container: ContainerId, grace: Duration) -> ContainerId {
    if let Err(error) = executor.stop(&container, grace).await {
        warn!(%container, %error, "not stopped yet; trying again");
    }
    container
}

#[cfg(test)]
mod tests {
    use muster_proto::{
        id::{ClusterId, NodeId},
        isolation::OnIsolation,
    };

    use super::*;
    use crate::{
        executor::{
            Identity,
            sim::{Engine, Sim},
        },
        task::fixture,
    };

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn decided(until: u64, awake_at: u64, now: u64) -> Verdict {
        let stamp = Stamp { boot_id: "this".to_owned(), until: s(until), awake_at: s(awake_at) };
        decide(&stamp, "this", s(now))
    }

    #[test]
    fn it_acts_when_the_lease_is_over_and_nobody_else_does() {
        assert_eq!(decided(10, 9, 9), Verdict::Wait);
        assert_eq!(decided(10, 2, 9), Verdict::Wait, "a daemon that is dead or paused may be back in time");
        assert_eq!(decided(10, 10, 10), Verdict::Wait, "the daemon is awake and sees to it");
        assert_eq!(decided(10, 9, 10), Verdict::Stop { since: s(10) });
        assert_eq!(decided(10, 8, 99), Verdict::Stop { since: s(10) });
        assert_eq!(decided(99, 9, 50), Verdict::Idle);
        let other_boot = Stamp { boot_id: "other".to_owned(), until: s(1), awake_at: s(1) };
        assert_eq!(decide(&other_boot, "this", s(5)), Verdict::Wait, "its containers ended with that boot");
    }

    /// The boot clock of a host whose time is tokio's.
    #[derive(Debug)]
    struct Paused(Instant);

    impl Clock for Paused {
        fn now(&self) -> muster_proto::time::Timestamp {
            muster_proto::time::Timestamp::EPOCH
        }

        fn since_boot(&self) -> Duration {
            self.0.elapsed()
        }
    }

    async fn prepared(sim: &Sim) -> ContainerId {
        let mut assignment = fixture::assignment(1);
        Arc::make_mut(&mut Arc::make_mut(&mut assignment).template).spec.on_isolation = OnIsolation::Stop;
        sim.prepare(&assignment, &|_| {}).await.unwrap().container
    }

    fn sim() -> Arc<Sim> {
        Arc::new(Sim::new(Identity { cluster_id: ClusterId::from_bits(1), node_id: NodeId::from_bits(1) }))
    }

    /// Of a daemon that is silent since its lease was over.
    fn begin(dir: &Path, sim: &Arc<Sim>) -> tokio::task::JoinHandle<io::Result<()>> {
        Stamp { boot_id: clock::boot_id(), until: s(0), awake_at: s(0) }.write(dir).unwrap();
        let (path, executor) = (dir.to_owned(), sim.clone());
        tokio::spawn(async move { run(&path, executor, Arc::new(Paused(Instant::now()))).await })
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_takes_long_is_waited_for() {
        let (dir, sim) = (tempfile::tempdir().unwrap(), sim());
        let container = prepared(&sim).await;
        let guard = begin(dir.path(), &sim);
        tokio::time::sleep(IDLE_LOOK * 3).await;
        assert!(!guard.is_finished(), "what the engine may yet start was left to itself");
        sim.start(&container).await.unwrap();
        guard.await.unwrap().unwrap();
        assert!(!sim.list().await.unwrap().iter().any(may_run));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_cannot_be_asked_is_asked_again() {
        let (dir, sim) = (tempfile::tempdir().unwrap(), sim());
        let container = prepared(&sim).await;
        sim.start(&container).await.unwrap();
        sim.set_engine(Engine::Away);
        let guard = begin(dir.path(), &sim);
        tokio::time::sleep(IDLE_LOOK * 3).await;
        assert!(!guard.is_finished(), "what runs was left to itself");
        sim.set_engine(Engine::Up);
        guard.await.unwrap().unwrap();
        assert!(!sim.list().await.unwrap().iter().any(is_guarded));
    }
}
