//! Why a template, environment or parameter is wrong.
//!
//! An error says what Heat would call it ([`Kind`]), when it is found ([`Phase`]), where
//! (`path`, joined with dots) and, where text was given, the line. HTTP codes are the server's job.

use std::fmt;

/// Heat's exception class. The last ones are bare Python errors that leave Heat's engine; here
/// they are errors like all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file cannot be read, or is not YAML (found by the client).
    CommandError,
    /// The template names no version, two, or an unknown one.
    InvalidTemplateVersion,
    /// Nearly everything that validation finds.
    StackValidationFailed,
    /// The definition of a parameter is wrong.
    InvalidSchemaError,
    /// A parameter has no value.
    UserParameterMissing,
    /// A value was given for a parameter that the template does not have.
    UnknownUserParameter,
    /// A reference to an unknown resource.
    InvalidTemplateReference,
    /// Resources depend on each other in a circle.
    CircularDependencyException,
    /// A parameter that may not change was changed.
    ImmutableParameterModified,
    /// A resource failed while it was made.
    ResourceFailure,
    /// Two environment files want to merge a parameter differently.
    ConflictingMergeStrategyForParam,
    /// An unknown hook in an environment.
    InvalidBreakPointHook,
    /// An unknown restricted action in an environment.
    InvalidRestrictedAction,
    /// A template type that may not be used.
    InvalidTemplateAttribute,
    /// The resource, output or other thing asked for is not there.
    NotFound,
    /// A bad value.
    ValueError,
    /// A value of a wrong type.
    TypeError,
    /// A value has not what is asked of it.
    AttributeError,
    /// A key is missing.
    KeyError,
    /// An index is out of range.
    IndexError,
    /// Text that an encoding does not have.
    UnicodeEncodeError,
    /// Something refers to itself without end.
    RecursionError,
    /// A sequence has no more items.
    StopIteration,
    /// An expression calls a method with arguments that it does not take.
    NoMatchingMethodException,
    /// An expression calls a function with arguments that it does not take.
    NoMatchingFunctionException,
    /// An expression calls a method that there is not.
    NoMethodRegisteredException,
    /// An expression calls a function that there is not.
    NoFunctionRegisteredException,
    /// A sequence in an expression is too long.
    CollectionTooLargeException,
    /// Another error of the language of expressions.
    Error,
}

impl Kind {
    /// The name that Heat uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::CommandError => "CommandError",
            Kind::InvalidTemplateVersion => "InvalidTemplateVersion",
            Kind::StackValidationFailed => "StackValidationFailed",
            Kind::InvalidSchemaError => "InvalidSchemaError",
            Kind::UserParameterMissing => "UserParameterMissing",
            Kind::UnknownUserParameter => "UnknownUserParameter",
            Kind::InvalidTemplateReference => "InvalidTemplateReference",
            Kind::CircularDependencyException => "CircularDependencyException",
            Kind::ImmutableParameterModified => "ImmutableParameterModified",
            Kind::ResourceFailure => "ResourceFailure",
            Kind::ConflictingMergeStrategyForParam => "ConflictingMergeStrategyForParam",
            Kind::InvalidBreakPointHook => "InvalidBreakPointHook",
            Kind::InvalidRestrictedAction => "InvalidRestrictedAction",
            Kind::InvalidTemplateAttribute => "InvalidTemplateAttribute",
            Kind::NotFound => "NotFound",
            Kind::ValueError => "ValueError",
            Kind::TypeError => "TypeError",
            Kind::AttributeError => "AttributeError",
            Kind::KeyError => "KeyError",
            Kind::IndexError => "IndexError",
            Kind::UnicodeEncodeError => "UnicodeEncodeError",
            Kind::RecursionError => "RecursionError",
            Kind::StopIteration => "StopIteration",
            Kind::NoMatchingMethodException => "NoMatchingMethodException",
            Kind::NoMatchingFunctionException => "NoMatchingFunctionException",
            Kind::NoMethodRegisteredException => "NoMethodRegisteredException",
            Kind::NoFunctionRegisteredException => "NoFunctionRegisteredException",
            Kind::CollectionTooLargeException => "CollectionTooLargeException",
            Kind::Error => "error",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When an error is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// While files are read, before any server sees them.
    Client,
    /// While the request is read.
    Api,
    /// While the stack is validated.
    Validate,
    /// While a resource is made.
    Create,
    /// While an output is resolved.
    Outputs,
    /// While an update is previewed.
    Preview,
    /// While an update runs.
    Update,
}

impl Phase {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Client => "client",
            Phase::Api => "api",
            Phase::Validate => "validate",
            Phase::Create => "create",
            Phase::Outputs => "outputs",
            Phase::Preview => "preview",
            Phase::Update => "update",
        }
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.full())]
pub struct TemplateError {
    /// Heat's exception class.
    pub kind: Kind,
    /// When it was found.
    pub phase: Phase,
    /// The place, joined with dots: `resources.a.properties.b`. May be empty.
    pub path: String,
    /// Heat's prefix: `Property error`, `Condition validation error`. May be empty.
    pub cause: String,
    /// What is wrong, in Heat's words where Heat has them.
    pub message: String,
    /// The place in the text, where text was given.
    pub span: Option<Box<yaml::Span>>,
    /// What to do about it.
    pub advice: Option<Box<str>>,
}

impl TemplateError {
    /// An error of validation without a place.
    pub fn new(kind: Kind, message: impl Into<String>) -> TemplateError {
        TemplateError {
            kind,
            phase: Phase::Validate,
            path: String::new(),
            cause: String::new(),
            message: message.into(),
            span: None,
            advice: None,
        }
    }

    /// `StackValidationFailed`, the kind of nearly everything.
    pub fn invalid(message: impl Into<String>) -> TemplateError {
        TemplateError::new(Kind::StackValidationFailed, message)
    }

    /// The same error, with Heat's prefix and a place.
    #[must_use]
    pub fn at(mut self, cause: &str, path: impl Into<String>) -> TemplateError {
        self.cause = cause.to_owned();
        self.path = path.into();
        self
    }

    /// The same error, found in another phase.
    #[must_use]
    pub fn during(mut self, phase: Phase) -> TemplateError {
        self.phase = phase;
        self
    }

    /// The same error, with advice.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> TemplateError {
        self.advice = Some(advice.into().into_boxed_str());
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        self.advice.as_deref().map(str::to_owned)
    }

    /// Cause, place and message in one line, as Heat prints them.
    pub fn full(&self) -> String {
        let mut text = String::new();
        for part in [&self.cause, &self.path] {
            if !part.is_empty() {
                text.push_str(part);
                text.push_str(": ");
            }
        }
        text.push_str(&self.message);
        if let Some(span) = &self.span {
            text.push_str(&format!(" (line {}, column {})", span.line, span.column));
        }
        text
    }
}

/// The candidate that was probably meant, for `did you mean …?`.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_heat_prints_it() {
        let error =
            TemplateError::invalid("Unknown Property zz").at("Property error", "resources.c");
        assert_eq!(
            error.to_string(),
            "Property error: resources.c: Unknown Property zz"
        );
    }

    #[test]
    fn the_nearest_word_is_offered_only_if_near() {
        assert_eq!(nearest("imge", ["flavor", "image"]), Some("image"));
        assert_eq!(nearest("zz", ["flavor", "image"]), None);
    }
}
