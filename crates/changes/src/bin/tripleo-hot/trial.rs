//! A stack made on no cloud: the small types do what they do, all others succeed at once.
//!
//! Ids and attributes of things of a cloud are made-up text (`id:NAME`, `attr:NAME.ATTRIBUTE`), so
//! that a template can be tried out and compared.

use hot::{
    Facts, Frame, GroupRecord, Kind, Map, Member, Nature, Phase, ResourceKind, TemplateError, Value,
};
use indexmap::IndexMap;
use uuid::Uuid;

/// A resource that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The id of the resource's row; new with each replacement.
    pub id: String,
    /// What `get_resource` gives.
    pub reference: Value,
    /// How often a resource of this name was made.
    pub times: usize,
    /// Its properties, converted.
    pub properties: Map,
    /// Its properties as given.
    pub given: Map,
    /// What else an update looks at: metadata, policies, requirements.
    pub definition: Map,
    /// What is inside it.
    pub inside: Option<Trial>,
    /// What a group keeps of names that are gone.
    pub removed: Vec<String>,
    /// `CREATE_COMPLETE` or `CHECK_COMPLETE`.
    pub status: &'static str,
    /// A value that the resource made up.
    pub value: Value,
}

/// A stack and what was made of it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The stack.
    pub frame: Frame,
    /// Its resources.
    pub made: IndexMap<String, Made>,
}

impl Facts for Trial {
    fn reference(&self, resource: &str) -> Option<Value> {
        self.made.get(resource).map(|made| made.reference.clone())
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Option<Value>, TemplateError> {
        let (Some(made), Some(definition)) =
            (self.made.get(resource), self.frame.resource(resource))
        else {
            return Ok(None);
        };
        let name = definition.schema().map_or("", |schema| schema.name);
        let property = |key: &str| made.properties.get(key).cloned();
        Ok(match name {
            "OS::Heat::Value" => property("value"),
            "OS::Heat::TestResource" => property("value"),
            "OS::Heat::RandomString" => Some(made.value.clone()),
            "OS::Heat::SoftwareConfig" | "OS::Heat::StructuredConfig" => property("config"),
            "OS::Heat::CloudConfig" | "OS::Heat::MultipartMime" => Some(made.value.clone()),
            _ if name.contains("Deployment") => None,
            _ => Some(Value::Text(format!("attr:{resource}.{attribute}"))),
        })
    }

    fn member(&self, resource: &str) -> Option<Member<'_>> {
        let inside = self.made.get(resource)?.inside.as_ref()?;
        Some(Member {
            frame: &inside.frame,
            facts: inside,
        })
    }
}

/// The failure of a resource, in Heat's words.
pub fn failure(action: &str, path: &str, error: &TemplateError) -> TemplateError {
    let what = match error.kind {
        Kind::StackValidationFailed => "StackValidationFailed".to_owned(),
        kind => kind.as_str().to_owned(),
    };
    let place = error
        .path
        .strip_prefix("resources.")
        .map(|rest| rest.replace(".properties", ".Properties"));
    let inner = match (&*error.cause, place) {
        ("", _) | (_, None) => error.message.clone(),
        (cause, Some(place)) => format!("{cause}: {place}: {}", error.message),
    };
    let mut failed = TemplateError::new(
        Kind::ResourceFailure,
        format!("Resource {action} failed: {what}: {path}: {inner}"),
    );
    failed.path = path.to_owned();
    failed.advice = error.advice.clone();
    failed.span = error.span.clone();
    failed.during(Phase::Create)
}

impl Trial {
    /// Makes all resources of a frame in order.
    pub fn create(frame: Frame) -> Result<Trial, TemplateError> {
        let mut trial = Trial {
            frame,
            made: IndexMap::new(),
        };
        for name in trial.frame.creation_order()? {
            trial.make(&name, 1)?;
        }
        Ok(trial)
    }

    /// The properties as given, or the failure that resolving them is.
    fn given(&self, name: &str) -> Result<Map, TemplateError> {
        self.frame.given_properties(name, self).map_err(|error| {
            let mut failed = TemplateError::new(
                Kind::ResourceFailure,
                format!("Resource CREATE failed: {}", error.message),
            );
            failed.advice = Some(
                error
                    .advice
                    .map_or_else(|| format!("look at the resource `{name}`"), String::from)
                    .into(),
            );
            failed.during(Phase::Create)
        })
    }

    /// Makes one resource anew.
    pub fn make(&mut self, name: &str, times: usize) -> Result<(), TemplateError> {
        let path = format!("resources.{name}");
        let given = self.given(name)?;
        let properties = self
            .frame
            .properties(name, self)
            .map_err(|error| failure("CREATE", &path, &error))?;
        let Some(resource) = self.frame.resource(name).cloned() else {
            return Ok(());
        };
        let id = Uuid::new_v4().to_string();
        let mut made = Made {
            reference: Value::Null,
            times,
            properties,
            given,
            definition: self.definition(name)?,
            inside: None,
            removed: Vec::new(),
            status: "CREATE_COMPLETE",
            value: Value::Null,
            id,
        };
        if let Some(external) = &resource.external_id {
            made.reference = Value::text(external);
            made.status = "CHECK_COMPLETE";
        } else {
            if made.properties.get("fail") == Some(&Value::Bool(true)) {
                let error =
                    TemplateError::new(Kind::ValueError, format!("Test Resource failed {name}"));
                return Err(failure("CREATE", &path, &error));
            }
            self.fill(&resource, &mut made)?;
        }
        self.made.insert(name.to_owned(), made);
        Ok(())
    }

    fn fill(&self, resource: &hot::Resource, made: &mut Made) -> Result<(), TemplateError> {
        let name = &resource.name;
        let physical = hot::physical_name(self.frame.name(), name, &made.id);
        if resource.has_members() {
            let inside = self
                .frame
                .member_after(
                    name,
                    &Uuid::new_v4().to_string(),
                    &made.properties,
                    &GroupRecord::default(),
                )
                .map_err(|error| failure("CREATE", &format!("resources.{name}"), &error))?;
            if let Some(frame) = inside {
                made.removed = frame.removed_members().to_vec();
                let inside =
                    Trial::create(frame).map_err(|error| self.inner_failure(name, error))?;
                made.inside = Some(inside);
            }
        }
        made.reference = match &resource.kind {
            ResourceKind::Nested(_) => self.nested_reference(made),
            ResourceKind::Plugin(schema) => match (schema.name, schema.nature) {
                (_, Nature::Group | Nature::Chain | Nature::DeploymentGroup) => {
                    Value::Text(physical)
                }
                ("OS::Heat::Value" | "OS::Heat::TestResource" | "OS::Heat::Delay", _) => {
                    Value::Text(physical)
                }
                ("OS::Heat::RandomString", _) => {
                    made.value = Value::Text(random_text(&made.properties));
                    made.value.clone()
                }
                ("OS::Heat::CloudConfig", _) => {
                    made.value = hot::plugins::cloud_config(&made.properties);
                    Value::Text(made.id.clone())
                }
                ("OS::Heat::MultipartMime", _) => {
                    made.value =
                        Value::Text(hot::plugins::multipart(&made.properties, &short(), &|_| {
                            None
                        }));
                    Value::Text(made.id.clone())
                }
                (kind, _) if kind.starts_with("OS::Heat::S") => Value::Text(made.id.clone()),
                ("OS::Heat::None" | "OS::Heat::DeployedServer", _) => Value::Text(made.id.clone()),
                _ if made.times > 1 => Value::Text(format!("id:{name}:{}", made.times)),
                _ => Value::Text(format!("id:{name}")),
            },
        };
        Ok(())
    }

    fn nested_reference(&self, made: &Made) -> Value {
        let Some(inside) = &made.inside else {
            return Value::Null;
        };
        match inside.frame.output("OS::stack_id", inside) {
            Ok(value) if !value.is_null() => value,
            _ => Value::Text(inside.frame.input().arn()),
        }
    }

    fn inner_failure(&self, name: &str, error: TemplateError) -> TemplateError {
        let path = format!("resources.{name}");
        let marked = error
            .message
            .replacen(": resources.", &format!(": {path}.resources."), 1);
        let below = if error.path.is_empty() {
            path
        } else {
            format!("{path}.{}", error.path)
        };
        TemplateError {
            path: below,
            message: marked,
            ..error
        }
    }

    /// What an update compares beside properties.
    pub fn definition(&self, name: &str) -> Result<Map, TemplateError> {
        changes::definition(&self.frame, name, self)
    }

    /// Dependencies of the stack as pairs.
    pub fn dependencies(&self) -> Result<Vec<(String, String)>, TemplateError> {
        self.frame.dependencies()
    }
}

fn short() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Random text as its properties ask for it.
pub fn random_text(properties: &Map) -> String {
    hot::plugins::random_string(properties, &mut |bound| {
        let bytes = *Uuid::new_v4().as_bytes();
        let number = bytes
            .iter()
            .take(6)
            .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        number % bound
    })
}
