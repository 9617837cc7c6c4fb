//! Servers, their networks, their documents, their signals.

use cloud::{CloudError, Kind};
use cloud_sim::Fault;
use engine::Report;
use serde_json::json;

use crate::lab::{
    Lab, assert_state, caller, change, create, node, output, resources, settled, state, states,
    until, want,
};

pub(crate) const CLOUD: &str = "
heat_template_version: 2016-10-14
parameters:
  greeting: {type: string, default: hello}
resources:
  net: {type: OS::Neutron::Net, properties: {name: net}}
  subnet: {type: OS::Neutron::Subnet, properties: {name: subnet, network: {get_resource: net}, cidr: 10.1.0.0/24}}
  port: {type: OS::Neutron::Port, properties: {name: port, network: {get_resource: net}}}
  server:
    type: OS::Nova::Server
    properties:
      name: server
      image: image
      flavor: baremetal
      networks: [{port: {get_resource: port}}]
      user_data_format: SOFTWARE_CONFIG
  config:
    type: OS::Heat::StructuredConfig
    properties:
      group: os-apply-config
      config: {greeting: {get_input: greeting}}
  deployment:
    type: OS::Heat::StructuredDeployment
    properties:
      name: greet
      server: {get_resource: server}
      config: {get_resource: config}
      input_values: {greeting: {get_param: greeting}}
      signal_transport: CFN_SIGNAL
outputs:
  address: {value: {get_attr: [server, networks, net, 0]}}
  answer: {value: {get_attr: [deployment, deploy_stdout]}}
";

#[tokio::test]
async fn a_server_comes_up_and_is_told_what_to_be() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    let server = until(&engine, || async {
        let all = resources(&engine, stack.id).await;
        let deployment = all
            .iter()
            .any(|one| one.name == "deployment" && one.reason.contains("signal"));
        deployment.then(|| all.into_iter().find(|one| one.name == "server").unwrap())
    })
    .await;
    let got = engine.metadata(&server.physical_id).await.unwrap();
    let deployments = got.document["deployments"].as_array().unwrap();
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0]["name"], "greet");
    assert_eq!(deployments[0]["config"], json!({"greeting": "hello"}));
    let inputs = deployments[0]["inputs"].as_array().unwrap();
    let names: Vec<&str> = inputs
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "greeting",
            "deploy_server_id",
            "deploy_action",
            "deploy_stack_id",
            "deploy_resource_name",
            "deploy_signal_transport",
            "deploy_signal_id",
            "deploy_signal_verb"
        ]
    );
    // The URL in the config drive leads to the same document, and its secret is the right one.
    let url = got.document["os-collect-config"]["request"]["metadata_url"]
        .as_str()
        .unwrap();
    let mut parts = url.rsplit('/');
    let (secret, key) = (parts.next().unwrap(), parts.next().unwrap());
    assert!(engine.may_read_metadata(key, secret).await.unwrap());
    assert!(!engine.may_read_metadata(key, "other").await.unwrap());
    assert_eq!(engine.metadata(key).await.unwrap(), got);

    let body = json!({"deploy_stdout": "hi", "deploy_status_code": 0});
    engine
        .signal(stack.id, "deployment", Some(body))
        .await
        .unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CREATE_COMPLETE");
    assert_eq!(output(&stack, "address"), "10.1.0.2".into());
    assert_eq!(output(&stack, "answer"), "hi".into());
}

#[tokio::test]
async fn a_changed_parameter_reaches_who_waits_and_no_one_else() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    node(&engine, stack.id).await;
    let all = resources(&engine, stack.id).await;
    let server = all
        .iter()
        .find(|one| one.name == "server")
        .unwrap()
        .physical_id
        .clone();
    let first = engine.metadata(&server).await.unwrap();
    let calls = lab.sim.calls();

    let waiter = {
        let (engine, server, etag) = (engine.clone(), server.clone(), first.etag.clone());
        tokio::spawn(async move {
            engine
                .wait_metadata(&server, &etag, jiff::Timestamp::MAX)
                .await
                .unwrap()
        })
    };
    let mut wanted = change(CLOUD);
    wanted.existing = true;
    wanted
        .environment
        .parameters
        .insert("greeting".into(), "bye".into());
    engine.update(&caller(), stack.id, wanted).await.unwrap();
    let second = waiter.await.unwrap().unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(
        second.document["deployments"][0]["config"],
        json!({"greeting": "bye"})
    );
    assert_eq!(second.document["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(
        lab.sim.calls(),
        calls,
        "the cloud has nothing to do with it"
    );
    node(&engine, stack.id).await;
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "UPDATE_COMPLETE");

    // Nothing changes: the wait ends with nothing at its time.
    let now = engine::Clock::now(lab.clock.as_ref());
    let none = engine
        .wait_metadata(&server, &second.etag, now)
        .await
        .unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn a_failing_script_fails_the_stack_with_its_words() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    until(&engine, || async {
        let all = resources(&engine, stack.id).await;
        all.iter()
            .any(|one| one.name == "deployment" && one.reason.contains("signal"))
            .then_some(())
    })
    .await;
    let body = json!({"deploy_status_code": 1, "deploy_stderr": "mounting\nno disk\n"});
    engine
        .signal(stack.id, "deployment", Some(body))
        .await
        .unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CREATE_FAILED");
    assert_eq!(
        stack.reason,
        "Resource CREATE failed: Error: resources.deployment: Deployment to server failed: \
         deploy_status_code : Deployment exited with non-zero status code: 1; node server: mounting | no disk"
    );
}

#[tokio::test]
async fn the_newest_report_of_a_node_is_kept_as_long_as_the_node() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine
        .create(
            &caller(),
            want(
                "s",
                &CLOUD.replace("greeting: {get_input", "password: {get_input"),
            ),
        )
        .await
        .unwrap();
    node(&engine, stack.id).await;
    let all = resources(&engine, stack.id).await;
    let server = all.into_iter().find(|one| one.name == "server").unwrap();
    for exit_code in [0, 3] {
        let report = Report {
            generation: "7f".to_owned(),
            exit_code,
            script: Some("/b/50-x".to_owned()),
            tail: "hello is no password\n".to_owned(),
            ..Report::default()
        };
        engine.report(&server.physical_id, report).await.unwrap();
    }
    let reports = engine.node_reports(None).await.unwrap();
    assert_eq!(reports.len(), 1);
    let kept = &reports[0];
    assert_eq!(
        (kept.server_name.as_str(), kept.stack_name.as_str()),
        ("server", "s")
    );
    assert_eq!(kept.report.exit_code, 3);
    // It is under that name in the document of the node.
    assert_eq!(kept.report.tail, "*** is no password\n");
    assert!(engine.node_reports(Some("other")).await.unwrap().is_empty());
    engine.delete(stack.id).await.unwrap();
    settled(&engine, stack.id).await;
    let left = lab
        .store
        .read(|tx| tx.query("SELECT server FROM engine_report", &[]));
    assert!(left.await.unwrap().is_empty());
}

#[tokio::test]
async fn no_fitting_node_says_why_per_node() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let two = "
heat_template_version: 2016-10-14
resources:
  a: {type: OS::Nova::Server, properties: {name: a, image: image, flavor: baremetal, networks: [{network: ctlplane}]}}
  b: {type: OS::Nova::Server, properties: {name: b, image: image, flavor: baremetal, networks: [{network: ctlplane}]}, depends_on: a}
";
    let stack = create(&engine, two).await;
    assert_state(&stack, "CREATE_FAILED");
    assert!(
        stack.reason.contains(
            "ResourceInError: resources.b: no node fits the server `b`: node-0: is used by s-a-"
        ),
        "{}",
        stack.reason
    );
}

#[tokio::test]
async fn a_cloud_that_does_not_answer_is_asked_again() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    lab.sim.inject(Fault::FailAt {
        call: 1,
        error: CloudError::Unreachable {
            why: "cable pulled".into(),
        },
        after: true,
    });
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    until(&engine, || async {
        let all = resources(&engine, stack.id).await;
        all.iter()
            .any(|one| one.reason.contains("tried 1 times"))
            .then_some(())
    })
    .await;
    lab.clock.advance(2);
    node(&engine, stack.id).await;
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CREATE_COMPLETE");
    assert_eq!(
        lab.sim.inventory(),
        ["network net", "port port", "server server", "subnet subnet"]
    );
}

#[tokio::test]
async fn a_machine_that_never_boots_fails_at_the_deadline_and_can_be_updated() {
    let lab = Lab::new(2);
    let engine = lab.engine().await;
    lab.sim.inject(Fault::Hang {
        kind: Kind::Server,
        name: "server".into(),
    });
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    until(&engine, || async {
        let all = resources(&engine, stack.id).await;
        all.iter()
            .any(|one| one.reason == "is building")
            .then_some(())
    })
    .await;
    lab.clock.advance(3601);
    let late = settled(&engine, stack.id).await;
    assert_state(&late, "CREATE_FAILED");
    lab.sim.heal();
    engine
        .update(&caller(), stack.id, change(CLOUD))
        .await
        .unwrap();
    node(&engine, stack.id).await;
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "UPDATE_COMPLETE");
    assert_eq!(
        lab.sim.inventory(),
        ["network net", "port port", "server server", "subnet subnet"]
    );
}

#[tokio::test]
async fn a_slow_cloud_is_waited_for() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    lab.sim.inject(Fault::Slow {
        kind: Kind::Server,
        asks: 5,
    });
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    node(&engine, stack.id).await;
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CREATE_COMPLETE");
}

#[tokio::test]
async fn an_update_takes_over_an_update() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", CLOUD)).await.unwrap();
    until(&engine, || async {
        let all = resources(&engine, stack.id).await;
        all.iter()
            .any(|one| one.name == "deployment" && one.reason.contains("signal"))
            .then_some(())
    })
    .await;
    // The first deployment is never answered; the one that takes its place is.
    let mut wanted = change(CLOUD);
    wanted
        .environment
        .parameters
        .insert("greeting".into(), "bye".into());
    engine.update(&caller(), stack.id, wanted).await.unwrap();
    node(&engine, stack.id).await;
    let stack = settled(&engine, stack.id).await;
    assert_eq!(
        state(&stack),
        "UPDATE_COMPLETE",
        "{:?}",
        states(&engine, stack.id).await
    );
    let all = resources(&engine, stack.id).await;
    let server = all.iter().find(|one| one.name == "server").unwrap();
    let got = engine.metadata(&server.physical_id).await.unwrap();
    assert_eq!(
        got.document["deployments"][0]["config"],
        json!({"greeting": "bye"})
    );
    assert_eq!(got.document["deployments"].as_array().unwrap().len(), 1);
}
