//! Makes the cluster's CA and signs its nodes' certificates.

use std::time::{Duration, SystemTime};

use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use x509_parser::pem::parse_x509_pem;

use super::{CaError, Credentials, manager_name, node_name};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than a cluster lives: changing the root means to visit every node.
const CA_VALIDITY: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
/// What Swarm gives its nodes.
const NODE_VALIDITY: Duration = Duration::from_secs(90 * DAY.as_secs());
/// A node whose clock is behind the issuer's still takes the certificate.
const CLOCK_SKEW: Duration = DAY;

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
    /// A new CA, for a new cluster.
    pub fn create(cluster: ClusterId) -> Result<Self, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("muster {cluster}"), cluster);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for(&mut params, CA_VALIDITY);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Issue)?;
        let cert_pem = params.self_signed(&key).map_err(CaError::Issue)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { cluster, cert_pem, key_pem, issuer: Issuer::new(params, key) })
    }

    /// The CA as [`Authority::cert_pem`] and [`Authority::key_pem`] gave it out.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key_pem).map_err(CaError::Read)?;
        let cluster = cluster_of(cert_pem).ok_or(CaError::NoCluster)?;
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

    /// A key and a certificate for one node in one role.
    pub fn issue(&self, node: NodeId, role: Role) -> Result<Credentials, CaError> {
        let mut params = CertificateParams::new(server_names(self.cluster, node, role)).map_err(CaError::Issue)?;
        params.distinguished_name = subject(&node.to_string(), self.cluster);
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, NODE_VALIDITY);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Issue)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(CaError::Issue)?;
        Ok(Credentials {
            cluster: self.cluster,
            ca_pem: self.cert_pem.clone(),
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn server_names(cluster: ClusterId, node: NodeId, role: Role) -> Vec<String> {
    match role {
        Role::Worker => vec![node_name(cluster, node)],
        Role::Manager => vec![manager_name(cluster), node_name(cluster, node)],
    }
}

fn subject(common_name: &str, cluster: ClusterId) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name.push(DnType::OrganizationName, cluster.to_string());
    name
}

fn valid_for(params: &mut CertificateParams, span: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + span;
}

pub(super) fn cluster_of(cert_pem: &str) -> Option<ClusterId> {
    let (_, pem) = parse_x509_pem(cert_pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    certificate.subject().iter_organization().next()?.as_str().ok()?.parse().ok()
}
