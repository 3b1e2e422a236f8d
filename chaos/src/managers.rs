//! Three managers, clients that write through all of them, and faults on random ones: what was acknowledged must be
//! found on all three after every round, and managers that applied as much must have the same state.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

pub use crate::fault::Kind;
use crate::{
    check,
    history::{self, Event, Progress, Recorder},
    options::{Options, told_to_stop},
    report::Report,
    trio::Trio,
    workload::Client,
    writers::Writers,
};

/// For all managers to have applied as much once nobody writes, and at the end for every service to run its task.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const ASKED_EVERY: Duration = Duration::from_millis(100);

struct Run {
    kind: Kind,
    trio: Trio,
    history: Arc<Recorder>,
    rng: StdRng,
    clients: Vec<Client>,
    restarts: Vec<Duration>,
}

/// Whether the managers kept their word.
pub async fn run(kind: Kind, options: &Options) -> anyhow::Result<bool> {
    let binary = options.binary()?;
    let seed = options.seed.unwrap_or_else(rand::random);
    let mut folder = tempfile::Builder::new().prefix("muster-chaos-").tempdir()?;
    println!("{}: {} rounds, seed {seed}, in {}", kind.name(), options.rounds, folder.path().display());

    let begun = Instant::now();
    let path = folder.path().join("history.jsonl");
    let mut run = Run {
        kind,
        trio: Trio::new(folder.path(), &binary, kind)?,
        history: Arc::new(Recorder::create(&path)?),
        rng: StdRng::seed_from_u64(seed),
        clients: (1..=options.clients).map(|number| Client::new(number, seed)).collect(),
        restarts: Vec::new(),
    };
    let unsettled = tokio::select! {
        unsettled = run.rounds(options.rounds) => unsettled,
        () = told_to_stop() => Err(anyhow::anyhow!("told to stop before the end; the managers were killed")),
    };
    let unsettled = match unsettled {
        Ok(unsettled) => unsettled,
        Err(error) => {
            folder.disable_cleanup(true);
            return Err(error.context(format!("seed {seed}, history and logs kept in {}", folder.path().display())));
        }
    };
    let mut report = Report {
        seed,
        took: begun.elapsed(),
        restarts: run.restarts,
        unsettled,
        panics: run.trio.panics()?,
        verdict: check::check(&history::read(std::fs::File::open(&path)?)?),
        kept: None,
        replay: options.replay(kind.name(), seed, &binary),
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
        self.trio.form().await?;
        self.trio.ready().await?;
        for round in 1..=rounds {
            self.strike(round).await.with_context(|| format!("in round {round}"))?;
            self.compare().await.with_context(|| format!("after round {round}"))?;
        }
        let unsettled = self.settle().await?;
        self.trio.end().await?;
        Ok(unsettled)
    }

    /// The clients write before the fault, while it lasts and after it.
    async fn strike(&mut self, round: u32) -> anyhow::Result<()> {
        let mut writers = Writers::start(std::mem::take(&mut self.clients), &self.trio.doors(), &self.history);
        writers.moment(&mut self.rng).await?;
        let plan = self.kind.plan(&mut self.rng, crate::trio::MANAGERS);
        for strike in &plan.strikes {
            self.trio.strike(*strike).await?;
            self.history.record(&Event::Struck { round, manager: strike.manager + 1, fault: strike.fault })?;
        }
        sleep(plan.lasts).await;
        for strike in &plan.strikes {
            self.trio.heal(*strike).await?;
        }
        self.restarts.push(self.trio.ready().await?);
        self.clients = writers.finish().await?;
        Ok(())
    }

    /// What each manager shows, and whether they have the same state.
    async fn compare(&mut self) -> anyhow::Result<()> {
        for muster in self.trio.doors().iter() {
            let services = patiently(|| muster.services()).await?;
            self.history.record(&Event::Observed { services })?;
        }
        let begun = Instant::now();
        loop {
            let mut managers: Vec<Progress> = Vec::new();
            for muster in self.trio.doors().iter() {
                managers.push(patiently(|| muster.copy()).await?);
            }
            if managers.iter().all(|copy| copy.applied == managers[0].applied) {
                return self.history.record(&Event::Compared { managers });
            }
            if begun.elapsed() > SETTLED_WITHIN {
                bail!("the managers did not apply as much as each other within {SETTLED_WITHIN:?}: {managers:?}");
            }
            sleep(ASKED_EVERY).await;
        }
    }

    async fn settle(&self) -> anyhow::Result<Vec<String>> {
        let begun = Instant::now();
        loop {
            let doors = self.trio.doors();
            let listed = patiently(|| doors[0].list()).await?;
            let unsettled = listed.into_iter().filter(|service| service.replicas != "1/1");
            let unsettled: Vec<String> = unsettled.map(|s| format!("{} {}", s.name, s.replicas)).collect();
            if unsettled.is_empty() || begun.elapsed() > SETTLED_WITHIN {
                return Ok(unsettled);
            }
            sleep(ASKED_EVERY).await;
        }
    }
}

/// What a question is answered once the faults are over, though an election may still be under way.
async fn patiently<T, F: Future<Output = anyhow::Result<T>>>(ask: impl Fn() -> F) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(_) if begun.elapsed() < SETTLED_WITHIN => sleep(ASKED_EVERY).await,
            answer => return answer,
        }
    }
}
