//! All tasks of this node: takes in what managers say, has it written down, then tells the actors, one for each task.
//!
//! It is told by the session (deltas) and by the agent's handle (leave). It owns the actors: none outlives it, and their
//! containers run on without them. What to keep of a delta is decided in [`accepts`]; what a task does, by its actor.

mod intake;
pub(crate) mod leave;
mod strays;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use muster_proto::{assignment::Assignment, id::TaskId, task_state::DesiredState};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    executor::{self, Executor, Found},
    routes::{Extent, IngressList, Routes},
    session::delta::Delta,
    store::{Record, kept::Kept},
    task::{
        Context,
        actor::{Actor, Beginning, Order},
    },
};
use intake::{Acted, Intake, Written};
use strays::Strays;

/// Between two tries to ask an engine what it has, at the start of the agent.
const CENSUS_RETRY: Duration = Duration::from_millis(500);

/// Between two looks for containers that no task holds: such as one that an engine made after all, long after the
/// daemon that asked for it was killed. They hold a name and some disk, and run no process.
const CENSUS_PERIOD: Duration = Duration::from_secs(60);

/// Asks for every container of this node to be removed; answered with how many there were.
pub(crate) type Leave = oneshot::Sender<executor::Result<u32>>;

/// All that can wake the roster.
enum Event {
    Shutdown,
    Delta(Delta),
    Written(Written),
    Leave(Leave),
    CensusTaken,
    ActorEnded(Result<TaskId, JoinError>),
    StrayRemoved(Result<(), JoinError>),
}

#[derive(Debug)]
pub(crate) struct Roster {
    context: Arc<Context>,
    orders: BTreeMap<TaskId, watch::Sender<Order>>,
    intake: Intake,
    actors: JoinSet<TaskId>,
    routes: Routes,
    /// The list as a restarted agent begins with it.
    kept_routes: Kept<IngressList>,
    strays: Strays,
    store_problem: watch::Sender<Option<String>>,
    deltas: mpsc::Receiver<Delta>,
    leaves: mpsc::Receiver<Leave>,
}

/// A part of the agent broke off: a bug. The daemon ends, and adopts what runs when it is started again.
#[derive(Debug, thiserror::Error)]
#[error("a task's actor broke off; its container runs on, and a restart of the daemon takes it up again")]
pub(crate) struct Broken(#[source] JoinError);

/// Whether `new` says anything beyond `known`. What is wanted only grows within a fence; older fences are history.
fn accepts(known: &Assignment, new: &Assignment) -> bool {
    new.fence > known.fence || new.fence == known.fence && new.desired > known.desired
}

impl Roster {
    pub(crate) fn new(
        context: Arc<Context>,
        records: Vec<Record>,
        kept_routes: Kept<IngressList>,
        store_problem: watch::Sender<Option<String>>,
        deltas: mpsc::Receiver<Delta>,
        leaves: mpsc::Receiver<Leave>,
    ) -> Self {
        let mut roster = Self {
            context,
            orders: BTreeMap::new(),
            intake: Intake::default(),
            actors: JoinSet::new(),
            routes: Routes::default(),
            kept_routes,
            strays: Strays::default(),
            store_problem,
            deltas,
            leaves,
        };
        for Record { assignment, status, image_health } in records {
            roster.begin(
                Order { assignment, asked_after: None, forget: false },
                Beginning::Resumed { status, image_health },
            );
        }
        roster
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Broken> {
        let mut census = self.context.census.clone();
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => Event::Shutdown,
                Some(leave) = self.leaves.recv() => Event::Leave(leave),
                Some(ended) = self.actors.join_next() => Event::ActorEnded(ended),
                Some(removed) = self.strays.removed() => Event::StrayRemoved(removed),
                Ok(()) = census.changed() => Event::CensusTaken,
                written = self.intake.written(&self.context.store) => Event::Written(written),
                Some(delta) = self.deltas.recv() => Event::Delta(delta),
            };
            match event {
                Event::Shutdown => break,
                Event::Delta(delta) => self.take_in(delta).await,
                Event::Written(written) => self.written(written),
                Event::Leave(leave) => return self.leave(leave, &shutdown).await,
                Event::CensusTaken => self.remove_strays(),
                Event::ActorEnded(Ok(task)) => self.forget(task).await,
                Event::ActorEnded(Err(broken)) | Event::StrayRemoved(Err(broken)) => return Err(Broken(broken)),
                Event::StrayRemoved(Ok(())) => {}
            }
        }
        self.actors.shutdown().await;
        self.strays.shutdown().await;
        Ok(())
    }

    fn begin(&mut self, order: Order, beginning: Beginning) {
        let task = order.assignment.task_id;
        let (sender, receiver) = watch::channel(order);
        self.orders.insert(task, sender);
        self.actors.spawn(Actor::new(self.context.clone(), receiver, beginning).run());
    }

    /// Nothing is begun that a restart would not know of. What shall stop waits for no disk: a restart is told again.
    async fn take_in(&mut self, delta: Delta) {
        let Delta { extent, assign, forget, ingress, ingress_gone, heard_after } = delta;
        if let Some(services) = self.routes.apply(extent, ingress, &ingress_gone) {
            self.kept_routes.set(IngressList { services: services.clone() });
            self.context.ingress.set(services);
        }
        let named: BTreeSet<TaskId> = assign.iter().map(|assignment| assignment.task_id).collect();
        let news: Vec<Arc<Assignment>> = assign.into_iter().filter(|new| self.is_news(new)).map(Arc::new).collect();
        for assignment in news {
            let acted = if assignment.desired >= DesiredState::Shutdown {
                self.order(assignment.clone(), heard_after);
                Acted::Already
            } else {
                Acted::NotYet { asked_after: heard_after }
            };
            self.intake.put(assignment, acted);
        }
        let unnamed = match extent {
            Extent::Complete => self.unnamed(&named),
            Extent::Difference => Vec::new(),
        };
        for task in forget.into_iter().chain(unnamed) {
            self.order_to_forget(task).await;
        }
        if extent == Extent::Complete {
            self.strays.may_be_removed();
            self.remove_strays();
        }
    }

    fn unnamed(&self, named: &BTreeSet<TaskId>) -> Vec<TaskId> {
        let known = self.orders.keys().copied().chain(self.intake.tasks());
        known.filter(|task| !named.contains(task)).collect()
    }

    fn is_news(&self, new: &Assignment) -> bool {
        if let Some(waiting) = self.intake.get(new.task_id) {
            return accepts(waiting, new);
        }
        self.orders.get(&new.task_id).is_none_or(|known| {
            let known = known.borrow();
            known.forget || accepts(&known.assignment, new)
        })
    }

    fn written(&mut self, written: Written) {
        match &written.result {
            Ok(()) => {
                self.store_problem.send_if_modified(|problem| problem.take().is_some());
                for (assignment, asked_after) in self.intake.settle(written.into_batch()) {
                    self.order(assignment, asked_after);
                }
            }
            // What could not be written may not be wanted any more.
            Err(_unwanted) if self.intake.is_empty() => {}
            Err(error) => {
                self.store_problem.send_replace(Some(format!("takes no new tasks: {error}")));
            }
        }
    }

    fn order(&mut self, assignment: Arc<Assignment>, asked_after: Option<u64>) {
        let order = Order { assignment, asked_after, forget: false };
        match self.orders.get(&order.assignment.task_id) {
            Some(known) => {
                known.send_replace(order);
            }
            None => {
                let beginning = self.beginning_of(order.assignment.task_id);
                self.begin(order, beginning);
            }
        }
    }

    /// A task whose record was lost may have a container; it has to be looked for before anything is decided.
    fn beginning_of(&self, task: TaskId) -> Beginning {
        let census = self.context.census.borrow();
        match census.as_deref() {
            Some(found) if found.iter().all(|found| found.task_id != task) => Beginning::New,
            Some(_) | None => Beginning::Resumed { status: None, image_health: None },
        }
    }

    async fn order_to_forget(&mut self, task: TaskId) {
        let waited = self.intake.forget(task);
        if waited && self.intake.is_empty() {
            // The next write says whether there still is one.
            self.store_problem.send_if_modified(|problem| problem.take().is_some());
        }
        match self.orders.get(&task) {
            Some(known) => {
                known.send_if_modified(|order| !std::mem::replace(&mut order.forget, true));
            }
            // No actor has heard of it, and its file may just be written.
            None if waited => self.context.store.forget(task).await,
            None => {}
        }
    }

    async fn forget(&mut self, task: TaskId) {
        let Some(order) = self.orders.remove(&task).map(|order| order.borrow().clone()) else { return };
        if !order.forget {
            // Assigned anew while it came to its end.
            return self.begin(order, Beginning::New);
        }
        info!(%task, "task forgotten");
        self.context.store.forget(task).await;
        self.context.outbox.forget(task);
    }

    fn remove_strays(&mut self) {
        if let Some(found) = self.context.census.borrow().clone() {
            let (orders, intake) = (&self.orders, &self.intake);
            let known = |found: &Found| {
                orders.get(&found.task_id).is_some_and(|order| order.borrow().assignment.fence == found.fence)
                    || intake.get(found.task_id).is_some_and(|waiting| waiting.fence == found.fence)
            };
            self.strays.remove(&self.context.executor, &found, known);
        }
    }
}

/// Finds out what the executor has, however long the engine takes to answer, and looks again from time to time.
pub(crate) async fn take_census(
    executor: Arc<dyn Executor>,
    census: watch::Sender<Option<Arc<Vec<Found>>>>,
    shutdown: CancellationToken,
) {
    let mut told = false;
    loop {
        let listed = tokio::select! {
            () = shutdown.cancelled() => return,
            listed = executor.list() => listed,
        };
        let pause = match listed {
            Ok(found) => {
                census.send_replace(Some(Arc::new(found)));
                told = false;
                CENSUS_PERIOD
            }
            Err(error) if !told => {
                error!(%error, "the engine cannot be asked for this node's containers; trying on");
                told = true;
                CENSUS_RETRY
            }
            Err(_same) => CENSUS_RETRY,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::id::{ClusterId, NodeId};

    use super::*;
    use crate::{
        executor::{Identity, sim::Sim},
        task::fixture,
    };

    #[tokio::test(start_paused = true)]
    async fn a_container_that_appears_late_is_seen_too() {
        let identity = Identity { cluster_id: ClusterId::from_bits(1), node_id: NodeId::from_bits(1) };
        let sim = Arc::new(Sim::new(identity));
        let (census, mut seen) = watch::channel(None);
        let shutdown = CancellationToken::new();
        let taking = tokio::spawn(take_census(sim.clone(), census, shutdown.clone()));
        let first = seen.wait_for(Option::is_some).await.unwrap().clone();
        assert_eq!(first.as_deref(), Some(&Vec::new()));

        sim.prepare(&fixture::assignment(1), &|_| {}).await.unwrap();
        let is_there = |found: &Option<Arc<Vec<Found>>>| found.as_ref().is_some_and(|found| !found.is_empty());
        tokio::time::timeout(CENSUS_PERIOD * 2, seen.wait_for(is_there)).await.expect("seen in time").unwrap();
        shutdown.cancel();
        taking.await.unwrap();
    }
}
