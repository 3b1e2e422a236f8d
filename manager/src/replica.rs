//! This manager's copy of the replicated state, and the one way to change it. What the RPC handlers, the dispatcher
//! and the leader loop hold; none of them sees openraft.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use muster_core::{
    command::{Command, Outcome, SEVERAL_MANAGERS},
    state::State,
};
use muster_proto::{id::RequestId, version::Term};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use crate::{
    changes::{Publisher, Watcher},
    failure::Failure,
    leadership::Leadership,
    proposer::{self, Proposal},
    read_point::Waiting,
    room::Room,
};

/// How long a proposal, or a read point, may take from the call to the answer, elections included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long after its deadline a proposal's answer is waited for.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    #[error("another manager leads ({leader}); ask it instead")]
    NotLeader { leader: String },
    #[error(
        "the managers have no leader, so nothing can be read or changed; see that a majority of them runs, then repeat"
    )]
    NoLeader,
    /// Nothing was changed.
    #[error(
        "the disk of the manager that would have to write it down is nearly full, so nothing can be changed; make room on it, and it goes on by itself"
    )]
    NoRoom,
    /// Nothing was changed.
    #[error("the manager has too many changes waiting; repeat in a moment")]
    Busy,
    /// Nothing was changed.
    #[error(
        "manager {manager} reads log entries up to format {reads} and this needs format {needs}; upgrade muster there first"
    )]
    OlderManager { manager: String, reads: u16, needs: u16 },
    #[error("the change takes {bytes} bytes and one may take {max}; make it smaller")]
    TooLarge { bytes: usize, max: usize },
    /// It may still be made.
    #[error("the managers did not confirm the change within {} s; look whether it was made before you repeat it", DEADLINE.as_secs())]
    Unconfirmed,
    #[error("this manager is stopping; repeat the command once it runs again")]
    Stopping,
    #[error("this manager has stopped: {0}")]
    Failed(Arc<str>),
}

/// The state and what is told about it, shared between the state machine that writes and everyone who reads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: RwLock<State>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) changes: Publisher,
}

impl Shared {
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, state: State) -> State {
        std::mem::replace(&mut self.state.write().unwrap_or_else(PoisonError::into_inner), state)
    }
}

#[derive(Clone, Debug)]
pub struct Replica(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    proposals: mpsc::Sender<Proposal>,
    read_points: mpsc::Sender<Waiting>,
    leadership: watch::Receiver<Leadership>,
    failure: Failure,
    room: Room,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Replica").field("leadership", &*self.leadership.borrow()).finish_non_exhaustive()
    }
}

impl Replica {
    pub(crate) fn new(
        shared: Arc<Shared>,
        proposals: mpsc::Sender<Proposal>,
        read_points: mpsc::Sender<Waiting>,
        leadership: watch::Receiver<Leadership>,
        failure: Failure,
        room: Room,
    ) -> Self {
        Self(Arc::new(Inner { shared, proposals, read_points, leadership, failure, room }))
    }

    /// Returns once the command is committed and applied here. Waits for a leader where there is none. Dropping the
    /// future does not take the proposal back.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        self.enqueue(None, command).await
    }

    /// The same for a command that somebody may ask for again, under the same id: it is carried out once, and each time
    /// answered with what became of it then. Only where all managers read entries with ids; a manager of the version
    /// before knows nothing of them, and nobody who could repeat anything asks it.
    pub async fn propose_as(&self, request: RequestId, command: Command) -> Result<Outcome, ProposeError> {
        let request = self.read(|state| (state.log_format() >= SEVERAL_MANAGERS).then_some(request));
        self.enqueue(request, command).await
    }

    /// An entry that a manager cannot read would stop it.
    fn readable_by_all(&self, command: &Command) -> Result<(), ProposeError> {
        let needs = command.format();
        self.read(|state| match state.oldest_manager().filter(|oldest| oldest.log_format < needs) {
            None => Ok(()),
            Some(oldest) => Err(ProposeError::OlderManager {
                manager: oldest
                    .description
                    .as_ref()
                    .map_or_else(|| oldest.id.to_string(), |said| said.hostname.clone()),
                reads: oldest.log_format,
                needs,
            }),
        })
    }

    async fn enqueue(&self, request: Option<RequestId>, command: Command) -> Result<Outcome, ProposeError> {
        self.readable_by_all(&command)?;
        if self.0.room.is_full() && !self.is_led_by_another() {
            return Err(ProposeError::NoRoom);
        }
        let deadline = Instant::now() + DEADLINE;
        let encoded = proposer::encode(&command)?;
        let (answer, answered) = oneshot::channel();
        let proposal = Proposal { request, command, encoded, deadline, answer };
        match timeout_at(deadline, self.0.proposals.send(proposal)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(ProposeError::Stopping),
            Err(_elapsed) => return Err(ProposeError::Busy),
        }
        // The proposer keeps the deadline and knows better why.
        match timeout_at(deadline + ANSWER_GRACE, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_dropped)) => Err(ProposeError::Stopping),
            Err(_elapsed) => Err(ProposeError::Unconfirmed),
        }
    }

    /// Looks at the state. The closure must be short: entries wait to be applied meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.0.shared.read(look)
    }

    /// After it returns, [`Replica::read`] sees every change that was acknowledged before it was called, whoever
    /// acknowledged it.
    pub async fn barrier(&self) -> Result<(), ProposeError> {
        let deadline = Instant::now() + DEADLINE;
        let (tell, told) = oneshot::channel();
        match timeout_at(deadline, self.0.read_points.send(tell)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(self.ended()),
            Err(_elapsed) => return Err(ProposeError::NoLeader),
        }
        match timeout_at(deadline, told).await {
            Ok(Ok(found)) => found,
            Ok(Err(_dropped)) => Err(self.ended()),
            Err(_elapsed) => Err(ProposeError::NoLeader),
        }
    }

    /// Why nobody answers any more.
    fn ended(&self) -> ProposeError {
        self.0.failure.get().map_or(ProposeError::Stopping, ProposeError::Failed)
    }

    /// The index of the last applied entry; it changes with every entry.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.shared.applied.subscribe()
    }

    /// What changed, gathered for one reader. Its first answer is [`crate::changes::Changed::Everything`].
    #[must_use]
    pub fn watch(&self) -> Watcher {
        self.0.shared.changes.watch()
    }

    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    fn is_led_by_another(&self) -> bool {
        match &*self.0.leadership.borrow() {
            Leadership::Other { .. } => true,
            Leadership::Me { .. } | Leadership::Nobody => false,
        }
    }

    /// This manager's term as leader, if it leads.
    #[must_use]
    pub fn leading(&self) -> Option<Term> {
        self.0.leadership.borrow().leading()
    }
}
