//! Which files of a directory are hooks, and in which order they run.
//!
//! Looks at names and modes only; runs nothing.

use std::cmp::Ordering;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use regex::bytes::Regex;
use rustix::fs::{Access, access};

/// The names that hooks may have unless `RUN_PARTS_REGEX` says otherwise.
const DEFAULT_PATTERN: &str = "^[0-9A-Za-z_-]+$";

/// Which file names are taken for hooks.
#[derive(Debug, Clone)]
pub struct NamePattern(Regex);

/// The pattern for hook names is no regular expression.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a regular expression")]
pub struct PatternError {
    pattern: String,
    source: Box<regex::Error>,
}

impl Default for NamePattern {
    fn default() -> Self {
        Self(Regex::new(DEFAULT_PATTERN).expect("the constant pattern is a regular expression"))
    }
}

impl NamePattern {
    /// Takes the value of `RUN_PARTS_REGEX`; an empty one means the default.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Ok(Self::default());
        }
        Regex::new(pattern)
            .map(Self)
            .map_err(|source| PatternError {
                pattern: pattern.to_owned(),
                source: Box::new(source),
            })
    }

    fn takes(&self, name: &[u8]) -> bool {
        self.0.is_match(name)
    }
}

/// The files of a hook directory, sorted out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Names of what runs, in order.
    pub run: Vec<String>,
    /// Names of files that nobody may execute.
    pub not_executable: Vec<String>,
    /// Names of executable files that do not fit the pattern.
    pub odd_names: Vec<String>,
}

impl Hooks {
    /// Reads `directory` (links to files count, folders do not).
    pub fn read(directory: &Path, pattern: &NamePattern) -> io::Result<Self> {
        let mut hooks = Self::default();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if !path.is_file() {
                continue;
            }
            let name = entry.file_name();
            let text = name.to_string_lossy().into_owned();
            if access(&path, Access::EXEC_OK).is_err() {
                hooks.not_executable.push(text);
            } else if name.to_str().is_some() && pattern.takes(name.as_bytes()) {
                hooks.run.push(text);
            } else {
                hooks.odd_names.push(text);
            }
        }
        for names in [
            &mut hooks.run,
            &mut hooks.not_executable,
            &mut hooks.odd_names,
        ] {
            names.sort_by(|a, b| numeric_order(a, b));
        }
        Ok(hooks)
    }
}

/// Compares as `LANG=C sort -n` does: the number at the front, then all bytes.
pub fn numeric_order(a: &str, b: &str) -> Ordering {
    Number::at_front(a)
        .cmp(&Number::at_front(b))
        .then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// A decimal number of any length. Digits are kept as text: names may hold more than any integer can.
#[derive(PartialEq, Eq)]
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    fn at_front(text: &'a str) -> Self {
        let text = text.trim_start_matches([' ', '\t']);
        let (negative, text) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let digits = |text: &'a str| {
            let end = text
                .bytes()
                .position(|b| !b.is_ascii_digit())
                .unwrap_or(text.len());
            text.split_at(end)
        };
        let (whole, rest) = digits(text);
        let fraction = rest.strip_prefix('.').map_or("", |rest| digits(rest).0);
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let zero = whole.is_empty() && fraction.is_empty();
        Self {
            negative: negative && !zero,
            whole,
            fraction,
        }
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        self.whole
            .len()
            .cmp(&other.whole.len())
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction))
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &str) {
        let want: Vec<&str> = names.split(' ').collect();
        let mut got = want.clone();
        got.reverse();
        got.sort_by(|a, b| numeric_order(a, b));
        assert_eq!(got, want);
    }

    #[test]
    fn sorts_by_number_then_bytes() {
        check("-5x - 0 00 A1 _z a1 1-5 1_5 007-a 7-b 9 10");
        check("ZZ aa zz 1-x");
        check("1.25 1.5 2");
        check("99999999999999999999998 99999999999999999999999 100000000000000000000000");
    }

    #[test]
    fn refuses_a_broken_pattern_by_name() {
        let error = NamePattern::new("(").expect_err("no regular expression");
        assert_eq!(error.to_string(), "`(` is not a regular expression");
    }
}
