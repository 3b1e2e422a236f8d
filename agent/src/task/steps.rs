//! The steps that make, end and remove a task's container. Each returns with the phase it came to; one that is told to
//! stop midway returns early and leaves it to the machine to say what now.
//!
//! What a task does while its container runs is in [`attend`].

mod attend;

use std::{net::IpAddr, time::Duration};

use futures_util::StreamExt;
use muster_proto::{assignment::Assignment, task::Evidence, task_state::TaskState};
use tokio::time::{Instant, timeout};

use super::{
    actor::{Actor, Leftover},
    ending::Ending,
    grace,
    machine::Phase,
    verdict::{Doing, Verdict},
};
use crate::{
    executor::{ContainerId, ContainerState, Executor, Exit, Found, LogOptions, Prepared},
    isolation::Readiness,
    words::cut,
};

/// For the last log lines of a task that failed; its end is reported without them when they take longer.
const LOG_TAIL_MAX: Duration = Duration::from_secs(2);

impl Actor {
    pub(super) async fn find(&mut self) {
        let mut census = self.context.census.clone();
        if census.borrow().is_none() {
            self.story.hindered("waits for the engine to say what became of its container".to_owned());
        }
        let Ok(found) = census.wait_for(Option::is_some).await.map(|census| census.clone().unwrap_or_default()) else {
            return std::future::pending().await;
        };
        let assignment = self.assignment();
        let found = found.iter().find(|f| f.task_id == assignment.task_id && f.fence == assignment.fence).cloned();
        self.recovered();
        match found {
            Some(found) => self.resume(found).await,
            None if self.story.status.state.is_final() => self.gone_for_good().await,
            None if self.story.status.state == TaskState::Running => self.vanished().await,
            None => self.begin_anew(),
        }
    }

    /// It never ran here: an outage that was before a manager asked for it is nothing to it. Of one that was read from
    /// disk no outage is known to be.
    fn begin_anew(&mut self) {
        self.outages_before = self.asked_after.unwrap_or_default();
        self.phase = Phase::Accepted;
    }

    async fn resume(&mut self, found: Found) {
        self.holds(Leftover::Container(found.container.clone()));
        let ended = self.story.status.state.is_final();
        match found.state {
            ContainerState::Created | ContainerState::Exited(_) if ended => self.phase = Phase::Ended,
            // To be prepared again, which finds it and learns of the image what a crash may have kept from the disk.
            ContainerState::Created => self.phase = Phase::Accepted,
            ContainerState::Exited(exit) => self.finish(&exit).await,
            ContainerState::Running { .. } if ended => self.phase = Phase::Leaving,
            ContainerState::Running { address } => {
                self.story.container(&found.container, address);
                self.started = Instant::now();
                self.phase = if self.story.status.state == TaskState::Running {
                    Phase::Running
                } else {
                    self.story.advance(TaskState::Starting, "runs; its health is being checked");
                    Phase::Starting
                };
            }
        }
    }

    /// False when told to stop instead.
    async fn take_permit(&mut self) -> bool {
        let mut stop = self.stop_signal();
        if self.permit.is_none() {
            let starts = self.context.starts();
            self.permit = tokio::select! {
                biased;
                () = stop.given() => None,
                permit = starts.acquire_owned() => permit.ok(),
            };
        }
        self.permit.is_some() && !self.wanted().is_stop()
    }

    pub(super) async fn prepare(&mut self, assignment: &Assignment) {
        self.story.advance(TaskState::Preparing, "preparing");
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_prepare(assignment).await {
                // Whatever was made so far is found, and removed, when the task is.
                None => return self.leave_preparation().await,
                Some(Ok(prepared)) => {
                    self.story.container(&prepared.container, None);
                    self.holds(Leftover::Container(prepared.container));
                    if prepared.image_health.is_some() {
                        self.story.image_health = prepared.image_health;
                        self.story.keep().await;
                    }
                    self.story.advance(TaskState::Ready, "ready to start");
                    self.phase = Phase::Prepared;
                    return;
                }
                Some(Err(error)) => match self.judged(Doing::Preparing, &error, tries).await {
                    None if self.wanted().is_stop() => return self.leave_preparation().await,
                    None | Some(Verdict::Gone | Verdict::Retry(_)) => {}
                    Some(Verdict::End(ending)) => {
                        // An earlier try whose answer was lost may have made one.
                        self.holds(if tries > 1 { Leftover::Perhaps } else { Leftover::Nothing });
                        return self.end(ending).await;
                    }
                },
            }
        }
    }

    /// None when told to stop instead. A permit is taken once the image is there, and kept where the container is: a
    /// slow registry holds up nobody.
    async fn try_prepare(&mut self, assignment: &Assignment) -> Option<crate::executor::Result<Prepared>> {
        let (mut stop, starts) = (self.stop_signal(), self.context.starts());
        let (executor, story) = (&self.context.executor, &self.story);
        let progress = |message| story.chat(message);
        let mut permit = None;
        let prepared = async {
            executor.fetch(assignment, &progress).await?;
            permit = starts.acquire_owned().await.ok();
            executor.prepare(assignment, &progress).await
        };
        let result = tokio::select! {
            biased;
            () = stop.given() => None,
            result = prepared => Some(result),
        };
        self.permit = permit.filter(|_| matches!(result, Some(Ok(_))));
        result
    }

    async fn leave_preparation(&mut self) {
        self.holds(Leftover::Perhaps);
        self.cancel().await;
    }

    /// A container that never ran has nothing to tell, so none stays; the guard would go on watching over it.
    pub(super) async fn cancel(&mut self) {
        self.end(Ending::cancelled()).await;
        if self.phase != Phase::Removed {
            self.remove().await;
        }
    }

    /// A task that must not run in isolation is not started before something can stop it without this agent. False when
    /// told to stop instead.
    async fn is_safe_to_start(&mut self) -> bool {
        let (mut readiness, mut stop) = (self.context.isolation.readiness(), self.stop_signal());
        while self.must_stop_in_isolation() {
            let now = readiness.borrow_and_update().clone();
            if now != Readiness::Ready {
                self.permit = None;
            }
            match now {
                Readiness::Ready => break,
                Readiness::Hindered(why) => self.story.hindered(why),
                Readiness::Unknown => {}
            }
            tokio::select! {
                biased;
                () = stop.given() => return false,
                changed = readiness.changed() => if changed.is_err() { return false },
            }
        }
        !self.wanted().is_stop()
    }

    pub(super) async fn start(&mut self) {
        let Some(container) = self.container() else { return self.vanished().await };
        if !self.is_safe_to_start().await || !self.take_permit().await {
            return;
        }
        self.story.advance(TaskState::Starting, "starting");
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_start(&container, tries).await {
                Ok(address) => {
                    self.story.container(&container, address);
                    self.started = Instant::now();
                    self.permit = None;
                    self.phase = Phase::Starting;
                    return;
                }
                Err(error) => match self.judged(Doing::Starting, &error, tries).await {
                    // Whether it runs is not known; stopping it is right either way.
                    None if self.wanted().is_stop() => return self.leave(),
                    None | Some(Verdict::Retry(_)) => {}
                    Some(Verdict::End(ending)) => return self.end(ending).await,
                    Some(Verdict::Gone) => return self.vanished().await,
                },
            }
        }
    }

    /// A try whose answer was lost may have started it, and it may have ended since: a task never runs twice.
    async fn try_start(&self, container: &ContainerId, tries: u32) -> crate::executor::Result<Option<IpAddr>> {
        let executor = &self.context.executor;
        if tries > 1 {
            match executor.inspect(container).await? {
                ContainerState::Created => {}
                ContainerState::Running { address } => return Ok(address),
                ContainerState::Exited(_) => return Ok(None),
            }
        }
        executor.start(container).await
    }

    fn leave(&mut self) {
        let now = Instant::now();
        // Its grace period began with the end of the lease, whenever this agent came to see it.
        let late = if self.is_cut_off() { self.context.isolation.since_outage() } else { Duration::ZERO };
        self.leaving_since = now.checked_sub(late).unwrap_or(now);
        self.phase = Phase::Leaving;
    }

    pub(super) async fn drain(&mut self) {
        let Some(container) = self.container() else { return self.vanished().await };
        self.leave();
        let drained = self.context.ingress.drain(self.task());
        self.story.hindered("its connections end before it is stopped".to_owned());
        let limit = grace::for_drain(self.spec().stop_grace_period).saturating_sub(self.leaving_since.elapsed());
        let executor = self.context.executor.clone();
        let exit = tokio::select! {
            exit = exit_of(&*executor, &container) => Some(exit),
            _ = timeout(limit, drained) => None,
        };
        if let Some(exit) = exit {
            self.finish(&exit).await;
        }
    }

    pub(super) async fn stop(&mut self) {
        let Some(container) = self.container() else { return self.vanished().await };
        self.story.hindered("stopping".to_owned());
        let executor = self.context.executor.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            let left = grace::for_stop(self.spec().stop_grace_period, self.leaving_since.elapsed());
            let result = match executor.stop(&container, left).await {
                Ok(()) => executor.wait(&container).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(exit) => return self.finish(&exit).await,
                Err(error) => match self.judged(Doing::Stopping, &error, tries).await {
                    None | Some(Verdict::Retry(_)) => {}
                    Some(Verdict::End(ending)) => return self.end(ending).await,
                    Some(Verdict::Gone) => return self.vanished().await,
                },
            }
        }
    }

    pub(super) async fn remove(&mut self) {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.remove_leftover().await {
                Ok(()) => return self.gone_for_good().await,
                Err(error) => match self.judged(Doing::Removing, &error, tries).await {
                    None | Some(Verdict::Retry(_)) => {}
                    Some(Verdict::End(_) | Verdict::Gone) => return self.gone_for_good().await,
                },
            }
        }
    }

    async fn remove_leftover(&self) -> crate::executor::Result<()> {
        let executor = &self.context.executor;
        match &self.leftover {
            Leftover::Nothing => Ok(()),
            Leftover::Container(container) => executor.remove(container).await,
            Leftover::Perhaps => {
                let task = self.task();
                for found in executor.list().await?.into_iter().filter(|found| found.task_id == task) {
                    executor.remove(&found.container).await?;
                }
                Ok(())
            }
        }
    }

    async fn gone_for_good(&mut self) {
        self.holds(Leftover::Nothing);
        self.story.removed().await;
        self.phase = Phase::Removed;
    }

    /// Its process has ended.
    pub(super) async fn finish(&mut self, exit: &Exit) {
        let ending = match self.unhealthy.take() {
            Some(output) => Ending::unhealthy(output, Some(exit)),
            None => Ending::of_exit(exit, self.wanted(), self.assignment().limits.memory_bytes),
        };
        self.end(ending).await;
    }

    /// Its container is not there, though we did not remove it.
    pub(super) async fn vanished(&mut self) {
        self.holds(Leftover::Nothing);
        let ending = match self.unhealthy.take() {
            Some(output) => Ending::unhealthy(output, None),
            None => Ending::of_gone(self.wanted()),
        };
        self.end(ending).await;
    }

    async fn end(&mut self, ending: Ending) {
        // Out of rotation; whether connections to it still end in order is no longer ours to say.
        drop(self.context.ingress.drain(self.task()));
        let log_tail = match self.container() {
            Some(container) if self.story.is_failure(ending.state) => {
                log_tail(&*self.context.executor, &container).await
            }
            Some(_) | None => Vec::new(),
        };
        self.story.end(ending, log_tail).await;
        self.guarded = None;
        match self.leftover {
            Leftover::Nothing => self.gone_for_good().await,
            Leftover::Perhaps | Leftover::Container(_) => self.phase = Phase::Ended,
        }
    }
}

/// Pending while it is not known.
async fn exit_of(executor: &dyn Executor, container: &ContainerId) -> Exit {
    match executor.wait(container).await {
        Ok(exit) => exit,
        Err(_unknown) => std::future::pending().await,
    }
}

async fn log_tail(executor: &dyn Executor, container: &ContainerId) -> Vec<String> {
    let lines_max = Evidence::LOG_LINES_MAX;
    let options = LogOptions { follow: false, tail: u32::try_from(lines_max).ok(), since: None };
    let lines = executor.logs(container, options).take(lines_max).filter_map(async |line| line.ok());
    let lines = lines.map(|line| {
        let text = String::from_utf8_lossy(&line.text);
        cut(text.trim_end_matches(['\r', '\n']).to_owned(), Evidence::TEXT_BYTES_MAX)
    });
    timeout(LOG_TAIL_MAX, lines.collect()).await.unwrap_or_default()
}
