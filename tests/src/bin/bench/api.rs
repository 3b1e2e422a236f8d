//! The control API of a daemon as the command line uses it, without the cost of starting a process for each call.

use anyhow::Context;
use muster_cli::connect;
use muster_proto::v1;
use muster_tests::daemon::Daemon;
use tonic::transport::Channel;

pub(crate) type Control = v1::control_client::ControlClient<Channel>;

/// A connection of its own.
pub(crate) async fn connect(daemon: &Daemon) -> anyhow::Result<Control> {
    let host: connect::Host = daemon.socket().display().to_string().parse().map_err(anyhow::Error::msg)?;
    let daemon = connect::Daemon::connect(&host).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(daemon.control())
}

/// One service that a client writes to again and again: a label of it, which moves no task.
#[derive(Debug)]
pub(crate) struct Register {
    control: Control,
    id: String,
    version: u64,
    spec: v1::ServiceSpec,
}

impl Register {
    /// A service without tasks.
    pub(crate) fn create(daemon: &Daemon, name: &str) {
        daemon.ok(&["service", "create", "--detach", "--quiet", "--name", name, "--replicas", "0", "sim:1"]);
    }

    pub(crate) async fn open(mut control: Control, name: &str) -> anyhow::Result<Self> {
        let service =
            control.get_service(v1::GetServiceRequest { service: name.to_owned() }).await?.into_inner().service;
        let service = service.context("an answer without a service")?;
        let spec = service.spec.context("a service without a spec")?;
        Ok(Self { control, id: service.id, version: service.version, spec })
    }

    /// Returns once the write is acknowledged.
    pub(crate) async fn write(&mut self, value: &str) -> anyhow::Result<()> {
        self.spec.labels.insert("value".to_owned(), value.to_owned());
        let request = v1::UpdateServiceRequest {
            id: self.id.clone(),
            version: self.version,
            spec: Some(self.spec.clone()),
            resolve_image: false,
        };
        self.version = self.control.update_service(request).await?.into_inner().version;
        Ok(())
    }
}
