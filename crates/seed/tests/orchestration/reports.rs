//! A node whose hook fails: its words reach whoever looks at the stack or asks for the node.

use serde_json::{Value, json};

use super::{Lab, send};

const PASSWORD: &str = "open-sesame";

fn template() -> Value {
    json!({
        "heat_template_version": "2018-08-31",
        "resources": {
            "server": { "type": "OS::Heat::DeployedServer", "properties": {
                "name": "web-0", "software_config_transport": "POLL_TEMP_URL",
            } },
            "config": { "type": "OS::Heat::StructuredConfig", "properties": {
                "group": "os-apply-config", "config": { "db": { "password": { "get_input": "password" } } },
            } },
            "deployment": { "type": "OS::Heat::StructuredDeployment", "properties": {
                "config": { "get_resource": "config" }, "server": { "get_resource": "server" },
                "signal_transport": "CFN_SIGNAL", "input_values": { "password": PASSWORD },
            } },
        },
    })
}

/// A node that has found its metadata and its deployment.
struct Node {
    id: String,
    metadata: String,
    signal: String,
}

impl Node {
    async fn of(lab: &Lab, stack: &str) -> Node {
        let server = format!("{stack}/resources/server");
        let path = format!("{server}/metadata");
        let known = lab.until(&path, |found| {
            let list = found["metadata"]["deployments"].as_array();
            list.is_some_and(|list| !list.is_empty())
        });
        let known = known.await["metadata"].clone();
        let inputs = known["deployments"][0]["inputs"].as_array().unwrap();
        let signal = inputs
            .iter()
            .find(|input| input["name"] == "deploy_signal_id");
        let own = |url: &Value, prefix: &str| {
            url.as_str()
                .unwrap()
                .strip_prefix(prefix)
                .unwrap()
                .to_owned()
        };
        let shown = lab.get(&server).await.json();
        let id = shown["resource"]["physical_resource_id"].as_str().unwrap();
        Node {
            id: id.to_owned(),
            metadata: own(
                &known["os-collect-config"]["request"]["metadata_url"],
                "http://seed/metadata",
            ),
            signal: own(&signal.unwrap()["value"], "http://seed/cloudformation"),
        }
    }

    /// Says that a hook failed, by signal and by report; what it has is of this version.
    async fn fail(&self, lab: &Lab) -> String {
        let document = send(&lab.metadata, "GET", &self.metadata, "", &[]).await;
        let etag = document.header("etag").to_owned();
        let words = json!({
            "deploy_stdout": "", "deploy_status_code": 1,
            "deploy_stderr": format!(
                "os-refresh-config failed in phase post-configure: script /b/50-db ended with exit code 3\n\
                 connecting\naccess denied for {PASSWORD}\n"
            ),
        });
        let words = words.to_string();
        let signal = send(&lab.cloudformation, "POST", &self.signal, &words, &[]);
        assert_eq!(signal.await.status, 200);
        let report = json!({
            "generation": etag, "started": "2026-11-25T12:00:00Z", "seconds": 1.5,
            "phase": "post-configure", "script": "/b/50-db", "exit_code": 3,
            "tail": format!("connecting\naccess denied for {PASSWORD}\n"),
            "drift": ["/etc/hosts sha256:00"],
            "scripts": [
                { "phase": "configure", "script": "/b/20-x", "seconds": 0.25 },
                { "phase": "post-configure", "script": "/b/50-db", "seconds": null },
            ],
        });
        let url = format!("{}/report", self.metadata);
        let sent = send(&lab.metadata, "POST", &url, &report.to_string(), &[]).await;
        assert_eq!(sent.status, 204);
        etag.trim_matches('"').to_owned()
    }
}

#[tokio::test]
async fn what_failed_on_a_node_is_told_to_who_asks() {
    let lab = Lab::new().await;
    let body = json!({ "stack_name": "web", "template": template() });
    let made = lab.post("/stacks", body).await.json();
    let stack = format!("/stacks/web/{}", made["stack"]["id"].as_str().unwrap());
    let node = Node::of(&lab, &stack).await;
    let missing = lab.get(&format!("/node_reports/{}", node.id)).await.fault();
    assert_eq!((missing.0, missing.1.as_str()), (404, "EntityNotFound"));
    assert_eq!(
        lab.get("/node_reports").await.json(),
        json!({ "node_reports": [] })
    );
    let generation = node.fail(&lab).await;

    let failed = lab.until(&stack, |found| {
        found["stack"]["stack_status"] == "CREATE_FAILED"
    });
    let why = "Error: resources.deployment: Deployment to server failed: deploy_status_code : \
               Deployment exited with non-zero status code: 1; node web-0: os-refresh-config failed in phase \
               post-configure: script /b/50-db ended with exit code 3: connecting | access denied for ***";
    assert_eq!(
        failed.await["stack"]["stack_status_reason"],
        format!("Resource CREATE failed: {why}")
    );
    let deployment = lab
        .get(&format!("{stack}/resources/deployment"))
        .await
        .json();
    let deployment = &deployment["resource"];
    assert_eq!(deployment["resource_status_reason"], why);

    // The deployment itself stays as Heat shows it.
    let id = deployment["physical_resource_id"].as_str().unwrap();
    let shown = lab.get(&format!("/software_deployments/{id}")).await.json();
    let shown = &shown["software_deployment"];
    assert_eq!(
        shown["status_reason"],
        "deploy_status_code : Deployment exited with non-zero status code: 1"
    );
    let words = shown["output_values"]["deploy_stderr"].as_str().unwrap();
    assert!(
        words.ends_with("access denied for open-sesame\n"),
        "{words}"
    );

    let report = lab.get(&format!("/node_reports/{}", node.id)).await.json();
    let report = &report["node_report"];
    assert_eq!(report["server_name"], "web-0");
    assert_eq!(report["status"], "failed");
    assert_eq!(report["generation"], *generation);
    assert_eq!(report["wanted_generation"], *generation);
    assert_eq!(report["tail"], "connecting\naccess denied for ***\n");
    assert_eq!(report["drift"], json!(["/etc/hosts sha256:00"]));
    assert_eq!(report["scripts"][0]["seconds"], 0.25);
    assert_eq!(report["scripts"][1]["seconds"], Value::Null);
    let listed = lab.get("/node_reports").await.json();
    assert_eq!(listed["node_reports"][0]["script"], "/b/50-db");

    let stranger = lab.as_user("eve", "fedcba9876543210fedcba9876543210", "member");
    let path = format!(
        "/v1/fedcba9876543210fedcba9876543210/node_reports/{}",
        node.id
    );
    let token = [("X-Auth-Token", stranger.token.as_str())];
    let refused = stranger.raw("GET", &path, "", &token).await;
    assert_eq!(refused.status, 404, "{}", refused.text);
}
