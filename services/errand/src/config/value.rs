//! How the text of one setting becomes a value, and how a value is shown.
//!
//! Every source (flag, variable, file) gives text; each kind of value is read in one place, so the
//! same words mean the same everywhere. Knows no setting by name.

use std::{path::PathBuf, time::Duration};

use errand_chassis::{listener::Address, target::Targets};
use errand_chat::domain::rules::Rules;
use errand_gateway::{AllowedOrigin, Network};
use jiff::SignedDuration;

/// A value that a setting may have.
pub(crate) trait Value: Sized {
    /// What is expected, for the sentence "`x` is not …".
    const EXPECTED: &'static str;

    /// Reads the text; nothing when it is not one.
    fn read(text: &str) -> Option<Self>;

    /// As it stands in a configuration file.
    fn show(&self) -> toml::Value;
}

/// A number of bytes, written `4MiB`, `64KiB` or `1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

/// A value of another crate with the text that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quoted<T> {
    pub(super) text: String,
    /// What the text says.
    pub(crate) value: T,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For eyes.
    Pretty,
    /// For machines, a line each.
    Json,
}

const UNITS: [(&str, usize); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

// === impl Value ===

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> toml::Value {
        (*self).into()
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number above zero";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }

    fn show(&self) -> toml::Value {
        i64::from(*self).into()
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&self) -> toml::Value {
        self.clone().into()
    }
}

impl Value for Rules {
    const EXPECTED: &'static str = "a list of tool=auto, tool=approve or tool=deny, with commas between";

    fn read(text: &str) -> Option<Self> {
        errand_chat::rules(text).ok()
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn show(&self) -> toml::Value {
        self.display().to_string().into()
    }
}

impl Value for Address {
    const EXPECTED: &'static str = "an address and port such as 127.0.0.1:8080, or unix:/path";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Value for Targets {
    const EXPECTED: &'static str = "host:port, dns:///host:port or unix:/path, or several with commas between";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time of at most an hour such as 10s or 500ms";

    fn read(text: &str) -> Option<Self> {
        let signed: SignedDuration = text.parse().ok()?;
        Duration::try_from(signed).ok().filter(|duration| *duration <= Duration::from_secs(3600))
    }

    fn show(&self) -> toml::Value {
        SignedDuration::try_from(*self).map(|signed| format!("{signed:#}")).unwrap_or_default().into()
    }
}

impl Value for Bytes {
    const EXPECTED: &'static str = "a size above zero such as 4MiB or 64KiB";

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let bytes = number.trim_end().parse::<usize>().ok()?.checked_mul(unit)?;
        (bytes > 0).then_some(Self(bytes))
    }

    fn show(&self) -> toml::Value {
        let unit = UNITS.iter().rev().filter(|(_, unit)| self.0.is_multiple_of(*unit)).max_by_key(|(_, unit)| unit);
        match unit {
            Some((name, unit)) => format!("{}{name}", self.0 / unit).into(),
            None => self.0.to_string().into(),
        }
    }
}

impl Value for Quoted<AllowedOrigin> {
    const EXPECTED: &'static str = "an origin such as https://app.example.com or http://localhost:*, or *";

    fn read(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), value: text.parse().ok()? })
    }

    fn show(&self) -> toml::Value {
        self.text.clone().into()
    }
}

impl Value for Quoted<Network> {
    const EXPECTED: &'static str = "an address or a block such as 10.0.0.0/8";

    fn read(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), value: text.parse().ok()? })
    }

    fn show(&self) -> toml::Value {
        self.text.clone().into()
    }
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "auto, pretty or json";

    fn read(text: &str) -> Option<Self> {
        [Self::Auto, Self::Pretty, Self::Json].into_iter().find(|format| format.as_str() == text)
    }

    fn show(&self) -> toml::Value {
        self.as_str().into()
    }
}

impl LogFormat {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pretty => "pretty",
            Self::Json => "json",
        }
    }
}

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::read).collect()
    }

    fn show(&self) -> toml::Value {
        self.iter().map(Value::show).collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<T: Value>(text: &str) -> Option<String> {
        T::read(text).map(|value| value.show().to_string())
    }

    #[test]
    fn sizes_are_read_with_their_unit_and_shown_with_the_largest() {
        assert_eq!(Bytes::read("4MiB"), Some(Bytes(4 << 20)));
        assert_eq!(Bytes::read("64 KiB"), Some(Bytes(64 << 10)));
        assert_eq!(Bytes::read("1000"), Some(Bytes(1000)));
        assert_eq!(shown::<Bytes>("1024").as_deref(), Some("\"1KiB\""));
        assert_eq!(shown::<Bytes>("4194304B").as_deref(), Some("\"4MiB\""));
        for wrong in ["", "0", "4MB", "-1", "99999999999999999999GiB", "MiB"] {
            assert_eq!(Bytes::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_and_shown_with_their_unit() {
        assert_eq!(Duration::read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(Duration::read("0s"), Some(Duration::ZERO));
        assert_eq!(shown::<Duration>("90s").as_deref(), Some("\"1m 30s\""));
        assert_eq!(Duration::read("1m 30s"), Some(Duration::from_secs(90)));
        for wrong in ["", "10", "-1s", "2h", "ten"] {
            assert_eq!(Duration::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_of_the_edge_are_shown_as_they_were_written() {
        assert_eq!(shown::<Quoted<Network>>("10.0.0.0/8").as_deref(), Some("\"10.0.0.0/8\""));
        assert_eq!(shown::<Quoted<AllowedOrigin>>("http://localhost:*").as_deref(), Some("\"http://localhost:*\""));
        assert_eq!(Quoted::<Network>::read("10.0.0.0/33"), None);
        assert_eq!(Quoted::<AllowedOrigin>::read("app.example.com"), None);
    }

    #[test]
    fn a_list_is_split_at_commas_and_may_be_empty() {
        assert_eq!(Vec::<u32>::read("1, 2,3"), Some(vec![1, 2, 3]));
        assert_eq!(Vec::<u32>::read(""), Some(vec![]));
        assert_eq!(Vec::<u32>::read("1,x"), None);
    }
}
