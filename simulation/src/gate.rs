//! A manager's process: it runs, is stopped for a while, or is dead. Its tasks pass here before each step.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use muster_manager::outside::Gate;

#[derive(Debug, Default)]
pub struct Process(Mutex<Inner>, AtomicU64);

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
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Inner::Running = *inner {
            self.1.fetch_add(1, Ordering::Relaxed);
            *inner = Inner::Paused(Vec::new());
        }
    }

    /// How often it was.
    pub fn pauses(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    pub fn resume(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Inner::Paused(waiting) = &mut *inner {
            let waiting = std::mem::take(waiting);
            *inner = Inner::Running;
            drop(inner);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    pub fn kill(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Inner::Dead;
    }

    pub fn is_paused(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Inner::Paused(_))
    }

    pub fn is_dead(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Inner::Dead)
    }
}

impl Gate for Process {
    fn poll_open(&self, task: &mut Context<'_>) -> Poll<()> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Inner::Running => Poll::Ready(()),
            Inner::Paused(waiting) => {
                waiting.push(task.waker().clone());
                Poll::Pending
            }
            Inner::Dead => Poll::Pending,
        }
    }
}
