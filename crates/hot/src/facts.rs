//! What is known of resources while functions are resolved.

use crate::error::TemplateError;
use crate::frame::Frame;
use crate::value::Value;

/// What is known of the resources of one frame at this moment.
///
/// The engine answers from its rows, a preview from the recorded stack, validation with nothing.
pub trait Facts {
    /// What `get_resource` gives. None: the resource is not made yet; its name stands in.
    fn reference(&self, resource: &str) -> Option<Value>;

    /// What `get_attr` gives before its path is followed. None: not known (yet), which is null.
    ///
    /// Is not asked for a resource that has a [`member`](Facts::member).
    fn attribute(&self, resource: &str, attribute: &str) -> Result<Option<Value>, TemplateError>;

    /// The frame behind a nested template, group or chain, with what is known of its resources.
    /// Its attributes (outputs, `resource.NAME`, lists over the members of a group) follow from it.
    fn member(&self, resource: &str) -> Option<Member<'_>> {
        let _ = resource;
        None
    }
}

/// A nested frame and what is known of its resources.
pub struct Member<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// What is known inside it.
    pub facts: &'a dyn Facts,
}

/// Nothing is known: every attribute is null, every reference is the resource's name.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn reference(&self, _resource: &str) -> Option<Value> {
        None
    }

    fn attribute(&self, _resource: &str, _attribute: &str) -> Result<Option<Value>, TemplateError> {
        Ok(None)
    }
}
