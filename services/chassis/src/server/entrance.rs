//! Who comes in: as many as there is room for, and of one network address only so many.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tracing::warn;

use super::serve::Limits;
use crate::{
    address::{self, Network},
    listener::{Accepted, Listener},
};

/// Who comes in, and what is told of those who do not.
pub(super) struct Entrance {
    listener: Listener,
    slots: Arc<Semaphore>,
    addresses: Option<Addresses>,
    /// Those that were turned away since the log was told.
    refused: usize,
    told: Option<Instant>,
}

/// The room of a connection, until it is dropped.
pub(super) struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_address: Option<Counted>,
}

/// How many connections each address has. It holds those only that have one.
struct Addresses {
    most: usize,
    exempt: Arc<[Network]>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address, for as long as it lives.
struct Counted {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

// === impl Entrance ===

impl Entrance {
    pub(super) fn new(listener: Listener, limits: &Limits) -> Self {
        let addresses = limits.of_an_address.map(|most| Addresses::new(most, limits.exempt.clone()));
        Self { listener, slots: Arc::new(Semaphore::new(limits.connections)), addresses, refused: 0, told: None }
    }

    /// The next connection; nothing when there is no room for it. Whatever happens here must not end the
    /// listener: a connection that is gone already, or file descriptors that have run out.
    pub(super) async fn accept(&mut self) -> Option<(Accepted, Slot)> {
        match self.listener.accept().await {
            Ok(accepted) => match self.slot(accepted.network_peer()) {
                Ok(slot) => Some((accepted, slot)),
                Err(why) => {
                    self.tell(why);
                    None
                }
            },
            Err(error) if is_of_the_peer(&error) => None,
            Err(error) => {
                self.tell(&error.to_string());
                sleep(Duration::from_millis(20)).await;
                None
            }
        }
    }

    /// Room for a connection from an address, or from this machine's file system.
    fn slot(&self, peer: Option<IpAddr>) -> Result<Slot, &'static str> {
        let full = "as many connections as are allowed are open";
        let of_all = self.slots.clone().try_acquire_owned().map_err(|_| full)?;
        let of_address = match (&self.addresses, peer) {
            (Some(addresses), Some(peer)) => {
                addresses.count(peer).map_err(|()| "an address has as many connections as it may")?
            }
            _ => None,
        };
        Ok(Slot { _of_all: of_all, _of_address: of_address })
    }

    /// Tells the log that somebody was turned away, once a second at most.
    fn tell(&mut self, why: &str) {
        self.refused += 1;
        if self.told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1)) {
            warn!(why, refused = self.refused, "connections are turned away");
            (self.refused, self.told) = (0, Some(Instant::now()));
        }
    }
}

/// Whether only this one connection failed.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

// === impl Addresses ===

impl Addresses {
    fn new(most: usize, exempt: Arc<[Network]>) -> Self {
        Self { most, exempt, open: Arc::default() }
    }

    /// Counts one more, if it may be; nothing for who is not counted.
    fn count(&self, peer: IpAddr) -> Result<Option<Counted>, ()> {
        if self.exempt.iter().any(|network| network.contains(peer)) {
            return Ok(None);
        }
        let address = address::network(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return Err(());
        }
        *count += 1;
        Ok(Some(Counted { open: self.open.clone(), address }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_each() -> Addresses {
        Addresses::new(2, Arc::from(["192.0.2.9".parse().unwrap()]))
    }

    fn counted(addresses: &Addresses, peer: &str) -> Option<Counted> {
        addresses.count(peer.parse().unwrap()).expect("there is room")
    }

    #[test]
    fn r_097_an_address_has_so_many_connections_and_gets_another_when_one_ends() {
        let addresses = two_each();
        let first = counted(&addresses, "192.0.2.1");
        let second = counted(&addresses, "::ffff:192.0.2.1");
        assert!(addresses.count("192.0.2.1".parse().unwrap()).is_err());
        let _another = counted(&addresses, "192.0.2.2");
        drop(first);
        let third = counted(&addresses, "192.0.2.1");
        drop((second, third));
        assert_eq!(addresses.open.lock().unwrap().len(), 1, "who has no connection takes no room");
    }

    #[test]
    fn r_097_addresses_of_one_network_of_ipv6_count_together_and_a_proxy_does_not_count() {
        let addresses = two_each();
        let _both = [counted(&addresses, "2001:db8::1"), counted(&addresses, "2001:db8::2:1")];
        assert!(addresses.count("2001:db8::3".parse().unwrap()).is_err());
        assert!(counted(&addresses, "2001:db8:0:1::1").is_some());
        for _ in 0..9 {
            assert!(counted(&addresses, "192.0.2.9").is_none());
        }
    }
}
