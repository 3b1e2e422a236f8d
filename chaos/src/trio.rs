//! Three managers as processes, on loopback addresses or, for faults of the network, on hosts of their own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::{
    cli::Muster,
    daemon::{Daemon, Home},
    fault::{Fault, Kind, Strike},
    hosts::{self, Hosts},
};

pub(crate) const MANAGERS: usize = 3;
/// The port that nodes use unless told otherwise.
const PORT: u16 = 7377;

pub(crate) struct Trio {
    homes: Vec<Home>,
    /// None while it is dead.
    daemons: Vec<Option<Daemon>>,
    hosts: Option<Hosts>,
}

impl Trio {
    pub(crate) fn new(folder: &Path, binary: &Path, kind: Kind) -> anyhow::Result<Self> {
        let hosts = match kind {
            Kind::Kill | Kind::Pause => None,
            Kind::Partition => {
                hosts::present("partition").context("it needs hosts of its own")?;
                Some(Hosts::make(MANAGERS))
            }
        };
        let network = loopback()?;
        let home = |number: usize| -> anyhow::Result<Home> {
            let folder: PathBuf = folder.join(format!("manager{}", number + 1));
            std::fs::create_dir(&folder)?;
            let (address, namespace) = match &hosts {
                None => (network(number), None),
                Some(hosts) => (hosts.address(number), Some(hosts.namespace(number).to_owned())),
            };
            Ok(Home::at(&folder, binary.to_owned(), SocketAddr::from((address, PORT)), namespace))
        };
        let homes = (0..MANAGERS).map(home).collect::<anyhow::Result<_>>()?;
        Ok(Self { homes, daemons: (0..MANAGERS).map(|_| None).collect(), hosts })
    }

    /// Starts all, and makes them one cluster.
    pub(crate) async fn form(&mut self) -> anyhow::Result<()> {
        for number in 0..MANAGERS {
            let mut daemon = self.homes[number].start()?;
            if number == 0 {
                self.homes[0].first(&mut daemon, &["init"]).await?;
            } else {
                let token = self.homes[0].muster.ask(&["join-token", "--quiet", "manager"]).await?;
                let address = self.homes[0].address.to_string();
                self.homes[number].first(&mut daemon, &["join", "--token", token.trim(), &address]).await?;
            }
            self.daemons[number] = Some(daemon);
        }
        Ok(())
    }

    pub(crate) fn doors(&self) -> Arc<[Muster]> {
        self.homes.iter().map(|home| home.muster.clone()).collect()
    }

    pub(crate) fn panics(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for home in &self.homes {
            found.extend(home.panics()?);
        }
        Ok(found)
    }

    pub(crate) async fn strike(&mut self, strike: Strike) -> anyhow::Result<()> {
        let others = (0..MANAGERS).filter(|other| *other != strike.manager);
        match strike.fault {
            Fault::Kill => {
                let daemon = self.daemons[strike.manager].take();
                daemon.context("a manager that is dead is not killed again")?.kill().await?;
            }
            Fault::Pause => self.running(strike.manager)?.signal(Signal::SIGSTOP)?,
            Fault::Cut => self.hosts()?.cut(strike.manager),
            Fault::Deaf => others.for_each(|other| self.expect_hosts().deafen(strike.manager, other)),
            Fault::Mute => others.for_each(|other| self.expect_hosts().deafen(other, strike.manager)),
        }
        Ok(())
    }

    pub(crate) async fn heal(&mut self, strike: Strike) -> anyhow::Result<()> {
        match strike.fault {
            Fault::Kill => self.daemons[strike.manager] = Some(self.homes[strike.manager].start()?),
            Fault::Pause => self.running(strike.manager)?.signal(Signal::SIGCONT)?,
            Fault::Cut => self.hosts()?.heal(strike.manager),
            Fault::Deaf | Fault::Mute => (0..MANAGERS).for_each(|host| self.expect_hosts().hear(host)),
        }
        Ok(())
    }

    /// Until each answers what only a cluster with a leader can.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<std::time::Duration> {
        let begun = Instant::now();
        for (home, daemon) in self.homes.iter().zip(&mut self.daemons) {
            let daemon = daemon.as_mut().context("a manager was not started again")?;
            home.ready(daemon, begun).await?;
        }
        Ok(begun.elapsed())
    }

    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        for daemon in self.daemons.iter_mut().filter_map(Option::take) {
            daemon.kill().await?;
        }
        Ok(())
    }

    fn running(&self, manager: usize) -> anyhow::Result<&Daemon> {
        self.daemons[manager].as_ref().context("the manager is dead")
    }

    fn hosts(&self) -> anyhow::Result<&Hosts> {
        self.hosts.as_ref().context("a fault of the network needs hosts")
    }

    fn expect_hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("a run with faults of the network has hosts")
    }
}

/// Addresses of this machine that nobody else listens on.
fn loopback() -> anyhow::Result<impl Fn(usize) -> Ipv4Addr> {
    let [a, b] = rand::random::<u16>().to_be_bytes();
    let address = move |number: usize| Ipv4Addr::new(127, a | 1, b, 11 + u8::try_from(number).unwrap_or_default());
    for number in 0..MANAGERS {
        let free = TcpListener::bind((address(number), PORT));
        ensure!(free.is_ok(), "{}:{PORT} is taken; run it again, it draws other addresses", address(number));
    }
    Ok(address)
}
