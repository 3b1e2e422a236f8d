//! What is told of a rollout that cannot be steered so, before anything is proposed. It names the step that leads on, where
//! the log's own refusal is of one kind for several cases: what `apply` answers is part of the state, and stays as it is
//! for managers of the version before (`docs/adr/0007-log-formats.md`).

use muster_core::{command::Steer, rejection::Rejection};
use muster_proto::{
    rollout::{Hold, RolloutState, Trust},
    service::Service,
};
use tonic::Status;

use crate::status;

pub(super) fn check(service: &Service, steer: Steer) -> Result<(), Status> {
    let Some(rollout) = service.rollout.as_deref().filter(|rollout| rollout.state == RolloutState::Paused) else {
        return Ok(());
    };
    let name = &service.spec.name;
    let has_canaries = service.spec.update.canary > 0 && rollout.trust < Trust::Promoted;
    match (steer, rollout.hold) {
        (Steer::Pause, Some(Hold::Canary)) => Err(status::rejected(&Rejection::WaitsForPromotion(name.clone()))),
        (Steer::Promote, Some(Hold::ByHand)) if has_canaries => Err(Status::failed_precondition(format!(
            "the update of service {name} was paused before its canaries have shown that they work; go on with `muster \
             service resume {name}`, and promote it once they have"
        ))),
        (Steer::Promote, Some(Hold::Failure) | None) if has_canaries => Err(Status::failed_precondition(format!(
            "the update of service {name} is paused because canaries of it failed or did not become ready; mend it with \
             `muster service update {name}`, or go back with `muster service rollback {name}`"
        ))),
        (Steer::Pause | Steer::Resume | Steer::Promote, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use expect_test::{Expect, expect};
    use muster_proto::{
        id::ServiceId,
        rollout::Rollout,
        service::ServiceSpec,
        time::Timestamp,
        version::{TemplateVersion, Version},
    };

    use super::*;

    fn paused(hold: Option<Hold>, trust: Trust, canary: u32) -> Service {
        let mut spec = ServiceSpec::new("web", "app:1");
        spec.update.canary = canary;
        let rollout = Rollout {
            state: RolloutState::Paused,
            target: TemplateVersion(1),
            started_at: Timestamp::EPOCH,
            completed_at: None,
            progressed_at: Timestamp::EPOCH,
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
            failures: Vec::new(),
            message: String::new(),
            hold,
            trust,
            canaries: BTreeSet::new(),
        };
        Service {
            id: ServiceId::from_bits(1),
            version: Version(1),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            template: Arc::new(spec.template()),
            template_version: TemplateVersion(1),
            previous: None,
            ports: Vec::new(),
            rollout: Some(Box::new(rollout)),
            spec,
        }
    }

    fn says(service: &Service, steer: Steer, expected: Expect) {
        let told = check(service, steer).map_err(|status| status.message().to_owned());
        expected.assert_eq(&told.err().unwrap_or_default());
    }

    #[test]
    fn the_next_step_is_the_one_that_leads_on() {
        let held = paused(Some(Hold::Canary), Trust::Proven, 1);
        says(
            &held,
            Steer::Pause,
            expect![[
                r#"the update of service web waits with its canaries; go on with `muster service promote web`, or back with `muster service rollback web`"#
            ]],
        );
        says(&held, Steer::Promote, expect![""]);
        let by_hand = paused(Some(Hold::ByHand), Trust::Unproven, 1);
        says(&by_hand, Steer::Pause, expect![""]);
        says(
            &by_hand,
            Steer::Promote,
            expect![[
                r#"the update of service web was paused before its canaries have shown that they work; go on with `muster service resume web`, and promote it once they have"#
            ]],
        );
        let failed = paused(Some(Hold::Failure), Trust::Unproven, 1);
        says(
            &failed,
            Steer::Promote,
            expect![[
                r#"the update of service web is paused because canaries of it failed or did not become ready; mend it with `muster service update web`, or go back with `muster service rollback web`"#
            ]],
        );
        let without = paused(Some(Hold::ByHand), Trust::Unproven, 0);
        says(&without, Steer::Promote, expect![""]);
        let promoted = paused(Some(Hold::ByHand), Trust::Promoted, 1);
        says(&promoted, Steer::Promote, expect![""]);
    }
}
