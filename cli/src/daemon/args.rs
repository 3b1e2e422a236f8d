//! The daemon's flags.

use std::{net::IpAddr, path::PathBuf};

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// Docker Engine, through its socket.
    Auto,
    Docker,
    /// No containers at all: tasks are simulated. For tests.
    Sim,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  muster daemon
  muster daemon --data-dir /srv/muster --log-format json
  muster daemon --data-dir /tmp/m --listen-addr 127.0.0.1:7400 --socket /tmp/m.sock

Several daemons share one host, and one engine, when each has its own data folder, listen address and socket.
On SIGTERM the daemon stops and leaves its containers running; it finds them again when it starts.")]
pub struct Args {
    /// Folder for everything that must outlive the daemon
    #[arg(long, value_name = "DIR", default_value = "/var/lib/muster", env = "MUSTER_DATA_DIR")]
    pub data_dir: PathBuf,

    /// Where other nodes connect; published ports are opened on the same IP
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7377")]
    pub listen_addr: std::net::SocketAddr,

    /// Where other nodes reach this one, if that is not the listen address: HOST or HOST:PORT
    #[arg(long, value_name = "ADDR")]
    pub advertise_addr: Option<String>,

    /// Socket for the command line of this host
    #[arg(long, value_name = "PATH", default_value = "/run/muster/muster.sock")]
    pub socket: PathBuf,

    /// What runs containers; auto means Docker Engine
    #[arg(long, value_enum, default_value = "auto")]
    pub engine: EngineChoice,

    /// Socket of Docker Engine
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock")]
    pub docker_socket: PathBuf,

    /// Shape of the log on standard error
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What to log: error, warn, info, debug, trace, or a filter such as muster_agent=debug [default: RUST_LOG, else info]
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,
}

impl Args {
    /// Of a daemon in this folder, with containers that are none.
    #[cfg(test)]
    pub(crate) fn for_tests(folder: &std::path::Path, address: &str) -> Self {
        Self {
            data_dir: folder.to_owned(),
            listen_addr: "127.0.0.1:0".parse().expect("an address"),
            advertise_addr: Some(address.to_owned()),
            socket: folder.join("socket"),
            engine: EngineChoice::Sim,
            docker_socket: folder.join("no-docker"),
            log_format: LogFormat::Text,
            log_level: None,
        }
    }

    /// Where published ports are opened.
    pub(crate) fn ingress_ip(&self) -> IpAddr {
        self.listen_addr.ip()
    }
}
