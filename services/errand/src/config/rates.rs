//! How often users and network addresses may call, as it is written in a setting.
//!
//! A text changes only the classes that it names; what is shown has all of them.

use errand_gateway::Quotas;

use super::value::Value;

/// The limits of each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfUser(pub(crate) Quotas);

/// The limits of each network address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfAddress(pub(crate) Quotas);

impl Default for OfUser {
    fn default() -> Self {
        Self(Quotas::of_a_user())
    }
}

impl Value for OfUser {
    const EXPECTED: &'static str = EXPECTED;

    fn read(text: &str) -> Option<Self> {
        Quotas::of_a_user().with(text).ok().map(Self)
    }

    fn show(&self) -> toml::Value {
        self.0.to_string().into()
    }
}

impl Default for OfAddress {
    fn default() -> Self {
        Self(Quotas::of_an_address())
    }
}

impl Value for OfAddress {
    const EXPECTED: &'static str = EXPECTED;

    fn read(text: &str) -> Option<Self> {
        Quotas::of_an_address().with(text).ok().map(Self)
    }

    fn show(&self) -> toml::Value {
        self.0.to_string().into()
    }
}

const EXPECTED: &str =
    "off, or limits such as read=100/s:500, write=off, of the classes read, write, credential and assistant";
