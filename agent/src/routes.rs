//! The managers' ingress list, put together from a whole and the differences after it. Pure.

use std::collections::BTreeMap;

use muster_proto::{assignment::IngressService, id::ServiceId};
use serde::{Deserialize, Serialize};

/// As it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngressList {
    pub(crate) services: Vec<IngressService>,
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    services: BTreeMap<ServiceId, IngressService>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All there is: what is not named is gone.
    Complete,
    Difference,
}

impl Routes {
    /// The whole list after it; None when nothing changed.
    pub(crate) fn apply(
        &mut self,
        extent: Extent,
        changed: Vec<IngressService>,
        gone: &[ServiceId],
    ) -> Option<Vec<IngressService>> {
        if extent == Extent::Difference && changed.is_empty() && gone.is_empty() {
            return None;
        }
        if extent == Extent::Complete {
            self.services.clear();
        }
        for id in gone {
            self.services.remove(id);
        }
        self.services.extend(changed.into_iter().map(|service| (service.service_id, service)));
        Some(self.services.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(number: u128) -> IngressService {
        IngressService { service_id: ServiceId::from_bits(number), ports: Vec::new(), backends: Vec::new() }
    }

    #[test]
    fn differences_add_up_and_a_complete_list_replaces() {
        let mut routes = Routes::default();
        assert_eq!(routes.apply(Extent::Complete, vec![service(1)], &[]), Some(vec![service(1)]));
        let both = Some(vec![service(1), service(2)]);
        assert_eq!(routes.apply(Extent::Difference, vec![service(2)], &[]), both);
        assert_eq!(routes.apply(Extent::Difference, vec![], &[]), None);
        assert_eq!(routes.apply(Extent::Difference, vec![], &[ServiceId::from_bits(1)]), Some(vec![service(2)]));
        assert_eq!(routes.apply(Extent::Complete, vec![], &[]), Some(vec![]));
    }
}
