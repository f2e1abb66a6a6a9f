//! Keys: RSA, with padding of PKCS #1 v1.5, and ECDSA with the curves of NIST.

use p256::{
    ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier},
    pkcs8::{DecodePrivateKey, DecodePublicKey, der::pem},
};
use rsa::pkcs1::DecodeRsaPrivateKey;

use super::Digested;

/// The most bytes that a key may have. A private key of RSA with 8192 bits, the most that a public one may have, has fewer. How
/// long a key takes grows with the third power of its size, and no deadline ends a hostcall.
const LARGEST_KEY: usize = 5 << 10;

pub(super) enum PublicKey {
    Rsa(rsa::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// A `SubjectPublicKeyInfo`.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        rsa::PublicKey::from_public_key_der(der)
            .map(Self::Rsa)
            .or_else(|_| p256::ecdsa::VerifyingKey::from_public_key_der(der).map(Self::P256))
            .or_else(|_| p384::ecdsa::VerifyingKey::from_public_key_der(der).map(Self::P384))
            .or_else(|_| p521::ecdsa::VerifyingKey::from_public_key_der(der).map(Self::P521))
            .ok()
    }

    pub fn from_pem(text: &str) -> Option<Self> {
        Self::from_der(&block(text, "PUBLIC KEY")?)
    }

    pub fn verify(&self, digested: Digested, signature: &[u8]) -> bool {
        let Digested { digest, padding } = digested;
        match self {
            Self::Rsa(key) => key.verify(padding, &digest, signature).is_ok(),
            Self::P256(key) => p256::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::P521(key) => p521::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
        }
    }
}

pub(super) enum PrivateKey {
    Rsa(rsa::PrivateKey),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl PrivateKey {
    /// A `PrivateKeyInfo` of PKCS #8.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        if der.len() > LARGEST_KEY {
            return None;
        }
        rsa::PrivateKey::from_pkcs8_der(der)
            .map(Self::Rsa)
            .or_else(|_| p256::ecdsa::SigningKey::from_pkcs8_der(der).map(Self::P256))
            .or_else(|_| p384::ecdsa::SigningKey::from_pkcs8_der(der).map(Self::P384))
            .or_else(|_| p521::ecdsa::SigningKey::from_pkcs8_der(der).map(Self::P521))
            .ok()
    }

    /// PKCS #8, or the older formats of RSA and EC keys.
    pub fn from_pem(text: &str) -> Option<Self> {
        if let Some(der) = block(text, "PRIVATE KEY") {
            return Self::from_der(&der);
        }
        if let Some(der) = block(text, "RSA PRIVATE KEY") {
            return rsa::PrivateKey::from_pkcs1_der(&der).map(Self::Rsa).ok();
        }
        let der = block(text, "EC PRIVATE KEY")?;
        p256::SecretKey::from_sec1_der(&der)
            .map(|key| Self::P256(key.into()))
            .or_else(|_| p384::SecretKey::from_sec1_der(&der).map(|key| Self::P384(key.into())))
            .or_else(|_| p521::SecretKey::from_sec1_der(&der).map(|key| Self::P521(key.into())))
            .ok()
    }

    pub fn sign(&self, digested: Digested) -> Option<Vec<u8>> {
        let Digested { digest, padding } = digested;
        match self {
            Self::Rsa(key) => key.sign(padding, &digest).ok(),
            Self::P256(key) => key.sign_prehash(&digest).ok().map(|s: p256::ecdsa::DerSignature| s.as_bytes().to_vec()),
            Self::P384(key) => key.sign_prehash(&digest).ok().map(|s: p384::ecdsa::DerSignature| s.as_bytes().to_vec()),
            Self::P521(key) => key.sign_prehash(&digest).ok().map(|s: p521::ecdsa::DerSignature| s.as_bytes().to_vec()),
        }
    }
}

/// The first block of the PEM text that has this label, unless it is too large for a key; what stands around it is ignored.
fn block(text: &str, label: &str) -> Option<Vec<u8>> {
    let end = format!("-----END {label}-----");
    let from = text.find(&format!("-----BEGIN {label}-----"))?;
    let to = from + text.get(from..)?.find(&end)? + end.len();
    let (_, der) = pem::decode_vec(text.get(from..to)?.as_bytes()).ok()?;
    (der.len() <= LARGEST_KEY).then_some(der)
}
