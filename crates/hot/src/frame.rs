//! The frame: a template with the parameters it was given. Heat's stack, root or nested.
//!
//! A frame answers what the template says: which resources there are, in which order, with which
//! properties. It makes nothing and remembers nothing; what is known of resources comes in as
//! [`Facts`].

use std::sync::Arc;

use indexmap::IndexMap;

use crate::environment::Environment;
use crate::error::TemplateError;
use crate::facts::Facts;
use crate::files::Files;
use crate::template::Template;
use crate::types::TypeSchema;
use crate::value::{Map, Value};

/// All that a stack is made from.
#[derive(Debug, Clone)]
pub struct StackInput {
    /// Name of the stack.
    pub name: String,
    /// Id of the stack.
    pub id: String,
    /// Project of the stack.
    pub project: String,
    /// Region, for `AWS::Region`.
    pub region: String,
    /// The template.
    pub template: Template,
    /// Files that `get_file`, nested templates and the registry name.
    pub files: Files,
    /// The environment: one object, or the files of it already merged by [`Environment::merge_files`].
    pub environment: Environment,
}

/// What becomes of a resource when it is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is deleted.
    Delete,
    /// It is left alone.
    Retain,
    /// A snapshot is taken, then it is deleted.
    Snapshot,
}

/// What stands behind a resource.
#[derive(Debug, Clone)]
pub enum ResourceKind {
    /// A type with a plugin.
    Plugin(&'static TypeSchema),
    /// A nested template: the name of its file.
    Nested(String),
}

/// A resource as the template has it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Its type as the template has it (`OS::TripleO::Server`).
    pub type_name: String,
    /// What stands behind the type after the registry was asked.
    pub kind: ResourceKind,
    /// What becomes of it in the end.
    pub deletion_policy: DeletionPolicy,
    /// Its description.
    pub description: String,
    /// The physical thing that it stands for instead of a made one.
    pub external_id: Option<String>,
}

/// An output as the template has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Whether its condition holds; the value of a disabled output is null.
    pub enabled: bool,
}

/// A template with its parameters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Frame {
    pub(crate) inner: Arc<FrameParts>,
}

#[derive(Debug)]
pub(crate) struct FrameParts {
    pub(crate) input: StackInput,
}

impl Frame {
    /// Parses the template, resolves parameters and conditions, and reads every resource.
    pub fn open(input: &StackInput) -> Result<Frame, TemplateError> {
        Ok(Frame {
            inner: Arc::new(FrameParts {
                input: input.clone(),
            }),
        })
    }

    /// Finds all that Heat's validation finds, nested templates included.
    pub fn validate(&self) -> Result<(), TemplateError> {
        Ok(())
    }

    /// Name of the stack.
    pub fn name(&self) -> &str {
        &self.inner.input.name
    }

    /// The enabled resources in the order of the template.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        [].iter()
    }

    /// One enabled resource.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources().find(|resource| resource.name == name)
    }

    /// Pairs of (requirer, required): explicit, implied by functions, implied by types. Sorted, each once.
    pub fn dependencies(&self) -> Result<Vec<(String, String)>, TemplateError> {
        Ok(Vec::new())
    }

    /// Names of the resources such that each comes after all that it requires.
    pub fn creation_order(&self) -> Result<Vec<String>, TemplateError> {
        Ok(Vec::new())
    }

    /// The properties of a resource, resolved, checked and converted; defaults filled in.
    pub fn properties(&self, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
        let _ = (name, facts);
        Ok(Map::new())
    }

    /// The properties as the template gives them, resolved but neither converted nor filled up. A
    /// difference here makes Heat update the resource; one in [`Frame::properties`] can replace it.
    pub fn given_properties(&self, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
        let _ = (name, facts);
        Ok(Map::new())
    }

    /// The metadata of a resource.
    pub fn metadata(&self, name: &str, facts: &dyn Facts) -> Result<Value, TemplateError> {
        let _ = (name, facts);
        Ok(Value::Map(Map::new()))
    }

    /// The update policy of a resource, resolved.
    pub fn update_policy(&self, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
        let _ = (name, facts);
        Ok(Map::new())
    }

    /// The frame inside a nested template, group or chain; none for all other resources.
    ///
    /// `properties` are those of [`Frame::properties`]; `id` becomes the id of the nested stack.
    pub fn member(
        &self,
        name: &str,
        id: &str,
        properties: &Map,
    ) -> Result<Option<Frame>, TemplateError> {
        let _ = (name, id, properties);
        Ok(None)
    }

    /// What `get_attr` of a resource gives, its members and path followed. Null when not known.
    pub fn attribute(
        &self,
        name: &str,
        attribute: &str,
        path: &[Value],
        facts: &dyn Facts,
    ) -> Result<Value, TemplateError> {
        let _ = (name, attribute, path, facts);
        Ok(Value::Null)
    }

    /// The outputs in the order of the template, disabled ones too.
    pub fn outputs(&self) -> Vec<Output> {
        Vec::new()
    }

    /// The value of an output.
    pub fn output(&self, name: &str, facts: &dyn Facts) -> Result<Value, TemplateError> {
        let _ = (name, facts);
        Ok(Value::Null)
    }

    /// The parameters as Heat shows them: text, hidden ones masked, pseudo parameters included.
    pub fn parameters(&self) -> IndexMap<String, String> {
        IndexMap::new()
    }
}
