//! The nodes that tasks run on, as far as a manager notices: heartbeats, and every task reported as running.

use std::time::Duration;

use muster_manager::Handle;
use muster_proto::{
    assignment::TaskReport,
    id::NodeId,
    task::TaskStatus,
    task_state::{DesiredState, TaskState},
    time::Timestamp,
};
use tokio::time::{Instant, timeout};

use crate::{chance::Chance, cluster::WORKERS, invariants::Invariants};

/// For one round of reports; what is not confirmed by then is reported again.
const PATIENCE: Duration = Duration::from_secs(2);

/// As a session deals with it.
async fn heartbeat(node: NodeId, leader: Handle, invariants: Invariants) {
    let sent = Instant::now();
    leader.leases().renew(node, Duration::ZERO);
    if timeout(PATIENCE, leader.backing().at(sent)).await.is_ok() {
        invariants.renewed(node, leader.config().raft_id, sent);
    }
}

/// Heartbeats of all nodes, but for one now and then, and reports of what changed.
pub async fn tend(leader: &Handle, chance: &Chance, invariants: &Invariants) {
    for node in WORKERS {
        if !chance.permille(50) {
            tokio::spawn(heartbeat(node, leader.clone(), invariants.clone()));
        }
        let reports: Vec<TaskReport> = leader.replica().read(|state| {
            let tasks = state.tasks_of_node(node).filter_map(|task| {
                let next = match task.desired {
                    DesiredState::Running => TaskState::Running,
                    DesiredState::Ready => TaskState::Ready,
                    DesiredState::Shutdown | DesiredState::Remove => TaskState::Shutdown,
                };
                let status = TaskStatus::new(next, Timestamp::EPOCH, "");
                (task.status.state < next).then_some(TaskReport { task_id: task.id, fence: task.fence, status })
            });
            tasks.take(20).collect()
        });
        if !reports.is_empty() {
            // What fails is seen again in the next round.
            let _ = timeout(PATIENCE, leader.reports().submit(node, reports)).await;
        }
    }
}
