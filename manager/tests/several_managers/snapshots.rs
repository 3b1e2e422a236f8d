//! Managers that are brought up with a snapshot. `MUSTER_SNAPSHOT_MIB=256` makes those snapshots as large as that, where
//! nothing is said 8 MiB and less are enough.

use std::{env, fs, path::PathBuf};

use muster_manager::{Start, outside::SnapshotEvery};

use crate::bench::{Bench, One, service_of, soon};

const PIECE_BYTES: usize = 256 << 10;
/// Pieces in a mebibyte.
const PIECES: u64 = 4;

fn mebibytes(otherwise: u64) -> u64 {
    env::var("MUSTER_SNAPSHOT_MIB").map_or(otherwise, |text| text.parse().expect("MUSTER_SNAPSHOT_MIB is a number"))
}

/// The names of its snapshots' files, which begin with the index of their last entry.
fn snapshots(one: &One) -> Vec<String> {
    let Ok(found) = fs::read_dir(PathBuf::from(one.folder.path()).join("manager/snapshots")) else { return Vec::new() };
    let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names = names.filter(|name| name.ends_with(".snapshot")).collect::<Vec<_>>();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_manager_gets_a_large_state_without_an_election() {
    let mut bench = Bench::of(1).await;
    for number in 1..=mebibytes(8) * PIECES {
        bench.one(1).propose(service_of(number, PIECE_BYTES)).await;
    }
    // Snapshots come with the bytes written; the log before the last but one is gone.
    let began = bench.one(1).handle().replica().leading();
    let second = bench.add().await;
    let third = bench.add().await;
    bench.one(1).voters([1, second, third]).await;
    assert_eq!(bench.one(1).handle().replica().leading(), began);
    bench.agreed().await;
}

/// The connection is so slow that the whole takes several times as long as a leader is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_its_leader_needs_for_a_majority_is_brought_up_without_an_election() {
    let mebibytes = mebibytes(2);
    // Three times, so that the log before the second of them is gone.
    let every = SnapshotEvery { bytes: (mebibytes << 20) / 4, ..SnapshotEvery::default() };
    let mut bench = Bench::that_saves(every, 3).await;
    bench.one_mut(3).kill().await;
    let last = bench.one(1).handle().members().now().last;
    for number in 1..=mebibytes * PIECES {
        bench.one(1).propose(service_of(number, PIECE_BYTES)).await;
    }
    let is_gone = |name: &String| name.split('-').next().unwrap().parse::<u64>().unwrap() > last;
    soon("two snapshots that the third lacks", async {
        while snapshots(bench.one(1)).iter().filter(|name| is_gone(name)).count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let began = bench.leader().await.handle().replica().leading();
    assert!(bench.one(1).is_leader());
    bench.one_mut(2).kill().await;
    let had = snapshots(bench.one(3));

    bench.wires.slow_snapshots(usize::try_from(mebibytes << 20).unwrap() / 4);
    bench.one_mut(3).start(Start::Again).await;
    let all = usize::try_from(mebibytes * PIECES).unwrap();
    bench.one(3).until("what it missed", |state| state.services().count() == all).await;
    let got = snapshots(bench.one(3));
    assert!(got.iter().any(|name| !had.contains(name) && is_gone(name)), "it came without a snapshot: {got:?}");
    assert!(bench.one(1).is_leader(), "another leads");
    bench.one(1).propose(service_of(1_000_000, 0)).await;
    assert_eq!(bench.one(1).handle().replica().leading(), began);
    bench.agreed().await;
}
