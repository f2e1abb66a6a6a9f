//! Every hostcall of every ABI version as one row. Linking, docs/abi.md and the tests come from here.

use wasmtime::{Caller, Linker};

use crate::{
    abi::AbiVersion,
    host::Host,
    hostcalls::{
        Call, buffers, foreign, grpc, headers, http_call, lifecycle, local_reply, log, metrics, properties,
        shared_data, shared_queue, time,
    },
    vm::State,
};

/// One hostcall.
#[derive(Debug)]
pub struct Hostcall {
    /// The import in the module `env`.
    pub name: &'static str,
    /// The first and the last version that have it.
    pub versions: (AbiVersion, AbiVersion),
    /// Names and types (`u32` is wasm's i32, `u64` its i64).
    pub parameters: &'static [(&'static str, &'static str)],
}

/// A row: versions, name, parameters, then `= function`.
macro_rules! hostcalls {
    ($($first:ident ..= $last:ident  $name:ident($($parameter:ident: $type:ident),*) = $function:path;)*) => {
        /// All hostcalls, grouped as in the folder.
        pub const HOSTCALLS: &[Hostcall] = &[$(Hostcall {
            name: stringify!($name),
            versions: (AbiVersion::$first, AbiVersion::$last),
            parameters: &[$((stringify!($parameter), stringify!($type))),*],
        }),*];

        /// Defines all hostcalls in the module `env`.
        pub(crate) fn link<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
            $(
                linker.func_wrap("env", stringify!($name), |caller: Caller<'_, State<H>>, $($parameter: $type),*| {
                    Call::run(stringify!($name), caller, |call| $function(call, $($parameter),*))
                })?;
            )*
            Ok(())
        }
    };
}

hostcalls! {
    // log
    V0_1_0..=V0_2_1 proxy_log(level: u32, message: u32, message_size: u32) = log::log;
    V0_2_1..=V0_2_1 proxy_get_log_level(level_out: u32) = log::get_log_level;

    // time
    V0_1_0..=V0_2_1 proxy_get_current_time_nanoseconds(time_out: u32) = time::get_current_time_nanoseconds;
    V0_1_0..=V0_2_1 proxy_set_tick_period_milliseconds(period: u32) = time::set_tick_period_milliseconds;

    // buffers
    V0_1_0..=V0_1_0 proxy_get_configuration(pointer_out: u32, size_out: u32) = buffers::get_configuration;
    V0_1_0..=V0_2_1 proxy_get_buffer_bytes(buffer: u32, start: u32, max_size: u32, pointer_out: u32, size_out: u32) = buffers::get_buffer_bytes;
    V0_1_0..=V0_2_1 proxy_get_buffer_status(buffer: u32, size_out: u32, flags_out: u32) = buffers::get_buffer_status;
    V0_1_0..=V0_2_1 proxy_set_buffer_bytes(buffer: u32, start: u32, size: u32, value: u32, value_size: u32) = buffers::set_buffer_bytes;

    // headers
    V0_1_0..=V0_2_1 proxy_get_header_map_size(map: u32, size_out: u32) = headers::get_header_map_size;
    V0_1_0..=V0_2_1 proxy_get_header_map_pairs(map: u32, pointer_out: u32, size_out: u32) = headers::get_header_map_pairs;
    V0_1_0..=V0_2_1 proxy_set_header_map_pairs(map: u32, pairs: u32, pairs_size: u32) = headers::set_header_map_pairs;
    V0_1_0..=V0_2_1 proxy_get_header_map_value(map: u32, name: u32, name_size: u32, pointer_out: u32, size_out: u32) = headers::get_header_map_value;
    V0_1_0..=V0_2_1 proxy_add_header_map_value(map: u32, name: u32, name_size: u32, value: u32, value_size: u32) = headers::add_header_map_value;
    V0_1_0..=V0_2_1 proxy_replace_header_map_value(map: u32, name: u32, name_size: u32, value: u32, value_size: u32) = headers::replace_header_map_value;
    V0_1_0..=V0_2_1 proxy_remove_header_map_value(map: u32, name: u32, name_size: u32) = headers::remove_header_map_value;

    // properties
    V0_1_0..=V0_2_1 proxy_get_property(path: u32, path_size: u32, pointer_out: u32, size_out: u32) = properties::get_property;
    V0_1_0..=V0_2_1 proxy_set_property(path: u32, path_size: u32, value: u32, value_size: u32) = properties::set_property;

    // local reply
    V0_1_0..=V0_2_1 proxy_send_local_response(status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32, grpc_status: u32) = local_reply::send_local_response;

    // lifecycle
    V0_1_0..=V0_2_1 proxy_set_effective_context(context: u32) = lifecycle::set_effective_context;
    V0_1_0..=V0_2_1 proxy_done() = lifecycle::done;
    V0_1_0..=V0_1_0 proxy_continue_request() = lifecycle::continue_request;
    V0_1_0..=V0_1_0 proxy_continue_response() = lifecycle::continue_response;
    V0_2_0..=V0_2_1 proxy_continue_stream(stream_type: u32) = lifecycle::continue_stream;
    V0_2_0..=V0_2_1 proxy_close_stream(stream_type: u32) = lifecycle::close_stream;
    V0_1_0..=V0_1_0 proxy_clear_route_cache() = lifecycle::clear_route_cache;
    V0_1_0..=V0_2_1 proxy_get_status(code_out: u32, pointer_out: u32, size_out: u32) = lifecycle::get_status;

    // http call
    V0_1_0..=V0_2_1 proxy_http_call(upstream: u32, upstream_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32, trailers: u32, trailers_size: u32, timeout: u32, token_out: u32) = http_call::http_call;

    // grpc
    V0_1_0..=V0_2_1 proxy_grpc_call(upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32, metadata: u32, metadata_size: u32, message: u32, message_size: u32, timeout: u32, token_out: u32) = grpc::grpc_call;
    V0_1_0..=V0_2_1 proxy_grpc_stream(upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32, metadata: u32, metadata_size: u32, token_out: u32) = grpc::grpc_stream;
    V0_1_0..=V0_2_1 proxy_grpc_send(token: u32, message: u32, message_size: u32, end_of_stream: u32) = grpc::grpc_send;
    V0_1_0..=V0_2_1 proxy_grpc_cancel(token: u32) = grpc::grpc_cancel;
    V0_1_0..=V0_2_1 proxy_grpc_close(token: u32) = grpc::grpc_close;

    // shared data
    V0_1_0..=V0_2_1 proxy_get_shared_data(key: u32, key_size: u32, pointer_out: u32, size_out: u32, cas_out: u32) = shared_data::get_shared_data;
    V0_1_0..=V0_2_1 proxy_set_shared_data(key: u32, key_size: u32, value: u32, value_size: u32, cas: u32) = shared_data::set_shared_data;

    // shared queue
    V0_1_0..=V0_2_1 proxy_register_shared_queue(name: u32, name_size: u32, queue_out: u32) = shared_queue::register_shared_queue;
    V0_1_0..=V0_2_1 proxy_resolve_shared_queue(vm_id: u32, vm_id_size: u32, name: u32, name_size: u32, queue_out: u32) = shared_queue::resolve_shared_queue;
    V0_1_0..=V0_2_1 proxy_enqueue_shared_queue(queue: u32, value: u32, value_size: u32) = shared_queue::enqueue_shared_queue;
    V0_1_0..=V0_2_1 proxy_dequeue_shared_queue(queue: u32, pointer_out: u32, size_out: u32) = shared_queue::dequeue_shared_queue;

    // metrics
    V0_1_0..=V0_2_1 proxy_define_metric(metric_type: u32, name: u32, name_size: u32, metric_out: u32) = metrics::define_metric;
    V0_1_0..=V0_2_1 proxy_increment_metric(metric: u32, offset: u64) = metrics::increment_metric;
    V0_1_0..=V0_2_1 proxy_record_metric(metric: u32, value: u64) = metrics::record_metric;
    V0_1_0..=V0_2_1 proxy_get_metric(metric: u32, value_out: u32) = metrics::get_metric;

    // foreign
    V0_1_0..=V0_2_1 proxy_call_foreign_function(name: u32, name_size: u32, arguments: u32, arguments_size: u32, pointer_out: u32, size_out: u32) = foreign::call_foreign_function;
}

/// Defines a hostcall in the form that an SDK gives it, where that is another than the table's: AssemblyScript's has gRPC
/// without metadata. Does nothing for an import that is none of these.
pub(crate) fn link_form_of_sdk<H: Host>(
    linker: &mut Linker<State<H>>,
    name: &str,
    parameters: usize,
) -> wasmtime::Result<bool> {
    match (name, parameters) {
        ("proxy_grpc_call", 10) => linker.func_wrap(
            "env",
            "proxy_grpc_call",
            |caller: Caller<'_, State<H>>, a, b, c, d, e, f, g, h, i, j| {
                Call::run("proxy_grpc_call", caller, |call| {
                    grpc::grpc_call_without_metadata(call, a, b, c, d, e, f, g, h, i, j)
                })
            },
        )?,
        ("proxy_grpc_stream", 7) => {
            linker.func_wrap("env", "proxy_grpc_stream", |caller: Caller<'_, State<H>>, a, b, c, d, e, f, g| {
                Call::run("proxy_grpc_stream", caller, |call| {
                    grpc::grpc_stream_without_metadata(call, a, b, c, d, e, f, g)
                })
            })?
        }
        _ => return Ok(false),
    };
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for (index, row) in HOSTCALLS.iter().enumerate() {
            assert!(HOSTCALLS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }

    #[test]
    fn each_version_has_as_many_hostcalls_as_the_specification() {
        let count =
            |version| HOSTCALLS.iter().filter(|row| (row.versions.0..=row.versions.1).contains(&version)).count();
        assert_eq!(AbiVersion::ALL.map(count), [40, 38, 39]);
    }
}
