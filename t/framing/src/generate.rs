//! Cases that follow from a seed.

use crate::case::{Answer, AnswerFraming, Case, Exchange, Moment, Request, RequestBody};
use crate::random::Random;

/// Those which the upstream answers.
pub const PROXIED: &[&str] = &[
    "proxy",
    "unbuffered",
    "http10",
    "host",
    "first",
    "in-file",
    "upgrade",
    "exec",
    "slice",
    "auth",
    "mirror",
    "intercept",
    "gzip",
];
/// Those which nginx answers.
pub const LOCAL: &[&str] = &["file", "return", "lua", "discard", "missing"];

const NAMES: &[&str] = &[
    "content-length",
    "content-length",
    "Content-Length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "x-any",
    "x-id-copy",
];
const REQUEST_NAMES: &[&str] = &[
    ":method",
    ":path",
    ":authority",
    ":scheme",
    "host",
    "range",
    "if-range",
    "content-type",
    "accept-encoding",
    "cookie",
    ":status",
];
const RESPONSE_NAMES: &[&str] = &[
    ":status",
    ":status",
    "content-encoding",
    "content-type",
    "etag",
    "accept-ranges",
    "content-range",
    "server",
    "date",
    "location",
    "last-modified",
    "set-cookie",
];
const ODD_NAMES: &[&str] = &["\"\"", "\"x y\"", "x:y", "x\\r\\nx-injected", "\\0", ":x", "\\xff"];
const VALUES: &[&str] = &[
    "\"\"",
    "0",
    "1",
    "5",
    "24",
    "100000",
    "-1",
    "99999999999999999999",
    "chunked",
    "identity",
    "gzip,\\x20chunked",
    "close",
    "keep-alive",
    "upgrade",
    "websocket",
    "h2c",
    "trailers",
    "100-continue",
    "timeout=5",
    "\"a b\"",
    "a\\r\\nx-injected:1",
    "a\\r\\n\\r\\nx-injected:1",
    "a\\nx-injected:1",
    "a\\0b",
    "\\xff\\xfe",
];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "\"G T\"", "\"\"", "get"];
const PATHS: &[&str] = &[
    "/other",
    "/other?a=b",
    "no-slash",
    "\"/a b\"",
    "/a\\r\\nx-injected:1",
    "/a%0d%0ax-injected:1",
    "\"\"",
    "*",
    "/\\xff",
    "http://x/y",
    "//a",
    "/a#b",
    "/a?b\\x20c",
];
const STATUSES: &[&str] = &[
    "200", "204", "304", "100", "101", "103", "199", "206", "403", "500", "599", "600", "99", "abc", "\"\"", "999",
    "1000",
];
const AUTHORITIES: &[&str] = &["new.example", "\"\"", "a\\r\\nx-injected:1", "\"a b\"", "x:80", "[::1]"];
const PROPERTIES: &[&str] = &[
    "args",
    "uri",
    "request_uri",
    "host",
    "request_method",
    "x",
    "content_length",
    "http_host",
    "http_content_length",
    "sent_http_content_length",
    "request_body",
    "is_args",
    "request\\0path",
    "wasm_process_req_body",
    "wasm_process_resp_body",
    "proxy_host",
];
const PROPERTY_VALUES: &[&str] =
    &["a", "\"\"", "a\\r\\nx-injected:1", "\"a b\"", "true", "1", "/other", "a\\0b", "\\xff"];
const TRAILERS: &[&str] =
    &["x-trailer", "grpc-status", "content-length", "transfer-encoding", "\"x y\"", "\"\"", "connection", "x:y"];

pub fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let random = &mut random;
    let phases = phases(random);
    let script = script(random, &phases);
    let mut exchanges: Vec<Exchange> = (0..1 + random.below(6)).map(|n| exchange(random, n > 0)).collect();
    // The body filter runs for each slice by itself: what is held back or replaced there is another matter.
    let replaces = script.iter().any(|line| line.starts_with("response_headers: send_local_response"));
    if replaces || phases.iter().any(|phase| phase == "response_body") {
        for Exchange { request, .. } in &mut exchanges {
            request.location = request.location.replace("slice", "proxy");
        }
    }
    // A handler in Lua is told by what its prints return, and ends as if it had answered.
    if script.iter().any(|line| line.starts_with("response_headers: close_stream")) {
        for Exchange { request, .. } in &mut exchanges {
            request.location = request.location.replace("lua", "return").replace("discard", "return");
        }
    }
    // A mirror that nginx has not sent yet shares the headers that ngx_lua takes out of its request's list.
    if script.iter().any(|line| line.starts_with("response_") && line.contains("_header") && line.contains(" request"))
    {
        for Exchange { request, .. } in &mut exchanges {
            request.location = request.location.replace("mirror", "proxy");
        }
    }
    let is_http2 = random.one_in(4);
    if is_http2 {
        // Which nginx passes on, though HTTP/2 has no such header.
        exchanges.iter_mut().for_each(|exchange| exchange.answer.headers.retain(|(name, _)| name != "Upgrade"));
    }
    Case { phases, script, exchanges, is_http2 }
}

fn phases(random: &mut Random) -> Vec<String> {
    let mut phases = Vec::new();
    for callback in ["request_headers", "request_body", "response_headers", "response_body"] {
        if !random.one_in(4) {
            phases.push(callback);
        }
    }
    if random.one_in(6) {
        phases.push("read_first");
    }
    if random.one_in(4) {
        phases.push("in_parts");
    }
    phases.into_iter().map(str::to_owned).collect()
}

fn script(random: &mut Random, phases: &[String]) -> Vec<String> {
    // The last ones are always called.
    let mut callbacks: Vec<&str> =
        phases.iter().map(String::as_str).filter(|phase| phase.starts_with("re") && *phase != "read_first").collect();
    callbacks.push("log");
    let edits_bodies = random.one_in(3);
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..random.below(7) {
        let callback = random.pick(&callbacks);
        lines.extend(
            commands(random, callback, edits_bodies).into_iter().map(|command| format!("{callback}: {command}")),
        );
    }
    if random.one_in(12) && callbacks.contains(&"request_headers") {
        lines.push(
            "request_headers: http_call 127.0.0.1:$UPSTREAM 5000 \"\" :method=GET :path=/callout :authority=callout"
                .into(),
        );
        lines.push("request_headers: return 1".into());
        lines.push("call_response: resume".into());
    }
    lines
}

fn name(random: &mut Random, map: &str) -> &'static str {
    match random.below(10) {
        0 => random.pick(ODD_NAMES),
        1..4 if map == "request" => random.pick(REQUEST_NAMES),
        1..4 if map == "response" => random.pick(RESPONSE_NAMES),
        _ if map.ends_with("trailers") => random.pick(TRAILERS),
        _ => random.pick(NAMES),
    }
}

fn value(random: &mut Random, name: &str) -> &'static str {
    let values = match name {
        ":method" => METHODS,
        ":path" => PATHS,
        ":status" => STATUSES,
        ":authority" | "host" => AUTHORITIES,
        _ => VALUES,
    };
    if random.one_in(8) { random.pick(VALUES) } else { random.pick(values) }
}

fn commands(random: &mut Random, callback: &str, edits_bodies: bool) -> Vec<String> {
    let is_request = callback.starts_with("request");
    let is_body = callback.ends_with("body");
    let own = if is_request { "request" } else { "response" };
    // A map that is not the phase's own now and then.
    let map = match random.below(10) {
        0 => "request",
        1 => "response",
        2 => "response_trailers",
        3 if random.one_in(4) => "request_trailers",
        _ => own,
    };
    let one = match random.below(if callback == "log" { 10 } else { 30 }) {
        0..3 => format!("get_header {map} {}", name(random, map)),
        3 => format!("get_headers {map}"),
        4 => format!("get_property {}", random.pick(PROPERTIES)),
        5 => format!("get_body {own} 0 {}", random.pick(&["0", "1", "100000"])),
        6 | 10..14 => format!("remove_header {map} {}", name(random, map)),
        7 | 14..20 => {
            let name = name(random, map);
            format!("replace_header {map} {name} {}", value(random, name))
        }
        20..23 => {
            let name = name(random, map);
            format!("add_header {map} {name} {}", value(random, name))
        }
        8 | 23..25 => format!("copy_headers {map}"),
        9 | 25 if random.one_in(2) => {
            let pairs: Vec<String> = (0..random.below(5))
                .map(|_| {
                    let name = name(random, map);
                    format!("{}={}", name.trim_matches('"'), value(random, name).trim_matches('"'))
                })
                .collect();
            format!("set_headers {map} {}", pairs.join(" ").replace(' ', if pairs.len() > 1 { " " } else { "\\x20" }))
                .trim_end()
                .to_owned()
        }
        9 | 25 => format!("set_property {} {}", random.pick(PROPERTIES), random.pick(PROPERTY_VALUES)),
        26 if random.one_in(2) => {
            let status =
                random.pick(&["200", "204", "304", "100", "101", "103", "403", "503", "599", "0", "99", "600", "1000"]);
            let body = random.pick(&["\"\"", "denied", "\"HTTP/1.1 299 Smuggled\\r\\n\\r\\n\""]);
            let headers: Vec<String> = (0..random.below(3))
                .map(|_| {
                    let name = name(random, "response");
                    format!(
                        "{}={}",
                        name.trim_matches('"').replace(' ', "\\x20"),
                        value(random, name).trim_matches('"').replace(' ', "\\x20")
                    )
                })
                .collect();
            format!("send_local_response {status} {body} {}", headers.join(" ")).trim_end().to_owned()
        }
        26 => match random.below(4) {
            0 => "trap".into(),
            1 => "panic oh".into(),
            2 => format!("close_stream {}", random.below(2)),
            _ => "loop_a_little".into(),
        },
        _ if edits_bodies && is_body => {
            let condition = random.pick(&["", "", "at_end ", "before_end "]);
            match random.below(6) {
                0 => format!("{condition}double {own}"),
                1 if own == "response" => {
                    return vec!["before_end return 1".into()];
                }
                _ => format!(
                    "{condition}set_body {own} {} {} {}",
                    random.pick(&["0", "0", "5", "100000"]),
                    random.pick(&["0", "1", "100000", "-1"]),
                    random.pick(&["\"\"", "x", "replaced", "\"GET /smuggled/0 HTTP/1.1\\r\\nHost: s\\r\\n\\r\\n\""])
                ),
            }
        }
        _ => format!("remove_header {own} content-length"),
    };
    vec![one.replace("loop_a_little", "get_headers request")]
}

fn exchange(random: &mut Random, may_be_pipelined: bool) -> Exchange {
    let locations = match random.below(8) {
        0 | 1 => LOCAL,
        2..5 => &PROXIED[..2],
        _ => PROXIED,
    };
    let mut request = Request {
        method: random
            .pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
            .into(),
        location: random.pick(locations).into(),
        is_absolute: random.one_in(10),
        minor_version: u8::from(!random.one_in(8)),
        is_pipelined: may_be_pipelined && random.one_in(3),
        ..Request::default()
    };
    let has_body = matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") || random.one_in(5);
    if has_body {
        request.body = body(random, request.minor_version);
    }
    if request.minor_version == 0 && !random.one_in(3) {
        request.headers.push(("Connection".into(), "keep-alive".into()));
    } else if random.one_in(8) {
        let value = random.pick(&["keep-alive", "close", "upgrade", "TE", "x-any"]);
        request.headers.push(("Connection".into(), value.into()));
    }
    for (name, value) in [
        ("Upgrade", "websocket"),
        ("TE", "trailers"),
        ("Range", "bytes=2-5"),
        ("Range", "bytes=-3"),
        ("Accept-Encoding", "gzip"),
        ("If-None-Match", "\"other\""),
        ("X-Any", ""),
        ("X-Any", "value"),
        ("Cookie", "a=b"),
        ("Trailer", "x-trailer"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
    ] {
        if random.one_in(14) && !request.headers.iter().any(|(other, _)| other == name && name == "Range") {
            request.headers.push((name.into(), value.into()));
        }
    }
    if has_body && request.minor_version == 1 && random.one_in(6) {
        request.headers.push(("Expect".into(), "100-continue".into()));
    }
    if random.one_in(4) {
        request.pieces = (0..1 + random.below(4)).map(|_| 1 + random.below(80)).collect();
    }
    let answer = answer(random, &request);
    Exchange { request, answer }
}

fn size(random: &mut Random) -> usize {
    match random.below(12) {
        0 => 0,
        1 => 1,
        2..7 => random.below(60),
        7..10 => random.below(5000),
        10 => 8192 - 3 + random.below(6),
        _ => 10_000 + random.below(60_000),
    }
}

fn body(random: &mut Random, minor_version: u8) -> RequestBody {
    if minor_version == 0 || random.one_in(2) {
        return RequestBody::Length(size(random));
    }
    let count = random.below(5);
    RequestBody::Chunks((0..count).map(|_| 1 + size(random) / (1 + random.below(3))).collect())
}

fn answer(random: &mut Random, request: &Request) -> Answer {
    let mut answer = Answer {
        status: random.pick(&[200, 200, 200, 200, 200, 201, 204, 304, 302, 404, 500]),
        framing: random.pick(&[
            AnswerFraming::Length,
            AnswerFraming::Length,
            AnswerFraming::Length,
            AnswerFraming::Chunked,
            AnswerFraming::Chunked,
            AnswerFraming::Trailers,
            AnswerFraming::Close,
        ]),
        size: size(random),
        headers: Vec::new(),
        moment: random.pick(&[
            Moment::After,
            Moment::After,
            Moment::After,
            Moment::After,
            Moment::Before,
            Moment::Instead,
        ]),
    };
    if random.one_in(25) {
        answer.framing = AnswerFraming::Cut;
    }
    if request.location == "slice" {
        answer.status = 200;
        answer.framing = AnswerFraming::Length;
        answer.moment = Moment::After;
        answer.headers.push(("ETag".into(), "\"slice\"".into()));
    }
    for (name, value) in [
        ("Content-Encoding", "gzip"),
        ("Connection", "keep-alive"),
        ("Connection", "close"),
        ("Keep-Alive", "timeout=5"),
        ("Upgrade", "h2c"),
        ("Accept-Ranges", "bytes"),
        ("Set-Cookie", "a=b"),
        ("X-Upstream", "1"),
        ("Trailer", "x-trailer"),
        ("Content-Type", "text/html"),
    ] {
        if random.one_in(12) && !answer.headers.iter().any(|(other, _)| other == name) {
            answer.headers.push((name.into(), value.into()));
        }
    }
    answer
}
