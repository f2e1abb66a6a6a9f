//! Whatever a peer sends: no panic, no endless loop, one end.

use proptest::prelude::*;

use super::*;

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n",
        "a: b\r\n",
    ];
    let word = (0..words.len()).prop_map(move |index| words[index].as_bytes().to_vec());
    prop_oneof![3 => word, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

/// HTTP/2 frames of any kind with small numbers, often well formed.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(vec![0x88]),
        Just(vec![0x8d, 0x5c, 1, b'3']),
        Just(vec![0, 0, 0, 1, 0, 0, 0, 0]),
        Just(vec![0, 0, 0, 8]),
        Just(vec![]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let flags = prop_oneof![Just(0u8), Just(1), Just(4), Just(5), any::<u8>()];
    let frame = (0u8..11, flags, 0u32..4, payload).prop_map(|(kind, flags, stream, payload)| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), &payload].concat()
    });
    prop_oneof![5 => frame, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

fn check(protocol: Protocol, preface: &[u8], bytes: &[u8], piece: usize, body: Body) -> Result<(), TestCaseError> {
    let mut connection = connection(protocol);
    connection.start(request("POST", &[], body));
    connection.send_data("data".into(), false);
    connection.receive(preface);
    let outcome = answer(&mut connection, bytes, piece, true);
    prop_assert!(outcome.ended != outcome.error.is_some(), "{outcome:?}");
    prop_assert!(!connection.is_reusable());
    connection.start(request("GET", &[], Body::empty()));
    prop_assert!(matches!(connection.next_event(), Some(Event::Failed(Error::NotReusable))));
    prop_assert!(connection.next_event().is_none());
    Ok(())
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![Just(Body::empty()), Just(Body::whole(vec![0; 100_000])), Just(Body::Streamed)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn http1(bytes in prop::collection::vec(pieces(), 0..12), piece in 1usize..50, body in bodies()) {
        check(Protocol::Http1, b"", &bytes.concat(), piece, body)?;
    }

    #[test]
    fn http2(bytes in prop::collection::vec(frames(), 0..12), piece in 1usize..50, body in bodies()) {
        check(Protocol::Http2, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &bytes.concat(), piece, body)?;
    }

    #[test]
    fn anything(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50, is_http1: bool) {
        let protocol = if is_http1 { Protocol::Http1 } else { Protocol::Http2 };
        check(protocol, b"", &bytes, piece, Body::empty())?;
    }

    #[test]
    fn requests(
        method in prop::collection::vec(any::<u8>(), 0..5),
        authority in "[a-z0-9:@\\[\\]_.%/? -]{0,12}",
        path in prop::collection::vec(any::<u8>(), 0..12),
        name in prop::collection::vec(any::<u8>(), 0..5),
        value in prop::collection::vec(any::<u8>(), 0..12),
        is_http1: bool,
    ) {
        let path = [b"/", &path[..]].concat();
        let headers: Headers = &[(&name, &value)];
        if let Ok(request) = Request::new(&method, "http", authority.as_bytes(), &path, headers, Body::empty()) {
            let mut connection = connection(if is_http1 { Protocol::Http1 } else { Protocol::Http2 });
            connection.start(request);
            prop_assert!(!connection.take_output().is_empty());
            prop_assert!(connection.next_event().is_none());
        }
    }
}
