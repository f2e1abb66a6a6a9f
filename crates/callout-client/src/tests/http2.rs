use std::sync::Arc;

use super::server::{Server, body, with_trailers};
use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// HPACK of `:status: 200`.
const STATUS_200: &[u8] = &[0x88];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The kinds, flags and streams of the frames that a client sends.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32)> {
    bytes = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or(bytes);
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        frames.push((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])));
        bytes = &rest[length..];
    }
    frames
}

fn started() -> Connection {
    let mut connection = connection(Protocol::Http2);
    connection.receive(&frame(SETTINGS, 0, 0, &[]));
    connection.start(request("GET", &[], Body::empty()));
    assert!(frames(&connection.take_output()).contains(&(HEADERS, END_HEADERS | END_STREAM, 1)));
    connection
}

#[test]
fn exchanges_with_a_server() {
    for piece in [1, 4096] {
        let mut server = Server::echo(Protocol::Http2);
        let mut connection = connection(Protocol::Http2);
        for _ in 0..3 {
            let trailers = vec![(b"checksum".to_vec(), b"1".to_vec())];
            let body = Body::Whole { bytes: "hello".into(), trailers };
            let headers: Headers = &[(b"Connection", b"close"), (b"X-A", b"1"), (b"TE", b"trailers"), (b"x-a", b"2")];
            connection.start(request("POST", headers, body));
            let outcome = exchange(&mut connection, &mut server, piece);
            assert!(outcome.ended, "{outcome:?}");
            assert_eq!(outcome.body, b"hello");
            assert_eq!(outcome.headers["echo-uri"], "http://example.com/path?query");
            assert_eq!(outcome.headers.get_all("echo-x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert!(!outcome.headers.contains_key("echo-host") && !outcome.headers.contains_key("echo-connection"));
            assert_eq!(outcome.trailers["checksum"], "1");
            assert!(connection.is_reusable());
        }
    }
}

/// Bytes that tell when nobody has them any more.
struct Traced {
    bytes: Bytes,
    _trace: Arc<()>,
}

impl AsRef<[u8]> for Traced {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[test]
fn nothing_is_left_of_a_connection_that_is_dropped_in_the_middle_of_an_exchange() {
    let trace = Arc::new(());
    let mut connection = connection(Protocol::Http2);
    connection.receive(&frame(SETTINGS, 0, 0, &[]));
    let bytes = Bytes::from_owner(Traced { bytes: big_body(), _trace: trace.clone() });
    connection.start(request("POST", &[], Body::Whole { bytes, trailers: vec![] }));
    assert!(connection.take_output().len() > 60_000);
    assert_eq!(Arc::strong_count(&trace), 2);
    drop(connection);
    assert_eq!(Arc::strong_count(&trace), 1);
}

#[test]
fn a_body_of_known_length_says_so() {
    let mut server = Server::echo(Protocol::Http2);
    let mut connection = connection(Protocol::Http2);
    connection.start(request("POST", &[(b"content-length", b"7")], Body::whole("hello")));
    assert_eq!(exchange(&mut connection, &mut server, 4096).headers["echo-content-length"], "5");
}

#[test]
fn big_bodies_both_ways() {
    let big = big_body();
    let mut server = Server::echo(Protocol::Http2);
    let mut connection = connection(Protocol::Http2);
    connection.start(request("POST", &[], Body::whole(big.clone())));
    let outcome = exchange(&mut connection, &mut server, 50_000);
    assert!(outcome.ended);
    assert!(outcome.body == big);
    assert!(connection.is_reusable());
}

#[test]
fn the_peer_is_held_back_while_events_are_not_taken() {
    let big = big_body();
    let mut server = Server::new(Protocol::Http2, {
        let big = big.clone();
        move |_| {
            let response = http::Response::new(body(big.clone()));
            Box::pin(async { Ok(response) })
        }
    });
    let mut connection = connection(Protocol::Http2);
    connection.start(request("GET", &[], Body::empty()));
    let mut received = 0;
    loop {
        let sent = connection.take_output();
        server.receive(&sent);
        let answer = server.take_output();
        if sent.is_empty() && answer.is_empty() {
            break;
        }
        received += answer.len();
        connection.receive(&answer);
    }
    assert!((1024 * 1024..1200 * 1024).contains(&received), "{received}");
    let outcome = exchange(&mut connection, &mut server, 50_000);
    assert!(outcome.ended);
    assert!(outcome.body == big);
}

#[test]
fn streamed_bodies_go_out_as_they_come() {
    let mut server = Server::echo(Protocol::Http2);
    let mut connection = connection(Protocol::Http2);
    connection.start(request("POST", &[], Body::Streamed));
    assert!(!exchange(&mut connection, &mut server, 4096).is_over());
    connection.send_data("one".into(), false);
    assert_eq!(frames(&connection.take_output()), [(DATA, 0, 1)]);
    connection.send_data("two".into(), true);
    let sent = connection.take_output();
    assert_eq!(frames(&sent), [(DATA, END_STREAM, 1)]);
    connection.send_data("three".into(), true);
    assert_eq!(connection.take_output(), b"");
}

#[test]
fn a_cancelled_exchange_resets_its_stream_only() {
    let mut server = Server::echo(Protocol::Http2);
    let mut connection = connection(Protocol::Http2);
    for body in [Body::Streamed, Body::whole(big_body())] {
        connection.start(request("POST", &[], body));
        connection.send_data("one".into(), false);
        let sent = connection.take_output();
        server.receive(&sent);
        connection.receive(&server.take_output());
        connection.cancel();
        let sent = connection.take_output();
        assert!(frames(&sent).iter().any(|frame| frame.0 == RESET), "{:?}", frames(&sent));
        server.receive(&sent);
        connection.receive(&server.take_output());
        assert!(connection.next_event().is_none());
        assert!(connection.is_reusable());
        connection.start(request("GET", &[], Body::empty()));
        assert!(exchange(&mut connection, &mut server, 4096).ended);
    }
}

#[test]
fn a_cancelled_answer_resets_its_stream() {
    let mut connection = started();
    connection.receive(&frame(HEADERS, END_HEADERS, 1, STATUS_200));
    assert!(matches!(connection.next_event(), Some(Event::Head { status: 200, .. })));
    connection.take_output();
    connection.cancel();
    assert_eq!(connection.take_output(), frame(RESET, 0, 1, &8u32.to_be_bytes()));
}

#[test]
fn a_cancelled_exchange_resets_its_stream_though_the_request_waits_to_be_sent() {
    for body in [Body::Streamed, Body::whole(big_body())] {
        let mut connection = connection(Protocol::Http2);
        connection.receive(&frame(SETTINGS, 0, 0, &[]));
        connection.start(request("POST", &[], body));
        connection.take_output();
        connection.receive(&frame(HEADERS, END_HEADERS, 1, STATUS_200));
        assert!(matches!(connection.next_event(), Some(Event::Head { status: 200, .. })));
        connection.cancel();
        assert_eq!(connection.take_output(), frame(RESET, 0, 1, &8u32.to_be_bytes()));
    }
}

#[test]
fn a_peer_that_takes_no_streams_and_leaves() {
    let mut connection = connection(Protocol::Http2);
    connection.receive(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]));
    connection.start(request("GET", &[], Body::empty()));
    assert!(!frames(&connection.take_output()).iter().any(|frame| frame.0 == HEADERS));
    assert!(connection.next_event().is_none());
    let outcome = answer(&mut connection, &[], 1, true);
    assert_eq!(outcome.error, Some(Error::Closed));
}

#[test]
fn an_answer_before_the_request_was_sent_resets_the_rest() {
    let mut connection = connection(Protocol::Http2);
    connection.receive(&frame(SETTINGS, 0, 0, &[]));
    connection.start(request("POST", &[], Body::Streamed));
    connection.take_output();
    connection.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 1, STATUS_200));
    let mut outcome = Outcome::default();
    outcome.take(&mut connection);
    assert!(outcome.ended);
    assert!(connection.is_reusable());
    connection.send_data("late".into(), true);
    connection.start(request("GET", &[], Body::empty()));
    let sent = frames(&connection.take_output());
    assert!(sent.contains(&(HEADERS, END_HEADERS | END_STREAM, 3)), "{sent:?}");
    assert!(sent.contains(&(RESET, 0, 1)), "{sent:?}");
    assert!(!sent.contains(&(DATA, END_STREAM, 1)), "{sent:?}");
}

#[test]
fn trailers_without_a_body() {
    let mut server = Server::new(Protocol::Http2, |_| {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        Box::pin(async { Ok(http::Response::new(with_trailers("", Some(trailers)))) })
    });
    let mut connection = connection(Protocol::Http2);
    connection.start(request("GET", &[], Body::empty()));
    let outcome = exchange(&mut connection, &mut server, 1);
    assert!(outcome.ended);
    assert_eq!(outcome.trailers["etag"], "x");
}

#[test]
fn resets_tell_their_code() {
    for (code, received) in [(7u32, false), (8, true), (2, true)] {
        let mut connection = started();
        let outcome = answer(&mut connection, &frame(RESET, 0, 1, &code.to_be_bytes()), 1, false);
        assert_eq!(outcome.error, Some(Error::Reset(code)));
        assert_eq!(connection.has_received(), received);
        assert!(connection.is_reusable());
    }
}

#[test]
fn after_goaway_nothing_starts() {
    let mut connection = started();
    connection.receive(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(connection.next_event().is_none());
    let outcome = answer(&mut connection, &frame(HEADERS, END_HEADERS | END_STREAM, 1, STATUS_200), 1, false);
    assert!(outcome.ended, "{outcome:?}");
    assert!(!connection.is_reusable());

    let mut connection = started();
    let outcome = answer(&mut connection, &frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]), 1, false);
    assert_eq!(outcome.error, Some(Error::GoAway(11)));
    assert!(!connection.is_reusable() && !connection.has_received());
}

#[test]
fn truncated_answers_fail() {
    let head = frame(HEADERS, END_HEADERS, 1, STATUS_200);
    let body = frame(DATA, 0, 1, b"hello");
    for bytes in [&[][..], &head[..5], &head, &[&head[..], &body[..12]].concat(), &[head.clone(), body].concat()] {
        let outcome = answer(&mut started(), bytes, 3, true);
        assert_eq!(outcome.error, Some(Error::Closed), "{bytes:?}");
    }
}

#[test]
fn malformed_answers_fail() {
    let upgrade = [0x08, 3, b'1', b'0', b'1'];
    let short = [STATUS_200, &[0x0f, 0x0d, 1, b'9']].concat();
    let truncated = [frame(HEADERS, END_HEADERS, 1, &short), frame(DATA, END_STREAM, 1, b"hello")].concat();
    for bytes in [
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[]),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &upgrade),
        frame(DATA, 0, 1, b"hello"),
        truncated,
    ] {
        let outcome = answer(&mut started(), &bytes, 1, true);
        assert!(outcome.error.is_some() && !outcome.ended, "{} {outcome:?}", bytes.escape_ascii());
    }
}

#[test]
fn answers_of_http1_are_told_apart() {
    let mut connection = Connection::new(Protocol::Http2, &Limits::default());
    connection.start(request("GET", &[], Body::empty()));
    connection.take_output();
    let answered = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(answer(&mut connection, answered, 100, false).error, Some(Error::Http1));
}

#[test]
fn heads_above_the_limits_fail() {
    let header = [0, 1, b'a', 1, b'b'];
    let many = [STATUS_200, &header.repeat(101)].concat();
    let outcome = answer(&mut started(), &frame(HEADERS, END_HEADERS | END_STREAM, 1, &many), 1000, false);
    assert_eq!(outcome.error, Some(Error::too_large()));

    let limits = Limits { head_size: 1000, ..Limits::default() };
    let mut connection = Connection::new(Protocol::Http2, &limits);
    connection.receive(&frame(SETTINGS, 0, 0, &[]));
    connection.start(request("GET", &[], Body::empty()));
    connection.take_output();
    let large = [STATUS_200, &header.repeat(40)].concat();
    let outcome = answer(&mut connection, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &large), 1000, false);
    assert!(outcome.error.is_some(), "{outcome:?}");
}

#[test]
fn many_frames_in_one_piece() {
    for data in [&b""[..], b"x"] {
        let mut connection = started();
        let data = frame(DATA, 0, 1, data).repeat(5000);
        let bytes = [frame(HEADERS, END_HEADERS, 1, STATUS_200), data, frame(DATA, END_STREAM, 1, b"end")].concat();
        connection.receive(&bytes);
        let mut outcome = Outcome::default();
        outcome.take(&mut connection);
        assert!(outcome.is_over(), "{outcome:?}");
    }
}
