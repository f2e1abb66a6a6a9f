//! The plugin's configuration, checked before the plugin accepts it.

use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub request: bool,
    pub response: bool,
    /// The first byte that is logged.
    pub start: usize,
    /// How many bytes are logged at most.
    pub size: usize,
}

const FIELDS: [&str; 4] = ["request", "response", "start", "size"];

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
            request: boolean(&fields, "request")?,
            response: boolean(&fields, "response")?,
            start: integer(&fields, "start")?.unwrap_or(0),
            size: integer(&fields, "size")?.unwrap_or(usize::MAX),
        })
    }
}

fn boolean(fields: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match fields.get(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(value) => Err(format!("{name} is {value}, but has to be a boolean")),
    }
}

fn integer(fields: &Map<String, Value>, name: &str) -> Result<Option<usize>, String> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .map(|number| Some(number as usize))
        .ok_or_else(|| format!("{name} is {value}, but has to be an integer from 0 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn refused(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn all_fields_and_none() {
        let config = Config::parse(br#"{"request": true, "response": true, "start": 1, "size": 2}"#);
        assert_eq!(config, Ok(Config { request: true, response: true, start: 1, size: 2 }));
        assert_eq!(Config::parse(b"{}"), Ok(Config { request: false, response: false, start: 0, size: usize::MAX }));
    }

    #[test]
    fn refusals_name_field_value_and_rule() {
        assert_eq!(refused(r#"{"request": 1}"#), "request is 1, but has to be a boolean");
        for value in ["-1", "1.5", "\"1\"", "4294967296"] {
            let rule = "but has to be an integer from 0 to 4294967295";
            assert_eq!(refused(&format!("{{\"start\": {value}}}")), format!("start is {value}, {rule}"));
        }
        assert_eq!(refused(r#"{"from": 1}"#), "from is 1, but only request, response, start, size are known");
        assert_eq!(refused("[]"), "the configuration is [], but has to be an object");
        assert!(refused("").starts_with("the configuration is not JSON: "));
    }
}
