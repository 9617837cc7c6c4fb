//! Lets a mask learn which texts of a document must not be shown. The rule itself is `secret`'s.

use crate::Value;
use secret::{Document, Part};

impl Document for Value {
    fn part(&self) -> Part<'_, Self> {
        match self {
            Value::Map(map) => Part::Map(Box::new(
                map.iter().map(|(key, value)| (key.as_str(), value)),
            )),
            Value::List(list) => Part::List(list.iter()),
            Value::Text(text) => Part::Text(text),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => {
                Part::Other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;
    use secret::Mask;

    #[test]
    fn values_under_secret_names_are_covered_at_any_depth() {
        let document = parse(
            r#"{"db": {"password": "hunter2", "host": "db.example"}, "keys": 5,
                "deployments": [{"inputs": [{"name": "deploy_password", "value": "opensesame"}, {"name": "word", "value": "hello"}]}]}"#,
        );
        let mask = Mask::of(&document.unwrap());
        assert_eq!(
            mask.cover("hunter2 db.example opensesame hello"),
            "*** db.example *** hello"
        );
    }
}
