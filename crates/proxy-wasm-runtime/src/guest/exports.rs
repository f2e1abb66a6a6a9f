use wasmtime::{AsContext, AsContextMut, Func, Instance, TypedFunc, WasmParams, WasmResults};

use crate::error::LoadError;

/// Each callback: where its function is kept, its type, and how it is found.
macro_rules! callbacks {
    ($($callback:ident: $type:ty = $find:ident($name:literal $(, $signature:literal)?);)*) => {
        /// The callbacks that a module exports, resolved once. A callback that is absent is not called.
        pub(crate) struct Callbacks {
            $(pub $callback: Option<$type>,)*
        }

        /// The names of all callbacks that are called, in the order of a stream's life.
        pub const CALLBACKS: &[&str] = &[$($name),*];

        impl Callbacks {
            /// # Errors
            /// When an export has the name of a callback and not its type.
            pub fn resolve(instance: &Instance, mut store: impl AsContextMut) -> Result<Self, LoadError> {
                let mut exports = Exports { instance, store: &mut store };
                Ok(Self { $($callback: exports.$find($name $(, $signature)?)?,)* })
            }
        }
    };
}

callbacks! {
    context_create: TypedFunc<(u32, u32), ()> = callback("proxy_on_context_create", "(i32, i32)");
    vm_start: TypedFunc<(u32, u32), u32> = callback("proxy_on_vm_start", "(i32, i32) -> i32");
    configure: TypedFunc<(u32, u32), u32> = callback("proxy_on_configure", "(i32, i32) -> i32");
    tick: TypedFunc<u32, ()> = callback("proxy_on_tick", "(i32)");
    request_headers: HeadersCallback = headers_callback("proxy_on_request_headers");
    request_body: TypedFunc<(u32, u32, u32), u32> = callback("proxy_on_request_body", "(i32, i32, i32) -> i32");
    response_headers: HeadersCallback = headers_callback("proxy_on_response_headers");
    response_body: TypedFunc<(u32, u32, u32), u32> = callback("proxy_on_response_body", "(i32, i32, i32) -> i32");
    response_trailers: TypedFunc<(u32, u32), u32> = callback("proxy_on_response_trailers", "(i32, i32) -> i32");
    foreign_function: TypedFunc<(u32, u32, u32), ()> = callback("proxy_on_foreign_function", "(i32, i32, i32)");
    http_call_response: TypedFunc<(u32, u32, u32, u32, u32), ()> = callback("proxy_on_http_call_response", "(i32, i32, i32, i32, i32)");
    grpc_initial_metadata: TypedFunc<(u32, u32, u32), ()> = callback("proxy_on_grpc_receive_initial_metadata", "(i32, i32, i32)");
    grpc_message: TypedFunc<(u32, u32, u32), ()> = callback("proxy_on_grpc_receive", "(i32, i32, i32)");
    grpc_trailing_metadata: TypedFunc<(u32, u32, u32), ()> = callback("proxy_on_grpc_receive_trailing_metadata", "(i32, i32, i32)");
    grpc_close: TypedFunc<(u32, u32, u32), ()> = callback("proxy_on_grpc_close", "(i32, i32, i32)");
    queue_ready: TypedFunc<(u32, u32), ()> = callback("proxy_on_queue_ready", "(i32, i32)");
    done: TypedFunc<u32, u32> = callback("proxy_on_done", "(i32) -> i32");
    log: TypedFunc<u32, ()> = callback("proxy_on_log", "(i32)");
    delete: TypedFunc<u32, ()> = callback("proxy_on_delete", "(i32)");
}

/// `proxy_on_request_headers` and `proxy_on_response_headers`, whose arity depends on the ABI version.
pub(crate) enum HeadersCallback {
    /// ABI 0.1.0: context id, number of headers.
    WithoutEnd(TypedFunc<(u32, u32), u32>),
    /// ABI 0.2.0 and newer: context id, number of headers, end of stream.
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
}

impl HeadersCallback {
    /// Runs the callback and returns its action.
    pub fn call(
        &self,
        store: impl AsContextMut,
        context: u32,
        headers: u32,
        end_of_stream: bool,
    ) -> wasmtime::Result<u32> {
        match self {
            Self::WithoutEnd(function) => function.call(store, (context, headers)),
            Self::WithEnd(function) => function.call(store, (context, headers, end_of_stream.into())),
        }
    }
}

/// The guest's allocator: `proxy_on_memory_allocate`, else `malloc`.
pub(crate) struct Allocator {
    /// The name of the export.
    pub export: &'static str,
    /// Takes a size in bytes and returns a pointer, 0 when it failed.
    pub function: TypedFunc<u32, u32>,
}

impl Allocator {
    /// Finds the allocator among a guest's exports.
    pub fn find(store: impl AsContext, mut export: impl FnMut(&str) -> Option<Func>) -> Option<Self> {
        ["proxy_on_memory_allocate", "malloc"]
            .into_iter()
            .find_map(|name| Some(Self { export: name, function: export(name)?.typed(&store).ok()? }))
    }
}

struct Exports<'a, S> {
    instance: &'a Instance,
    store: S,
}

impl<S: AsContextMut> Exports<'_, S> {
    fn callback<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<TypedFunc<P, R>>, LoadError> {
        let Some(function) = self.instance.get_func(&mut self.store, name) else {
            return Ok(None);
        };
        let typed = function.typed(&self.store);
        typed.map(Some).map_err(|_| LoadError::CallbackType {
            name,
            found: function.ty(&self.store).to_string(),
            expected,
        })
    }

    fn headers_callback(&mut self, name: &'static str) -> Result<Option<HeadersCallback>, LoadError> {
        if let Ok(callback) = self.callback(name, "") {
            return Ok(callback.map(HeadersCallback::WithEnd));
        }
        let callback = self.callback(name, "(i32, i32, i32) -> i32, or (i32, i32) -> i32 in ABI 0.1.0")?;
        Ok(callback.map(HeadersCallback::WithoutEnd))
    }
}
