//! What happened in a run, line by line, as one number: two runs that did the same have the same one.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

/// Whether lines are also printed as they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    Nothing,
    /// What is decided and found, without the messages.
    Events,
    Everything,
}

#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    print: Print,
    hasher: DefaultHasher,
    lines: u64,
}

impl Trace {
    #[must_use]
    pub fn new(print: Print) -> Self {
        let inner = Inner { began: Instant::now(), print, hasher: DefaultHasher::new(), lines: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub fn event(&self, line: fmt::Arguments<'_>) {
        self.note(line, Print::Events);
    }

    /// A message on its way, or another of the thousands of small things.
    pub fn detail(&self, line: fmt::Arguments<'_>) {
        self.note(line, Print::Everything);
    }

    fn note(&self, line: fmt::Arguments<'_>, from: Print) {
        let mut inner = self.inner();
        let line = format!("{:>10.3} {line}", inner.began.elapsed().as_secs_f64());
        let printed = match inner.print {
            Print::Nothing => false,
            Print::Events => from == Print::Events,
            Print::Everything => true,
        };
        if printed {
            println!("{line}");
        }
        inner.hasher.write(line.as_bytes());
        inner.lines += 1;
    }

    /// The number of all lines so far, and how many there are.
    #[must_use]
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.hasher.finish(), inner.lines)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
