//! Reads a template, its environments and every file that they name, as Heat's client does.
//!
//! Names become URLs; a file that is a template itself goes on as JSON, others as text. Nothing is
//! checked here but that the files are there and that the template is one.

use std::fs;
use std::path::{Component, Path, PathBuf};

use hot::{Environment, Files, Kind, Map, Phase, StackInput, Template, TemplateError, Value};
use indexmap::IndexMap;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a URL path may not hold.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?');

/// What a stack is made from, as a request names it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name of the stack.
    pub stack_name: String,
    /// File of the template.
    pub template: PathBuf,
    /// Environment files.
    pub environments: Vec<PathBuf>,
    /// `name=value`.
    pub parameters: Vec<String>,
}

/// A request with all its files read.
#[derive(Debug, Clone)]
pub struct Read {
    /// The template.
    pub template: Template,
    /// Texts by URL.
    pub files: Files,
    /// URLs of the environment files.
    pub environments: Vec<String>,
    /// Parameters of the command line.
    pub parameters: Map,
}

fn fail(kind: Kind, message: String) -> TemplateError {
    TemplateError::new(kind, message).during(Phase::Client)
}

/// The URL of a file.
fn url_of(path: &Path) -> String {
    let absolute = if path.is_absolute() {
        path.to_owned()
    } else {
        std::env::current_dir().unwrap_or_default().join(path)
    };
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    format!(
        "file://{}",
        utf8_percent_encode(&clean.to_string_lossy(), ESCAPED)
    )
}

fn read_url(url: &str) -> Option<String> {
    let path = percent_decode_str(url.strip_prefix("file://")?)
        .decode_utf8()
        .ok()?;
    fs::read_to_string(path.as_ref()).ok()
}

/// A name relative to the file that names it.
fn join(base: &str, name: &str) -> Result<String, TemplateError> {
    if name.contains("://") {
        return Ok(name.to_owned());
    }
    let Some(path) = base.strip_prefix("file://") else {
        return Err(fail(
            Kind::ValueError,
            format!("unknown url type: '{base}{name}'"),
        ));
    };
    let folder = percent_decode_str(path).decode_utf8_lossy().into_owned();
    Ok(url_of(&Path::new(&folder).join(name)))
}

fn folder(url: &str) -> String {
    url.rsplit_once('/')
        .map_or(url, |(folder, _)| folder)
        .to_owned()
}

fn shown(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[derive(Default)]
struct Reader {
    files: IndexMap<String, String>,
    /// Templates that are being read, to notice one that names itself.
    open: Vec<String>,
}

const VERSION_KEYS: [&str; 3] = [
    "heat_template_version",
    "HeatTemplateFormatVersion",
    "AWSTemplateFormatVersion",
];

fn has_version(document: &Value) -> bool {
    document
        .as_map()
        .is_some_and(|map| VERSION_KEYS.iter().any(|key| map.contains_key(*key)))
}

impl Reader {
    fn template(&mut self, url: &str) -> Result<Template, TemplateError> {
        let name = shown(url);
        let text = read_url(url)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                fail(
                    Kind::CommandError,
                    format!("Could not fetch template from {name}"),
                )
            })?;
        let parsed = Template::from_text(&text).map_err(|error| {
            let message = format!("Error parsing template {name} {}", error.message);
            TemplateError {
                span: error.span,
                ..fail(Kind::CommandError, message)
            }
        })?;
        if !has_version(parsed.document()) {
            return Err(fail(
                Kind::CommandError,
                format!("Error parsing template {name} Template format version not found."),
            ));
        }
        self.resolve(url, parsed)
    }

    /// Reads what a template names; names in it become URLs.
    fn resolve(&mut self, url: &str, template: Template) -> Result<Template, TemplateError> {
        if self.open.iter().any(|open| open == url) {
            return Err(fail(
                Kind::RecursionError,
                "maximum recursion depth exceeded".to_owned(),
            )
            .advise(format!("`{}` contains itself", shown(url))));
        }
        self.open.push(url.to_owned());
        let mut document = template.document().clone();
        let result = self.walk(&mut document, &folder(url));
        self.open.pop();
        result?;
        Ok(template.with_document(document))
    }

    fn walk(&mut self, value: &mut Value, base: &str) -> Result<(), TemplateError> {
        match value {
            Value::List(items) => items.iter_mut().try_for_each(|item| self.walk(item, base)),
            Value::Map(map) => {
                for (key, item) in map.iter_mut() {
                    let is_file = match (key.as_str(), item.as_text()) {
                        ("get_file", Some(_)) => true,
                        ("type", Some(name)) => {
                            name.ends_with(".yaml") || name.ends_with(".template")
                        }
                        _ => false,
                    };
                    if let (true, Some(name)) = (is_file, item.as_text()) {
                        let url = join(base, name)?;
                        self.fetch(&url)?;
                        *item = Value::Text(url);
                    } else {
                        self.walk(item, base)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads a file. One that is a template is sent as JSON, with its own files resolved.
    fn fetch(&mut self, url: &str) -> Result<(), TemplateError> {
        if self.files.contains_key(url) {
            return Ok(());
        }
        let text = read_url(url).ok_or_else(|| {
            fail(
                Kind::CommandError,
                format!("Could not fetch contents for {}", shown(url)),
            )
        })?;
        let parsed = Template::from_text(&text).ok();
        let text = match parsed.filter(|template| has_version(template.document())) {
            Some(template) => self.resolve(url, template)?.document().python_json(false),
            None => text,
        };
        self.files.insert(url.to_owned(), text);
        Ok(())
    }

    fn environment(&mut self, path: &Path) -> Result<String, TemplateError> {
        let url = url_of(path);
        let text = read_url(&url).ok_or_else(|| {
            fail(
                Kind::CommandError,
                format!("Could not fetch contents for {}", shown(&url)),
            )
        })?;
        let wrong = |error: TemplateError| TemplateError {
            phase: Phase::Client,
            ..error
        };
        let node = yaml::parse(&text).map_err(|error| TemplateError {
            span: Some(Box::new(error.span)),
            ..fail(
                Kind::CommandError,
                format!("Error parsing {}: {}", shown(&url), error.message),
            )
        })?;
        let mut document = match Value::from_yaml(&node) {
            Value::Null => Value::Map(Map::new()),
            document => document,
        };
        if let Value::Map(map) = &document {
            let full = map.iter().map(|(key, value)| {
                // What is empty is the server's to refuse.
                let value = if value.is_null() {
                    Value::Map(Map::new())
                } else {
                    value.clone()
                };
                (key.clone(), value)
            });
            hot::environment::parse(&Value::Map(full.collect()).python_json(false))
                .map_err(wrong)?;
        }
        if let Value::Map(map) = &mut document
            && let Some(Value::Map(registry)) = map.get_mut("resource_registry")
        {
            self.registry(registry, &folder(&url))?;
        }
        self.files.insert(url.clone(), document.python_json(false));
        Ok(url)
    }

    fn registry(&mut self, registry: &mut Map, base: &str) -> Result<(), TemplateError> {
        let base = registry
            .get("base_url")
            .map_or(base.to_owned(), Value::python_str);
        self.entries(registry, &base)?;
        if let Some(Value::Map(resources)) = registry.get_mut("resources") {
            for entry in resources.values_mut() {
                if let Value::Map(entry) = entry {
                    let base = entry
                        .get("base_url")
                        .map_or(base.clone(), Value::python_str);
                    self.entries(entry, &base)?;
                }
            }
        }
        Ok(())
    }

    fn entries(&mut self, entries: &mut Map, base: &str) -> Result<(), TemplateError> {
        for (key, value) in entries.iter_mut() {
            if key == "base_url" || matches!(value, Value::Map(_)) {
                continue;
            }
            if value.is_null() {
                return Err(fail(
                    Kind::TypeError,
                    "argument of type 'NoneType' is not iterable".to_owned(),
                )
                .advise(format!("map `{key}` to `OS::Heat::None` to switch it off")));
            }
            let Some(name) = value.as_text() else {
                continue;
            };
            if name.contains("::") || key == "hooks" || key == "restricted_actions" {
                continue;
            }
            let url = join(base, name)?;
            self.fetch(&url)?;
            *value = Value::Text(url);
        }
        Ok(())
    }
}

/// Reads all files of a request.
pub fn read(request: &Request) -> Result<Read, TemplateError> {
    let mut reader = Reader::default();
    let template = reader.template(&url_of(&request.template))?;
    let mut environments = Vec::new();
    for path in &request.environments {
        environments.push(reader.environment(path)?);
    }
    let mut parameters = Map::new();
    for pair in &request.parameters {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(fail(
                Kind::CommandError,
                format!("Malformed parameter({pair}). Use the key=value format."),
            ));
        };
        parameters.insert(name.to_owned(), Value::from(value));
    }
    Ok(Read {
        template,
        files: Files::new(reader.files),
        environments,
        parameters,
    })
}

impl Read {
    /// The input of a stack of this name; environments are merged.
    pub fn input(&self, name: &str) -> Result<StackInput, TemplateError> {
        let environment = Environment::merge_files(
            &self.parameters,
            &self.environments,
            &self.files,
            &self.template,
        )?;
        Ok(StackInput {
            name: name.to_owned(),
            id: uuid::Uuid::new_v4().to_string(),
            project: "test_tenant_id".to_owned(),
            region: "ap-southeast-1".to_owned(),
            template: self.template.clone(),
            files: self.files.clone(),
            environment,
        })
    }
}
