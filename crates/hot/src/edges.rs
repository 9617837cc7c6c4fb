//! Which resource requires which: said, implied by functions, implied by types.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::error::{Kind, TemplateError};
use crate::expr::{Call, Expr, Outcome};
use crate::facts::NoFacts;
use crate::frame::Frame;
use crate::functions::attribute_args;
use crate::scope::Scope;
use crate::value::Value;

/// The resource that a call refers to, if it refers to one.
fn referred(call: &Call, scope: &Scope<'_>) -> Outcome<Option<Value>> {
    match call.function.name {
        "get_resource" => call.args.resolve(scope).map(Some),
        "get_attr" | "Fn::GetAtt" => attribute_args(call, scope).map(|(name, _, _)| Some(name)),
        "Ref" => {
            let name = call.args.resolve(scope)?;
            let is_parameter = name.as_text().is_some_and(|name| scope.has_parameter(name));
            Ok((!is_parameter).then_some(name))
        }
        _ => Ok(None),
    }
}

/// The resources that a value refers to; an unknown one is an error that names `place`.
pub(crate) fn references(expr: &Expr, scope: &Scope<'_>, place: &str) -> Outcome<Vec<String>> {
    let mut calls = Vec::new();
    expr.visit_calls(&mut |call| calls.push(call));
    let mut names = Vec::new();
    for call in calls {
        if let Some(name) = referred(call, scope)? {
            scope.check_resource(&name, place)?;
            names.push(name.python_str());
        }
    }
    Ok(names)
}

/// All edges, sorted.
pub(crate) fn edges(frame: &Frame) -> Outcome<Vec<(String, String)>> {
    let scope = frame.scope(&NoFacts);
    let body = &frame.inner.body;
    let mut edges = BTreeSet::new();
    for (name, parts) in &body.resources {
        for required in &parts.depends_on {
            if body.disabled.contains(required) {
                continue;
            }
            scope.check_resource(&Value::text(required), name)?;
            edges.insert((name.clone(), required.clone()));
        }
        for (part, word) in [
            (&parts.properties, "Properties"),
            (&parts.metadata, "Metadata"),
        ] {
            match part {
                Expr::Map(pairs) => {
                    for (key, value) in pairs {
                        let place = format!("{name}.{word}.{key}");
                        for required in references(value, &scope, &place)? {
                            edges.insert((name.clone(), required));
                        }
                    }
                }
                other => {
                    for required in references(other, &scope, &format!("{name}.{word}"))? {
                        edges.insert((name.clone(), required));
                    }
                }
            }
        }
    }
    crate::implied::add(frame, &mut edges);
    Ok(edges.into_iter().collect())
}

/// An order in which each comes after what it requires; the template's order where there is a choice.
pub(crate) fn order(frame: &Frame, edges: &[(String, String)]) -> Outcome<Vec<String>> {
    let names: Vec<&str> = frame
        .inner
        .body
        .resources
        .keys()
        .map(String::as_str)
        .collect();
    let mut missing: HashMap<&str, usize> = names.iter().map(|name| (*name, 0)).collect();
    let mut dependents: HashMap<&str, Vec<&str>> = HashMap::new();
    for (requirer, required) in edges {
        *missing.entry(requirer).or_default() += 1;
        dependents.entry(required).or_default().push(requirer);
    }
    let mut ready: VecDeque<&str> = names
        .iter()
        .copied()
        .filter(|name| missing[name] == 0)
        .collect();
    let mut order = Vec::with_capacity(names.len());
    while let Some(name) = ready.pop_front() {
        order.push(name.to_owned());
        for dependent in dependents.get(name).into_iter().flatten() {
            if let Some(count) = missing.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.push_back(dependent);
                }
            }
        }
    }
    if order.len() == names.len() {
        return Ok(order);
    }
    let done: HashSet<&str> = order.iter().map(String::as_str).collect();
    let stuck = edges
        .iter()
        .filter(|(a, b)| !done.contains(a.as_str()) && !done.contains(b.as_str()))
        .map(|(a, b)| format!("{} -> {}", shown(frame, a), shown(frame, b)))
        .collect::<Vec<_>>();
    Err(TemplateError::new(
        Kind::CircularDependencyException,
        format!("Circular Dependency Found: {{{}}}", stuck.join(", ")),
    ))
}

fn shown(frame: &Frame, name: &str) -> String {
    let kind = frame
        .resource(name)
        .map_or("", |resource| resource.type_name.as_str());
    format!("{} \"{name}\"", kind.rsplit("::").next().unwrap_or(kind))
}
