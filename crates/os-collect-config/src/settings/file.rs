//! Configuration files in the syntax of oslo.config.

/// Why a file cannot be read as configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} on line {line}: `{text}`")]
pub struct SyntaxError {
    what: &'static str,
    /// Line, from 1.
    pub line: usize,
    text: String,
}

/// One assignment: section, key, value.
pub(crate) type Assignment = (String, String, String);

/// Reads all assignments in the order of the text.
pub(crate) fn parse(text: &str) -> Result<Vec<Assignment>, SyntaxError> {
    let mut found: Vec<Assignment> = Vec::new();
    let mut section: Option<String> = None;
    // Whether a line with an indent can go on with the last value.
    let mut open = false;
    for (n, raw) in text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .split('\n')
        .enumerate()
    {
        let line = raw.trim_end();
        let error = |what| SyntaxError {
            what,
            line: n + 1,
            text: line.to_owned(),
        };
        if line.is_empty() {
            open = false;
        } else if line.starts_with([' ', '\t']) {
            let value = found.last_mut().filter(|_| open).map(|(_, _, value)| value);
            let value = value.ok_or_else(|| error("unexpected continuation line"))?;
            value.push('\n');
            value.push_str(line.trim_start());
        } else if let Some(name) = line.strip_prefix('[') {
            open = false;
            let name = name
                .strip_suffix(']')
                .ok_or_else(|| error("section without `]`"))?;
            if name.is_empty() {
                return Err(error("section without a name"));
            }
            section = Some(name.to_owned());
        } else if line.starts_with(['#', ';']) {
            open = false;
        } else {
            let (key, value) = line
                .split_once(['=', ':'])
                .ok_or_else(|| error("no `:` or `=` found in assignment"))?;
            let key = key.trim();
            if key.is_empty() {
                return Err(error("key cannot be empty"));
            }
            let section = section
                .clone()
                .ok_or_else(|| error("key before any section"))?;
            found.push((section, key.to_owned(), unquoted(value.trim()).to_owned()));
            open = true;
        }
    }
    Ok(found)
}

/// Drops one pair of equal quotes around a value.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote)
            && value.ends_with(quote)
        {
            return rest.strip_suffix(quote).unwrap_or("");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[DEFAULT\\]|[\\[\\]=:#;$ \\t\\r\\n\"'a-z\u{e9}\u{feff}]){0,30}") {
            match parse(&text) {
                Ok(found) => for (section, key, _) in found {
                    proptest::prop_assert!(!section.is_empty() && !key.is_empty());
                },
                Err(error) => proptest::prop_assert!(error.line <= text.len() + 1),
            }
        }
    }

    #[track_caller]
    fn value(text: &str, expect: &str) {
        let found = parse(&format!("[S]\n{text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(found.last().unwrap().2, expect, "{text}");
    }

    #[test]
    fn values() {
        value("k = v", "v");
        value("k: a=b", "a=b");
        value("k=a:b=c", "a:b=c");
        value("k='a b'", "a b");
        value("k=\"a", "\"a");
        value("k=\"", "");
        value("k=a \"b\"", "a \"b\"");
        value("k=a # c", "a # c");
        value("k=", "");
        value("k=a\n  b\n\tc\n", "a\nb\nc");
        value("k=a\r\n  b\r\n", "a\nb");
        value("#x\n;y\nk=1\n\n", "1");
    }

    #[test]
    fn errors() {
        for text in [
            "garbage",
            "[S",
            "x=1",
            "[S]\nnoequals",
            "[]\nk=1",
            "[S]\n\n k=1",
            "[S]\nk=1\n\n more",
            "[S]\n=1",
            "\u{feff}[S]\nk=1",
            "[S]\nk=1\n# c\n more",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("[S]\nk=1\nodd\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no `:` or `=` found in assignment on line 3: `odd`"
        );
    }
}
