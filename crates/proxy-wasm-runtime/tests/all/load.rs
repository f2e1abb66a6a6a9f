use std::rc::Rc;

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{LoadError, context::Options, vm::Event};

use crate::guest::logging_guest;

fn error(module: &str) -> String {
    match Proxy::default().load(module) {
        Ok(_) => panic!("the module was loaded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let engine = proxy_wasm_runtime::vm::Engine::new().unwrap();
    for bytes in [&b""[..], b"\0asm", b"hello", b"\0asm\x0d\0\x01\0"] {
        let loaded = engine.load(Proxy::default(), Options::new("p"), bytes);
        assert!(matches!(loaded, Err(LoadError::NoModule { .. })), "{bytes:?}");
    }
    let cut = engine.load(Proxy::default(), Options::new("p"), b"\0asm\x01\0\0\0\xff\xff\xff\xff");
    assert!(matches!(cut, Err(LoadError::Compile(_))));
}

/// One byte of a module is another one.
#[test]
fn what_is_wrong_with_a_module_is_told_in_one_line() {
    let engine = proxy_wasm_runtime::vm::Engine::new().unwrap();
    let bytes = wat::parse_str(logging_guest("")).unwrap();
    let mut refused = 0;
    for index in (0..bytes.len()).step_by(2) {
        let mut broken = bytes.clone();
        broken[index] ^= 0x55;
        let Err(error) = engine.load(Proxy::default(), Options::new("p"), &broken) else { continue };
        if matches!(error, LoadError::NoModule { .. } | LoadError::Compile(_)) {
            assert!(!error.to_string().contains('\n'), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn an_abi_version_that_is_not_known_is_reported_once() {
    let reports = |exports: &str| {
        let proxy = Proxy::default();
        let _plugin = proxy.load(&format!(r#"(module (memory (export "memory") 1) {exports})"#)).unwrap();
        let log = proxy.take_log();
        log.into_iter().filter(|line| line.contains("ABI 0.2.1")).collect::<Vec<_>>().join("|")
    };
    assert!(
        reports("").ends_with("it exports no proxy_abi_version_*: it is run as one of ABI 0.2.1"),
        "{}",
        reports("")
    );
    let unknown = reports(
        r#"(func (export "proxy_abi_version_0_3_0")) (func (export "proxy_abi_version_\n")) (func (export "proxy_done"))"#,
    );
    let found =
        r"it exports proxy_abi_version_0_3_0, proxy_abi_version_\n, which is not known: it is run as one of ABI 0.2.1";
    assert!(unknown.ends_with(found), "{unknown}");
    assert_eq!(reports(r#"(func (export "proxy_abi_version_0_2_0")) (func (export "proxy_abi_version_9"))"#), "");
}

#[test]
fn a_module_without_memory_is_refused() {
    assert_eq!(error("(module)"), "the wasm plugin doesn't export memory");
    assert_eq!(error(r#"(module (func (export "memory")))"#), "the wasm plugin doesn't export memory");
}

#[test]
fn a_callback_of_a_wrong_type_is_refused() {
    let module = r#"(module (memory (export "memory") 1) (func (export "proxy_on_done") (param f32)))"#;
    assert!(error(module).contains("exports proxy_on_done with the type"), "{}", error(module));
}

#[test]
fn an_import_that_is_no_function_is_refused() {
    let module = r#"(module (import "env" "table" (table 1 funcref)) (memory (export "memory") 1))"#;
    assert!(error(module).starts_with("failed to new instance: "), "{}", error(module));
}

#[test]
fn unknown_and_odd_imports_are_reported_and_answer() {
    let proxy = Proxy::default();
    let module = logging_guest("").replacen(
        "(memory",
        r#"(import "env" "nobody_knows" (func (param i64) (result i32)))
           (import "env" "proxy_done" (func (param i32) (result f64)))
           (import "other" "thing" (func))
           (memory"#,
        1,
    );
    let _plugin = proxy.load(&module).unwrap();
    let reports: Vec<String> = proxy.take_log().into_iter().filter(|line| line.contains("import")).collect();
    assert_eq!(reports.len(), 3, "{reports:?}");
    assert!(reports[0].contains("env.nobody_knows is unknown: it does nothing and answers UNIMPLEMENTED"));
    assert!(reports[1].contains("env.proxy_done has the type"));
    assert!(reports[2].contains("other.thing is unknown"));
}

#[test]
fn start_functions_run_in_the_order_of_the_specification() {
    let start = |name: &str, digit: u32| {
        format!(
            r#"(func (export "{name}") (call $digit (i32.const 0) (i32.const {digit}))
            (drop (call $log (i32.const 2) (i32.const 0) (i32.const 2))))"#
        )
    };
    let main =
        start("main", 2).replace(r#"(export "main")"#, r#"(export "main") (param i32 i32) (result i32) (i32.const 0)"#);
    let run = |functions: &str| {
        let proxy = Proxy::default();
        proxy.load(&logging_guest(functions)).unwrap();
        proxy.take_log()[0].trim().to_owned()
    };
    assert_eq!(run(&start("_start", 3)), "3");
    assert_eq!(run(&(start("_start", 3) + &start("_initialize", 1))), "1");

    let proxy = Proxy::default();
    proxy.load(&logging_guest(&(start("_initialize", 1) + &main))).unwrap();
    assert_eq!(proxy.take_log()[..2], [" 1", " 2"]);
}

#[test]
fn the_same_bytes_are_compiled_once() {
    let engine = proxy_wasm_runtime::vm::Engine::new().unwrap();
    let bytes = wat::parse_str(logging_guest("")).unwrap();
    let load = || engine.load(Proxy::default(), Options::new("p"), &bytes).unwrap();
    let (first, second) = (load(), load());
    assert_eq!(engine.modules_in_use(), 1);
    assert!(!Rc::ptr_eq(&first, &second));
    // Not the second's own: it goes, and what both use stays.
    drop(second);
    assert_eq!(engine.modules_in_use(), 1);
    drop(first);
    assert_eq!(engine.modules_in_use(), 0);
}

#[test]
fn header_callbacks_have_two_parameters_in_abi_0_1_0() {
    let proxy = Proxy::default();
    let module = r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "old")
        (func (export "proxy_abi_version_0_1_0"))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            (drop (call $log (i32.const 2) (i32.const 0) (i32.const 3))) (i32.const 0)))"#;
    let plugin = proxy.load(module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
    assert!(proxy.logged("stream: old"));
}
