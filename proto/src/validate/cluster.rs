//! The cluster's settings.

use std::time::Duration;

use super::{Invalid, Result};
use crate::{cluster::ClusterSpec, resources::PIDS_MAX, show};

/// Below it, a busy host's heartbeats are late for no reason that matters.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);
/// A node that is away for longer is gone.
const LEASE_MAX: Duration = Duration::from_secs(3_600);
/// One heartbeat may be lost without any consequence.
const LEASE_HEARTBEATS_MIN: u32 = 2;
/// What a container engine accepts at least.
const MEMORY_BYTES_MIN: u64 = 6 << 20;
/// Of an init and a process or two.
const PIDS_MIN: u64 = 8;
/// Renewed at half of it, with time for a second and third attempt.
const VALIDITY_MIN: Duration = Duration::from_secs(10);
/// Half of what the root is valid for.
const VALIDITY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The first rule that the settings break.
pub fn cluster_spec(spec: &ClusterSpec) -> Result {
    if spec.task_history_limit > ClusterSpec::TASK_HISTORY_MAX {
        return Err(Invalid::new(
            "task_history_limit",
            format!("a history of {} tasks a slot is more than is kept", spec.task_history_limit),
            format!("ask for {} at most", ClusterSpec::TASK_HISTORY_MAX),
        ));
    }
    between("heartbeat_ms", "heartbeat", spec.heartbeat, HEARTBEAT_MIN, HEARTBEAT_MAX)?;
    let shortest = spec.heartbeat * LEASE_HEARTBEATS_MIN;
    if spec.lease < shortest {
        return Err(Invalid::new(
            "lease_ms",
            format!(
                "a lease of {} does not outlast {LEASE_HEARTBEATS_MIN} heartbeats of {}",
                show::duration(spec.lease),
                show::duration(spec.heartbeat)
            ),
            format!("use a lease of {} at least, or a shorter heartbeat", show::duration(shortest)),
        ));
    }
    between("lease_ms", "lease", spec.lease, shortest, LEASE_MAX)?;
    between(
        "certificate_validity_ms",
        "certificates' validity",
        spec.certificate_validity,
        VALIDITY_MIN,
        VALIDITY_MAX,
    )?;
    let memory = spec.default_memory_limit_bytes;
    if memory != 0 && memory < MEMORY_BYTES_MIN {
        return Err(Invalid::new(
            "default_memory_limit_bytes",
            format!("a default memory limit of {} lets nothing start", show::bytes(memory)),
            format!("use {} at least, or 0 for none", show::bytes(MEMORY_BYTES_MIN)),
        ));
    }
    let pids = spec.default_pids_limit;
    if pids != 0 && !(PIDS_MIN..=PIDS_MAX).contains(&pids) {
        return Err(Invalid::new(
            "default_pids_limit",
            format!("a default limit of {pids} processes cannot be set"),
            format!("use {PIDS_MIN} to {PIDS_MAX}, or 0 for none"),
        ));
    }
    Ok(())
}

fn between(field: &str, what: &str, found: Duration, min: Duration, max: Duration) -> Result {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    let wrong = if found < min { "short" } else { "long" };
    Err(Invalid::new(
        field,
        format!("the {what} of {} is too {wrong}", show::duration(found)),
        format!("use {} to {}", show::duration(min), show::duration(max)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ClusterSpec)) -> String {
        let mut spec = ClusterSpec::default();
        change(&mut spec);
        cluster_spec(&spec).expect_err("refused").text
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert_eq!(cluster_spec(&ClusterSpec::default()), Ok(()));
        let ms = Duration::from_millis;
        let fast = ClusterSpec {
            heartbeat: ms(100),
            lease: ms(200),
            certificate_validity: ms(10_000),
            default_memory_limit_bytes: 0,
            default_pids_limit: 0,
            ..ClusterSpec::default()
        };
        assert_eq!(cluster_spec(&fast), Ok(()));
        assert!(refused(|spec| spec.heartbeat = ms(99)).contains("heartbeat of 99ms is too short; use 100ms to"));
        assert!(refused(|spec| spec.heartbeat = ms(61_000)).contains("is too long"));
        assert!(refused(|spec| spec.lease = ms(1_999)).contains("use a lease of 2s at least, or a shorter"));
        assert!(
            refused(|spec| spec.lease = Duration::ZERO).contains("a lease of 0s does not outlast 2 heartbeats of 1s")
        );
        assert!(refused(|spec| spec.heartbeat = ms(2_000)).contains("2 heartbeats of 2s; use a lease of 4s at least"));
        assert!(refused(|spec| spec.lease = Duration::MAX).contains("is too long"));
        assert!(refused(|spec| spec.certificate_validity = ms(9_999)).contains("too short; use 10s to"));
        assert!(refused(|spec| spec.task_history_limit = 101).contains("ask for 100 at most"));
        assert!(refused(|spec| spec.default_memory_limit_bytes = 1).contains("or 0 for none"));
        assert!(refused(|spec| spec.default_pids_limit = 7).contains("or 0 for none"));
    }
}
