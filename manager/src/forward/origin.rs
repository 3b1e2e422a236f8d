//! Who made a call that another manager passes on. The leader judges the call as theirs, by its own state, and not as
//! the manager's that passed it on; only managers are believed.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderValue, request::Parts};
use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    time::Timestamp,
};
use tonic::{Status, transport::server::TcpConnectInfo};

use crate::{
    authorization::{Caller, decide},
    ca::{PeerIdentity, Presented},
    replica::Replica,
};

const ORIGIN: &str = "muster-origin";
const HOST: &str = "host";
const NOBODY: &str = "nobody";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line on the other manager's host.
    Host,
    /// A host without a certificate, and its address where that is known.
    Nobody(Option<IpAddr>),
    Node(PeerIdentity),
}

/// Whether what a caller says of others is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Believed,
    /// A manager by its certificate that this copy of the state does not list as one: the copy lags behind, or the node
    /// is none any more. It must not get a certificate in another's name meanwhile.
    Unlisted(NodeId),
    /// What it asks it asks for itself.
    Ignored,
}

/// Where nobody was asked, in tests, everyone is believed.
pub(super) fn word(extensions: &Extensions) -> Word {
    match extensions.get::<Caller>() {
        None | Some(Caller::Manager(_)) => Word::Believed,
        Some(Caller::Demoted(node) | Caller::Unlisted { node, role: Role::Manager }) => Word::Unlisted(*node),
        Some(
            Caller::Nobody
            | Caller::Worthless(_)
            | Caller::Expired(_)
            | Caller::Removed(_)
            | Caller::Unlisted { role: Role::Worker, .. }
            | Caller::Worker(_)
            | Caller::Local,
        ) => Word::Ignored,
    }
}

pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(ORIGIN);
}

/// Makes the call that of whoever made it first.
pub(super) fn adopt(parts: &mut Parts, replica: &Replica, now: Timestamp) -> Result<(), Status> {
    let Some(origin) = parts.headers.remove(ORIGIN) else { return Ok(()) };
    let cluster = replica.read(|state| state.cluster().map(|cluster| cluster.id));
    let origin = origin.to_str().ok().and_then(|text| Origin::read(text, cluster?));
    let origin = origin.ok_or_else(|| Status::invalid_argument("another manager passed on a call of nobody known"))?;
    parts.extensions.remove::<PeerIdentity>();
    let caller = match origin {
        Origin::Host => Caller::Local,
        Origin::Nobody(from) => {
            parts
                .extensions
                .insert(TcpConnectInfo { local_addr: None, remote_addr: from.map(|from| SocketAddr::new(from, 0)) });
            Caller::Nobody
        }
        Origin::Node(identity) => {
            parts.extensions.insert(identity);
            Caller::of(Presented::Certificate(identity), now, replica)
        }
    };
    parts.extensions.insert(caller);
    decide(parts.uri.path(), caller).map_err(|denied| denied.status())
}

impl Origin {
    pub(super) fn of(extensions: &Extensions) -> Self {
        match (extensions.get::<PeerIdentity>(), extensions.get::<Caller>()) {
            (Some(identity), _) => Origin::Node(*identity),
            (None, Some(Caller::Local) | None) => Origin::Host,
            (None, Some(_)) => {
                let from = extensions.get().and_then(TcpConnectInfo::remote_addr);
                Origin::Nobody(from.map(|from| from.ip()))
            }
        }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let text = match self {
            Origin::Host => HOST.to_owned(),
            Origin::Nobody(None) => NOBODY.to_owned(),
            Origin::Nobody(Some(from)) => format!("{NOBODY} {from}"),
            Origin::Node(identity) => {
                // A Raft message is never passed on, so the Raft id stays out.
                let root = identity.root.map(|root| format!(" {root}")).unwrap_or_default();
                format!("{} {} {}{root}", identity.node_id, identity.role, identity.expires_at.millis())
            }
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(ORIGIN, value);
        }
    }

    fn read(text: &str, cluster_id: ClusterId) -> Option<Self> {
        match text {
            HOST => return Some(Origin::Host),
            NOBODY => return Some(Origin::Nobody(None)),
            _ => {}
        }
        let mut words = text.split(' ');
        let first = words.next()?;
        if first == NOBODY {
            return words.next()?.parse().ok().map(|from| Origin::Nobody(Some(from)));
        }
        let node_id = first.parse().ok()?;
        let role = match words.next()? {
            "manager" => Role::Manager,
            "worker" => Role::Worker,
            _ => return None,
        };
        let expires_at = Timestamp::from_millis(words.next()?.parse().ok()?);
        let root = match words.next() {
            Some(root) => Some(root.parse().ok()?),
            None => None,
        };
        Some(Origin::Node(PeerIdentity { cluster_id, node_id, role, raft_id: None, root, expires_at }))
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::trust::Digest;

    use super::*;

    #[test]
    fn an_origin_reads_back_and_nonsense_is_nobody_known() {
        let cluster_id = ClusterId::from_bits(1);
        let node = PeerIdentity {
            cluster_id,
            node_id: NodeId::from_bits(7),
            role: Role::Worker,
            raft_id: None,
            root: None,
            expires_at: Timestamp::from_millis(99),
        };
        let of_a_root = Origin::Node(PeerIdentity { root: Some(Digest([7; 32])), ..node });
        let from = |text: &str| Origin::Nobody(Some(text.parse().unwrap()));
        let strangers = [Origin::Nobody(None), from("10.0.0.7"), from("2001:db8::7")];
        for origin in strangers.into_iter().chain([Origin::Host, Origin::Node(node), of_a_root]) {
            let mut headers = HeaderMap::new();
            origin.write(&mut headers);
            assert_eq!(Origin::read(headers[ORIGIN].to_str().unwrap(), cluster_id), Some(origin));
        }
        for text in ["", "root", "nobody ", "nobody 10.0.0", "7 manager", "7 worker 5", "7 worker 5 root"] {
            assert_eq!(Origin::read(text, cluster_id), None, "{text}");
        }
    }

    #[test]
    fn only_managers_speak_for_others() {
        let word_of = |caller: Caller| {
            let mut extensions = Extensions::new();
            extensions.insert(caller);
            word(&extensions)
        };
        let node = NodeId::from_bits(1);
        assert_eq!(word_of(Caller::Manager(node)), Word::Believed);
        assert_eq!(word_of(Caller::Demoted(node)), Word::Unlisted(node));
        assert_eq!(word_of(Caller::Unlisted { node, role: Role::Manager }), Word::Unlisted(node));
        for caller in [Caller::Worker(node), Caller::Nobody, Caller::Expired(node), Caller::Local] {
            assert_eq!(word_of(caller), Word::Ignored);
        }
    }
}
