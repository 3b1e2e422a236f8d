//! From a token to a node.

use std::net::IpAddr;

use muster_core::{command::Command, rejection::Rejection, state::State};
use muster_proto::{
    node::NodeSpec,
    time::Timestamp,
    trust::{Digest, Token},
    v1,
};
use tonic::Status;

use super::{Membership, wish::Wish};
use crate::{ca, outside::Outside, reach, status};

impl Membership {
    pub(super) async fn admit(&self, request: v1::JoinRequest, from: Option<IpAddr>) -> Result<v1::Grant, Status> {
        let attempts = &self.handle.attempts;
        attempts.check(from)?;
        let wish = Wish::read(request, &self.handle.config.advertise_addr)?;
        self.up_to_date().await.map_err(status::untouched)?;
        let token = self.handle.replica.read(|state| find(state, &wish).cloned());
        let Some(token) = token else {
            attempts.failed(from);
            return Err(status::rejected(&Rejection::TokenUnknown));
        };
        let Outside { clock, network, .. } = &self.handle.outside;
        let (key, now) = (ca::digest_of(&wish.public_key), clock.now());
        self.handle.replica.read(|state| check(state, &wish, key, &token, now))?;
        reach::check(&**network, &wish.address, &wish.probe).await.map_err(|why| {
            Status::failed_precondition(format!(
                "{} cannot be reached from this manager ({why}); name one that others reach with --advertise-addr",
                wish.address
            ))
        })?;
        let prepared = self.prepare(token.role, wish.public_key)?;
        let command = Command::AdmitNode {
            id: wish.id,
            spec: NodeSpec { role: token.role, availability: wish.availability, ..NodeSpec::default() },
            address: wish.address,
            token: token.id,
            certificate: prepared.record.clone(),
            log_format: wish.log_format,
        };
        self.propose(command).await?;
        tracing::info!(node = %wish.id, hostname = wish.hostname, role = %token.role, "a node has joined");
        self.grant(wish.id, &prepared)
    }
}

/// The token with this secret. Every one is looked at, for as long as any: how long it takes tells nothing.
fn find<'a>(state: &'a State, wish: &Wish) -> Option<&'a Token> {
    let secret = wish.secret?;
    state.tokens().values().fold(None, |found, token| if secret.has_hash(&token.hash) { Some(token) } else { found })
}

/// What [`muster_core::apply`] would refuse, before the host is called back and a certificate signed; and what it
/// cannot know.
fn check(state: &State, wish: &Wish, key: Digest, token: &Token, now: Timestamp) -> Result<(), Status> {
    let refuse = |why: Rejection| Err(status::rejected(&why));
    if state.was_removed(wish.id) {
        return refuse(Rejection::NodeRemoved(wish.id));
    }
    let uses = state.log_format();
    if wish.log_format < uses {
        return refuse(Rejection::ReadsOlderLog { reads: wish.log_format, uses });
    }
    if let Some(node) = state.node(wish.id) {
        if node.certificate.as_ref().is_none_or(|held| held.key != key) {
            return refuse(Rejection::OtherKey(wish.id));
        }
        // The key proves nothing: it is public. Who repeats a join must have had the token for that role, and one that
        // is spent by now only as long as the node has not begun its life.
        let begun = node.description.is_some();
        if node.spec.role == token.role && node.address == wish.address && !(begun && token.is_spent(now)) {
            return Ok(());
        }
        return refuse(Rejection::NodeExists(wish.id));
    }
    if token.is_spent(now) {
        let Token { role, .. } = *token;
        return refuse(match token.uses_left {
            Some(0) => Rejection::TokenUsedUp { role },
            Some(_) | None => Rejection::TokenExpired { role },
        });
    }
    match state.nodes().find(|node| node.address == wish.address) {
        Some(other) => refuse(Rejection::AddressTaken { address: wish.address.clone(), node: other.id }),
        None => Ok(()),
    }
}
