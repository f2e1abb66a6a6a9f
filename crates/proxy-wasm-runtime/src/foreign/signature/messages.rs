//! Envoy's `verify_signature.proto` and `sign.proto`.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    pub hash_function: String,
    /// DER
    #[prost(bytes, tag = "2")]
    pub public_key: Vec<u8>,
    #[prost(bytes, tag = "3")]
    pub signature: Vec<u8>,
    #[prost(bytes, tag = "4")]
    pub text: Vec<u8>,
    #[prost(string, tag = "5")]
    pub public_key_pem: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    pub result: bool,
    #[prost(string, tag = "2")]
    pub error: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct SignArguments {
    #[prost(string, tag = "1")]
    pub hash_function: String,
    /// DER
    #[prost(bytes, tag = "2")]
    pub private_key: Vec<u8>,
    #[prost(bytes, tag = "3")]
    pub text: Vec<u8>,
    #[prost(string, tag = "4")]
    pub private_key_pem: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct SignResult {
    #[prost(bool, tag = "1")]
    pub result: bool,
    #[prost(bytes, tag = "2")]
    pub signature: Vec<u8>,
    #[prost(string, tag = "3")]
    pub error: String,
}
