use std::time::Duration;

use http::HeaderValue;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::server::{Server, with_trailers};
use super::*;
use crate::grpc::{Decoder, Event as Call, Receiver, Status, encode, request as call};

const MAX_MESSAGE: usize = 1024;

/// Answers each message with itself, or the first error in the path: `/echo/status/message`.
fn server() -> Server {
    Server::new(Protocol::Http2, |request| {
        Box::pin(async {
            let (head, incoming) = request.into_parts();
            assert_eq!(head.headers["te"], "trailers");
            assert_eq!(head.headers["content-type"], "application/grpc");
            let messages = incoming.collect().await.unwrap().to_bytes();
            let trailers = [("grpc-status", "0"), ("grpc-message", "all %E2%9C%93 100%")];
            let mut response = http::Response::new(with_trailers(messages, Some(map(&trailers))));
            *response.headers_mut() = map(&[("content-type", "application/grpc+proto")]);
            for name in ["grpc-timeout", "user-agent", "a-bin"] {
                if let Some(value) = head.headers.get(name) {
                    response
                        .headers_mut()
                        .insert(format!("echo-{name}").parse::<http::HeaderName>().unwrap(), value.clone());
                }
            }
            Ok(response)
        })
    })
}

fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn drain(receiver: &mut Receiver) -> Vec<Call> {
    std::iter::from_fn(|| receiver.next_event()).collect()
}

/// What comes of the events of an exchange, in short.
fn of(events: Vec<Event>) -> Vec<String> {
    let mut receiver = Receiver::new(MAX_MESSAGE);
    events.into_iter().for_each(|event| receiver.receive(event));
    drain(&mut receiver).iter().map(shorten).collect()
}

fn shorten(event: &Call) -> String {
    match event {
        Call::InitialMetadata(headers) => format!("initial {}", headers.len()),
        Call::Message(message) => format!("message {}", message.escape_ascii()),
        Call::TrailingMetadata(trailers) => format!("trailing {}", trailers.len()),
        Call::Close(status) => format!("close {} {}", status.code, status.message),
    }
}

fn head(status: u16, headers: &[(&'static str, &'static str)]) -> Event {
    Event::Head { status, headers: map(headers) }
}

fn grpc_head() -> Event {
    head(200, &[("content-type", "application/grpc")])
}

fn run(connection: &mut Connection, server: &mut Server, receiver: &mut Receiver) -> Vec<Call> {
    let mut calls = Vec::new();
    loop {
        while let Some(event) = connection.next_event() {
            receiver.receive(event);
        }
        calls.extend(drain(receiver));
        let sent = connection.take_output();
        server.receive(&sent);
        let answer = server.take_output();
        if sent.is_empty() && answer.is_empty() {
            return calls;
        }
        connection.receive(&answer);
    }
}

#[test]
fn calls_of_all_kinds() {
    let mut server = server();
    let mut connection = connection(Protocol::Http2);
    let two = [encode(b"one"), encode(b"")].concat();
    // Unary and server streaming; then client streaming and both ways.
    for (body, pieces, expected) in [
        (Body::whole(encode(b"one")), vec![], vec!["one"]),
        (Body::whole(two.clone()), vec![], vec!["one", ""]),
        (Body::Streamed, vec![encode(b"one")], vec!["one"]),
        (Body::Streamed, vec![encode(b"one"), encode(b"two")], vec!["one", "two"]),
    ] {
        let metadata: Headers = &[(b"a-bin", b"AAE="), (b"TE", b"gzip"), (b"Content-Type", b"text/plain")];
        let timeout = Some(Duration::from_millis(5));
        connection.start(call("http", b"example.com", b"a.Service", b"Method", metadata, timeout, body).unwrap());
        let mut receiver = Receiver::new(MAX_MESSAGE);
        let mut calls = Vec::new();
        for piece in pieces {
            connection.send_data(piece, false);
            calls.extend(run(&mut connection, &mut server, &mut receiver));
        }
        connection.send_data(Bytes::new(), true);
        calls.extend(run(&mut connection, &mut server, &mut receiver));
        let Some(Call::InitialMetadata(initial)) = calls.first() else { panic!("{calls:?}") };
        assert_eq!(initial["echo-grpc-timeout"], "5000000n");
        assert_eq!(initial["echo-a-bin"], "AAE=");
        assert!(initial["echo-user-agent"].as_bytes().starts_with(b"grpc-resty-wasm/"));
        let texts: Vec<String> = calls[1..].iter().map(shorten).collect();
        let messages = expected.iter().map(|message| format!("message {message}"));
        let rest = ["trailing 2".to_owned(), "close 0 all \u{2713} 100%".to_owned()];
        assert_eq!(texts, messages.chain(rest).collect::<Vec<_>>());
        assert!(connection.is_reusable());
    }
}

#[test]
fn messages_come_before_a_stream_has_ended() {
    let mut connection = connection(Protocol::Http2);
    connection.start(call("http", b"a", b"S", b"M", &[], None, Body::Streamed).unwrap());
    let mut server = Server::new(Protocol::Http2, |_| {
        let mut response = http::Response::new(with_trailers(encode(b"early"), Some(map(&[("grpc-status", "9")]))));
        *response.headers_mut() = map(&[("content-type", "application/grpc")]);
        Box::pin(async { Ok(response) })
    });
    let calls = run(&mut connection, &mut server, &mut Receiver::new(MAX_MESSAGE));
    let texts: Vec<String> = calls.iter().map(shorten).collect();
    assert_eq!(texts, ["initial 2", "message early", "trailing 1", "close 9 "]);
    assert!(connection.is_reusable());
}

#[test]
fn answers_of_trailers_only() {
    let trailers = [("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "no%20such")];
    assert_eq!(of(vec![head(200, &trailers), Event::End]), ["initial 0", "trailing 3", "close 5 no such"]);
    assert_eq!(of(vec![head(503, &trailers), Event::End]), ["initial 0", "trailing 3", "close 5 no such"]);
}

#[test]
fn answers_without_a_status() {
    for (http, grpc) in
        [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 14), (500, 2), (204, 2)]
    {
        let text = format!("close {grpc} HTTP status {http} without grpc-status");
        assert_eq!(of(vec![head(http, &[]), Event::End]), ["initial 0".to_owned(), text]);
    }
    assert_eq!(of(vec![grpc_head(), Event::End]), ["initial 1", "close 2 the answer has no grpc-status"]);
    let trailers = Event::Trailers(map(&[("grpc-status", "+1")]));
    let expected = ["initial 1", "trailing 1", "close 2 grpc-status \"+1\" is not a number"];
    assert_eq!(of(vec![grpc_head(), trailers, Event::End]), expected);
}

#[test]
fn content_types() {
    for (content_type, is_grpc) in [
        ("application/grpc", true),
        ("application/grpc+json", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("text/html", false),
    ] {
        let events = of(vec![head(200, &[("content-type", content_type)])]);
        assert_eq!(events.len() == 1, is_grpc, "{events:?}");
    }
}

#[test]
fn failures_have_a_status() {
    for (error, code) in [
        (Error::Closed, 14),
        (Error::GoAway(2), 14),
        (Error::NotReusable, 14),
        (Error::Reset(7), 14),
        (Error::Reset(8), 1),
        (Error::Reset(11), 8),
        (Error::Reset(12), 7),
        (Error::Reset(2), 13),
        (Error::Reset(999), 13),
    ] {
        assert_eq!(of(vec![Event::Failed(error.clone())]), [format!("close {code} {error}")]);
    }
    let trailers = Event::Trailers(map(&[("grpc-status", "0")]));
    assert_eq!(of(vec![grpc_head(), trailers, Event::Failed(Error::Closed)]), ["initial 1", "trailing 1", "close 0 "]);
}

#[test]
fn bad_messages_close_the_call() {
    let trailers = || Event::Trailers(map(&[("grpc-status", "0")]));
    let long = encode(&[0; MAX_MESSAGE + 1]);
    for (data, events, close) in [
        (long.slice(..5), vec![], "close 8 the message has 1025 bytes, at most 1024 are allowed"),
        (Bytes::from_static(&[1, 0, 0, 0, 0]), vec![], "close 13 the message is compressed, which is not supported"),
        (Bytes::from_static(&[0, 0]), vec![trailers(), Event::End], "close 13 the last message is incomplete"),
    ] {
        let mut all = vec![grpc_head(), Event::Data(data)];
        all.extend(events);
        assert_eq!(of(all).last().unwrap(), close);
    }
    let events = of(vec![head(200, &[("grpc-status", "0")]), Event::Data(encode(b"x"))]);
    assert_eq!(events, ["initial 0", "close 13 messages follow a head with grpc-status"]);
    let all = vec![grpc_head(), Event::Data(encode(&[0; MAX_MESSAGE]))];
    assert_eq!(of(all).len(), 2);
}

proptest! {
    #[test]
    fn messages_come_back_from_any_pieces(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
        piece in 1usize..20,
    ) {
        let bytes = messages.iter().map(|message| encode(message)).collect::<Vec<_>>().concat();
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut decoded = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.receive(piece);
            while let Some(message) = decoder.next_message().unwrap() {
                decoded.push(message.to_vec());
            }
        }
        prop_assert_eq!(decoded, messages);
        prop_assert!(decoder.is_empty());
    }

    #[test]
    fn any_bytes_are_messages_or_a_status(bytes in prop::collection::vec(0u8..4, 0..200), piece in 1usize..20) {
        let mut decoder = Decoder::new(100);
        'bytes: for piece in bytes.chunks(piece) {
            decoder.receive(piece);
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => prop_assert!(message.len() <= 100),
                    Ok(None) => break,
                    Err(status) => {
                        prop_assert!([Status::INTERNAL, Status::RESOURCE_EXHAUSTED].contains(&status.code));
                        break 'bytes;
                    }
                }
            }
        }
    }
}
