//! The throttles of one process, by account and network address.
//!
//! Keys are hashed with a secret of the process, so that nobody can aim at another's key and no
//! address is kept.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::{
    domain::throttle::{Attempts, Budget, Throttled},
    error::Error,
};

/// What was tried how often.
#[derive(Debug)]
pub struct Throttles {
    hasher: RandomState,
    passwords: Mutex<Attempts>,
    sign_ups: Mutex<SignUps>,
}

#[derive(Debug)]
struct SignUps {
    by_email: Budget,
    by_address: Budget,
}

impl Throttles {
    /// Throttles that allow so many sign-ups a minute for one e-mail address and from one network
    /// address.
    #[must_use]
    pub fn new(sign_ups_by_email: u32, sign_ups_by_address: u32) -> Self {
        Self {
            hasher: RandomState::new(),
            passwords: Mutex::default(),
            sign_ups: Mutex::new(SignUps {
                by_email: Budget::new(sign_ups_by_email),
                by_address: Budget::new(sign_ups_by_address),
            }),
        }
    }

    /// Whether a password of this account, which need not exist, may be tried from this address.
    pub(super) fn check(&self, email_key: &str, address: IpAddr, now: Timestamp) -> Result<(), Error> {
        let key = self.hasher.hash_one((email_key, network(address)));
        Ok(lock(&self.passwords).check(key, now)?)
    }

    /// Takes down how a try ended. When this fails, nothing may be told about that.
    pub(super) fn settle(
        &self,
        email_key: &str,
        address: IpAddr,
        succeeded: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let key = self.hasher.hash_one((email_key, network(address)));
        Ok(lock(&self.passwords).settle(key, succeeded, now)?)
    }

    /// Takes one sign-up.
    pub(super) fn sign_up(&self, email_key: &str, address: IpAddr, now: Timestamp) -> Result<(), Error> {
        let mut sign_ups = lock(&self.sign_ups);
        sign_ups.by_address.take(self.hasher.hash_one(network(address)), now)?;
        Ok(sign_ups.by_email.take(self.hasher.hash_one(email_key), now)?)
    }

    /// Forgets a sign-up that was taken and that failed for a reason of ours: who tries again, as we say, is not
    /// counted twice.
    pub(super) fn sign_up_failed(&self, email_key: &str, address: IpAddr) {
        let mut sign_ups = lock(&self.sign_ups);
        sign_ups.by_address.give_back(self.hasher.hash_one(network(address)));
        sign_ups.by_email.give_back(self.hasher.hash_one(email_key));
    }
}

impl From<Throttled> for Error {
    fn from(throttled: Throttled) -> Self {
        Error::TooManyAttempts { wait: throttled.wait }
    }
}

/// Whoever has one IPv6 address has the 2^64 around it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_an_ipv6_network_share_a_throttle_and_mapped_addresses_are_ipv4() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }

    #[test]
    fn r_006_sign_ups_are_counted_by_both_addresses() {
        let throttles = Throttles::new(5, 20);
        let now = Timestamp::UNIX_EPOCH;
        let from = |last: u8| IpAddr::from([192, 0, 2, last]);
        for last in 0..5 {
            assert!(throttles.sign_up("ada@example.com", from(last), now).is_ok());
        }
        assert!(throttles.sign_up("ada@example.com", from(9), now).is_err());
        for number in 0..20 {
            assert!(throttles.sign_up(&format!("{number}@example.com"), from(100), now).is_ok());
        }
        assert!(throttles.sign_up("x@example.com", from(100), now).is_err());
    }

    #[test]
    fn a_sign_up_that_failed_for_a_reason_of_ours_is_not_counted() {
        let throttles = Throttles::new(1, 1);
        let (now, from) = (Timestamp::UNIX_EPOCH, IpAddr::from([192, 0, 2, 1]));
        for _ in 0..5 {
            assert!(throttles.sign_up("ada@example.com", from, now).is_ok());
            throttles.sign_up_failed("ada@example.com", from);
        }
        assert!(throttles.sign_up("ada@example.com", from, now).is_ok());
        assert!(throttles.sign_up("ada@example.com", from, now).is_err());
    }
}
