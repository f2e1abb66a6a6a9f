//! A client of gRPC that is not ours: it makes one call and writes what the application of a client would see of it.
//!
//! ```text
//! grpc-client unary|streaming ORIGIN PATH MESSAGE
//! ```
//!
//! ORIGIN is as `http://127.0.0.1:80`, PATH as `/test.Echo/Unary`. `message TEXT` is a message, `status CODE TEXT` the status as tonic
//! decodes it, `metadata NAME: VALUE` what the status has with it, for names that begin with `x-`.

#![forbid(unsafe_code)]

#[path = "../codec.rs"]
mod codec;

use bytes::Bytes;
use codec::BytesCodec;
use hyper::http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::KeyAndValueRef;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, origin, path, message] = &arguments[..] else {
        return Err("grpc-client takes unary or streaming, an origin, a path and a message".into());
    };
    let mut client = Grpc::new(Endpoint::from_shared(origin.clone())?.connect().await?);
    client.ready().await?;
    let request = Request::new(Bytes::from(message.clone()));
    let path: PathAndQuery = path.parse()?;
    let outcome = match kind.as_str() {
        "unary" => client.unary(request, path, BytesCodec).await.map(|response| tell(response.get_ref())),
        "streaming" => stream(&mut client, request, path).await,
        _ => return Err(format!("{kind} is neither unary nor streaming").into()),
    };
    let status = outcome.err().unwrap_or_else(|| Status::new(Code::Ok, ""));
    let blank = if status.message().is_empty() { "" } else { " " };
    println!("status {}{blank}{}", i32::from(status.code()), status.message());
    for pair in status.metadata().iter() {
        if let KeyAndValueRef::Ascii(name, value) = pair
            && name.as_str().starts_with("x-")
        {
            println!("metadata {name}: {}", String::from_utf8_lossy(value.as_encoded_bytes()));
        }
    }
    Ok(())
}

async fn stream(
    client: &mut Grpc<tonic::transport::Channel>,
    request: Request<Bytes>,
    path: PathAndQuery,
) -> Result<(), Status> {
    let mut messages = client.server_streaming(request, path, BytesCodec).await?.into_inner();
    while let Some(message) = messages.message().await? {
        tell(&message);
    }
    Ok(())
}

fn tell(message: &[u8]) {
    println!("message {}", String::from_utf8_lossy(message));
}
