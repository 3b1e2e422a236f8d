//! Running tasks moved to where there are fewer. What moves is decided by [`muster_core::plan::rebalance`]; a plan that is
//! only shown is the same value.

use muster_core::{
    command::{Command, Outcome},
    plan::rebalance::{self, Held, MOVES_MAX, Rebalance, Relocation},
    state::State,
};
use muster_proto::v1::{self, rebalance_response as wire};
use tonic::Status;

use super::{Control, Known, lookup, request::Asked};
use crate::status;

impl Control {
    pub(super) async fn even_out(
        &self,
        asked: Asked,
        request: v1::RebalanceRequest,
    ) -> Result<v1::RebalanceResponse, Status> {
        let moves_max = usize::try_from(request.max_moves).unwrap_or(usize::MAX);
        if !(1..=MOVES_MAX).contains(&moves_max) {
            return Err(Status::invalid_argument(format!(
                "a rebalance of {moves_max} moves cannot be made; ask for 1 to {MOVES_MAX}"
            )));
        }
        self.up_to_date().await?;
        let (liveness, now) = (self.handle.leases.liveness(), self.handle.outside.clock.now());
        let look = |state: &State| Ok(rebalance::rebalance(state, &liveness, now, moves_max));
        let mut plan = match self.look(asked.first(), look)? {
            Known::Done(_) => return Ok(self.handle.replica.read(begun)),
            Known::New(plan) => plan,
        };
        if !request.dry_run && !plan.moves.is_empty() {
            let moves = plan.moves.iter().map(Relocation::as_move).collect();
            let proposed = self.handle.replica.propose_as(asked.first(), Command::MoveTasks { moves }).await;
            match proposed.map_err(|error| status::unproposed(&error))? {
                Outcome::Done { .. } => {}
                Outcome::Partly { stale, .. } => {
                    let is_stale = |place: usize| stale.iter().any(|(at, _)| usize::try_from(*at) == Ok(place));
                    let mut place = 0..;
                    plan.moves.retain(|_| !place.next().is_some_and(is_stale));
                }
                Outcome::Rejected(rejection) => return Err(status::rejected(&rejection)),
            }
        }
        Ok(self.handle.replica.read(|state| shown(state, &plan)))
    }
}

/// The answer was lost: what the request began is what moves now.
fn begun(state: &State) -> v1::RebalanceResponse {
    shown(state, &Rebalance { moves: rebalance::under_way(state), ..Rebalance::default() })
}

fn shown(state: &State, plan: &Rebalance) -> v1::RebalanceResponse {
    let name = |id| state.service(id).map(|service| service.spec.name.clone()).unwrap_or_default();
    let moves = plan.moves.iter().map(|one| wire::Move {
        task_id: one.task.to_string(),
        service_id: one.service.to_string(),
        service_name: name(one.service),
        slot: Some((&one.slot).into()),
        from: one.from.to_string(),
        to: one.to.to_string(),
    });
    let staying = plan
        .staying
        .iter()
        .map(|(service, why)| wire::Staying { service_name: name(*service), reason: why.to_string() });
    v1::RebalanceResponse {
        moves: moves.collect(),
        staying: staying.collect(),
        held: plan.held.as_ref().map(|held| sentence(state, held)),
        more: plan.is_cut,
    }
}

fn sentence(state: &State, held: &Held) -> String {
    let nodes = match held {
        Held::NodesAway(nodes) => nodes,
        Held::Quiet { .. } | Held::Moving => return held.to_string(),
    };
    let names: Vec<String> = nodes.iter().filter_map(|id| state.node(*id)).map(lookup::name).collect();
    format!(
        "no task is moved while a node is down or not heard from: {}; wait until it is back, or drain or remove it",
        names.join(", ")
    )
}
