//! One daemon, several clients, SIGKILL at random moments: what was acknowledged must be there after every restart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    check,
    daemon::{Daemon, Home},
    history::{self, Event, Moment, Recorder},
    report::Report,
    workload::Client,
};

/// The kill follows so many answers, so that a slow machine writes as much in a round as a fast one; the lower end
/// strikes the first writes after a restart.
const ANSWERS: std::ops::Range<u32> = 0..60;
/// And then so much time, about as much as a write takes: somewhere between its parts.
const WRITING_MS: std::ops::Range<u64> = 0..30;
/// For those answers to come. Longer than one command's patience.
const ANSWERED_WITHIN: Duration = Duration::from_secs(300);
/// Time from the start of the process to a kill in its recovery, which takes about this long.
const STARTING_MS: std::ops::Range<u64> = 0..300;
/// One restart in so many is struck while it recovers.
const STARTING_ONE_IN: u32 = 4;
/// For every service to run its task after the last restart.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const ASKED_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How often the daemon is killed while it serves
    #[arg(long, default_value_t = 20)]
    pub rounds: u32,
    /// Clients that write at the same time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clients: u32,
    /// Decides what is written and when the daemon is killed (default: a random one, which is printed)
    #[arg(long)]
    pub seed: Option<u64>,
    /// The binary under test (default: `muster` beside this one)
    #[arg(long, value_name = "PATH")]
    pub muster: Option<PathBuf>,
    /// Keep the history, the daemon's log and its data when all is well too
    #[arg(long)]
    pub keep: bool,
}

struct Run {
    home: Home,
    history: Arc<Recorder>,
    rng: StdRng,
    clients: Vec<Client>,
    restarts: Vec<Duration>,
}

/// Whether the daemon kept its word.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let binary = binary(options)?;
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
        replay: replay(options, seed, &binary),
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
        self.home.init(&mut daemon).await?;
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
        let (stop, stopped) = watch::channel(false);
        let (answers, mut answered) = watch::channel(0);
        let mut writing = JoinSet::new();
        for client in self.clients.drain(..) {
            let pen = Pen { home: self.home.clone(), history: Arc::clone(&self.history), answers: answers.clone() };
            writing.spawn(pen.write_until(client, stopped.clone()));
        }
        // When every client has given up nobody answers, and the wait ends.
        drop(answers);
        let enough = self.rng.random_range(ANSWERS);
        // Only the outcome is kept: what `wait_for` returns is a lock that the clients need.
        let in_time = timeout(ANSWERED_WITHIN, answered.wait_for(|count| *count >= enough)).await.is_ok();
        ensure!(in_time, "the daemon did not answer {enough} writes within {ANSWERED_WITHIN:?}");
        sleep(Duration::from_millis(self.rng.random_range(WRITING_MS))).await;
        daemon.kill().await?;
        self.history.record(&Event::Killed { round, moment: Moment::Serving })?;
        stop.send_replace(true);
        while let Some(client) = writing.join_next().await {
            self.clients.push(client.context("a client panicked")??);
        }
        // They end in any order, which must not decide who draws what.
        self.clients.sort_by_key(Client::number);
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

/// What a client writes with.
struct Pen {
    home: Home,
    history: Arc<Recorder>,
    answers: watch::Sender<u32>,
}

impl Pen {
    async fn write_until(self, mut client: Client, stopped: watch::Receiver<bool>) -> anyhow::Result<Client> {
        while !*stopped.borrow() {
            client.write(&self.home.muster, &self.history).await?;
            self.answers.send_modify(|count| *count += 1);
        }
        Ok(client)
    }
}

async fn told_to_stop() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
        // Without signals there is nobody to be told by.
        (Err(_), _) | (_, Err(_)) => std::future::pending().await,
    }
}

fn binary(options: &Options) -> anyhow::Result<PathBuf> {
    let binary = match &options.muster {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("muster"),
    };
    ensure!(
        binary.is_file(),
        "there is no {}; build it with `cargo build`, or name it with --muster",
        binary.display()
    );
    match binary.canonicalize() {
        Ok(binary) => Ok(binary),
        Err(error) => bail!("cannot resolve {}: {error}", binary.display()),
    }
}

fn replay(options: &Options, seed: u64, binary: &std::path::Path) -> String {
    let (rounds, clients, binary) = (options.rounds, options.clients, binary.display());
    format!("muster-chaos kill-daemon --rounds {rounds} --clients {clients} --seed {seed} --muster {binary}")
}
