//! Makes the cluster's CA and signs its nodes' certificates.

use std::time::Duration;

use muster_proto::{
    id::{ClusterId, NodeId},
    time::Timestamp,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SubjectPublicKeyInfo,
};
use ring::rand::{SecureRandom, SystemRandom};
use x509_parser::pem::parse_x509_pem;

use super::{
    CaError, Part, manager_name, node_name,
    peer::{RAFT_ID, only},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than most clusters live; a new root before that is one command.
const CA_VALIDITY: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
/// What Swarm gives its nodes.
pub const NODE_VALIDITY: Duration = Duration::from_secs(90 * DAY.as_secs());
/// A node whose clock is behind the issuer's still takes the certificate.
pub(super) const CLOCK_SKEW: Duration = DAY;
/// Positive and of at most 20 bytes, says RFC 5280; 128 random bits never repeat.
const SERIAL_BYTES: usize = 16;

/// The CA of one cluster. Whoever holds it can make nodes.
pub struct Authority {
    cluster: ClusterId,
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Without the key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new CA, for a new cluster or as the next root of one.
    pub fn create(cluster: ClusterId, now: Timestamp) -> Result<Self, CaError> {
        let params = root_params(cluster, now);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Issue)?;
        let cert_pem = params.self_signed(&key).map_err(CaError::Issue)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { cluster, cert_pem, key_pem, issuer: Issuer::new(params, key) })
    }

    /// The CA as [`Authority::cert_pem`] and [`Authority::key_pem`] gave it out.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key_pem).map_err(CaError::Read)?;
        let (cluster, certified) = read_ca(cert_pem)?;
        // What a key of another CA signs nobody would trust.
        if certified != key.subject_public_key_info() {
            return Err(CaError::AnotherKey);
        }
        let issuer = Issuer::from_ca_cert_pem(cert_pem, key).map_err(CaError::Read)?;
        Ok(Self { cluster, cert_pem: cert_pem.to_owned(), key_pem: key_pem.to_owned(), issuer })
    }

    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The key of another root of the cluster, certified by this one, in PEM: who trusts this one trusts what that one
    /// signs.
    pub fn certify(&self, next: &Self, now: Timestamp) -> Result<String, CaError> {
        let (_, key) = read_ca(&next.cert_pem)?;
        let key = SubjectPublicKeyInfo::from_der(&key).map_err(CaError::Read)?;
        let mut params = root_params(next.cluster, now);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        Ok(params.signed_by(&key, &self.issuer).map_err(CaError::Issue)?.pem())
    }

    /// A certificate for one node in one part, in PEM. The key is the node's: `public_key_der` is its
    /// [`super::NodeKey::public_der`], as it came over the wire.
    pub fn sign(
        &self,
        node: NodeId,
        part: Part,
        public_key_der: &[u8],
        now: Timestamp,
        validity: Duration,
    ) -> Result<String, CaError> {
        let key = public_key(public_key_der)?;
        let mut params = CertificateParams::new(server_names(self.cluster, node, part)).map_err(CaError::Issue)?;
        params.distinguished_name = subject(&node.to_string(), self.cluster);
        params.distinguished_name.push(DnType::OrganizationalUnitName, part.role().to_string());
        if let Some(raft_id) = part.raft_id() {
            params.distinguished_name.push(DnType::CustomDnType(RAFT_ID.to_vec()), raft_id.to_string());
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        valid_for(&mut params, now, validity);
        Ok(params.signed_by(&key, &self.issuer).map_err(CaError::Issue)?.pem())
    }
}

/// Of a kind that is signed.
fn public_key(der: &[u8]) -> Result<SubjectPublicKeyInfo, CaError> {
    let key = SubjectPublicKeyInfo::from_der(der).map_err(CaError::PublicKey)?;
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(CaError::PublicKey(rcgen::Error::UnsupportedSignatureAlgorithm));
    }
    Ok(key)
}

/// All roots of a cluster have one name, so that either certificate of a root's key stands for it.
fn root_params(cluster: ClusterId, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&format!("muster {cluster}"), cluster);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, now, CA_VALIDITY);
    params
}

/// What [`Authority::sign`] would refuse, before anything is signed.
pub(crate) fn check_public_key(der: &[u8]) -> Result<(), CaError> {
    public_key(der).map(drop)
}

fn server_names(cluster: ClusterId, node: NodeId, part: Part) -> Vec<String> {
    match part {
        Part::Worker => vec![node_name(cluster, node)],
        Part::Manager(_) => vec![manager_name(cluster), node_name(cluster, node)],
    }
}

fn subject(common_name: &str, cluster: ClusterId) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name.push(DnType::OrganizationName, cluster.to_string());
    name
}

fn serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CaError::Issue(rcgen::Error::RingUnspecified))?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

fn valid_for(params: &mut CertificateParams, now: Timestamp, span: Duration) {
    let (epoch, now) = (rcgen::date_time_ymd(1970, 1, 1), now.since(Timestamp::EPOCH));
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + span;
}

/// Whose it is, and the key it certifies, as a SubjectPublicKeyInfo.
fn read_ca(cert_pem: &str) -> Result<(ClusterId, Vec<u8>), CaError> {
    let (_, pem) = parse_x509_pem(cert_pem.as_bytes()).map_err(|_| CaError::NoCertificate)?;
    let certificate = pem.parse_x509().map_err(|_| CaError::NoCertificate)?;
    let cluster = only(certificate.subject().iter_organization()).and_then(|name| name.parse().ok());
    Ok((cluster.ok_or(CaError::NoCluster)?, certificate.public_key().raw.to_vec()))
}

pub(super) fn cluster_of(cert_pem: &str) -> Result<ClusterId, CaError> {
    read_ca(cert_pem).map(|(cluster, _)| cluster)
}
