//! A manager that is told to stop ends soon, whether it can reach the others or not.
//!
//! Planted to prove it: a manager that sleeps before it closes.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    host::{Life, Stage},
    invariants::Invariants,
};

const SOON: Duration = Duration::from_secs(3);

/// Looks once that time has gone by. Nothing is asked of a process that was paused or killed meanwhile, or waits for a
/// disk that was made slow.
pub async fn in_time(raft_id: u64, life: Life, invariants: Invariants) {
    let pauses = life.process.pauses();
    // One that is paused already is not counted as paused once more.
    let waits = matches!(life.stage(), Stage::Opening) || life.process.is_paused();
    sleep(SOON).await;
    let held_up = waits || life.process.is_dead() || life.process.pauses() != pauses || life.process.is_paused();
    match life.stage() {
        Stage::Opening | Stage::Open(_) if !held_up && life.disk.is_good() => {
            let what = format!("manager {raft_id} was told to stop {} s ago and still runs", SOON.as_secs());
            invariants.check(Err(what));
        }
        Stage::Opening | Stage::Open(_) | Stage::Ended(_) => {}
    }
}
