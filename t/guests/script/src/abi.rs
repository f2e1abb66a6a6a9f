//! The hostcalls as the wasm module imports them, callable by name, and the few wrappers that the commands need.

use std::ptr::{addr_of, addr_of_mut};

/// Declares the imports and `call`, which finds one by its name.
macro_rules! imports {
    ($($module:literal { $($name:ident($($arg:ident: $type:ty),*);)* })*) => {
        $(
            #[link(wasm_import_module = $module)]
            extern "C" { $(pub fn $name($($arg: $type),*) -> i32;)* }
        )*

        /// Calls any import with bare integers, which may well be nonsense.
        pub fn call(name: &str, args: &[i64]) -> Result<i32, String> {
            match name {
                $($(stringify!($name) => match *args {
                    [$($arg),*] => Ok(unsafe { $name($($arg as $type),*) }),
                    _ => Err(concat!("takes (" $(, " ", stringify!($arg))*, " )").to_owned()),
                },)*)*
                _ => Err("no such hostcall".to_owned()),
            }
        }
    };
}

imports! {
    "env" {
        proxy_log(level: i32, data: i32, size: i32);
        proxy_get_log_level(level: i32);
        proxy_get_current_time_nanoseconds(time: i32);
        proxy_set_tick_period_milliseconds(period: i32);

        proxy_get_buffer_bytes(buffer: i32, start: i32, max: i32, data: i32, size: i32);
        proxy_get_buffer_status(buffer: i32, size: i32, flags: i32);
        proxy_set_buffer_bytes(buffer: i32, start: i32, length: i32, data: i32, size: i32);

        proxy_get_header_map_size(map: i32, size: i32);
        proxy_get_header_map_pairs(map: i32, data: i32, size: i32);
        proxy_set_header_map_pairs(map: i32, data: i32, size: i32);
        proxy_get_header_map_value(map: i32, key: i32, key_size: i32, data: i32, size: i32);
        proxy_add_header_map_value(map: i32, key: i32, key_size: i32, value: i32, value_size: i32);
        proxy_replace_header_map_value(map: i32, key: i32, key_size: i32, value: i32, value_size: i32);
        proxy_remove_header_map_value(map: i32, key: i32, key_size: i32);

        proxy_get_property(path: i32, path_size: i32, data: i32, size: i32);
        proxy_set_property(path: i32, path_size: i32, value: i32, value_size: i32);

        proxy_continue_stream(stream: i32);
        proxy_close_stream(stream: i32);
        proxy_send_local_response(code: i32, details: i32, details_size: i32, body: i32, body_size: i32,
            headers: i32, headers_size: i32, grpc_status: i32);

        proxy_http_call(upstream: i32, upstream_size: i32, headers: i32, headers_size: i32, body: i32, body_size: i32,
            trailers: i32, trailers_size: i32, timeout: i32, token: i32);
        proxy_grpc_call(upstream: i32, upstream_size: i32, service: i32, service_size: i32, method: i32,
            method_size: i32, metadata: i32, metadata_size: i32, message: i32, message_size: i32, timeout: i32,
            token: i32);
        proxy_grpc_stream(upstream: i32, upstream_size: i32, service: i32, service_size: i32, method: i32,
            method_size: i32, metadata: i32, metadata_size: i32, token: i32);
        proxy_grpc_send(token: i32, message: i32, message_size: i32, end: i32);
        proxy_grpc_cancel(token: i32);
        proxy_grpc_close(token: i32);
        proxy_get_status(code: i32, data: i32, size: i32);

        proxy_get_shared_data(key: i32, key_size: i32, data: i32, size: i32, cas: i32);
        proxy_set_shared_data(key: i32, key_size: i32, value: i32, value_size: i32, cas: i32);
        proxy_register_shared_queue(name: i32, name_size: i32, id: i32);
        proxy_resolve_shared_queue(vm: i32, vm_size: i32, name: i32, name_size: i32, id: i32);
        proxy_enqueue_shared_queue(id: i32, data: i32, size: i32);
        proxy_dequeue_shared_queue(id: i32, data: i32, size: i32);

        proxy_define_metric(kind: i32, name: i32, name_size: i32, id: i32);
        proxy_increment_metric(id: i32, delta: i64);
        proxy_record_metric(id: i32, value: i64);
        proxy_get_metric(id: i32, value: i32);

        proxy_set_effective_context(id: i32);
        proxy_done();
        proxy_call_foreign_function(name: i32, name_size: i32, args: i32, args_size: i32, data: i32, size: i32);
    }
    "wasi_snapshot_preview1" {
        args_get(list: i32, data: i32);
        args_sizes_get(count: i32, size: i32);
        environ_get(list: i32, data: i32);
        environ_sizes_get(count: i32, size: i32);
        clock_res_get(clock: i32, resolution: i32);
        clock_time_get(clock: i32, precision: i64, time: i32);
        fd_write(fd: i32, list: i32, count: i32, written: i32);
        poll_oneoff(events: i32, results: i32, count: i32, stored: i32);
        random_get(data: i32, size: i32);
        sched_yield();
    }
}

/// Four `u32` cells that the host may write results to: `$out`, `$out2`, …
static mut OUT: [u64; 2] = [0; 2];

pub fn out(cell: usize) -> i32 {
    addr_of_mut!(OUT) as i32 + 4 * cell as i32
}

pub fn cell(cell: usize) -> u32 {
    unsafe { addr_of!(OUT).cast::<u32>().add(cell).read_volatile() }
}

pub fn cells_as_u64() -> u64 {
    u64::from(cell(1)) << 32 | u64::from(cell(0))
}

/// The bytes that the host says it has put at `cell(0)`, `cell(1)` long.
pub fn returned_bytes() -> Vec<u8> {
    bytes_of_cells(0)
}

/// The bytes at the address in cell `first`, as many as the next one says.
pub fn bytes_of_cells(first: usize) -> Vec<u8> {
    match cell(first) {
        0 => Vec::new(),
        data => unsafe { std::slice::from_raw_parts(data as *const u8, cell(first + 1) as usize) }.to_vec(),
    }
}

pub fn clear_out() {
    unsafe { addr_of_mut!(OUT).write_volatile([0; 2]) }
}

pub fn log(level: i32, text: &str) {
    unsafe { proxy_log(level, text.as_ptr() as i32, text.len() as i32) };
}

/// `u32` count, then the sizes of each name and value, then each name and value with a NUL behind it.
pub fn encode_pairs<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let mut blob = (pairs.clone().count() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs.clone() {
        blob.extend((name.len() as u32).to_le_bytes());
        blob.extend((value.len() as u32).to_le_bytes());
    }
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        blob.extend(text);
        blob.push(0);
    }
    blob
}

/// `None` when the host broke the format.
pub fn decode_pairs(mut blob: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    fn take<'a>(blob: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
        let (head, tail) = blob.split_at_checked(size)?;
        *blob = tail;
        Some(head)
    }
    fn number(blob: &mut &[u8]) -> Option<usize> {
        Some(u32::from_le_bytes(take(blob, 4)?.try_into().ok()?) as usize)
    }
    fn text<'a>(blob: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
        let text = take(blob, size)?;
        (take(blob, 1)? == [0]).then_some(text)
    }

    if blob.is_empty() {
        return Some(Vec::new());
    }
    let blob = &mut blob;
    let sizes: Vec<_> = (0..number(blob)?).map(|_| Some((number(blob)?, number(blob)?))).collect::<Option<_>>()?;
    let pairs =
        sizes.into_iter().map(|(name, value)| Some((text(blob, name)?, text(blob, value)?))).collect::<Option<_>>()?;
    blob.is_empty().then_some(pairs)
}
