//! What stands after the question mark, read by Heat's rules.
//!
//! A key may be repeated. Booleans are `true` or `false` in any case and nothing else; numbers are
//! whole and not negative. What is refused is refused in Heat's words.

use super::fault::Fault;

/// The pairs of a query in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the text after the question mark.
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|part| !part.is_empty());
        let pairs = pairs.map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode_form(key), decode_form(value))
        });
        Query {
            pairs: pairs.collect(),
        }
    }

    /// The last value of a key, as the framework of upstream has it.
    pub fn last(&self, key: &str) -> Option<&str> {
        let mut found = self.pairs.iter().rev();
        found.find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let same = self.pairs.iter().filter(move |(k, _)| k == key);
        same.map(|(_, v)| v.as_str())
    }

    /// All pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// A flag that is false when absent.
    pub fn flag(&self, key: &str) -> Result<bool, Fault> {
        self.last(key)
            .map_or(Ok(false), |text| parse_flag(key, text))
    }

    /// A whole number that is not negative.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.last(key)
            .filter(|text| !text.is_empty())
            .map(|text| parse_number(key, text))
            .transpose()
    }

    /// The query as text again, without some keys.
    pub fn without(&self, keys: &[&str]) -> String {
        let kept = self
            .pairs
            .iter()
            .filter(|(k, _)| !keys.contains(&k.as_str()));
        let kept: Vec<String> = kept
            .map(|(k, v)| format!("{}={}", encode(k), encode(v)))
            .collect();
        kept.join("&")
    }
}

/// A boolean as text.
pub fn parse_flag(key: &str, text: &str) -> Result<bool, Fault> {
    match text.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::bad_request(format!(
            "Unrecognized value \"{text}\" for \"{key}\", acceptable values are: true, false."
        ))),
    }
}

/// A whole number as text.
pub fn parse_number(key: &str, text: &str) -> Result<u64, Fault> {
    let number: i64 = text
        .trim()
        .parse()
        .map_err(|_| Fault::bad_request(format!("Only integer is acceptable by '{key}'.")))?;
    u64::try_from(number).map_err(|_| {
        Fault::bad_request(format!(
            "Value '{text}' is invalid for '{key}' which only accepts non-negative integer."
        ))
    })
}

/// Undoes percent encoding.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let digits = bytes
            .get(i + 1..i + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        match (
            bytes[i],
            digits.and_then(|d| u8::from_str_radix(d, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_repeated_and_encoded() {
        let query = Query::parse("a=1&b=x%20y&a=2&c=p+q&d");
        assert_eq!(query.last("a"), Some("2"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.last("b"), Some("x y"));
        assert_eq!(query.last("c"), Some("p q"));
        assert_eq!(query.last("d"), Some(""));
        assert_eq!(query.without(&["a", "d"]), "b=x%20y&c=p%20q");
    }

    #[test]
    fn flags_are_words() {
        assert_eq!(Query::parse("f=TRUE").flag("f"), Ok(true));
        assert_eq!(Query::parse("").flag("f"), Ok(false));
        let refused = Query::parse("f=1").flag("f").map_err(|fault| fault.message);
        let words = "Unrecognized value \"1\" for \"f\", acceptable values are: true, false.";
        assert_eq!(refused, Err(words.to_owned()));
    }

    #[test]
    fn numbers_are_whole_and_not_negative() {
        assert_eq!(Query::parse("limit=7").number("limit"), Ok(Some(7)));
        let refused = Query::parse("limit=abc").number("limit");
        assert_eq!(
            refused.map_err(|fault| fault.message),
            Err("Only integer is acceptable by 'limit'.".to_owned())
        );
        assert!(Query::parse("limit=-1").number("limit").is_err());
    }

    #[test]
    fn a_stray_percent_sign_stays() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%41"), "%zzA");
        assert_eq!(decode(&encode("ü/ ~")), "ü/ ~");
    }
}
