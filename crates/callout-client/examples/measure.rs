//! What an exchange costs, without a network: `cargo run --release -p callout-client --example measure`.

use std::hint::black_box;
use std::time::Instant;

use callout_client::{Body, Connection, Event, Limits, Protocol, Request};

const HEADERS: &[(&[u8], &[u8])] = &[
    (b"accept", b"*/*"),
    (b"user-agent", b"measure"),
    (b"x-request-id", b"0123456789"),
    (b"content-type", b"text/plain"),
];
const SPELLED: &[(&[u8], &[u8])] = &[
    (b"Accept", b"*/*"),
    (b"User-Agent", b"measure"),
    (b"X-Request-Id", b"0123456789"),
    (b"Content-Type", b"text/plain"),
];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nserver: measure\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    content-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn main() {
    let limits = Limits::default();
    measure("make a request", 1_000_000, || drop(black_box(request(HEADERS))));

    let mut connection = Connection::new(Protocol::Http1, &limits);
    measure("HTTP/1.1, kept connection", 500_000, || exchange(&mut connection, HEADERS, ANSWER));
    measure("HTTP/1.1, kept connection, upper case names", 500_000, || exchange(&mut connection, SPELLED, ANSWER));
    measure("HTTP/1.1, new connection", 500_000, || {
        exchange(&mut Connection::new(Protocol::Http1, &limits), HEADERS, ANSWER);
    });
    let many = Limits { headers: 1000, ..limits.clone() };
    let mut connection = Connection::new(Protocol::Http1, &many);
    measure("HTTP/1.1, kept connection, 1000 headers allowed", 500_000, || exchange(&mut connection, HEADERS, ANSWER));

    let mut connection = Connection::new(Protocol::Http2, &limits);
    connection.receive(SETTINGS);
    let mut stream = 1u32;
    measure("HTTP/2, kept connection", 500_000, || {
        exchange(&mut connection, HEADERS, &answer_http2(stream));
        stream += 2;
    });
    measure("HTTP/2, new connection", 100_000, || {
        let mut connection = Connection::new(Protocol::Http2, &limits);
        connection.receive(SETTINGS);
        exchange(&mut connection, HEADERS, &answer_http2(1));
    });
}

fn measure(name: &str, times: u32, mut run: impl FnMut()) {
    (0..times / 10).for_each(|_| run());
    let start = Instant::now();
    (0..times).for_each(|_| run());
    println!("{:>8} ns  {name}", start.elapsed().as_nanos() / u128::from(times));
}

fn request(headers: &[(&[u8], &[u8])]) -> Request {
    Request::new(b"POST", "http", b"example.com", b"/path?query", headers, Body::whole("hello")).expect("it is valid")
}

fn exchange(connection: &mut Connection, headers: &[(&[u8], &[u8])], answer: &[u8]) {
    connection.start(request(headers));
    black_box(connection.take_output());
    connection.receive(answer);
    while let Some(event) = connection.next_event() {
        assert!(!matches!(event, Event::Failed(_)), "{event:?}");
        if matches!(event, Event::End) {
            assert!(connection.is_reusable());
            return;
        }
    }
    panic!("the answer is incomplete");
}

/// Status 200, three headers, five bytes.
fn answer_http2(stream: u32) -> Vec<u8> {
    let head = b"\x88\x00\x01a\x01b\x00\x01c\x01d\x00\x01e\x01f";
    let mut bytes = frame(1, 4, stream, head);
    bytes.extend(frame(0, 1, stream, b"hello"));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    [&[0, 0, length, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}
