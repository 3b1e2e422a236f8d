//! How the service passes from one template to the next.

use super::{Invalid, Result, SERVICE_WAIT_MAX, at_most};
use crate::{
    isolation::OnIsolation,
    rollout::{UpdateConfig, UpdateOrder},
    service::REPLICAS_MAX,
};

/// `kind` is `update` or `rollback`.
pub(super) fn check(kind: &str, config: &UpdateConfig, on_isolation: OnIsolation) -> Result {
    if (config.order, on_isolation) == (UpdateOrder::StartFirst, OnIsolation::Stop) {
        return Err(Invalid::new(
            format!("{kind}.order"),
            format!(
                "the {kind} order start-first runs two tasks of a slot at once, and --on-isolation stop never does"
            ),
            "use the order auto or stop-first",
        ));
    }
    if config.parallelism > REPLICAS_MAX {
        return Err(Invalid::new(
            format!("{kind}.parallelism"),
            format!("the {kind} parallelism of {} is more than a service has replicas", config.parallelism),
            "use 0 to replace all at once",
        ));
    }
    if kind == "rollback" && config.canary > 0 {
        return Err(Invalid::new(
            "rollback.canary",
            "a rollback with canaries was asked for, and what a rollback goes back to is known to work",
            "leave them out",
        ));
    }
    if config.canary > REPLICAS_MAX {
        return Err(Invalid::new(
            format!("{kind}.canary"),
            format!("{} canaries are more than a service has replicas", config.canary),
            "ask for one or a few",
        ));
    }
    // False for NaN, too.
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        return Err(Invalid::new(
            format!("{kind}.max_failure_ratio"),
            format!("the {kind} failure ratio {} is not from 0 to 1", config.max_failure_ratio),
            "use a share of the tasks, like 0.2",
        ));
    }
    let at_most = |name: &str, what: &str, duration| {
        at_most(&format!("{kind}.{name}"), &format!("{kind} {what}"), duration, SERVICE_WAIT_MAX)
    };
    at_most("delay_ms", "delay", config.delay)?;
    at_most("monitor_ms", "monitor", config.monitor)?;
    at_most("progress_deadline_ms", "progress deadline", config.progress_deadline)
}
