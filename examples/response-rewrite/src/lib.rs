//! Sets headers of the response and replaces its body:
//! `{"headers": [{"name": "x-wasm", "value": "yes"}], "body": "a new body\n"}`.

mod config;

use config::Config;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Default)]
struct Plugin {
    config: Rc<Config>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Config::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => self.config = Rc::new(config),
            Err(why) => {
                log::error!("response-rewrite: {why}");
                return false;
            }
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { config: self.config.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http {
    config: Rc<Config>,
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        for (name, value) in &self.config.headers {
            self.set_http_response_header(name, Some(value));
        }
        if self.config.body.is_some() {
            // The new body has another length; and APISIX shows bodies only to plugins that ask for them by this.
            self.set_http_response_header("content-length", None);
            self.set_property(vec!["wasm_process_resp_body"], Some(b"true"));
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        let Some(body) = &self.config.body else { return Action::Continue };
        // Nothing of the old body is sent: the new one comes at its end.
        self.set_http_response_body(0, size, if end { body.as_bytes() } else { b"" });
        Action::Continue
    }
}
