//! Asks an auth server about each request. When it answers with a status below 300 the request goes on, with headers of the
//! answer; else its answer is the client's. The configuration, of which only `uri` is required:
//!
//! ```json
//! {"uri": "http://127.0.0.1:9000/auth", "timeout": 3000, "request_headers": ["Authorization"],
//!  "upstream_headers": ["X-User-ID"], "client_headers": ["Location"], "allow_degradation": false, "status_on_error": 403}
//! ```

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
                log::error!("forward-auth: {why}");
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

type Headers = Vec<(String, Vec<u8>)>;

struct Http {
    config: Rc<Config>,
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let headers = self.auth_headers();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let config = self.config.clone();
        match self.dispatch_http_call(&config.auth_server.authority, headers, None, vec![], config.timeout) {
            Ok(_) => Action::Pause,
            Err(status) => {
                log::error!("forward-auth: the auth server can't be asked: {status:?}");
                self.on_no_answer()
            }
        }
    }
}

impl Context for Http {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let action = if headers == 0 { self.on_no_answer() } else { self.on_answer(body_size) };
        if action == Action::Continue {
            self.resume_http_request();
        }
    }
}

impl Http {
    /// What the auth server is asked.
    fn auth_headers(&self) -> Vec<(String, String)> {
        let server = &self.config.auth_server;
        let mut headers: Vec<(String, String)> = [
            (":method", "GET".to_owned()),
            (":scheme", server.scheme.clone()),
            (":authority", server.authority.clone()),
            (":path", server.path.clone()),
            ("x-forwarded-proto", self.header_of_request(":scheme")),
            ("x-forwarded-method", self.header_of_request(":method")),
            ("x-forwarded-host", self.header_of_request(":authority")),
            ("x-forwarded-uri", self.header_of_request(":path")),
            ("x-forwarded-for", self.client_address()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let own = headers.len();
        for (name, value) in copied(&self.get_http_request_headers_bytes(), &self.config.request_headers) {
            // What the client says of itself does not count.
            if headers[..own].iter().all(|(other, _)| *other != name) {
                headers.push((name, text(&value)));
            }
        }
        headers
    }

    fn header_of_request(&self, name: &str) -> String {
        text(&self.get_http_request_header_bytes(name).unwrap_or_default())
    }

    /// Without its port.
    fn client_address(&self) -> String {
        let address = text(&self.get_property(vec!["source", "address"]).unwrap_or_default());
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    }

    fn on_answer(&mut self, body_size: usize) -> Action {
        let status = self.get_http_call_response_header(":status").and_then(|status| status.parse().ok());
        let headers = self.get_http_call_response_headers_bytes();
        match status {
            Some(status) if status < 300 => self.allow(&headers),
            status => self.deny(status.unwrap_or(self.config.status_on_error), &headers, body_size),
        }
    }

    /// The request gets what the auth server says, and what the client says of it goes.
    fn allow(&self, headers: &Headers) -> Action {
        for name in &self.config.upstream_headers {
            self.set_http_request_header(name, None);
        }
        for (name, value) in copied(headers, &self.config.upstream_headers) {
            self.add_http_request_header_bytes(&name, &value);
        }
        Action::Continue
    }

    fn deny(&self, status: u32, headers: &Headers, body_size: usize) -> Action {
        let headers: Vec<(String, String)> = copied(headers, &self.config.client_headers)
            .into_iter()
            .map(|(name, value)| (name, text(&value)))
            .collect();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = self.get_http_call_response_body(0, body_size);
        self.send_http_response(status, headers, body.as_deref());
        Action::Pause
    }

    fn on_no_answer(&self) -> Action {
        if self.config.allow_degradation {
            return self.allow(&vec![]);
        }
        self.send_http_response(self.config.status_on_error, vec![], None);
        Action::Pause
    }
}

/// Those headers whose names are in `names`, which are in lower case; their own names become so.
fn copied(headers: &Headers, names: &[String]) -> Headers {
    let lower_case = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    lower_case.filter(|(name, _)| names.contains(name)).collect()
}

/// The SDK sends no other bytes than UTF-8 in callouts and replies.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
