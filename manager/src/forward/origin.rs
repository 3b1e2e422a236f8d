//! Who made a call that another manager passes on. The leader judges the call as theirs, by its own state, and not as
//! the manager's that passed it on; only managers are believed.

use http::{Extensions, HeaderMap, HeaderValue, request::Parts};
use muster_proto::{id::ClusterId, node::Role, time::Timestamp};
use tonic::Status;

use crate::{
    authorization::{Caller, decide},
    ca::{PeerIdentity, Presented},
    clock::{Clock, WallClock},
    replica::Replica,
};

const ORIGIN: &str = "muster-origin";
const HOST: &str = "host";
const NOBODY: &str = "nobody";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line on the other manager's host.
    Host,
    /// A host without a certificate.
    Nobody,
    Node(PeerIdentity),
}

/// Whether the caller may speak for others. Behind no guard, in tests, everyone may.
pub(super) fn may_pass_on(extensions: &Extensions) -> bool {
    match extensions.get::<Caller>() {
        None | Some(Caller::Manager(_) | Caller::Demoted(_) | Caller::Unlisted { role: Role::Manager, .. }) => true,
        Some(
            Caller::Nobody
            | Caller::Worthless(_)
            | Caller::Expired(_)
            | Caller::Removed(_)
            | Caller::Unlisted { role: Role::Worker, .. }
            | Caller::Worker(_)
            | Caller::Local,
        ) => false,
    }
}

pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(ORIGIN);
}

/// Makes the call that of whoever made it first.
pub(super) fn adopt(parts: &mut Parts, replica: &Replica) -> Result<(), Status> {
    let Some(origin) = parts.headers.remove(ORIGIN) else { return Ok(()) };
    let cluster = replica.read(|state| state.cluster().map(|cluster| cluster.id));
    let origin = origin.to_str().ok().and_then(|text| Origin::read(text, cluster?));
    let origin = origin.ok_or_else(|| Status::invalid_argument("another manager passed on a call of nobody known"))?;
    parts.extensions.remove::<PeerIdentity>();
    let caller = match origin {
        Origin::Host => Caller::Local,
        Origin::Nobody => Caller::Nobody,
        Origin::Node(identity) => {
            parts.extensions.insert(identity);
            Caller::of(Presented::Certificate(identity), WallClock.now(), replica)
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
            (None, Some(_)) => Origin::Nobody,
        }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let text = match self {
            Origin::Host => HOST.to_owned(),
            Origin::Nobody => NOBODY.to_owned(),
            Origin::Node(identity) => {
                format!("{} {} {}", identity.node_id, identity.role, identity.expires_at.millis())
            }
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(ORIGIN, value);
        }
    }

    fn read(text: &str, cluster_id: ClusterId) -> Option<Self> {
        match text {
            HOST => return Some(Origin::Host),
            NOBODY => return Some(Origin::Nobody),
            _ => {}
        }
        let mut words = text.split(' ');
        let node_id = words.next()?.parse().ok()?;
        let role = match words.next()? {
            "manager" => Role::Manager,
            "worker" => Role::Worker,
            _ => return None,
        };
        let expires_at = Timestamp::from_millis(words.next()?.parse().ok()?);
        Some(Origin::Node(PeerIdentity { cluster_id, node_id, role, expires_at }))
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::id::NodeId;

    use super::*;

    #[test]
    fn an_origin_reads_back_and_nonsense_is_nobody_known() {
        let cluster_id = ClusterId::from_bits(1);
        let node = PeerIdentity {
            cluster_id,
            node_id: NodeId::from_bits(7),
            role: Role::Worker,
            expires_at: Timestamp::from_millis(99),
        };
        for origin in [Origin::Host, Origin::Nobody, Origin::Node(node)] {
            let mut headers = HeaderMap::new();
            origin.write(&mut headers);
            assert_eq!(Origin::read(headers[ORIGIN].to_str().unwrap(), cluster_id), Some(origin));
        }
        for text in ["", "root", "7 manager", "7 worker 5"] {
            assert_eq!(Origin::read(text, cluster_id), None, "{text}");
        }
    }

    #[test]
    fn only_managers_speak_for_others() {
        let speaks = |caller: Caller| {
            let mut extensions = Extensions::new();
            extensions.insert(caller);
            may_pass_on(&extensions)
        };
        let node = NodeId::from_bits(1);
        assert!(speaks(Caller::Manager(node)));
        assert!(!speaks(Caller::Worker(node)));
        assert!(!speaks(Caller::Nobody));
        assert!(!speaks(Caller::Expired(node)));
        assert!(!speaks(Caller::Local));
    }
}
