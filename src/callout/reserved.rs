//! Servers that a plugin may ask only when the option `callout_upstreams` names them: what is there trusts whoever reaches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names under which clouds serve the credentials of a machine.
const METADATA_NAMES: [&str; 7] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Addresses for the same that are not link-local: of Alibaba, Oracle and Azure.
const METADATA_IPV4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// Of AWS, Google and Oracle.
const METADATA_IPV6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Whether a name is that of a metadata service.
pub fn is_reserved_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    METADATA_NAMES.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// Whether an address is link-local or that of a metadata service, in any of the forms in which IPv6 can carry IPv4.
pub fn is_reserved_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_reserved_v4(address),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || METADATA_IPV6.contains(&address)
                || carried(address).is_some_and(is_reserved_v4)
        }
    }
}

fn is_reserved_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA_IPV4.contains(&address)
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible or translated (RFC 4291, 6052, 7915, 8215), or the
/// router of 6to4 (RFC 3056).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let at = match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => 6,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => 6,
        [0x2002, ..] => 1,
        _ => return None,
    };
    let [high, low] = [address.segments()[at], address.segments()[at + 1]].map(u16::to_be_bytes);
    Some(Ipv4Addr::new(high[0], high[1], low[0], low[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(address: &str) -> bool {
        is_reserved_address(address.parse().unwrap())
    }

    #[test]
    fn link_local_and_metadata_addresses_are_reserved() {
        for address in [
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fe80::1",
            "febf:ffff::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
        ] {
            assert!(reserved(address), "{address}");
        }
        for address in
            ["169.253.255.255", "169.255.0.0", "127.0.0.1", "10.0.0.1", "::1", "fec0::1", "fd00::1", "2001:db8::1"]
        {
            assert!(!reserved(address), "{address}");
        }
    }

    #[test]
    fn a_reserved_ipv4_address_is_reserved_in_each_form_of_ipv6() {
        for address in [
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(reserved(address), "{address}");
        }
        for address in ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::a9fe:a9fe"] {
            assert!(!reserved(address), "{address}");
        }
    }

    #[test]
    fn names_of_metadata_services_are_reserved_in_any_case_and_with_a_dot() {
        for name in ["metadata", "Metadata.Google.Internal", "metadata.google.internal.", "instance-data"] {
            assert!(is_reserved_name(name), "{name}");
        }
        assert!(!is_reserved_name("metadata.example.com"));
    }
}
