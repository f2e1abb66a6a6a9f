//! Logs which contexts run, with which configuration.

use log::info;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|plugin| Box::new(Plugin { plugin, conf: String::new() }));
}}

#[derive(Clone)]
struct Plugin {
    plugin: u32,
    conf: String,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.conf = String::from_utf8_lossy(&self.get_plugin_configuration().unwrap_or_default()).into_owned();
        !self.conf.contains("refuse")
    }

    fn create_http_context(&self, stream: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { plugin: self.clone(), stream }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http {
    plugin: Plugin,
    stream: u32,
}

impl Http {
    fn log(&self, what: &str) {
        info!("{what} plugin ctx {} with conf {} in http ctx {}", self.plugin.plugin, self.plugin.conf, self.stream);
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.log("run");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.log("respond by");
        Action::Continue
    }
}
