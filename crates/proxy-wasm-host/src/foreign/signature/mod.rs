//! `sign`, `verify_signature`: arguments and results are messages of protobuf, names and texts are Envoy's.

mod keys;
mod messages;

use prost::Message;
use rsa::Pkcs1v15Sign;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512, digest::Digest};

use crate::abi::Status;
use keys::{PrivateKey, PublicKey};
use messages::{SignArguments, SignResult, VerifySignatureArguments, VerifySignatureResult};

/// What keys sign.
struct Digested {
    digest: Vec<u8>,
    /// How RSA pads a digest of this function.
    padding: Pkcs1v15Sign,
}

/// A key that can't be used is told in the result, as everything besides malformed arguments and none or two keys.
pub(super) fn sign(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = SignArguments::decode(arguments).map_err(|_| Status::BadArgument)?;
    let key = one_of(&arguments.private_key, &arguments.private_key_pem, PrivateKey::from_der, PrivateKey::from_pem)?;
    let signature = digest(&arguments.hash_function, &arguments.text).and_then(|digested| {
        let key = key.ok_or("Invalid key type: private key required for signing operation.")?;
        key.sign(digested).ok_or_else(|| "Failed to create signature.".to_owned())
    });
    let result = match signature {
        Ok(signature) => SignResult { result: true, signature, error: String::new() },
        Err(error) => SignResult { result: false, signature: Vec::new(), error },
    };
    Ok(result.encode_to_vec())
}

/// As [`sign`]; a wrong signature is told in the result too.
pub(super) fn verify(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = VerifySignatureArguments::decode(arguments).map_err(|_| Status::BadArgument)?;
    let key = one_of(&arguments.public_key, &arguments.public_key_pem, PublicKey::from_der, PublicKey::from_pem)?;
    let verified = digest(&arguments.hash_function, &arguments.text).and_then(|digested| {
        let key = key.ok_or("Failed to initialize digest verify.")?;
        let verified = key.verify(digested, &arguments.signature);
        verified.then_some(()).ok_or_else(|| "Failed to verify digest. Error code: 0".to_owned())
    });
    let result = VerifySignatureResult { result: verified.is_ok(), error: verified.err().unwrap_or_default() };
    Ok(result.encode_to_vec())
}

/// The one key that is given; `None` when it is not one.
///
/// # Errors
/// When both or neither are given.
fn one_of<K>(
    der: &[u8],
    pem: &str,
    from_der: fn(&[u8]) -> Option<K>,
    from_pem: fn(&str) -> Option<K>,
) -> Result<Option<K>, Status> {
    match (der.is_empty(), pem.is_empty()) {
        (false, true) => Ok(from_der(der)),
        (true, false) => Ok(from_pem(pem)),
        _ => Err(Status::BadArgument),
    }
}

fn digest(function: &str, text: &[u8]) -> Result<Digested, String> {
    macro_rules! digested {
        ($digest:ty) => {
            Ok(Digested { digest: <$digest>::digest(text).to_vec(), padding: Pkcs1v15Sign::new::<$digest>() })
        };
    }
    match function.to_ascii_lowercase().as_str() {
        "sha1" => digested!(Sha1),
        "sha224" => digested!(Sha224),
        "sha256" => digested!(Sha256),
        "sha384" => digested!(Sha384),
        "sha512" => digested!(Sha512),
        _ => Err(format!("{function} is not supported.")),
    }
}
