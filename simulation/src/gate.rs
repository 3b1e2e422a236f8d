//! A manager's process: it runs, is stopped for a while, or is dead. Its tasks pass here before each step.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use muster_manager::outside::Gate;

#[derive(Debug, Default)]
pub struct Process {
    inner: Mutex<Inner>,
    pauses: AtomicU64,
    dies_after_vote: AtomicBool,
}

#[derive(Debug, Default)]
enum Inner {
    #[default]
    Running,
    /// With the tasks that wanted to go on meanwhile.
    Paused(Vec<Waker>),
    /// For good: what its tasks hold is never dropped, as in a process that is killed.
    Dead,
}

impl Process {
    pub fn pause(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Inner::Running = *inner {
            self.pauses.fetch_add(1, Ordering::Relaxed);
            *inner = Inner::Paused(Vec::new());
        }
    }

    /// How often it was.
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    pub fn resume(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Inner::Paused(waiting) = &mut *inner {
            let waiting = std::mem::take(waiting);
            *inner = Inner::Running;
            drop(inner);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    pub fn kill(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Inner::Dead;
    }

    /// It ends once it has given its next vote, before it does anything else.
    pub fn die_after_vote(&self) {
        self.dies_after_vote.store(true, Ordering::Relaxed);
    }

    pub fn live_on_after_vote(&self) {
        self.dies_after_vote.store(false, Ordering::Relaxed);
    }

    /// It has given a vote. Says whether that was the last thing it did.
    pub fn voted(&self) -> bool {
        let dies = self.dies_after_vote.swap(false, Ordering::Relaxed);
        if dies {
            self.kill();
        }
        dies
    }

    pub fn is_paused(&self) -> bool {
        matches!(*self.inner.lock().unwrap_or_else(PoisonError::into_inner), Inner::Paused(_))
    }

    pub fn is_dead(&self) -> bool {
        matches!(*self.inner.lock().unwrap_or_else(PoisonError::into_inner), Inner::Dead)
    }
}

impl Gate for Process {
    fn poll_open(&self, task: &mut Context<'_>) -> Poll<()> {
        match &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner) {
            Inner::Running => Poll::Ready(()),
            Inner::Paused(waiting) => {
                waiting.push(task.waker().clone());
                Poll::Pending
            }
            Inner::Dead => Poll::Pending,
        }
    }
}
