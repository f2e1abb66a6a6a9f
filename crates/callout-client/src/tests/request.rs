use super::*;

fn error(method: &[u8], authority: &[u8], path: &[u8], headers: Headers) -> String {
    Request::new(method, "http", authority, path, headers, Body::empty()).unwrap_err().to_string()
}

#[test]
fn errors_name_the_value_and_the_rule() {
    let error = |method: &str, authority: &str, path: &str, headers| {
        error(method.as_bytes(), authority.as_bytes(), path.as_bytes(), headers)
    };
    assert_eq!(error("G T", "a", "/", &[]), "method \"G T\" is not a token");
    assert_eq!(error("CONNECT", "a", "/", &[]), "method CONNECT makes a tunnel and cannot be sent");
    for authority in ["", "a b", "user@a", ":80", "a/b"] {
        let expected = format!("authority \"{authority}\" is not a host with an optional port");
        assert_eq!(error("GET", authority, "/", &[]), expected);
    }
    for path in ["", "a", "/a b", "/a#b", "http://a/"] {
        let expected = format!("path \"{path}\" is not an absolute path with an optional query");
        assert_eq!(error("GET", "a", path, &[]), expected);
    }
    assert!(error("GET", "a", &format!("/{}", "a".repeat(70_000)), &[]).starts_with("path \"/aaa"));
    assert_eq!(error("GET", "a", "/", &[(b":path", b"")]), "header name \":path\" is not a token");
    assert_eq!(
        error("GET", "a", "/", &[(b"a", b"b\r\nc")]),
        "value \"b\\r\\nc\" of header \"a\" has control characters"
    );
    let many = vec![(&b"a"[..], &b"b"[..]); 40_000];
    assert_eq!(error("GET", "a", "/", &many), "40000 headers are too many");
}

#[test]
fn unusual_parts_are_sent_as_they_are() {
    for (authority, path) in [("[::1]:80", "//double"), ("a_b.c", "/{\"x\"}?a=/b?c"), ("a", "*"), ("a:1", "/%zz?")] {
        let mut connection = connection(Protocol::Http1);
        let request = Request::new(b"GET", "http", authority.as_bytes(), path.as_bytes(), &[], Body::empty()).unwrap();
        connection.start(request);
        let expected = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
        assert_eq!(String::from_utf8(connection.take_output()).unwrap(), expected);
    }
}

#[test]
fn a_clone_is_sent_again() {
    let request = request("POST", &[(b"A", b"b")], Body::whole("hello"));
    let sent = [request.clone(), request].map(|request| {
        let mut connection = connection(Protocol::Http1);
        connection.start(request);
        connection.take_output()
    });
    assert_eq!(sent[0], sent[1]);
}

#[test]
fn another_authority_takes_the_place_of_the_first() {
    let mut request = Request::new(b"GET", "http", b"a", b"/", &[(b"x", b"y")], Body::empty()).unwrap();
    request.set_authority("https", b"b:1").unwrap();
    assert!(request.set_authority("https", b"b c").is_err());
    let mut connection = connection(Protocol::Http1);
    connection.start(request);
    assert_eq!(String::from_utf8(connection.take_output()).unwrap(), "GET / HTTP/1.1\r\nhost: b:1\r\nx: y\r\n\r\n");
}
