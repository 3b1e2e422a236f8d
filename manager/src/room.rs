//! Whether this manager's disk has room. One that is nearly full takes no more entries, in time: what was acknowledged
//! stays, votes and the like still fit, and a leader gives way to another. When there is room again, it goes on by
//! itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    group::Succession,
    outside::{Disk, Space},
};

/// Kept free, on disks that are not small: what is written between two looks fits in it.
const RESERVE_BYTES: u64 = 32 << 20;
/// On those that are: this share of the whole.
const RESERVE_SHARE: u64 = 20;
const LOOK: Duration = Duration::from_millis(250);
/// Between attempts to hand over.
const HAND_OVER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Enough,
    Full,
}

/// What was full is enough again only with twice as much, so that it does not go to and fro.
fn judge(before: Verdict, space: Space) -> Verdict {
    let reserve = RESERVE_BYTES.min(space.total_bytes / RESERVE_SHARE);
    let needed = match before {
        Verdict::Enough => reserve,
        Verdict::Full => 2 * reserve,
    };
    if space.free_bytes < needed { Verdict::Full } else { Verdict::Enough }
}

/// Whether so many bytes more leave what entries and votes may need.
pub(crate) fn is_left_beside(space: Space, bytes: u64) -> bool {
    let beside = Space { free_bytes: space.free_bytes.saturating_sub(bytes), ..space };
    judge(Verdict::Enough, beside) == Verdict::Enough
}

/// Read by whoever takes entries.
#[derive(Clone, Debug)]
pub(crate) struct Room(watch::Receiver<Verdict>);

impl Room {
    pub(crate) fn is_full(&self) -> bool {
        *self.0.borrow() == Verdict::Full
    }
}

pub(crate) struct Service {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    verdict: watch::Sender<Verdict>,
}

pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> (Room, Service) {
    let (verdict, room) = watch::channel(Verdict::Enough);
    (Room(room), Service { disk, dir, verdict })
}

impl Service {
    pub(crate) async fn run(self, succession: Succession, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch(&succession) => {}
        }
    }

    async fn watch(&self, succession: &Succession) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut handed_over: Option<Instant> = None;
        loop {
            looks.tick().await;
            let before = *self.verdict.borrow();
            // A disk that cannot be asked will say more when it is written to.
            let now = self.disk.space(&self.dir).map_or(before, |space| judge(before, space));
            if now != before {
                match now {
                    Verdict::Full => tracing::error!(
                        "the disk of {} is nearly full; this manager takes no changes until there is room",
                        self.dir.display()
                    ),
                    Verdict::Enough => tracing::info!("the disk has room again; this manager goes on"),
                }
                self.verdict.send_replace(now);
            }
            let due = handed_over.is_none_or(|at| at.elapsed() >= HAND_OVER);
            if now == Verdict::Full && due {
                handed_over = Some(Instant::now());
                // Without another that could take over it leads on, and says why nothing can be changed.
                let _ = succession.hand_over().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(before: Verdict, free_mib: u64, total_mib: u64) -> Verdict {
        judge(before, Space { free_bytes: free_mib << 20, total_bytes: total_mib << 20 })
    }

    #[test]
    fn a_disk_is_full_before_it_has_nothing_left_and_has_room_well_after() {
        assert_eq!(after(Verdict::Enough, 32, 10_000), Verdict::Enough);
        assert_eq!(after(Verdict::Enough, 31, 10_000), Verdict::Full);
        assert_eq!(after(Verdict::Full, 63, 10_000), Verdict::Full);
        assert_eq!(after(Verdict::Full, 64, 10_000), Verdict::Enough);
        // A small one keeps a twentieth.
        assert_eq!(after(Verdict::Enough, 5, 100), Verdict::Enough);
        assert_eq!(after(Verdict::Enough, 4, 100), Verdict::Full);
        assert_eq!(after(Verdict::Full, 10, 100), Verdict::Enough);
    }

    #[test]
    fn a_snapshot_leaves_the_reserve_alone() {
        let beside = |bytes: u64| is_left_beside(Space { free_bytes: 100 << 20, total_bytes: 10 << 30 }, bytes << 20);
        assert!(beside(68) && !beside(69) && !beside(200));
    }
}
