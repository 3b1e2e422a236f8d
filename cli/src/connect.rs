//! From `--host` to clients of the daemon's local socket. The only file that knows how to reach a daemon, and how to
//! say that there is none.

use std::{error::Error as StdError, fmt, io, path::PathBuf, str::FromStr, time::Duration};

use muster_proto::v1::{control_client::ControlClient, local_client::LocalClient};
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;

pub const DEFAULT_HOST: &str = "unix:///run/muster/muster.sock";

/// A socket that accepts and does not speak is as good as none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the answer begins. A create waits for a registry to resolve the image, which may take its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Lists of tens of thousands of tasks pass tonic's 4 MiB.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where the daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(PathBuf);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = match text.split_once("://") {
            Some(("unix", path)) => path,
            Some((scheme, _)) => {
                return Err(format!(
                    "{scheme}:// is not supported: a daemon takes commands on its local socket only; write unix:///path \
                     or the path"
                ));
            }
            None => text.strip_prefix("unix:").unwrap_or(text),
        };
        if path.is_empty() {
            return Err("no path of a socket in it; write unix:///path or the path".to_owned());
        }
        Ok(Self(PathBuf::from(path)))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "unix://{}", self.0.display())
    }
}

#[derive(Clone, Debug)]
pub struct Daemon {
    channel: Channel,
}

impl Daemon {
    pub async fn connect(host: &Host) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(host.to_string())
            .map_err(|_| Error::Usage(format!("{host} is not the address of a socket; write unix:///path")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT);
        let channel = endpoint.connect().await.map_err(|error| unreachable(host, &error))?;
        Ok(Self { channel })
    }

    /// What users ask of a cluster.
    #[must_use]
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// What users ask of this host.
    #[must_use]
    pub fn local(&self) -> LocalClient<Channel> {
        LocalClient::new(self.channel.clone())
    }
}

fn unreachable(host: &Host, error: &tonic::transport::Error) -> Error {
    let text = match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => format!(
            "permission denied on the muster daemon's socket at {host}; run this as root or as a user of the socket's \
             group"
        ),
        Some(_) | None => format!(
            "cannot reach the muster daemon at {host}: is it running? start it with `muster daemon`, or name another \
             socket with --host"
        ),
    };
    Error::Failed(text)
}

fn io_kind(error: &tonic::transport::Error) -> Option<io::ErrorKind> {
    let mut source = StdError::source(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_socket_in_any_of_its_spellings() {
        for text in ["unix:///run/m.sock", "unix:/run/m.sock", "/run/m.sock"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), "unix:///run/m.sock");
        }
        assert_eq!("./m.sock".parse::<Host>().unwrap().to_string(), "unix://./m.sock");
        assert!("tcp://1.2.3.4:7377".parse::<Host>().unwrap_err().contains("tcp:// is not supported"));
        assert!("unix://".parse::<Host>().is_err());
    }
}
