//! The list of stacks: filters, order, pages, tags.

use engine::StackQuery;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::fault::Fault;
use super::query::{Query, encode};
use super::{Answer, Ask, Orchestration, reply, wire};

/// Keys of the query that are no filters.
const WORDS: [&str; 15] = [
    "limit",
    "marker",
    "sort_keys",
    "sort_dir",
    "tags",
    "tags_any",
    "not_tags",
    "not_tags_any",
    "show_nested",
    "show_deleted",
    "show_hidden",
    "with_count",
    "global_tenant",
    "tenant_safe",
    "view",
];

impl Orchestration {
    pub(super) async fn list_stacks(&self, ask: &Ask) -> Answer {
        let query = stack_query(&ask.query, ask.asker.sees())?;
        let with_count = ask.query.flag("with_count")?;
        // Upstream's default policy gives this to nobody; an administrator's plain list has it all.
        if ask.query.flag("global_tenant")? {
            return Err(Fault::forbidden("stacks:global_index"));
        }
        let limit = query.limit;
        let page = self.engine.stacks(query).await?;
        let entries = page.entries.iter();
        let entries: Vec<Value> = entries
            .map(|stack| wire::stack_entry(&ask.base, stack, ask.asker.admin))
            .collect();
        let mut body = json!({ "stacks": entries });
        if with_count {
            body["count"] = json!(page.total);
        }
        let full = limit == Some(page.entries.len());
        if let (true, Some(last)) = (full, page.entries.last()) {
            let project = &ask.asker.caller.project;
            let rest = ask.query.without(&["marker"]);
            let marker = encode(&last.id.to_string());
            let href = format!("{}/v1/{project}/stacks?{rest}&marker={marker}", ask.base);
            body["links"] = json!([wire::link("next", href)]);
        }
        Ok(reply::ok(&body))
    }
}

fn stack_query(query: &Query, project: Option<&str>) -> Result<StackQuery, Fault> {
    let tags = |key: &str| -> Vec<String> {
        let given = query.last(key).filter(|text| !text.is_empty());
        given.map_or_else(Vec::new, |text| {
            text.split(',').map(str::to_owned).collect()
        })
    };
    query.flag("show_hidden")?;
    let mut filters: IndexMap<String, Vec<String>> = IndexMap::new();
    for (key, value) in query.pairs() {
        if !WORDS.contains(&key.as_str()) {
            filters.entry(key.clone()).or_default().push(value.clone());
        }
    }
    let sort_keys = query.all("sort_keys").flat_map(|keys| keys.split(','));
    Ok(StackQuery {
        project: project.map(str::to_owned),
        limit: limit(query)?,
        marker: query.last("marker").map(str::to_owned),
        sort_keys: sort_keys.map(str::to_owned).collect(),
        descending: descending(query)?,
        filters,
        tags: tags("tags"),
        tags_any: tags("tags_any"),
        not_tags: tags("not_tags"),
        not_tags_any: tags("not_tags_any"),
        show_nested: query.flag("show_nested")?,
        show_deleted: query.flag("show_deleted")?,
    })
}

/// The most entries of a page.
pub(super) fn limit(query: &Query) -> Result<Option<usize>, Fault> {
    let limit = query.number("limit")?;
    Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// The order that is asked for.
pub(super) fn descending(query: &Query) -> Result<Option<bool>, Fault> {
    match query.last("sort_dir") {
        None | Some("") => Ok(None),
        Some("asc") => Ok(Some(false)),
        Some("desc") => Ok(Some(true)),
        Some(other) => Err(Fault::bad_request(format!(
            "Unknown sort direction \"{other}\", must be one of: asc, desc."
        ))),
    }
}
