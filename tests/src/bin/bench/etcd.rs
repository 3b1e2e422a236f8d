//! Three members of etcd, from Debian's package, on loopback addresses of this machine; and the one call of its API that
//! the comparison needs.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use muster_tests::{cluster::Loopback, wait};
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

pub(crate) const MEMBERS: usize = 3;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Its fields are of no use here.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutResponse {}

#[derive(Debug)]
pub(crate) struct Etcd {
    /// Beside the members' data.
    folder: tempfile::TempDir,
    network: Loopback,
    members: Vec<Child>,
}

impl Etcd {
    /// None where it is not installed.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("muster-etcd-").tempdir()?;
        let mut etcd = Self { folder, network: Loopback::new(), members: Vec::new() };
        for number in 0..MEMBERS {
            let member = etcd.member(number)?;
            etcd.members.push(member);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        wait::until("etcd to take a write", || {
            runtime.block_on(async {
                let channel = etcd.connect(0).await.map_err(|error| format!("{error:#}"))?;
                put(&mut Grpc::new(channel), b"first", b"write").await.map_err(|error| format!("{error:#}"))
            })
        });
        Ok(Some(etcd))
    }

    fn url(&self, number: usize, port: u16) -> String {
        format!("http://{}:{port}", self.network.address(u8::try_from(number).expect("few members")))
    }

    fn member(&self, number: usize) -> anyhow::Result<Child> {
        let (client, peer) = (self.url(number, 2379), self.url(number, 2380));
        let cluster: Vec<String> = (0..MEMBERS).map(|n| format!("m{n}={}", self.url(n, 2380))).collect();
        let name = format!("m{number}");
        let log = File::create(self.folder.path().join(format!("{name}.log")))?;
        let mut command = Command::new("etcd");
        command.args(["--name", &name, "--data-dir"]).arg(self.folder.path().join(&name));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"]);
        command.args(["--logger", "zap", "--log-level", "error"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("cannot start etcd")
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self, member: usize) -> anyhow::Result<Channel> {
        Ok(Channel::from_shared(self.url(member, 2379))?.connect().await?)
    }

    /// The member that leads, by its own account.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        for member in 0..MEMBERS {
            let status = status(self.connect(member).await?).await?;
            if status.leader == status.header.unwrap_or_default().member_id {
                return Ok(member);
            }
        }
        anyhow::bail!("etcd has no leader")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // On the way out.
            drop(member.kill());
            drop(member.wait());
        }
    }
}

/// Returns once the write is acknowledged.
pub(crate) async fn put(client: &mut Grpc<Channel>, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
    client.ready().await?;
    let request = tonic::Request::new(PutRequest { key: key.to_vec(), value: value.to_vec() });
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
    client.unary(request, path, codec).await?;
    Ok(())
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

async fn status(channel: Channel) -> anyhow::Result<StatusResponse> {
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
    let codec: ProstCodec<StatusRequest, StatusResponse> = ProstCodec::default();
    Ok(client.unary(tonic::Request::new(StatusRequest {}), path, codec).await?.into_inner())
}
