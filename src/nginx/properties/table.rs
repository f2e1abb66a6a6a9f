//! The attributes that plugins can read, which are Envoy's: pure data. docs/properties.md and the lookup come from here.

/// How a value is encoded for the guest: the types of Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    Int,
    Uint,
    Bool,
    Timestamp,
    Duration,
    Map,
}

/// What of nginx an attribute is.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Of the plugin: the host answers it before the stream is asked.
    Plugin,
    /// A variable; not found when it is empty.
    Variable(&'static str),
    /// A variable, or this when it is empty.
    VariableOr(&'static str, &'static str),
    /// The last element of a variable that has one for each upstream that was asked.
    Last(&'static str),
    /// How many elements such a variable has.
    Count(&'static str),
    /// The address that is the last element of a variable.
    LastAddress(&'static str),
    /// Its port.
    LastPort(&'static str),
    /// Variables with an IP address and a port; the first alone for a unix socket.
    Address(&'static str, &'static str),
    /// A request header, or a pseudo-header, as plugins left it; not found when it is empty.
    Header(&'static str),
    /// How long nginx takes the request's body to be.
    BodySize,
    /// gRPC's status, a header or a trailer of the response.
    GrpcStatus,
    /// `:path` up to its query.
    UrlPath,
    /// The HTTP version as Envoy writes it.
    Protocol,
    /// When the request began.
    StartTime,
    /// The time since then.
    Elapsed,
    /// The response's status, once there is one.
    Status,
    /// Where the response comes from.
    CodeDetails,
    /// All headers, by name; the values of a repeated one are joined with commas.
    Headers(Headers),
    /// The sum of the lengths of their names and values.
    HeadersSize(Headers),
    /// Of the certificate that the client presented.
    ClientCertificate(Certificate),
    /// What APISIX says.
    Apisix(&'static str),
    /// Always the same.
    Constant(i64),
}

/// The header maps that attributes show.
#[derive(Clone, Copy, Debug)]
pub enum Headers {
    Request,
    Response,
    Trailers,
}

/// What attributes show of a certificate.
#[derive(Clone, Copy, Debug)]
pub enum Certificate {
    /// Whether there is one.
    Presented,
    /// The first alternative name that is a host's.
    DnsName,
    /// The first alternative name that is a URI.
    Uri,
    /// SHA-256 of its DER form, in hexadecimal digits.
    Digest,
}

/// One attribute.
#[derive(Debug)]
pub struct Attribute {
    /// Its segments separated by dots, for people.
    pub name: &'static str,
    /// Its segments separated by NUL, as a guest gives them.
    pub path: &'static [u8],
    pub ty: Type,
    pub source: Source,
    /// What a user should know besides.
    pub note: &'static str,
}

/// A row: name, type, source, note.
macro_rules! attributes {
    ($($name:literal $ty:ident $source:ident $(($($argument:expr),*))? $note:literal;)*) => {
        /// All attributes, in alphabetical order.
        pub const ATTRIBUTES: &[Attribute] = &[$(Attribute {
            name: $name,
            path: const { &separated::<{ $name.len() }>($name) },
            ty: Type::$ty,
            source: Source::$source $(($($argument),*))?,
            note: $note,
        }),*];
    };
}

/// A dotted name as a path.
const fn separated<const SIZE: usize>(name: &str) -> [u8; SIZE] {
    let mut path = [0; SIZE];
    let mut at = 0;
    while at < SIZE {
        let byte = name.as_bytes()[at];
        path[at] = if byte == b'.' { 0 } else { byte };
        at += 1;
    }
    path
}

attributes! {
    "apisix.consumer_name" String Apisix("consumer_name") "not in Envoy";
    "apisix.route_id" String Apisix("route_id") "not in Envoy";
    "apisix.service_id" String Apisix("service_id") "not in Envoy";
    "apisix.service_name" String Apisix("service_name") "not in Envoy";
    "cluster_name" String Apisix("cluster_name") "the upstream's id, else its name";
    "connection.dns_san_peer_certificate" String ClientCertificate(Certificate::DnsName) "the first one";
    "connection.id" Uint Variable("connection") "";
    "connection.mtls" Bool ClientCertificate(Certificate::Presented) "true when the client presented a certificate, also one that was not accepted";
    "connection.peer_certificate" String Variable("ssl_client_escaped_cert") "PEM, URL-encoded";
    "connection.requested_server_name" String Variable("ssl_server_name") "SNI";
    "connection.sha256_peer_certificate_digest" String ClientCertificate(Certificate::Digest) "hexadecimal";
    "connection.subject_peer_certificate" String Variable("ssl_client_s_dn") "";
    "connection.tls_version" String Variable("ssl_protocol") "`TLSv1.3`";
    "connection.uri_san_peer_certificate" String ClientCertificate(Certificate::Uri) "the first one";
    "connection_id" Uint Variable("connection") "the same as `connection.id`";
    "destination.address" String Address("server_addr", "server_port") "where the client connected to, with port: `10.0.0.1:80`, `[::1]:80`, `unix:/path`";
    "destination.port" Int Variable("server_port") "none for a unix socket";
    "listener_direction" Int Constant(1) "inbound";
    "node.id" String Apisix("node_id") "the id of the APISIX instance";
    "plugin_name" String Plugin "what the plugin was loaded as; in every context";
    "plugin_root_id" String Plugin "the same";
    "plugin_vm_id" String Plugin "the option `vm_id`; in every context";
    "request.duration" Duration Elapsed "until now";
    "request.headers" Map Headers(Headers::Request) "`request.headers.NAME` is one of them, in any case. Repeated ones are joined with commas";
    "request.headers_bytes" Int HeadersSize(Headers::Request) "names and values, as Envoy counts";
    "request.host" String Header(":authority") "by which nginx routes, with its port";
    "request.id" String Header("x-request-id") "";
    "request.method" String Header(":method") "";
    "request.path" String Header(":path") "with query; not decoded";
    "request.protocol" String Protocol "`HTTP/1.0`, `HTTP/1.1`, `HTTP/2`, `HTTP/3`";
    "request.query" String VariableOr("args", "") "without `?`";
    "request.referer" String Header("referer") "";
    "request.scheme" String Variable("scheme") "";
    "request.size" Int BodySize "of the body, whatever plugins made of its headers; 0 without one. Known once it was read, when the client does not tell";
    "request.time" Timestamp StartTime "nginx knows milliseconds";
    "request.total_size" Int Variable("request_length") "what was read so far, head and body";
    "request.url_path" String UrlPath "without query; not decoded";
    "request.useragent" String Header("user-agent") "";
    "response.backend_latency" Duration Last("upstream_response_time") "of the last upstream; complete in `proxy_on_log`";
    "response.code" Int Status "from the response's headers on";
    "response.code_details" String CodeDetails "the details of a plugin's local reply, or `via_upstream`";
    "response.grpc_status" Int GrpcStatus "";
    "response.headers" Map Headers(Headers::Response) "as `request.headers`";
    "response.headers_bytes" Int HeadersSize(Headers::Response) "names and values, as Envoy counts";
    "response.size" Int Variable("body_bytes_sent") "of the body, as far as it was sent; complete in `proxy_on_log`";
    "response.total_size" Int Variable("bytes_sent") "head and body, as far as they were sent; complete in `proxy_on_log`";
    "response.trailers" Map Headers(Headers::Trailers) "as `request.headers`";
    "route_name" String Apisix("route_name") "the route's name, else its id";
    "source.address" String Address("remote_addr", "remote_port") "the client with its port, after `real_ip`: `10.0.0.1:4711`, `[::1]:4711`, `unix:`";
    "source.port" Int Variable("remote_port") "none for a unix socket";
    "upstream.address" String LastAddress("upstream_addr") "of the last upstream, with its port";
    "upstream.cx_pool_ready_duration" Duration Last("upstream_connect_time") "of the last upstream";
    "upstream.port" Int LastPort("upstream_addr") "of the last upstream";
    "upstream.request_attempt_count" Uint Count("upstream_addr") "";
    "virtual_host_name" String Variable("server_name") "";
    "xds.cluster_name" String Apisix("cluster_name") "the same as `cluster_name`";
    "xds.listener_direction" Int Constant(1) "the same as `listener_direction`";
    "xds.node.id" String Apisix("node_id") "the same as `node.id`";
    "xds.route_name" String Apisix("route_name") "the same as `route_name`";
    "xds.virtual_host_name" String Variable("server_name") "the same as `virtual_host_name`";
}

/// The attribute that a path names, and for one header of a map the header's name.
pub fn find(path: &[u8]) -> Option<(&'static Attribute, Option<&[u8]>)> {
    if let Some(attribute) = at(path) {
        return Some((attribute, None));
    }
    let end = memchr::memrchr(0, path)?;
    let map = at(&path[..end]).filter(|attribute| attribute.ty == Type::Map)?;
    Some((map, Some(&path[end + 1..])))
}

fn at(path: &[u8]) -> Option<&'static Attribute> {
    let mut slot = first_slot(path);
    // There are empty slots.
    while let Some(attribute) = ATTRIBUTES.get(usize::from(SLOTS[slot])) {
        if attribute.path == path {
            return Some(attribute);
        }
        slot = (slot + 1) % SLOTS.len();
    }
    None
}

/// A hash table of the attributes' indices: most names that are looked up are variables, which end at an empty slot.
static SLOTS: [u8; 256] = {
    const EMPTY: u8 = u8::MAX;
    assert!(ATTRIBUTES.len() < 128);
    let mut slots = [EMPTY; 256];
    let mut index = 0;
    while index < ATTRIBUTES.len() {
        let mut slot = first_slot(ATTRIBUTES[index].path);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = index as u8;
        index += 1;
    }
    slots
};

/// Where the search for a path begins: of its length and of three bytes that tell names apart.
const fn first_slot(path: &[u8]) -> usize {
    match path {
        [] => 0,
        [first, ..] => {
            let (middle, last) = (path[path.len() / 2], path[path.len() - 1]);
            let sum = path.len() * 31 + *first as usize * 7 + middle as usize * 13 + last as usize * 3;
            sum % 256
        }
    }
}
