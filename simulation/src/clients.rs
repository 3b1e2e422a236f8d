//! Users: they create and remove services through any manager, read through the leader, and remember what they were
//! told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_core::command::{Command, Outcome};
use muster_manager::{Handle, replica::ProposeError};
use muster_proto::{
    container::ContainerSpec,
    endpoint::EndpointSpec,
    id::ServiceId,
    rollout::UpdateConfig,
    service::{Mode, ServiceSpec},
    task::TaskSpec,
};

use crate::{chance::Chance, trace::Trace};

/// What was asked for a service, and what is known to have become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Asked, not answered: it may be there.
    Asked,
    Created,
    /// Its removal was asked for: it may be gone.
    Leaving,
    Removed,
}

#[derive(Clone, Debug)]
pub struct Ledger(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    services: BTreeMap<ServiceId, Known>,
    asked: u64,
    acknowledged: u64,
    reads: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner::default())))
    }
}

impl Ledger {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn known(&self) -> BTreeMap<ServiceId, Known> {
        self.inner().services.clone()
    }

    /// Writes asked for, writes acknowledged, reads answered.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let inner = self.inner();
        (inner.asked, inner.acknowledged, inner.reads)
    }

    fn those(&self, known: Known) -> BTreeSet<ServiceId> {
        self.inner().services.iter().filter(|(_, held)| **held == known).map(|(id, _)| *id).collect()
    }

    fn ask(&self, id: ServiceId, known: Known) {
        let mut inner = self.inner();
        inner.asked += 1;
        inner.services.insert(id, known);
    }

    fn answered(&self, id: ServiceId, known: Known) {
        let mut inner = self.inner();
        inner.acknowledged += 1;
        inner.services.insert(id, known);
    }
}

/// One write, through this manager.
pub async fn write(manager: &Handle, ledger: &Ledger, chance: &Chance, trace: &Trace) {
    let there: Vec<ServiceId> = ledger.those(Known::Created).into_iter().collect();
    let (id, command, done) = match chance.pick(&there).copied().filter(|_| chance.permille(300)) {
        Some(id) => {
            ledger.ask(id, Known::Leaving);
            (id, Command::RemoveService { id }, Known::Removed)
        }
        None => {
            let id = ServiceId::from_bits(u128::from(chance.draw()));
            ledger.ask(id, Known::Asked);
            (id, Command::CreateService { id, spec: Box::new(spec(id, chance)) }, Known::Created)
        }
    };
    let raft_id = manager.config().raft_id;
    match manager.replica().propose(command).await {
        Ok(Outcome::Done { version }) => {
            trace.detail(format_args!("client: {done:?} {id} through {raft_id} at {version}"));
            ledger.answered(id, done);
        }
        // What is said to have been refused is so for good; it is never asked for twice.
        Ok(Outcome::Rejected(why)) => trace.detail(format_args!("client: {id} through {raft_id} refused: {why}")),
        Ok(Outcome::Partly { .. }) => {}
        Err(ProposeError::NotLeader { .. }) => trace.detail(format_args!("client: {raft_id} does not lead")),
        Err(why) => trace.detail(format_args!("client: {id} through {raft_id} unknown: {why}")),
    }
}

/// One read through this manager; says what it should have seen and did not.
pub async fn read(manager: &Handle, ledger: &Ledger) -> Result<(), String> {
    let before = ledger.those(Known::Created);
    if manager.replica().barrier().await.is_err() {
        return Ok(());
    }
    ledger.inner().reads += 1;
    // Those that somebody has begun to remove meanwhile may be gone.
    let still = ledger.those(Known::Created);
    let missing =
        manager.replica().read(|state| before.intersection(&still).find(|id| state.service(**id).is_none()).copied());
    match missing {
        Some(id) => Err(format!(
            "a read through manager {} does not see service {id}, whose creation was acknowledged before",
            manager.config().raft_id
        )),
        None => Ok(()),
    }
}

fn spec(id: ServiceId, chance: &Chance) -> ServiceSpec {
    let task = TaskSpec::new(ContainerSpec::new("myapp:1.0.0"));
    ServiceSpec {
        name: format!("s{id}"),
        labels: Default::default(),
        task,
        mode: Mode::Replicated { replicas: u32::try_from(chance.below(3)).unwrap_or(0) },
        update: UpdateConfig::default(),
        rollback: UpdateConfig::default(),
        endpoint: EndpointSpec::default(),
    }
}
