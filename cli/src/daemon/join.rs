//! `muster join`: from a token and an address to a member.
//!
//! The managers are asked once this host listens where they will look for it, and it writes down before what it calls
//! itself, so that a join whose answer was lost is completed by repeating it. One that is refused leaves nothing behind.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use muster_core::command::LOG_FORMAT;
use muster_manager::{
    ca::{JoinToken, NodeKey, dial_pinned},
    membership::{JOIN_PROTOCOL, NOT_AS_SUCH_METADATA, UNTOUCHED_METADATA},
};
use muster_proto::{
    id::{ClusterId, NodeId},
    node::{Availability, Role},
    parse,
    v1::{self, membership_client::MembershipClient},
};
use tokio::net::TcpListener;
use tonic::{Code, Status};

use super::{
    managers::said,
    member::hostname,
    port::probe,
    record::{Identity, Phase, Record, Store, hex},
};

const PORT: u16 = 7377;

/// What the command asks for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) token: JoinToken,
    /// Of a manager, `host:port`.
    pub(super) address: String,
    pub(super) availability: Availability,
}

impl Wish {
    pub(super) fn read(request: &v1::JoinClusterRequest) -> anyhow::Result<Self> {
        let token = request.token.parse::<JoinToken>()?;
        let address = match parse::address(&request.address) {
            Ok(address) => address.or_port(PORT).to_string(),
            Err(error) => bail!("{error}"),
        };
        let availability = v1::Availability::try_from(request.availability).unwrap_or(v1::Availability::Unspecified);
        let availability = match availability {
            v1::Availability::Unspecified | v1::Availability::Active => Availability::Active,
            v1::Availability::Pause => Availability::Pause,
            v1::Availability::Drain => Availability::Drain,
        };
        Ok(Self { token, address, availability })
    }
}

/// Who this host will be. One that began to join before goes on as that.
pub(super) fn newcomer(earlier: Option<&Record>, wish: &Wish, advertise_addr: String) -> anyhow::Result<Record> {
    let (node_id, key) = match earlier {
        Some(Record { node_id, identity, .. }) => (*node_id, identity.key.clone()),
        None => (NodeId::from_bits(rand::random()), NodeKey::generate()?.key_pem()),
    };
    Ok(Record {
        phase: Phase::Joining,
        // Known once it is granted.
        cluster_id: ClusterId::from_bits(0),
        node_id,
        advertise_addr,
        role: Role::Worker,
        raft_id: None,
        store: Store::Own,
        managers: vec![wish.address.clone()],
        incarnation: 0,
        recovering: None,
        is_self_signed: false,
        identity: Identity { roots: String::new(), certificate: String::new(), key, cluster_key: None },
    })
}

/// Why a join did not happen.
#[derive(Debug)]
pub(super) enum Refused {
    /// The cluster knows nothing of this host, or nothing new.
    Clearly(anyhow::Error),
    /// It does not take this host under the id or the key that it gives itself, and never will.
    AsSuch(anyhow::Error),
    /// It may know this host: the answer was lost.
    Unheard(anyhow::Error),
}

impl Refused {
    /// Whether nothing of this host is known to any cluster. Where an earlier attempt may have gone through, a refusal of
    /// this one says nothing of that.
    pub(super) fn leaves_nothing(&self, earlier: Option<&Record>) -> bool {
        match self {
            Refused::AsSuch(_) => true,
            Refused::Clearly(_) => earlier.is_none(),
            Refused::Unheard(_) => false,
        }
    }
}

impl From<Refused> for anyhow::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Clearly(error) | Refused::AsSuch(error) | Refused::Unheard(error) => error,
        }
    }
}

/// Returns the record of a member. `listener` is what others will reach at the advertised address.
pub(super) async fn ask(wish: &Wish, record: &Record, listener: &TcpListener) -> Result<Record, Refused> {
    let nonce = hex(&rand::random::<[u8; 16]>());
    let request = request(wish, record, &nonce).map_err(Refused::Clearly)?;
    let call = async {
        let (channel, _root) =
            dial_pinned(&wish.address, wish.token.ca).await.map_err(|error| Refused::Clearly(error.into()))?;
        let mut client = MembershipClient::new(channel);
        client.join(request).await.map_err(|status| refused(&wish.address, &status))
    };
    let granted = tokio::select! {
        granted = call => granted?.into_inner(),
        Err(error) = probe::answer(listener, &nonce) => {
            return Err(Refused::Unheard(anyhow::Error::new(error).context("cannot listen for the managers' check")));
        }
    };
    record.granted(granted).map_err(Refused::Unheard)
}

fn request(wish: &Wish, record: &Record, nonce: &str) -> anyhow::Result<v1::JoinRequest> {
    Ok(v1::JoinRequest {
        protocol: JOIN_PROTOCOL,
        secret: wish.token.secret.to_string(),
        node_id: record.node_id.to_string(),
        public_key: NodeKey::from_pem(&record.identity.key)?.public_der(),
        advertise_addr: record.advertise_addr.clone(),
        probe: nonce.to_owned(),
        availability: v1::Availability::from(wish.availability).into(),
        hostname: hostname(),
        muster_version: env!("CARGO_PKG_VERSION").to_owned(),
        log_format: LOG_FORMAT.into(),
    })
}

fn refused(address: &str, status: &Status) -> Refused {
    let error = anyhow::anyhow!("{}", said(status));
    if status.metadata().contains_key(NOT_AS_SUCH_METADATA) {
        return Refused::AsSuch(error);
    }
    if status.metadata().contains_key(UNTOUCHED_METADATA) {
        return Refused::Clearly(error);
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled | Code::Internal => {
            Refused::Unheard(error.context(format!(
                "the answer of {address} was lost; repeat the command, which goes on where this one stopped"
            )))
        }
        _ => Refused::Clearly(error),
    }
}

/// The address to listen on before anything is asked of anybody.
pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; end what uses it, or name another with `muster daemon --listen-addr`")
    })
}

#[cfg(test)]
mod tests {
    use muster_proto::trust::Digest;

    use super::*;

    #[test]
    fn what_an_earlier_attempt_began_is_kept_until_its_identity_is_refused() {
        let wish = Wish {
            token: JoinToken { ca: Digest([0; 32]), secret: "0".repeat(25).parse().expect("a secret") },
            address: "10.0.0.1:7377".to_owned(),
            availability: Availability::Active,
        };
        let earlier = newcomer(None, &wish, "10.0.0.2:7377".to_owned()).expect("a key");
        let again = newcomer(Some(&earlier), &wish, "10.0.0.2:7377".to_owned()).expect("the same");
        assert_eq!((again.node_id, &again.identity.key), (earlier.node_id, &earlier.identity.key));

        let mut for_good = Status::permission_denied("joined with another key");
        for_good.metadata_mut().insert(NOT_AS_SUCH_METADATA, "1".parse().expect("ASCII"));
        let unreachable = Refused::Clearly(anyhow::anyhow!("cannot connect"));
        let refusals = [
            (unreachable, true, false),
            (refused("b", &Status::resource_exhausted("wait")), true, false),
            (refused("b", &Status::permission_denied("no such token")), true, false),
            (refused("b", &for_good), true, true),
            (refused("b", &Status::unavailable("lost")), false, false),
        ];
        for (refused, first, repeated) in refusals {
            let erased = (refused.leaves_nothing(None), refused.leaves_nothing(Some(&earlier)));
            assert_eq!(erased, (first, repeated), "{refused:?}");
        }
    }
}
