//! Create, update, preview, delete, rollback.

use crate::lab::{
    Lab, assert_state, caller, change, create, output, settled, states, update, want,
};

const RANDOM: &str = "
heat_template_version: 2013-05-23
resources:
  r: {type: OS::Heat::RandomString, properties: {length: 8}}
  v: {type: OS::Heat::Value, properties: {value: {get_attr: [r, value]}}}
outputs:
  o: {value: {get_attr: [v, value]}}
";

#[tokio::test]
async fn a_value_is_made_and_shown() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let stack = create(&engine, RANDOM).await;
    assert_state(&stack, "CREATE_COMPLETE");
    assert_eq!(stack.reason, "Stack CREATE completed successfully");
    let value = output(&stack, "o");
    assert_eq!(value.as_text().unwrap().len(), 8);
    // What is there stays when nothing changes.
    let again = update(&engine, stack.id, RANDOM).await;
    assert_state(&again, "UPDATE_COMPLETE");
    assert_eq!(output(&again, "o"), value);
    engine.delete(stack.id).await.unwrap();
    let gone = settled(&engine, stack.id).await;
    assert_state(&gone, "DELETE_COMPLETE");
    assert!(gone.deleted.is_some());
    assert!(engine.find(Some(&caller().project), "s").await.is_err());
    assert_eq!(lab.users.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    create(&engine, RANDOM).await;
    let twice = engine
        .create(&caller(), want("s", RANDOM))
        .await
        .unwrap_err();
    assert_eq!(twice.to_string(), "The Stack (s) already exists.");
}

const FAILS: &str = "
heat_template_version: 2013-05-23
resources:
  a: {type: OS::Heat::RandomString}
  t: {type: OS::Heat::TestResource, properties: {value: x, fail: true}}
  b: {type: OS::Heat::TestResource, properties: {value: y}, depends_on: t}
";

#[tokio::test]
async fn a_failure_names_its_place_and_an_update_mends_it() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let stack = create(&engine, FAILS).await;
    assert_state(&stack, "CREATE_FAILED");
    assert_eq!(
        stack.reason,
        "Resource CREATE failed: ValueError: resources.t: Test Resource failed t"
    );
    assert_eq!(
        states(&engine, stack.id).await,
        ["a CREATE_COMPLETE", "t CREATE_FAILED", "b INIT_COMPLETE"]
    );
    let mended = update(
        &engine,
        stack.id,
        &FAILS.replace("fail: true", "fail: false"),
    )
    .await;
    assert_state(&mended, "UPDATE_COMPLETE");
    let mut all = states(&engine, stack.id).await;
    all.sort();
    assert_eq!(
        all,
        [
            "a CREATE_COMPLETE",
            "b CREATE_COMPLETE",
            "t CREATE_COMPLETE"
        ]
    );
}

#[tokio::test]
async fn a_creation_is_taken_back_when_that_was_asked() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let mut wanted = want("s", FAILS);
    wanted.disable_rollback = false;
    let stack = engine.create(&caller(), wanted).await.unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "ROLLBACK_COMPLETE");
    assert_eq!(states(&engine, stack.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_update_is_taken_back_when_that_was_asked() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let stack = create(&engine, RANDOM).await;
    let before = output(&stack, "o");
    let worse = RANDOM.replace("length: 8", "length: 9").replace(
        "outputs:",
        "  t: {type: OS::Heat::TestResource, properties: {value: {get_attr: [v, value]}, fail: true}}\noutputs:",
    );
    let mut wanted = change(&worse);
    wanted.disable_rollback = Some(false);
    engine.update(&caller(), stack.id, wanted).await.unwrap();
    let back = settled(&engine, stack.id).await;
    assert_state(&back, "ROLLBACK_COMPLETE");
    assert_eq!(output(&back, "o"), before, "the old value is there again");
    assert_eq!(states(&engine, stack.id).await.len(), 2);
}
