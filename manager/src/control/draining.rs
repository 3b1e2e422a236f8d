//! What is said to whoever drains a node whose tasks find no other. Pure.

use muster_core::{
    plan::stranded::{Meanwhile, Stranded},
    state::State,
};

/// Names of tasks with one reason; more of them tell nothing new.
const NAMES_SHOWN_MAX: usize = 5;
/// Reasons; tasks with others are counted.
const REASONS_SHOWN_MAX: usize = 3;

/// One line. None where every task finds a node.
pub(super) fn warning(state: &State, node: &str, stranded: &[Stranded]) -> Option<String> {
    let mut by_reason: Vec<(String, Vec<String>)> = Vec::new();
    for task in stranded {
        let service = state.service(task.service).map(|service| service.spec.name.as_str()).unwrap_or_default();
        let (why, name) = (task.why.to_string(), format!("{service}.{}", task.slot));
        match by_reason.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => by_reason.push((why, vec![name])),
        }
    }
    let shown: Vec<String> =
        by_reason.iter().take(REASONS_SHOWN_MAX).map(|(why, names)| format!("{} ({why})", listed(names))).collect();
    let others: usize = by_reason.iter().skip(REASONS_SHOWN_MAX).map(|(_, names)| names.len()).sum();
    let others = if others == 0 { String::new() } else { format!(", and {others} more") };
    let stay = stranded.iter().filter(|task| task.meanwhile == Meanwhile::Stays).count();
    let those = match (stay, stranded.len() - stay) {
        (0, 0) => return None,
        (1, 0) => "1 of its tasks, which stays there until one does".to_owned(),
        (stay, 0) => format!("{stay} of its tasks, which stay there until one does"),
        (0, 1) => "1 of its tasks, which does not run yet and waits until one does".to_owned(),
        (0, wait) => format!("{wait} of its tasks, which do not run yet and wait until one does"),
        (stay, wait) => format!(
            "{} of its tasks, which until one does stay there where they run ({stay}) and wait where they do not yet ({wait})",
            stay + wait
        ),
    };
    Some(format!(
        "node {node} is drained, and no other node takes {those}: {}{others}; add a node or make room, and the drain goes on \
         by itself",
        shown.join(", ")
    ))
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{id::ServiceId, task::Slot, waiting::WaitingOn};

    use super::*;

    fn stranded(count: u32, why: &WaitingOn) -> Vec<Stranded> {
        let one = |number| Stranded {
            service: ServiceId::from_bits(1),
            slot: Slot::Number(number),
            meanwhile: Meanwhile::Stays,
            why: why.clone(),
        };
        (1..=count).map(one).collect()
    }

    #[test]
    fn what_does_not_run_yet_is_not_said_to_stay() {
        let state = State::default();
        let stays = stranded(2, &WaitingOn::NoNodes);
        let waits: Vec<Stranded> =
            stays.iter().map(|task| Stranded { meanwhile: Meanwhile::Waits, ..task.clone() }).collect();
        let mixed = [&stays[..1], &waits[1..]].concat();
        let cases = [
            (&stays, "2 of its tasks, which stay there until one does: "),
            (&waits, "2 of its tasks, which do not run yet and wait until one does: "),
            (
                &mixed,
                "2 of its tasks, which until one does stay there where they run (1) and wait where they do not yet (1): ",
            ),
        ];
        for (stranded, words) in cases {
            let said = warning(&state, "host1", stranded).expect("it is said");
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn it_is_a_line_of_bounded_length() {
        let state = State::default();
        assert_eq!(warning(&state, "host1", &[]), None);
        let mut all: Vec<Stranded> = Vec::new();
        for max_attempts in 0..5 {
            all.extend(stranded(7, &WaitingOn::RestartsUsedUp { max_attempts }));
        }
        let said = warning(&state, "host1", &all).expect("it is said");
        assert!(said.contains("35 of its tasks"), "{said}");
        assert_eq!((said.matches("and 2 more").count(), said.matches(", and 14 more").count()), (3, 1), "{said}");
    }
}
