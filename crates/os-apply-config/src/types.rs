//! The types that `--type` knows: which texts each of them accepts.
//!
//! The rules are upstream's regular expressions, matched by hand because compiling one costs more than all else that
//! `--key` does.

use std::collections::BTreeSet;

/// A type for `--type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Letters, digits and underscores.
    Default,
    /// Digits.
    Int,
    /// Addresses, networks, host names.
    NetAddress,
    /// Names of network devices.
    NetDevice,
    /// Data source names of databases.
    Dsn,
    /// Devices of a Swift ring.
    SwiftDevices,
    /// Names of users.
    Username,
    /// Anything.
    Raw,
}

impl ValueType {
    /// The type named `name`.
    pub fn named(name: &str) -> Option<ValueType> {
        Some(match name {
            "default" => ValueType::Default,
            "int" => ValueType::Int,
            "netaddress" => ValueType::NetAddress,
            "netdevice" => ValueType::NetDevice,
            "dsn" => ValueType::Dsn,
            "swiftdevices" => ValueType::SwiftDevices,
            "username" => ValueType::Username,
            "raw" => ValueType::Raw,
            _ => return None,
        })
    }

    /// Whether `text` is of this type.
    ///
    /// A final newline never is: Python's `$` lets it pass, and it ended up in the middle of shell commands.
    pub fn accepts(self, text: &str) -> bool {
        let all = |class: fn(char) -> bool| text.chars().all(class);
        match self {
            ValueType::Raw => true,
            ValueType::Default => all(|c| c.is_ascii_alphanumeric() || c == '_'),
            ValueType::Int => !text.is_empty() && all(|c| c.is_ascii_digit()),
            ValueType::NetAddress | ValueType::NetDevice => {
                all(|c| c.is_ascii_alphanumeric() || "/.:-".contains(c))
            }
            ValueType::Username => {
                !text.is_empty() && all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
            }
            ValueType::Dsn => is_dsn(text),
            ValueType::SwiftDevices => is_swift_devices(text),
        }
    }
}

/// All places in a text that a pattern can have reached.
struct Reached<'t> {
    text: &'t str,
    places: BTreeSet<usize>,
}

impl<'t> Reached<'t> {
    fn start(text: &'t str) -> Self {
        Reached {
            text,
            places: BTreeSet::from([0]),
        }
    }

    fn ends(&self) -> bool {
        self.places.contains(&self.text.len())
    }

    /// One or more characters of `class`.
    fn some(&self, class: fn(char) -> bool) -> Self {
        let mut places = BTreeSet::new();
        for place in &self.places {
            for (n, c) in self.text[*place..].char_indices() {
                if !class(c) {
                    break;
                }
                places.insert(place + n + c.len_utf8());
            }
        }
        Reached {
            text: self.text,
            places,
        }
    }

    fn literal(&self, literal: &str) -> Self {
        let there = |place: &&usize| self.text[**place..].starts_with(literal);
        let places = self
            .places
            .iter()
            .filter(there)
            .map(|place| place + literal.len())
            .collect();
        Reached {
            text: self.text,
            places,
        }
    }

    /// What `pattern` reaches from here, and here.
    fn perhaps(&self, pattern: impl FnOnce(&Self) -> Self) -> Self {
        let mut reached = pattern(self);
        reached.places.extend(&self.places);
        reached
    }
}

/// `scheme://[user[:password]][[@]host][/database][?options]`
fn is_dsn(text: &str) -> bool {
    Reached::start(text)
        .some(|c| c.is_ascii_alphanumeric())
        .literal("://")
        .perhaps(|at| {
            at.some(|c| c.is_ascii_alphanumeric() || "+_-".contains(c))
                .perhaps(|at| at.literal(":").some(|c| c != '@'))
        })
        .perhaps(|at| {
            at.perhaps(|at| at.literal("@"))
                .some(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c))
        })
        .perhaps(|at| {
            at.literal("/")
                .some(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        })
        .perhaps(|at| {
            at.literal("?")
                .some(|c| c.is_ascii_alphanumeric() || "=_-".contains(c))
        })
        .ends()
}

/// One or more of `rRzZ-HOST:%PORT%/DEVICE`, separated by commas.
fn is_swift_devices(text: &str) -> bool {
    let mut at = Reached::start(text);
    while !at.places.is_empty() {
        let device = at
            .literal("r")
            .some(char::is_numeric)
            .literal("z")
            .some(char::is_numeric)
            .literal("-")
            // Upstream wrote `.-_`, which is the range from dot to underscore.
            .some(|c| c.is_ascii_alphanumeric() || ('.'..='_').contains(&c))
            .literal(":%PORT%/")
            .some(|c| c != ',');
        at = device.perhaps(|at| at.literal(","));
        if at.ends() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, accepted: &[&str], refused: &[&str]) {
        let kind = ValueType::named(name).unwrap();
        for text in accepted {
            assert!(kind.accepts(text), "{name} should accept {text:?}");
        }
        for text in refused {
            assert!(!kind.accepts(text), "{name} should refuse {text:?}");
        }
    }

    #[test]
    fn types() {
        check(
            "int",
            &["0", "007"],
            &["", "-1", "1.0", " 1", "1\n", "\u{661}"],
        );
        check("default", &["", "a_9", "True"], &["a-b", "a b", "é", "a\n"]);
        check(
            "netaddress",
            &["", "192.0.2.0/24", "::", "host-1.test"],
            &["a_b", "x,y", "[::1]"],
        );
        check("username", &["a", "9", "a_b-c"], &["", "a.b", "a b"]);
        check("raw", &["", "a\nb; $(x)"], &[]);
        assert!(ValueType::named("notempty").is_none());
    }

    #[test]
    fn data_source_names() {
        check(
            "dsn",
            &[
                "sqlite://",
                "sqlite:///tmp/foo.db",
                "postgresql://h",
                "mysql://user@host/db",
                "mysql://user:pass@host/db?charset=utf8",
                "mysql://u:p/q@h/db",
                "mysql://u-1+x:p@h/d-b_1",
                "rabbit1://a:b;c d@h",
            ],
            &[
                "",
                "host",
                "://x",
                "mysql:/user:pass@host/db",
                "mysql+py://u:p@h/db",
                "mysql://u:p@h:3306/db",
                "mysql://u:p@h/db?a=b&c=d",
                "mysql://u:p@x@h/db",
                "mysql://u:p@[::1]/db",
            ],
        );
    }

    #[test]
    fn swift_devices() {
        check(
            "swiftdevices",
            &[
                "r1z1-127.0.0.1:%PORT%/d1",
                "r1z1-h:%PORT%/d1,r1z1-h:%PORT%/d2",
                "r1z1-h:%PORT%/d1,",
                "r1z1-h:%PORT%/d/1",
            ],
            &[
                "",
                "x",
                "rz1-h:%PORT%/d1",
                "r1z1-h:6000/d1",
                "r1z1:%PORT%/d1",
                "z1-h:%PORT%/d1",
            ],
        );
    }
}
