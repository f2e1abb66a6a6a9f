//! What the host reads of a guest besides header maps: the arguments of foreign functions, and how a guest names a gRPC service.

use std::rc::Rc;

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    callout::Callout,
    context::{Options, Plugin, PluginContext},
    vm::{Engine, Event, Outcome},
};

thread_local! {
    static GUEST: Guest = Guest::new();
}

/// One guest for all inputs, which keeps nothing between two of them.
struct Guest {
    proxy: Proxy,
    plugin: Rc<Plugin<Proxy>>,
    context: PluginContext<Proxy>,
}

impl Guest {
    fn new() -> Self {
        let proxy = Proxy::default();
        let bytes = wat::parse_str(include_str!("foreign.wat")).expect("the guest is correct");
        let engine = Engine::new().expect("the engine runs here");
        let plugin = engine.load(proxy.clone(), Options::new("p"), &bytes).expect("the guest loads");
        let context = plugin.configure(b"").expect("it takes any configuration");
        Self { proxy, plugin, context }
    }

    /// What the function of this letter makes of the bytes; `None` when it fails.
    fn call(&self, function: u8, bytes: &[u8]) -> Option<Vec<u8>> {
        let stream = self.context.open_stream(Request::default()).expect("the guest never traps");
        let request = Request { body: Some([&[function], bytes].concat().into()), ..Request::default() };
        let outcome = self.plugin.on_event(stream, request, Event::RequestBody { end_of_stream: true });
        let outcome = outcome.expect("the guest never traps");
        self.plugin.close_stream(stream);
        self.proxy.take_log();
        if let Outcome::Body(body) = outcome { Some(body) } else { None }
    }

    /// The upstream of a gRPC call.
    fn upstream(&self, service: &[u8]) -> Vec<u8> {
        self.call(b'g', service);
        let [token] = self.proxy.tokens()[..] else { panic!("one call is in flight") };
        let upstream = match self.proxy.callouts.lock().expect("nothing has panicked").remove(&token) {
            Some(Callout::Grpc(call)) => call.upstream,
            other => panic!("{other:?} is no gRPC call"),
        };
        let close = proxy_wasm_runtime::callout::Event::GrpcClose { status: 0, message: String::new() };
        self.plugin.on_callout(token, close).expect("the guest never traps");
        upstream
    }
}

/// The first byte says which function the rest is for. What is compressed is uncompressed to itself, what is signed is
/// verified, and a name that is no message is the upstream's.
pub fn run(input: &[u8]) {
    let Some((function, bytes)) = input.split_first() else { return };
    GUEST.with(|guest| match function {
        b'c' => {
            let compressed = guest.call(b'c', bytes).expect("any bytes can be compressed");
            assert_eq!(guest.call(b'u', &compressed).as_deref(), Some(bytes));
        }
        b'g' => {
            let upstream = guest.upstream(bytes);
            assert!(upstream.len() <= bytes.len());
        }
        function => _ = guest.call(*function, bytes),
    });
}
