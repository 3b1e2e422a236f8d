//! Limits and reservations.

use super::{Invalid, Result};
use crate::{
    resources::{MEMORY_BYTES_MAX, NANO_CPUS_MAX, PIDS_MAX, ResourceRequirements},
    show,
};

/// Docker Engine refuses less.
const MEMORY_LIMIT_BYTES_MIN: u64 = 6 << 20;
/// Docker Engine refuses less: a hundredth of a core, below which the kernel's quota is too coarse.
const LIMIT_NANO_CPUS_MIN: u64 = 10_000_000;

pub(super) fn check(resources: &ResourceRequirements) -> Result {
    let (limits, reservations) = (&resources.limits, &resources.reservations);
    let at_most = |field: &str, what: &str, value: u64, max: u64| {
        if value <= max {
            Ok(())
        } else {
            Err(Invalid::new(field, format!("the {what} is more than any machine has"), "lower it"))
        }
    };
    at_most("task.limits.nano_cpus", "cpu limit", limits.nano_cpus, NANO_CPUS_MAX)?;
    at_most("task.limits.memory_bytes", "memory limit", limits.memory_bytes, MEMORY_BYTES_MAX)?;
    at_most("task.limits.pids", "limit on processes", limits.pids, PIDS_MAX)?;
    at_most("task.reservations.nano_cpus", "cpu reservation", reservations.nano_cpus, NANO_CPUS_MAX)?;
    at_most("task.reservations.memory_bytes", "memory reservation", reservations.memory_bytes, MEMORY_BYTES_MAX)?;
    if (1..LIMIT_NANO_CPUS_MIN).contains(&limits.nano_cpus) {
        return Err(Invalid::new(
            "task.limits.nano_cpus",
            format!("a limit of {} cpu is too small to run anything", show::cpus(limits.nano_cpus)),
            format!("use {} or more", show::cpus(LIMIT_NANO_CPUS_MIN)),
        ));
    }
    if (1..MEMORY_LIMIT_BYTES_MIN).contains(&limits.memory_bytes) {
        return Err(Invalid::new(
            "task.limits.memory_bytes",
            format!("a memory limit of {} is too small to run anything", show::bytes(limits.memory_bytes)),
            format!("use {} or more", show::bytes(MEMORY_LIMIT_BYTES_MIN)),
        ));
    }
    let to_do = "raise the limit or lower the reservation";
    if limits.nano_cpus != 0 && limits.nano_cpus < reservations.nano_cpus {
        let (limit, reserved) = (show::cpus(limits.nano_cpus), show::cpus(reservations.nano_cpus));
        let happened = format!("the cpu limit of {limit} is below the {reserved} reserved");
        return Err(Invalid::new("task.limits.nano_cpus", happened, to_do));
    }
    if limits.memory_bytes != 0 && limits.memory_bytes < reservations.memory_bytes {
        let (limit, reserved) = (show::bytes(limits.memory_bytes), show::bytes(reservations.memory_bytes));
        let happened = format!("the memory limit of {limit} is below the {reserved} reserved");
        return Err(Invalid::new("task.limits.memory_bytes", happened, to_do));
    }
    Ok(())
}
