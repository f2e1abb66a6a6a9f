//! Logs a part of the bodies of requests and responses: `{"request": true, "response": true, "start": 0, "size": 100}`.

mod config;

use config::Config;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, Bytes, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin { config: None }));
}}

struct Plugin {
    config: Option<Config>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Config::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => self.config = Some(config),
            Err(why) => {
                log::error!("body-log: {why}");
                return false;
            }
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { config: self.config.clone()? }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http {
    config: Config,
}

impl Context for Http {}

impl HttpContext for Http {
    /// APISIX shows bodies only to plugins that ask for them by these properties.
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.config.request {
            self.set_property(vec!["wasm_process_req_body"], Some(b"true"));
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, _size: usize, _end: bool) -> Action {
        log("request", self.get_http_request_body(self.config.start, self.config.size));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.config.response {
            self.set_property(vec!["wasm_process_resp_body"], Some(b"true"));
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, _end: bool) -> Action {
        log("response", self.get_http_response_body(self.config.start, self.config.size));
        Action::Continue
    }
}

fn log(which: &str, body: Option<Bytes>) {
    match body {
        Some(body) => log::info!("{which} body: [{}]", String::from_utf8_lossy(&body)),
        None => log::info!("{which} body: none"),
    }
}
