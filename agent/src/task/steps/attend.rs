//! While the container runs: waits for its end, probes its health, and hears whether it shall stop.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use muster_proto::health::HealthCheck;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::{
    executor::{ContainerId, ContainerState, Executor, ExecutorError, Exit},
    health::{
        judge::{self, Judge, Reading},
        probe::{Answer, Target, probe},
    },
    ingress,
    task::{
        actor::Actor,
        machine::Phase,
        verdict::{Doing, Verdict},
    },
};

/// All that can happen to a container that runs.
enum Event {
    ToldToStop,
    Ended(Result<Exit, ExecutorError>),
    Probed(Answer),
}

/// The health check at work.
struct Checkup {
    executor: Arc<dyn Executor>,
    container: ContainerId,
    address: Option<IpAddr>,
    check: HealthCheck,
    judge: Judge,
    next: BoxFuture<'static, Answer>,
}

impl Checkup {
    fn new(
        executor: Arc<dyn Executor>,
        container: ContainerId,
        address: Option<IpAddr>,
        check: HealthCheck,
        judge: Judge,
    ) -> Self {
        let next = probe_after(executor.clone(), container.clone(), address, check.clone(), Duration::ZERO);
        Self { executor, container, address, check, judge, next }
    }

    fn probe_again(&mut self) {
        let (executor, container) = (self.executor.clone(), self.container.clone());
        self.next = probe_after(executor, container, self.address, self.check.clone(), self.judge.pause());
    }
}

fn probe_after(
    executor: Arc<dyn Executor>,
    container: ContainerId,
    address: Option<IpAddr>,
    check: HealthCheck,
    pause: Duration,
) -> BoxFuture<'static, Answer> {
    async move {
        sleep(pause).await;
        probe(&*executor, Target { container: &container, address }, &check).await
    }
    .boxed()
}

/// Never returns where there is no check.
async fn probed(checkup: &mut Option<Checkup>) -> Answer {
    match checkup {
        Some(checkup) => (&mut checkup.next).await,
        None => std::future::pending().await,
    }
}

impl Actor {
    /// Until it has ended, shall stop, or is condemned by its health check; on the way it becomes Running.
    pub(crate) async fn attend(&mut self) {
        let Some(container) = self.container() else { return self.vanished().await };
        let executor = self.context.executor.clone();
        let mut checkup = self.checkup(&executor, &container);
        if self.phase == Phase::Running {
            self.offer();
        }
        if checkup.is_none() {
            self.ready().await;
        }
        let mut stop = self.stop_signal();
        let mut end = executor.wait(&container);
        loop {
            let event = tokio::select! {
                biased;
                () = stop.given() => Event::ToldToStop,
                ended = &mut end => Event::Ended(ended),
                answer = probed(&mut checkup) => Event::Probed(answer),
            };
            match event {
                Event::ToldToStop => return,
                Event::Ended(Ok(exit)) => return self.finish(&exit).await,
                Event::Ended(Err(error)) => match self.regain(&container, error).await {
                    Some(Verdict::End(_) | Verdict::Gone | Verdict::Retry(_)) => return self.vanished().await,
                    None => end = executor.wait(&container),
                },
                Event::Probed(answer) => {
                    if let Some(checkup) = &mut checkup {
                        self.hear(answer, checkup).await;
                        checkup.probe_again();
                    }
                }
            }
            if self.phase == Phase::Leaving {
                return;
            }
        }
    }

    fn checkup(&self, executor: &Arc<dyn Executor>, container: &ContainerId) -> Option<Checkup> {
        let check = self.check()?;
        let judge = if self.phase == Phase::Running { Judge::resumed(&check) } else { Judge::new(&check) };
        Some(Checkup::new(executor.clone(), container.clone(), self.story.status.address, check, judge))
    }

    /// From before the managers can hear that it is ready: another node's connections may come as soon as they do.
    fn offer(&self) {
        if let Some(address) = self.story.status.address {
            self.context.ingress.offer(self.task(), self.assignment().service_id, address);
        }
    }

    async fn ready(&mut self) {
        self.offer();
        self.story.running().await;
        self.phase = Phase::Running;
    }

    /// The engine went away under a container. Returns None once it is back, or the task shall stop.
    async fn regain(&mut self, container: &ContainerId, error: ExecutorError) -> Option<Verdict> {
        let mut error = error;
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(verdict) = self.judged(Doing::Watching, &error, tries).await {
                return Some(verdict);
            }
            if self.wanted().is_stop() {
                return None;
            }
            match self.context.executor.inspect(container).await {
                Ok(ContainerState::Running { .. } | ContainerState::Exited(_)) => {
                    self.recovered();
                    return None;
                }
                // As it is after the engine itself was restored to an earlier time: nothing of ours runs in it.
                Ok(ContainerState::Created) => return Some(Verdict::Gone),
                Err(next) => error = next,
            }
        }
    }

    async fn hear(&mut self, answer: Answer, checkup: &mut Checkup) {
        let (reading, output) = match answer {
            Answer::Pass => (Reading::Pass, String::new()),
            Answer::Fail(output) => (Reading::Fail, output),
            // The engine's trouble; waiting for the container's end hears of it too.
            Answer::Unknown(_) => return,
        };
        let task = self.task();
        match checkup.judge.hear(reading, self.started.elapsed()) {
            judge::Verdict::Starting => self.story.chat(format!("not ready yet: {output}")),
            judge::Verdict::Healthy => {
                self.context.ingress.set_health(task, ingress::Health::Healthy);
                self.ready().await;
                self.recovered();
            }
            judge::Verdict::Failing(failures) => {
                self.context.ingress.set_health(task, ingress::Health::Unhealthy);
                self.story.hindered(format!("health check failed {failures} of {}: {output}", checkup.check.retries));
            }
            judge::Verdict::Unhealthy => {
                warn!(%task, reason = output, "unhealthy; the task is stopped");
                drop(self.context.ingress.drain(task));
                self.unhealthy = Some(output);
                self.leaving_since = Instant::now();
                self.phase = Phase::Leaving;
            }
        }
    }
}
