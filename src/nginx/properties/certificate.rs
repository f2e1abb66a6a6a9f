//! The client's certificate.

use std::fmt::Write;

use proxy_wasm_runtime::abi::property::Value;
use sha2::{Digest, Sha256};
use x509_cert::{
    Certificate as X509,
    der::{Decode, pem},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{table::Certificate, text};
use crate::nginx::request::Request;

/// What the guest asks of the certificate that the client presented.
pub fn of_client<'a>(request: &'a Request, part: Certificate) -> Option<Value<'a>> {
    match part {
        Certificate::Presented => {
            Some(Value::Bool(text(request, "ssl_client_verify").is_some_and(|verify| verify != b"NONE")))
        }
        Certificate::Digest => Some(digest(&der(request)?)),
        Certificate::DnsName => alternative_name(&der(request)?, |name| match name {
            GeneralName::DnsName(name) => Some(name.as_bytes()),
            _ => None,
        }),
        Certificate::Uri => alternative_name(&der(request)?, |name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_bytes()),
            _ => None,
        }),
    }
}

fn der(request: &Request) -> Option<Vec<u8>> {
    let (_, der) = pem::decode_vec(text(request, "ssl_client_raw_cert")?).ok()?;
    Some(der)
}

fn digest(der: &[u8]) -> Value<'static> {
    let mut digits = String::new();
    for byte in Sha256::digest(der) {
        let _ = write!(digits, "{byte:02x}");
    }
    Value::from(digits.into_bytes())
}

/// The first alternative name that `choose` takes.
fn alternative_name(der: &[u8], choose: impl Fn(&GeneralName) -> Option<&[u8]>) -> Option<Value<'static>> {
    let certificate = X509::from_der(der).ok()?;
    let (_, names) = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()??;
    names.0.iter().find_map(choose).map(|name| Value::from(name.to_vec()))
}
