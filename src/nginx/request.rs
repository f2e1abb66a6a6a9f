use std::{borrow::Cow, ffi::c_int, ptr::NonNull};

use mlua::ffi::lua_State;
use proxy_wasm_runtime::{
    HeaderChange, HttpStream,
    abi::{HeaderMap, pairs::Pair, property::Value},
};

use super::{
    header_lists,
    headers::{request, response, trailers},
    properties,
    symbols::{NgxRequest, Symbols},
    variables,
};

/// A request of nginx, together with the body that the running callback is about.
#[derive(Clone, Copy)]
pub struct Request {
    r: NonNull<NgxRequest>,
    /// Two words are passed in registers; with the body's size there would be three.
    body: Option<NonNull<Body>>,
}

/// The bytes that a callback is about.
pub type Body = NonNull<[u8]>;

// SAFETY: the runtime asks for Send because of its dependencies. nginx runs a request on one thread; the one thread that this
// library starts, the clock of the guests, has no request.
unsafe impl Send for Request {}

/// The phase that Lua code runs in: a bit of `ngx_http_lua_ffi_get_phase`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Phase(c_int);

impl Phase {
    /// `set_by_lua*`, `rewrite_by_lua*`, `access_by_lua*` and `server_rewrite_by_lua*`
    const REQUEST: c_int = 0x1 | 0x2 | 0x4 | 0x8000;
    /// `log_by_lua*`
    const LOG: Self = Self(0x10);
    /// `init_worker_by_lua*`
    const INIT_WORKER: Self = Self(0x100);
    /// `exit_worker_by_lua*`
    const EXIT_WORKER: Self = Self(0x2000);
    /// `content_by_lua*`
    pub const CONTENT: Self = Self(0x8);
    /// `header_filter_by_lua*`
    pub const HEADER_FILTER: Self = Self(0x20);
    /// `body_filter_by_lua*`
    const BODY_FILTER: Self = Self(0x40);

    /// Whether cleanup handlers that are added now run when the request ends.
    pub fn has_cleanup(self) -> bool {
        ![Self::LOG, Self::INIT_WORKER, Self::EXIT_WORKER].contains(&self)
    }

    /// Whether nginx has decided how the response goes over the connection.
    pub fn has_response_headers(self) -> bool {
        [Self::BODY_FILTER, Self::LOG].contains(&self)
    }
}

impl Request {
    /// The request that Lua code on this coroutine handles; `None` in init_by_lua.
    ///
    /// # Safety
    /// `state` is a living coroutine of ngx_lua's virtual machine.
    pub unsafe fn current(state: *mut lua_State) -> Option<Self> {
        // SAFETY: the caller's contract; ngx_lua only reads the coroutine's exdata.
        let r = unsafe { (Symbols::get().ngx_http_lua_get_request)(state) };
        NonNull::new(r).map(|r| Self { r, body: None })
    }

    /// The same request, with the body that a callback is about.
    ///
    /// # Safety
    /// `body` and its bytes are valid and unchanged as long as the result or a copy of it is used.
    pub unsafe fn with_body(self, body: Option<&Body>) -> Self {
        Self { body: body.map(NonNull::from), ..self }
    }

    /// The same request, as it is outside of body callbacks.
    pub fn without_body(self) -> Self {
        Self { body: None, ..self }
    }

    /// Copies bytes into memory of the request, with a space behind them; `None` when nginx has no memory.
    pub(super) fn allocate(self, bytes: &[u8]) -> Option<*const u8> {
        // SAFETY: nginx allocates what is asked for besides the entry, and frees it with the request. An entry without a
        // handler is passed over.
        unsafe {
            let entry = (Symbols::get().ngx_http_cleanup_add)(self.as_ptr(), bytes.len() + 1).as_ref()?;
            let memory = entry.data.cast::<u8>();
            memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            memory.add(bytes.len()).write(b' ');
            Some(memory)
        }
    }

    /// The request's address: equal for handles of one request, at any time of its life.
    pub fn key(self) -> usize {
        self.r.as_ptr() as usize
    }

    /// Tells apart requests that nginx handles by different configurations: those of different locations. A timer has that of
    /// the code that started it.
    pub fn configuration(self) -> usize {
        // The word where ngx_http_request_t has loc_conf, behind signature, connection, ctx, main_conf and srv_conf, since the
        // first nginx. It is compared and nothing else: elsewhere in the structure it would be another number.
        const LOC_CONF: usize = 5;
        // SAFETY: the structure is longer than this.
        unsafe { self.as_ptr().cast::<usize>().add(LOC_CONF).read() }
    }

    pub(super) fn as_ptr(self) -> *mut NgxRequest {
        self.r.as_ptr()
    }

    /// Sets a variable, which must have been defined.
    ///
    /// # Errors
    /// ngx_lua's reason why it is not set.
    pub fn set_variable(self, name: &[u8], value: &[u8]) -> Result<(), String> {
        variables::set(self, name, value).map_err(|refused| refused.reason)
    }

    /// The length that the client is told of the response body, or will be; `None` when it is told none.
    pub fn told_length(self) -> Option<u64> {
        response::told_length(self)
    }

    /// Has the client told a length of the response body, or none.
    pub fn tell_length(self, length: Option<u64>) {
        response::tell_length(self, length);
    }

    /// Removes all headers of the response.
    pub fn clear_response_headers(self) {
        response::clear(self);
    }

    /// Takes away what the response's headers say of a body that will be another one.
    pub fn remove_headers_of_body(self) {
        response::remove_headers_of_body(self);
    }

    /// Whether responses of one connection are streams that end for themselves: in HTTP/2 and HTTP/3.
    pub fn is_multiplexed(self) -> bool {
        matches!(variables::get(&self, b"server_protocol"), Some(b"HTTP/2.0" | b"HTTP/3.0"))
    }

    /// Whether the client speaks HTTP/1.0.
    pub fn is_http_1_0(self) -> bool {
        matches!(variables::get(&self, b"server_protocol"), Some(b"HTTP/1.0"))
    }

    /// Removes the response's trailers.
    pub fn clear_trailers(self) {
        trailers::clear(self);
    }

    /// Whether nginx frames the response as one to HEAD, without a body, whatever plugins made of `:method`.
    pub fn is_head(self) -> bool {
        const HEAD: c_int = 0x4;
        // SAFETY: the request lives.
        unsafe { (Symbols::get().ngx_http_lua_ffi_req_get_method)(self.as_ptr()) == HEAD }
    }

    /// Whether another request has started it, in nginx.
    pub fn is_subrequest(self) -> bool {
        // SAFETY: the request lives.
        unsafe { (Symbols::get().ngx_http_lua_ffi_is_subrequest)(self.as_ptr()) > 0 }
    }

    /// Whether there is no response yet, also when the request was turned elsewhere because of an error.
    pub fn is_unanswered(self) -> bool {
        // A cleanup handler runs in the last phase that Lua code ran in.
        // SAFETY: the request lives.
        let are_headers_sent = || unsafe { (Symbols::get().ngx_http_lua_ffi_headers_sent)(self.as_ptr()) > 0 };
        self.phase().is_some_and(|phase| phase.0 & Phase::REQUEST != 0) && !are_headers_sent()
    }

    /// Where the request is in its life.
    pub fn phase(self) -> Option<Phase> {
        let mut error = std::ptr::null();
        // SAFETY: the request lives; the error is a static string that is not read.
        let phase = unsafe { (Symbols::get().ngx_http_lua_ffi_get_phase)(self.as_ptr(), &mut error) };
        (phase >= 0).then_some(Phase(phase))
    }
}

impl HttpStream for Request {
    fn header_count(&self, map: HeaderMap) -> u32 {
        match map {
            HeaderMap::RequestHeaders => request::count(*self),
            HeaderMap::ResponseHeaders => response::count(*self),
            HeaderMap::ResponseTrailers => trailers::count(*self),
            _ => 0,
        }
    }

    fn headers(&self, map: HeaderMap) -> Vec<Pair<'_>> {
        match map {
            HeaderMap::RequestHeaders => request::all(self),
            HeaderMap::ResponseHeaders => response::all(self),
            HeaderMap::ResponseTrailers => trailers::all(self),
            _ => Vec::new(),
        }
    }

    fn knows_all_headers(&self, map: HeaderMap) -> bool {
        map != HeaderMap::ResponseHeaders || header_lists::response_headers(*self).is_some()
    }

    fn header(&self, map: HeaderMap, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        match map {
            HeaderMap::RequestHeaders => request::get(self, name),
            HeaderMap::ResponseHeaders => response::get(self, name),
            HeaderMap::ResponseTrailers => trailers::get(self, name),
            _ => None,
        }
    }

    fn change_header(&self, map: HeaderMap, name: &[u8], change: HeaderChange<'_>) {
        variables::forget_readings();
        match map {
            HeaderMap::RequestHeaders => request::change(*self, name, change),
            HeaderMap::ResponseHeaders => response::change(*self, name, change),
            HeaderMap::ResponseTrailers => trailers::change(*self, name, change),
            _ => super::log::error(*self, format_args!("header map {map:?} can't be changed here")),
        }
    }

    fn body(&self) -> Option<&[u8]> {
        // SAFETY: the contract of with_body.
        self.body.map(|body| unsafe { body.as_ref().as_ref() })
    }

    fn property(&self, path: &[u8]) -> Option<Value<'_>> {
        properties::get(self, path)
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        properties::set(*self, path, value);
    }
}
