//! How often somebody may call: so many at once, and so many again in a period, by the contracts' rate classes.
//!
//! What an operator can choose. What is left of it for whom is kept in [`buckets`].

pub(crate) mod buckets;

use std::{fmt, str::FromStr, time::Duration};

use errand_proto::contract::RateClass;

/// The classes, in the order in which they are shown.
const CLASSES: [RateClass; 4] = [RateClass::Read, RateClass::Write, RateClass::Credential, RateClass::Assistant];

/// The periods that can be written.
const PERIODS: [(&str, Duration); 3] =
    [("s", Duration::from_secs(1)), ("m", Duration::from_secs(60)), ("h", Duration::from_secs(3600))];

/// More than this of anything is no limit any more.
const MOST: u32 = 1_000_000;

/// So many calls in a period, written `100/s`, or `100/s:2000` where more may come at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    period: Duration,
    at_once: u32,
}

/// A quota for each rate class, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas([Option<Quota>; CLASSES.len()]);

/// The limits of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Those of each user, wherever they call from.
    pub user: Quotas,
    /// Those of each network address, whoever calls from there. This machine has none.
    pub address: Quotas,
    /// How many edges share the calls, so that each allows its part.
    pub replicas: u32,
}

// === impl Rates ===

impl Default for Rates {
    fn default() -> Self {
        Self { user: Quotas::of_a_user(), address: Quotas::of_an_address(), replicas: 1 }
    }
}

// === impl Quotas ===

impl Quotas {
    /// What a user may do: far more than a program that does its work needs.
    #[must_use]
    pub const fn of_a_user() -> Self {
        Self([per_second(200, 2000), per_second(100, 1000), per_second(2, 50), per_second(10, 200)])
    }

    /// What may come from one address, behind which a whole office may be. Passwords have limits of their own
    /// for each account, in the auth service.
    #[must_use]
    pub const fn of_an_address() -> Self {
        Self([per_second(1000, 5000), per_second(500, 5000), per_second(20, 200), per_second(50, 500)])
    }

    /// No limits at all.
    #[must_use]
    pub const fn none() -> Self {
        Self([None; CLASSES.len()])
    }

    /// These, but for what a text says: `read=100/s:200, write=off`; `off` alone takes all away.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn with(mut self, text: &str) -> Result<Self, String> {
        if text.trim() == "off" {
            return Ok(Self::none());
        }
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, quota) =
                item.split_once('=').ok_or_else(|| format!("`{item}` names no class: write read=100/s:200"))?;
            let place = CLASSES.into_iter().position(|class| word(class) == name.trim());
            let place =
                place.ok_or_else(|| format!("`{name}` is no class; there are {}", CLASSES.map(word).join(", ")))?;
            self.0[place] = if quota.trim() == "off" { None } else { Some(quota.parse()?) };
        }
        Ok(self)
    }

    /// Those that there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RateClass, Quota)> {
        CLASSES.into_iter().zip(self.0).filter_map(|(class, quota)| Some((class, quota?)))
    }
}

impl fmt::Display for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::none() {
            return f.write_str("off");
        }
        for (place, (class, quota)) in CLASSES.into_iter().zip(self.0).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match quota {
                Some(quota) => write!(f, "{comma}{}={quota}", word(class))?,
                None => write!(f, "{comma}{}=off", word(class))?,
            }
        }
        Ok(())
    }
}

const fn per_second(count: u32, at_once: u32) -> Option<Quota> {
    Some(Quota { count, period: Duration::from_secs(1), at_once })
}

/// A class as settings and errors name it.
pub(crate) const fn word(class: RateClass) -> &'static str {
    match class {
        RateClass::Read => "read",
        RateClass::Write => "write",
        RateClass::Credential => "credential",
        RateClass::Assistant => "assistant",
    }
}

// === impl Quota ===

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no limit; write 100/s, 100/m:200 or off, with numbers from 1 to {MOST}");
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|number| plain && (1..=MOST).contains(number)).ok_or_else(wrong)
        };
        let (rate, at_once) =
            text.trim().split_once(':').map_or((text.trim(), None), |(rate, rest)| (rate, Some(rest)));
        let (count, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let (_, period) = PERIODS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let count = number(count)?;
        Ok(Self { count, period, at_once: at_once.map_or(Ok(count), number)? })
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = PERIODS.into_iter().find(|(_, period)| *period == self.period).map_or("s", |(name, _)| name);
        write!(f, "{}/{unit}:{}", self.count, self.at_once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_not_named_keeps_its_limit() {
        let quotas = Quotas::of_a_user().with("read=5/m, write = off").unwrap();
        assert_eq!(quotas.to_string(), "read=5/m:5, write=off, credential=2/s:50, assistant=10/s:200");
        assert_eq!(Quotas::of_a_user().with("").unwrap(), Quotas::of_a_user());
        assert_eq!(Quotas::of_a_user().with(" off ").unwrap(), Quotas::none());
        assert_eq!(Quotas::none().to_string(), "off");
        let shown = Quotas::of_an_address().to_string();
        assert_eq!(Quotas::none().with(&shown).unwrap(), Quotas::of_an_address(), "what is shown can be written");
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "read",
            "read=",
            "read=5",
            "read=5/d",
            "read=0/s",
            "read=5/s:0",
            "read=-5/s",
            "read=+5/s",
            "read=5/s:",
            "read=1000001/s",
            "reads=5/s",
            "off, off",
            "read=5/s:6:7",
        ] {
            assert!(Quotas::none().with(text).is_err(), "{text}");
        }
    }
}
