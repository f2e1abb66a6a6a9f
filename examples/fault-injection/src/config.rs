//! The plugin's configuration, checked before the plugin accepts it.

use serde_json::{Map, Value};
use std::ops::RangeInclusive;

#[derive(Debug, PartialEq)]
pub struct Config {
    pub http_status: u32,
    pub body: Option<String>,
    pub percentage: u32,
}

const FIELDS: [&str; 3] = ["http_status", "body", "percentage"];

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
        Ok(Config {
            http_status: integer(&fields, "http_status", 100..=599)?
                .ok_or("http_status is missing, but has to be an integer from 100 to 599")?,
            body: string(&fields, "body")?,
            percentage: integer(&fields, "percentage", 0..=100)?.unwrap_or(100),
        })
    }
}

fn integer(fields: &Map<String, Value>, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, String> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(format!("{name} is {value}, but has to be an integer from {} to {}", range.start(), range.end())),
    }
}

fn string(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value) => Err(format!("{name} is {value}, but has to be a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn refused(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn defaults() {
        let config = Config::parse(br#"{"http_status": 403}"#).unwrap();
        assert_eq!(config, Config { http_status: 403, body: None, percentage: 100 });
    }

    #[test]
    fn all_fields() {
        let config = Config::parse(br#"{"http_status": 599, "body": "no", "percentage": 0}"#).unwrap();
        assert_eq!(config, Config { http_status: 599, body: Some("no".into()), percentage: 0 });
    }

    #[test]
    fn refusals_name_field_value_and_rule() {
        assert_eq!(refused("{}"), "http_status is missing, but has to be an integer from 100 to 599");
        for value in ["99", "600", "-1", "200.5", "\"200\"", "null", "4294967496"] {
            let rule = "but has to be an integer from 100 to 599";
            assert_eq!(refused(&format!("{{\"http_status\": {value}}}")), format!("http_status is {value}, {rule}"));
        }
        assert_eq!(
            refused(r#"{"http_status": 200, "percentage": 101}"#),
            "percentage is 101, but has to be an integer from 0 to 100"
        );
        assert_eq!(refused(r#"{"http_status": 200, "body": 1}"#), "body is 1, but has to be a string");
        assert_eq!(
            refused(r#"{"http_status": 200, "boddy": "x"}"#),
            "boddy is \"x\", but only http_status, body, percentage are known"
        );
        assert_eq!(refused("[]"), "the configuration is [], but has to be an object");
        assert!(refused("").starts_with("the configuration is not JSON: "));
    }
}
