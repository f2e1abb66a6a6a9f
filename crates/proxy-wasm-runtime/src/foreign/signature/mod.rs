//! `sign`, `verify_signature`: arguments and results are messages of protobuf, names and texts are Envoy's.

mod keys;
mod messages;

use prost::Message;
use rsa::Pkcs1v15Sign;
use sha1::Sha1;
use sha2::{
    Sha224, Sha256, Sha384, Sha512,
    digest::{Digest, const_oid::AssociatedOid},
};

use super::PIECE;
use crate::{abi::Status, error::Failure, vm::Clock};
use keys::{PrivateKey, PublicKey};
use messages::{SignArguments, SignResult, VerifySignatureArguments, VerifySignatureResult};

/// What keys sign.
struct Digested {
    digest: Vec<u8>,
    /// How RSA pads a digest of this function.
    padding: Pkcs1v15Sign,
}

/// A key that can't be used is told in the result, as everything besides malformed arguments and none or two keys.
pub(super) fn sign(arguments: &[u8], clock: &Clock) -> Result<Vec<u8>, Failure> {
    let arguments = SignArguments::decode(arguments).map_err(|_| Status::BadArgument)?;
    let key = one_of(&arguments.private_key, &arguments.private_key_pem, PrivateKey::from_der, PrivateKey::from_pem)?;
    let signature = digest(&arguments.hash_function, &arguments.text, clock)?.and_then(|digested| {
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
pub(super) fn verify(arguments: &[u8], clock: &Clock) -> Result<Vec<u8>, Failure> {
    let arguments = VerifySignatureArguments::decode(arguments).map_err(|_| Status::BadArgument)?;
    let key = one_of(&arguments.public_key, &arguments.public_key_pem, PublicKey::from_der, PublicKey::from_pem)?;
    let verified = digest(&arguments.hash_function, &arguments.text, clock)?.and_then(|digested| {
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

/// # Errors
/// In the result when there is no such function; else when the time is over.
fn digest(function: &str, text: &[u8], clock: &Clock) -> Result<Result<Digested, String>, Failure> {
    Ok(Ok(match function.to_ascii_lowercase().as_str() {
        "sha1" => digest_by::<Sha1>(text, clock)?,
        "sha224" => digest_by::<Sha224>(text, clock)?,
        "sha256" => digest_by::<Sha256>(text, clock)?,
        "sha384" => digest_by::<Sha384>(text, clock)?,
        "sha512" => digest_by::<Sha512>(text, clock)?,
        _ => return Ok(Err(format!("{function} is not supported."))),
    }))
}

fn digest_by<D: Digest + AssociatedOid>(text: &[u8], clock: &Clock) -> Result<Digested, Failure> {
    let mut hasher = D::new();
    for piece in text.chunks(PIECE) {
        clock.check()?;
        hasher.update(piece);
    }
    Ok(Digested { digest: hasher.finalize().to_vec(), padding: Pkcs1v15Sign::new::<D>() })
}
