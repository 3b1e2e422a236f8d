//! `--update-*` and `--rollback-*`: the same flags twice, with their own ids and defaults.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use muster_proto::{
    parse,
    rollout::{FailureAction, UpdateConfig, UpdateOrder},
    service::REPLICAS_MAX,
};

use crate::flags::whole;

fn orders() -> impl TypedValueParser<Value = UpdateOrder> {
    PossibleValuesParser::new(["auto", "start-first", "stop-first"]).try_map(|word| parse::update_order(&word))
}

fn actions(words: &'static [&'static str]) -> impl TypedValueParser<Value = FailureAction> {
    PossibleValuesParser::new(words).try_map(|word| parse::failure_action(&word))
}

macro_rules! rollout_flags {
    ($name:ident, $heading:literal, $prefix:literal, $word:literal, $actions:expr, $action_help:literal) => {
        #[derive(clap::Args, Clone, Debug, Default, PartialEq)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            #[arg(
                id = concat!($prefix, "-parallelism"), long = concat!($prefix, "-parallelism"), value_name = "N",
                value_parser = whole(0..=REPLICAS_MAX),
                help = concat!("Slots ", $word, " at once; 0 is all (default 1)"),
            )]
            pub parallelism: Option<u32>,
            #[arg(
                id = concat!($prefix, "-delay"), long = concat!($prefix, "-delay"), value_name = "DURATION",
                value_parser = parse::duration,
                help = concat!("Pause after a slot is ", $word, " before the next (default 0s)"),
            )]
            pub delay: Option<Duration>,
            #[arg(
                id = concat!($prefix, "-failure-action"), long = concat!($prefix, "-failure-action"),
                value_name = "ACTION", value_parser = actions($actions), help = $action_help,
            )]
            pub failure_action: Option<FailureAction>,
            #[arg(
                id = concat!($prefix, "-monitor"), long = concat!($prefix, "-monitor"), value_name = "DURATION",
                value_parser = parse::duration,
                help = "A task that fails within this span after it became ready counts as a failure (default 5s)",
            )]
            pub monitor: Option<Duration>,
            #[arg(
                id = concat!($prefix, "-max-failure-ratio"), long = concat!($prefix, "-max-failure-ratio"),
                value_name = "RATIO", value_parser = parse::ratio,
                help = "Share of the slots that may fail, 0 to 1 (default 0)",
            )]
            pub max_failure_ratio: Option<f32>,
            #[arg(
                id = concat!($prefix, "-order"), long = concat!($prefix, "-order"), value_name = "ORDER",
                value_parser = orders(),
                help = "Start the new task or stop the old one first; auto starts first, except where a slot cannot run \
                        twice: a host port, a writable volume, --on-isolation stop (default auto; Swarm: stop-first)",
            )]
            pub order: Option<UpdateOrder>,
            #[arg(
                id = concat!($prefix, "-progress-deadline"), long = concat!($prefix, "-progress-deadline"),
                value_name = "DURATION", value_parser = parse::duration,
                help = "Without any slot done for this long it has failed; 0s is no deadline (default 10m; Swarm waits \
                        for ever)",
            )]
            pub progress_deadline: Option<Duration>,
        }

        impl $name {
            pub fn apply(&self, config: &mut UpdateConfig) {
                config.parallelism = self.parallelism.unwrap_or(config.parallelism);
                config.delay = self.delay.unwrap_or(config.delay);
                config.failure_action = self.failure_action.unwrap_or(config.failure_action);
                config.monitor = self.monitor.unwrap_or(config.monitor);
                config.max_failure_ratio = self.max_failure_ratio.unwrap_or(config.max_failure_ratio);
                config.order = self.order.unwrap_or(config.order);
                config.progress_deadline = self.progress_deadline.unwrap_or(config.progress_deadline);
            }
        }
    };
}

rollout_flags!(
    UpdateFlags,
    "Update",
    "update",
    "updated",
    &["rollback", "pause", "continue"],
    "What to do when an update fails (default rollback; Swarm: pause)"
);
rollout_flags!(
    RollbackFlags,
    "Rollback",
    "rollback",
    "rolled back",
    &["pause", "continue"],
    "What to do when a rollback fails (default pause)"
);

/// A rollback that fails has nothing to roll back to.
#[must_use]
pub fn rollback_default() -> UpdateConfig {
    UpdateConfig { failure_action: FailureAction::Pause, ..UpdateConfig::default() }
}
