use std::{sync::Arc, time::Duration};

use crate::{callout::Upstreams, hostcalls::Capabilities};

/// How a plugin is loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plugin's name: its properties `plugin_name` and `plugin_root_id`.
    pub name: Arc<str>,
    /// Plugins with the same id share their data and find each other's queues; it is the property `plugin_vm_id`.
    pub vm_id: Arc<str>,
    /// What `proxy_on_vm_start` is given; may be empty.
    pub vm_configuration: Arc<[u8]>,
    /// Bytes of header values that are no UTF-8 reach the guest as `%XX`, instead of as they are.
    pub escape_invalid_utf8: bool,
    /// How long what the plugin shares is kept after it was set; `None` for as long as there is room.
    pub shared_data_ttl: Option<Duration>,
    /// How many bytes the keys and values may take, as the proxy stores them, that plugins with this `vm_id` share; `None` for a
    /// quarter of what it has for all of them.
    pub shared_data_limit: Option<usize>,
    /// The same for queues of this `vm_id` and their messages; `None` for an eighth.
    pub shared_queue_limit: Option<usize>,
    /// The same for metrics that plugins with this `vm_id` define; `None` for a sixteenth.
    pub metric_limit: Option<usize>,
    /// How long a callback may run. It is cut up to two [ticks](crate::vm::TICK) later.
    pub callback_timeout: Duration,
    /// How much of each second the plugin may run where no stream waits for it: in ticks, for queues, and for callouts.
    pub background_cpu: Duration,
    /// How large the guest's memory may be, in bytes.
    pub memory_limit: usize,
    /// How many elements the guest's tables may have in all.
    pub table_limit: usize,
    /// How many bytes of headers and properties one callback may set: names and values, and 32 more for each, as HTTP/2 counts
    /// them (RFC 9113 §6.5.2).
    pub header_limit: usize,
    /// How many bytes the proxy may keep until a stream ends for what the plugin reads and sets in its callbacks: headers and
    /// properties, counted as by `header_limit`.
    pub pool_limit: usize,
    /// The hostcalls that the plugin may make.
    pub capabilities: Capabilities,
    /// How many messages the plugin may log in a second, in this process.
    pub log_rate: u32,
    /// How many bytes of a response body the plugin may hold back, and how long it may make a body or a local reply.
    pub body_limit: usize,
    /// The proxy goes on as if the plugin were not there when it fails. The host only keeps it for the proxy.
    pub fail_open: bool,
    /// The environment variables that the guest sees.
    pub env: Vec<(String, String)>,
    /// A request goes on without the answers of its HTTP calls unless the guest has paused it. Else it waits for them, as with
    /// wasm-nginx-module.
    pub wait_only_when_paused: bool,
    /// How many callouts of the plugin may be in flight at once in this process; `None` for as many as the proxy gives a plugin.
    pub callouts_in_flight: Option<usize>,
    /// How many of them may have been made for one stream context.
    pub callouts_per_request: usize,
    /// How many bytes of headers, bodies and messages they may hold that are not sent.
    pub callout_bytes_in_flight: usize,
    /// How many bytes an answer may have: its body or one gRPC message.
    pub callout_response_size: usize,
    /// Whom the plugin may ask; `None` for everyone whom the proxy does not reserve.
    pub callout_upstreams: Option<Upstreams>,
    /// Who is asked in HTTP/2, also by HTTP calls.
    pub callout_http2: Upstreams,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: Arc::default(),
            vm_id: Arc::default(),
            vm_configuration: Arc::default(),
            escape_invalid_utf8: false,
            shared_data_ttl: None,
            shared_data_limit: None,
            shared_queue_limit: None,
            metric_limit: None,
            callback_timeout: Duration::from_secs(5),
            background_cpu: Duration::from_millis(500),
            memory_limit: 256 << 20,
            table_limit: 1 << 20,
            header_limit: 4 << 20,
            pool_limit: 64 << 20,
            capabilities: Capabilities::default(),
            log_rate: 10_000,
            body_limit: 64 << 20,
            fail_open: false,
            env: Vec::new(),
            wait_only_when_paused: false,
            callouts_in_flight: None,
            callouts_per_request: 64,
            callout_bytes_in_flight: 256 << 20,
            callout_response_size: 64 << 20,
            callout_upstreams: None,
            callout_http2: Upstreams::default(),
        }
    }
}

impl Options {
    /// Those of a plugin about which nothing is known but its name, which is its `vm_id` then.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), vm_id: name.into(), ..Self::default() }
    }
}
