//! `envoy.config.core.v3.GrpcService`, by which a guest may name the server of a gRPC call.

use std::time::Duration;

use prost::Message;

use super::pairs::Headers;

/// Whom a gRPC call asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GrpcService {
    /// An upstream's name.
    pub name: Vec<u8>,
    /// What the server is to be called, if not by its name.
    pub authority: Option<Vec<u8>>,
    /// The connection is encrypted; `None` when it is not said.
    pub is_encrypted: Option<bool>,
    /// For the whole call.
    pub timeout: Option<Duration>,
    /// What goes along with each call.
    pub metadata: Headers,
}

impl GrpcService {
    /// Reads the protobuf message; bytes that are none are an upstream's name, as in Envoy. A name may begin with `http://`,
    /// `grpc://`, `https://` or `grpcs://`.
    pub fn parse(bytes: &[u8]) -> Self {
        match wire::GrpcService::decode(bytes) {
            Ok(message) if message.target.is_some() => message.into(),
            _ => Self::named(bytes),
        }
    }

    fn named(name: &[u8]) -> Self {
        for (scheme, is_encrypted) in [("https://", true), ("grpcs://", true), ("http://", false), ("grpc://", false)] {
            if let Some(name) = name.strip_prefix(scheme.as_bytes()) {
                return Self { name: name.to_vec(), is_encrypted: Some(is_encrypted), ..Self::default() };
            }
        }
        Self { name: name.to_vec(), ..Self::default() }
    }
}

impl From<wire::GrpcService> for GrpcService {
    fn from(message: wire::GrpcService) -> Self {
        let service = match message.target {
            Some(wire::Target::EnvoyGrpc(envoy)) => Self {
                authority: Some(envoy.authority.into_bytes()).filter(|authority| !authority.is_empty()),
                ..Self::named(envoy.cluster_name.as_bytes())
            },
            Some(wire::Target::GoogleGrpc(google)) => {
                let named =
                    Self::named(google.target_uri.strip_prefix("dns:///").unwrap_or(&google.target_uri).as_bytes());
                let credentials = google.channel_credentials.and_then(|credentials| credentials.credentials);
                let is_encrypted = credentials.map(|kind| !matches!(kind, wire::Credentials::Local(_)));
                Self { is_encrypted: is_encrypted.or(named.is_encrypted), ..named }
            }
            None => Self::default(),
        };
        let timeout = message.timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        let header = |header: wire::HeaderValue| {
            let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
            (header.key.into_bytes(), value)
        };
        let metadata = message.initial_metadata.into_iter().map(header).collect();
        Self { timeout: timeout.filter(|timeout| !timeout.is_zero()), metadata, ..service }
    }
}

/// The fields that are used, as they are numbered.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct GrpcService {
        #[prost(oneof = "Target", tags = "1, 2")]
        pub target: Option<Target>,
        #[prost(message, optional, tag = "3")]
        pub timeout: Option<Duration>,
        #[prost(message, repeated, tag = "5")]
        pub initial_metadata: Vec<HeaderValue>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Target {
        #[prost(message, tag = "1")]
        EnvoyGrpc(EnvoyGrpc),
        #[prost(message, tag = "2")]
        GoogleGrpc(GoogleGrpc),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct EnvoyGrpc {
        #[prost(string, tag = "1")]
        pub cluster_name: String,
        #[prost(string, tag = "2")]
        pub authority: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct GoogleGrpc {
        #[prost(string, tag = "1")]
        pub target_uri: String,
        #[prost(message, optional, tag = "2")]
        pub channel_credentials: Option<ChannelCredentials>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ChannelCredentials {
        #[prost(oneof = "Credentials", tags = "1, 2, 3")]
        pub credentials: Option<Credentials>,
    }

    /// What is inside of them is nginx's to say.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Credentials {
        #[prost(bytes, tag = "1")]
        Ssl(Vec<u8>),
        #[prost(bytes, tag = "2")]
        GoogleDefault(Vec<u8>),
        #[prost(bytes, tag = "3")]
        Local(Vec<u8>),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct HeaderValue {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(string, tag = "2")]
        pub value: String,
        #[prost(bytes = "vec", tag = "3")]
        pub raw_value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Duration {
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }

    impl TryFrom<Duration> for std::time::Duration {
        type Error = std::num::TryFromIntError;

        fn try_from(duration: Duration) -> Result<Self, Self::Error> {
            let nanos = u64::try_from(duration.nanos)?;
            Ok(Self::from_secs(duration.seconds.try_into()?).saturating_add(Self::from_nanos(nanos)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_message_are_a_name() {
        for name in ["127.0.0.1:50051", "localhost", "an_upstream", "unix:/tmp/socket", ""] {
            let service = GrpcService::parse(name.as_bytes());
            assert_eq!(service, GrpcService { name: name.into(), ..GrpcService::default() });
        }
    }

    #[test]
    fn a_scheme_says_whether_the_connection_is_encrypted() {
        for (text, is_encrypted) in
            [("grpcs://a:1", true), ("https://a:1", true), ("grpc://a:1", false), ("http://a:1", false)]
        {
            let service = GrpcService::parse(text.as_bytes());
            assert_eq!((&service.name[..], service.is_encrypted), (&b"a:1"[..], Some(is_encrypted)));
        }
    }

    #[test]
    fn a_message_for_envoys_own_client_names_a_cluster() {
        let message = wire::GrpcService {
            target: Some(wire::Target::EnvoyGrpc(wire::EnvoyGrpc { cluster_name: "a".into(), authority: "b".into() })),
            timeout: Some(wire::Duration { seconds: 1, nanos: 500_000_000 }),
            initial_metadata: vec![wire::HeaderValue { key: "k".into(), value: "v".into(), raw_value: vec![] }],
        };
        let expected = GrpcService {
            name: b"a".to_vec(),
            authority: Some(b"b".to_vec()),
            is_encrypted: None,
            timeout: Some(Duration::from_millis(1500)),
            metadata: vec![(b"k".to_vec(), b"v".to_vec())],
        };
        assert_eq!(GrpcService::parse(&message.encode_to_vec()), expected);
    }

    #[test]
    fn a_message_for_googles_client_says_whether_the_connection_is_encrypted() {
        let parse = |credentials| {
            let google = wire::GoogleGrpc {
                target_uri: "dns:///a:1".into(),
                channel_credentials: Some(wire::ChannelCredentials { credentials }),
            };
            let target = Some(wire::Target::GoogleGrpc(google));
            GrpcService::parse(&wire::GrpcService { target, ..Default::default() }.encode_to_vec())
        };
        assert_eq!(parse(Some(wire::Credentials::Ssl(vec![]))).is_encrypted, Some(true));
        assert_eq!(parse(Some(wire::Credentials::Local(vec![]))).is_encrypted, Some(false));
        assert_eq!(parse(None), GrpcService { name: b"a:1".to_vec(), ..GrpcService::default() });
    }

    #[test]
    fn a_negative_timeout_is_none() {
        let message = wire::GrpcService {
            target: Some(wire::Target::EnvoyGrpc(wire::EnvoyGrpc::default())),
            timeout: Some(wire::Duration { seconds: -1, nanos: 0 }),
            ..Default::default()
        };
        assert_eq!(GrpcService::parse(&message.encode_to_vec()).timeout, None);
    }
}
