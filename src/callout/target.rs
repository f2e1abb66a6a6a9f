use std::net::Ipv6Addr;

/// Where a callout goes: what nginx's `connect` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name, an IPv4 address, an IPv6 address in brackets, or `unix:` and a path.
    pub host: String,
    /// Missing for a unix socket, and where the scheme says it.
    pub port: Option<u16>,
}

impl Target {
    /// Reads `host`, `host:port` or `unix:path`; `None` when it is none of these.
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
                is_name(&name[..end]).then(|| name.split_at(end))?
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
        let is_address =
            self.host.starts_with('[') || self.is_unix() || self.host.parse::<std::net::Ipv4Addr>().is_ok();
        !is_address
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with("unix:")
    }
}

fn is_name(host: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
    !host.is_empty() && host.bytes().all(is_of_name)
}

fn number(port: &str) -> Option<u16> {
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten().filter(|port| *port != 0)
}
