//! Guests of several tests.

/// The text of a guest that logs from each callback what it was called with, as `name context a b c`.
///
/// `extra` is further text of the module. `done` is what `proxy_on_done` returns.
pub fn logging_guest(extra: &str) -> String {
    let one = |name: &str, result: &str| callback(name, 1, result);
    let callbacks = [
        callback("context_create", 2, ""),
        callback("vm_start", 2, "1"),
        callback("configure", 2, "1"),
        callback("request_headers", 3, "0"),
        callback("request_body", 3, "0"),
        callback("response_headers", 3, "0"),
        callback("response_body", 3, "0"),
        one("done", "1"),
        one("log", ""),
        one("delete", ""),
    ];
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func $digit (param $at i32) (param $n i32)
                (i32.store8 (local.get $at) (i32.const 32))
                (i32.store8 offset=1 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10)))))
            (func (export "proxy_abi_version_0_2_1"))
            {} {extra})"#,
        callbacks.concat()
    )
}

/// One callback of [`logging_guest`]; its name is at an address of its own.
fn callback(name: &str, parameters: usize, result: &str) -> String {
    let at = name.bytes().map(usize::from).sum::<usize>() * 16 % 32768 + 64;
    let size = name.len();
    let digits: String =
        (0..parameters).map(|n| format!("(call $digit (i32.const {}) (local.get {n}))", at + size + 2 * n)).collect();
    let returns = if result.is_empty() { String::new() } else { "(result i32)".into() };
    let result = if result.is_empty() { String::new() } else { format!("(i32.const {result})") };
    format!(
        r#"(data (i32.const {at}) "{name}")
        (func (export "proxy_on_{name}") (param {}) {returns}
            {digits} (drop (call $log (i32.const 2) (i32.const {at}) (i32.const {}))) {result})"#,
        "i32 ".repeat(parameters),
        size + 2 * parameters
    )
}
