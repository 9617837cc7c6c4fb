//! What clients send to create, update, preview or validate a stack, read by Heat's rules.
//!
//! Everything that Heat's API refuses before its engine is asked is refused here, in Heat's words.
//! Whether the template is right is found later.

use hot::{Environment, Files, Template};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::fault::Fault;
use super::query::{parse_flag, parse_number};

/// The most bytes of a request's body. Heat's default (1 MiB) is below what a real cloud's
/// templates take; operators raise it there.
pub const BODY_LIMIT: usize = 64 * 1024 * 1024;

const TAG_LIMIT: usize = 80;

/// A body: nothing, or an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document(Option<Map<String, Value>>);

impl Document {
    /// Reads a body. Another content type than JSON's, or another value than an object, is no
    /// body at all, as for Heat; broken JSON is refused.
    pub fn read(content_type: Option<&str>, bytes: &[u8]) -> Result<Document, Fault> {
        let kind = content_type
            .unwrap_or("")
            .split(';')
            .next()
            .unwrap_or("")
            .trim();
        let is_json =
            matches!(kind, "" | "JSON" | "application/json") || kind.starts_with("text/plain");
        let bytes = bytes.trim_ascii_start();
        if !is_json || !bytes.starts_with(b"{") {
            return Ok(Document(None));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Document(Some(object))),
            Ok(_) => Ok(Document(None)),
            Err(error) => Err(Fault::bad_request(error.to_string())),
        }
    }

    /// The object, for calls that need one.
    pub fn required(self) -> Result<Map<String, Value>, Fault> {
        self.0.ok_or_else(Fault::malformed)
    }

    /// The object, if there is one.
    pub fn optional(self) -> Option<Map<String, Value>> {
        self.0
    }
}

/// What is asked of a stack: the parts that all such requests share.
#[derive(Debug, Clone)]
pub struct StackRequest {
    body: Map<String, Value>,
}

impl StackRequest {
    /// Takes a body.
    pub fn new(body: Map<String, Value>) -> StackRequest {
        StackRequest { body }
    }

    /// The name, which must be there and be one that Heat accepts.
    pub fn name(&self) -> Result<String, Fault> {
        let name = self.given("stack_name");
        let name = name.ok_or_else(|| Fault::bad_request("No stack name specified"))?;
        let Value::String(name) = name else {
            let message = format!("Invalid stack name {name}, must be a string");
            return Err(Fault::invalid(message));
        };
        if is_stack_name(name) {
            return Ok(name.clone());
        }
        Err(Fault::invalid(format!(
            "Invalid stack name {name} must contain only alphanumeric or \"_-.\" characters, \
             must start with alpha and must be 255 characters or less."
        )))
    }

    /// The template, which must be there.
    pub fn template(&self) -> Result<Template, Fault> {
        let template = self.template_if_given()?;
        template.ok_or_else(|| Fault::bad_request("No template specified"))
    }

    /// The template.
    pub fn template_if_given(&self) -> Result<Option<Template>, Fault> {
        let wrong = |why: &str| Fault::bad_request(format!("Template not in valid format: {why}"));
        let template = match self.given("template") {
            None => return self.template_by_url(),
            Some(Value::Object(object)) => Template::from_json(&Value::Object(object.clone())),
            Some(Value::String(text)) => {
                Template::from_text(text).map_err(|error| wrong(&error.full()))?
            }
            Some(other) => Template::from_json(other),
        };
        if template.document().as_map().is_none() {
            return Err(wrong("The template is not a JSON object or YAML mapping."));
        }
        Ok(Some(template))
    }

    fn template_by_url(&self) -> Result<Option<Template>, Fault> {
        let Some(Value::String(url)) = self.given("template_url") else {
            return Ok(None);
        };
        let scheme = url.split(':').next().unwrap_or("");
        let why = if matches!(scheme, "http" | "https") {
            "this server fetches nothing; send the template itself".to_owned()
        } else {
            format!("Invalid URL scheme {scheme}")
        };
        Err(Fault::bad_request(format!(
            "Could not retrieve template: {why}"
        )))
    }

    /// The files by name.
    pub fn files(&self) -> Result<Files, Fault> {
        Ok(self.files_if_given()?.unwrap_or_default())
    }

    /// The files by name, if any were sent.
    pub fn files_if_given(&self) -> Result<Option<Files>, Fault> {
        let files = match self.given("files") {
            None => return Ok(None),
            Some(Value::Object(files)) => files,
            Some(_) => {
                let message = "The files must be an object of texts by name.";
                return Err(Fault::bad_request(message));
            }
        };
        let texts: IndexMap<String, String> = files
            .iter()
            .map(|(name, text)| (name.clone(), text_of(text)))
            .collect();
        Ok(Some(Files::new(texts)))
    }

    /// The environment: the files that `environment_files` names merged in order, else
    /// `environment`; over it the request's parameters.
    pub fn environment(&self, template: Option<&Template>) -> Result<Environment, Fault> {
        let parameters = self.parameters()?;
        let wrong =
            |why: String| Fault::bad_request(format!("Environment not in valid format: {why}"));
        let names = self.environment_files()?;
        if !names.is_empty() {
            let files = self.files()?;
            if let Some(missing) = names.iter().find(|name| files.get(name).is_none()) {
                let message = format!("The environment file {missing} is not among the files.");
                return Err(Fault::bad_request(message));
            }
            let nothing = Template::from_json(&Value::Object(Map::new()));
            let template = template.unwrap_or(&nothing);
            let merged = Environment::merge_files(&parameters, &names, &files, template);
            return merged.map_err(|error| wrong(error.full()));
        }
        let environment = match self.given("environment") {
            None => Ok(Environment::default()),
            Some(Value::String(text)) => Environment::from_text(text),
            Some(other) => Environment::from_value(&hot::Value::from_json(other)),
        };
        let mut environment = environment.map_err(|error| wrong(error.full()))?;
        for (name, value) in parameters {
            environment.parameters.insert(name, value);
        }
        Ok(environment)
    }

    /// The parameters of the request itself.
    pub fn parameters(&self) -> Result<hot::Map, Fault> {
        match self.given("parameters") {
            None => Ok(hot::Map::new()),
            Some(object @ Value::Object(_)) => Ok(hot::map_from_json(object)),
            Some(_) => Err(Fault::bad_request("The parameters must be an object.")),
        }
    }

    /// Whether the environment is made of files.
    pub fn names_environment_files(&self) -> bool {
        self.environment_files()
            .is_ok_and(|names| !names.is_empty())
    }

    fn environment_files(&self) -> Result<Vec<String>, Fault> {
        let names = match self.given("environment_files") {
            None => return Ok(Vec::new()),
            Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned)),
            Some(_) => return Err(Fault::bad_request("The environment_files must be a list.")),
        };
        let names: Option<Vec<String>> = names.collect();
        names.ok_or_else(|| Fault::bad_request("The environment_files must be names."))
    }

    /// Minutes until an unfinished action fails.
    pub fn timeout_mins(&self) -> Result<Option<u64>, Fault> {
        let minutes = self.given("timeout_mins");
        let minutes = minutes.map(|value| parse_number("timeout_mins", &text_of(value)));
        minutes.transpose()
    }

    /// Whether a failed action is left as it is.
    pub fn disable_rollback(&self) -> Result<Option<bool>, Fault> {
        self.flag("disable_rollback")
    }

    /// A flag of the body: a boolean, or its text.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        match self.given(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => parse_flag(key, &text_of(other)).map(Some),
        }
    }

    /// The tags.
    pub fn tags(&self) -> Result<Option<Vec<String>>, Fault> {
        let tags: Vec<String> = match self.given("tags") {
            None => return Ok(None),
            Some(Value::Array(tags)) => tags.iter().map(text_of).collect(),
            Some(other) => text_of(other)
                .split(',')
                .map(|tag| tag.trim().to_owned())
                .collect(),
        };
        if let Some(long) = tags.iter().find(|tag| tag.chars().count() > TAG_LIMIT) {
            let message = format!("Invalid tag, \"{long}\" is longer than {TAG_LIMIT} characters");
            return Err(Fault::bad_request(message));
        }
        if let Some(odd) = tags.iter().find(|tag| tag.contains(',')) {
            let message = format!("Invalid tag, \"{odd}\" contains a comma");
            return Err(Fault::bad_request(message));
        }
        Ok(Some(tags))
    }

    /// Names of parameters that an update resets.
    pub fn clear_parameters(&self) -> Result<Vec<String>, Fault> {
        match self.given("clear_parameters") {
            None => Ok(Vec::new()),
            Some(Value::Array(names)) => Ok(names.iter().map(text_of).collect()),
            Some(_) => Err(Fault::bad_request("The clear_parameters must be a list.")),
        }
    }

    /// Refuses what only updates may ask.
    pub fn refuse_converge(&self) -> Result<(), Fault> {
        if self.flag("converge")?.is_none() {
            return Ok(());
        }
        Err(Fault::bad_request(
            "converge flag only supported in stack update (or update preview) request.",
        ))
    }

    /// The stack that another server gave up, to be taken over.
    pub fn adopted(&self) -> Result<Option<Value>, Fault> {
        let Some(data) = self.given("adopt_stack_data") else {
            return Ok(None);
        };
        let wrong = |why: &str| Fault::bad_request(format!("Invalid adopt data: {why}"));
        let data = match data {
            Value::String(text) => {
                serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?
            }
            other => other.clone(),
        };
        for key in ["template", "resources"] {
            if data.get(key).is_none() {
                return Err(wrong(&format!("'{key}'")));
            }
        }
        Ok(Some(data))
    }

    fn given(&self, key: &str) -> Option<&Value> {
        self.body.get(key).filter(|value| !value.is_null())
    }
}

/// A value as text: a text itself, anything else as JSON.
pub fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn is_stack_name(name: &str) -> bool {
    let mut letters = name.bytes();
    let starts_well = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    starts_well
        && name.len() <= 255
        && letters.all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(body: Value) -> StackRequest {
        StackRequest::new(body.as_object().cloned().unwrap_or_default())
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Fault>, message: &str) {
        assert_eq!(result.map_err(|fault| fault.message).unwrap_err(), message);
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        let read = |text: &str| Document::read(Some("application/json"), text.as_bytes());
        assert!(read(" {\"a\": 1}").is_ok_and(|d| d.optional().is_some()));
        for text in ["", "[1]", "\"x\"", "nonsense"] {
            assert!(read(text).is_ok_and(|d| d.required().is_err()), "{text}");
        }
        assert!(read("{").is_err_and(|fault| fault.message.contains("line 1")));
        let xml = Document::read(Some("application/xml"), b"{}");
        assert!(xml.is_ok_and(|d| d.optional().is_none()));
        assert!(Document::read(None, b"{}").is_ok_and(|d| d.optional().is_some()));
    }

    #[test]
    fn names_are_checked() {
        refused(request(json!({})).name(), "No stack name specified");
        let number = request(json!({ "stack_name": 12 })).name();
        refused(number, "Invalid stack name 12, must be a string");
        for name in ["", "1a", "a b", "a/b", "aü", &"a".repeat(256)] {
            assert!(
                request(json!({ "stack_name": name })).name().is_err(),
                "{name}"
            );
        }
        for name in ["a", "A-b_c.1", &"a".repeat(255)] {
            assert!(
                request(json!({ "stack_name": name })).name().is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn tags_are_split_and_measured() {
        let tags = request(json!({ "tags": "a,b , c" })).tags();
        assert_eq!(tags, Ok(Some(vec!["a".into(), "b".into(), "c".into()])));
        let long = "a".repeat(81);
        refused(
            request(json!({ "tags": long })).tags(),
            &format!("Invalid tag, \"{long}\" is longer than 80 characters"),
        );
        assert!(request(json!({ "tags": ["a,b"] })).tags().is_err());
    }

    #[test]
    fn a_template_must_be_a_mapping() {
        refused(request(json!({})).template(), "No template specified");
        let words =
            "Template not in valid format: The template is not a JSON object or YAML mapping.";
        refused(request(json!({ "template": "hello" })).template(), words);
        refused(request(json!({ "template": "[1]" })).template(), words);
        refused(
            request(json!({ "template_url": "file:///etc/hostname" })).template(),
            "Could not retrieve template: Invalid URL scheme file",
        );
    }

    #[test]
    fn numbers_and_flags_come_as_text_too() {
        assert_eq!(
            request(json!({ "timeout_mins": "7" })).timeout_mins(),
            Ok(Some(7))
        );
        refused(
            request(json!({ "timeout_mins": -1 })).timeout_mins(),
            "Value '-1' is invalid for 'timeout_mins' which only accepts non-negative integer.",
        );
        let flag = request(json!({ "disable_rollback": "False" })).disable_rollback();
        assert_eq!(flag, Ok(Some(false)));
        assert!(
            request(json!({ "disable_rollback": "maybe" }))
                .disable_rollback()
                .is_err()
        );
    }

    #[test]
    fn adopted_data_needs_its_parts() {
        refused(
            request(json!({ "adopt_stack_data": "{}" })).adopted(),
            "Invalid adopt data: 'template'",
        );
    }
}
