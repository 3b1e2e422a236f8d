//! What the applied entries touched, gathered for whoever looks later: the leader loop and the dispatcher.
//!
//! Level-triggered: a watcher that sleeps through a thousand entries wakes once and finds them as one set of places to
//! look at. Nothing queues, so nothing can overflow.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use muster_core::apply::Touched;
use tokio::sync::Notify;

/// Where to look since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The state was replaced by a snapshot, or this is a watcher's first look.
    Everything,
    Some(Touched),
}

#[derive(Debug)]
struct Gathered {
    changed: Mutex<Option<Changed>>,
    wake: Notify,
}

/// The state machine's end.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    watchers: Mutex<Vec<Weak<Gathered>>>,
}

/// One reader's own account of what changed.
#[derive(Debug)]
pub struct Watcher(Arc<Gathered>);

impl Publisher {
    pub(crate) fn watch(&self) -> Watcher {
        let gathered = Arc::new(Gathered { changed: Mutex::new(Some(Changed::Everything)), wake: Notify::new() });
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(&gathered));
        Watcher(gathered)
    }

    pub(crate) fn publish(&self, changed: &Changed) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in watchers.iter().filter_map(Weak::upgrade) {
            let mut held = watcher.changed.lock().unwrap_or_else(PoisonError::into_inner);
            *held = Some(merge(held.take(), changed));
            watcher.wake.notify_one();
        }
    }
}

impl Watcher {
    /// What changed since the last call; at the first call, everything. Cancel-safe: what was not returned is kept.
    pub async fn changed(&self) -> Changed {
        loop {
            let taken = self.0.changed.lock().unwrap_or_else(PoisonError::into_inner).take();
            match taken {
                Some(changed) => return changed,
                None => self.0.wake.notified().await,
            }
        }
    }
}

fn merge(held: Option<Changed>, new: &Changed) -> Changed {
    match (held, new) {
        (None, new) => new.clone(),
        (Some(Changed::Everything), _) | (_, Changed::Everything) => Changed::Everything,
        (Some(Changed::Some(mut held)), Changed::Some(new)) => {
            merge_touched(&mut held, new);
            Changed::Some(held)
        }
    }
}

pub(crate) fn merge_touched(held: &mut Touched, new: &Touched) {
    // Taken apart, so that a field added later is not forgotten here.
    let Touched { services, nodes, capacity, ingress, orders } = new;
    held.services.extend(services);
    held.nodes.extend(nodes);
    held.capacity |= capacity;
    held.ingress |= ingress;
    held.orders |= orders;
}

#[cfg(test)]
mod tests {
    use muster_proto::id::ServiceId;

    use super::*;

    fn service(bits: u128) -> Changed {
        Changed::Some(Touched { services: [ServiceId::from_bits(bits)].into(), ..Touched::default() })
    }

    #[tokio::test]
    async fn a_late_watcher_finds_one_merged_set() {
        let publisher = Publisher::default();
        let watcher = publisher.watch();
        assert_eq!(watcher.changed().await, Changed::Everything);
        publisher.publish(&service(1));
        publisher.publish(&service(2));
        let both = [ServiceId::from_bits(1), ServiceId::from_bits(2)].into();
        assert_eq!(watcher.changed().await, Changed::Some(Touched { services: both, ..Touched::default() }));
    }

    #[tokio::test]
    async fn a_replaced_state_outweighs_single_touches() {
        let publisher = Publisher::default();
        let watcher = publisher.watch();
        watcher.changed().await;
        publisher.publish(&service(1));
        publisher.publish(&Changed::Everything);
        publisher.publish(&service(2));
        assert_eq!(watcher.changed().await, Changed::Everything);
    }
}
