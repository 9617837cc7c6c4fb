//! `OS::Nova::KeyPair`.

use cloud::{KeyPair, KeyPairSpec};
use hot::Value;

use super::{Outcome, Started, Work, gone, seen, text};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::Row;

pub(super) fn start(row: &mut Row) -> Result<Started, Failure> {
    if row.action == Action::Create && text(&row.properties, "public_key").is_none() {
        let message = "key pairs are not generated here: give `public_key`, so the private half \
                       never leaves its owner";
        return Err(Failure::new("NotSupported", message));
    }
    Ok(match row.action {
        Action::Create | Action::Adopt | Action::Update | Action::Delete => Started::Call,
        _ => Started::Done,
    })
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    let (name, order) = (work.physical(), work.order());
    if work.row.action == Action::Delete {
        return gone(work.cloud().remove_key_pair(&name, &order).await);
    }
    let properties = &work.row.properties;
    let want = KeyPairSpec {
        name: text(properties, "name")
            .unwrap_or(&work.row.physical_name)
            .to_owned(),
        public_key: text(properties, "public_key")
            .unwrap_or_default()
            .to_owned(),
        user: text(properties, "user").map(str::to_owned),
    };
    let answer = work.cloud().ensure_key_pair(&name, &want, &order).await;
    seen(answer, "key_pair", |pair: &KeyPair| pair.name.clone())
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    match name {
        "public_key" => row.properties.get("public_key").cloned(),
        "private_key" => Some(Value::text("")),
        "show" => row.notes.get("key_pair").map(Value::from_json),
        _ => None,
    }
}
