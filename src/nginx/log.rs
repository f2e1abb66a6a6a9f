use std::{
    borrow::Cow,
    ffi::c_int,
    fmt::{Arguments, Write},
    ptr::null_mut,
};

use once_cell::unsync::OnceCell;
use proxy_wasm_runtime::{abi::LogLevel, vm::LogRate};

use super::{one_thread::OneThread, request::Request, symbols::Symbols};

/// nginx cuts a line at 2048 bytes (OpenResty at 4096), its time, connection and request included. A longer message goes on in
/// further lines.
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

/// Writes a message to the request's log, or without a request to the cycle's. Control characters are escaped: most messages have
/// text of a guest in them, which could end the line, begin one that looks like another's, or command a terminal.
pub fn write(request: Option<&Request>, level: LogLevel, message: &[u8]) {
    let message = escape_control(message);
    let mut rest = &*message;
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

/// The part of a message that fits one line, and the rest, which begins with a character.
fn split_line(message: &[u8]) -> (&[u8], &[u8]) {
    if message.len() <= LONGEST_LINE {
        return (message, &[]);
    }
    let is_start = |at: &usize| message[*at] & 0xc0 != 0x80;
    let end = (LONGEST_LINE - 3..=LONGEST_LINE).rev().find(is_start).unwrap_or(LONGEST_LINE);
    message.split_at(end)
}

/// Text whose control characters are written as `\n`, `\r` or `\xNN`: those of ASCII but the tabulator, and in UTF-8 those of
/// U+0080 to U+009F, which terminals obey as well. All other bytes stay as they are.
pub fn escape_control(text: &[u8]) -> Cow<'_, [u8]> {
    const BEFORE_C1: u8 = 0xc2;
    let is_control = |byte: u8| byte < b' ' && byte != b'\t' || byte == 0x7f;
    if !text.iter().any(|byte| is_control(*byte) || *byte == BEFORE_C1) {
        return Cow::Borrowed(text);
    }
    let mut escaped = Vec::with_capacity(text.len() + 16);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if is_control(byte) {
            escape(&mut escaped, byte);
        } else if let (BEFORE_C1, Some(second @ 0x80..=0x9f)) = (byte, bytes.peek().copied()) {
            escape(&mut escaped, byte);
            escape(&mut escaped, second);
            bytes.next();
        } else {
            escaped.push(byte);
        }
    }
    Cow::Owned(escaped)
}

fn escape(text: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'\n' => text.extend_from_slice(br"\n"),
        b'\r' => text.extend_from_slice(br"\r"),
        _ => text.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    }
}
