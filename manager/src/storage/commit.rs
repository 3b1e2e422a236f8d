//! Makes writes durable on a thread of its own, so that a slow disk never blocks the runtime, and one sync serves
//! everything that was written before it began.
//!
//! A sync that failed leaves nobody able to say what is on the disk. It is never repeated: this and every later write
//! fails, and the manager stops.

use std::{
    io, mem,
    sync::{Arc, mpsc},
    thread,
};

use crate::{outside::Commits, storage::store::Store};

/// Told once what it waits for is durable, or never will be.
pub type Durable = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Owned by the log; the thread ends with it, after everything handed in before.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Option<mpsc::Sender<Durable>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn start(store: Arc<dyn Store>) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel();
        let thread = thread::Builder::new().name("log-commit".into()).spawn(move || run(&*store, &waiting))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }
}

impl Commits for Committer {
    fn commit(&self, durable: Durable) {
        let refused = match &self.queue {
            Some(queue) => queue.send(durable).err().map(|unsent| unsent.0),
            None => Some(durable),
        };
        if let Some(durable) = refused {
            durable(Err(io::Error::other("the log's thread has ended")));
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = mem::take(&mut self.thread) {
            // Its panic has been reported by the runtime already.
            let _ = thread.join();
        }
    }
}

fn run(store: &dyn Store, waiting: &mpsc::Receiver<Durable>) {
    let mut failure: Option<(io::ErrorKind, String)> = None;
    let note = |why: io::Error| {
        tracing::error!(error = %why, "the log could not be made durable; this manager stops");
        (why.kind(), why.to_string())
    };
    while let Ok(first) = waiting.recv() {
        let batch = std::iter::once(first).chain(waiting.try_iter()).collect::<Vec<_>>();
        if failure.is_none() {
            failure = store.make_durable().err().map(note);
        }
        for durable in batch {
            durable(match &failure {
                None => Ok(()),
                Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            });
        }
        if failure.is_none() {
            failure = store.tidy_up().err().map(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::storage::store::{Pair, Write};

    /// Its syncs wait until the test lets them, and fail from the given one on.
    #[derive(Debug)]
    struct Slow {
        gate: Mutex<mpsc::Receiver<()>>,
        begun: Mutex<mpsc::Sender<()>>,
        syncs: AtomicUsize,
        fails_from: usize,
        /// Its tidying up waits for the gate too, and fails.
        tidies: bool,
    }

    impl Store for Slow {
        fn get(&self, _key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }
        fn range(&self, _from: &[u8], _to: &[u8], _bytes_max: usize) -> io::Result<Vec<Pair>> {
            Ok(Vec::new())
        }
        fn keys(&self, _from: &[u8], _to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
            Ok(Vec::new())
        }
        fn write(&self, _batch: Vec<Write>) -> io::Result<()> {
            Ok(())
        }
        fn make_durable(&self) -> io::Result<()> {
            let sync = self.syncs.fetch_add(1, Ordering::SeqCst);
            self.begun.lock().unwrap().send(()).unwrap();
            self.gate.lock().unwrap().recv().unwrap();
            if sync >= self.fails_from { Err(io::Error::other("input/output error")) } else { Ok(()) }
        }
        fn tidy_up(&self) -> io::Result<()> {
            if !self.tidies {
                return Ok(());
            }
            self.gate.lock().unwrap().recv().unwrap();
            Err(io::Error::other("input/output error"))
        }
    }

    fn slow(fails_from: usize) -> (Arc<Slow>, mpsc::Sender<()>, mpsc::Receiver<()>) {
        let (open, gate) = mpsc::channel();
        let (begun, seen) = mpsc::channel();
        let store = Slow {
            gate: Mutex::new(gate),
            begun: Mutex::new(begun),
            syncs: AtomicUsize::new(0),
            fails_from,
            tidies: false,
        };
        (Arc::new(store), open, seen)
    }

    #[test]
    fn what_waits_during_a_sync_shares_the_next_one() {
        let (store, open, seen) = slow(usize::MAX);
        let committer = Committer::start(store.clone()).unwrap();
        let (told, done) = mpsc::channel();
        let commit = |number: usize| {
            let told = told.clone();
            committer.commit(Box::new(move |result| told.send((number, result.is_ok())).unwrap()));
        };
        commit(0);
        seen.recv().unwrap();
        for number in 1..10 {
            commit(number);
        }
        open.send(()).unwrap();
        open.send(()).unwrap();
        let all: Vec<_> = (0..10).map(|_| done.recv().unwrap()).collect();
        assert_eq!(all, (0..10).map(|number| (number, true)).collect::<Vec<_>>());
        assert_eq!(store.syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_failed_sync_is_never_repeated() {
        let (store, open, _seen) = slow(0);
        let committer = Committer::start(store.clone()).unwrap();
        let (told, done) = mpsc::channel();
        for _ in 0..2 {
            let told = told.clone();
            open.send(()).unwrap();
            committer.commit(Box::new(move |result| told.send(result.is_err()).unwrap()));
            assert!(done.recv().unwrap());
        }
        assert_eq!(store.syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_waits_is_told_before_the_store_tidies_up_and_a_failure_of_that_is_final() {
        let (mut store, open, _seen) = slow(usize::MAX);
        Arc::get_mut(&mut store).unwrap().tidies = true;
        let committer = Committer::start(store.clone()).unwrap();
        let (told, done) = mpsc::channel();
        let commit = || {
            let told = told.clone();
            committer.commit(Box::new(move |result| told.send(result.is_ok()).unwrap()));
        };
        commit();
        open.send(()).unwrap();
        assert!(done.recv().unwrap());
        open.send(()).unwrap();
        commit();
        assert!(!done.recv().unwrap());
        assert_eq!(store.syncs.load(Ordering::SeqCst), 1);
    }
}
