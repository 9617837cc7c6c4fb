//! `$name` and `${name}` in values.

use super::SettingsError;

/// Puts the values of other options into `text`. Words that `lookup` does not know stay as they are.
///
/// `$$` and `\$` are a dollar sign. Upstream ends with an error for unknown words; a command that names a variable of
/// the shell is worth more than that.
pub(super) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Result<Option<String>, SettingsError>,
) -> Result<String, SettingsError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let before = &rest[..at];
        let after = &rest[at + 1..];
        if let Some(before) = before.strip_suffix('\\') {
            out.push_str(before);
            out.push('$');
            rest = after;
            continue;
        }
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (word, whole) = word(after);
        match if word.is_empty() { None } else { lookup(word)? } {
            Some(value) => out.push_str(&value),
            None => {
                out.push('$');
                out.push_str(&after[..whole]);
            }
        }
        rest = &after[whole..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The word behind a dollar sign, and how many bytes it takes with its braces.
fn word(after: &str) -> (&str, usize) {
    let inner = after.strip_prefix('{').unwrap_or(after);
    let length = inner
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
        .count();
    let starts_well = inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well {
        return ("", 0);
    }
    if inner.len() == after.len() {
        return (&inner[..length], length);
    }
    match inner[length..].strip_prefix('}') {
        Some(_) => (&inner[..length], length + 2),
        None => ("", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::substitute;

    #[test]
    fn forms() {
        for (text, expect) in [
            ("$a ${a} x$a", "A A xA"),
            ("a$$b a\\$b", "a$b a$b"),
            ("$(x) $1 $", "$(x) $1 $"),
            ("$HOME ${HOME}", "$HOME ${HOME}"),
            ("${a", "${a"),
            ("$a.b", "AB"),
        ] {
            let got = substitute(text, &|word| {
                Ok(match word {
                    "a" => Some("A".to_owned()),
                    "a.b" => Some("AB".to_owned()),
                    _ => None,
                })
            });
            assert_eq!(got.unwrap(), expect, "{text}");
        }
    }
}
