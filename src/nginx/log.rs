use std::{
    ffi::c_int,
    fmt::{Arguments, Write},
    ptr::null_mut,
};

use once_cell::unsync::OnceCell;
use proxy_wasm_host::{abi::LogLevel, vm::LogRate};

use super::{one_thread::OneThread, request::Request, symbols::Symbols};

/// nginx cuts a line at 2048 bytes (OpenResty at 4096), its time, connection and request included. A longer message goes on
/// in further lines.
const LONGEST_LINE: usize = 1536;
/// How long such a message may be, in bytes: the names of headers that are refused are the guest's.
const LONGEST_FAILURE: usize = 4096;
/// How many messages of what plugins try in vain are written in a second.
const MOST_FAILURES: u32 = 10_000;

static FAILURES: OneThread<OnceCell<LogRate>> = OneThread::new(OnceCell::new());

/// Levels of `ngx_log.h`.
mod level {
    use std::ffi::c_int;

    pub const EMERG: c_int = 1;
    pub const ERR: c_int = 4;
    pub const WARN: c_int = 5;
    pub const INFO: c_int = 7;
    pub const DEBUG: c_int = 8;
}

/// Writes a message to the request's log, or without a request to the cycle's.
pub fn write(request: Option<&Request>, level: LogLevel, message: &[u8]) {
    let mut rest = message;
    loop {
        let (line, further) = split_line(rest);
        write_line(request, number(level), line);
        if further.is_empty() {
            return;
        }
        rest = further;
    }
}

/// Says at level error what a plugin tried in vain, unless plugins do so too often.
pub fn error(request: impl Into<Option<Request>>, message: Arguments<'_>) {
    let Some(suppressed) = FAILURES.get_or_init(|| LogRate::new(MOST_FAILURES)).admit(0) else { return };
    let request = request.into();
    if suppressed > 0 {
        let text = format!(
            "{suppressed} messages of what plugins tried in vain were not logged: {MOST_FAILURES} a second are"
        );
        write(request.as_ref(), LogLevel::Warn, text.as_bytes());
    }
    let mut text = String::new();
    let _ = text.write_fmt(message);
    text.truncate(text.floor_char_boundary(LONGEST_FAILURE));
    write(request.as_ref(), LogLevel::Error, text.as_bytes());
}

/// The least severe level that the log takes.
pub fn least_level(request: Option<&Request>) -> Option<LogLevel> {
    // SAFETY: the request lives, or is null for the cycle's log.
    let least = unsafe { (Symbols::get().ngx_http_lua_ffi_errlog_get_sys_filter_level)(pointer(request)) };
    match least {
        level::DEBUG.. => Some(LogLevel::Trace),
        level::INFO => Some(LogLevel::Info),
        level::WARN.. => Some(LogLevel::Warn),
        level::ERR => Some(LogLevel::Error),
        level::EMERG.. => Some(LogLevel::Critical),
        _ => None,
    }
}

fn number(level: LogLevel) -> c_int {
    match level {
        LogLevel::Trace | LogLevel::Debug => level::DEBUG,
        LogLevel::Info => level::INFO,
        LogLevel::Warn => level::WARN,
        LogLevel::Error => level::ERR,
        LogLevel::Critical => level::EMERG,
    }
}

fn write_line(request: Option<&Request>, level: c_int, line: &[u8]) {
    // SAFETY: the request lives, or is null; the bytes are copied, and printed as they are.
    unsafe { (Symbols::get().ngx_http_lua_ffi_raw_log)(pointer(request), level, line.as_ptr(), line.len()) };
}

fn pointer(request: Option<&Request>) -> *mut super::symbols::NgxRequest {
    request.map_or(null_mut(), |request| request.as_ptr())
}

/// The part of a message that fits one line, and the rest: at its last line break, else at a character's start.
fn split_line(message: &[u8]) -> (&[u8], &[u8]) {
    if message.len() <= LONGEST_LINE {
        return (message, &[]);
    }
    let head = &message[..LONGEST_LINE];
    if let Some(end) = memchr::memrchr(b'\n', head).filter(|end| *end > 0) {
        return (&message[..end], &message[end + 1..]);
    }
    let is_start = |at: &usize| message[*at] & 0xc0 != 0x80;
    let end = (LONGEST_LINE - 3..=LONGEST_LINE).rev().find(is_start).unwrap_or(LONGEST_LINE);
    message.split_at(end)
}
