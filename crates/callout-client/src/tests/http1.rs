use super::server::{Server, body};
use super::*;

fn head(method: &str, headers: Headers, body: Body) -> String {
    let mut connection = connection(Protocol::Http1);
    connection.start(request(method, headers, body));
    String::from_utf8(connection.take_output()).unwrap()
}

/// The outcome of a GET that gets these bytes, whatever the pieces that they come in.
fn get(bytes: &str, end: bool) -> Outcome {
    method_gets("GET", bytes, end).0
}

/// ... and whether the connection is reusable then.
fn method_gets(method: &str, bytes: &str, end: bool) -> (Outcome, bool) {
    let outcomes = [1, 2, 7, 4096].map(|piece| {
        let mut connection = connection(Protocol::Http1);
        connection.start(request(method, &[], Body::empty()));
        connection.take_output();
        let outcome = answer(&mut connection, bytes.as_bytes(), piece, end);
        (outcome, connection.is_reusable())
    });
    let texts = outcomes.each_ref().map(|outcome| format!("{outcome:?}"));
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
    outcomes.into_iter().next().unwrap()
}

#[test]
fn request_heads_are_these_bytes() {
    assert_eq!(head("GET", &[], Body::empty()), "GET /path?query HTTP/1.1\r\nhost: example.com\r\n\r\n");
    assert_eq!(
        head("POST", &[(b"a", b" 1 "), (b"b", b"2"), (b"a", b"3")], Body::whole("hello")),
        "POST /path?query HTTP/1.1\r\nhost: example.com\r\na: 1\r\na: 3\r\nb: 2\r\ncontent-length: 5\r\n\r\nhello"
    );
    assert_eq!(
        head("PUT", &[], Body::empty()),
        "PUT /path?query HTTP/1.1\r\nhost: example.com\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(head("PURGE", &[], Body::empty()), "PURGE /path?query HTTP/1.1\r\nhost: example.com\r\n\r\n");
}

#[test]
fn header_names_keep_their_case() {
    let headers: Headers = &[(b"X-One", b"1"), (b"two", b"X-One: 2"), (b"x-one", b"3"), (b"X-oNE", b"4")];
    assert_eq!(
        head("POST", headers, Body::whole("X-ONE: body")),
        "POST /path?query HTTP/1.1\r\nHost: example.com\r\nX-One: 1\r\nx-one: 3\r\nX-oNE: 4\r\ntwo: X-One: 2\r\n\
         content-length: 11\r\n\r\nX-ONE: body"
    );
}

#[test]
fn header_names_keep_their_case_in_each_request() {
    let mut server = Server::echo(Protocol::Http1);
    let mut connection = connection(Protocol::Http1);
    for name in [&b"Abc"[..], b"abC", b"abc"] {
        connection.start(request("GET", &[(name, b"")], Body::empty()));
        let sent = connection.take_output();
        assert!(sent.windows(5).any(|window| window == [name, b": "].concat()), "{}", sent.escape_ascii());
        server.receive(&sent);
        assert!(exchange(&mut connection, &mut server, 4096).ended);
    }
}

#[test]
fn headers_of_the_framing_are_the_connections_own() {
    let headers: Headers = &[
        (b"Connection", b"close, x-a"),
        (b"Content-Length", b"77"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"close"),
        (b"Upgrade", b"h2c"),
        (b"TE", b"gzip"),
        (b"Host", b"other"),
        (b"te", b"trailers"),
    ];
    assert_eq!(
        head("POST", headers, Body::whole("x")),
        "POST /path?query HTTP/1.1\r\nHost: example.com\r\nte: trailers\r\ncontent-length: 1\r\n\r\nx"
    );
}

#[test]
fn trailers_are_announced_and_sent() {
    let trailers = vec![
        (b"Checksum".to_vec(), b"1".to_vec()),
        (b"content-length".to_vec(), b"9".to_vec()),
        (b"b".to_vec(), b"2".to_vec()),
    ];
    for method in ["POST", "GET"] {
        let body = Body::Whole { bytes: "hello".into(), trailers: trailers.clone() };
        assert_eq!(
            head(method, &[(b"trailer", b"other")], body),
            format!(
                "{method} /path?query HTTP/1.1\r\nhost: example.com\r\ntrailer: checksum, b\r\n\
                 transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nchecksum: 1\r\nb: 2\r\n\r\n"
            )
        );
    }
}

#[test]
fn streamed_bodies_go_out_as_they_come() {
    for method in ["POST", "GET"] {
        let mut connection = connection(Protocol::Http1);
        connection.start(request(method, &[], Body::Streamed));
        assert!(connection.take_output().ends_with(b"transfer-encoding: chunked\r\n\r\n"));
        connection.send_data("one".into(), false);
        assert_eq!(connection.take_output(), b"3\r\none\r\n");
        assert_eq!(connection.take_output(), b"");
        connection.send_data("two".into(), true);
        assert_eq!(connection.take_output(), b"3\r\ntwo\r\n0\r\n\r\n");
        connection.send_data("three".into(), true);
        assert_eq!(connection.take_output(), b"");
        assert!(answer(&mut connection, b"HTTP/1.1 204 No Content\r\n\r\n", 1, false).ended);
        assert!(connection.is_reusable());
    }
}

#[test]
fn bodies_with_a_length() {
    let outcome = get("HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 5\r\n\r\nhello", false);
    assert!(outcome.ended);
    assert_eq!((outcome.status, &outcome.body[..]), (200, &b"hello"[..]));
    assert_eq!(outcome.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn bodies_in_chunks() {
    let outcome =
        get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n", false);
    assert!(outcome.ended);
    assert_eq!(outcome.body, b"hello");
    assert_eq!(outcome.trailers["t"], "1");
}

#[test]
fn bodies_until_the_end() {
    let (outcome, reusable) = method_gets("GET", "HTTP/1.1 200 OK\r\n\r\nhello", true);
    assert!(outcome.ended && !reusable);
    assert_eq!(outcome.body, b"hello");
    assert!(!get("HTTP/1.1 200 OK\r\n\r\nhello", false).is_over());
}

#[test]
fn answers_without_a_body() {
    let with_length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for (method, bytes) in [
        ("HEAD", with_length),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let (outcome, reusable) = method_gets(method, bytes, false);
        assert!(outcome.ended && outcome.body.is_empty() && reusable, "{method} {bytes}");
    }
}

#[test]
fn interim_answers_are_skipped() {
    let outcome =
        get("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", false);
    assert!(outcome.ended);
    assert_eq!(outcome.status, 204);
    assert!(outcome.headers.is_empty());
}

#[test]
fn switching_protocols_is_a_failure() {
    let (outcome, reusable) = method_gets("GET", "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", false);
    assert_eq!(outcome.error, Some(Error::Switched));
    assert!(!reusable);
}

#[test]
fn truncated_answers_fail() {
    for bytes in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert!(!get(bytes, false).is_over(), "{bytes}");
        assert_eq!(get(bytes, true).error, Some(Error::Closed), "{bytes}");
    }
}

#[test]
fn malformed_answers_fail() {
    for bytes in [
        "\u{1}garbage\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let (outcome, reusable) = method_gets("GET", bytes, false);
        assert!(matches!(outcome.error, Some(Error::Malformed(_))), "{bytes} {outcome:?}");
        assert!(!reusable);
    }
}

#[test]
fn heads_above_the_limits_fail() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let large = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(64 * 1024));
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(1024 * 1024));
    for bytes in [many, large, endless] {
        let mut connection = connection(Protocol::Http1);
        connection.start(request("GET", &[], Body::empty()));
        connection.take_output();
        let error = answer(&mut connection, bytes.as_bytes(), 1000, false).error;
        assert!(matches!(&error, Some(Error::Malformed(text)) if text.contains("too large")), "{error:?}");
    }
    let limits = Limits { headers: 300, head_size: 64 * 1024 };
    let mut connection = Connection::new(Protocol::Http1, &limits);
    connection.start(request("GET", &[], Body::empty()));
    let many = format!("HTTP/1.1 204 No Content\r\n{}\r\n", "a: b\r\n".repeat(300));
    assert_eq!(answer(&mut connection, many.as_bytes(), 1000, false).headers.len(), 300);
}

#[test]
fn connections_are_reusable_when_the_peer_keeps_them() {
    for (bytes, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, and more", false),
    ] {
        let (outcome, reusable) = method_gets("GET", bytes, false);
        assert!(outcome.ended);
        assert_eq!(outcome.body, b"hi");
        assert_eq!(reusable, expected, "{bytes}");
    }
}

#[test]
fn nothing_starts_on_a_connection_that_is_not_reusable() {
    let mut connection = connection(Protocol::Http1);
    connection.receive(b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(!connection.is_reusable());
    connection.start(request("GET", &[], Body::empty()));
    assert_eq!(connection.take_output(), b"");
    assert_eq!(answer(&mut connection, b"", 1, false).error, Some(Error::NotReusable));
    assert!(!connection.has_received());
}

#[test]
fn a_closed_idle_connection_is_not_reusable() {
    let mut connection = connection(Protocol::Http1);
    connection.start(request("GET", &[], Body::empty()));
    assert!(answer(&mut connection, b"HTTP/1.1 204 No Content\r\n\r\n", 100, false).ended);
    assert!(connection.is_reusable() && connection.has_received());
    connection.receive_end();
    assert!(!connection.is_reusable());
}

#[test]
fn has_received_says_whether_a_retry_is_safe() {
    let mut server = Server::echo(Protocol::Http1);
    let mut connection = connection(Protocol::Http1);
    connection.start(request("GET", &[], Body::empty()));
    assert!(exchange(&mut connection, &mut server, 4096).ended);
    connection.start(request("GET", &[], Body::empty()));
    connection.take_output();
    assert!(!connection.has_received());
    assert_eq!(answer(&mut connection, b"", 1, true).error, Some(Error::Closed));
    assert!(!connection.has_received());
}

#[test]
fn exchanges_with_a_server() {
    for piece in [1, 4096] {
        let mut server = Server::echo(Protocol::Http1);
        let mut connection = connection(Protocol::Http1);
        for _ in 0..3 {
            let trailers = vec![(b"checksum".to_vec(), b"1".to_vec())];
            let body = Body::Whole { bytes: "hello".into(), trailers };
            connection.start(request("POST", &[(b"te", b"trailers")], body));
            let outcome = exchange(&mut connection, &mut server, piece);
            assert!(outcome.ended, "{outcome:?}");
            assert_eq!(outcome.body, b"hello");
            assert_eq!(outcome.headers["echo-uri"], "/path?query");
            assert_eq!(outcome.trailers["checksum"], "1");
            assert!(connection.is_reusable());
        }
    }
}

#[test]
fn big_bodies_both_ways() {
    let big = big_body();
    let mut server = Server::echo(Protocol::Http1);
    let mut connection = connection(Protocol::Http1);
    connection.start(request("POST", &[], Body::whole(big.clone())));
    let outcome = exchange(&mut connection, &mut server, 50_000);
    assert!(outcome.ended);
    assert!(outcome.body == big);
}

#[test]
fn an_answer_before_the_request_was_sent_ends_the_connection() {
    let mut server = Server::new(Protocol::Http1, |_| Box::pin(async { Ok(http::Response::new(body("early"))) }));
    let mut connection = connection(Protocol::Http1);
    connection.start(request("POST", &[], Body::Streamed));
    let outcome = exchange(&mut connection, &mut server, 4096);
    assert!(outcome.ended);
    assert_eq!(outcome.body, b"early");
    assert!(!connection.is_reusable());
    connection.send_data("late".into(), true);
    connection.take_output();
}

#[test]
fn a_cancelled_exchange_is_silent() {
    let mut connection = connection(Protocol::Http1);
    connection.start(request("GET", &[], Body::empty()));
    connection.cancel();
    assert_eq!(connection.take_output(), b"");
    connection.receive(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert!(connection.next_event().is_none());
    assert!(!connection.is_reusable());
}

#[test]
fn many_small_chunks_in_one_piece() {
    let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", "1\r\nx\r\n".repeat(5000));
    let mut connection = connection(Protocol::Http1);
    connection.start(request("GET", &[], Body::empty()));
    connection.receive(bytes.as_bytes());
    let mut outcome = Outcome::default();
    outcome.take(&mut connection);
    assert!(outcome.ended);
    assert_eq!(outcome.body.len(), 5000);
}

#[test]
fn asking_for_events_in_vain_is_harmless() {
    for turns in 0..200 {
        let mut connection = connection(Protocol::Http1);
        connection.start(request("GET", &[], Body::empty()));
        (0..turns).for_each(|_| assert!(connection.next_event().is_none()));
        connection.receive(b"HTTP/1.1 204 No Content\r\n\r\n");
        assert!(matches!(connection.next_event(), Some(Event::Head { status: 204, .. })), "{turns}");
    }
}

#[test]
fn many_small_pieces_of_a_streamed_body() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut server = Server::echo(protocol);
        let mut connection = connection(protocol);
        connection.start(request("POST", &[], Body::Streamed));
        for _ in 0..1000 {
            connection.send_data("x".into(), false);
        }
        connection.send_data(Bytes::new(), true);
        let sent = connection.take_output();
        assert_eq!(connection.take_output(), b"", "the first call gives all there is");
        server.receive(&sent);
        connection.receive(&server.take_output());
        let outcome = exchange(&mut connection, &mut server, 4096);
        assert_eq!(outcome.body.len(), 1000, "{protocol:?} {outcome:?}");
    }
}
