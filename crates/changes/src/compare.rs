//! Compares a whole recorded stack with the frame that is wanted, nested frames included.

use std::collections::HashMap;

use hot::{Facts, Frame, GroupRecord, Map, Member, TemplateError, Value, unknown};
use indexmap::IndexMap;

use crate::decide::{Fate, Wanted, decide};
use crate::{Change, Recorded, StackChanges};

/// What will be known of a resource when its dependents are looked at.
struct Seen<'a> {
    recorded: Option<&'a Recorded>,
    fate: Option<Fate>,
    plugin: String,
    properties: Map,
    inside: Option<Inside<'a>>,
}

/// A nested frame and what will be known inside it.
struct Inside<'a> {
    frame: Frame,
    seen: Level<'a>,
}

/// The resources of one frame that were looked at so far.
#[derive(Default)]
struct Level<'a> {
    seen: IndexMap<String, Seen<'a>>,
}

/// The property that an attribute of a small type is.
fn property_behind(plugin: &str, attribute: &str) -> Option<&'static str> {
    match (plugin, attribute) {
        ("OS::Heat::Value", "value") | ("OS::Heat::TestResource", "output") => Some("value"),
        ("OS::Heat::SoftwareConfig" | "OS::Heat::StructuredConfig", "config") => Some("config"),
        _ => None,
    }
}

impl Facts for Level<'_> {
    fn reference(&self, resource: &str) -> Option<Value> {
        let seen = self.seen.get(resource)?;
        match (seen.fate, seen.recorded) {
            (Some(Fate::Unchanged | Fate::Updated), Some(recorded)) => recorded.reference.clone(),
            _ => Some(unknown(resource, "id")),
        }
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Option<Value>, TemplateError> {
        let Some(seen) = self.seen.get(resource) else {
            return Ok(None);
        };
        if let Some(property) = property_behind(&seen.plugin, attribute) {
            return Ok(seen.properties.get(property).cloned());
        }
        let Some(recorded) = seen.recorded.filter(|_| seen.fate != Some(Fate::Replaced)) else {
            return Ok(Some(unknown(resource, attribute)));
        };
        // A property that changes takes the attribute of its name along.
        let (old, new) = (
            recorded.properties.get(attribute),
            seen.properties.get(attribute),
        );
        match (old, new) {
            (Some(old), Some(new)) if !old.equals(new) => Ok(Some(new.clone())),
            _ => Ok(recorded.attributes.get(attribute).cloned()),
        }
    }

    fn member(&self, resource: &str) -> Option<Member<'_>> {
        let inside = self.seen.get(resource)?.inside.as_ref()?;
        Some(Member {
            frame: &inside.frame,
            facts: &inside.seen,
        })
    }
}

struct Comparison<'a> {
    /// Recorded resources by the path of what they are in, then by name.
    recorded: HashMap<&'a [String], IndexMap<&'a str, &'a Recorded>>,
    changes: StackChanges,
}

/// Compares what is recorded with what is wanted.
///
/// The frame must have the name and id of the recorded stack, or everything that uses them differs.
pub fn changes(recorded: &[Recorded], wanted: &Frame) -> Result<StackChanges, TemplateError> {
    let mut by_place: HashMap<&[String], IndexMap<&str, &Recorded>> = HashMap::new();
    for resource in recorded {
        if let Some((name, place)) = resource.path.split_last() {
            by_place.entry(place).or_default().insert(name, resource);
        }
    }
    let mut comparison = Comparison {
        recorded: by_place,
        changes: StackChanges::default(),
    };
    comparison.frame(wanted, &[], false)?;
    Ok(comparison.changes)
}

impl<'a> Comparison<'a> {
    /// Compares one frame; `anew`: what it is in is replaced, so all of it is.
    fn frame(
        &mut self,
        frame: &Frame,
        place: &[String],
        anew: bool,
    ) -> Result<Level<'a>, TemplateError> {
        let mut level = Level::default();
        let there = self.recorded.get(place).cloned().unwrap_or_default();
        for name in frame.creation_order()? {
            let seen = self.resource(frame, &name, place, &level, anew)?;
            level.seen.insert(name, seen);
        }
        for (name, recorded) in there {
            if frame.resource(name).is_none() {
                self.delete(recorded);
            }
        }
        Ok(level)
    }

    /// Says that a resource and all inside it is deleted.
    fn delete(&mut self, recorded: &Recorded) {
        self.changes.deleted.push(Change {
            path: recorded.path.clone(),
            type_name: recorded.type_name.clone(),
            ..Change::default()
        });
        self.delete_inside(&recorded.path);
    }

    fn delete_inside(&mut self, path: &[String]) {
        for inner in self
            .recorded
            .get(path)
            .cloned()
            .unwrap_or_default()
            .into_values()
        {
            self.delete(inner);
        }
    }

    fn resource(
        &mut self,
        frame: &Frame,
        name: &str,
        place: &[String],
        level: &Level<'a>,
        anew: bool,
    ) -> Result<Seen<'a>, TemplateError> {
        let mut path = place.to_vec();
        path.push(name.to_owned());
        let recorded = self
            .recorded
            .get(place)
            .and_then(|there| there.get(name))
            .copied();
        let wanted = self.wanted(frame, name, level, recorded)?;
        let mut change = Change {
            path: path.clone(),
            type_name: wanted.type_name.clone(),
            ..Change::default()
        };
        let fate = recorded.map(|recorded| {
            let verdict = decide(recorded, &wanted);
            change.properties = verdict.properties;
            change.because = verdict.because;
            if anew {
                change.because = Some("what it is in is replaced".to_owned());
                return Fate::Replaced;
            }
            verdict.fate
        });
        match fate {
            None => self.changes.added.push(change),
            Some(Fate::Updated) => self.changes.updated.push(change),
            Some(Fate::Replaced) => self.changes.replaced.push(change),
            Some(Fate::Unchanged) => self.changes.unchanged.push(change),
        }
        let inside = if wanted.has_members {
            let anew = fate == Some(Fate::Replaced);
            self.inside(frame, name, &path, &wanted, recorded, anew)?
        } else {
            self.delete_inside(&path);
            None
        };
        Ok(Seen {
            recorded,
            fate,
            plugin: wanted.plugin,
            properties: wanted.properties,
            inside,
        })
    }

    /// What is wanted. Where a function can not work with what is not known yet, the recorded
    /// properties differ in any case, so what is wanted is left unknown.
    fn wanted(
        &self,
        frame: &Frame,
        name: &str,
        level: &Level<'a>,
        recorded: Option<&Recorded>,
    ) -> Result<Wanted, TemplateError> {
        let error = match Wanted::of(frame, name, level) {
            Ok(wanted) => return Ok(wanted),
            Err(error) => error,
        };
        let depends = frame
            .dependencies()?
            .into_iter()
            .any(|(requirer, required)| {
                let fate = level.seen.get(&required).and_then(|seen| seen.fate);
                requirer == name && matches!(fate, None | Some(Fate::Replaced | Fate::Updated))
            });
        if !depends {
            return Err(error);
        }
        let Some(resource) = frame.resource(name) else {
            return Err(error);
        };
        let mut given_properties = Map::new();
        given_properties.insert(name.to_owned(), unknown(name, "properties"));
        Ok(Wanted {
            type_name: resource.type_name.clone(),
            plugin: resource
                .schema()
                .map_or(String::new(), |schema| schema.name.to_owned()),
            has_members: resource.has_members(),
            given_properties,
            properties: recorded
                .map(|recorded| recorded.properties.clone())
                .unwrap_or_default(),
            metadata: recorded
                .map(|recorded| recorded.metadata.clone())
                .unwrap_or_default(),
            definition: Map::new(),
        })
    }

    fn inside(
        &mut self,
        frame: &Frame,
        name: &str,
        path: &[String],
        wanted: &Wanted,
        recorded: Option<&'a Recorded>,
        anew: bool,
    ) -> Result<Option<Inside<'a>>, TemplateError> {
        let kept = recorded.filter(|_| !anew);
        let there = self.recorded.get(path);
        let members = there.into_iter().flatten().map(|(name, member)| {
            let reference = member
                .reference
                .as_ref()
                .map(Value::python_str)
                .unwrap_or_default();
            ((*name).to_owned(), reference)
        });
        let record = GroupRecord {
            exists: kept.is_some(),
            removed: kept
                .map(|recorded| recorded.removed.clone())
                .unwrap_or_default(),
            members: members.collect(),
        };
        let id = kept.and_then(|recorded| recorded.nested_id.clone());
        let id = id.unwrap_or_else(|| unknown(name, "id").python_str());
        let Some(inner) = frame.member_after(name, &id, &wanted.properties, &record)? else {
            return Ok(None);
        };
        let seen = self.frame(&inner, path, anew)?;
        Ok(Some(Inside { frame: inner, seen }))
    }
}
