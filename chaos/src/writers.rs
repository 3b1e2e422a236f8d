//! Clients that write at the same time, until they are told to stop and each has got what answer there is.

use std::{ops::Range, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rand::{Rng, rngs::StdRng};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{cli::Muster, history::Recorder, workload::Client};

/// A fault follows so many answers, so that a slow machine writes as much in a round as a fast one; the lower end
/// strikes the first writes after the fault before.
const ANSWERS: Range<u32> = 0..60;
/// And then so much time, about as much as a write takes: somewhere between its parts.
const WRITING_MS: Range<u64> = 0..30;
/// For those answers to come. Longer than one command's patience.
const ANSWERED_WITHIN: Duration = Duration::from_secs(300);
/// Before the next write of a client, so that one whose manager is away does not take the machine's cores.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Writers {
    stop: watch::Sender<bool>,
    answered: watch::Receiver<u32>,
    writing: JoinSet<anyhow::Result<Client>>,
}

/// What a client writes with.
struct Pen {
    doors: Arc<[Muster]>,
    history: Arc<Recorder>,
    answers: watch::Sender<u32>,
}

impl Writers {
    pub(crate) fn start(clients: Vec<Client>, doors: &Arc<[Muster]>, history: &Arc<Recorder>) -> Self {
        let (stop, stopped) = watch::channel(false);
        // When every client has given up nobody answers, and the wait ends.
        let (answers, answered) = watch::channel(0);
        let mut writing = JoinSet::new();
        for client in clients {
            let pen = Pen { doors: Arc::clone(doors), history: Arc::clone(history), answers: answers.clone() };
            writing.spawn(pen.write_until(client, stopped.clone()));
        }
        Self { stop, answered, writing }
    }

    /// Until the moment to strike.
    pub(crate) async fn moment(&mut self, rng: &mut StdRng) -> anyhow::Result<()> {
        let enough = *self.answered.borrow() + rng.random_range(ANSWERS);
        // Only the outcome is kept: what `wait_for` returns is a lock that the clients need.
        let in_time = timeout(ANSWERED_WITHIN, self.answered.wait_for(|count| *count >= enough)).await.is_ok();
        ensure!(in_time, "{enough} writes were not answered within {ANSWERED_WITHIN:?}");
        sleep(Duration::from_millis(rng.random_range(WRITING_MS))).await;
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> anyhow::Result<Vec<Client>> {
        self.stop.send_replace(true);
        let mut clients = Vec::new();
        while let Some(client) = self.writing.join_next().await {
            clients.push(client.context("a client panicked")??);
        }
        // They end in any order, which must not decide who draws what.
        clients.sort_by_key(Client::number);
        Ok(clients)
    }
}

impl Pen {
    async fn write_until(self, mut client: Client, stopped: watch::Receiver<bool>) -> anyhow::Result<Client> {
        while !*stopped.borrow() {
            client.write(&self.doors, &self.history).await?;
            self.answers.send_modify(|count| *count += 1);
            sleep(PAUSE).await;
        }
        Ok(client)
    }
}
