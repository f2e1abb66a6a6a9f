//! The plugin's configuration, checked before the plugin accepts it.

use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::time::Duration;

#[derive(Debug, PartialEq)]
pub struct Config {
    pub auth_server: AuthServer,
    pub timeout: Duration,
    pub request_headers: Vec<String>,
    pub upstream_headers: Vec<String>,
    pub client_headers: Vec<String>,
    pub allow_degradation: bool,
    pub status_on_error: u32,
}

/// Whom to ask: the parts of `uri`.
#[derive(Debug, PartialEq)]
pub struct AuthServer {
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// With its query.
    pub path: String,
}

const FIELDS: [&str; 7] =
    ["uri", "timeout", "request_headers", "upstream_headers", "client_headers", "allow_degradation", "status_on_error"];

/// These tell how one connection carries one message, so they are nobody else's.
const FRAMING: [&str; 7] = ["connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"];

impl Config {
    /// An error names the field, its value and the rule.
    pub fn parse(json: &[u8]) -> Result<Config, String> {
        let fields = match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => fields,
            Ok(other) => return Err(format!("the configuration is {other}, but has to be an object")),
            Err(why) => return Err(format!("the configuration is not JSON: {why}")),
        };
        if let Some((name, value)) = fields.iter().find(|(name, _)| !FIELDS.contains(&name.as_str())) {
            return Err(format!("{name} is {value}, but only {} are known", FIELDS.join(", ")));
        }
        let timeout = integer(&fields, "timeout", 1..=60000)?.unwrap_or(3000);
        Ok(Config {
            auth_server: auth_server(&fields)?,
            timeout: Duration::from_millis(timeout.into()),
            request_headers: header_names(&fields, "request_headers")?,
            upstream_headers: header_names(&fields, "upstream_headers")?,
            client_headers: header_names(&fields, "client_headers")?,
            allow_degradation: boolean(&fields, "allow_degradation")?.unwrap_or(false),
            status_on_error: integer(&fields, "status_on_error", 200..=599)?.unwrap_or(403),
        })
    }
}

impl AuthServer {
    fn parse(uri: &str) -> Option<AuthServer> {
        let (scheme, rest) = uri.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_valid = matches!(scheme, "http" | "https")
            && !authority.is_empty()
            && !uri.contains(|c: char| matches!(c, '#' | '@') || !c.is_ascii_graphic());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        is_valid.then(|| AuthServer { scheme: scheme.to_owned(), authority: authority.to_owned(), path })
    }
}

fn auth_server(fields: &Map<String, Value>) -> Result<AuthServer, String> {
    let rule = "has to be an http or https URI";
    let value = fields.get("uri").ok_or(format!("uri is missing, but {rule}"))?;
    value.as_str().and_then(AuthServer::parse).ok_or(format!("uri is {value}, but {rule}"))
}

/// The names, in lower case; without the field none.
fn header_names(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = fields.get(name) else { return Ok(vec![]) };
    let names = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let names = names.ok_or(format!("{name} is {value}, but has to be a list of strings"))?;
    names
        .into_iter()
        .map(|header| header_name(header).map_err(|rule| format!("{name} has {header:?}, but {rule}")))
        .collect()
}

fn header_name(name: &str) -> Result<String, String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_of_name) {
        return Err("this is not the name of a header".to_owned());
    }
    let name = name.to_ascii_lowercase();
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("{} can't be copied", FRAMING.join(", ")));
    }
    Ok(name)
}

fn integer(fields: &Map<String, Value>, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, String> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(format!("{name} is {value}, but has to be an integer from {} to {}", range.start(), range.end())),
    }
}

fn boolean(fields: &Map<String, Value>, name: &str) -> Result<Option<bool>, String> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(value) => Err(format!("{name} is {value}, but has to be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthServer, Config};
    use std::time::Duration;

    fn refused(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err()
    }

    fn server(scheme: &str, authority: &str, path: &str) -> Option<AuthServer> {
        Some(AuthServer { scheme: scheme.into(), authority: authority.into(), path: path.into() })
    }

    #[test]
    fn defaults() {
        let config = Config::parse(br#"{"uri": "http://127.0.0.1:1980/auth"}"#).unwrap();
        let expected = Config {
            auth_server: server("http", "127.0.0.1:1980", "/auth").unwrap(),
            timeout: Duration::from_secs(3),
            request_headers: vec![],
            upstream_headers: vec![],
            client_headers: vec![],
            allow_degradation: false,
            status_on_error: 403,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn all_fields() {
        let json = br#"{"uri": "https://auth.test", "timeout": 60000, "request_headers": ["Authorization"],
            "upstream_headers": ["X-User-ID"], "client_headers": ["Location", "Set-Cookie"], "allow_degradation": true,
            "status_on_error": 503}"#;
        let expected = Config {
            auth_server: server("https", "auth.test", "/").unwrap(),
            timeout: Duration::from_secs(60),
            request_headers: vec!["authorization".into()],
            upstream_headers: vec!["x-user-id".into()],
            client_headers: vec!["location".into(), "set-cookie".into()],
            allow_degradation: true,
            status_on_error: 503,
        };
        assert_eq!(Config::parse(json).unwrap(), expected);
    }

    #[test]
    fn uris() {
        assert_eq!(AuthServer::parse("http://[::1]:8080/a/b?c=d"), server("http", "[::1]:8080", "/a/b?c=d"));
        assert_eq!(AuthServer::parse("https://auth.test?a=/b"), server("https", "auth.test", "/?a=/b"));
        for uri in [
            "",
            "auth.test",
            "/auth",
            "ftp://auth.test",
            "http://",
            "http:///a",
            "http://a b/",
            "http://u@a/",
            "http://a/#b",
        ] {
            assert_eq!(AuthServer::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn refusals_name_field_value_and_rule() {
        assert_eq!(refused("{}"), "uri is missing, but has to be an http or https URI");
        for value in ["\"auth.test\"", "1", "null"] {
            let expected = format!("uri is {value}, but has to be an http or https URI");
            assert_eq!(refused(&format!(r#"{{"uri": {value}}}"#)), expected);
        }
        let field = |name: &str, value: &str| refused(&format!(r#"{{"uri": "http://a", "{name}": {value}}}"#));
        for value in ["0", "60001", "-1", "1.5", "\"1\""] {
            let expected = format!("timeout is {value}, but has to be an integer from 1 to 60000");
            assert_eq!(field("timeout", value), expected);
        }
        for value in ["199", "600"] {
            let expected = format!("status_on_error is {value}, but has to be an integer from 200 to 599");
            assert_eq!(field("status_on_error", value), expected);
        }
        assert_eq!(field("allow_degradation", "1"), "allow_degradation is 1, but has to be true or false");
        for name in ["request_headers", "upstream_headers", "client_headers"] {
            for value in ["\"a\"", "[1]", "{}"] {
                assert_eq!(field(name, value), format!("{name} is {value}, but has to be a list of strings"));
            }
            for value in ["", ":path", "a b"] {
                let expected = format!("{name} has {value:?}, but this is not the name of a header");
                assert_eq!(field(name, &format!("[\"x\", \"{value}\"]")), expected);
            }
            assert_eq!(
                field(name, r#"["Content-Length"]"#),
                format!(
                    "{name} has \"Content-Length\", but \
                     connection, content-length, host, keep-alive, te, transfer-encoding, upgrade can't be copied"
                )
            );
        }
        assert!(field("timout", "1").starts_with("timout is 1, but only uri, timeout, request_headers, "));
        assert_eq!(refused("[]"), "the configuration is [], but has to be an object");
        assert!(refused("").starts_with("the configuration is not JSON: "));
    }
}
