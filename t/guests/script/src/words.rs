//! The script's lines: `CALLBACK: COMMAND args…`, and words in them.

pub struct Line {
    pub callback: String,
    /// `auth` of `call_response[auth]`: only the answers to this callout.
    pub label: Option<String>,
    /// The command and its arguments as written, for the log.
    pub text: String,
    pub words: Vec<Vec<u8>>,
}

impl Line {
    /// `CALLBACK` or `CALLBACK[LABEL]`.
    pub fn written_callback(&self) -> String {
        match &self.label {
            Some(label) => format!("{}[{label}]", self.callback),
            None => self.callback.clone(),
        }
    }
}

/// Blank lines and those that start with `#` are nothing.
pub fn parse(script: &str) -> Result<Vec<Line>, String> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse_line(line).ok_or_else(|| format!("bad line in the script: {line}"))).collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let (callback, text) = line.split_once(':')?;
    let words = split(text.trim().as_bytes())?;
    let (callback, label) = split_label(callback.trim());
    (!words.is_empty()).then(|| Line {
        callback: callback.into(),
        label: label.map(str::to_owned),
        text: text.trim().into(),
        words,
    })
}

/// `NAME[LABEL]` or `NAME`.
pub fn split_label(word: &str) -> (&str, Option<&str>) {
    let labelled = word.strip_suffix(']').and_then(|word| word.split_once('['));
    labelled.map_or((word, None), |(name, label)| (name, Some(label)))
}

/// Words are separated by blanks; "quotes" keep blanks; \n \r \t \0 \" \\ \xNN work inside and outside of quotes.
fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' | b'\t' if !quoted => words.extend(word.take()),
            b'\\' => {
                let byte = match bytes.next()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    b'x' => {
                        let digits = [*bytes.next()?, *bytes.next()?];
                        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                    }
                    byte @ (b'"' | b'\\') => *byte,
                    _ => return None,
                };
                word.get_or_insert_default().push(byte);
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

/// Bytes as the log shows them: what is not printable ASCII is escaped.
pub fn show(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'"' | b'\'' => char::from(*byte).to_string(),
        0 => "\\0".to_owned(),
        byte => byte.escape_ascii().to_string(),
    };
    bytes.iter().map(escape).collect()
}
