//! A guest that does what a program says: it makes hostcalls with any arguments, traps, lies and grows.
//!
//! The program is the VM configuration. Each callback, and each run of the allocator, goes on where the one before it stopped, up
//! to an `end`. It is bytes: an instruction, then its operands.
//!
//! | instruction | operands | |
//! | --- | --- | --- |
//! | 0 `end` | number | the callback returns the number |
//! | 1 `store` | number, byte, bytes | writes so many bytes to an address |
//! | 2 `trap` | | |
//! | 3 `grow` | byte | the memory, by pages |
//! | 4 `allocate` | number | what the allocator returns from now on |
//! | 5 `allocator` | byte | how often the allocator runs instructions |
//! | 6 `spin` | | does not end until the deadline, which comes at once |
//! | 7 `reenter` | | has the embedding do what it must not do in a hostcall |
//! | 8 and more | numbers | a hostcall of the table or, after these, a function of WASI |
//!
//! A number is a byte: below 0xe0 itself, below 0xff an address from 16 bytes before the end of the memory to 14 after it, 0xff four
//! bytes. At the end of the program callbacks return 1. An instance that is built anew begins 16 bytes later in the program.

use std::fmt::Write;

use proxy_wasm_runtime::{abi::AbiVersion, guest::CALLBACKS, hostcalls::table::HOSTCALLS};

/// What the guest has at address 0 for its hostcalls.
const DATA: &[(usize, &str)] = &[
    (0, r"\01\00\00\00\01\00\00\00\01\00\00\00a\00b\00"),
    (16, r"name"),
    (20, r"refused"),
    (32, r"plugin_name"),
    (48, r"known"),
    (64, r"\0a\0a\0a\08upstream"),
    (80, r"compress"),
    (88, r"uncompress"),
    (98, r"sign"),
    (102, r"verify_signature"),
    (118, r"reverse"),
    (128, r"\02\00\00\00\03\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00:a\00b\00c\00"),
    (160, r"metric_k=v"),
    (176, r"line\0a"),
    (192, r"\a0\00\00\00\08\00\00\00\b0\00\00\00\05\00\00\00"),
    (208, r"tick"),
    (216, r"reenter"),
];

/// The functions of WASI and their parameters: `i` is an i32, `I` an i64.
const WASI: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

const MACHINE: &str = r#"
    (memory (export "memory") 2)
    (global $pc (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (global $allocated (mut i32) (i32.const 65536))
    (global $allocator (mut i32) (i32.const 0))

    (func $byte (result i32)
        (if (i32.ge_u (global.get $pc) (global.get $end)) (then (return (i32.const 0))))
        (i32.load8_u (global.get $pc))
        (global.set $pc (i32.add (global.get $pc) (i32.const 1))))
    (func $number (result i32) (local $byte i32)
        (local.set $byte (call $byte))
        (if (i32.lt_u (local.get $byte) (i32.const 0xe0)) (then (return (local.get $byte))))
        (if (i32.lt_u (local.get $byte) (i32.const 0xff)) (then (return
            (i32.add (i32.mul (memory.size) (i32.const 65536)) (i32.sub (local.get $byte) (i32.const 0xf0))))))
        (i32.or (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8)))
            (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24)))))
    (func $long (result i64) (i64.extend_i32_s (call $number)))
    (func $store (local $to i32) (local $count i32)
        (local.set $to (call $number))
        (local.set $count (call $byte))
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $count)))
            (i32.store8 (local.get $to) (call $byte))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $next))))

    (func $load (local $skipped i32)
        (drop (call $get_buffer (i32.const 6) (i32.const 0) (i32.const -1) (i32.const 65528) (i32.const 65532)))
        (global.set $pc (i32.const 65536))
        (global.set $end (i32.add (global.get $pc) (i32.load (i32.const 65532))))
        (global.set $allocated (i32.const 65520))
        (if (i32.eqz (call $get_shared (i32.const 208) (i32.const 4) (i32.const 65528) (i32.const 65532) (i32.const 0)))
            (then (local.set $skipped (i32.add (i32.load (i32.const 65520)) (i32.const 16)))))
        (i32.store (i32.const 65524) (local.get $skipped))
        (drop (call $set_shared (i32.const 208) (i32.const 4) (i32.const 65524) (i32.const 4) (i32.const 0)))
        (global.set $pc (i32.add (global.get $pc) (local.get $skipped)))
        (global.set $allocated (i32.const 4096)))

    (func $malloc (export "malloc") (param $size i32) (result i32)
        (if (global.get $allocator) (then
            (global.set $allocator (i32.sub (global.get $allocator) (i32.const 1)))
            (drop (call $run))))
        (global.get $allocated))
"#;

/// The text of the guest that declares `version` and imports what plugins of it can.
pub fn text(version: AbiVersion) -> String {
    let wasi_module = if version == AbiVersion::V0_1_0 { "wasi_unstable" } else { "wasi_snapshot_preview1" };
    let hostcalls = HOSTCALLS.iter().map(|row| {
        let parameters = row.parameters.iter().map(|(_, ty)| *ty == "u64").collect();
        ("env", row.name, parameters)
    });
    let wasi =
        WASI.iter().map(|(name, parameters)| (wasi_module, *name, parameters.chars().map(|c| c == 'I').collect()));
    let imports: Vec<(&str, &str, Vec<bool>)> = hostcalls.chain(wasi).collect();

    let mut text = String::from("(module\n");
    for (index, (module, name, parameters)) in imports.iter().enumerate() {
        let types = types(parameters);
        let _ = writeln!(text, r#"(import "{module}" "{name}" (func $call{index} (param {types}) (result i32)))"#);
    }
    for (alias, name) in [("log", "proxy_log"), ("get_buffer", "proxy_get_buffer_bytes")]
        .into_iter()
        .chain([("get_shared", "proxy_get_shared_data"), ("set_shared", "proxy_set_shared_data")])
    {
        let (_, _, parameters) = imports.iter().find(|(_, import, _)| *import == name).expect("it is a hostcall");
        let types = types(parameters);
        let _ = writeln!(text, r#"(import "env" "{name}" (func ${alias} (param {types}) (result i32)))"#);
    }
    text.push_str(MACHINE);
    for (at, data) in DATA {
        let _ = writeln!(text, r#"(data (i32.const {at}) "{data}")"#);
    }
    text.push_str(&run(&imports));
    let _ = writeln!(text, r#"(func (export "{}"))"#, version.export());
    let _ = writeln!(text, r#"(func (export "_initialize") (call $load) (drop (call $run)))"#);
    for name in CALLBACKS {
        let (parameters, returns) = callback(name, version);
        let result = if returns { "(result i32)" } else { "" };
        let drop = if returns { "" } else { "(drop" };
        let end = if returns { "" } else { ")" };
        let parameters = "i32 ".repeat(parameters);
        let _ = writeln!(text, r#"(func (export "{name}") (param {parameters}) {result} {drop} (call $run) {end})"#);
    }
    text.push(')');
    text
}

/// How many parameters a callback has, and whether it returns something.
fn callback(name: &str, version: AbiVersion) -> (usize, bool) {
    match name {
        "proxy_on_tick" | "proxy_on_log" | "proxy_on_delete" => (1, false),
        "proxy_on_done" => (1, true),
        "proxy_on_context_create" | "proxy_on_queue_ready" => (2, false),
        "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_response_trailers" => (2, true),
        "proxy_on_request_headers" | "proxy_on_response_headers" if version == AbiVersion::V0_1_0 => (2, true),
        "proxy_on_request_headers" | "proxy_on_request_body" => (3, true),
        "proxy_on_response_headers" | "proxy_on_response_body" => (3, true),
        "proxy_on_http_call_response" => (5, false),
        _ => (3, false),
    }
}

/// The function that runs instructions: it branches to one block for each.
fn run(imports: &[(&str, &str, Vec<bool>)]) -> String {
    let special = [
        "(return (call $number))".to_owned(),
        "(call $store) (br $next)".to_owned(),
        "(unreachable)".to_owned(),
        "(drop (memory.grow (call $byte))) (br $next)".to_owned(),
        "(global.set $allocated (call $number)) (br $next)".to_owned(),
        "(global.set $allocator (call $byte)) (br $next)".to_owned(),
        // Whatever the program has written there, the text is "tick".
        "(i32.store (i32.const 208) (i32.const 0x6b636974))
            (drop (call $log (i32.const 2) (i32.const 208) (i32.const 4))) (loop $spin (br $spin))"
            .to_owned(),
        "(drop (call $log (i32.const 2) (i32.const 216) (i32.const 7))) (br $next)".to_owned(),
    ];
    let calls = imports.iter().enumerate().map(|(index, (_, _, parameters))| {
        let operands: String =
            parameters.iter().map(|long| if *long { "(call $long)" } else { "(call $number)" }).collect();
        format!("(drop (call $call{index} {operands})) (br $next)")
    });
    let bodies: Vec<String> = special.into_iter().chain(calls).collect();

    let labels: String = (0..bodies.len()).map(|index| format!("$do{index} ")).collect();
    let mut text = format!(
        "(func $run (result i32) (loop $next
            (if (i32.ge_u (global.get $pc) (global.get $end)) (then (return (i32.const 1))))
            {} (br_table {labels} $do0 (call $byte))",
        (0..bodies.len()).rev().map(|index| format!("(block $do{index} ")).collect::<String>()
    );
    for body in bodies {
        let _ = writeln!(text, ") {body}");
    }
    text.push_str(") (i32.const 1))\n");
    text
}

fn types(parameters: &[bool]) -> String {
    parameters.iter().map(|long| if *long { "i64 " } else { "i32 " }).collect()
}
