//! Enums: each has a value zero on the wire, which means that nobody set it and is refused.

use super::ConvertError;
use crate::{endpoint, isolation, node, restart, rollout, task_state, v1};

macro_rules! same_variants {
    ($($domain:path => $wire:ident { $($variant:ident),* $(,)? })*) => {$(
        impl From<$domain> for v1::$wire {
            fn from(domain: $domain) -> Self {
                use $domain as Domain;
                match domain {
                    $(Domain::$variant => Self::$variant,)*
                }
            }
        }

        impl TryFrom<v1::$wire> for $domain {
            type Error = ConvertError;
            fn try_from(wire: v1::$wire) -> Result<Self, ConvertError> {
                match wire {
                    v1::$wire::Unspecified => Err(ConvertError::new("", "is not set")),
                    $(v1::$wire::$variant => Ok(Self::$variant),)*
                }
            }
        }
    )*};
}

same_variants! {
    restart::RestartCondition => RestartCondition { None, OnFailure, Any }
    isolation::OnIsolation => OnIsolation { Keep, Stop }
    endpoint::PublishMode => PublishMode { Ingress, Host }
    endpoint::Protocol => Protocol { Tcp }
    rollout::UpdateOrder => UpdateOrder { Auto, StartFirst, StopFirst }
    rollout::FailureAction => FailureAction { Pause, Continue, Rollback }
    task_state::TaskState => TaskState {
        New, Pending, Assigned, Accepted, Preparing, Ready, Starting, Running, Complete, Shutdown, Failed, Rejected,
        Orphaned,
    }
    task_state::DesiredState => DesiredState { Ready, Running, Shutdown, Remove }
    node::Role => Role { Worker, Manager }
    node::Availability => Availability { Active, Pause, Drain }
    node::NodeState => NodeState { Unknown, Ready, Down }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task_state::TaskState;

    #[test]
    fn every_task_state_returns() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::try_from(v1::TaskState::from(state)), Ok(state));
        }
    }

    #[test]
    fn unset_is_refused() {
        let error = TaskState::try_from(v1::TaskState::Unspecified).expect_err("nobody set it");
        assert_eq!(error.within("state").to_string(), "state is not set");
    }
}
