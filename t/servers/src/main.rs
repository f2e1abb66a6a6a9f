//! What the tests of callouts talk to: a gRPC server, and servers that break the rules.
//!
//! ```text
//! grpc-server [--listen ADDRESS]… [--listen-tls ADDRESS CERTIFICATES KEY]… [--garbage KIND=ADDRESS]…
//! ```
//!
//! ADDRESS is `IP:PORT` or `unix:PATH`. The methods of the gRPC service `test.Echo` are in `echo.rs`, the kinds of garbage in
//! `garbage.rs`. It writes a line `listening` once every address is bound, and ends with its standard input.

#![forbid(unsafe_code)]

mod codec;
mod echo;
mod garbage;
mod tls;

use garbage::Kind;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// Why something failed, for people.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A connection of either kind of socket, with or without TLS.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What a server does with its connections.
enum Role {
    Grpc,
    GrpcTls(TlsAcceptor),
    Garbage(Kind),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{option} needs more values"));
        match option.as_str() {
            "--listen" => listen(&value()?, Role::Grpc).await?,
            "--listen-tls" => listen(&value()?, Role::GrpcTls(tls::acceptor(&value()?, &value()?)?)).await?,
            "--garbage" => {
                let value = value()?;
                let (kind, address) = value.split_once('=').ok_or("--garbage takes KIND=ADDRESS")?;
                listen(address, Role::Garbage(kind.parse()?)).await?;
            }
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    println!("listening");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    std::process::exit(0) // a read of the standard input would hold the runtime
}

async fn listen(address: &str, role: Role) -> Result<(), Failure> {
    let failure = |error| format!("cannot listen on {address}: {error}");
    let role = Arc::new(role);
    if let Some(path) = address.strip_prefix("unix:") {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(failure)?;
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&role), socket));
            }
        });
    } else {
        let listener = TcpListener::bind(address).await.map_err(failure)?;
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                tokio::spawn(serve(Arc::clone(&role), socket));
            }
        });
    }
    Ok(())
}

/// A connection that fails is the client's matter.
async fn serve(role: Arc<Role>, socket: impl Connection + 'static) {
    match &*role {
        Role::Grpc => serve_grpc(socket).await,
        Role::GrpcTls(acceptor) => {
            if let Ok(socket) = acceptor.accept(socket).await {
                serve_grpc(socket).await;
            }
        }
        Role::Garbage(kind) => {
            let _ = garbage::serve(*kind, socket).await;
        }
    }
}

async fn serve_grpc(socket: impl Connection + 'static) {
    let (echo, mut ends) = echo::Echo::for_connection();
    let service = service_fn(move |request| {
        let echo = echo.clone();
        async move { Ok::<_, std::convert::Infallible>(echo.answer(request).await) }
    });
    let mut connection =
        pin!(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service));
    loop {
        tokio::select! {
            biased; // what an answer has written goes out before the connection ends
            _ = connection.as_mut() => return,
            Some(end) = ends.recv() => match end {
                echo::End::Drop => return,
                echo::End::Gracefully => connection.as_mut().graceful_shutdown(),
            },
        }
    }
}
