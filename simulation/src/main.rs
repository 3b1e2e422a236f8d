//! One run in this process: `muster-simulation --seed 17`. Says what was broken and ends with 1, or with 0.

use std::{thread, time::Duration};

use clap::{Parser, ValueEnum};
use muster_simulation::{entropy, run::run, trace};

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    seed: u64,
    #[arg(long, value_enum, default_value = "nothing")]
    print: Print,
    /// Also prints what the managers log, by tracing's filter.
    #[arg(long)]
    log: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Print {
    Nothing,
    Events,
    Everything,
}

impl From<Print> for trace::Print {
    fn from(print: Print) -> Self {
        match print {
            Print::Nothing => trace::Print::Nothing,
            Print::Events => trace::Print::Events,
            Print::Everything => trace::Print::Everything,
        }
    }
}

/// On the real clock. A run takes a second or two; one in which simulated time stands still would take for ever.
const RUN_MAX: Duration = Duration::from_secs(300);

/// Ends the process when the run takes too long.
fn limit() {
    thread::spawn(|| {
        thread::park_timeout(RUN_MAX);
        println!("the run takes more than {} s: simulated time stands still", RUN_MAX.as_secs());
        std::process::exit(2);
    });
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    entropy::begin(args.seed);
    if let Some(filter) = &args.log {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).without_time().init();
    }
    limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let report = runtime.block_on(run(args.seed, args.print.into()));
    let (asked, acknowledged, reads) = report.counts;
    let (hash, lines) = report.trace;
    println!(
        "seed {}: trace {hash:016x} of {lines} lines, {acknowledged} of {asked} writes acknowledged, {reads} reads",
        args.seed
    );
    for broken in &report.broken {
        println!("seed {}: broken: {broken}", args.seed);
    }
    // Nothing of the killed processes is dropped, nor need anything else be.
    std::process::exit(i32::from(!report.broken.is_empty()));
}
