//! What holds for every flag of the command line alike, set in one walk over all its commands: a switch takes a truth
//! value, as Docker's do, and a number that begins with a minus comes to the parser that says what is wrong with it.

use std::{any::TypeId, fmt::Display, ops::RangeInclusive};

use clap::{Arg, ArgAction, Command};
use muster_proto::parse::{self, ParseError};

use crate::error::Error;

/// What help calls values that are numbers, spans of time and amounts.
const NUMBERS: &[&str] = &["N", "DURATION", "BYTES", "CPUS", "RATIO", "TIME", "PORT", "TARGET-PORT", "PORT[/PATH]"];

/// The command and all below it, with flags that behave alike.
#[must_use]
pub fn alike(command: Command) -> Command {
    command.mut_args(flag).mut_subcommands(alike)
}

/// The parser of a flag that takes a whole number within these bounds.
pub fn whole<N>(bounds: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, ParseError> + Clone + Send + Sync + 'static
where
    N: Copy + Display + PartialOrd + TryFrom<u64> + Send + Sync + 'static,
{
    move |text: &str| parse::whole(text, bounds.clone())
}

/// Refuses a flag that is given together with one it has no meaning beside. Clap would take `--switch=false` for given,
/// so that a switch has such relations here and not in its definition.
pub fn apart(flag: (&str, bool), others: &[(&str, bool)]) -> Result<(), Error> {
    let (name, is_given) = flag;
    match others.iter().find(|(_, is_other_given)| is_given && *is_other_given) {
        Some((other, _)) => {
            Err(Error::Usage(format!("{name} cannot be used together with {other}; leave one of the two out")))
        }
        None => Ok(()),
    }
}

fn flag(arg: Arg) -> Arg {
    if arg.is_positional() {
        arg
    } else if matches!(arg.get_action(), ArgAction::SetTrue) {
        switch(arg)
    } else if is_truth(&arg) && arg.get_num_args().is_some_and(|values| values.min_values() == 0) {
        let itself = arg.get_id().clone();
        arg.value_parser(parse::truth).overrides_with(itself)
    } else if is_number(&arg) {
        arg.allow_hyphen_values(true)
    } else {
        arg
    }
}

/// `--flag`, `--flag=true` and `--flag=false`; the last one counts.
fn switch(arg: Arg) -> Arg {
    let itself = arg.get_id().clone();
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .overrides_with(itself)
        .value_name("BOOL")
        .value_parser(parse::truth)
}

fn is_truth(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

fn is_number(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| NUMBERS.contains(&name.as_str())))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use clap::error::{ContextKind, ErrorKind};

    use super::*;
    use crate::app;

    const NUMBERS_KNOWN: &[&str] = &[
        "muster service create --replicas",
        "muster service create --restart-max-attempts",
        "muster service update --update-parallelism",
        "muster service update --rollback-delay",
        "muster service update --limit-memory",
        "muster rebalance --max-moves",
        "muster node update --timeout",
        "muster cluster update --task-history-limit",
        "muster join-token --uses",
    ];
    const SWITCHES_KNOWN: &[&str] = &[
        "muster service create -d",
        "muster service update --force",
        "muster service logs --raw",
        "muster service inspect --pretty",
        "muster node update --wait",
        "muster join-token --rotate",
        "muster rebalance --dry-run",
        "muster demo --keep",
    ];

    fn is_switch(arg: &Arg) -> bool {
        matches!(arg.get_action(), ArgAction::SetTrue)
    }

    /// The command and all below it, each with the words that lead to it.
    fn commands(command: &Command, path: &[String], found: &mut Vec<(Vec<String>, Command)>) {
        for below in command.get_subcommands() {
            commands(below, &[path, &[below.get_name().to_owned()]].concat(), found);
        }
        found.push((path.to_vec(), command.clone()));
    }

    /// What `choose` says of each flag of each command, long and short.
    /// `known`: one of them at least for each way in which they come to be declared.
    fn each(choose: impl Fn(&Arg) -> bool, known: &[&str], mut check: impl FnMut(&[String], &str)) {
        let mut all = Vec::new();
        commands(&app::plain(), &["muster".to_owned()], &mut all);
        let mut checked = BTreeSet::new();
        for (path, command) in all {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional() && choose(arg)) {
                let long = arg.get_long().map(|long| format!("--{long}"));
                for flag in long.into_iter().chain(arg.get_short().map(|short| format!("-{short}"))) {
                    check(&path, &flag);
                    checked.insert(format!("{} {flag}", path.join(" ")));
                }
            }
        }
        for flag in known {
            assert!(checked.contains(*flag), "the walk missed {flag}: {checked:?}");
        }
    }

    fn refusal(path: &[String], rest: &[&str]) -> Option<clap::Error> {
        let words = path.iter().map(String::as_str).chain(rest.iter().copied());
        alike(app::plain()).try_get_matches_from(words).err()
    }

    #[test]
    fn a_number_that_cannot_be_is_refused_by_its_flag() {
        each(is_number, NUMBERS_KNOWN, |path, flag| {
            for value in ["-1", "-0.5", "-5s", "many", "340282366920938463463374607431768211456"] {
                for given in [vec![flag.to_owned(), value.to_owned()], vec![format!("{flag}={value}")]] {
                    let given: Vec<&str> = given.iter().map(String::as_str).collect();
                    let error = refusal(path, &given).unwrap_or_else(|| panic!("{path:?} takes {given:?}"));
                    let said = error.to_string();
                    assert_eq!(error.kind(), ErrorKind::ValueValidation, "{path:?} {given:?}: {said}");
                    let long = if flag.starts_with("--") { flag } else { "--" };
                    assert!(said.contains(&format!("'{value}' for '{long}")), "{path:?} {given:?}: {said}");
                    assert!(said.contains("; write"), "{path:?} {given:?}: {said}");
                }
            }
        });
    }

    #[test]
    fn a_negative_number_is_called_so() {
        let is_plain = |arg: &Arg| {
            let ports = ["PORT", "TARGET-PORT", "PORT[/PATH]"];
            is_number(arg)
                && !arg.get_value_names().unwrap_or_default().iter().any(|name| ports.contains(&name.as_str()))
        };
        each(is_plain, NUMBERS_KNOWN, |path, flag| {
            for value in ["-1", "-5s"] {
                let said = refusal(path, &[flag, value]).expect("it is refused").to_string();
                assert!(said.contains("it is negative"), "{path:?} {flag} {value}: {said}");
            }
        });
    }

    #[test]
    fn every_number_has_the_name_of_one() {
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<f32>(),
            TypeId::of::<Duration>(),
        ];
        let has_type = |arg: &Arg| numbers.iter().any(|number| arg.get_value_parser().type_id() == *number);
        let is_counted = |arg: &Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && has_type(arg);
        each(is_counted, NUMBERS_KNOWN, |path, flag| {
            let error = refusal(path, &[flag, "-1"]).expect("no number is below zero");
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{path:?} {flag}: name its value as in NUMBERS");
        });
    }

    #[test]
    fn every_switch_takes_a_truth_value() {
        each(is_switch, SWITCHES_KNOWN, |path, flag| {
            for given in [flag.to_owned(), format!("{flag}=true"), format!("{flag}=false"), format!("{flag}=0")] {
                match refusal(path, &[&given]).map(|error| error.kind()) {
                    // Of something else that belongs to the command.
                    None
                    | Some(ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) => {
                    }
                    Some(other) => panic!("{path:?} {given}: {other}"),
                }
            }
            let said = refusal(path, &[&format!("{flag}=maybe")]).expect("neither").to_string();
            assert!(said.contains("it is neither true nor false; write true or false"), "{path:?} {flag}: {said}");
        });
    }

    /// Flags that belong together or exclude each other do so by what they say, and not by being there.
    #[test]
    fn a_switch_that_is_off_is_as_one_that_is_left_out() {
        let mut all = Vec::new();
        commands(&app::plain(), &["muster".to_owned()], &mut all);
        // Only relations are asked about: every value will do.
        fn lax(command: Command) -> Command {
            let any = |arg: Arg| match arg.get_action() {
                ArgAction::Set | ArgAction::Append if !is_truth(&arg) => {
                    arg.value_parser(clap::value_parser!(std::ffi::OsString))
                }
                _ => arg,
            };
            command.mut_args(any).mut_subcommands(lax)
        }
        let command = lax(alike(app::plain()));
        let said = |path: &[String], given: &[&str]| {
            let words = path.iter().map(String::as_str).chain(given.iter().copied());
            let refused = command.clone().try_get_matches_from(words).err()?;
            Some((refused.kind(), refused.get(ContextKind::InvalidArg).map(ToString::to_string)))
        };
        let mut checked = 0;
        for (path, declared) in &all {
            let flags: Vec<&Arg> = declared.get_arguments().filter(|arg| arg.get_long().is_some()).collect();
            for switch in flags.iter().copied().filter(|arg| is_switch(arg)) {
                let off = format!("--{}=false", switch.get_long().expect("only such"));
                assert_eq!(said(path, &[&off]), said(path, &[]), "{path:?} {off}");
                for other in flags.iter().copied().filter(|other| other.get_id() != switch.get_id()) {
                    let long = other.get_long().expect("only such");
                    let other =
                        if is_switch(other) || is_truth(other) { format!("--{long}") } else { format!("--{long}=1") };
                    assert_eq!(said(path, &[&off, &other]), said(path, &[&other]), "{path:?} {off} {other}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 0);
    }

    #[test]
    fn the_last_word_about_a_truth_value_counts() {
        for flag in ["--read-only", "--init", "--no-healthcheck"] {
            let last = |given: [String; 2]| {
                let words = ["muster", "service", "update"].into_iter().chain(given.iter().map(String::as_str));
                let matches = alike(app::plain()).try_get_matches_from(words.chain(["web"])).expect("it is read");
                let matches = matches.subcommand().and_then(|(_, service)| service.subcommand()).expect("update").1;
                matches.get_one::<bool>(&flag[2..].replace('-', "_")).copied()
            };
            assert_eq!(last([flag.to_owned(), format!("{flag}=false")]), Some(false), "{flag}");
            assert_eq!(last([format!("{flag}=false"), flag.to_owned()]), Some(true), "{flag}");
        }
    }

    #[test]
    fn the_last_word_about_a_switch_counts() {
        let detach = |rest: &str| {
            let words = format!("muster service rollback {rest} web");
            let matches = alike(app::plain()).try_get_matches_from(words.split_whitespace()).expect("it is read");
            let matches = matches.subcommand().and_then(|(_, service)| service.subcommand()).expect("rollback").1;
            (matches.get_flag("detach"), matches.get_flag("quiet"))
        };
        assert_eq!(detach(""), (false, false));
        assert_eq!(detach("-dq"), (true, true));
        assert_eq!(detach("-d=false -q"), (false, true));
        assert_eq!(detach("--detach --detach=false --quiet=T"), (false, true));
    }
}
