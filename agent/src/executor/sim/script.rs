//! Reads what a simulated container shall do from its environment.

use std::{net::IpAddr, str::FromStr};

use crate::executor::Exit;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Passes,
    Fails,
    /// Milliseconds after the start.
    PassesFrom(u64),
    FailsFrom(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) fetch_ms: u64,
    pub(super) prepare_ms: u64,
    pub(super) prepare_error: Option<String>,
    pub(super) start_ms: u64,
    pub(super) start_error: Option<String>,
    /// Milliseconds after the start.
    pub(super) exit: Option<(u64, Exit)>,
    pub(super) health: Health,
    pub(super) stop_ms: u64,
    pub(super) log: Vec<String>,
    pub(super) address: Option<IpAddr>,
}

const PREFIX: &str = "MUSTER_SIM_";

impl Script {
    pub(super) fn parse(env: &[String]) -> Result<Self, String> {
        let mut script = Self::default();
        for entry in env {
            let Some((name, value)) = entry.strip_prefix(PREFIX).and_then(|entry| entry.split_once('=')) else {
                continue;
            };
            script.set(name, value).ok_or_else(|| format!("the simulation does not understand {entry}"))?;
        }
        Ok(script)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "FETCH_MS" => self.fetch_ms = read(value)?,
            "PREPARE_MS" => self.prepare_ms = read(value)?,
            "PREPARE_ERROR" => self.prepare_error = Some(value.to_owned()),
            "START_MS" => self.start_ms = read(value)?,
            "START_ERROR" => self.start_error = Some(value.to_owned()),
            "EXIT" => self.exit = Some(exit(value)?),
            "HEALTH" => self.health = health(value)?,
            "STOP_MS" => self.stop_ms = read(value)?,
            "LOG" => self.log.push(value.to_owned()),
            "ADDRESS" => self.address = Some(read(value)?),
            _ => return None,
        }
        Some(())
    }
}

fn read<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn exit(text: &str) -> Option<(u64, Exit)> {
    let (how, after_ms) = text.split_once('@')?;
    let exit = match how {
        "oom" => Exit { code: 137, oom_killed: true, error: None },
        code => Exit { code: read(code)?, oom_killed: false, error: None },
    };
    Some((read(after_ms)?, exit))
}

fn health(text: &str) -> Option<Health> {
    match text.split_once('@') {
        None if text == "fail" => Some(Health::Fails),
        Some(("pass", ms)) => read(ms).map(Health::PassesFrom),
        Some(("fail", ms)) => read(ms).map(Health::FailsFrom),
        None | Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(env: &[&str]) -> Result<Script, String> {
        Script::parse(&env.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn entries_of_others_are_left_alone() {
        assert_eq!(parse(&["PATH=/bin", "MUSTER=1"]), Ok(Script::default()));
    }

    #[test]
    fn table() {
        let script = parse(&["MUSTER_SIM_EXIT=oom@5", "MUSTER_SIM_HEALTH=fail@7", "MUSTER_SIM_LOG=a=b"]).unwrap();
        assert_eq!(script.exit, Some((5, Exit { code: 137, oom_killed: true, error: None })));
        assert_eq!(script.health, Health::FailsFrom(7));
        assert_eq!(script.log, ["a=b"]);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for entry in ["MUSTER_SIM_EXIT=1", "MUSTER_SIM_HEALTH=maybe", "MUSTER_SIM_STOPMS=1", "MUSTER_SIM_STOP_MS=-1"] {
            assert_eq!(parse(&[entry]), Err(format!("the simulation does not understand {entry}")));
        }
    }
}
