//! The demo's clients: some at each node's published port, counted together.

use super::{
    cluster::Cluster,
    load::{Load, Tally},
};

/// At each node; half of them over kept connections.
pub(super) const AT_EACH: usize = 2;

#[derive(Debug)]
pub(super) struct Clients {
    /// By node; none where its clients have ended.
    at: Vec<Option<Load>>,
    /// What those that ended have seen.
    ended: Tally,
}

impl Clients {
    pub(super) fn start(cluster: &Cluster) -> Self {
        let at = (0..cluster.nodes.len()).map(|number| Some(Load::start(cluster.target(number), AT_EACH)));
        Self { at: at.collect(), ended: Tally::default() }
    }

    /// So far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.ended.clone();
        for load in self.at.iter().flatten() {
            tally.add(load.tally());
        }
        tally
    }

    /// Those of one node end, each with its request answered.
    pub(super) async fn end(&mut self, number: usize) {
        if let Some(load) = self.at[number].take() {
            self.ended.add(load.finish().await);
        }
    }

    pub(super) fn begin(&mut self, cluster: &Cluster, number: usize) {
        self.at[number] = Some(Load::start(cluster.target(number), AT_EACH));
    }

    pub(super) async fn finish(mut self) -> Tally {
        for number in 0..self.at.len() {
            self.end(number).await;
        }
        self.ended
    }
}
