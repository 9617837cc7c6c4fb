//! Wait conditions, checks, and updates that are cancelled.

use serde_json::json;

use crate::lab::{
    Lab, assert_state, caller, change, create, node, output, resources, settled, states, until,
    update, want,
};
use crate::nodes::CLOUD;

fn conditions(family: &str, count: u32) -> String {
    let (handle, words) = match family {
        "OS::Heat" => ("handle", ["count", "timeout"]),
        _ => ("Handle", ["Count", "Timeout"]),
    };
    let data = if family == "OS::Heat" { "data" } else { "Data" };
    format!(
        "
heat_template_version: 2018-08-31
resources:
  h: {{type: {family}::WaitConditionHandle}}
  w:
    type: {family}::WaitCondition
    properties: {{{handle}: {{get_resource: h}}, {}: {count}, {}: 60}}
outputs:
  url: {{value: {{get_resource: h}}}}
  data: {{value: {{get_attr: [w, {data}]}}}}
",
        words[0], words[1]
    )
}

async fn waiting(engine: &engine::Engine, id: engine::StackId) {
    until(engine, || async {
        let all = states(engine, id).await;
        all.contains(&"w CREATE_IN_PROGRESS".to_owned())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn signals_are_counted_by_id_and_shown_as_metadata() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let wanted = want("s", &conditions("OS::Heat", 2));
    let id = engine.create(&caller(), wanted).await.unwrap().id;
    waiting(&engine, id).await;
    for data in ["d1", "d2"] {
        let body = json!({"id": "one", "data": data, "reason": "because"});
        engine.signal(id, "h", Some(body)).await.unwrap();
    }
    let odd = json!({"status": "MAYBE", "id": "x"});
    engine.signal(id, "h", Some(odd)).await.unwrap();
    assert_eq!(
        engine.resource_metadata(id, "h").await.unwrap(),
        json!({"one": {"status": "SUCCESS", "reason": "because", "data": "d2"}})
    );
    let events = engine
        .events(id, engine::EventQuery::default())
        .await
        .unwrap();
    let signal = events
        .iter()
        .find(|one| one.action == engine::Action::Signal)
        .unwrap();
    assert_eq!(signal.status, engine::Status::Complete);
    assert_eq!(signal.reason, "Signal: status:SUCCESS reason:because");
    engine.signal(id, "h", None).await.unwrap();
    let stack = settled(&engine, id).await;
    assert_state(&stack, "CREATE_COMPLETE");
    assert_eq!(output(&stack, "data"), r#"{"one": "d2", "2": null}"#.into());
    // What comes later is data all the same.
    engine.signal(id, "h", None).await.unwrap();
    let stack = settled(&engine, id).await;
    assert!(output(&stack, "data").as_text().unwrap().contains("\"3\""));
}

#[tokio::test]
async fn cloudformation_signals_need_all_their_parts() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let wanted = want("s", &conditions("AWS::CloudFormation", 1));
    let id = engine.create(&caller(), wanted).await.unwrap().id;
    waiting(&engine, id).await;
    let part = json!({"Status": "SUCCESS"});
    let refused = engine.signal_wait_condition(id, "h", part).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the signal has no `Reason`"
    );
    let whole = json!({"Status": "SUCCESS", "Reason": "r", "Data": "d", "UniqueId": "a"});
    engine.signal_wait_condition(id, "h", whole).await.unwrap();
    let stack = settled(&engine, id).await;
    assert_state(&stack, "CREATE_COMPLETE");
    assert_eq!(output(&stack, "data"), r#"{"a": "d"}"#.into());
    let url = output(&stack, "url");
    let path = format!(
        "/v1/waitcondition/arn%3Aopenstack%3Aheat%3A%3A{}%3Astacks/s/{id}/resources/h?",
        caller().project
    );
    assert!(url.as_text().unwrap().contains(&path), "{url:?}");
    let all = resources(&engine, id).await;
    let condition = all.iter().find(|one| one.name == "w").unwrap();
    assert_eq!(condition.physical_id, "h");
}

#[tokio::test]
async fn too_few_signals_in_time_fail_and_say_what_came() {
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let wanted = want("s", &conditions("OS::Heat", 2));
    let id = engine.create(&caller(), wanted).await.unwrap().id;
    waiting(&engine, id).await;
    let body = json!({"reason": "half"});
    engine.signal(id, "h", Some(body)).await.unwrap();
    lab.clock.advance(61);
    let stack = settled(&engine, id).await;
    assert_eq!(
        stack.reason,
        "Resource CREATE failed: WaitConditionTimeout: resources.w: 1 of 2 received - half"
    );
}

#[tokio::test]
async fn an_update_handle_asks_for_signals_anew_in_each_update() {
    let template = conditions("AWS::CloudFormation", 1).replace(
        "AWS::CloudFormation::WaitConditionHandle",
        "OS::Heat::UpdateWaitConditionHandle",
    );
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let id = engine
        .create(&caller(), want("s", &template))
        .await
        .unwrap()
        .id;
    let whole = json!({"Status": "SUCCESS", "Reason": "r", "Data": "d", "UniqueId": "a"});
    waiting(&engine, id).await;
    engine
        .signal_wait_condition(id, "h", whole.clone())
        .await
        .unwrap();
    let first = output(&settled(&engine, id).await, "url");
    engine
        .update(&caller(), id, change(&template))
        .await
        .unwrap();
    waiting(&engine, id).await;
    engine.signal_wait_condition(id, "h", whole).await.unwrap();
    let stack = settled(&engine, id).await;
    assert_state(&stack, "UPDATE_COMPLETE");
    assert_ne!(output(&stack, "url"), first);
}

#[tokio::test]
async fn a_check_says_of_what_it_knows_nothing() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    node(&engine, stack.id).await;
    engine.act(stack.id, engine::Action::Check).await.unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CHECK_COMPLETE");
    assert_eq!(
        stack.reason,
        "Stack CHECK completed successfully. 'CHECK' not fully supported (see resources)"
    );
    let all = resources(&engine, stack.id).await;
    let reason = |name: &str| {
        let found = all.iter().find(|one| one.name == name);
        found.unwrap().reason.clone()
    };
    assert_eq!(
        reason("config"),
        "CHECK not supported for OS::Heat::StructuredConfig"
    );
    assert_eq!(reason("server"), "state changed");
}

/// A deployment reacts to creation and update alone unless it says more.
#[tokio::test]
async fn deployments_sleep_without_their_servers() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    node(&engine, stack.id).await;
    let before = output(&settled(&engine, stack.id).await, "answer");
    for action in [engine::Action::Suspend, engine::Action::Resume] {
        engine.act(stack.id, action).await.unwrap();
        let stack = settled(&engine, stack.id).await;
        assert_state(&stack, &format!("{action}_COMPLETE"));
    }
    let server = resources(&engine, stack.id).await;
    let server = server.iter().find(|one| one.name == "server").unwrap();
    let document = engine.metadata(&server.physical_id).await.unwrap().document;
    assert_eq!(document["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(output(&settled(&engine, stack.id).await, "answer"), before);
}

#[tokio::test]
async fn an_update_that_waits_can_be_cancelled() {
    let template = |value: &str, seconds: u32| {
        format!(
            "
heat_template_version: 2018-08-31
resources:
  t: {{type: OS::Heat::TestResource, properties: {{value: '{value}', wait_secs: {seconds}}}}}
outputs:
  o: {{value: {{get_attr: [t, output]}}}}
"
        )
    };
    let lab = Lab::new(0);
    let engine = lab.engine().await;
    let id = create(&engine, &template("1", 0)).await.id;
    engine
        .update(&caller(), id, change(&template("2", 60)))
        .await
        .unwrap();
    until(&engine, || async {
        let all = states(&engine, id).await;
        (all == ["t UPDATE_IN_PROGRESS"]).then_some(())
    })
    .await;
    engine.cancel_update(id, true).await.unwrap();
    let stack = settled(&engine, id).await;
    assert_state(&stack, "ROLLBACK_COMPLETE");
    assert_eq!(output(&stack, "o"), "1".into());
    let again = update(&engine, id, &template("3", 0)).await;
    assert_state(&again, "UPDATE_COMPLETE");
}
