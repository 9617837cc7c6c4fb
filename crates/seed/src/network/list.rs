//! Lists as Nova and Neutron give them: filters by field, chosen fields, pages.

use openstack_api::{ApiError, Page, PageLimits, Params};
use serde_json::{Map, Value, json};

/// Parameters that are not filters.
const OTHERS: [&str; 8] = [
    "limit",
    "marker",
    "fields",
    "sort_key",
    "sort_dir",
    "page_reverse",
    "all_tenants",
    "deleted",
];

/// A page is as long as the caller wants it.
const LIMITS: PageLimits = PageLimits {
    default: usize::MAX,
    max: usize::MAX,
    zero: true,
};

/// The rows that a caller asks for. A filter by a field that rows do not have lets none through.
pub(crate) fn chosen(rows: Vec<Value>, params: &Params) -> Result<Vec<Value>, ApiError> {
    let filters: Vec<_> = params
        .iter()
        .filter(|(name, _)| !OTHERS.contains(name))
        .collect();
    let names: Vec<&str> = filters.iter().map(|(name, _)| *name).collect();
    let fits = |row: &Value| {
        // The same name twice means either of the values.
        names.iter().all(|name| {
            filters
                .iter()
                .any(|(other, value)| other == name && matches(row, name, value))
        })
    };
    let rows: Vec<Value> = rows.into_iter().filter(fits).collect();
    let page = Page::of(params, LIMITS)?;
    let (rows, _) = page
        .cut(&rows, |row| row["id"].as_str().unwrap_or_default())
        .ok_or_else(|| ApiError::bad_request("The marker is not in the list."))?;
    let fields: Vec<&str> = params
        .iter()
        .filter(|(name, _)| *name == "fields")
        .map(|(_, value)| value)
        .collect();
    Ok(rows.iter().map(|row| only(row, &fields)).collect())
}

fn matches(row: &Value, name: &str, wanted: &str) -> bool {
    match &row[name] {
        Value::String(text) => text == wanted,
        Value::Bool(truth) => openstack_api::parse_bool(wanted) == Some(*truth),
        Value::Null => wanted.is_empty() && row.get(name).is_some(),
        // Neutron's own form: `fixed_ips=ip_address=192.0.2.5`.
        Value::Array(items) => items.iter().any(|item| match wanted.split_once('=') {
            Some((key, value)) => item[key] == json!(value),
            None => *item == json!(wanted),
        }),
        other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
    }
}

fn only(row: &Value, fields: &[&str]) -> Value {
    match row.as_object() {
        Some(object) if !fields.is_empty() => {
            let kept = fields
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), object.get(*name)?.clone())));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        _ => row.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expect: &[&str]) {
        let rows = vec![
            json!({"id": "1", "name": "a", "shared": true, "fixed_ips": [{"ip_address": "192.0.2.5"}]}),
            json!({"id": "2", "name": "b", "shared": false, "fixed_ips": []}),
            json!({"id": "3", "name": "b", "shared": false, "device_id": null}),
        ];
        let params = Params::of(&format!("/x?{query}").parse().expect("a path")).expect("a query");
        let chosen = chosen(rows, &params).expect("a list");
        let ids: Vec<_> = chosen
            .iter()
            .map(|row| row["id"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids, expect, "{query}");
    }

    #[test]
    fn filters_fields_and_pages() {
        check("", &["1", "2", "3"]);
        check("name=b", &["2", "3"]);
        check("name=b&id=1&id=3", &["3"]);
        check("shared=True", &["1"]);
        check("fixed_ips=ip_address%3D192.0.2.5", &["1"]);
        check("colour=red", &[]);
        check("limit=1&marker=1&fields=id", &["2"]);
        check("marker=3", &[]);
    }
}
