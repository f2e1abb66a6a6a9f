//! Logs each callback. Words in the plugin configuration change what it does:
//! `panic-in-response-headers`, `get-headers` (as text, in on_http_request_headers), and `done-false` (`on_done` of the plugin context returns false).

use log::info;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| Box::new(Plugin { id, conf: String::new() }));
}}

struct Plugin {
    id: u32,
    conf: String,
}

impl Context for Plugin {
    fn on_done(&mut self) -> bool {
        info!("proxy_on_done {}", self.id);
        !self.conf.contains("done-false")
    }
}

impl RootContext for Plugin {
    fn on_vm_start(&mut self, size: usize) -> bool {
        info!("vm_start {} with {size} bytes", self.id);
        true
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        info!("proxy_on_configure {}", self.id);
        self.conf = String::from_utf8_lossy(&self.get_plugin_configuration().unwrap_or_default()).into_owned();
        info!("plugin config: {}", self.conf);
        true
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        info!("create http ctx {id}");
        Some(Box::new(Http { id, conf: self.conf.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http {
    id: u32,
    conf: String,
}

impl Context for Http {
    fn on_done(&mut self) -> bool {
        info!("http done {}", self.id);
        true
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, count: usize, end: bool) -> Action {
        info!("run http ctx {} with conf {}", self.id, self.conf);
        info!("on_http_request_headers {}: {count} headers, end of stream {end}", self.id);
        if self.conf.contains("get-headers") {
            for (name, value) in self.get_http_request_headers() {
                info!("header {name}: {value}");
            }
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        info!("on_http_request_body {}: {size} bytes, end of stream {end}", self.id);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, count: usize, end: bool) -> Action {
        info!("on_http_response_headers {}: {count} headers, end of stream {end}", self.id);
        assert!(!self.conf.contains("panic-in-response-headers"), "panic in response headers");
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        info!("on_http_response_body {}: {size} bytes, end of stream {end}", self.id);
        Action::Continue
    }

    fn on_log(&mut self) {
        info!("on_log {}", self.id);
    }
}
