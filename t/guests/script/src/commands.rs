//! What a line of the script can do.

use crate::abi::{self, *};
use crate::words::{show, split_label, Line};
use crate::{callouts, free_allocated, is_stream};
use std::arch::wasm32;
use std::ptr::addr_of_mut;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One callback while its commands run.
pub struct Callback<'a> {
    /// As the line that runs has it.
    pub name: String,
    /// The callback's arguments; the first is the context's id.
    pub args: &'a [i32],
    pub result: i32,
    /// The effective context.
    pub context: i32,
}

static mut SCRATCH: [u8; 16384] = [0; 16384];
static mut SCRATCH_SIZE: usize = 0;

/// `$cas`: that of the value which was read last.
static CAS: AtomicU32 = AtomicU32::new(0);
/// `$queue`: the one that was registered or resolved last, or is ready.
pub static QUEUE: AtomicU32 = AtomicU32::new(0);
/// `$metric`: the one that was defined last.
static METRIC: AtomicU32 = AtomicU32::new(0);

const INFO: i32 = 2;
const ERROR: i32 = 4;

/// `Ok` is what the log shows behind `->`; `Err` says what is wrong with the script.
type Outcome = Result<String, String>;

impl Callback<'_> {
    pub fn run(&mut self, line: &Line) {
        let words: Vec<&[u8]> = line.words[1..].iter().map(Vec::as_slice).collect();
        let command = String::from_utf8_lossy(&line.words[0]);
        let (command, label) = split_label(&command);
        self.name = line.written_callback();
        let outcome = match label {
            Some(_) if !["http_call", "grpc_call", "grpc_stream"].contains(&command) => Err("no label here".into()),
            label => self.command(command, label.unwrap_or_default(), &Args(&words)),
        };
        match outcome {
            Ok(result) if result.is_empty() => (),
            Ok(result) => self.log(INFO, &format!("{} -> {result}", line.text)),
            Err(why) => self.log(ERROR, &format!("{} -> bad script: {why}", line.text)),
        }
    }

    fn log(&self, level: i32, text: &str) {
        abi::log(level, &format!("{} {}: {text}", self.name, self.args[0]));
    }

    /// The token of a callout, which is in the first cell.
    fn called(&self, status: i32, label: &str) -> Outcome {
        if status == 0 {
            callouts::remember(cell(0) as i32, label, if is_stream(self.context) { self.context } else { 0 });
        }
        number(status, cell(0))
    }

    fn set_effective_context(&mut self, context: i32) -> i32 {
        let status = unsafe { proxy_set_effective_context(context) };
        if status == 0 {
            self.context = context;
        }
        status
    }

    /// Whether the callback has the end of its body.
    fn is_end(&self) -> bool {
        self.args.get(2).is_some_and(|&end| end != 0)
    }

    fn command(&mut self, command: &str, label: &str, args: &Args) -> Outcome {
        // Every pointer given to the host lives until the end of this function.
        let (p, s) = (|bytes: &[u8]| bytes.as_ptr() as i32, |bytes: &[u8]| bytes.len() as i32);
        clear_out_before(command);
        unsafe {
            match command {
                "at_end" | "before_end" => {
                    if self.is_end() != (command == "at_end") {
                        return Ok(String::new());
                    }
                    let command = String::from_utf8_lossy(args.bytes(0)?).into_owned();
                    self.command(&command, label, &Args(&args.0[1..]))
                }
                "args" => ok(self.args.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")),
                "log" => {
                    let level = args.one_of(0, &["trace", "debug", "info", "warn", "error", "critical"])?;
                    let text = args.text(1);
                    proxy_log(level, p(&text), s(&text));
                    Ok(String::new())
                }
                "return" => {
                    self.result = args.int(0)?;
                    ok("")
                }

                "get_header" => {
                    let name = args.bytes(1)?;
                    returned(proxy_get_header_map_value(args.map(0)?, p(name), s(name), out(0), out(1)))
                }
                "add_header" | "replace_header" => {
                    let set = if command == "add_header" {
                        proxy_add_header_map_value
                    } else {
                        proxy_replace_header_map_value
                    };
                    let (name, value) = (args.bytes(1)?, args.bytes(2)?);
                    plain(set(args.map(0)?, p(name), s(name), p(value), s(value)))
                }
                "remove_header" => {
                    let name = args.bytes(1)?;
                    plain(proxy_remove_header_map_value(args.map(0)?, p(name), s(name)))
                }
                "get_headers" => match proxy_get_header_map_pairs(args.map(0)?, out(0), out(1)) {
                    0 => match decode_pairs(&returned_bytes()) {
                        Some(pairs) => {
                            for (name, value) in &pairs {
                                self.log(INFO, &format!("header {}: {}", show(name), show(value)));
                            }
                            ok(pairs.len())
                        }
                        None => ok("malformed pairs"),
                    },
                    status => plain(status),
                },
                "set_headers" => {
                    let pairs = args.pairs(1);
                    plain(proxy_set_header_map_pairs(args.map(0)?, p(&pairs), s(&pairs)))
                }
                "copy_headers" => match proxy_get_header_map_pairs(args.map(0)?, out(0), out(1)) {
                    0 => {
                        let pairs = returned_bytes();
                        plain(proxy_set_header_map_pairs(args.map(0)?, p(&pairs), s(&pairs)))
                    }
                    status => plain(status),
                },
                "headers_size" => number(proxy_get_header_map_size(args.map(0)?, out(0)), cell(0)),

                "get_body" => {
                    returned(proxy_get_buffer_bytes(args.buffer(0)?, args.int(1)?, args.int(2)?, out(0), out(1)))
                }
                "set_body" => {
                    let value = args.bytes(3)?;
                    plain(proxy_set_buffer_bytes(args.buffer(0)?, args.int(1)?, args.int(2)?, p(value), s(value)))
                }
                "double" => match proxy_get_buffer_bytes(args.buffer(0)?, 0, i32::MAX, out(0), out(1)) {
                    0 => {
                        let bytes = returned_bytes();
                        plain(proxy_set_buffer_bytes(args.buffer(0)?, i32::MAX, 0, p(&bytes), s(&bytes)))
                    }
                    status => plain(status),
                },
                "buffer_status" => {
                    let status = proxy_get_buffer_status(args.buffer(0)?, out(0), out(1));
                    number(status, format!("{} {}", cell(0), cell(1)))
                }

                "get_property" => {
                    let path = args.bytes(0)?;
                    returned(proxy_get_property(p(path), s(path), out(0), out(1)))
                }
                "set_property" => {
                    let (path, value) = (args.bytes(0)?, args.bytes(1)?);
                    plain(proxy_set_property(p(path), s(path), p(value), s(value)))
                }

                "send_local_response" => {
                    let (body, headers) = (args.bytes(1)?, args.pairs(2));
                    plain(proxy_send_local_response(args.int(0)?, 0, 0, p(body), s(body), p(&headers), s(&headers), -1))
                }
                "send_grpc_response" => {
                    let (details, body, headers) = (args.bytes(2)?, args.bytes(3)?, args.pairs(4));
                    plain(proxy_send_local_response(
                        args.int(0)?,
                        p(details),
                        s(details),
                        p(body),
                        s(body),
                        p(&headers),
                        s(&headers),
                        args.int(1)?,
                    ))
                }
                "http_call" => {
                    let (upstream, body) = (args.bytes(0)?, args.bytes(2)?);
                    let (headers, trailers) = args.headers_and_trailers(3);
                    let status = proxy_http_call(
                        p(upstream),
                        s(upstream),
                        p(&headers),
                        s(&headers),
                        p(body),
                        s(body),
                        p(&trailers),
                        s(&trailers),
                        args.int(1)?,
                        out(0),
                    );
                    self.called(status, label)
                }
                "grpc_call" => {
                    let (upstream, service, method) = (args.bytes(0)?, args.bytes(1)?, args.bytes(2)?);
                    let (message, metadata) = (args.bytes(4)?, args.pairs(5));
                    let status = proxy_grpc_call(
                        p(upstream),
                        s(upstream),
                        p(service),
                        s(service),
                        p(method),
                        s(method),
                        p(&metadata),
                        s(&metadata),
                        p(message),
                        s(message),
                        args.int(3)?,
                        out(0),
                    );
                    self.called(status, label)
                }
                "grpc_stream" => {
                    let (upstream, service, method) = (args.bytes(0)?, args.bytes(1)?, args.bytes(2)?);
                    let metadata = args.pairs(3);
                    let status = proxy_grpc_stream(
                        p(upstream),
                        s(upstream),
                        p(service),
                        s(service),
                        p(method),
                        s(method),
                        p(&metadata),
                        s(&metadata),
                        out(0),
                    );
                    self.called(status, label)
                }
                "grpc_send" => {
                    let message = args.bytes(2)?;
                    plain(proxy_grpc_send(args.int(0)?, p(message), s(message), args.int(1)?))
                }
                "grpc_close" => plain(proxy_grpc_close(args.int(0)?)),
                "grpc_cancel" => plain(proxy_grpc_cancel(args.int(0)?)),
                "get_status" => {
                    let status = proxy_get_status(out(0), out(1), out(2));
                    number(status, format!("{} {}", cell(0), show(&bytes_of_cells(1))))
                }
                "close_stream" => plain(proxy_close_stream(args.int(0)?)),
                "continue_stream" => plain(proxy_continue_stream(args.int(0)?)),
                "resume" => {
                    let status = self.set_effective_context(callouts::STREAM.load(Relaxed));
                    plain(if status == 0 { proxy_continue_stream(0) } else { status })
                }

                "get_shared" => {
                    let key = args.bytes(0)?;
                    let status = proxy_get_shared_data(p(key), s(key), out(0), out(1), out(2));
                    CAS.store(cell(2), Relaxed);
                    returned(status)
                }
                "has_shared" => {
                    let key = args.bytes(0)?;
                    plain(proxy_get_shared_data(p(key), s(key), 0, 0, 0))
                }
                "set_shared" => {
                    let (key, value, cas) = (args.bytes(0)?, args.bytes(1)?, args.int(2)?);
                    plain(proxy_set_shared_data(p(key), s(key), p(value), s(value), cas))
                }
                "delete_shared" => {
                    let key = args.bytes(0)?;
                    plain(proxy_set_shared_data(p(key), s(key), 0, 0, args.int(1)?))
                }
                "increment_shared" => {
                    let key = args.bytes(0)?;
                    (0..args.int(1)?).for_each(|_| increment_shared(key));
                    ok("")
                }

                "register_queue" => {
                    let name = args.bytes(0)?;
                    let status = proxy_register_shared_queue(p(name), s(name), out(0));
                    QUEUE.store(cell(0), Relaxed);
                    number(status, cell(0))
                }
                "resolve_queue" => {
                    let (vm, name) = (args.bytes(0)?, args.bytes(1)?);
                    let status = proxy_resolve_shared_queue(p(vm), s(vm), p(name), s(name), out(0));
                    QUEUE.store(cell(0), Relaxed);
                    number(status, cell(0))
                }
                "enqueue" => {
                    let value = args.bytes(1)?;
                    plain(proxy_enqueue_shared_queue(args.int(0)?, p(value), s(value)))
                }
                "dequeue" => returned(proxy_dequeue_shared_queue(args.int(0)?, out(0), out(1))),

                "define_metric" => {
                    let name = args.bytes(1)?;
                    let kind = args.one_of(0, &["counter", "gauge", "histogram"])?;
                    let status = proxy_define_metric(kind, p(name), s(name), out(0));
                    METRIC.store(cell(0), Relaxed);
                    number(status, cell(0))
                }
                "increment_metric" => plain(proxy_increment_metric(args.int(0)?, args.long(1)?)),
                "record_metric" => plain(proxy_record_metric(args.int(0)?, args.long(1)?)),
                "get_metric" => number(proxy_get_metric(args.int(0)?, out(0)), cells_as_u64()),

                "call_foreign" => {
                    let (name, text) = (args.bytes(0)?, args.text(1));
                    returned(proxy_call_foreign_function(p(name), s(name), p(&text), s(&text), out(0), out(1)))
                }

                "set_effective_context" => plain(self.set_effective_context(args.int(0)?)),
                "done" => plain(proxy_done()),
                "set_tick" => plain(proxy_set_tick_period_milliseconds(args.int(0)?)),
                "get_log_level" => number(proxy_get_log_level(out(0)), cell(0)),
                "get_time" => number(proxy_get_current_time_nanoseconds(out(0)), cells_as_u64()),

                "random" => {
                    let mut bytes = vec![0; args.int(0)? as usize];
                    let errno = random_get(bytes.as_mut_ptr() as i32, s(&bytes));
                    wasi(errno, bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
                }
                "clock" => wasi(clock_time_get(0, 0, out(0)), cells_as_u64()),
                "stdout" => wasi(write(1, &args.text(0)), ""),
                "stderr" => wasi(write(2, &args.text(0)), ""),
                "environ" => wasi(environ_sizes_get(out(0), out(1)), cell(0)),
                "args_count" => wasi(args_sizes_get(out(0), out(1)), cell(0)),
                "exit" => std::process::exit(args.int(0)?),

                "scratch" => {
                    let text = args.text(0);
                    let scratch = addr_of_mut!(SCRATCH).cast::<u8>();
                    SCRATCH_SIZE = text.len().min(16384);
                    scratch.copy_from(text.as_ptr(), SCRATCH_SIZE);
                    ok(scratch as usize)
                }
                "call" => {
                    let name = String::from_utf8_lossy(args.bytes(0)?);
                    let numbers: Vec<i64> = (1..args.0.len()).map(|i| args.long(i)).collect::<Result<_, _>>()?;
                    let status = abi::call(&name, &numbers)?;
                    if name.starts_with("proxy_") {
                        plain(status)
                    } else {
                        wasi(status, "")
                    }
                }
                "out" => ok(format!("{} {} {} {}", cell(0), cell(1), cell(2), cell(3))),
                "bytes" => returned(0),

                "grow" => ok(wasm32::memory_grow(0, args.int(0)? as usize) as i32),
                "trap" => wasm32::unreachable(),
                "loop" => loop {
                    std::hint::spin_loop();
                },
                "panic" => panic!("{}", String::from_utf8_lossy(&args.text(0))),
                _ => Err("no such command".into()),
            }
        }
    }
}

/// The cells keep their values only for the commands that look at them.
fn clear_out_before(command: &str) {
    if !matches!(command, "out" | "bytes" | "call" | "scratch" | "log" | "args" | "return") {
        clear_out();
    }
}

fn ok(value: impl ToString) -> Outcome {
    number(0, value)
}

fn plain(status: i32) -> Outcome {
    number(status, "")
}

/// The bytes behind the first two cells.
fn returned(status: i32) -> Outcome {
    if status == 0 {
        ok(show(&returned_bytes()))
    } else {
        plain(status)
    }
}

fn number(status: i32, value: impl ToString) -> Outcome {
    Ok(match status {
        0 => format!("OK {}", value.to_string()).trim_end().to_owned(),
        1 => "NOT_FOUND".into(),
        2 => "BAD_ARGUMENT".into(),
        3 => "SERIALIZATION_FAILURE".into(),
        4 => "PARSE_FAILURE".into(),
        6 => "INVALID_MEMORY_ACCESS".into(),
        7 => "EMPTY".into(),
        8 => "CAS_MISMATCH".into(),
        10 => "INTERNAL_FAILURE".into(),
        12 => "UNIMPLEMENTED".into(),
        status => format!("status {status}"),
    })
}

fn wasi(errno: i32, value: impl ToString) -> Outcome {
    if errno == 0 {
        ok(value)
    } else {
        Ok(format!("errno {errno}"))
    }
}

fn write(fd: i32, bytes: &[u8]) -> i32 {
    let list = [bytes.as_ptr() as i32, bytes.len() as i32];
    unsafe { fd_write(fd, list.as_ptr() as i32, 1, out(0)) }
}

/// Adds 1 to the decimal number of a key, however often others come in between.
fn increment_shared(key: &[u8]) {
    loop {
        clear_out();
        let (key_at, size) = (key.as_ptr() as i32, key.len() as i32);
        let found = unsafe { proxy_get_shared_data(key_at, size, out(0), out(1), out(2)) };
        let count: u64 = String::from_utf8_lossy(&returned_bytes()).parse().unwrap_or(0);
        free_allocated();
        let next = (count + 1).to_string();
        let cas = cell(2) as i32;
        let set = unsafe { proxy_set_shared_data(key_at, size, next.as_ptr() as i32, next.len() as i32, cas) };
        if found == 0 && set == 0 {
            return;
        }
        assert!(found == 0, "the number is not there");
    }
}

/// Words like `NAME=VALUE` as a header map.
fn encode_words(words: &[&[u8]]) -> Vec<u8> {
    let split = |word: &&[u8]| word.iter().position(|&byte| byte == b'=').unwrap_or(word.len());
    let pairs = words.iter().map(|word| {
        let (name, value) = word.split_at(split(word));
        (name, value.get(1..).unwrap_or_default())
    });
    encode_pairs(pairs)
}

/// The words behind the command.
struct Args<'a>(&'a [&'a [u8]]);

impl Args<'_> {
    fn bytes(&self, i: usize) -> Result<&[u8], String> {
        self.0.get(i).copied().ok_or_else(|| format!("argument {} is missing", i + 1))
    }

    /// The rest of the line.
    fn text(&self, from: usize) -> Vec<u8> {
        self.0.get(from..).unwrap_or_default().join(&b' ')
    }

    fn pairs(&self, from: usize) -> Vec<u8> {
        encode_words(self.0.get(from..).unwrap_or_default())
    }

    /// The pairs up to a word `--`, and those behind it.
    fn headers_and_trailers(&self, from: usize) -> (Vec<u8>, Vec<u8>) {
        let mut parts = self.0.get(from..).unwrap_or_default().splitn(2, |&word| word == b"--").map(encode_words);
        let headers = parts.next().unwrap_or_default();
        (headers, parts.next().unwrap_or_else(|| encode_words(&[])))
    }

    fn int(&self, i: usize) -> Result<i32, String> {
        Ok(self.long(i)? as i32)
    }

    /// A number, or one of the `$names`; either with `+N` or `-N` behind it.
    fn long(&self, i: usize) -> Result<i64, String> {
        let word = String::from_utf8_lossy(self.bytes(i)?);
        let wrong = || format!("{word} is not a number");
        let Some(name) = word.strip_prefix('$') else {
            return word.parse().map_err(|_| wrong());
        };
        let (name, offset) = name.split_at(name.find(['+', '-']).unwrap_or(name.len()));
        let base = match name {
            "scratch" => addr_of_mut!(SCRATCH) as i64,
            "len" => unsafe { SCRATCH_SIZE as i64 },
            "end" => wasm32::memory_size(0) as i64 * 65536,
            "out" => out(0) as i64,
            "out2" => out(1) as i64,
            "out3" => out(2) as i64,
            "out4" => out(3) as i64,
            "cas" => CAS.load(Relaxed).into(),
            "queue" => QUEUE.load(Relaxed).into(),
            "metric" => METRIC.load(Relaxed).into(),
            "token" => callouts::TOKEN.load(Relaxed).into(),
            "stream" => callouts::STREAM.load(Relaxed).into(),
            "value" => cell(0) as i64,
            "value2" => cell(1) as i64,
            "value3" => cell(2) as i64,
            "value4" => cell(3) as i64,
            _ => match split_label(name) {
                ("token", Some(label)) => callouts::token_of(label).ok_or_else(wrong)?.into(),
                _ => return Err(wrong()),
            },
        };
        if offset.is_empty() {
            return Ok(base);
        }
        Ok(base + offset.parse::<i64>().map_err(|_| wrong())?)
    }

    /// The position of the word in `names`, or a number.
    fn one_of(&self, i: usize, names: &[&str]) -> Result<i32, String> {
        let word = self.bytes(i)?;
        match names.iter().position(|name| name.as_bytes() == word && !word.is_empty()) {
            Some(position) => Ok(position as i32),
            None => self.int(i),
        }
    }

    fn map(&self, i: usize) -> Result<i32, String> {
        self.one_of(
            i,
            &[
                "request",
                "request_trailers",
                "response",
                "response_trailers",
                "grpc_initial",
                "grpc_trailing",
                "call_response",
                "call_trailers",
            ],
        )
    }

    fn buffer(&self, i: usize) -> Result<i32, String> {
        self.one_of(
            i,
            &[
                "request",
                "response",
                "",
                "",
                "call_response",
                "grpc_message",
                "vm_configuration",
                "plugin_configuration",
                "foreign_arguments",
            ],
        )
    }
}
