//! What belongs to one manager among several in a process: every task that it spawns, openraft's included, knows whose
//! part it is, draws from that manager's randomness and passes its gate before each step. A closed gate is a stopped
//! process: nothing of it goes on, nothing of it is cleaned up.

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::outside::Random;

pub trait Gate: Debug + Send + Sync + 'static {
    /// Ready: the task may go on. Pending: it is woken when it may.
    fn poll_open(&self, task: &mut Context<'_>) -> Poll<()>;
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) random: Arc<dyn Random>,
    pub(crate) gate: Option<Arc<dyn Gate>>,
}

tokio::task_local! {
    static PART: Part;
}

/// Whose part the running task is, if any.
pub(crate) fn current() -> Option<Part> {
    PART.try_with(Clone::clone).ok()
}

pub(crate) fn run_as<F: Future>(part: Part, work: F) -> impl Future<Output = F::Output> + use<F> {
    let gate = part.gate.clone();
    Gated { gate, work: Box::pin(PART.scope(part, work)) }
}

/// To be spawned: a part of whatever the running task is part of.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    let part = current();
    let gate = part.as_ref().and_then(|part| part.gate.clone());
    Gated {
        gate,
        work: Box::pin(async move {
            match part {
                Some(part) => PART.scope(part, work).await,
                None => work.await,
            }
        }),
    }
}

struct Gated<F> {
    gate: Option<Arc<dyn Gate>>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(gate) = &self.gate
            && gate.poll_open(task).is_pending()
        {
            return Poll::Pending;
        }
        self.work.as_mut().poll(task)
    }
}
