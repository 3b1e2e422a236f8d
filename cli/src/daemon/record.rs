//! What a host remembers of its membership: which cluster, which node, in which role, with which keys. One file, so that
//! a new certificate, a new role and the roots to trust are taken on together or not at all.
//!
//! The phase is written before the work it names begins, so that a crash in the middle of `init`, `join` or `leave` is
//! seen at the next start and finished.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, bail};
use muster_manager::ca::{ClusterKey, Credentials, Keeper};
use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    v1,
    version::RaftId,
};
use serde::{Deserialize, Serialize};

use super::recover::Recovering;

const RECORD_FILE: &str = "node.json";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// `init` or `restore` began; nothing was acknowledged.
    Creating,
    /// `join` began. The managers may know this node already; a repetition goes on under the same id and key.
    Joining,
    Member,
    /// `leave` began; nothing of the membership is wanted any more.
    Leaving,
}

/// What the folder `manager` holds, for a manager. It is written down before the folder is touched: a store that should
/// be there and is not is refused, and one that was not made yet is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Store {
    /// The store of this very manager.
    #[default]
    Own,
    /// This manager's own, perhaps not all of it.
    Begun,
    /// Nothing, or what a former manager of this node has left.
    Former,
}

impl Store {
    // By reference, as serde calls it.
    fn is_own(&self) -> bool {
        matches!(self, Store::Own)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_no(flag: &bool) -> bool {
    !*flag
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) phase: Phase,
    pub(super) cluster_id: ClusterId,
    pub(super) node_id: NodeId,
    /// `host:port`.
    pub(super) advertise_addr: String,
    pub(super) role: Role,
    /// Of managers.
    pub(super) raft_id: Option<RaftId>,
    #[serde(default, skip_serializing_if = "Store::is_own")]
    pub(super) store: Store,
    /// Where managers were reached last, `host:port` each.
    pub(super) managers: Vec<String>,
    pub(super) incarnation: u64,
    /// A recovery whose new store is made and perhaps not yet in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recovering: Option<Recovering>,
    /// The certificate is one that this node's manager signed itself. Until the cluster has heard of it, it would forget
    /// the node too early, were that removed.
    #[serde(default, skip_serializing_if = "is_no")]
    pub(super) is_self_signed: bool,
    pub(super) identity: Identity,
}

/// What this node shows the others, in PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// All that are trusted, one after another. Empty until the cluster has granted a certificate.
    pub(super) roots: String,
    /// Empty until then as well.
    pub(super) certificate: String,
    /// Secret.
    pub(super) key: String,
    /// Of managers. Secret; in hexadecimal.
    pub(super) cluster_key: Option<String>,
}

/// Without the keys.
impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
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

    pub(super) fn credentials(&self) -> anyhow::Result<Credentials> {
        let Identity { roots, certificate, key, .. } = &self.identity;
        Credentials::from_pem(roots.clone(), certificate.clone(), key.clone())
            .context("the node's certificate cannot be used; restore the folder `member` from a copy")
    }

    pub(super) fn cluster_key(&self) -> anyhow::Result<ClusterKey> {
        let said = self.identity.cluster_key.as_deref().unwrap_or_default();
        let bytes =
            from_hex(said).context("the cluster key cannot be read; restore the folder `member` from a copy")?;
        Ok(ClusterKey::from_bytes(&bytes)?)
    }

    /// The record after what the cluster has granted; the node's key stays the one it has.
    pub(super) fn granted(&self, grant: v1::Grant) -> anyhow::Result<Self> {
        let role = match v1::Role::try_from(grant.role) {
            Ok(v1::Role::Worker) => Role::Worker,
            Ok(v1::Role::Manager) => Role::Manager,
            Ok(v1::Role::Unspecified) | Err(_) => bail!("the manager's answer names no role; {VERSIONS}"),
        };
        let cluster_id =
            grant.cluster_id.parse().with_context(|| format!("the manager names no cluster; {VERSIONS}"))?;
        if grant.node_id.parse() != Ok(self.node_id) {
            bail!("the manager's answer is meant for node {}, this is {}; {VERSIONS}", grant.node_id, self.node_id);
        }
        let (raft_id, cluster_key) = match (role, grant.raft_id, grant.cluster_key) {
            (Role::Worker, ..) => (None, None),
            (Role::Manager, Some(raft_id), Some(key)) => {
                ClusterKey::from_bytes(&key)?;
                (Some(RaftId(raft_id)), Some(hex(&key)))
            }
            (Role::Manager, ..) => bail!("the manager's answer lacks what a manager needs; {VERSIONS}"),
        };
        let granted = Self {
            phase: Phase::Member,
            cluster_id,
            role,
            raft_id,
            store: if raft_id == self.raft_id { self.store } else { Store::Former },
            managers: if grant.managers.is_empty() { self.managers.clone() } else { grant.managers },
            incarnation: grant.incarnation,
            is_self_signed: false,
            identity: Identity {
                roots: grant.roots_pem.concat(),
                certificate: grant.certificate_pem,
                key: self.identity.key.clone(),
                cluster_key,
            },
            ..self.clone()
        };
        // Whether key, certificate and roots hold together.
        Keeper::new(granted.credentials()?)?;
        Ok(granted)
    }
}

const VERSIONS: &str = "run the same version of muster on both";

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        bail!("it is no hexadecimal number");
    }
    let pairs = (0..text.len()).step_by(2);
    Ok(pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect::<Result<_, _>>()?)
}

/// All of it or none, and on disk when it returns.
pub(super) fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    // One that a crash left behind may have another mode.
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use muster_manager::ca::{Authority, NodeKey, Part};

    use super::*;

    fn joining() -> Record {
        Record {
            phase: Phase::Joining,
            cluster_id: ClusterId::from_bits(1),
            node_id: NodeId::from_bits(2),
            advertise_addr: "10.0.0.1:7377".to_owned(),
            role: Role::Worker,
            raft_id: None,
            store: Store::Own,
            managers: vec!["10.0.0.9:7377".to_owned()],
            incarnation: 0,
            recovering: None,
            is_self_signed: false,
            identity: Identity {
                roots: String::new(),
                certificate: String::new(),
                key: NodeKey::generate().unwrap().key_pem(),
                cluster_key: None,
            },
        }
    }

    fn grant(record: &Record, role: Role) -> v1::Grant {
        let now = super::super::now();
        let authority = Authority::create(record.cluster_id, now).unwrap();
        let key = NodeKey::from_pem(&record.identity.key).unwrap();
        let validity = Duration::from_secs(3600);
        let part = match role {
            Role::Worker => Part::Worker,
            Role::Manager => Part::Manager(RaftId(4)),
        };
        v1::Grant {
            cluster_id: record.cluster_id.to_string(),
            node_id: record.node_id.to_string(),
            role: v1::Role::from(role).into(),
            certificate_pem: authority.sign(record.node_id, part, &key.public_der(), now, validity).unwrap(),
            roots_pem: vec![authority.cert_pem().to_owned()],
            raft_id: None,
            cluster_key: None,
            managers: vec!["10.0.0.8:7377".to_owned()],
            incarnation: 1,
        }
    }

    #[test]
    fn a_record_is_read_as_written_for_its_owner_only_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), None);
        let record = joining();
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Some(record));
        let path = folder.path().join(RECORD_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path, "{").unwrap();
        assert!(Record::read(folder.path()).unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn a_grant_makes_a_member_with_the_key_it_had() {
        let record = joining();
        let worker = record.granted(grant(&record, Role::Worker)).unwrap();
        assert_eq!((worker.phase, worker.role, worker.raft_id), (Phase::Member, Role::Worker, None));
        assert_eq!(worker.identity.key, record.identity.key);
        assert_eq!(worker.managers, ["10.0.0.8:7377"]);

        let key = ClusterKey::generate().unwrap();
        let promoted =
            v1::Grant { raft_id: Some(4), cluster_key: Some(key.bytes().to_vec()), ..grant(&worker, Role::Manager) };
        let manager = worker.granted(promoted).unwrap();
        assert_eq!((manager.role, manager.raft_id), (Role::Manager, Some(RaftId(4))));
        assert_eq!(manager.cluster_key().unwrap().bytes(), key.bytes());
        assert_eq!(manager.store, Store::Former, "a new manager's store is not made yet");
        assert_eq!(manager.granted(grant(&manager, Role::Worker)).unwrap().identity.cluster_key, None);
    }

    #[test]
    fn another_managers_store_is_not_this_ones() {
        let folder = tempfile::tempdir().unwrap();
        let granted = |record: &Record, raft_id| {
            let key = Some(ClusterKey::generate().unwrap().bytes().to_vec());
            record.granted(v1::Grant { raft_id, cluster_key: key, ..grant(record, Role::Manager) }).unwrap()
        };
        let third = Record { store: Store::Own, ..granted(&joining(), Some(3)) };
        assert_eq!(granted(&third, Some(3)).store, Store::Own, "renewed");
        let begun = Record { store: Store::Begun, ..third.clone() };
        assert_eq!(granted(&begun, Some(3)).store, Store::Begun, "renewed before it was made");
        let fourth = granted(&third, Some(4));
        assert_eq!(fourth.store, Store::Former, "demoted and promoted");
        fourth.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Some(fourth));
        // What an earlier version wrote says nothing of it.
        third.write(folder.path()).unwrap();
        assert!(!fs::read_to_string(folder.path().join(RECORD_FILE)).unwrap().contains("store"));
    }

    #[test]
    fn a_grant_that_does_not_add_up_is_refused() {
        let record = joining();
        let good = || grant(&record, Role::Worker);
        let refused = [
            v1::Grant { role: 0, ..good() },
            v1::Grant { cluster_id: String::new(), ..good() },
            v1::Grant { node_id: NodeId::from_bits(9).to_string(), ..good() },
            v1::Grant { certificate_pem: String::new(), roots_pem: Vec::new(), ..good() },
            grant(&record, Role::Manager),
            v1::Grant { raft_id: Some(1), cluster_key: Some(vec![0; 31]), ..grant(&record, Role::Manager) },
        ];
        for grant in refused {
            assert!(record.granted(grant.clone()).is_err(), "{grant:?}");
        }
    }
}
