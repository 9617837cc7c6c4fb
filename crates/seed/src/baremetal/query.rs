//! Lists: which parameters a list knows, sorting, pages, and which fields are shown.

use baremetal::Object;
use openstack_api::{ApiError, Page, PageLimits};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::Ask;
use super::schema::{Field, Kind, field, too_new};

const LIMITS: PageLimits = PageLimits {
    default: 1000,
    max: 1000,
    zero: false,
};

/// Parameters that every list has.
const COMMON: &[&str] = &[
    "limit", "marker", "sort_key", "sort_dir", "fields", "detail",
];

/// Which fields are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// The short form.
    Short,
    /// All.
    All,
    /// These, and links.
    These(Vec<String>),
}

/// What a list is asked for beside filters.
pub(super) struct Listing {
    table: &'static [Field],
    plural: &'static str,
    page: Page,
    sort_key: String,
    descending: bool,
    pub(super) shown: Shown,
}

/// Refuses parameters that are not known.
pub(super) fn known(ask: &Ask, names: &[&str]) -> Result<(), ApiError> {
    match ask.params.iter().find(|(name, _)| !names.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::bad_request(format!(
            "Unexpected argument `{name}`."
        ))),
    }
}

/// A parameter that is a UUID.
pub(super) fn id(ask: &Ask, name: &str) -> Result<Option<Uuid>, ApiError> {
    ask.params
        .get(name)
        .map(|text| {
            Uuid::parse_str(text).map_err(|_| {
                ApiError::bad_request(format!("Expected a UUID for `{name}` but received {text}."))
            })
        })
        .transpose()
}

/// The fields that a request asks for.
pub(super) fn fields(ask: &Ask, table: &'static [Field]) -> Result<Option<Vec<String>>, ApiError> {
    let Some(text) = ask.params.get("fields") else {
        return Ok(None);
    };
    if !ask.since(8) {
        return Err(too_new("fields"));
    }
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        let Some(known) = field(table, name) else {
            return Err(ApiError::bad_request(format!(
                "Field(s) \"{name}\" are not valid."
            )));
        };
        if known.since > ask.version.minor {
            return Err(too_new(name));
        }
        names.push(name.to_owned());
    }
    Ok(Some(names))
}

impl Listing {
    /// Reads the parameters of a list with these filters; `detail` where the path says so.
    pub(super) fn read(
        ask: &Ask,
        table: &'static [Field],
        plural: &'static str,
        filters: &[&str],
        detail: bool,
    ) -> Result<Self, ApiError> {
        let names: Vec<&str> = COMMON.iter().chain(filters).copied().collect();
        known(ask, &names)?;
        let fields = fields(ask, table)?;
        let detail = detail || ask.params.flag("detail")?.unwrap_or(false);
        let shown = match (fields, detail) {
            (Some(_), true) => {
                return Err(ApiError::bad_request(
                    "Can't fetch a subset of fields with 'detail' set.",
                ));
            }
            (Some(names), false) => Shown::These(names),
            (None, true) => Shown::All,
            (None, false) => Shown::Short,
        };
        let page = Page::of(&ask.params, LIMITS)?;
        if let Some(marker) = &page.marker
            && Uuid::parse_str(marker).is_err()
        {
            return Err(ApiError::bad_request(format!(
                "Expected a UUID for `marker` but received {marker}."
            )));
        }
        let sort_key = ask.params.get("sort_key").unwrap_or("id").to_owned();
        let sortable = sort_key == "id"
            || field(table, &sort_key).is_some_and(|field| {
                !matches!(field.kind, Kind::Object | Kind::List | Kind::LocalLink)
            });
        if !sortable {
            return Err(ApiError::bad_request(format!(
                "The sort_key value \"{sort_key}\" is an invalid field for sorting."
            )));
        }
        let descending = match ask.params.get("sort_dir") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "Invalid sort direction: {other}. Acceptable values are 'asc' or 'desc'."
                )));
            }
        };
        Ok(Self {
            table,
            plural,
            page,
            sort_key,
            descending,
            shown,
        })
    }

    /// Sorts whole documents, cuts the page out, and shows the fields that are wanted.
    pub(super) fn answer(
        &self,
        ask: &Ask,
        path: &str,
        mut documents: Vec<Object>,
        short: &[&str],
    ) -> Result<Value, ApiError> {
        if self.sort_key != "id" {
            documents.sort_by(|a, b| compare(a.get(&self.sort_key), b.get(&self.sort_key)));
        }
        if self.descending {
            documents.reverse();
        }
        let id = |document: &Object| -> String {
            document
                .get("uuid")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let ids: Vec<String> = documents.iter().map(id).collect();
        let cut = self.page.cut(&ids, |id| id.as_str());
        let Some((page, more)) = cut else {
            let marker = self.page.marker.clone().unwrap_or_default();
            return Err(ApiError::not_found(format!(
                "The marker {marker} could not be found."
            )));
        };
        let mut body = Object::new();
        if let (true, Some(last)) = (more, page.last()) {
            let next = Page::next_query(&ask.params, last);
            body.insert(
                "next".into(),
                json!(format!("{}/v1/{path}?{next}", ask.base)),
            );
        }
        let first = ids.iter().position(|id| Some(id) == page.first());
        let rows: Vec<Value> = documents
            .into_iter()
            .skip(first.unwrap_or(0))
            .take(page.len())
            .map(|document| Value::Object(select(document, &self.shown, short)))
            .collect();
        body.insert(self.plural.to_owned(), Value::Array(rows));
        debug_assert!(!self.table.is_empty());
        Ok(Value::Object(body))
    }
}

/// Leaves the wanted fields; links always stay.
pub(super) fn select(mut document: Object, shown: &Shown, short: &[&str]) -> Object {
    match shown {
        Shown::All => {}
        Shown::Short => {
            document.retain(|name, _| name == "links" || short.contains(&name.as_str()))
        }
        Shown::These(names) => document.retain(|name, _| name == "links" || names.contains(name)),
    }
    document
}

/// Orders values of one column: nothing first, then numbers, then texts.
fn compare(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    let key = |value: Option<&Value>| match value {
        None | Some(Value::Null) => (0, String::new()),
        Some(Value::Bool(yes)) => (1, yes.to_string()),
        Some(Value::Number(number)) => (2, format!("{number:>24}")),
        Some(Value::String(text)) => (3, text.clone()),
        Some(other) => (4, other.to_string()),
    };
    key(a).cmp(&key(b))
}
