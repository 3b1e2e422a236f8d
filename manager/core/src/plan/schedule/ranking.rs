//! The nodes that pass every filter for one template, in order of score, kept up to date seat by seat.
//!
//! A placement changes the score of its own node and the spread of the branches that node is in. So nodes are ordered
//! within a leaf (the nodes that are alike in every preference), and a leaf's spread is put before its best node only
//! when leaves are compared.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{id::NodeId, placement::SpreadOver, task::Template, waiting::WaitingOn};

use super::{
    field,
    filter::{self, Want},
    offer,
    score::{Gain, NodeScore, Score, Standing},
    seats::{Seat, SeatIndex, Seats},
    service_use::ServiceUse,
};

#[derive(Debug)]
pub(super) struct Ranking {
    template: Template,
    failures: BTreeMap<SeatIndex, u32>,
    /// This service's active tasks in each branch of the preference tree.
    branches: Vec<u32>,
    leaves: Vec<Leaf>,
    places: Vec<Place>,
    /// How many of the seats' changes are in here.
    read: usize,
    /// What [`super::explain`] made of the seats after so many changes: many slots wait for the same reason.
    pub explained: Option<(usize, WaitingOn)>,
}

#[derive(Debug, Default)]
struct Leaf {
    /// From the first preference to the last.
    branches: Vec<usize>,
    nodes: BTreeSet<NodeScore>,
}

/// What the ranking counted of a seat when it last looked.
#[derive(Debug)]
struct Place {
    leaf: usize,
    of_service: u32,
    /// None: a filter refuses it.
    score: Option<NodeScore>,
}

impl Ranking {
    pub(super) fn new(template: &Template, seats: &Seats<'_>, in_use: &ServiceUse) -> Self {
        let mut ranking = Self {
            template: template.clone(),
            failures: in_use.failures_of(template),
            branches: Vec::new(),
            leaves: Vec::new(),
            places: Vec::with_capacity(seats.len()),
            read: seats.change_count(),
            explained: None,
        };
        ranking.plant(seats);
        for index in 0..seats.len() {
            ranking.look_at(index, seats, in_use);
        }
        ranking
    }

    pub(super) fn is_for(&self, template: &Template) -> bool {
        self.template == *template
    }

    pub(super) fn best(&mut self, seats: &Seats<'_>, in_use: &ServiceUse) -> Option<NodeId> {
        self.read_on(seats, in_use);
        self.leaves.iter().filter_map(|leaf| self.score(leaf)).min().map(|score| score.node.node)
    }

    /// The best node, where a task that is at `present` and counted out is better there.
    pub(super) fn better(
        &mut self,
        seats: &Seats<'_>,
        in_use: &ServiceUse,
        present: SeatIndex,
        gain: Gain,
    ) -> Option<NodeId> {
        self.read_on(seats, in_use);
        let best = self.leaves.iter().filter_map(|leaf| self.score(leaf)).min()?;
        let leaf = self.leaves.get(self.places.get(present)?.leaf)?;
        let now = Score {
            standing: Standing::Good,
            branches: leaf.branches.iter().map(|branch| self.branches[*branch]).collect(),
            node: NodeScore::of(seats.at(present), in_use.on(present), Standing::Good),
        };
        (best.standing == Standing::Good && best.is_gain_over(&now, gain)).then_some(best.node.node)
    }

    fn read_on(&mut self, seats: &Seats<'_>, in_use: &ServiceUse) {
        for index in seats.changes_since(self.read) {
            self.look_at(*index, seats, in_use);
        }
        self.read = seats.change_count();
    }

    fn score(&self, leaf: &Leaf) -> Option<Score> {
        let node = *leaf.nodes.first()?;
        let branches = leaf.branches.iter().map(|branch| self.branches[*branch]).collect();
        Some(Score { standing: node.standing, branches, node })
    }

    /// Makes the preference tree: every seat has its leaf, refused ones too, because their tasks count in the spread.
    fn plant(&mut self, seats: &Seats<'_>) {
        let mut branch_of: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let mut leaf_of: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for seat in seats.iter() {
            let path = path(&self.template.spec.placement.preferences, seat);
            let leaf = match leaf_of.get(&path) {
                Some(leaf) => *leaf,
                None => {
                    let branches = (1..=path.len()).map(|depth| {
                        let next = branch_of.len();
                        *branch_of.entry(path[..depth].to_vec()).or_insert(next)
                    });
                    self.leaves.push(Leaf { branches: branches.collect(), nodes: BTreeSet::new() });
                    leaf_of.insert(path, self.leaves.len() - 1);
                    self.leaves.len() - 1
                }
            };
            self.places.push(Place { leaf, of_service: 0, score: None });
        }
        self.branches = vec![0; branch_of.len()];
    }

    fn look_at(&mut self, index: SeatIndex, seats: &Seats<'_>, in_use: &ServiceUse) {
        let seat = seats.at(index);
        let of_service = in_use.on(index);
        let want = Want { template: &self.template };
        let score = filter::check(&want, &offer(seat, of_service)).ok().map(|()| {
            let failures = self.failures.get(&index).copied().unwrap_or(0);
            NodeScore::of(seat, of_service, Standing::after(failures))
        });
        let place = &mut self.places[index];
        let leaf = &mut self.leaves[place.leaf];
        for branch in &leaf.branches {
            self.branches[*branch] = self.branches[*branch] - place.of_service + of_service;
        }
        if let Some(old) = place.score {
            leaf.nodes.remove(&old);
        }
        leaf.nodes.extend(score);
        place.of_service = of_service;
        place.score = score;
    }
}

/// The node's value for each preference; nodes without one are alike.
fn path(preferences: &[SpreadOver], seat: &Seat<'_>) -> Vec<String> {
    let value = |SpreadOver(over): &SpreadOver| field::value(over, seat.node).unwrap_or_default().into_owned();
    preferences.iter().map(value).collect()
}
