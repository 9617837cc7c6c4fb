//! A preview says what then happens.

use std::collections::BTreeMap;

use engine::{Action, Engine, EventQuery, StackId, Status};

use crate::lab::{Lab, assert_state, caller, change, files, node, settled, want};
use crate::nodes::CLOUD;

const MEMBER: &str = "
heat_template_version: 2016-10-14
parameters: {word: {type: string, default: x}}
resources:
  inner: {type: OS::Heat::Value, properties: {value: {get_param: word}}}
outputs:
  word: {value: {get_attr: [inner, value]}}
";

/// What happened since an event: a word per resource that something was done to.
async fn happened(engine: &Engine, id: StackId, after: i64) -> BTreeMap<String, &'static str> {
    let query = EventQuery {
        nested_depth: 5,
        ascending: true,
        ..EventQuery::default()
    };
    let mut words = BTreeMap::new();
    for event in engine.events(id, query).await.unwrap() {
        let of_stack = event.physical_id.as_deref() == Some(&event.stack.to_string());
        if event.seq <= after || event.status != Status::InProgress || of_stack {
            continue;
        }
        if event.action == Action::Signal {
            continue;
        }
        let word = match (event.action, words.get(&event.resource).copied()) {
            (Action::Create, _) => "made",
            (Action::Update, _) => "updated",
            (Action::Delete, Some("made")) => "replaced",
            (Action::Delete, _) => "deleted",
            (other, _) => panic!("{other} of {}", event.resource),
        };
        words.insert(event.resource, word);
    }
    words
}

async fn check(before: &str, after: &str) {
    let lab = Lab::new(3);
    let engine = lab.engine().await;
    let member = files(&[("member.yaml", MEMBER)]);
    let mut wanted = want("s", before);
    wanted.files = member.clone();
    let stack = engine.create(&caller(), wanted).await.unwrap();
    node(&engine, stack.id).await;
    assert_state(&settled(&engine, stack.id).await, "CREATE_COMPLETE");

    let mut wanted = change(after);
    wanted.files = Some(member);
    let preview = engine
        .preview_update(&caller(), stack.id, wanted.clone())
        .await
        .unwrap();
    let mut said = BTreeMap::new();
    for (word, list) in [
        ("made", &preview.added),
        ("updated", &preview.updated),
        ("replaced", &preview.replaced),
        ("deleted", &preview.deleted),
    ] {
        said.extend(
            list.iter()
                .map(|one| (one.path.last().unwrap().clone(), word)),
        );
    }
    let last = engine.events(
        stack.id,
        EventQuery {
            nested_depth: 5,
            ..EventQuery::default()
        },
    );
    let last = last.await.unwrap().first().unwrap().seq;
    engine.update(&caller(), stack.id, wanted).await.unwrap();
    node(&engine, stack.id).await;
    assert_state(&settled(&engine, stack.id).await, "UPDATE_COMPLETE");
    assert_eq!(
        said,
        happened(&engine, stack.id, last).await,
        "from {before}\nto {after}"
    );
}

fn template(resources: &str) -> String {
    format!("heat_template_version: 2016-10-14\nresources:\n{resources}\n")
}

#[tokio::test]
async fn what_is_said_is_what_happens() {
    let value = "  v: {type: OS::Heat::Value, properties: {value: 1}}";
    let random = "  r: {type: OS::Heat::RandomString, properties: {length: 8}}";
    let chain = format!(
        "{random}\n  v: {{type: OS::Heat::Value, properties: {{value: {{get_attr: [r, value]}}}}}}\n  w: {{type: OS::Heat::Value, properties: {{value: {{get_attr: [v, value]}}}}}}"
    );
    let group = |count: usize, word: &str| {
        format!(
            "  g: {{type: OS::Heat::ResourceGroup, properties: {{count: {count}, resource_def: {{type: OS::Heat::Value, properties: {{value: '{word} %index%'}}}}}}}}"
        )
    };
    let nested = |word: &str| {
        format!(
            "  n: {{type: member.yaml, properties: {{word: {word}}}}}\n  o: {{type: OS::Heat::Value, properties: {{value: {{get_attr: [n, word]}}}}}}"
        )
    };
    let cases: Vec<(String, String)> = vec![
        (value.into(), value.into()),
        (value.into(), value.replace('1', "2")),
        (value.into(), value.replace('1', "true")),
        (
            value.into(),
            value.replace("properties", "metadata: {a: b}, properties"),
        ),
        (value.into(), value.replace("v:", "u:")),
        (random.into(), random.into()),
        (random.into(), random.replace('8', "9")),
        (random.into(), random.replace('8', "'8'")),
        (
            random.into(),
            random.replace(
                "RandomString, properties: {length: 8}",
                "Value, properties: {value: 8}",
            ),
        ),
        (chain.clone(), chain.clone()),
        (chain.clone(), chain.replace('8', "9")),
        (chain.clone(), chain.replace("[v, value]", "[r, value]")),
        (group(2, "a"), group(2, "a")),
        (group(2, "a"), group(3, "a")),
        (group(3, "a"), group(1, "b")),
        (nested("a"), nested("a")),
        (nested("a"), nested("b")),
        (nested("a"), value.into()),
    ];
    for (before, after) in cases {
        check(&template(&before), &template(&after)).await;
    }
}

#[tokio::test]
async fn what_is_said_of_a_cloud_is_what_happens() {
    for (old, new) in [
        ("default: hello", "default: bye"),
        ("image: image", "image: image-2"),
        ("name: server", "name: other"),
        ("name: net}", "name: lan}"),
        (
            "config: {greeting: {get_input: greeting}}",
            "config: {hi: {get_input: greeting}}",
        ),
        (
            "flavor: baremetal",
            "flavor: baremetal\n      config_drive: true\n      availability_zone: z",
        ),
    ] {
        check(CLOUD, &CLOUD.replace(old, new)).await;
    }
}

#[tokio::test]
async fn a_group_grows_shrinks_and_never_uses_a_removed_name_again() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let group = |count: usize, removed: &str| {
        template(&format!(
            "  g: {{type: OS::Heat::ResourceGroup, properties: {{count: {count}, removal_policies: [{removed}], resource_def: {{type: OS::Heat::Value, properties: {{value: x}}}}}}}}"
        ))
    };
    let stack = engine
        .create(&caller(), want("s", &group(3, "")))
        .await
        .unwrap();
    settled(&engine, stack.id).await;
    let names = |all: Vec<engine::Resource>| -> Vec<String> {
        all.into_iter()
            .filter(|one| one.parent_resource.is_some())
            .map(|one| one.name)
            .collect()
    };
    let steps = [
        (group(2, "{resource_list: ['1']}"), vec!["0", "2"]),
        (group(3, ""), vec!["0", "2", "3"]),
    ];
    for (template, wanted) in steps {
        engine
            .update(&caller(), stack.id, change(&template))
            .await
            .unwrap();
        assert_state(&settled(&engine, stack.id).await, "UPDATE_COMPLETE");
        assert_eq!(
            names(crate::lab::resources(&engine, stack.id).await),
            wanted
        );
    }
}
