//! Where on the network a model can be: wherever the configuration says, this machine and private networks too, but not
//! where machines are told their own credentials. What is meant is said plainly, not in numbers that only look like an
//! address, and a name that leads elsewhere later is looked at each time.

use std::net::{IpAddr, Ipv6Addr};

/// Where a large cloud tells its machines about themselves over IPv6; over IPv4 such places are link-local.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

/// Whether a model can be at this address.
pub(super) fn can_be_at(address: IpAddr) -> bool {
    // An address of IPv4 in the clothes of IPv6 is that of IPv4.
    match address.to_canonical() {
        IpAddr::V4(address) => !(address.is_link_local() || address.is_multicast() || address.is_broadcast()),
        IpAddr::V6(address) => !(address.is_unicast_link_local() || address.is_multicast() || address == METADATA),
    }
}

/// Whether a model can be at this host, as far as its name says.
pub(super) fn can_be_called(host: &str) -> bool {
    host.parse().map_or_else(|_| !ends_in_a_number(host), can_be_at)
}

/// Whether resolvers may take a name for an address: `2130706433`, `127.1`, `0x7f.1` and `0177.0.0.1` are this machine.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()))
        || (!last.is_empty() && last.chars().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_125_a_model_is_where_the_configuration_says_but_not_where_machines_learn_their_secrets() {
        for host in ["api.openai.com", "localhost", "ollama", "127.0.0.1", "10.0.0.7", "192.168.1.9", "::1", "fd12::7"]
        {
            assert!(can_be_called(host), "{host}");
        }
        for host in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "224.0.0.1",
            "2130706433",
            "2852039166",
            "0xa9fea9fe",
            "0xa9.254.169.254",
            "127.1",
            "0251.0376.0251.0376",
            "169.254.169.254.",
            "metadata.0x7f",
        ] {
            assert!(!can_be_called(host), "{host}");
        }
    }
}
