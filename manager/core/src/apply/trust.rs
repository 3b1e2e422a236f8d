//! Commands about join tokens and the root certificate.

use muster_proto::{
    id::TokenId,
    node::Role,
    trust::{CertificateAuthority, Token},
    version::Version,
};

use super::{Stamp, Touched};
use crate::{command::OtherTokens, rejection::Rejection, state::State};

/// Of both roles together. What ended is dropped before they are counted.
const TOKENS_MAX: usize = 128;

pub(super) fn create_token(
    state: &mut State,
    stamp: Stamp,
    token: &Token,
    others: OtherTokens,
) -> Result<Version, Rejection> {
    let keeps = |held: &Token| match others {
        OtherTokens::Kept => !held.is_spent(stamp.at),
        OtherTokens::Voided => held.role != token.role && !held.is_spent(stamp.at),
    };
    let kept = state.tokens.values().filter(|held| keeps(held)).count();
    if kept >= TOKENS_MAX {
        return Err(Rejection::TooManyTokens(kept));
    }
    state.tokens.retain(|_, held| keeps(held));
    state.tokens.insert(token.id, token.clone());
    Ok(stamp.version())
}

/// Uses the token up by one. Its role is the one that the host gets.
pub(super) fn redeem(state: &mut State, stamp: Stamp, id: TokenId) -> Result<Role, Rejection> {
    let token = state.tokens.get_mut(&id).ok_or(Rejection::TokenUnknown)?;
    let role = token.role;
    if token.expires_at.is_some_and(|end| end <= stamp.at) {
        return Err(Rejection::TokenExpired { role });
    }
    token.uses_left = match token.uses_left {
        Some(0) => return Err(Rejection::TokenUsedUp { role }),
        Some(left) => Some(left - 1),
        None => None,
    };
    Ok(role)
}

/// The present root becomes the previous one, whatever the command says of that. Tokens carry the digest of a root, so
/// those there are lead nowhere any more.
pub(super) fn rotate_root(
    state: &mut State,
    stamp: Stamp,
    next: &CertificateAuthority,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let present = state.authority.as_ref().ok_or(Rejection::NoAuthority)?;
    if present.previous.is_some() {
        return Err(Rejection::RotationUnderWay);
    }
    let previous = Some(present.root.clone());
    state.authority = Some(CertificateAuthority { previous, ..next.clone() });
    state.tokens.clear();
    touched.orders = true;
    Ok(stamp.version())
}

pub(super) fn finish_rotation(state: &mut State, stamp: Stamp, touched: &mut Touched) -> Result<Version, Rejection> {
    let root = state.authority.as_ref().ok_or(Rejection::NoAuthority)?.root.digest;
    if let Some(behind) = state.nodes().find(|node| !node.has_shown(root)) {
        return Err(Rejection::NotCertified(behind.id));
    }
    if let Some(authority) = state.authority.as_mut() {
        authority.previous = None;
        authority.crossed_pem = None;
        touched.orders = true;
    }
    Ok(stamp.version())
}
