//! How many connections there are: altogether, and of each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets connections in.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    slots: Arc<Semaphore>,
    /// Few, so that whoever opens too many connections is told so without costing much.
    refusals: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

/// Most connections at once that are only told that there are too many.
const REFUSALS_MAX: usize = 16;

#[derive(Debug)]
struct Addresses {
    max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _slot: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Addresses>,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is served.
    Admitted(Place),
    /// Its address has too many already; it is told so while this is kept.
    Refused(OwnedSemaphorePermit),
    /// The same, and too many are being told that already.
    Dropped,
}

impl Gate {
    pub(super) fn new(connections_max: usize, per_address_max: usize) -> Self {
        let addresses = Addresses { max: per_address_max, counts: Mutex::default() };
        Self {
            slots: Arc::new(Semaphore::new(connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            addresses: Arc::new(addresses),
        }
    }

    /// Decides about a connection; waits while there are too many altogether.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue up.
    pub(super) async fn enter(&self, peer: IpAddr) -> Entry {
        let address = group(peer);
        if !self.addresses.add(address) {
            return Arc::clone(&self.refusals).try_acquire_owned().map_or(Entry::Dropped, Entry::Refused);
        }
        let waiting = Waiting { address, addresses: Arc::clone(&self.addresses), is_over: false };
        match Arc::clone(&self.slots).acquire_owned().await {
            Ok(slot) => Entry::Admitted(waiting.admit(slot)),
            // Nobody closes the semaphore.
            Err(_) => Entry::Dropped,
        }
    }
}

/// An address that was counted and has no place yet.
struct Waiting {
    address: IpAddr,
    addresses: Arc<Addresses>,
    is_over: bool,
}

impl Waiting {
    fn admit(mut self, slot: OwnedSemaphorePermit) -> Place {
        self.is_over = true;
        Place { _slot: slot, address: self.address, addresses: Arc::clone(&self.addresses) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            self.addresses.remove(self.address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.addresses.remove(self.address);
    }
}

impl Addresses {
    fn add(&self, address: IpAddr) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        let is_free = *count < self.max;
        *count += usize::from(is_free);
        is_free
    }

    fn remove(&self, address: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&address) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&address);
        }
    }
}

/// Returns what counts as one address: of IPv6 the network, since whoever has one address there has all of it.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_admitted(entry: &Entry) -> bool {
        matches!(entry, Entry::Admitted(_))
    }

    #[tokio::test]
    async fn an_address_has_so_many_places_and_others_have_theirs() {
        let gate = Gate::new(10, 2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let places = [gate.enter(one).await, gate.enter(one).await, gate.enter(other).await];
        assert!(places.iter().all(is_admitted));
        // The same address, as a socket for both families writes it.
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let refused = gate.enter(mapped).await;
        assert!(matches!(refused, Entry::Refused(_)));
        drop(places);
        assert!(is_admitted(&gate.enter(mapped).await));
        assert!(gate.addresses.counts.lock().unwrap().is_empty(), "addresses are remembered for ever");
    }

    #[tokio::test]
    async fn a_network_of_ipv6_counts_as_one_address() {
        let gate = Gate::new(10, 1);
        let _place = gate.enter("2001:db8::1".parse().unwrap()).await;
        assert!(!is_admitted(&gate.enter("2001:db8::ffff:2".parse().unwrap()).await));
        assert!(is_admitted(&gate.enter("2001:db8:0:1::1".parse().unwrap()).await));
    }

    #[tokio::test]
    async fn refusals_are_few() {
        let gate = Gate::new(10, 1);
        let address = "192.0.2.1".parse().unwrap();
        let _place = gate.enter(address).await;
        let mut refused = Vec::new();
        for _ in 0..REFUSALS_MAX {
            refused.push(gate.enter(address).await);
        }
        assert!(refused.iter().all(|entry| matches!(entry, Entry::Refused(_))));
        assert!(matches!(gate.enter(address).await, Entry::Dropped));
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_is_not_counted() {
        let gate = Gate::new(1, 2);
        let address = "192.0.2.1".parse().unwrap();
        let place = gate.enter(address).await;
        {
            let mut waiting = Box::pin(gate.enter(address));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        assert_eq!(gate.addresses.counts.lock().unwrap()[&address], 1);
        drop(place);
        assert!(is_admitted(&gate.enter(address).await));
    }
}
