//! Snapshots, restore, abandoning and taking over.

use hot::Value;
use serde_json::json;

use crate::lab::{
    Lab, assert_state, caller, create, node, output, resources, settled, states, update, want,
};
use crate::nodes::CLOUD;

const SMALL: &str = "
heat_template_version: 2018-08-31
parameters:
  secret: {type: string, default: s3, hidden: true}
resources:
  r: {type: OS::Heat::RandomString, properties: {length: 8}}
  v: {type: OS::Heat::Value, properties: {value: one}}
outputs:
  r: {value: {get_attr: [r, value]}}
  v: {value: {get_attr: [v, value]}}
";

#[tokio::test]
async fn a_snapshot_is_a_document_that_the_stack_goes_back_to() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let mut wanted = want("s", SMALL);
    wanted.tags = vec!["t".to_owned()];
    wanted
        .environment
        .parameters
        .insert("secret".to_owned(), Value::text("hush"));
    let stack = engine.create(&caller(), wanted).await.unwrap();
    let stack = settled(&engine, stack.id).await;
    let first = output(&stack, "r");
    let name = Some("first".to_owned());
    let begun = engine.snapshot(stack.id, name).await.unwrap();
    assert_eq!(
        (begun.status.as_str(), &begun.data),
        ("IN_PROGRESS", &json!(null))
    );
    assert_state(&settled(&engine, stack.id).await, "SNAPSHOT_COMPLETE");
    let all = engine.snapshots(stack.id).await.unwrap();
    let [one] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(one.reason, "Stack SNAPSHOT completed successfully");
    assert_eq!(one.data["tags"], json!(["t"]));
    assert_eq!(
        one.data["resources"]["r"]["resource_data"],
        json!({"value": first.as_text()})
    );
    assert_eq!(one.data["environment"]["parameters"]["secret"], "******");

    // The random text is another one by now, and still the old one comes back.
    let other = SMALL
        .replace("length: 8", "length: 9")
        .replace("one}", "two}");
    let changed = update(&engine, stack.id, &other).await;
    assert_ne!(output(&changed, "r"), first);
    // A killed engine goes on with a restore as with all else.
    engine.restore(stack.id, &one.id.to_string()).await.unwrap();
    drop(engine);
    let engine = lab.engine().await;
    let back = settled(&engine, stack.id).await;
    assert_state(&back, "RESTORE_COMPLETE");
    assert_eq!(output(&back, "r"), first);
    assert_eq!(output(&back, "v"), "one".into());

    let id = one.id.to_string();
    engine.delete_snapshot(stack.id, &id).await.unwrap();
    assert_eq!(engine.snapshots(stack.id).await.unwrap(), []);
    let gone = engine.restore(stack.id, &id).await.unwrap_err();
    assert_eq!(
        gone.to_string(),
        format!("The Snapshot ({id}) for Stack (s) could not be found.")
    );
}

const SLOW: &str = "
heat_template_version: 2018-08-31
resources:
  t: {type: OS::Heat::TestResource, properties: {value: a, wait_secs: 60}}
";

#[tokio::test]
async fn a_busy_stack_is_not_written_down() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", SLOW)).await.unwrap();
    let refused = engine.snapshot(stack.id, None).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Stack s already has an action (CREATE) in progress."
    );
    assert!(engine.abandon(stack.id).await.is_err());
}

#[tokio::test]
async fn nested_stacks_are_part_of_the_document_and_snapshots_go_with_the_stack() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let group = "
heat_template_version: 2018-08-31
resources:
  g:
    type: OS::Heat::ResourceGroup
    properties: {count: 2, resource_def: {type: OS::Heat::RandomString}}
outputs:
  all: {value: {get_attr: [g, value]}}
";
    let stack = create(&engine, group).await;
    engine.snapshot(stack.id, None).await.unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "SNAPSHOT_COMPLETE");
    let one = engine.snapshots(stack.id).await.unwrap().remove(0);
    let members = &one.data["resources"]["g"]["resources"];
    assert!(
        members["1"]["resource_data"]["value"].is_string(),
        "{}",
        one.data
    );

    let before = output(&stack, "all");
    let document = engine.abandon(stack.id).await.unwrap();
    engine.settled(stack.id).await;
    assert!(engine.snapshots(stack.id).await.is_err());
    let mut wanted = want("again", group);
    wanted.adopt = Some(document);
    let again = engine.create(&caller(), wanted).await.unwrap();
    let again = settled(&engine, again.id).await;
    assert_state(&again, "ADOPT_COMPLETE");
    assert_eq!(output(&again, "all"), before);
}

#[tokio::test]
async fn what_an_abandoned_stack_made_is_taken_over_as_it_is() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    node(&engine, stack.id).await;
    let before = ids(&engine, stack.id).await;
    let document = engine.abandon(stack.id).await.unwrap();
    engine.settled(stack.id).await;
    assert!(engine.find(None, "s").await.is_err());

    let mut wanted = want("again", CLOUD);
    wanted.adopt = Some(document);
    let again = engine.create(&caller(), wanted).await.unwrap();
    let again = settled(&engine, again.id).await;
    assert_state(&again, "ADOPT_COMPLETE");
    assert_eq!(ids(&engine, again.id).await, before);
    assert_eq!(output(&again, "address"), "10.1.0.2".into());
    // The node holds the address that it was given by the stack before.
    let server = &before.iter().find(|(name, _)| name == "server").unwrap().1;
    let document = engine.metadata(server).await.unwrap().document;
    let url = document["os-collect-config"]["request"]["metadata_url"].clone();
    let mut parts = url.as_str().unwrap().rsplit('/');
    let (secret, key) = (parts.next().unwrap(), parts.next().unwrap());
    assert!(engine.may_read_metadata(key, secret).await.unwrap());

    engine.delete(again.id).await.unwrap();
    assert_state(&settled(&engine, again.id).await, "DELETE_COMPLETE");
    assert_eq!(lab.users.names(), Vec::<String>::new());
}

async fn ids(engine: &engine::Engine, id: engine::StackId) -> Vec<(String, String)> {
    let all = resources(engine, id).await;
    let mut ids: Vec<(String, String)> = all
        .into_iter()
        .map(|one| (one.name, one.physical_id))
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn what_has_no_id_cannot_be_taken_over() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let mut wanted = want("s", SMALL);
    wanted.adopt = Some(json!({"resources": {"v": {"resource_id": "x"}}}));
    let stack = engine.create(&caller(), wanted).await.unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "ADOPT_FAILED");
    assert_eq!(
        stack.reason,
        "Resource ADOPT failed: Exception: resources.r: Resource ID was not provided."
    );
    let states = states(&engine, stack.id).await;
    assert!(
        states.contains(&"v ADOPT_COMPLETE".to_owned()),
        "{states:?}"
    );
}
