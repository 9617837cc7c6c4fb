//! The one rule by which texts of others are made fit to be shown: what counts as a secret, and how it is covered.
//!
//! Documents name their secrets by their keys (`admin_password`). A [`Mask`] learns the values under such keys and covers them
//! wherever they turn up: in the output of a program, in a difference of files.

use serde_json::Value;

/// What stands in the place of a secret.
pub const COVER: &str = "***";

/// Shorter texts are in every file and output; covering them would hide the text, not the secret.
const SHORTEST: usize = 4;

/// Lines of a longer secret are covered one by one from this length on: a key is printed line by line.
const SHORTEST_LINE: usize = 16;

/// Whether a name sounds like that of a secret. `key_name` does not, `fernet-key-0` and `ssh_key` do.
pub fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 8] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "private",
        "credential",
        "cookie",
    ];
    let name = name.to_lowercase().replace('-', "_");
    WORDS.iter().any(|word| name.contains(word))
        || name == "key"
        || name.ends_with("_key")
        || name.contains("_key_")
}

/// A document that names its secrets by its keys.
pub trait Document: Sized {
    /// What it is at its top.
    fn part(&self) -> Part<'_, Self>;
}

/// What a document is at one place.
pub enum Part<'d, D> {
    /// Values by their keys.
    Map(Box<dyn Iterator<Item = (&'d str, &'d D)> + 'd>),
    /// Values in a row.
    List(std::slice::Iter<'d, D>),
    /// A text.
    Text(&'d str),
    /// A number, a truth value or nothing.
    Other,
}

impl Document for Value {
    fn part(&self) -> Part<'_, Self> {
        match self {
            Value::Object(map) => Part::Map(Box::new(
                map.iter().map(|(key, value)| (key.as_str(), value)),
            )),
            Value::Array(list) => Part::List(list.iter()),
            Value::String(text) => Part::Text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => Part::Other,
        }
    }
}

/// Texts that must not be seen.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longer ones first, so that one which holds another is covered whole.
    texts: Vec<String>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} texts)", self.texts.len())
    }
}

impl Mask {
    /// Covers all texts of `document` under names that sound like secrets.
    pub fn of<D: Document>(document: &D) -> Mask {
        let mut mask = Mask::default();
        mask.learn_all(document);
        mask
    }

    /// Covers from now on all texts of `document` under names that sound like secrets.
    pub fn learn_all<D: Document>(&mut self, document: &D) {
        self.learn_below(document, false);
    }

    fn learn_below<D: Document>(&mut self, document: &D, secret: bool) {
        match document.part() {
            Part::Map(entries) => {
                let entries: Vec<(&str, &D)> = entries.collect();
                // Inputs of deployments are pairs: `{"name": "admin_password", "value": …}`.
                let named = entries.iter().any(|(key, value)| {
                    *key == "name"
                        && matches!(value.part(), Part::Text(name) if sounds_secret(name))
                });
                for (key, value) in entries {
                    let secret = secret || sounds_secret(key) || named && key == "value";
                    self.learn_below(value, secret);
                }
            }
            Part::List(values) => values.for_each(|value| self.learn_below(value, secret)),
            Part::Text(text) if secret => self.learn(text),
            Part::Text(_) | Part::Other => {}
        }
    }

    /// Covers `text` from now on.
    pub fn learn(&mut self, text: &str) {
        const WORDS: [&str; 4] = ["true", "false", "none", "null"];
        let whole = text.trim();
        if whole.len() < SHORTEST || WORDS.contains(&whole.to_lowercase().as_str()) {
            return;
        }
        self.add(whole);
        if whole.contains('\n') {
            for line in whole.lines().map(str::trim) {
                // The first and last line of a key are the same in all of them.
                if line.len() >= SHORTEST_LINE && !line.starts_with("-----") {
                    self.add(line);
                }
            }
        }
    }

    fn add(&mut self, text: &str) {
        let place = self
            .texts
            .partition_point(|known| (known.len(), text) > (text.len(), known.as_str()));
        if self.texts.get(place).is_none_or(|known| known != text) {
            self.texts.insert(place, text.to_owned());
        }
    }

    /// Whether there is nothing to cover.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The text with every secret covered.
    pub fn cover(&self, text: &str) -> String {
        self.texts
            .iter()
            .filter(|secret| text.contains(secret.as_str()))
            .fold(text.to_owned(), |text, secret| {
                text.replace(secret.as_str(), COVER)
            })
    }

    /// The same for a text whose start was cut off, perhaps in the middle of a secret.
    pub fn cover_tail(&self, text: &str) -> String {
        let ends = self.texts.iter().flat_map(|secret| {
            let starts = secret.char_indices().skip(1).map(|(start, _)| start);
            starts.map(move |start| &secret[start..])
        });
        let cut = ends
            .filter(|end| end.len() >= SHORTEST && text.starts_with(*end))
            .map(str::len)
            .max();
        match cut {
            Some(cut) => format!("{COVER}{}", self.cover(&text[cut..])),
            None => self.cover(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_secret_is_left(
            secrets in proptest::collection::vec("[ab1]{4,7}", 1..4),
            text in "[ab1 \n]{0,60}",
        ) {
            let mut mask = Mask::default();
            secrets.iter().for_each(|secret| mask.learn(secret));
            let text = format!("{text}{} {text}", secrets[0]);
            for covered in [mask.cover(&text), mask.cover_tail(&text)] {
                for secret in &secrets {
                    proptest::prop_assert!(!covered.contains(secret), "{secret} in {covered}");
                }
            }
        }
    }

    #[test]
    fn names_of_secrets() {
        for name in [
            "admin_password",
            "fernet-key-0",
            "ssh_key",
            "Private",
            "X-Auth-Token",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in [
            "key_name",
            "keystone",
            "monkey",
            "greeting",
            "deployment_keys",
        ] {
            assert!(!sounds_secret(name), "{name}");
        }
    }

    #[test]
    fn covers_the_longest_first_and_lines_of_keys() {
        let mut mask = Mask::default();
        assert!(mask.is_empty());
        for text in [
            "hunter2",
            "hunter2-and-more",
            "abc",
            "true",
            "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\n-----END KEY-----\n",
        ] {
            mask.learn(text);
        }
        assert_eq!(
            mask.cover("a=hunter2-and-more b=hunter2 abc true"),
            "a=*** b=*** abc true"
        );
        assert_eq!(mask.cover("x\nMIIEowIBAAKCAQEA\n"), "x\n***\n");
        assert_eq!(format!("{mask:?}"), "Mask(4 texts)");
    }

    #[test]
    fn documents_name_their_secrets() {
        let mask = Mask::of(
            &serde_json::json!({"db": {"password": "hunter2", "host": "db.example"}, "deployments": [
            {"inputs": [{"name": "deploy_password", "value": "opensesame"}, {"name": "word", "value": "hello"}]}]}),
        );
        assert_eq!(
            mask.cover("hunter2 db.example opensesame hello"),
            "*** db.example *** hello"
        );
    }

    #[test]
    fn a_secret_that_was_cut_is_covered_too() {
        let mut mask = Mask::default();
        mask.learn("hunter2");
        assert_eq!(
            mask.cover_tail("nter2 was wrong, hunter2"),
            "*** was wrong, ***"
        );
        assert_eq!(mask.cover_tail("er2 was wrong"), "er2 was wrong");
        assert_eq!(mask.cover_tail("fine"), "fine");
    }
}
