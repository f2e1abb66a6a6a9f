//! The plugin's configuration, checked before the plugin accepts it.

use serde_json::{Map, Value};

#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

const FIELDS: [&str; 2] = ["headers", "body"];

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
        Ok(Config { headers: headers(&fields)?, body: body(&fields)? })
    }
}

fn headers(fields: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let Some(value) = fields.get("headers") else { return Ok(Vec::new()) };
    let wrong = || format!("headers is {value}, but has to be a list of {{\"name\": …, \"value\": …}}");
    value.as_array().ok_or_else(wrong)?.iter().map(|header| pair(header).ok_or_else(wrong)).collect()
}

fn pair(header: &Value) -> Option<(String, String)> {
    let text = |field| header.get(field).and_then(Value::as_str).map(str::to_owned);
    text("name").filter(|name| !name.is_empty()).zip(text("value"))
}

fn body(fields: &Map<String, Value>) -> Result<Option<String>, String> {
    match fields.get("body") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value) => Err(format!("body is {value}, but has to be a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn refused(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn all_fields_and_none() {
        let config =
            Config::parse(br#"{"headers": [{"name": "a", "value": "1"}, {"name": "b", "value": ""}], "body": "new"}"#);
        let headers = vec![("a".into(), "1".into()), ("b".into(), String::new())];
        assert_eq!(config, Ok(Config { headers, body: Some("new".into()) }));
        assert_eq!(Config::parse(b"{}"), Ok(Config::default()));
    }

    #[test]
    fn refusals_name_field_value_and_rule() {
        let rule = "but has to be a list of {\"name\": …, \"value\": …}";
        for value in
            ["1", "{}", "[1]", r#"[{"name":"a"}]"#, r#"[{"name":"","value":"1"}]"#, r#"[{"name":"a","value":1}]"#]
        {
            assert_eq!(refused(&format!("{{\"headers\": {value}}}")), format!("headers is {value}, {rule}"));
        }
        assert_eq!(refused(r#"{"body": 1}"#), "body is 1, but has to be a string");
        assert_eq!(refused(r#"{"header": 1}"#), "header is 1, but only headers, body are known");
        assert_eq!(refused("[]"), "the configuration is [], but has to be an object");
        assert!(refused("").starts_with("the configuration is not JSON: "));
    }
}
