//! What a stack knows of its resources, for functions that ask.

use hot::{Facts, Member, TemplateError, Value};

use crate::api::{Action, Status};
use crate::model::{Node, Row};
use crate::plugins;

impl Row {
    /// Whether anything of it can be asked for: it was made, or is far enough to have an id.
    pub fn is_known(&self) -> bool {
        match (self.action, self.status) {
            (Action::Init, _) => false,
            (Action::Create, Status::InProgress | Status::Failed) => self.physical_id.is_some(),
            _ => true,
        }
    }

    /// What `get_resource` gives.
    pub fn reference(&self) -> Option<Value> {
        if let Some(child) = &self.child {
            return Some(Value::text(match &child.frame {
                Some(frame) => frame.input().arn(),
                None => child.id.to_string(),
            }));
        }
        if !self.is_known() {
            return None;
        }
        plugins::reference(self)
    }
}

impl Facts for Node {
    fn reference(&self, resource: &str) -> Option<Value> {
        self.rows.get(resource).and_then(Row::reference)
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Option<Value>, TemplateError> {
        let row = self.rows.get(resource).filter(|row| row.is_known());
        Ok(row.and_then(|row| plugins::attribute(row, attribute)))
    }

    fn member(&self, resource: &str) -> Option<Member<'_>> {
        let child = self.rows.get(resource)?.child.as_deref()?;
        Some(Member {
            frame: child.frame.as_ref()?,
            facts: child,
        })
    }
}
