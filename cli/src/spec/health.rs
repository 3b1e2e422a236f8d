//! The health check's flags.

use std::time::Duration;

use muster_proto::{
    health::{HealthCheck, HealthPolicy, Probe},
    parse,
};

use crate::{error::Error, flags::whole};

/// The value of `--health-cmd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// For the container's shell.
    Line(String),
    /// To be run as it is: for images without a shell.
    Words(Vec<String>),
    /// Empty: no command of the service's own.
    ImagesOwn,
}

fn command(text: &str) -> Result<Command, String> {
    match text.trim() {
        "" => Ok(Command::ImagesOwn),
        words if words.starts_with('[') => match serde_json::from_str::<Vec<String>>(words) {
            Ok(argv) if !argv.is_empty() => Ok(Command::Words(argv)),
            Ok(_) | Err(_) => {
                Err("it begins like a JSON array and is none; write it like [\"/app\", \"check\"]".to_owned())
            }
        },
        line => Ok(Command::Line(line.to_owned())),
    }
}

#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Health check")]
pub struct HealthFlags {
    /// Command to run in the container; exit code 0 is healthy ("": back to the image's own check)
    ///
    /// A line is run by the container's shell; a JSON array, as ["/app", "check"], without one.
    #[arg(long, value_name = "COMMAND", value_parser = command, conflicts_with_all = ["health_http", "health_tcp"])]
    pub health_cmd: Option<Command>,
    /// GET on the container's port, as 8000/healthz; status 200 to 399 is healthy
    #[arg(long, value_name = "PORT[/PATH]", value_parser = parse::health_http, conflicts_with = "health_tcp")]
    pub health_http: Option<Probe>,
    /// Connection to the container's port; one that opens is healthy
    #[arg(long, value_name = "PORT", value_parser = parse::health_tcp)]
    pub health_tcp: Option<Probe>,
    /// Time between checks (default 5s; Swarm: 30s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub health_interval: Option<Duration>,
    /// Time one check may take (default 5s; Swarm: 30s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub health_timeout: Option<Duration>,
    /// Failures in a row that make a task unhealthy (default 3)
    #[arg(long, value_name = "N", value_parser = whole(1..=u32::MAX))]
    pub health_retries: Option<u32>,
    /// Time after the start in which failures do not count (default 0s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub health_start_period: Option<Duration>,
    /// No check, not even the image's own (=false: back to the image's own)
    #[arg(
        long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
        conflicts_with_all = ["health_cmd", "health_http", "health_tcp", "health_interval", "health_timeout",
            "health_retries", "health_start_period"],
    )]
    pub no_healthcheck: Option<bool>,
}

impl HealthFlags {
    fn probe(&self) -> Option<Probe> {
        let command = match self.health_cmd.clone() {
            Some(Command::Line(line)) => Some(Probe::Command { argv: vec![line], shell: true }),
            Some(Command::Words(argv)) => Some(Probe::Command { argv, shell: false }),
            Some(Command::ImagesOwn) | None => None,
        };
        command.or_else(|| self.health_http.clone()).or_else(|| self.health_tcp.clone())
    }

    fn has_timing(&self) -> bool {
        self.health_interval.is_some()
            || self.health_timeout.is_some()
            || self.health_retries.is_some()
            || self.health_start_period.is_some()
    }

    pub fn apply(&self, policy: &mut HealthPolicy) -> Result<(), Error> {
        match self.no_healthcheck {
            Some(true) => *policy = HealthPolicy::Disabled,
            Some(false) => *policy = HealthPolicy::FromImage,
            None => {}
        }
        if self.health_cmd == Some(Command::ImagesOwn) {
            *policy = HealthPolicy::FromImage;
        }
        if let Some(probe) = self.probe() {
            match policy {
                HealthPolicy::Check(check) => check.probe = probe,
                HealthPolicy::FromImage | HealthPolicy::Disabled => {
                    *policy = HealthPolicy::Check(HealthCheck {
                        probe,
                        interval: HealthCheck::INTERVAL,
                        timeout: HealthCheck::TIMEOUT,
                        retries: HealthCheck::RETRIES,
                        start_period: HealthCheck::START_PERIOD,
                    });
                }
            }
        }
        match policy {
            HealthPolicy::Check(check) => self.apply_timing(check),
            HealthPolicy::FromImage | HealthPolicy::Disabled if self.has_timing() => {
                return Err(Error::Usage(
                    "--health-interval, --health-timeout, --health-retries and --health-start-period need a check of the \
                     service's own; give --health-cmd, --health-http or --health-tcp too"
                        .to_owned(),
                ));
            }
            HealthPolicy::FromImage | HealthPolicy::Disabled => {}
        }
        Ok(())
    }

    fn apply_timing(&self, check: &mut HealthCheck) {
        check.interval = self.health_interval.unwrap_or(check.interval);
        check.timeout = self.health_timeout.unwrap_or(check.timeout);
        check.retries = self.health_retries.unwrap_or(check.retries);
        check.start_period = self.health_start_period.unwrap_or(check.start_period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_alone_changes_a_check_and_needs_one() {
        let timing = HealthFlags { health_retries: Some(9), ..HealthFlags::default() };
        assert_eq!(timing.apply(&mut HealthPolicy::FromImage).unwrap_err().exit_code(), 2);

        let mut policy = HealthPolicy::FromImage;
        let probe = HealthFlags { health_tcp: Some(Probe::Tcp { port: 1 }), ..HealthFlags::default() };
        probe.apply(&mut policy).unwrap();
        timing.apply(&mut policy).unwrap();
        let HealthPolicy::Check(check) = &policy else { panic!("the check is gone: {policy:?}") };
        assert_eq!((check.retries, check.interval), (9, HealthCheck::INTERVAL));

        HealthFlags { health_cmd: Some(Command::ImagesOwn), ..HealthFlags::default() }.apply(&mut policy).unwrap();
        assert_eq!(policy, HealthPolicy::FromImage);
    }

    #[test]
    fn a_command_is_a_line_for_a_shell_or_an_array_of_words() {
        let words = |list: &[&str]| Command::Words(list.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(command("curl -f localhost"), Ok(Command::Line("curl -f localhost".to_owned())));
        assert_eq!(command(r#" ["/app", "check"]"#), Ok(words(&["/app", "check"])));
        assert_eq!(command("  "), Ok(Command::ImagesOwn));
        for bad in ["[", "[]", "[1]", r#"["a""#] {
            assert!(command(bad).unwrap_err().contains("JSON array"), "{bad}");
        }
    }
}
