//! The frame: a template with the parameters it was given. Heat's stack, root or nested.
//!
//! A frame answers what the template says: which resources there are, in which order, with which
//! properties. It makes nothing and remembers nothing; what is known of resources comes in as
//! [`Facts`].

use std::sync::Arc;

use indexmap::IndexMap;

use crate::body::{self, Body, ResourceParts};
use crate::edges;
use crate::environment::Environment;
use crate::error::{Kind, Phase, TemplateError};
use crate::expr::{Outcome, join};
use crate::facts::{Facts, NoFacts};
use crate::files::Files;
use crate::nested::Members;
use crate::params::{ParameterSchema, Parameters};
use crate::properties::{self, Rules};
use crate::schema::PropertySchema;
use crate::scope::{Base, Conditions, Parent, Scope};
use crate::template::Template;
use crate::types::{Nature, TypeSchema};
use crate::value::{Map, Value};
use crate::version;

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

impl DeletionPolicy {
    /// Heat's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            DeletionPolicy::Delete => "Delete",
            DeletionPolicy::Retain => "Retain",
            DeletionPolicy::Snapshot => "Snapshot",
        }
    }
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

impl Resource {
    /// The row of its type, if a plugin stands behind it.
    pub fn schema(&self) -> Option<&'static TypeSchema> {
        match &self.kind {
            ResourceKind::Plugin(schema) => Some(schema),
            ResourceKind::Nested(_) => None,
        }
    }

    /// Whether members stand behind it: a nested template, a group or a chain.
    pub fn has_members(&self) -> bool {
        match &self.kind {
            ResourceKind::Nested(_) => true,
            ResourceKind::Plugin(schema) => {
                matches!(
                    schema.nature,
                    Nature::Group | Nature::Chain | Nature::DeploymentGroup
                )
            }
        }
    }
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
    pub(crate) base: Base,
    pub(crate) body: Body,
    /// Files of the templates that this frame is nested in, its own included.
    pub(crate) inside: Vec<String>,
    /// Of a group: how its members are numbered and which names are never used again.
    pub(crate) members: Option<Members>,
    /// Only looked at: values of parameters are not checked.
    pub(crate) lenient: bool,
}

/// Where a frame stands among others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub parent: Option<Parent>,
    pub inside: Vec<String>,
    pub members: Option<Members>,
    /// Only looked at: values of parameters are not checked.
    pub lenient: bool,
}

impl Frame {
    /// Parses the template, resolves parameters and conditions, and reads every resource.
    pub fn open(input: &StackInput) -> Result<Frame, TemplateError> {
        Frame::open_at(input, Place::default()).map_err(|error| input.template.placed(error))
    }

    /// The same without a look at the values of parameters, which need not be given: for those who
    /// ask what a template wants.
    pub fn look(input: &StackInput) -> Result<Frame, TemplateError> {
        let place = Place {
            lenient: true,
            ..Place::default()
        };
        Frame::open_at(input, place).map_err(|error| input.template.placed(error))
    }

    pub(crate) fn open_at(input: &StackInput, place: Place) -> Outcome<Frame> {
        let template = &input.template;
        let version = template.version()?;
        version::check_sections(template.map()?, version)?;
        let words = version.words();
        let section = template.section(words.parameters);
        let defaults = &input.environment.parameter_defaults;
        let schemas = template.parameter_schemas(defaults)?;
        let parameters = Parameters::new(
            schemas,
            section,
            &input.environment.parameters,
            pseudo(input, version.is_cfn()),
        );
        parameters.validate(!place.lenient)?;
        let mut base = Base {
            input: input.clone(),
            version,
            parameters,
            conditions: Conditions::default(),
            parent: place.parent,
        };
        crate::groups::check(template, version, &base.parameters)?;
        if version.has_conditions()
            && let Some(section) = template.map()?.get(words.conditions)
        {
            let scope = Scope {
                base: &base,
                body: None,
                facts: &NoFacts,
            };
            base.conditions = Conditions::parse(section, version, &scope)?;
        }
        base.conditions.validate()?;
        let scope = Scope {
            base: &base,
            body: None,
            facts: &NoFacts,
        };
        let (resources, outputs) = (
            template.section(words.resources),
            template.section(words.outputs),
        );
        let body = body::read(&scope, resources, outputs, &place.inside)?;
        let frame = FrameParts {
            base,
            body,
            inside: place.inside,
            members: place.members,
            lenient: place.lenient,
        };
        Ok(Frame {
            inner: Arc::new(frame),
        })
    }

    pub(crate) fn scope<'a>(&'a self, facts: &'a dyn Facts) -> Scope<'a> {
        Scope {
            base: &self.inner.base,
            body: Some(&self.inner.body),
            facts,
        }
    }

    pub(crate) fn placed(&self, error: TemplateError) -> TemplateError {
        self.inner.base.input.template.placed(error)
    }

    /// Finds all that Heat's validation finds, nested templates included.
    pub fn validate(&self) -> Result<(), TemplateError> {
        crate::validate::validate(self).map_err(|error| self.placed(error))
    }

    /// Name of the stack.
    pub fn name(&self) -> &str {
        &self.inner.base.input.name
    }

    /// What the frame was opened from.
    pub fn input(&self) -> &StackInput {
        &self.inner.base.input
    }

    /// Version of the template.
    pub fn version(&self) -> version::Version {
        self.inner.base.version
    }

    /// The enabled resources in the order of the template.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.inner
            .body
            .resources
            .values()
            .map(|parts| &parts.resource)
    }

    /// One enabled resource.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.inner
            .body
            .resources
            .get(name)
            .map(|parts| &parts.resource)
    }

    pub(crate) fn parts(&self, name: &str) -> Outcome<&ResourceParts> {
        self.inner.body.resources.get(name).ok_or_else(|| {
            TemplateError::new(
                Kind::NotFound,
                format!(
                    "The Resource ({name}) could not be found in Stack {}.",
                    self.name()
                ),
            )
        })
    }

    /// Pairs of (requirer, required): explicit, implied by functions, implied by types. Sorted, each once.
    pub fn dependencies(&self) -> Result<Vec<(String, String)>, TemplateError> {
        edges::edges(self).map_err(|error| self.placed(error))
    }

    /// Names of the resources such that each comes after all that it requires.
    pub fn creation_order(&self) -> Result<Vec<String>, TemplateError> {
        let edges = edges::edges(self)?;
        edges::order(self, &edges).map_err(|error| self.placed(error))
    }

    /// The rows of the properties that a resource takes. None: it takes any.
    pub fn property_schemas(
        &self,
        name: &str,
    ) -> Result<Option<IndexMap<String, PropertySchema>>, TemplateError> {
        let parts = self.parts(name)?;
        match &parts.resource.kind {
            ResourceKind::Plugin(schema) if schema.nature == Nature::Nothing => Ok(None),
            ResourceKind::Plugin(schema) => Ok(Some(schema.properties.clone())),
            ResourceKind::Nested(file) => self.nested_properties(file).map(Some),
        }
    }

    /// The properties of a resource, resolved, checked and converted; defaults filled in.
    pub fn properties(&self, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
        let given = self.given_properties(name, facts)?;
        self.convert(name, &given)
            .map_err(|error| self.placed(error))
    }

    fn convert(&self, name: &str, given: &Map) -> Outcome<Map> {
        if self.parts(name)?.resource.external_id.is_some() {
            return Ok(given.clone());
        }
        let Some(schemas) = self.property_schemas(name)? else {
            return Ok(given.clone());
        };
        let given = self.renamed(name, given)?;
        properties::convert_map(&given, &schemas, Rules::Check)
            .map_err(|error| self.property_error(name, error))
    }

    /// Puts values of properties with an old name under the new one.
    pub(crate) fn renamed(&self, name: &str, given: &Map) -> Outcome<Map> {
        let mut given = given.clone();
        if let Some(schema) = self.parts(name)?.resource.schema() {
            for (old, new) in schema.old_names {
                if let Some(value) = given.shift_remove(*old) {
                    given.entry((*new).to_owned()).or_insert(value);
                }
            }
        }
        Ok(given)
    }

    pub(crate) fn property_error(&self, name: &str, error: TemplateError) -> TemplateError {
        let words = self.inner.base.version.words();
        let path = join(&join(words.resources, name), words.properties);
        let path = if error.path.is_empty() {
            path
        } else {
            join(&path, &error.path)
        };
        error.at("Property error", path)
    }

    /// The properties as the template gives them, resolved but neither converted nor filled up. A
    /// difference here makes Heat update the resource; one in [`Frame::properties`] can replace it.
    pub fn given_properties(&self, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
        let parts = self.parts(name)?;
        match parts.properties.resolve(&self.scope(facts)) {
            Ok(Value::Map(map)) => Ok(map),
            Ok(_) => Ok(Map::new()),
            Err(error) => Err(self.placed(error.during(Phase::Create))),
        }
    }

    /// The metadata of a resource.
    pub fn metadata(&self, name: &str, facts: &dyn Facts) -> Result<Value, TemplateError> {
        self.parts(name)?
            .metadata
            .resolve(&self.scope(facts))
            .map_err(|error| self.placed(error))
    }

    /// The update policy of a resource, resolved, checked and filled up.
    pub fn update_policy(&self, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
        let parts = self.parts(name)?;
        let Value::Map(given) = parts.update_policy.resolve(&self.scope(facts))? else {
            return Ok(Map::new());
        };
        match parts.resource.schema() {
            Some(schema) => properties::convert_map(&given, &schema.update_policy, Rules::Check),
            None => Ok(given),
        }
    }

    /// Names that a resource says it depends on.
    pub fn depends_on(&self, name: &str) -> &[String] {
        self.inner
            .body
            .resources
            .get(name)
            .map_or(&[], |parts| parts.depends_on.as_slice())
    }

    /// Refuses an update of a stack that changes a parameter that may not change.
    ///
    /// A raw new value is compared with the parsed old one, as Heat does: `"1"` is not `1`.
    pub fn check_immutable(&self, old: &Frame) -> Result<(), TemplateError> {
        let mut changed = Vec::new();
        for (schema, given) in self
            .parameter_schemas()
            .filter(|(schema, _)| schema.immutable)
        {
            let Ok(before) = old.parameter(&schema.name) else {
                continue;
            };
            let new = match given {
                Some(given) => given.clone(),
                None => self.parameter(&schema.name)?,
            };
            if !before.equals(&new) {
                changed.push(schema.name.as_str());
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        Err(TemplateError::new(
            Kind::ImmutableParameterModified,
            format!(
                "The following parameters are immutable and may not be updated: {}",
                changed.join(", ")
            ),
        ))
    }

    /// What `get_attr` of a resource gives, its members and path followed. Null when not known.
    pub fn attribute(
        &self,
        name: &str,
        attribute: &str,
        path: &[Value],
        facts: &dyn Facts,
    ) -> Result<Value, TemplateError> {
        self.scope(facts)
            .attribute(name, &Value::text(attribute), path)
    }

    /// The outputs in the order of the template, disabled ones too.
    pub fn outputs(&self) -> Vec<Output> {
        self.inner
            .body
            .outputs
            .values()
            .map(|parts| parts.output.clone())
            .collect()
    }

    /// The value of an output.
    pub fn output(&self, name: &str, facts: &dyn Facts) -> Result<Value, TemplateError> {
        let Some(parts) = self.inner.body.outputs.get(name) else {
            return Err(TemplateError::new(
                Kind::NotFound,
                format!(
                    "The Output ({name}) could not be found in Stack {}.",
                    self.name()
                ),
            ));
        };
        if !parts.output.enabled {
            return Ok(Value::Null);
        }
        parts
            .value
            .resolve(&self.scope(facts))
            .map_err(|error| error.during(Phase::Outputs))
    }

    /// The parameters as Heat shows them: text, hidden ones masked, pseudo parameters included.
    pub fn parameters(&self) -> IndexMap<String, String> {
        self.inner.base.parameters.shown()
    }

    /// The value that `get_param` gives.
    pub fn parameter(&self, name: &str) -> Result<Value, TemplateError> {
        self.inner.base.parameters.value(name)
    }

    /// Definitions of the parameters with the values given for them.
    pub fn parameter_schemas(&self) -> impl Iterator<Item = (&ParameterSchema, Option<&Value>)> {
        self.inner
            .base
            .parameters
            .iter()
            .map(|p| (&p.schema, p.given.as_ref()))
    }

    /// Actions that the environment forbids for a resource: `update`, `replace`.
    pub fn restricted_actions(&self, name: &str) -> Vec<String> {
        let registry = &self.inner.base.input.environment.resource_registry;
        crate::registry::restricted_actions(registry, name)
    }
}

fn pseudo(input: &StackInput, cfn: bool) -> IndexMap<&'static str, String> {
    let arn = input.arn();
    let pairs = if cfn {
        vec![
            ("AWS::Region", input.region.clone()),
            ("AWS::StackId", arn),
            ("AWS::StackName", input.name.clone()),
        ]
    } else {
        vec![
            ("OS::project_id", input.project.clone()),
            ("OS::stack_id", input.id.clone()),
            ("OS::stack_name", input.name.clone()),
        ]
    };
    pairs.into_iter().collect()
}

impl StackInput {
    /// The stack's name among all things: what `get_resource` of a nested stack gives.
    pub fn arn(&self) -> String {
        format!(
            "arn:openstack:heat::{}:stacks/{}/{}",
            self.project, self.name, self.id
        )
    }
}
