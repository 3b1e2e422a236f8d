//! The command line as a whole, and which command is whose.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use clap_complete::Shell;

use crate::{
    backup, ca, cluster,
    connect::{DEFAULT_HOST, Host},
    context::Context,
    daemon, demo,
    error::Error,
    flags, join_token, local, node,
    out::{Out, Screen},
    rebalance, service,
    surroundings::Surroundings,
};

/// In characters; longer lines are hard to follow.
const HELP_WIDTH_MAX: usize = 100;

#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    about = "Run services on a cluster of a few hosts",
    long_about = "Muster runs services on a cluster of a few hosts. On every host runs `muster daemon`; all other commands \
                  talk to the daemon of the host they are given on, through its socket. Commands, flags and columns are \
                  those of the docker CLI where it has the same thing.",
    after_help = "Start here:
  muster demo                      see it work, from nothing and back to nothing
  muster daemon                    on every host
  muster init                      on the first; it prints what to type on the others
  muster service create --name web --replicas 3 -p 8000:8000 myapp:1.0.0
  muster service ps web

Exit codes: 0 done, 1 refused or failed, 2 wrong usage."
)]
struct App {
    /// Socket of the daemon: unix:///path or a path
    #[arg(
        short = 'H', long, global = true, env = "MUSTER_HOST", hide_env_values = true, value_name = "SOCKET", default_value = DEFAULT_HOST,
        help_heading = "Global options",
    )]
    host: Host,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, change and look at services
    #[command(subcommand)]
    Service(service::Command),
    /// Look at the nodes of the cluster, and change them
    #[command(subcommand)]
    Node(node::Command),
    /// Look at the settings of the cluster, and change them
    #[command(subcommand)]
    Cluster(cluster::Command),
    Rebalance(rebalance::Args),
    Init(local::init::Args),
    Join(local::join::Args),
    JoinToken(join_token::Args),
    Leave(local::leave::Args),
    Ca(ca::Args),
    Backup(backup::create::Args),
    Restore(backup::restore::Args),
    Recover(local::recover::Args),
    Info(local::info::Args),
    Version(local::version::Args),
    /// Run the daemon of this host
    Daemon(daemon::Args),
    Guard(daemon::guard::Args),
    /// Show the main job on this machine, from nothing and back to nothing
    Demo(demo::Args),
    Completion(CompletionArgs),
}

/// Print a script that completes commands in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster completion bash > /etc/bash_completion.d/muster
  muster completion zsh > \"${fpath[1]}/_muster\"
  muster completion fish > ~/.config/fish/completions/muster.fish")]
struct CompletionArgs {
    #[arg(value_name = "SHELL", value_parser = clap::builder::EnumValueParser::<Shell>::new())]
    shell: Shell,
}

/// Carries the command line out and tells what went wrong. Returns the exit code.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>, out: &mut Out, surroundings: &dyn Surroundings) -> u8 {
    let parsed = command(out.screen).try_get_matches_from(args).and_then(|matches| {
        let is_host_given = matches.value_source("host") == Some(ValueSource::CommandLine);
        App::from_arg_matches(&matches).map(|app| (app, is_host_given))
    });
    let outcome = match parsed {
        Ok((app, is_host_given)) => app.check_host(is_host_given).and_then(|()| execute(app, out, surroundings)),
        Err(error) => return usage(&error, out),
    };
    match outcome.and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(error) => {
            if let Some(text) = error.shown() {
                out.note(text);
            }
            error.exit_code()
        }
    }
}

/// As it is declared, for what has to look at it.
#[cfg(test)]
pub(crate) fn plain() -> clap::Command {
    App::command()
}

/// Help is as wide as the terminal, up to what reads well; where there is none its width must not depend on chance.
fn command(screen: Screen) -> clap::Command {
    let command = flags::alike(App::command());
    match screen {
        Screen::Terminal => command.max_term_width(HELP_WIDTH_MAX),
        Screen::Lines => command.term_width(HELP_WIDTH_MAX),
    }
}

/// Help goes to stdout, as what was asked for; mistakes go to stderr.
fn usage(error: &clap::Error, out: &mut Out) -> u8 {
    let text = error.render();
    let text = match out.screen {
        Screen::Terminal => text.ansi().to_string(),
        Screen::Lines => text.to_string(),
    };
    if error.use_stderr() {
        out.note(text.trim_end());
        return Error::EXIT_USAGE;
    }
    match out.bytes(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(error) => error.exit_code(),
    }
}

impl App {
    fn check_host(&self, is_host_given: bool) -> Result<(), Error> {
        match self.command {
            Command::Daemon(_) if is_host_given => {
                Err(Error::Usage("the daemon makes its socket where --socket says; it takes no --host".to_owned()))
            }
            Command::Guard(_) | Command::Demo(_) | Command::Completion(_) if is_host_given => {
                Err(Error::Usage("this command asks no daemon and takes no --host; leave it out".to_owned()))
            }
            Command::Daemon(_)
            | Command::Guard(_)
            | Command::Demo(_)
            | Command::Completion(_)
            | Command::Service(_)
            | Command::Node(_)
            | Command::Cluster(_)
            | Command::Rebalance(_)
            | Command::Init(_)
            | Command::Join(_)
            | Command::JoinToken(_)
            | Command::Leave(_)
            | Command::Ca(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Recover(_)
            | Command::Info(_)
            | Command::Version(_) => Ok(()),
        }
    }
}

fn execute(app: App, out: &mut Out, surroundings: &dyn Surroundings) -> Result<(), Error> {
    let mut context = Context { host: app.host, out, surroundings };
    match app.command {
        Command::Daemon(args) => daemon::run(args).map_err(failed),
        Command::Guard(args) => daemon::guard::run(&args).map_err(failed),
        Command::Demo(args) => {
            args.check()?;
            runtime()?.block_on(demo::run(args)).map_err(failed)
        }
        Command::Completion(args) => completion(args.shell, context.out),
        Command::Service(command) => runtime()?.block_on(service::run(command, &mut context)),
        Command::Node(command) => runtime()?.block_on(node::run(command, &mut context)),
        Command::Cluster(command) => runtime()?.block_on(cluster::run(command, &mut context)),
        Command::Rebalance(args) => runtime()?.block_on(rebalance::run(args, &mut context)),
        Command::Init(args) => runtime()?.block_on(local::init::run(args, &mut context)),
        Command::Join(args) => runtime()?.block_on(local::join::run(args, &mut context)),
        Command::JoinToken(args) => runtime()?.block_on(join_token::run(args, &mut context)),
        Command::Leave(args) => runtime()?.block_on(local::leave::run(args, &mut context)),
        Command::Ca(args) => runtime()?.block_on(ca::run(args, &mut context)),
        Command::Backup(args) => runtime()?.block_on(backup::create::run(args, &mut context)),
        Command::Restore(args) => runtime()?.block_on(backup::restore::run(args, &mut context)),
        Command::Recover(args) => runtime()?.block_on(local::recover::run(args, &mut context)),
        Command::Info(args) => runtime()?.block_on(local::info::run(args, &mut context)),
        Command::Version(args) => runtime()?.block_on(local::version::run(args, &mut context)),
    }
}

/// The whole chain of causes on one line.
fn failed(error: anyhow::Error) -> Error {
    Error::Failed(format!("{error:#}"))
}

/// A command waits for one daemon; one thread is enough. The daemon makes its own runtime.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("cannot start: {error}; look at this user's limits with `ulimit -a`")))
}

/// Of the flags as they are declared: after a switch that may have a value, shells would offer files.
fn completion(shell: Shell, out: &mut Out) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut App::command(), "muster", &mut script);
    out.bytes(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        App::command().debug_assert();
        flags::alike(App::command()).debug_assert();
    }
}
