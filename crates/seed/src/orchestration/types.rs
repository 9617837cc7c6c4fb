//! What this server knows: resource types, template versions and their functions.

use hot::{TypeSchema, Version, function_names, types};
use regex::Regex;
use serde_json::{Value, json};

use super::fault::Fault;
use super::query::Query;
use super::{Answer, reply};

/// The names of types, or with `with_description` their descriptions too.
pub fn list(query: &Query) -> Answer {
    let with_description = query.flag("with_description")?;
    let name = query.last("name").map(matcher).transpose()?;
    let status = query.last("support_status").map(known_status).transpose()?;
    // All our types are supported; there are none of any other status.
    let any = status.is_none_or(|status| status == "SUPPORTED");
    let found = types::all().filter(|row| any && matches(name.as_ref(), row));
    let found: Vec<Value> = found
        .map(|row| match with_description {
            true => json!({ "resource_type": row.name, "description": row.description }),
            false => json!(row.name),
        })
        .collect();
    Ok(reply::ok(&json!({ "resource_types": found })))
}

fn matches(name: Option<&Regex>, row: &TypeSchema) -> bool {
    name.is_none_or(|name| name.is_match(row.name))
}

/// Upstream matches from the start of a name, not to its end.
fn matcher(pattern: &str) -> Result<Regex, Fault> {
    Regex::new(&format!("^(?:{pattern})")).map_err(|_| {
        Fault::bad_request(format!(
            "The regular expression \"{pattern}\" is not valid."
        ))
    })
}

fn known_status(status: &str) -> Result<&str, Fault> {
    let known = [
        "UNKNOWN",
        "SUPPORTED",
        "DEPRECATED",
        "UNSUPPORTED",
        "HIDDEN",
    ];
    if known.contains(&status) {
        return Ok(status);
    }
    let message = format!("Invalid support status and should be one of {known:?}");
    Err(Fault::bad_request(message.replace('"', "'")))
}

/// One type.
pub fn show(name: &str) -> Answer {
    let mut shown = row(name)?.to_json();
    // Every resource can be shown whole; rows list only what is particular to a type.
    if shown["attributes"].get("show").is_none() {
        shown["attributes"]["show"] =
            json!({ "description": "Detailed information about resource.", "type": "map" });
    }
    Ok(reply::ok(&shown))
}

/// A template with one resource of a type.
pub fn template(name: &str, query: &Query) -> Answer {
    let hot = match query.last("template_type") {
        None | Some("cfn") => false,
        Some("hot") => true,
        Some(other) => {
            let message = format!("Template type is not supported: {other}");
            return Err(Fault::bad_request(message));
        }
    };
    Ok(reply::ok(&row(name)?.to_template(hot).to_json()))
}

fn row(name: &str) -> Result<&'static TypeSchema, Fault> {
    types::get(name).ok_or_else(|| Fault::no_entity("Resource Type", name))
}

/// The versions that templates may have, each with its other names.
pub fn versions() -> Answer {
    let mut found: Vec<Value> = Vec::new();
    let dated = Version::all().filter(|(_, name, _)| is_date(name));
    for (key, name, version) in dated {
        let aliases = Version::all().filter(|(_, alias, same)| *same == version && !is_date(alias));
        let aliases: Vec<String> = aliases
            .map(|(key, alias, _)| format!("{key}.{alias}"))
            .collect();
        let kind = if version.is_cfn() { "cfn" } else { "hot" };
        found.push(json!({ "version": format!("{key}.{name}"), "type": kind, "aliases": aliases }));
    }
    Ok(reply::ok(&json!({ "template_versions": found })))
}

fn is_date(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_digit())
}

/// The functions of a version.
pub fn functions(version: &str, query: &Query) -> Answer {
    let with_conditions = query.flag("with_condition_func")?;
    let found = Version::from_api_name(version).ok_or_else(|| {
        Fault::not_found(format!("Template version {version} could not be found."))
    })?;
    let names = function_names(found, with_conditions);
    let functions: Vec<Value> = names
        .into_iter()
        .map(|name| json!({ "functions": name, "description": description(name) }))
        .collect();
    Ok(reply::ok(&json!({ "template_functions": functions })))
}

fn description(name: &str) -> &'static str {
    match name {
        "get_param" | "Ref" => "The value of a parameter.",
        "get_resource" => "The id of a resource, once it is made.",
        "get_attr" | "Fn::GetAtt" => "An attribute of a resource, or a part of it.",
        "get_file" => "The text of a file that was sent with the template.",
        "list_join" | "Fn::Join" => "The items of lists, put into one text with a delimiter.",
        "list_concat" => "Several lists as one.",
        "list_concat_unique" => "Several lists as one without repeated items.",
        "str_replace" | "Fn::Replace" => "A text with words replaced.",
        "str_replace_strict" => "A text with words replaced; each word must occur.",
        "str_replace_vstrict" => "As the strict one; no value may be empty either.",
        "str_split" | "Fn::Split" => "A text cut into a list at a delimiter.",
        "repeat" => "A list made from a pattern and lists of values.",
        "digest" => "The digest of a text.",
        "resource_facade" | "Fn::ResourceFacade" => "A part of the resource around this template.",
        "map_merge" => "Several maps as one; later values win.",
        "map_replace" | "Fn::MemberListToMap" => "A map with keys or values replaced.",
        "yaql" => "The value of a YAQL expression.",
        "if" | "Fn::If" => "One of two values, as a condition says.",
        "filter" => "A list without some values.",
        "make_url" => "A URL made of its parts.",
        "contains" => "Whether a value is in a list or text.",
        "equals" | "Fn::Equals" => "Whether two values are the same.",
        "not" | "Fn::Not" => "The contrary of a condition.",
        "and" | "Fn::And" => "Whether all conditions hold.",
        "or" | "Fn::Or" => "Whether one of the conditions holds.",
        "Fn::FindInMap" => "A value of a mapping.",
        "Fn::GetAZs" => "The availability zones.",
        "Fn::Base64" => "The text itself; encoding is left to the cloud.",
        "Fn::Select" => "An item of a list or map.",
        _ => "A function of the template language.",
    }
}
