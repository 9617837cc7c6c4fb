//! Builds nodes from parser events: aliases, merge keys, duplicate keys, explicit tags.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use crate::scalar::{resolve_plain, spell_float};
use crate::{Node, Span, Yaml, YamlError};

/// Deeper nesting is refused; PyYAML ends with a recursion error near the same depth, and the
/// limit keeps dropping a node from overflowing the stack.
const MAX_DEPTH: usize = 256;
/// Aliases multiply; no real template comes near this number of nodes.
const MAX_NODES: usize = 5_000_000;

/// Reads a text that holds one document. An empty text is null.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        end: Span::default(),
    };
    loader.stream()
}

struct Loader<'text> {
    parser: Parser<'text, StrInput<'text>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    end: Span,
}

impl<'text> Loader<'text> {
    fn next(&mut self) -> Result<(Event<'text>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = position(&span);
                self.end = span;
                Ok((event, span))
            }
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, self.end)),
        }
    }

    fn stream(&mut self) -> Result<Node, YamlError> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentStart(_) if document.is_some() => {
                    return fail("expected a single document, but found another one", span);
                }
                Event::DocumentStart(_) => document = Some(self.node(0)?),
                Event::StreamEnd => break,
                _ => {}
            }
        }
        Ok(document.unwrap_or(Node {
            value: Yaml::Null,
            span: Span {
                line: 1,
                column: 1,
                start: 0,
                end: 0,
            },
        }))
    }

    fn node(&mut self, depth: usize) -> Result<Node, YamlError> {
        let (event, span) = self.next()?;
        self.build(event, span, depth)
    }

    fn build(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, YamlError> {
        if depth > MAX_DEPTH {
            return fail("nested too deeply", span);
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return fail("too many nodes (aliases of aliases?)", span);
        }
        match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return fail("found a recursive or undefined alias", span);
                };
                self.nodes += size;
                if self.nodes > MAX_NODES {
                    return fail("too many nodes (aliases of aliases?)", span);
                }
                Ok(node)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag.as_deref(), span)?;
                Ok(self.anchored(anchor, Node { value, span }, 1))
            }
            Event::SequenceStart(anchor, tag) => {
                let before = self.nodes;
                let mut node = self.sequence(span, depth)?;
                match tag.as_deref().map(tag_name).as_deref() {
                    None | Some("!") | Some("seq") => {}
                    Some("pairs") | Some("omap") => {}
                    Some(name) => return unknown_tag(name, span),
                }
                node.span.end = self.end.end;
                Ok(self.anchored(anchor, node, self.nodes - before + 1))
            }
            Event::MappingStart(anchor, tag) => {
                let before = self.nodes;
                let mut node = self.mapping(span, depth)?;
                match tag.as_deref().map(tag_name).as_deref() {
                    None | Some("!") | Some("map") | Some("set") => {}
                    Some(name) => return unknown_tag(name, span),
                }
                node.span.end = self.end.end;
                Ok(self.anchored(anchor, node, self.nodes - before + 1))
            }
            _ => fail("expected a node", span),
        }
    }

    fn anchored(&mut self, anchor: usize, node: Node, size: usize) -> Node {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        node
    }

    fn sequence(&mut self, span: Span, depth: usize) -> Result<Node, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node {
                    value: Yaml::Seq(items),
                    span,
                });
            }
            items.push(self.build(event, at, depth + 1)?);
        }
    }

    fn mapping(&mut self, span: Span, depth: usize) -> Result<Node, YamlError> {
        let mut merged: Vec<(Node, Node)> = Vec::new();
        let mut own: Vec<(Node, Node)> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = matches!(
                &event,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text.as_ref() == "<<"
            );
            let key = self.build(event, at, depth + 1)?;
            let value = self.node(depth + 1)?;
            if is_merge {
                // A later merge key stands before an earlier one, as in PyYAML.
                let mut pairs = merge_pairs(value)?;
                pairs.append(&mut merged);
                merged = pairs;
                continue;
            }
            if matches!(key.value, Yaml::Seq(_) | Yaml::Map(_)) {
                return fail("found unhashable key", key.span);
            }
            own.push((key, value));
        }
        merged.append(&mut own);
        Ok(Node {
            value: Yaml::Map(last_wins(merged)),
            span,
        })
    }
}

/// What a merge key brings in: the pairs of one mapping, or of several with the first winning.
fn merge_pairs(value: Node) -> Result<Vec<(Node, Node)>, YamlError> {
    let span = value.span;
    match value.value {
        Yaml::Map(pairs) => Ok(pairs),
        Yaml::Seq(items) => {
            let mut all = Vec::new();
            for item in items.into_iter().rev() {
                match item.value {
                    Yaml::Map(pairs) => all.extend(pairs),
                    _ => return fail("expected a mapping for merging", item.span),
                }
            }
            Ok(all)
        }
        _ => fail("expected a mapping or list of mappings for merging", span),
    }
}

/// Keeps the place of a key's first occurrence and the value of its last, as a Python dict does.
fn last_wins(pairs: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
    let mut kept: Vec<(Node, Node)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let place = places.entry(identity(&key.value));
        match place {
            std::collections::hash_map::Entry::Occupied(at) => {
                let old = &mut kept[*at.get()];
                old.0.span = key.span;
                old.1 = value;
            }
            std::collections::hash_map::Entry::Vacant(at) => {
                at.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

/// Keys that Python holds for equal have the same identity: `1`, `1.0` and `true` are one key.
fn identity(key: &Yaml) -> String {
    match key {
        Yaml::Text(text) => format!("t{text}"),
        Yaml::Bool(value) => format!("n{}", spell_float(f64::from(u8::from(*value)))),
        Yaml::Int(number) if number.abs() < 1 << 53 => format!("n{}", spell_float(*number as f64)),
        Yaml::Int(number) => format!("n{number}"),
        Yaml::Float(number) => format!("n{}", spell_float(*number)),
        Yaml::Null | Yaml::Seq(_) | Yaml::Map(_) => "0".to_owned(),
    }
}

fn scalar(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<Yaml, YamlError> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => resolve_plain(&text),
            _ => Yaml::Text(text.into_owned()),
        });
    };
    match tag_name(tag).as_str() {
        "!" | "str" | "timestamp" | "binary" => Ok(Yaml::Text(text.into_owned())),
        "null" => Ok(Yaml::Null),
        "bool" => match text.to_lowercase().as_str() {
            "yes" | "true" | "on" => Ok(Yaml::Bool(true)),
            "no" | "false" | "off" => Ok(Yaml::Bool(false)),
            _ => fail("not a boolean", span),
        },
        "int" => match resolve_plain(&text) {
            Yaml::Int(number) => Ok(Yaml::Int(number)),
            _ => fail("not a whole number", span),
        },
        "float" => match resolve_plain(&text) {
            Yaml::Float(number) => Ok(Yaml::Float(number)),
            Yaml::Int(number) => Ok(Yaml::Float(number as f64)),
            _ => match text.parse() {
                Ok(number) => Ok(Yaml::Float(number)),
                Err(_) => fail("not a number", span),
            },
        },
        name => unknown_tag(name, span),
    }
}

fn tag_name(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() {
        return tag.suffix.clone();
    }
    format!("{}{}", tag.handle, tag.suffix)
}

fn unknown_tag<T>(name: &str, span: Span) -> Result<T, YamlError> {
    fail(
        &format!("could not determine a constructor for the tag `{name}`"),
        span,
    )
}

fn fail<T>(message: &str, span: Span) -> Result<T, YamlError> {
    Err(YamlError {
        message: message.to_owned(),
        span,
    })
}

fn position(span: &saphyr_parser::Span) -> Span {
    Span {
        line: span.start.line(),
        column: span.start.col() + 1,
        start: span.start.index(),
        end: span.end.index(),
    }
}

fn scan_error(error: &ScanError) -> YamlError {
    let mark = error.marker();
    YamlError {
        message: error.info().to_owned(),
        span: Span {
            line: mark.line(),
            column: mark.col() + 1,
            start: mark.index(),
            end: mark.index(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(node: &Node) -> String {
        match &node.value {
            Yaml::Null => "null".into(),
            Yaml::Bool(value) => value.to_string(),
            Yaml::Int(number) => number.to_string(),
            Yaml::Float(number) => spell_float(*number),
            Yaml::Text(text) => format!("{text:?}"),
            Yaml::Seq(items) => {
                format!(
                    "[{}]",
                    items.iter().map(spell).collect::<Vec<_>>().join(", ")
                )
            }
            Yaml::Map(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(k, v)| format!("{}: {}", spell(k), spell(v)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(spell(&parse(text).unwrap()), expect);
    }

    #[track_caller]
    fn refuse(text: &str, expect: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn values_and_their_order_are_kept() {
        check(
            "b: 1\na: [x, '1', 2013-05-23]\n",
            r#"{"b": 1, "a": ["x", "1", "2013-05-23"]}"#,
        );
        check("", "null");
        check("t: !!str 5\nf: !!float 1", r#"{"t": "5", "f": 1.0}"#);
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        check("a: 1\nb: 2\na: 3\n", r#"{"a": 3, "b": 2}"#);
        check("{1: a, true: b}", r#"{1: "b"}"#);
    }

    #[test]
    fn merge_keys_bring_in_what_is_not_there() {
        check(
            "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}",
            r#"{"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}"#,
        );
        check(
            "- &x {a: 1}\n- &y {a: 2, b: 2}\n- {<<: [*x, *y]}",
            r#"[{"a": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 2}]"#,
        );
    }

    #[test]
    fn what_pyyaml_refuses_is_refused() {
        refuse("a: !foo 1", "`!foo`");
        refuse("a: 1\n---\nb: 2\n", "single document");
        refuse("a: [1", "line");
        refuse("a: &a [*a]", "alias");
        refuse("{[1]: 2}", "unhashable");
        refuse(&"[".repeat(5000), "limit");
    }

    #[test]
    fn every_node_knows_its_place() {
        let root = parse("a:\n  b: x\n").unwrap();
        let node = root.get("a").unwrap().get("b").unwrap();
        assert_eq!((node.span.line, node.span.column), (2, 6));
    }
}
