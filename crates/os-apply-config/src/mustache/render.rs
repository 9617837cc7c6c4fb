//! Writes a parsed template out over a stack of contexts.

use super::Partials;
use super::parse::{MustacheError, Node, parse};
use metadata::Value;

/// Deeper nests of partials are taken for endless ones; Python gives up near this depth, too.
const MAX_PARTIALS: usize = 150;

pub(super) struct Renderer<'d> {
    stack: Vec<&'d Value>,
    partials: Partials<'d>,
    depth: usize,
    out: String,
}

impl<'d> Renderer<'d> {
    pub(super) fn new(document: &'d Value, partials: Partials<'d>) -> Self {
        Renderer {
            stack: vec![document],
            partials,
            depth: 0,
            out: String::new(),
        }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn template(&mut self, nodes: &[Node]) -> Result<(), MustacheError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Value(name) => self.value(name),
                Node::Section(name, inner) => self.section(name, inner)?,
                Node::Inverted(name, inner) => {
                    if !self.find(name).is_some_and(Value::is_truthy) {
                        self.template(inner)?;
                    }
                }
                Node::Partial { name, indent } => self.partial(name, indent)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, name: &str) {
        match self.find(name) {
            None | Some(Value::Null) => {}
            Some(Value::Text(text)) => self.out.push_str(text),
            Some(value) => self.out.push_str(&value.to_json()),
        }
    }

    fn section(&mut self, name: &str, inner: &[Node]) -> Result<(), MustacheError> {
        let Some(value) = self.find(name).filter(|value| value.is_truthy()) else {
            return Ok(());
        };
        let items = value.as_list().unwrap_or(std::slice::from_ref(value));
        for item in items {
            self.stack.push(item);
            let result = self.template(inner);
            self.stack.pop();
            result?;
        }
        Ok(())
    }

    fn partial(&mut self, name: &str, indent: &str) -> Result<(), MustacheError> {
        let Some(text) = (self.partials)(name) else {
            return Ok(());
        };
        if self.depth == MAX_PARTIALS {
            return Err(MustacheError::TooDeep {
                name: name.to_owned(),
            });
        }
        self.depth += 1;
        let result = self.template(&parse(&indented(&text, indent))?);
        self.depth -= 1;
        result
    }

    /// The first part of a name is looked for in all contexts, innermost first; the rest only inside what was found.
    fn find(&self, name: &str) -> Option<&'d Value> {
        if name == "." {
            return self.stack.last().copied();
        }
        let mut parts = name.split('.');
        let first = parts.next()?;
        let mut value = self
            .stack
            .iter()
            .rev()
            .find_map(|context| context.get(first))?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }
}

/// Puts `indent` before each line that is not empty.
fn indented(text: &str, indent: &str) -> String {
    if indent.is_empty() {
        return text.to_owned();
    }
    text.split_inclusive('\n')
        .map(|line| {
            if line == "\n" {
                line.to_owned()
            } else {
                format!("{indent}{line}")
            }
        })
        .collect()
}
