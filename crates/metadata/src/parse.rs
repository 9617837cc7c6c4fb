//! Reads JSON as Python's `json` module does.

use crate::{Map, Value};

/// Deeper documents are refused, as Python refuses them near this depth.
const MAX_DEPTH: usize = 900;

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line} column {column}")]
pub struct ParseError {
    what: &'static str,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Reads one document; anything but blanks after it is an error.
pub fn parse(text: &str) -> Result<Value, ParseError> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    reader.blanks();
    let value = reader.value()?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.error("extra text"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn error(&self, what: &'static str) -> ParseError {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        ParseError {
            what,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        match self.peek() {
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => Ok(Value::Text(self.text_value()?)),
            _ => self.scalar(),
        }
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Value, ParseError>,
    ) -> Result<Value, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("too many nested values"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn map(&mut self) -> Result<Value, ParseError> {
        let mut map = Map::new();
        self.blanks();
        if self.take(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a key in double quotes"));
            }
            let key = self.text_value()?;
            self.blanks();
            if !self.take(b':') {
                return Err(self.error("expected `:`"));
            }
            self.blanks();
            let value = self.value()?;
            map.insert(key, value);
            self.blanks();
            if self.take(b'}') {
                return Ok(Value::Map(map));
            }
            if !self.take(b',') {
                return Err(self.error("expected `,` or `}`"));
            }
        }
    }

    fn list(&mut self) -> Result<Value, ParseError> {
        let mut list = Vec::new();
        self.blanks();
        if self.take(b']') {
            return Ok(Value::List(list));
        }
        loop {
            self.blanks();
            list.push(self.value()?);
            self.blanks();
            if self.take(b']') {
                return Ok(Value::List(list));
            }
            if !self.take(b',') {
                return Err(self.error("expected `,` or `]`"));
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, ParseError> {
        const WORDS: [(&str, Value); 6] = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in WORDS {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.number()
    }

    fn digits(&self, from: usize) -> usize {
        let bytes = &self.text.as_bytes()[from..];
        bytes.iter().take_while(|b| b.is_ascii_digit()).count()
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + usize::from(self.peek() == Some(b'-'));
        // A leading zero stands alone: `007` is `0` and then extra text.
        end += match bytes.get(end) {
            Some(b'0') => 1,
            Some(b'1'..=b'9') => self.digits(end),
            _ => return Err(self.error("expected a value")),
        };
        let mut whole = true;
        if bytes.get(end) == Some(&b'.') && self.digits(end + 1) > 0 {
            end += 1 + self.digits(end + 1);
            whole = false;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let digits = self.digits((end + 1 + sign).min(bytes.len()));
            if digits > 0 {
                end += 1 + sign + digits;
                whole = false;
            }
        }
        self.at = end;
        let text = &self.text[start..end];
        if !whole {
            return Ok(Value::Float(text.parse().unwrap_or(f64::NAN)));
        }
        Ok(match text.parse() {
            Ok(value) => Value::Int(value),
            Err(_) => Value::BigInt(text.to_owned()),
        })
    }

    fn text_value(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let plain = self
                .rest()
                .find(|c: char| c == '"' || c == '\\' || c < ' ')
                .ok_or_else(|| self.error("string without end"))?;
            out.push_str(&self.rest()[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.error("control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let c = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("bad escape")),
        };
        self.at += 2;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, ParseError> {
        let high = self.unit().ok_or_else(|| self.error("bad escape"))?;
        self.at += 6;
        if (0xD800..0xDC00).contains(&high)
            && let Some(low @ 0xDC00..0xE000) = self.unit()
        {
            self.at += 6;
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        // Half of a pair cannot be written to any file; Python would fail later, at printing.
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The code unit of the `\uXXXX` at this place.
    fn unit(&self) -> Option<u32> {
        let digits = self.rest().strip_prefix("\\u")?.get(..4)?;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // What is no number is not equal to itself, and has a test of its own.
            proptest::num::f64::NORMAL.prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let pairs = proptest::collection::vec((".{0,3}", inner.clone()), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::List),
                pairs.prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(value in value()) {
            for text in [value.to_json(), value.to_json_indented()] {
                prop_assert_eq!(&parse(&text).unwrap().to_json(), &value.to_json(), "{}", text);
            }
        }

        #[test]
        fn merging_keeps_all_keys_and_ends_after_once(one in value(), other in value()) {
            let mut merged = one.clone();
            merged.merge(&other);
            let once = merged.to_json();
            merged.merge(&other);
            prop_assert_eq!(&merged.to_json(), &once);
            if let (Value::Map(one), Value::Map(other)) = (&one, &other) {
                let keys: Vec<&String> = merged.as_map().unwrap().keys().collect();
                let new = other.keys().filter(|key| !one.contains_key(*key));
                prop_assert_eq!(keys, one.keys().chain(new).collect::<Vec<_>>());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[\]{}:,"\\eEuU0-9+.naNIfty \u{e9}\n-]{0,24}"#) {
            if let Ok(value) = parse(&text) {
                let again = value.to_json();
                prop_assert_eq!(parse(&again).unwrap().to_json(), again);
            }
        }
    }

    #[test]
    fn refuses_what_python_refuses() {
        for text in [
            "",
            "{bad",
            "{'a': 1}",
            r#"{"a": 1,}"#,
            r#"{"a": 1} x"#,
            "\u{feff}{}",
            "[1,]",
            "007",
            "1.",
            ".5",
            "+1",
            "nul",
            "\"a\nb\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\u+123""#,
            "\"",
            "[",
            "{\"a\"",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_what_python_reads() {
        for (text, expect) in [
            (" [1 , 2]\n", "[1, 2]"),
            (r#"{"k":1,"k":2}"#, r#"{"k": 2}"#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            ("12345678901234567890123", "12345678901234567890123"),
            ("-9223372036854775809", "-9223372036854775809"),
            ("1e3", "1000.0"),
            ("-Infinity", "-Infinity"),
        ] {
            assert_eq!(parse(text).unwrap().to_json(), expect);
        }
    }

    #[test]
    fn names_the_place() {
        let error = parse("{\n \"é\": 1,\n}").unwrap_err();
        assert_eq!((error.line, error.column), (3, 1));
        assert_eq!(
            error.to_string(),
            "expected a key in double quotes at line 3 column 1"
        );
    }

    #[test]
    fn depth_has_a_limit() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert!(parse(&deep(MAX_DEPTH + 1)).is_err());
    }
}
