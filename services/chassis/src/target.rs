//! Where a peer can be reached, as an operator writes it.
//!
//! One name may stand for many addresses, and a list for many names: calls are spread over all of
//! them. What a name stands for is asked again and again, so that replicas may come and go.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// The longest list that is taken.
const MOST: usize = 64;

/// Where a peer can be reached: `host:port`, `dns:///host:port` or `unix:/path`, or several of them
/// with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(Vec<Target>);

/// One of [`Targets`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A port of a host. A name is looked up again and again, and may have many addresses.
    Host {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket of this machine.
    Unix(PathBuf),
}

impl Targets {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.iter()
    }
}

impl IntoIterator for Targets {
    type Item = Target;
    type IntoIter = std::vec::IntoIter<Target>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<SocketAddr> for Targets {
    fn from(address: SocketAddr) -> Self {
        Self(vec![Target::Host { host: address.ip().to_string(), port: address.port() }])
    }
}

impl FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let targets = text.split(',').map(|one| one.trim().parse()).collect::<Result<Vec<_>, _>>()?;
        if targets.len() > MOST {
            return Err(format!("at most {MOST} targets can be listed"));
        }
        Ok(Self(targets))
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{target}")?;
        }
        Ok(())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no target; write `host:port`, `dns:///host:port` or `unix:/path`");
        if let Some(path) = text.strip_prefix("unix:") {
            // As gRPC has it, the path may stand behind an empty authority.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') && path.len() > 1 { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let text = text.strip_prefix("dns:///").or_else(|| text.strip_prefix("dns:")).unwrap_or(text);
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= 253
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let fits = match bracketed {
            Some(address) => address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
            None => is_name(host),
        };
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if fits { Ok(Self::Host { host: bracketed.unwrap_or(host).to_owned(), port }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_port_of_a_host_or_a_socket_of_this_machine() {
        for (text, read) in [
            ("127.0.0.1:50052", "127.0.0.1:50052"),
            ("localhost:1", "localhost:1"),
            ("[::1]:7", "[::1]:7"),
            ("dns:///task.errand.svc:50052", "task.errand.svc:50052"),
            ("unix:/run/task.sock", "unix:/run/task.sock"),
            ("unix:///run/task.sock", "unix:/run/task.sock"),
            ("a:1, b:2,unix:/c", "a:1,b:2,unix:/c"),
        ] {
            assert_eq!(text.parse::<Targets>().unwrap().to_string(), read);
        }
        for text in [
            "",
            ",",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "http://a:1",
            "unix:",
            "unix:a",
            "::1:1",
            "[a]:1",
            "a b:1",
            "a:1,",
        ] {
            assert!(text.parse::<Targets>().is_err(), "{text}");
        }
        assert!(vec!["a:1"; 65].join(",").parse::<Targets>().is_err());
    }
}
