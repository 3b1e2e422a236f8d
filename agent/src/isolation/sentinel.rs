//! While a task must not outlast the lease: looks whether it is over, writes the stamp, and sees to it that a guard runs.
//! Idle otherwise.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Isolation, Readiness, stamp::Stamp};
use crate::{clock, guard};

/// Between two looks. What is lost by it is a part of [`muster_proto::isolation::ISOLATION_MARGIN`].
const TICK: Duration = Duration::from_millis(100);
/// For a guard that was started to be at work.
const GUARD_START_MAX: Duration = Duration::from_secs(5);

/// How a guard is started.
#[derive(Clone, Debug)]
pub struct GuardCommand {
    pub program: PathBuf,
    pub args: Vec<std::ffi::OsString>,
}

#[derive(Debug)]
pub(crate) struct Sentinel {
    pub(crate) isolation: Isolation,
    pub(crate) data_dir: PathBuf,
    /// None: nothing that runs here could outlast this process.
    pub(crate) guard: Option<GuardCommand>,
}

impl Sentinel {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut guarded = self.isolation.shared.guarded.subscribe();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                any = guarded.wait_for(|count| *count > 0) => if any.is_err() { return },
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.watch_over() => {}
            }
        }
    }

    /// Until no task needs it any more.
    async fn watch_over(&self) {
        let this = Arc::new((self.data_dir.clone(), self.guard.clone(), clock::boot_id()));
        while *self.isolation.shared.guarded.borrow() > 0 {
            let before = self.isolation.shared.outages.borrow().to_owned();
            if self.isolation.outages() > before {
                warn!("the node's lease is over; tasks that must not run in isolation are stopped");
            }
            let until = self.isolation.lease().until().unwrap_or_default();
            let (work, awake_at) = (this.clone(), self.isolation.now());
            let settled = tokio::task::spawn_blocking(move || {
                let (data_dir, guard, boot_id) = &*work;
                Stamp { boot_id: boot_id.clone(), until, awake_at }.write(data_dir)?;
                guard.as_ref().map_or(Ok(true), |guard| is_guarded(data_dir, guard))
            });
            let readiness = match settled.await {
                Ok(Ok(true)) => Readiness::Ready,
                Ok(Ok(false)) => self.await_guard().await,
                Ok(Err(error)) => Readiness::Hindered(format!("its guard cannot be started: {error}")),
                Err(broken) => Readiness::Hindered(format!("its guard cannot be started: {broken}")),
            };
            self.tell(readiness);
            sleep(TICK).await;
        }
        self.isolation.shared.readiness.send_replace(Readiness::Unknown);
    }

    fn tell(&self, readiness: Readiness) {
        self.isolation.shared.readiness.send_if_modified(|held| {
            let changed = *held != readiness;
            match (&readiness, changed) {
                (Readiness::Hindered(why), true) => {
                    error!(reason = why, "tasks cannot be kept from running in isolation")
                }
                (Readiness::Ready, true) => info!("a guard stops tasks of this node where its lease runs out"),
                (Readiness::Hindered(_) | Readiness::Ready, false) | (Readiness::Unknown, _) => {}
            }
            *held = readiness;
            changed
        });
    }

    async fn await_guard(&self) -> Readiness {
        let at_work = async {
            while !guard::is_at_work(&self.data_dir).unwrap_or(false) {
                sleep(TICK).await;
            }
        };
        match timeout(GUARD_START_MAX, at_work).await {
            Ok(()) => Readiness::Ready,
            Err(_elapsed) => {
                let log = guard::log_path(&self.data_dir);
                Readiness::Hindered(format!("its guard does not start; see {}", log.display()))
            }
        }
    }
}

/// Blocking. False: one was started, and is to be waited for.
fn is_guarded(data_dir: &Path, command: &GuardCommand) -> io::Result<bool> {
    use std::os::unix::process::CommandExt;
    if guard::is_at_work(data_dir)? {
        return Ok(true);
    }
    let log = std::fs::File::create(guard::log_path(data_dir))?;
    let mut child = Command::new(&command.program)
        .args(&command.args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // What ends the daemon's group, such as a key in a terminal, must not end its guard.
        .process_group(0)
        .spawn()?;
    // It outlives this daemon as a rule; where it does not, it must not stay as a zombie.
    std::thread::Builder::new().name("guard".to_owned()).spawn(move || child.wait())?;
    Ok(false)
}
