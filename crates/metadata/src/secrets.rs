//! Which texts of a document must not be shown. The rule itself is `secret`'s.

use crate::Value;
use secret::{Mask, sounds_secret};

impl Value {
    /// Covers all texts of this document that lie under names which sound like secrets.
    pub fn secrets(&self) -> Mask {
        let mut mask = Mask::default();
        self.teach(false, &mut mask);
        mask
    }

    /// Adds the secrets of this document to those that `mask` covers.
    pub fn teach(&self, secret: bool, mask: &mut Mask) {
        match self {
            Value::Map(map) => {
                // Inputs of deployments are pairs: `{"name": "admin_password", "value": …}`.
                let named = map.get("name").and_then(Value::as_text);
                let named = named.is_some_and(sounds_secret);
                for (key, value) in map {
                    let secret = secret || sounds_secret(key) || named && key == "value";
                    value.teach(secret, mask);
                }
            }
            Value::List(list) => list.iter().for_each(|value| value.teach(secret, mask)),
            Value::Text(text) if secret => mask.learn(text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn values_under_secret_names_are_covered_at_any_depth() {
        let document = parse(
            r#"{"db": {"password": "hunter2", "host": "db.example"}, "keys": 5,
                "deployments": [{"inputs": [{"name": "deploy_password", "value": "opensesame"}, {"name": "word", "value": "hello"}]}]}"#,
        );
        let mask = document.unwrap().secrets();
        assert_eq!(
            mask.cover("hunter2 db.example opensesame hello"),
            "*** db.example *** hello"
        );
    }
}
