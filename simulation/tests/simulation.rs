//! Two hundred seeds, each in a process of its own. One seed alone: `MUSTER_SEED=17 cargo test -p muster-simulation`;
//! many: `MUSTER_SEEDS=1..5000`.

use std::{
    env,
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Part of every test run.
const SEEDS: (u64, u64) = (1, 200);

fn run(seed: u64, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-simulation"));
    command.args(["--seed", &seed.to_string()]).args(more).output().expect("the simulation starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// First and last.
fn seeds() -> (u64, u64) {
    let number = |text: &str| text.trim().parse::<u64>().expect("MUSTER_SEEDS is like 1..5000");
    match env::var("MUSTER_SEEDS") {
        Ok(range) => {
            let (first, last) = range.split_once("..").expect("MUSTER_SEEDS is like 1..5000");
            (number(first), number(last))
        }
        Err(_) => SEEDS,
    }
}

#[test]
fn every_seed_holds() {
    if let Ok(seed) = env::var("MUSTER_SEED") {
        let output = run(seed.trim().parse().expect("MUSTER_SEED is a number"), &["--print", "everything"]);
        println!("{}", said(&output));
        assert!(output.status.success(), "seed {seed} fails; what happened stands above");
        return;
    }
    let (first, last) = seeds();
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed <= last
                {
                    let output = run(seed, &[]);
                    if !output.status.success() {
                        let replay = format!("MUSTER_SEED={seed} cargo test -p muster-simulation -- --nocapture");
                        let failure = format!("{}replay it with `{replay}`\n", said(&output));
                        failed.lock().expect("no thread panics").push(failure);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panics");
    assert!(failed.is_empty(), "{} of the seeds {first}..{last} fail\n{}", failed.len(), failed.join("\n"));
}

/// Byte for byte, and in another process.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 7, 11] {
        let trace = |output: Output| String::from_utf8(output.stdout).expect("text");
        let (once, again) =
            (trace(run(seed, &["--print", "everything"])), trace(run(seed, &["--print", "everything"])));
        let differ = once.lines().zip(again.lines()).find(|(once, again)| once != again);
        assert!(once == again, "seed {seed} differs from itself, first here: {differ:?}");
    }
}
