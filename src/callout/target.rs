use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reserved::{is_reserved_address, is_reserved_name};

/// Where a callout goes: what nginx's `connect` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name, an IPv4 address, an IPv6 address in brackets, or `unix:` and a path.
    pub host: String,
    /// Missing for a unix socket, and where the scheme says it.
    pub port: Option<u16>,
}

impl Target {
    /// Reads `host`, `host:port` or `unix:path`; `None` when it is none of these. A host that other software than this takes
    /// for an IPv4 address, like `0x7f.1` or `127.0.0.01`, is none; a number without a port may be an upstream's id.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let name = str::from_utf8(name).ok()?;
        if let Some(path) = name.strip_prefix("unix:") {
            return (!path.is_empty()).then(|| Self { host: name.to_owned(), port: None });
        }
        let (host, port) = match name.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (&name[..address.len() + 2], port)
            }
            None => {
                let end = name.find(':').unwrap_or(name.len());
                let is_id = is_number(name);
                (is_id || is_name(&name[..end])).then(|| name.split_at(end))?
            }
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(number(port)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host: host.to_owned(), port })
    }

    /// Whether the host is a name, and no address of any kind.
    pub fn is_named(&self) -> bool {
        !self.is_unix() && self.address().is_none()
    }

    /// Whether a plugin may ask it only when its options say so: it is a unix socket, link-local, or a metadata service.
    pub fn is_reserved(&self) -> bool {
        self.is_unix() || self.address().map_or_else(|| is_reserved_name(&self.host), is_reserved_address)
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with("unix:")
    }
}

fn is_name(host: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
    let is_ambiguous = ends_in_number(host) && host.parse::<Ipv4Addr>().is_err();
    !host.is_empty() && host.bytes().all(is_of_name) && !is_ambiguous
}

/// Whether the last label is a number, in decimal or hexadecimal, as in the URL standard's "ends in a number checker".
fn ends_in_number(host: &str) -> bool {
    let label = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = label.strip_prefix("0x").or(label.strip_prefix("0X"));
    label.is_empty() || is_number(label) || digits.is_some_and(is_hexadecimal)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(port: &str) -> Option<u16> {
    is_number(port).then(|| port.parse().ok()).flatten().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Option<Target> {
        Target::parse(name.as_bytes())
    }

    #[test]
    fn a_host_that_is_read_as_an_address_in_more_than_one_way_is_none() {
        for name in [
            "0169.254.169.254",
            "169.254.169.0254:80",
            "169.254..",
            "...",
            "169.254.43518",
            "0xa9fea9fe",
            "0XA9FEA9FE:80",
            "0xa9.254.169.254",
            "a.0x",
            "example.1",
            "169.254.169.254.",
            "2852039166:80",
        ] {
            assert_eq!(target(name), None, "{name}");
        }
    }

    #[test]
    fn names_addresses_and_ids_are_told_apart() {
        for (name, is_named) in [
            ("example.com:80", true),
            ("a1", true),
            ("42", true),
            ("1.2.3.4:80", false),
            ("[::1]:80", false),
            ("unix:/a", false),
        ] {
            assert_eq!(target(name).map(|target| target.is_named()), Some(is_named), "{name}");
        }
    }

    #[test]
    fn unix_sockets_and_what_is_link_local_are_reserved() {
        for (name, is_reserved) in [
            ("unix:/run/docker.sock", true),
            ("169.254.169.254", true),
            ("[fe80::1]:80", true),
            ("[::ffff:169.254.169.254]:80", true),
            ("metadata.google.internal:80", true),
            ("127.0.0.1:80", false),
            ("[::1]:80", false),
            ("example.com", false),
        ] {
            assert_eq!(target(name).map(|target| target.is_reserved()), Some(is_reserved), "{name}");
        }
    }
}
