//! What a task that ended is said to be, and why. Pure.

use muster_proto::task_state::TaskState;

use super::machine::Wanted;
use crate::executor::Exit;

/// One end of a task: a final state and the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) state: TaskState,
    pub(super) message: &'static str,
    pub(super) error: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) oom_killed: bool,
    /// Output of the health check that ended it.
    pub(super) health: Option<String>,
}

/// Signals by the names people know them under; containers end by few others.
const SIGNALS: [(i32, &str); 11] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (15, "SIGTERM"),
];

impl Ending {
    fn new(state: TaskState, message: &'static str) -> Self {
        Self { state, message, error: None, exit_code: None, oom_killed: false, health: None }
    }

    pub(super) fn rejected(why: String) -> Self {
        Self { error: Some(why), ..Self::new(TaskState::Rejected, "rejected by the engine") }
    }

    pub(super) fn failed(why: String) -> Self {
        Self { error: Some(why), ..Self::new(TaskState::Failed, "failed") }
    }

    pub(super) fn cancelled() -> Self {
        Self::new(TaskState::Shutdown, "shut down before it was started")
    }

    pub(super) fn unhealthy(output: String, exit: Option<&Exit>) -> Self {
        Self {
            exit_code: exit.map(|exit| exit.code),
            health: Some(output.clone()),
            ..Self::failed(format!("unhealthy: {output}"))
        }
    }

    /// The container went away without a word of how it ended.
    pub(super) fn of_gone(wanted: Wanted) -> Self {
        if wanted.is_stop() {
            Self::new(TaskState::Shutdown, "shut down; its container had been removed by somebody else")
        } else {
            Self::failed("its container was removed by somebody else".to_owned())
        }
    }

    pub(super) fn of_exit(exit: &Exit, wanted: Wanted, memory_limit_bytes: u64) -> Self {
        let ending = if wanted == Wanted::Isolated {
            Self::new(TaskState::Shutdown, "shut down: its node was cut off from the managers")
        } else if wanted.is_stop() {
            Self::new(TaskState::Shutdown, "shut down")
        } else if exit.oom_killed {
            Self::failed(out_of_memory(memory_limit_bytes))
        } else if exit.code == 0 {
            Self::new(TaskState::Complete, "finished")
        } else {
            Self::failed(non_zero(exit))
        };
        Self { exit_code: Some(exit.code), oom_killed: exit.oom_killed, ..ending }
    }
}

fn out_of_memory(limit_bytes: u64) -> String {
    match limit_bytes {
        0 => "killed: out of memory".to_owned(),
        bytes if bytes % (1 << 20) == 0 => format!("killed: out of memory (limit {} MiB)", bytes >> 20),
        bytes => format!("killed: out of memory (limit {bytes} bytes)"),
    }
}

fn non_zero(exit: &Exit) -> String {
    let signal = SIGNALS.iter().find(|(number, _)| 128 + number == exit.code).map(|(_, name)| format!(" ({name})"));
    let said = exit.error.as_deref().filter(|said| !said.is_empty()).map(|said| format!(": {said}"));
    format!("exit code {}{}{}", exit.code, signal.unwrap_or_default(), said.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, oom_killed: bool, wanted: Wanted) -> (TaskState, String) {
        let ending = Ending::of_exit(&Exit { code, oom_killed, error: None }, wanted, 64 << 20);
        assert_eq!((ending.exit_code, ending.oom_killed), (Some(code), oom_killed));
        (ending.state, ending.error.unwrap_or_default())
    }

    #[test]
    fn table() {
        let is = |state, error: &str| (state, error.to_owned());
        assert_eq!(ended(0, false, Wanted::Running), is(TaskState::Complete, ""));
        assert_eq!(ended(3, false, Wanted::Running), is(TaskState::Failed, "exit code 3"));
        assert_eq!(ended(139, false, Wanted::Ready), is(TaskState::Failed, "exit code 139 (SIGSEGV)"));
        assert_eq!(ended(137, true, Wanted::Running), is(TaskState::Failed, "killed: out of memory (limit 64 MiB)"));
        assert_eq!(ended(137, true, Wanted::Isolated), is(TaskState::Shutdown, ""));
        assert_eq!(ended(143, false, Wanted::Shutdown), is(TaskState::Shutdown, ""));
        assert_eq!(ended(0, false, Wanted::Forget), is(TaskState::Shutdown, ""));
    }
}
