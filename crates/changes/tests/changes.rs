//! What an update would change, one line per fact.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use changes::{Recorded, StackChanges, Wanted, changes};
use hot::{Environment, Facts, Files, Frame, Map, StackInput, Template, TemplateError, Value};

/// Everything was made, with ids that are the names.
struct Made;

impl Facts for Made {
    fn reference(&self, resource: &str) -> Option<Value> {
        Some(Value::Text(format!("id-{resource}")))
    }

    fn attribute(&self, _resource: &str, attribute: &str) -> Result<Option<Value>, TemplateError> {
        Ok(Some(Value::text(attribute)))
    }
}

fn open(resources: &str) -> Frame {
    let text = format!("heat_template_version: wallaby\nresources: {{{resources}}}");
    Frame::open(&StackInput {
        name: "st".into(),
        id: "5b3c6ea8-0000-4000-8000-000000000000".into(),
        project: "p".into(),
        region: "r".into(),
        template: Template::from_text(&text).unwrap(),
        files: Files::default(),
        environment: Environment::default(),
    })
    .unwrap()
}

/// Writes a frame down as if all of it had been made.
fn record(frame: &Frame, place: &[String], recorded: &mut Vec<Recorded>) {
    for name in frame.creation_order().unwrap() {
        let wanted = Wanted::of(frame, &name, &Made).unwrap();
        let mut path = place.to_vec();
        path.push(name.clone());
        let inside = frame.member(&name, "nested", &wanted.properties).unwrap();
        recorded.push(Recorded {
            path: path.clone(),
            type_name: wanted.type_name,
            plugin: wanted.plugin,
            reference: Made.reference(&name),
            attributes: Map::new(),
            given_properties: wanted.given_properties,
            properties: wanted.properties,
            metadata: wanted.metadata,
            definition: wanted.definition,
            failed: false,
            nested_id: inside.as_ref().map(|_| "nested".to_owned()),
            removed: Vec::new(),
        });
        if let Some(inside) = inside {
            record(&inside, &path, recorded);
        }
    }
}

fn compare(old: &str, new: &str) -> StackChanges {
    let mut recorded = Vec::new();
    record(&open(old), &[], &mut recorded);
    changes(&recorded, &open(new)).unwrap()
}

#[track_caller]
fn check(old: &str, new: &str, expect: &str) {
    let found = compare(old, new);
    let lists = [
        ("+", &found.added),
        ("~", &found.updated),
        ("!", &found.replaced),
        ("-", &found.deleted),
        ("=", &found.unchanged),
    ];
    let words = lists.iter().flat_map(|(mark, list)| {
        list.iter()
            .map(move |change| format!("{mark}{}", change.path.join("/")))
    });
    assert_eq!(words.collect::<Vec<_>>().join(" "), expect);
}

const TEST: &str = "type: OS::Heat::TestResource";

#[test]
fn what_is_the_same_is_left_alone() {
    check(
        "a: {type: OS::Heat::Value, properties: {value: 1}}",
        "a: {type: OS::Heat::Value, properties: {value: true}}",
        "=a",
    );
    check(
        &format!("a: {{{TEST}, description: x}}"),
        &format!("a: {{{TEST}}}"),
        "=a",
    );
}

#[test]
fn what_is_written_otherwise_is_updated() {
    check(
        &format!("a: {{{TEST}}}"),
        &format!("a: {{{TEST}, properties: {{value: test_string}}}}"),
        "~a",
    );
    check(
        "a: {type: OS::Heat::RandomString, properties: {length: 8}}",
        "a: {type: OS::Heat::RandomString, properties: {length: '8'}}",
        "~a",
    );
    check(
        &format!("a: {{{TEST}}}"),
        &format!("a: {{{TEST}, metadata: {{k: 1}}}}"),
        "~a",
    );
}

#[test]
fn what_can_not_be_updated_is_replaced() {
    check(
        "a: {type: OS::Heat::RandomString, properties: {length: 8}}",
        "a: {type: OS::Heat::RandomString, properties: {length: 9}}",
        "!a",
    );
    check(&format!("a: {{{TEST}}}"), "a: {type: OS::Heat::None}", "!a");
    let server = |flavor: &str, policy: &str| {
        format!(
            "v: {{type: OS::Nova::Server, properties: {{flavor: {flavor}, flavor_update_policy: {policy}}}}}"
        )
    };
    check(&server("f", "RESIZE"), &server("g", "RESIZE"), "~v");
    check(&server("f", "REPLACE"), &server("g", "REPLACE"), "!v");
}

#[test]
fn dependents_of_a_replaced_resource_change_with_it() {
    let stack = |salt: &str| {
        format!(
            "a: {{type: OS::Heat::RandomString, properties: {{salt: {salt}}}}}, b: {{{TEST}, properties: {{value: {{get_resource: a}}}}}}, c: {{{TEST}}}"
        )
    };
    check(&stack("x"), &stack("x"), "=a =c =b");
    check(&stack("x"), &stack("y"), "~b !a =c");
}

#[test]
fn members_of_a_group_are_compared_one_by_one() {
    let group = |count: usize| {
        format!(
            "g: {{type: OS::Heat::ResourceGroup, properties: {{count: {count}, resource_def: {{{TEST}}}}}}}"
        )
    };
    check(&group(1), &group(2), "+g/1 ~g =g/0");
    check(&group(2), &group(1), "~g -g/1 =g/0");
    check(&group(1), "", "-g -g/0");
}

#[test]
fn an_update_without_another_property_says_what_differs() {
    let found = compare(
        &format!("a: {{{TEST}}}, b: {{{TEST}}}"),
        &format!("a: {{{TEST}}}, b: {{{TEST}, depends_on: a, metadata: {{k: 1}}}}"),
    );
    assert_eq!(
        found.updated[0].because.as_deref(),
        Some("`metadata` differs, `depends_on` differs")
    );
}

#[test]
fn changes_print_the_property_that_forces_a_replacement() {
    let found = compare(
        "a: {type: OS::Heat::RandomString, properties: {length: 8}}",
        "a: {type: OS::Heat::RandomString, properties: {length: 9}}",
    );
    assert_eq!(
        found.to_string(),
        "! a (OS::Heat::RandomString): `length` can not be updated\n    length: 8 -> 9 (forces the replacement)\n0 added, 0 updated, 1 replaced, 0 deleted, 0 unchanged"
    );
}
