//! A client that writes to the cluster through one node, one write after the other, and notes when each was
//! acknowledged: what `muster node update --label-add demo.turn=N self` does, without a process for each.

use std::time::{Duration, Instant};

use muster_proto::node::NodeChange;

use crate::{connect::Daemon, node::change};

const LABEL: &str = "demo.turn";
/// Between two writes: they are there to find how long none is accepted, not to take the machine's cores.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Writer {
    daemon: Daemon,
    acknowledged: Vec<Instant>,
}

impl Writer {
    pub(super) async fn open(host: &str) -> anyhow::Result<Self> {
        let host = host.parse().map_err(anyhow::Error::msg)?;
        let daemon = Daemon::connect(&host).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self { daemon, acknowledged: Vec::new() })
    }

    /// Writes for as long as `more` says so of the times at which writes were acknowledged. A write that fails ends it.
    pub(super) async fn write_while(&mut self, mut more: impl FnMut(&[Instant]) -> bool) -> anyhow::Result<()> {
        while more(&self.acknowledged) {
            let turn = self.acknowledged.len().to_string();
            let change = change::make(&self.daemon, "self", |node| {
                let mut labels = node.labels.clone();
                labels.insert(LABEL.to_owned(), turn.clone());
                Ok(NodeChange { role: None, availability: node.availability, labels })
            });
            change.await.map_err(|error| anyhow::anyhow!("a write was not accepted: {error}"))?;
            self.acknowledged.push(Instant::now());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The longest time between two acknowledgements.
    pub(super) fn longest_gap(&self) -> Duration {
        let gaps = self.acknowledged.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        gaps.max().unwrap_or_default()
    }
}
