//! An nginx module that knows the directive `wasm_vm` of wasm-nginx-module, and ignores it: Apache APISIX writes it into nginx.conf as
//! soon as config.yaml has `wasm`, and this library, which replaces that module, needs no directive.
//!
//! nginx takes a module only if it was built for its version and with its options. This one depends on neither, and one file is for
//! every nginx: when it is opened, it takes over what the running nginx says of itself.

#![expect(unsafe_code, reason = "nginx is written in C")]

mod nginx;

use std::{
    cell::UnsafeCell,
    ffi::{c_char, c_void},
    ptr::{addr_of, null, null_mut},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use nginx::{Command, Conf, HttpModule, Module, Str};

/// What nginx finds by its address, and changes.
#[repr(transparent)]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: nginx reads its configuration in one thread, and this library starts none.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

#[unsafe(export_name = "ngx_modules")]
static MODULES: Shared<[*mut Module; 2]> = Shared::new([MODULE.0.get(), null_mut()]);

#[unsafe(export_name = "ngx_module_names")]
static NAMES: Shared<[*const c_char; 2]> = Shared::new([c"ngx_http_wasm_vm_module".as_ptr(), null()]);

#[unsafe(export_name = "ngx_module_order")]
static ORDER: Shared<[*const c_char; 1]> = Shared::new([null()]);

static MODULE: Shared<Module> = Shared::new(Module {
    ctx_index: nginx::UNSET_INDEX,
    index: nginx::UNSET_INDEX,
    name: null(),
    spares: [0; 2],
    version: 0,
    signature: c"".as_ptr(),
    ctx: HTTP_MODULE.0.get(),
    commands: COMMANDS.0.get().cast(),
    kind: nginx::HTTP_MODULE,
    hooks: [null_mut(); 7],
    spare_hooks: [0; 8],
});

static HTTP_MODULE: Shared<HttpModule> =
    Shared::new(HttpModule { preconfiguration: Some(preconfiguration), others: [null_mut(); 7] });

static COMMANDS: Shared<[Command; 2]> = Shared::new([
    Command {
        name: Str { len: 7, data: c"wasm_vm".as_ptr().cast() },
        kind: nginx::HTTP_MAIN_CONF | nginx::CONF_TAKE1,
        set: Some(wasm_vm),
        conf: 0,
        offset: 0,
        post: null_mut(),
    },
    // ngx_null_command
    Command { name: Str { len: 0, data: null() }, kind: 0, set: None, conf: 0, offset: 0, post: null_mut() },
]);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = adopt;

/// Makes the module one of the running nginx's version and options. nginx compares these after it has opened the library.
extern "C" fn adopt() {
    let module = MODULE.0.get();
    // SAFETY: runs once, before anybody else has the address of MODULE. nginx's own module lives as long as the process, and nothing
    // changes these two fields of it; fields are read one by one, because nginx writes to others.
    unsafe {
        (*module).version = addr_of!(nginx::ngx_core_module.version).read();
        (*module).signature = addr_of!(nginx::ngx_core_module.signature).read();
    }
}

/// Whether the `http {}` that is read has had the directive.
static DECLARED: AtomicBool = AtomicBool::new(false);

/// Comes before each `http {}`, also when nginx reads its configuration again.
unsafe extern "C" fn preconfiguration(_: *mut Conf) -> isize {
    DECLARED.store(false, Relaxed);
    nginx::OK
}

/// Checks a `wasm_vm NAME;`. Returns null, what nginx is to say of the directive, or that the message is in the log already.
///
/// # Safety
/// As nginx calls it: `conf` is valid and has the directive's name and one argument, both NUL-terminated.
unsafe extern "C" fn wasm_vm(conf: *mut Conf, _: *mut Command, _: *mut c_void) -> *mut c_char {
    if DECLARED.swap(true, Relaxed) {
        return c"is duplicate".as_ptr().cast_mut();
    }
    // SAFETY: by the contract, args has two strings.
    let name = unsafe { &*(*(*conf).args).elements.cast::<Str>().add(1) };
    // SAFETY: a string of nginx's configuration has len bytes; data is not null, as a token of it was read.
    let bytes = unsafe { std::slice::from_raw_parts(name.data, name.len) };
    if bytes == b"wasmtime" || bytes == b"wasmedge" {
        return nginx::CONF_OK;
    }
    let format = c"unsupported VM \"%V\" in \"wasm_vm\" directive, it must be \"wasmtime\" or \"wasmedge\"";
    // SAFETY: %V stands for a pointer to an ngx_str_t, which name is.
    unsafe { nginx::ngx_conf_log_error(nginx::LOG_EMERG, conf, 0, format.as_ptr(), addr_of!(*name)) };
    nginx::CONF_ERROR
}
