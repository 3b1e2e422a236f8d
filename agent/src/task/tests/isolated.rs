//! Which outages of the lease count against a task that must not run in isolation.

use muster_proto::isolation::{ISOLATION_SLACK, OnIsolation};

use super::*;

const LEASE: Duration = Duration::from_secs(3);
/// From the sending of the last heartbeat that was answered.
const END: Duration = LEASE.saturating_add(ISOLATION_SLACK);

/// Such a task, which begins as told now. It is never started: there is no guard.
fn begin(beginning: Beginning, asked_after: Option<u64>, clock: &Arc<PausedClock>, isolation: &Isolation) -> Bench {
    let assignment = assignment(&[], |assignment| {
        Arc::make_mut(&mut assignment.template).spec.on_isolation = OnIsolation::Stop;
    });
    let order = Order { assignment, asked_after, forget: false };
    Bench::begin(sim(), order, beginning, Some(Vec::new()), clock.clone(), isolation.clone())
}

fn both_ways() -> [Beginning; 2] {
    [Beginning::New, Beginning::Resumed { status: None, image_health: None }]
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_an_outage_does_not_begin_after_it() {
    let clock = Arc::new(PausedClock(Instant::now()));
    let isolation = Isolation::new(clock.clone(), None);
    assert_eq!(isolation.held(), None, "no lease was granted yet");
    isolation.renew(isolation.now(), LEASE);
    let asked_after = isolation.held();
    for beginning in both_ways() {
        let mut bench = begin(beginning, asked_after, &clock, &isolation);
        bench.until_state(TaskState::Ready).await;
        bench.finished().await;
    }
    // It waited for the disk meanwhile, or this agent was paused.
    sleep(END - Duration::from_millis(1)).await;
    assert_eq!(isolation.held(), asked_after, "a cut that is shorter than the lease is noticed by nobody");
    sleep(Duration::from_millis(1)).await;
    for is_back in [false, true] {
        if is_back {
            isolation.renew(isolation.now(), LEASE);
        }
        for beginning in both_ways() {
            let mut bench = begin(beginning, asked_after, &clock, &isolation);
            assert_eq!(bench.until(|status| status.state >= TaskState::Preparing).await.state, Shutdown);
            bench.finished().await;
        }
    }
}

/// Whoever reads it from disk knows nothing of when it was asked for: an answer that renews the lease forgives nothing.
#[tokio::test(start_paused = true)]
async fn what_is_on_the_disk_since_before_an_outage_does_not_begin_after_it() {
    let clock = Arc::new(PausedClock(Instant::now()));
    let isolation = Isolation::new(clock.clone(), None);
    isolation.renew(isolation.now(), LEASE);
    for beginning in both_ways() {
        let mut bench = begin(beginning, None, &clock, &isolation);
        assert_eq!(bench.until(|status| status.state >= TaskState::Preparing).await.state, Shutdown);
        bench.finished().await;
    }
}
