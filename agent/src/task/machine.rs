//! What to do next with a task, from what is wanted of it and how far it is: the whole table, on one screen. Pure.
//!
//! Called by the actor before every step. It knows no container, no clock and no reason: what an answer means is
//! decided in [`super::verdict`].

use muster_proto::task_state::DesiredState;

/// What the managers want, and two things more: that this node is cut off, and that nobody wants to hear of the task
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    Ready,
    Running,
    /// As Shutdown, by this agent's own word: the task must not run where the managers cannot be reached.
    Isolated,
    Shutdown,
    Remove,
    /// As Remove, for a task that no manager knows any more.
    Forget,
}

impl From<DesiredState> for Wanted {
    fn from(desired: DesiredState) -> Self {
        match desired {
            DesiredState::Ready => Wanted::Ready,
            DesiredState::Running => Wanted::Running,
            DesiredState::Shutdown => Wanted::Shutdown,
            DesiredState::Remove => Wanted::Remove,
        }
    }
}

impl Wanted {
    pub(super) fn is_stop(self) -> bool {
        self >= Wanted::Isolated
    }
}

/// How far this agent is with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Read from disk after a restart of the daemon; its container, if any, has not been looked for.
    Unknown,
    /// On disk; nothing has been done.
    Accepted,
    /// The container exists and was not started by us.
    Prepared,
    /// The container runs and has not shown that it is ready.
    Starting,
    Running,
    /// Out of the ingress for good; the process is to end.
    Leaving,
    /// Nothing runs, and the end is told. Its container may be there.
    Ended,
    /// As Ended, and no container is there.
    Removed,
}

/// One thing to do. Each ends in a phase; all may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look for a container from before.
    Find,
    Prepare,
    Start,
    /// Until it is ready.
    Probe,
    /// Until it ends.
    Watch,
    Drain,
    Stop,
    /// Tell that it ends without ever having run.
    Cancel,
    Remove,
    /// Until something else is wanted.
    Wait,
    /// The actor's own end.
    Finish,
}

pub(super) fn next(wanted: Wanted, phase: Phase) -> Step {
    use Wanted::{Forget, Isolated, Ready, Remove, Running, Shutdown};
    match (phase, wanted) {
        (Phase::Unknown, Ready | Running | Isolated | Shutdown | Remove | Forget) => Step::Find,

        (Phase::Accepted, Ready | Running) => Step::Prepare,
        (Phase::Accepted, Isolated | Shutdown | Remove | Forget) => Step::Cancel,

        (Phase::Prepared, Ready) => Step::Wait,
        (Phase::Prepared, Running) => Step::Start,
        (Phase::Prepared, Isolated | Shutdown | Remove | Forget) => Step::Cancel,

        (Phase::Starting, Ready | Running) => Step::Probe,
        (Phase::Starting, Isolated | Shutdown | Remove | Forget) => Step::Drain,

        (Phase::Running, Ready | Running) => Step::Watch,
        (Phase::Running, Isolated | Shutdown | Remove | Forget) => Step::Drain,

        (Phase::Leaving, Ready | Running | Isolated | Shutdown | Remove | Forget) => Step::Stop,

        (Phase::Ended, Ready | Running | Isolated | Shutdown) => Step::Wait,
        (Phase::Ended, Remove | Forget) => Step::Remove,

        (Phase::Removed, Ready | Running | Isolated | Shutdown | Remove) => Step::Wait,
        (Phase::Removed, Forget) => Step::Finish,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PHASES: [Phase; 8] = [
        Phase::Unknown,
        Phase::Accepted,
        Phase::Prepared,
        Phase::Starting,
        Phase::Running,
        Phase::Leaving,
        Phase::Ended,
        Phase::Removed,
    ];
    const WANTED: [Wanted; 6] =
        [Wanted::Ready, Wanted::Running, Wanted::Isolated, Wanted::Shutdown, Wanted::Remove, Wanted::Forget];

    #[test]
    fn only_a_task_that_shall_run_is_made_or_started() {
        for phase in PHASES {
            for wanted in WANTED {
                match next(wanted, phase) {
                    Step::Prepare => assert!(wanted <= Wanted::Running, "{phase:?} {wanted:?}"),
                    Step::Start => assert_eq!(wanted, Wanted::Running, "{phase:?}"),
                    Step::Drain | Step::Cancel => assert!(wanted.is_stop(), "{phase:?} {wanted:?}"),
                    Step::Remove => assert!(wanted >= Wanted::Remove, "{phase:?} {wanted:?}"),
                    Step::Finish => assert_eq!(wanted, Wanted::Forget, "{phase:?}"),
                    Step::Find | Step::Probe | Step::Watch | Step::Stop | Step::Wait => {}
                }
            }
        }
    }

    /// Where a step that nothing goes wrong with ends.
    fn well(step: Step, phase: Phase) -> Phase {
        match step {
            Step::Find => Phase::Accepted,
            Step::Prepare => Phase::Prepared,
            Step::Start => Phase::Starting,
            Step::Probe => Phase::Running,
            Step::Drain => Phase::Leaving,
            Step::Watch | Step::Stop | Step::Cancel => Phase::Ended,
            Step::Remove => Phase::Removed,
            Step::Wait | Step::Finish => phase,
        }
    }

    proptest! {
        /// From anywhere, whatever was wanted before: once it is to be forgotten it comes to its end, and starts nothing
        /// on the way.
        #[test]
        fn whoever_is_to_be_forgotten_finishes(
            start in prop::sample::select(&PHASES[..]),
            mut orders in prop::collection::vec(prop::sample::select(&WANTED[..5]), 0..6),
        ) {
            orders.sort();
            let mut phase = start;
            for wanted in orders {
                phase = well(next(wanted, phase), phase);
            }
            let mut steps = Vec::new();
            while steps.last() != Some(&Step::Finish) {
                let step = next(Wanted::Forget, phase);
                steps.push(step);
                prop_assert!(steps.len() <= PHASES.len(), "{steps:?}");
                phase = well(step, phase);
            }
            prop_assert!(!steps.contains(&Step::Start) && !steps.contains(&Step::Prepare), "{steps:?}");
        }
    }
}
