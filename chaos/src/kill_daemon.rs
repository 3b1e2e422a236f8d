//! One daemon, several clients, SIGKILL at random moments: what was acknowledged must be there after every restart.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use crate::{
    check,
    daemon::{Daemon, Home},
    history::{self, Event, Moment, Recorder},
    options::{Options, told_to_stop},
    report::Report,
    workload::Client,
    writers::Writers,
};

/// Time from the start of the process to a kill in its recovery, which takes about this long.
const STARTING_MS: std::ops::Range<u64> = 0..300;
/// One restart in so many is struck while it recovers.
const STARTING_ONE_IN: u32 = 4;
/// For every service to run its task after the last restart.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const ASKED_EVERY: Duration = Duration::from_millis(200);

struct Run {
    home: Home,
    history: Arc<Recorder>,
    rng: StdRng,
    clients: Vec<Client>,
    restarts: Vec<Duration>,
}

/// Whether the daemon kept its word.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let binary = options.binary()?;
    let seed = options.seed.unwrap_or_else(rand::random);
    let mut folder = tempfile::Builder::new().prefix("muster-chaos-").tempdir()?;
    println!("kill-daemon: {} rounds, seed {seed}, in {}", options.rounds, folder.path().display());

    let begun = Instant::now();
    let path = folder.path().join("history.jsonl");
    let mut run = Run {
        home: Home::new(folder.path(), binary.clone())?,
        history: Arc::new(Recorder::create(&path)?),
        rng: StdRng::seed_from_u64(seed),
        clients: (1..=options.clients).map(|number| Client::new(number, seed)).collect(),
        restarts: Vec::new(),
    };
    let unsettled = tokio::select! {
        unsettled = run.rounds(options.rounds) => unsettled,
        () = told_to_stop() => Err(anyhow::anyhow!("told to stop before the end; the daemon was killed")),
    };
    let unsettled = match unsettled {
        Ok(unsettled) => unsettled,
        Err(error) => {
            folder.disable_cleanup(true);
            return Err(error.context(format!("seed {seed}, history and log kept in {}", folder.path().display())));
        }
    };
    let mut report = Report {
        seed,
        took: begun.elapsed(),
        restarts: run.restarts,
        unsettled,
        panics: run.home.panics()?,
        verdict: check::check(&history::read(std::fs::File::open(&path)?)?),
        kept: None,
        replay: options.replay("kill-daemon", seed, &binary),
    };
    if options.keep || !report.is_good() {
        folder.disable_cleanup(true);
        report.kept = Some(folder.path().to_owned());
    }
    println!("{report}");
    Ok(report.is_good())
}

impl Run {
    /// The services that have not settled at the end.
    async fn rounds(&mut self, rounds: u32) -> anyhow::Result<Vec<String>> {
        let mut daemon = self.home.start()?;
        self.home.first(&mut daemon, &["init"]).await?;
        for round in 1..=rounds {
            self.strike(round, daemon).await?;
            daemon = self.recover(round).await?;
            let services = self.home.muster.services().await.context("after a restart")?;
            self.history.record(&Event::Observed { services })?;
        }
        let unsettled = self.settle().await?;
        daemon.kill().await?;
        Ok(unsettled)
    }

    /// The clients write until the daemon is dead and each has got what answer there is.
    async fn strike(&mut self, round: u32, daemon: Daemon) -> anyhow::Result<()> {
        let doors = Arc::from([self.home.muster.clone()]);
        let mut writers = Writers::start(std::mem::take(&mut self.clients), &doors, &self.history);
        writers.moment(&mut self.rng).await?;
        daemon.kill().await?;
        self.history.record(&Event::Killed { round, moment: Moment::Serving })?;
        self.clients = writers.finish().await?;
        Ok(())
    }

    async fn recover(&mut self, round: u32) -> anyhow::Result<Daemon> {
        while self.rng.random_ratio(1, STARTING_ONE_IN) {
            let daemon = self.home.start()?;
            sleep(Duration::from_millis(self.rng.random_range(STARTING_MS))).await;
            daemon.kill().await?;
            self.history.record(&Event::Killed { round, moment: Moment::Starting })?;
        }
        let begun = Instant::now();
        let mut daemon = self.home.start()?;
        self.restarts.push(self.home.ready(&mut daemon, begun).await?);
        Ok(daemon)
    }

    async fn settle(&self) -> anyhow::Result<Vec<String>> {
        let begun = Instant::now();
        loop {
            let listed = self.home.muster.list().await?;
            let unsettled = listed.into_iter().filter(|service| service.replicas != "1/1");
            let unsettled: Vec<String> = unsettled.map(|s| format!("{} {}", s.name, s.replicas)).collect();
            if unsettled.is_empty() || begun.elapsed() > SETTLED_WITHIN {
                return Ok(unsettled);
            }
            sleep(ASKED_EVERY).await;
        }
    }
}
