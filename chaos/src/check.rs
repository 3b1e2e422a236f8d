//! Whether a history can be: every acknowledged write is there, nothing that was refused took effect, and a write whose
//! answer was lost happened as a whole or not at all.
//!
//! Each service has one writer, so its history is a sequence. The checker carries the set of states the service may be
//! in: an answer or an observation narrows the set, a lost answer widens it, and an empty set is a violation. A lost
//! write may still be on its way, behind later ones: it must have been decided by the next observation, which is made
//! once every process runs and every client has its answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    history::{Event, Moment, Progress},
    model::{Refusal, Service, Write},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub acknowledged: u32,
    pub refused: u32,
    pub unknown: u32,
    pub kills: u32,
    pub kills_while_starting: u32,
    /// Of any kind, on one of several managers.
    pub strikes: u32,
    /// Times that all managers had the same state.
    pub comparisons: u32,
    pub observations: u32,
    /// Services that the last observation showed.
    pub services: u32,
    pub violations: Vec<Violation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// The daemon answered as it could in none of the states that the service may have been in.
    Answer {
        call: u64,
        service: String,
        answer: String,
        possible: BTreeSet<Service>,
    },
    Observation {
        service: String,
        seen: Service,
        possible: BTreeSet<Service>,
    },
    /// Managers that applied as much have different states.
    Diverged {
        managers: Vec<Progress>,
    },
    /// The history itself is broken.
    UnknownCall {
        call: u64,
    },
}

/// What a service may be, with the lost writes that did not take effect on the way there and still may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct May {
    service: Service,
    lost: Vec<Write>,
}

#[derive(Debug, Default)]
struct Checker {
    possible: BTreeMap<String, BTreeSet<May>>,
    calls: BTreeMap<u64, (String, Write)>,
    verdict: Verdict,
}

pub(crate) fn check(history: &[Event]) -> Verdict {
    let mut checker = Checker::default();
    for event in history {
        checker.step(event);
    }
    // Whoever was still waiting when the history ended was told nothing, and nothing was observed after.
    checker.verdict.unknown += u32::try_from(checker.calls.len()).unwrap_or(u32::MAX);
    checker.verdict
}

impl Checker {
    fn step(&mut self, event: &Event) {
        match event {
            Event::Invoke { call, service, write } => {
                self.calls.insert(*call, (service.clone(), write.clone()));
            }
            Event::Ok { call } => {
                self.verdict.acknowledged += 1;
                self.answer(*call, "acknowledged", |write, before| write.on(before).into_iter().collect());
            }
            Event::Refused { call, refusal, text: _ } => {
                self.verdict.refused += 1;
                self.answer(*call, "refused", |write, before| refused(write, before, *refusal));
            }
            Event::Unknown { call, text: _ } => {
                self.verdict.unknown += 1;
                self.lose(*call);
            }
            Event::Killed { round: _, moment } => {
                self.verdict.kills += 1;
                match moment {
                    Moment::Starting => self.verdict.kills_while_starting += 1,
                    Moment::Serving => {}
                }
            }
            Event::Struck { round: _, manager: _, fault: _ } => self.verdict.strikes += 1,
            Event::Compared { managers } => self.compare(managers),
            Event::Observed { services } => self.observe(services),
        }
    }

    fn lose(&mut self, call: u64) {
        let Some((service, write)) = self.calls.remove(&call) else {
            self.verdict.violations.push(Violation::UnknownCall { call });
            return;
        };
        let possible = self.possible.entry(service).or_insert_with(absent);
        let with_it = |may: &May| May { lost: [&may.lost[..], std::slice::from_ref(&write)].concat(), ..may.clone() };
        *possible = possible.iter().map(with_it).collect();
    }

    fn compare(&mut self, managers: &[Progress]) {
        self.verdict.comparisons += 1;
        let first = |other: &Progress| managers.iter().find(|copy| copy.applied == other.applied);
        if managers.iter().any(|copy| first(copy).is_some_and(|first| first.digest != copy.digest)) {
            self.verdict.violations.push(Violation::Diverged { managers: managers.to_vec() });
        }
    }

    /// `after`: what the service may be after an answer, given what it may have been before.
    fn answer(&mut self, call: u64, answer: &str, after: impl Fn(&Write, &Service) -> Vec<Service>) {
        let Some((service, write)) = self.calls.remove(&call) else {
            self.verdict.violations.push(Violation::UnknownCall { call });
            return;
        };
        let possible = self.possible.entry(service.clone()).or_insert_with(absent);
        let before = with_late_writes(possible);
        let after = |may: &May| {
            let after = after(&write, &may.service).into_iter();
            after.map(|service| May { service, lost: may.lost.clone() }).collect::<Vec<_>>()
        };
        let next: BTreeSet<May> = before.iter().flat_map(after).collect();
        if next.is_empty() {
            let answer = format!("{} was {answer}", describe(&write));
            self.verdict.violations.push(Violation::Answer { call, service, answer, possible: states(before) });
            // What the daemon says now is the best guess for what follows, so that one fault is one violation.
            *possible = believed(&write);
        } else {
            *possible = next;
        }
    }

    fn observe(&mut self, services: &BTreeMap<String, crate::model::Env>) {
        self.verdict.observations += 1;
        self.verdict.services = u32::try_from(services.len()).unwrap_or(u32::MAX);
        let names: BTreeSet<String> = self.possible.keys().chain(services.keys()).cloned().collect();
        for name in names {
            let seen = services.get(&name).cloned();
            let known = self.possible.entry(name.clone()).or_insert_with(absent);
            let possible = states(with_late_writes(known));
            *known = BTreeSet::from([certainly(seen.clone())]);
            if !possible.contains(&seen) {
                self.verdict.violations.push(Violation::Observation { service: name, seen, possible });
            }
        }
    }
}

fn certainly(service: Service) -> May {
    May { service, lost: Vec::new() }
}

fn absent() -> BTreeSet<May> {
    BTreeSet::from([certainly(None)])
}

fn states(possible: BTreeSet<May>) -> BTreeSet<Service> {
    possible.into_iter().map(|may| may.service).collect()
}

/// Also what becomes of each when lost writes take effect now, any of them and in any order.
fn with_late_writes(possible: &BTreeSet<May>) -> BTreeSet<May> {
    let mut found = possible.clone();
    let mut unvisited: Vec<May> = possible.iter().cloned().collect();
    while let Some(may) = unvisited.pop() {
        for (at, write) in may.lost.iter().enumerate() {
            // One that would be refused now may still take effect later.
            let Ok(service) = write.on(&may.service) else { continue };
            let mut lost = may.lost.clone();
            lost.remove(at);
            let later = May { service, lost };
            if found.insert(later.clone()) {
                unvisited.push(later);
            }
        }
    }
    found
}

/// A refusal that says whether the service is there must be right about it.
fn refused(write: &Write, before: &Service, refusal: Refusal) -> Vec<Service> {
    let may_be = match refusal {
        Refusal::Exists | Refusal::Missing => write.on(before) == Err(refusal),
        Refusal::Other => true,
    };
    may_be.then(|| before.clone()).into_iter().collect()
}

fn believed(write: &Write) -> BTreeSet<May> {
    match write {
        Write::Create | Write::SetEnv { .. } => [None, Some(BTreeMap::new())].map(certainly).into(),
        Write::Remove => absent(),
    }
}

fn describe(write: &Write) -> String {
    match write {
        Write::Create => "create".to_owned(),
        Write::SetEnv { key, value } => format!("update --env-add {key}={value}"),
        Write::Remove => "rm".to_owned(),
    }
}

fn show(service: &Service) -> String {
    match service {
        None => "absent".to_owned(),
        Some(env) if env.is_empty() => "present".to_owned(),
        Some(env) => {
            let pairs: Vec<String> = env.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("present with {}", pairs.join(" "))
        }
    }
}

fn show_all(services: &BTreeSet<Service>) -> String {
    services.iter().map(show).collect::<Vec<_>>().join(", or ")
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Answer { call, service, answer, possible } => {
                write!(out, "{service}: {answer} (call {call}), but it must have been {}", show_all(possible))
            }
            Violation::Observation { service, seen, possible } => {
                write!(out, "{service}: seen {}, but it must be {}", show(seen), show_all(possible))
            }
            Violation::Diverged { managers } => {
                let copies = managers.iter().map(|copy| format!("{} at {}", copy.digest, copy.applied));
                write!(out, "managers have different states: {}", copies.collect::<Vec<_>>().join(", "))
            }
            Violation::UnknownCall { call } => write!(out, "the history answers call {call}, which nobody made"),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// A history as text: `create w1 ok`, `set w1 K=1 unknown`, `rm w1 missing`, `see w1:K=1 w2`, `kill`.
    fn history(text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        for (call, line) in (1u64..).zip(text.lines().map(str::trim).filter(|line| !line.is_empty())) {
            let words: Vec<&str> = line.split(' ').collect();
            let (write, answer) = match words[..] {
                ["kill"] => {
                    events.push(Event::Killed { round: 1, moment: Moment::Serving });
                    continue;
                }
                ["see", ..] => {
                    events.push(Event::Observed { services: words[1..].iter().map(|word| seen(word)).collect() });
                    continue;
                }
                ["create", _, answer] => (Write::Create, answer),
                ["set", _, pair, answer] => {
                    let (key, value) = pair.split_once('=').expect("K=V");
                    (Write::SetEnv { key: key.into(), value: value.into() }, answer)
                }
                ["rm", _, answer] => (Write::Remove, answer),
                _ => panic!("not a line of a history: {line}"),
            };
            events.push(Event::Invoke { call, service: words[1].into(), write });
            let refused = |refusal| Event::Refused { call, refusal, text: String::new() };
            events.push(match answer {
                "ok" => Event::Ok { call },
                "exists" => refused(Refusal::Exists),
                "missing" => refused(Refusal::Missing),
                "refused" => refused(Refusal::Other),
                "unknown" => Event::Unknown { call, text: String::new() },
                other => panic!("not an answer: {other}"),
            });
        }
        events
    }

    fn seen(word: &str) -> (String, crate::model::Env) {
        let (name, env) = word.split_once(':').unwrap_or((word, ""));
        let pairs = env.split(',').filter_map(|pair| pair.split_once('='));
        (name.into(), pairs.map(|(key, value)| (key.into(), value.into())).collect())
    }

    fn violations(text: &str, expected: Expect) {
        let found: Vec<String> = check(&history(text)).violations.iter().map(ToString::to_string).collect();
        expected.assert_eq(&found.join("\n"));
    }

    #[test]
    fn a_lawful_history_passes_and_is_counted() {
        let verdict = check(&history(
            "create w1 ok
             create w1 exists
             set w1 A=1 ok
             set w1 B=1 refused
             create w2 unknown
             set w3 A=1 missing
             kill
             see w1:A=1 w2
             rm w2 ok
             rm w1 unknown
             create w1 ok
             see w1",
        ));
        let expected = Verdict {
            acknowledged: 4,
            refused: 3,
            unknown: 2,
            kills: 1,
            kills_while_starting: 0,
            strikes: 0,
            comparisons: 0,
            observations: 2,
            services: 1,
            violations: Vec::new(),
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn an_unknown_write_may_be_either_and_then_stays_so() {
        violations("create w1 unknown\nsee\nsee", expect![""]);
        violations("create w1 unknown\nsee w1\nsee w1", expect![""]);
        violations("create w1 unknown\nsee\nsee w1", expect!["w1: seen present, but it must be absent"]);
        violations("create w1 ok\nset w1 A=1 unknown\nset w1 A=2 ok\nsee w1:A=2", expect![""]);
    }

    #[test]
    fn an_unknown_write_may_come_after_later_ones_but_not_after_an_observation() {
        violations("create w1 ok\nset w1 A=1 unknown\nset w1 B=1 ok\nsee w1:A=1,B=1", expect![""]);
        violations("create w1 ok\nrm w1 unknown\nset w1 B=1 ok\nsee", expect![""]);
        violations(
            "create w1 ok\nrm w1 unknown\nsee w1\nset w1 B=1 ok\nsee",
            expect!["w1: seen absent, but it must be present with B=1"],
        );
    }

    #[test]
    fn planted_managers_that_differ() {
        let copy = |applied, digest: &str| Progress { applied, digest: digest.into() };
        let verdict = |managers: Vec<Progress>| check(&[Event::Compared { managers }]).violations.len();
        assert_eq!(verdict(vec![copy(7, "a"), copy(7, "a"), copy(6, "b")]), 0);
        assert_eq!(verdict(vec![copy(7, "a"), copy(7, "a"), copy(7, "b")]), 1);
    }

    #[test]
    fn planted_a_lost_create() {
        violations("create w1 ok\nkill\nsee", expect!["w1: seen absent, but it must be present"]);
        violations(
            "create w1 ok\nkill\nset w1 A=1 missing",
            expect!["w1: update --env-add A=1 was refused (call 3), but it must have been present"],
        );
    }

    #[test]
    fn planted_a_lost_update() {
        violations(
            "create w1 ok\nset w1 A=1 ok\nkill\nsee w1",
            expect!["w1: seen present, but it must be present with A=1"],
        );
    }

    #[test]
    fn planted_an_update_undone_by_a_later_one() {
        violations(
            "create w1 ok\nset w1 A=1 ok\nset w1 B=1 ok\nsee w1:B=1",
            expect!["w1: seen present with B=1, but it must be present with A=1 B=1"],
        );
    }

    #[test]
    fn planted_a_removed_service_that_came_back() {
        violations("create w1 ok\nrm w1 ok\nkill\nsee w1", expect!["w1: seen present, but it must be absent"]);
        violations(
            "create w1 ok\nrm w1 ok\ncreate w1 exists",
            expect!["w1: create was refused (call 3), but it must have been absent"],
        );
    }

    #[test]
    fn planted_a_refused_write_that_took_effect() {
        violations(
            "create w1 ok\nset w1 A=1 refused\nsee w1:A=1",
            expect!["w1: seen present with A=1, but it must be present"],
        );
    }

    #[test]
    fn planted_a_write_done_twice() {
        violations(
            "create w1 ok\ncreate w1 ok",
            expect!["w1: create was acknowledged (call 2), but it must have been present"],
        );
    }

    #[test]
    fn planted_a_service_that_nobody_made() {
        violations("see w9:A=1", expect!["w9: seen present with A=1, but it must be absent"]);
    }

    #[test]
    fn planted_half_a_write() {
        violations(
            "create w1 ok\nset w1 A=1 unknown\nkill\nsee w1:A=",
            expect!["w1: seen present with A=, but it must be present, or present with A=1"],
        );
    }

    #[test]
    fn planted_an_answer_without_a_call() {
        let verdict = check(&[Event::Ok { call: 7 }]);
        assert_eq!(verdict.violations, [Violation::UnknownCall { call: 7 }]);
    }

    #[test]
    fn whoever_still_waits_at_the_end_counts_as_unknown() {
        let invoke = Event::Invoke { call: 1, service: "w1".into(), write: Write::Create };
        assert_eq!(check(&[invoke]).unknown, 1);
    }
}
