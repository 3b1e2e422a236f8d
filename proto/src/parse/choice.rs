//! One word out of a few.

use super::ParseError;
use crate::{
    endpoint::{Protocol, PublishMode},
    isolation::OnIsolation,
    node::{Availability, Role},
    restart::RestartCondition,
    rollout::{FailureAction, UpdateOrder},
};

fn choose<T: Copy>(what: &'static str, text: &str, words: &[(&str, T)]) -> Result<T, ParseError> {
    let lower = text.to_ascii_lowercase();
    words.iter().find(|(word, _)| *word == lower).map(|(_, value)| *value).ok_or_else(|| {
        let (last, others) = words.split_last().expect("there is something to choose from");
        let others: Vec<&str> = others.iter().map(|(word, _)| *word).collect();
        let accepted = match others.len() {
            0 => format!("write {}", last.0),
            _ => format!("write one of {} and {}", others.join(", "), last.0),
        };
        ParseError::new(what, text, format!("there is no such {what}"), accepted)
    })
}

pub fn update_order(text: &str) -> Result<UpdateOrder, ParseError> {
    let words =
        [("auto", UpdateOrder::Auto), ("start-first", UpdateOrder::StartFirst), ("stop-first", UpdateOrder::StopFirst)];
    choose("update order", text, &words)
}

pub fn failure_action(text: &str) -> Result<FailureAction, ParseError> {
    let words =
        [("pause", FailureAction::Pause), ("continue", FailureAction::Continue), ("rollback", FailureAction::Rollback)];
    choose("failure action", text, &words)
}

pub fn restart_condition(text: &str) -> Result<RestartCondition, ParseError> {
    let words =
        [("none", RestartCondition::None), ("on-failure", RestartCondition::OnFailure), ("any", RestartCondition::Any)];
    choose("restart condition", text, &words)
}

pub fn on_isolation(text: &str) -> Result<OnIsolation, ParseError> {
    choose("answer to isolation", text, &[("keep", OnIsolation::Keep), ("stop", OnIsolation::Stop)])
}

pub fn availability(text: &str) -> Result<Availability, ParseError> {
    let words = [("active", Availability::Active), ("pause", Availability::Pause), ("drain", Availability::Drain)];
    choose("availability", text, &words)
}

pub fn role(text: &str) -> Result<Role, ParseError> {
    choose("role", text, &[("worker", Role::Worker), ("manager", Role::Manager)])
}

pub fn publish_mode(text: &str) -> Result<PublishMode, ParseError> {
    choose("publish mode", text, &[("ingress", PublishMode::Ingress), ("host", PublishMode::Host)])
}

pub fn protocol(text: &str) -> Result<Protocol, ParseError> {
    match text.to_ascii_lowercase().as_str() {
        known @ ("udp" | "sctp") => {
            Err(ParseError::new("protocol", text, format!("{known} is not carried, only tcp is"), "write tcp"))
        }
        _ => choose("protocol", text, &[("tcp", Protocol::Tcp)]),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn words_are_read_in_any_case() {
        assert_eq!(update_order("Start-First"), Ok(UpdateOrder::StartFirst));
        assert_eq!(failure_action("pause"), Ok(FailureAction::Pause));
        assert_eq!(restart_condition("on-failure"), Ok(RestartCondition::OnFailure));
        assert_eq!(availability("DRAIN"), Ok(Availability::Drain));
        assert_eq!(role("manager"), Ok(Role::Manager));
        assert_eq!(publish_mode("host"), Ok(PublishMode::Host));
        assert_eq!(protocol("tcp"), Ok(Protocol::Tcp));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for order in [UpdateOrder::Auto, UpdateOrder::StartFirst, UpdateOrder::StopFirst] {
            assert_eq!(update_order(&order.to_string()), Ok(order));
        }
        for action in [FailureAction::Pause, FailureAction::Continue, FailureAction::Rollback] {
            assert_eq!(failure_action(&action.to_string()), Ok(action));
        }
        for condition in [RestartCondition::None, RestartCondition::OnFailure, RestartCondition::Any] {
            assert_eq!(restart_condition(&condition.to_string()), Ok(condition));
        }
        for choice in [OnIsolation::Keep, OnIsolation::Stop] {
            assert_eq!(on_isolation(&choice.to_string()), Ok(choice));
        }
        for choice in [Availability::Active, Availability::Pause, Availability::Drain] {
            assert_eq!(availability(&choice.to_string()), Ok(choice));
        }
    }

    #[test]
    fn other_words_are_refused_with_the_list() {
        check::says(
            update_order,
            "first",
            r#"invalid update order "first": there is no such update order; write one of auto, start-first and stop-first"#,
        );
        check::says(protocol, "UDP", r#"invalid protocol "UDP": udp is not carried, only tcp is; write tcp"#);
        check::refused(protocol, &["", "quic"]);
        check::refused(failure_action, &["", "stop", " pause"]);
    }
}
