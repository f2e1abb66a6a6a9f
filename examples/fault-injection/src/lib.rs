//! Answers a share of the requests itself, with the status and the body that its configuration gives:
//! `{"http_status": 503, "body": "sorry", "percentage": 50}`.

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
    config: Option<Rc<Config>>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        match Config::parse(&json) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(why) => {
                log::error!("fault-injection: {why}");
                return false;
            }
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        let config = self.config.clone()?;
        Some(Box::new(Http { config }))
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
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        if random_percent() >= self.config.percentage {
            return Action::Continue;
        }
        let body = self.config.body.as_deref().map(str::as_bytes);
        self.send_http_response(self.config.http_status, vec![], body);
        Action::Pause
    }
}

/// 0 to 99; without randomness 0, so that every request fails as configured.
fn random_percent() -> u32 {
    getrandom::u32().unwrap_or_default() % 100
}
