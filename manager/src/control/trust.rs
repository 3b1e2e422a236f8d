//! Join tokens, and the rotation of the root certificate.

use std::time::Duration;

use muster_core::{
    command::{Command, OtherTokens},
    rejection::Rejection,
    state::State,
};
use muster_proto::{node::Role, time::Timestamp, trust::Token, v1};
use tonic::Status;

use super::{Control, Known, lookup, request::Asked};
use crate::{ca::JoinToken, founding, status};

const TTL_MIN: Duration = Duration::from_secs(1);
/// A year: a token that lasts longer had better be the standing one.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Which token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The one there is, or a first one.
    Standing,
    /// A new one in the place of all there are.
    Rotated,
    /// One more, that ends by itself.
    Passing { ttl: Option<Duration>, uses: Option<u32> },
}

impl Control {
    pub(super) async fn join_token(
        &self,
        asked: Asked,
        request: v1::GetJoinTokenRequest,
    ) -> Result<v1::GetJoinTokenResponse, Status> {
        let role = match v1::Role::try_from(request.role).unwrap_or(v1::Role::Unspecified) {
            v1::Role::Unspecified => {
                return Err(Status::invalid_argument("no role was named; ask for a token of a worker or of a manager"));
            }
            v1::Role::Worker => Role::Worker,
            v1::Role::Manager => Role::Manager,
        };
        let kind = kind(&request)?;
        self.up_to_date().await?;
        if let Known::New(held) = self.look(asked.first(), |state| Ok(standing(state, role)))?
            && (kind != Kind::Standing || held.is_none())
        {
            let token = self.make(asked, role, kind);
            let others = if kind == Kind::Rotated { OtherTokens::Voided } else { OtherTokens::Kept };
            self.propose(asked.first(), Command::CreateToken { token, others }).await?;
        }
        self.handle.replica.read(|state| {
            // Another request may have voided it in the meantime.
            let token = state.tokens().get(&asked.token()).cloned().or_else(|| standing(state, role));
            let token = token.ok_or_else(|| status::rejected(&Rejection::TokenUnknown))?;
            self.show(state, &token)
        })
    }

    fn make(&self, asked: Asked, role: Role, kind: Kind) -> Token {
        let (key, now) = (&self.handle.config.cluster_key, self.handle.outside.clock.now());
        let standing = founding::standing_token(key, asked.token(), role, now);
        match kind {
            Kind::Standing | Kind::Rotated => standing,
            Kind::Passing { ttl, uses } => Token { expires_at: ttl.map(|ttl| now + ttl), uses_left: uses, ..standing },
        }
    }

    fn show(&self, state: &State, token: &Token) -> Result<v1::GetJoinTokenResponse, Status> {
        let authority = state.authority().ok_or_else(|| status::rejected(&Rejection::NoAuthority))?;
        let secret = self.handle.config.cluster_key.join_secret(token.id);
        Ok(v1::GetJoinTokenResponse {
            token: JoinToken { ca: authority.root.digest, secret }.to_string(),
            expires_at: token.expires_at.map(Timestamp::millis),
            uses_left: token.uses_left,
            managers: state.managers().map(|manager| manager.address.clone()).collect(),
        })
    }

    pub(super) async fn rotate(
        &self,
        asked: Asked,
        request: v1::RotateCaRequest,
    ) -> Result<v1::RotateCaResponse, Status> {
        self.up_to_date().await?;
        if request.begin
            && let Known::New((cluster, present)) = self.look(asked.first(), |state| {
                let cluster = state.cluster().ok_or_else(|| status::rejected(&Rejection::NoCluster))?;
                let present = state.authority().cloned().ok_or_else(|| status::rejected(&Rejection::NoAuthority))?;
                Ok((cluster.id, present))
            })?
        {
            let now = self.handle.outside.clock.now();
            let authority = founding::succeed(&present, &self.handle.config.cluster_key, cluster, now);
            let authority = authority.map_err(|error| status::unsigned(&error))?;
            self.propose(asked.first(), Command::RotateRoot { authority }).await?;
        }
        self.handle.replica.read(progress)
    }
}

fn kind(request: &v1::GetJoinTokenRequest) -> Result<Kind, Status> {
    let ttl = request.ttl_ms.map(Duration::from_millis);
    match (request.rotate, ttl, request.uses) {
        (false, None, None) => Ok(Kind::Standing),
        (true, None, None) => Ok(Kind::Rotated),
        (true, ..) => Err(Status::invalid_argument(
            "a rotation makes the standing token, which does not end by itself; leave out --ttl and --uses, or --rotate",
        )),
        (false, Some(ttl), _) if !(TTL_MIN..=TTL_MAX).contains(&ttl) => {
            Err(Status::invalid_argument("a token lasts between a second and a year; ask for a time between them"))
        }
        (false, _, Some(uses)) if !(1..=Token::USES_MAX).contains(&uses) => Err(Status::invalid_argument(format!(
            "a token is good for 1 to {} joins; ask for a number between them, or for the standing token",
            Token::USES_MAX
        ))),
        (false, ttl, uses) => Ok(Kind::Passing { ttl, uses }),
    }
}

/// The newest, where a rotation under way has not voided an earlier one yet.
fn standing(state: &State, role: Role) -> Option<Token> {
    let standing = state.tokens().values().filter(|token| token.role == role && token.is_standing());
    standing.max_by_key(|token| (token.created_at, token.id)).cloned()
}

/// How far the rotation is.
fn progress(state: &State) -> Result<v1::RotateCaResponse, Status> {
    let authority = state.authority().ok_or_else(|| status::rejected(&Rejection::NoAuthority))?;
    let behind = state.nodes().filter(|node| !node.has_shown(authority.root.digest));
    let rotating = authority.previous.is_some();
    Ok(v1::RotateCaResponse {
        rotating,
        root_digest: authority.root.digest.to_string(),
        previous_digest: authority.previous.as_ref().map(|root| root.digest.to_string()),
        waiting_for: behind.filter(|_| rotating).map(lookup::name).collect(),
        nodes: u32::try_from(state.nodes().count()).unwrap_or(u32::MAX),
        roots_pem: authority.roots().map(|root| root.certificate_pem.clone()).collect(),
    })
}
