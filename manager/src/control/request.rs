//! What makes a repeated request the same request: its id, and what is derived from it.
//!
//! A caller whose answer was lost asks again under the id it had. Each command that the request proposes carries an id
//! derived from it, which the state remembers with the outcome, and so do the objects that it makes: the repetition
//! finds its first outcome, wherever the first attempt stopped, and is told the same.

use muster_proto::id::{REQUEST_ID_METADATA, RequestId, ServiceId, TokenId};
use tonic::{Request, Status};

use crate::{ca, outside::Random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked(RequestId);

impl Asked {
    /// A caller that names no id never repeats itself.
    pub(super) fn of<T>(request: &Request<T>, random: &dyn Random) -> Result<Self, Status> {
        let Some(named) = request.metadata().get(REQUEST_ID_METADATA) else {
            return Ok(Self(RequestId::from_bits(random.wide_bits())));
        };
        named.to_str().ok().and_then(|text| text.parse().ok()).map(Self).ok_or_else(|| {
            Status::invalid_argument(format!(
                "the {REQUEST_ID_METADATA} of the call is no id; send 25 characters of 0-9 and a-z"
            ))
        })
    }

    /// The first command that it proposes.
    pub(super) fn first(self) -> RequestId {
        self.0
    }

    /// The second.
    pub(super) fn second(self) -> RequestId {
        RequestId::from_bits(self.derived(b"the second command"))
    }

    pub(super) fn service(self) -> ServiceId {
        ServiceId::from_bits(self.derived(b"a service"))
    }

    pub(super) fn token(self) -> TokenId {
        TokenId::from_bits(self.derived(b"a token"))
    }

    fn derived(self, purpose: &[u8]) -> u128 {
        let digest = ca::digest_of(&[&self.0.bits().to_be_bytes(), purpose].concat());
        u128::from_be_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::random::HostRandom;

    fn of(id: Option<&'static str>) -> Result<Asked, Status> {
        let mut request = Request::new(());
        if let Some(id) = id {
            request.metadata_mut().insert(REQUEST_ID_METADATA, id.parse().expect("ASCII"));
        }
        Asked::of(&request, &HostRandom)
    }

    #[test]
    fn the_same_id_leads_to_the_same_ids_and_each_to_another() {
        let id = "0000000000000000000000abc";
        let (asked, again) = (of(Some(id)).unwrap(), of(Some(id)).unwrap());
        assert_eq!(asked, again);
        assert_eq!(asked.first().to_string(), id);
        let all = [asked.first().bits(), asked.second().bits(), asked.service().bits(), asked.token().bits()];
        assert!((1..all.len()).all(|at| !all[..at].contains(&all[at])), "{all:?}");
        assert_ne!(of(None).unwrap(), of(None).unwrap());
        assert!(of(Some("short")).unwrap_err().message().contains("25 characters"));
    }
}
