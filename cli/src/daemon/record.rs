//! What a host remembers of its membership: which cluster, which node, which keys.
//!
//! The phase is written before the work it names begins, so that a crash in the middle of `init` or `leave` is seen at
//! the next start and finished.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use muster_manager::ca::{ClusterKey, Credentials};
use muster_proto::id::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

const RECORD_FILE: &str = "node.json";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// `init` began; nothing was acknowledged.
    Creating,
    Member,
    /// `leave` began; nothing of the membership is wanted any more.
    Leaving,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) phase: Phase,
    pub(super) cluster_id: ClusterId,
    pub(super) node_id: NodeId,
    pub(super) raft_id: u64,
    /// `host:port`.
    pub(super) advertise_addr: String,
}

impl Record {
    /// None when this host is in no cluster.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(RECORD_FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is damaged; restore it from a copy, or move the data folder away to start anew",
                    path.display()
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).context("cannot encode the membership record")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        write_durably(&folder.join(RECORD_FILE), &bytes, 0o600)
            .with_context(|| format!("cannot write the membership record in {}", folder.display()))
    }
}

const CA_FILE: &str = "ca.pem";
const CERT_FILE: &str = "node.pem";
const KEY_FILE: &str = "node.key";
pub(super) const CLUSTER_KEY_FILE: &str = "cluster.key";

pub(super) fn write_credentials(folder: &Path, credentials: &Credentials) -> anyhow::Result<()> {
    let files = [
        (CA_FILE, &credentials.ca_pem, 0o644),
        (CERT_FILE, &credentials.cert_pem, 0o644),
        (KEY_FILE, &credentials.key_pem, 0o600),
    ];
    for (name, text, mode) in files {
        write_durably(&folder.join(name), text.as_bytes(), mode)
            .with_context(|| format!("cannot write {}", folder.join(name).display()))?;
    }
    Ok(())
}

pub(super) fn read_credentials(folder: &Path) -> anyhow::Result<Credentials> {
    let read = |name: &str| {
        fs::read_to_string(folder.join(name)).with_context(|| format!("cannot read {}", folder.join(name).display()))
    };
    Credentials::from_pem(read(CA_FILE)?, read(CERT_FILE)?, read(KEY_FILE)?).with_context(|| {
        format!("the node's certificate in {} cannot be read; restore the folder from a copy", folder.display())
    })
}

pub(super) fn read_cluster_key(folder: &Path) -> anyhow::Result<ClusterKey> {
    let path = folder.join(CLUSTER_KEY_FILE);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}; restore it from a copy", path.display()))?;
    Ok(ClusterKey::from_bytes(&bytes)?)
}

/// All of it or none, and on disk when it returns.
pub(super) fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), None);
        let record = Record {
            phase: Phase::Creating,
            cluster_id: ClusterId::from_bits(1),
            node_id: NodeId::from_bits(2),
            raft_id: 3,
            advertise_addr: "10.0.0.1:7377".to_owned(),
        };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Some(record));
        fs::write(folder.path().join(RECORD_FILE), "{").unwrap();
        assert!(Record::read(folder.path()).unwrap_err().to_string().contains("is damaged"));
    }
}
