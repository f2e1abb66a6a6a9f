//! Foreign functions: those of Envoy, those of the proxy, and the proxy's calls of the guest's.

use proptest::prelude::*;
use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    CallError,
    abi::Status,
    context::Options,
    vm::{Event, Outcome},
};

use crate::guest::logging_guest;

const OK: u8 = 0;
const NOT_FOUND: u8 = 1;
const BAD_ARGUMENT: u8 = 2;
const SERIALIZATION_FAILURE: u8 = 3;
const INTERNAL_FAILURE: u8 = 10;

/// A guest that calls `function` with the response's body. It leaves a body of the status, the size that it was told, and the
/// result.
fn calling_guest(function: &str, pointer_out: u32, size_out: u32) -> String {
    format!(
        r#"(module
            (import "env" "proxy_call_foreign_function"
                (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "{function}")
            (data (i32.const 8) "\ff\ff\ff\ff")
            (func (export "malloc") (param i32) (result i32)
                (i32.shl (memory.grow (i32.add (i32.shr_u (local.get 0) (i32.const 16)) (i32.const 1))) (i32.const 16)))
            (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
                (drop (call $get (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 20)))
                (i32.store8 (i32.const 4) (call $call
                    (i32.const 64) (i32.const {}) (i32.load (i32.const 16)) (i32.load (i32.const 20))
                    (i32.const {pointer_out}) (i32.const {size_out})))
                (drop (call $set (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 4) (i32.const 1)))
                (drop (call $set (i32.const 1) (i32.const -1) (i32.const 0) (i32.const 8) (i32.const 4)))
                (if (i32.ne (i32.load (i32.const 8)) (i32.const -1)) (then
                    (drop (call $set (i32.const 1) (i32.const -1) (i32.const 0)
                        (i32.load (i32.const 12)) (i32.load (i32.const 8))))))
                (i32.const 0)))"#,
        function.len(),
    )
}

/// The status, and the result unless the guest was told no size.
fn run(guest: &str, arguments: &[u8]) -> (u8, Option<Vec<u8>>) {
    let options = Options { body_limit: 1 << 30, ..Options::new("a plugin") };
    let proxy = Proxy::default();
    proxy.set_function(b"reverse", |arguments| Ok(arguments.iter().rev().copied().collect()));
    proxy.set_function(b"fail", |_| Err(Status::InternalFailure));
    let plugin = proxy.load_with(options, guest).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    let request = Request { body: Some(arguments.into()), ..Request::default() };
    let outcome = plugin.on_event(stream, request, Event::ResponseBody { end_of_stream: true }).unwrap();
    let Outcome::Body(body) = outcome else { panic!("{outcome:?}") };
    let (size, result) = (u32::from_le_bytes(body[1..5].try_into().unwrap()), &body[5..]);
    if size == u32::MAX {
        return (body[0], None);
    }
    assert_eq!(size as usize, result.len());
    (body[0], Some(result.to_vec()))
}

fn call(function: &str, arguments: &[u8]) -> (u8, Option<Vec<u8>>) {
    run(&calling_guest(function, 12, 8), arguments)
}

/// The result of a call that succeeds.
fn result_of(function: &str, arguments: &[u8]) -> Vec<u8> {
    let (status, result) = call(function, arguments);
    assert_eq!(status, OK, "{function}");
    result.expect("there is a result")
}

#[test]
fn a_function_of_the_proxy_is_called_with_the_arguments() {
    assert_eq!(call("reverse", b"abc"), (OK, Some(b"cba".to_vec())));
    assert_eq!(call("reverse", b""), (OK, Some(Vec::new())));
    assert_eq!(call("fail", b"abc"), (INTERNAL_FAILURE, None));
}

#[test]
fn an_unknown_function_is_not_found() {
    for name in ["none", "", "reverse ", "Reverse", "compress\\00", "\\ff\\fe"] {
        assert_eq!(run(&calling_guest(name, 12, 8), b"abc"), (NOT_FOUND, None), "{name}");
    }
}

#[test]
fn a_guest_without_a_use_for_the_result_gets_nothing() {
    for (pointer_out, size_out) in [(0, 0), (12, 0), (0, 8)] {
        let guest = calling_guest("reverse", pointer_out, size_out);
        assert_eq!(run(&guest, b"abc"), (OK, None), "{pointer_out} {size_out}");
    }
    let without_allocator = calling_guest("reverse", 0, 0).replace("malloc", "other");
    assert_eq!(run(&without_allocator, b""), (OK, None));
}

#[test]
fn there_is_nothing_to_clear() {
    assert_eq!(call("clear_route_cache", b""), (OK, Some(Vec::new())));
    assert_eq!(call("clear_route_cache", b"whatever"), (OK, Some(Vec::new())));
}

/// What zlib itself made.
const ZLIB: &[(&[u8], &[u8])] = &[
    (b"", b"\x78\x9c\x03\x00\x00\x00\x00\x01"),
    (b"hello", b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15"),
    (&[b'a'; 100], b"\x78\x9c\x4b\x4c\xa4\x3d\x00\x00\x7a\x47\x25\xe5"),
];

#[test]
fn what_zlib_compressed_is_uncompressed() {
    for (text, compressed) in ZLIB {
        assert_eq!(result_of("uncompress", compressed), *text);
    }
}

#[test]
fn what_follows_the_compressed_bytes_is_ignored() {
    assert_eq!(result_of("uncompress", &[ZLIB[1].1, b"trailing"].concat()), b"hello");
}

#[test]
fn bytes_are_compressed_to_the_zlib_format() {
    let text = b"a text that repeats itself, ".repeat(1000);
    let compressed = result_of("compress", &text);
    assert!(compressed.len() < text.len() / 10, "{} bytes", compressed.len());
    assert_eq!(compressed[0], 0x78, "deflate with a window of 32 KiB");
    assert_eq!(u16::from_be_bytes([compressed[0], compressed[1]]) % 31, 0);
    let adler = text.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    assert_eq!(compressed[compressed.len() - 4..], (adler.1 << 16 | adler.0).to_be_bytes());
}

#[test]
fn what_is_not_in_the_zlib_format_is_no_crash() {
    let hello = ZLIB[1].1;
    let raw = &hello[2..9];
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00";
    let wrong_sum = [&hello[..12], b"\x16"].concat();
    let needs_dictionary = b"\x78\xbb\x06\x2c\x02\x15\xcb\x00";
    for bytes in [b"", &b"\0"[..], b"\x78", b"hello", raw, gzip, &wrong_sum, needs_dictionary, &[0xff; 1000]] {
        assert_eq!(call("uncompress", bytes), (SERIALIZATION_FAILURE, None), "{bytes:x?}");
    }
    for size in 0..hello.len() {
        assert_eq!(call("uncompress", &hello[..size]), (SERIALIZATION_FAILURE, None), "{size}");
    }
}

#[test]
fn no_more_than_64_mib_are_uncompressed() {
    const MOST: usize = 64 << 20;
    assert_eq!(result_of("uncompress", &result_of("compress", &vec![0; MOST])).len(), MOST);
    assert_eq!(call("uncompress", &result_of("compress", &vec![0; MOST + 1])), (SERIALIZATION_FAILURE, None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_compressed_is_uncompressed(words in prop::collection::vec("[a-c]{0,9}|\\PC{0,5}", 0..500)) {
        let text = words.concat().into_bytes();
        prop_assert_eq!(result_of("uncompress", &result_of("compress", &text)), text);
    }

    #[test]
    fn any_arguments_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for function in ["uncompress", "sign", "verify_signature"] {
            let (status, _) = call(function, &bytes);
            prop_assert!([OK, BAD_ARGUMENT, SERIALIZATION_FAILURE].contains(&status), "{} {}", function, status);
        }
    }
}

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../data/", $name))
    };
}

/// The number of the field that a key is in, and its bytes.
type Key<'a> = (u8, &'a [u8]);

/// A field of protobuf that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut size = bytes.len();
    while size >= 128 {
        field.push(size as u8 | 128);
        size >>= 7;
    }
    field.push(size as u8);
    [&field, bytes].concat()
}

/// Arguments of `verify_signature`.
fn to_verify(hash: &str, key: Key<'_>, signature: &[u8], text: &str) -> Vec<u8> {
    [field(1, hash.as_bytes()), field(key.0, key.1), field(3, signature), field(4, text.as_bytes())].concat()
}

/// Arguments of `sign`.
fn to_sign(hash: &str, key: Key<'_>, text: &str) -> Vec<u8> {
    [field(1, hash.as_bytes()), field(key.0, key.1), field(3, text.as_bytes())].concat()
}

/// A result with `result: true`.
const TRUE: &[u8] = &[8, 1];

#[test]
fn signatures_of_openssl_are_verified() {
    let rsa_pem: Key<'_> = (5, data!("rsa-public.pem"));
    let cases: &[(&str, Key<'_>, &[u8])] = &[
        ("sha1", rsa_pem, data!("rsa-sha1.signature")),
        ("sha224", rsa_pem, data!("rsa-sha224.signature")),
        ("sha256", rsa_pem, data!("rsa-sha256.signature")),
        ("SHA384", rsa_pem, data!("rsa-sha384.signature")),
        ("sha512", (2, data!("rsa-public.der")), data!("rsa-sha512.signature")),
        ("sha1", (5, data!("p256-public.pem")), data!("p256-sha1.signature")),
        ("sha512", (5, data!("p256-public.pem")), data!("p256-sha512.signature")),
        ("sha1", (5, data!("p384-public.pem")), data!("p384-sha1.signature")),
        ("sha512", (5, data!("p384-public.pem")), data!("p384-sha512.signature")),
        ("sha1", (5, data!("p521-public.pem")), data!("p521-sha1.signature")),
        ("sha512", (5, data!("p521-public.pem")), data!("p521-sha512.signature")),
    ];
    for (hash, key, signature) in cases {
        let result = result_of("verify_signature", &to_verify(hash, *key, signature, "sample"));
        assert_eq!(result, TRUE, "{hash} {}", String::from_utf8_lossy(&result));

        let failed = field(2, b"Failed to verify digest. Error code: 0");
        assert_eq!(result_of("verify_signature", &to_verify(hash, *key, signature, "Sample")), failed);
        assert_eq!(result_of("verify_signature", &to_verify(hash, *key, &signature[1..], "sample")), failed);
        assert_eq!(result_of("verify_signature", &to_verify(hash, *key, b"", "sample")), failed);
        assert_eq!(result_of("verify_signature", &to_verify("sha256", *key, b"\x30\x00", "sample")), failed);
    }
}

#[test]
fn rsa_signatures_are_those_of_openssl() {
    let signature = [TRUE, &field(2, data!("rsa-sha256.signature"))].concat();
    let keys: &[Key<'_>] = &[(4, data!("rsa-pkcs1.pem")), (4, data!("rsa-pkcs8.pem")), (2, data!("rsa-pkcs8.der"))];
    for key in keys {
        assert_eq!(result_of("sign", &to_sign("sha256", *key, "sample")), signature);
    }
    let signature = [TRUE, &field(2, data!("rsa-sha1.signature"))].concat();
    assert_eq!(result_of("sign", &to_sign("SHA1", keys[0], "sample")), signature);
}

#[test]
fn an_ecdsa_signature_is_that_of_rfc_6979() {
    let signature = b"\x30\x46\
        \x02\x21\x00\xef\xd4\x8b\x2a\xac\xb6\xa8\xfd\x11\x40\xdd\x9c\xd4\x5e\x81\xd6\x9d\x2c\x87\x7b\x56\xaa\xf9\x91\xc3\x4d\x0e\xa8\x4e\xaf\x37\x16\
        \x02\x21\x00\xf7\xcb\x1c\x94\x2d\x65\x7c\x41\xd4\x36\xc7\xa1\xb6\xe2\x9f\x65\xf3\xe9\x00\xdb\xb9\xaf\xf4\x06\x4d\xc4\xab\x2f\x84\x3a\xcd\xa8";
    let expected = [TRUE, &field(2, signature)].concat();
    assert_eq!(result_of("sign", &to_sign("sha256", (4, data!("p256-sec1.pem")), "sample")), expected);
    assert_eq!(result_of("sign", &to_sign("sha256", (2, data!("p256-pkcs8.der")), "sample")), expected);
}

#[test]
fn what_was_signed_is_verified() {
    let keys: &[(&[u8], &[u8], &[u8])] = &[
        (data!("p256-sec1.pem"), data!("p256-pkcs8.der"), data!("p256-public.pem")),
        (data!("p384-sec1.pem"), data!("p384-pkcs8.der"), data!("p384-public.pem")),
        (data!("p521-sec1.pem"), data!("p521-pkcs8.der"), data!("p521-public.pem")),
    ];
    for (pem, der, public) in keys {
        for hash in ["sha1", "sha224", "sha256", "sha384", "sha512"] {
            for key in [(4, *pem), (2, *der)] {
                let signed = result_of("sign", &to_sign(hash, key, "a text"));
                assert_eq!(signed[..3], [8, 1, 2 << 3 | 2], "{hash}");
                let signature = &signed[if signed[3] < 128 { 4 } else { 5 }..];
                assert_eq!(result_of("verify_signature", &to_verify(hash, (5, public), signature, "a text")), TRUE);
            }
        }
    }
}

#[test]
fn keys_and_hashes_that_cannot_be_used_are_told() {
    let verify = |hash, key| result_of("verify_signature", &to_verify(hash, key, b"", ""));
    let no_key = field(2, b"Failed to initialize digest verify.");
    assert_eq!(verify("md5", (5, data!("rsa-public.pem"))), field(2, b"md5 is not supported."));
    assert_eq!(verify("", (5, b"no key")), field(2, b" is not supported."));
    let others: &[Key<'_>] = &[
        (5, b"no key"),
        (2, b"no key"),
        (2, data!("rsa-public.pem")),
        (5, data!("rsa-pkcs8.pem")),
        (5, data!("ed25519-public.pem")),
        (5, b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"),
        (5, b"-----BEGIN PUBLIC KEY-----\n"),
        (5, b"-----END PUBLIC KEY----------BEGIN PUBLIC KEY-----"),
    ];
    for key in others {
        assert_eq!(verify("sha256", *key), no_key, "{}", String::from_utf8_lossy(key.1));
    }

    let sign = |hash, key| result_of("sign", &to_sign(hash, key, ""));
    let no_key = field(3, b"Invalid key type: private key required for signing operation.");
    assert_eq!(sign("sha3", (4, data!("rsa-pkcs8.pem"))), field(3, b"sha3 is not supported."));
    assert_eq!(sign("sha256", (4, data!("rsa-public.pem"))), no_key);
    assert_eq!(sign("sha256", (2, b"no key")), no_key);
}

#[test]
fn a_private_key_that_would_take_too_long_is_none() {
    let no_key = field(3, b"Invalid key type: private key required for signing operation.");
    assert_eq!(result_of("sign", &to_sign("sha256", (2, data!("rsa9600-pkcs8.der")), "sample")), no_key);
}

#[test]
fn arguments_that_are_no_message_and_none_or_two_keys_are_bad() {
    let wrong_type: &[u8] = &[1 << 3, 1];
    let not_utf8 = field(1, b"\xff");
    for (function, pem_field) in [("verify_signature", 5), ("sign", 4)] {
        let pem = field(pem_field, b"any key");
        let twice = [field(2, b"any key"), pem.clone()].concat();
        for arguments in [b"", &b"\xff"[..], b"text", &field(1, b"sha256"), &twice, &pem[..5], wrong_type, &not_utf8] {
            assert_eq!(call(function, arguments), (BAD_ARGUMENT, None), "{function} {arguments:x?}");
        }
    }
}

/// A guest that logs its arguments' part of the size that it is told, and the context's and the function's numbers.
fn called_guest(inside: &str) -> String {
    logging_guest(&format!(
        r#"(import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (func (export "malloc") (param i32) (result i32) (i32.const 60000))
        (func (export "proxy_on_foreign_function") (param i32 i32 i32)
            (call $digit (i32.const 59000) (local.get 0))
            (call $digit (i32.const 59002) (local.get 1))
            (drop (call $log (i32.const 2) (i32.const 59000) (i32.const 4)))
            (if (i32.eqz (call $get (i32.const 8) (i32.const 0) (local.get 2) (i32.const 59996) (i32.const 59992)))
                (then (drop (call $log (i32.const 2) (i32.load (i32.const 59996)) (i32.load (i32.const 59992))))))
            {inside})"#
    ))
}

/// Imports come first in a module.
fn imports_first(module: &str) -> String {
    let import = r#"(import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))"#;
    module.replacen(import, "", 1).replacen("(module", &format!("(module {import}"), 1)
}

#[test]
fn the_proxy_calls_the_guest_in_the_plugin_context() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&imports_first(&called_guest(""))).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    proxy.take_log();
    context.on_foreign_function(7, b"arguments").unwrap();
    assert_eq!(proxy.take_log(), [" 1 7", "arguments"]);
    context.on_foreign_function(u32::MAX, b"").unwrap();
    assert_eq!(proxy.take_log(), [" 1 5"]);
    plugin.close_stream(stream);
}

#[test]
fn a_guest_without_the_callback_is_not_called() {
    let plugin = Proxy::default().load(&logging_guest("")).unwrap();
    assert_eq!(plugin.configure(b"conf").unwrap().on_foreign_function(0, b"arguments"), Ok(()));
}

#[test]
fn a_guest_that_traps_is_built_anew_at_the_next_call() {
    let proxy = Proxy::default();
    let inside = "(if (i32.eqz (local.get 1)) (then unreachable))";
    let plugin = proxy.load(&imports_first(&called_guest(inside))).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    assert_eq!(context.on_foreign_function(0, b"first"), Err(CallError::Trapped));
    proxy.take_log();
    assert_eq!(context.on_foreign_function(1, b"next"), Ok(()));
    assert_eq!(proxy.take_log(), ["context_create 1 0", "vm_start 1 0", "configure 1 4", " 1 1", "next"]);
}
