//! The bytes of a module, given to `load`: an error or a plugin, in little time.

use std::{thread, time::Duration};

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{context::Options, vm::Engine};

thread_local! {
    static ENGINE: Engine<Proxy> = engine();
}

/// An engine whose clock runs ten times as fast as it should: many modules do not end by themselves.
fn engine() -> Engine<Proxy> {
    let engine = Engine::new().expect("the engine runs here");
    let ticker = engine.ticker();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(1));
            ticker.tick();
        }
    });
    engine
}

/// The input is a module, in the binary or the text format.
pub fn run(input: &[u8]) {
    let module = binary(input);
    let options = Options { callback_timeout: Duration::ZERO, memory_limit: 1 << 20, ..Options::new("a plugin") };
    let Ok(plugin) = ENGINE.with(|engine| engine.load(Proxy::default(), options, module.as_deref().unwrap_or(input)))
    else {
        return;
    };
    let Ok(context) = plugin.configure(b"configuration") else { return };
    if let Ok(stream) = context.open_stream(Request::default()) {
        plugin.close_stream(stream);
    }
    drop(context);
    assert!(plugin.status().is_some_and(|status| (status.plugin_contexts, status.stream_contexts) == (0, 0)));
}

/// The module of a text; `None` for what is none.
pub fn binary(text: &[u8]) -> Option<Vec<u8>> {
    if text.starts_with(b"(module") { wat::parse_bytes(text).ok().map(Into::into) } else { None }
}
