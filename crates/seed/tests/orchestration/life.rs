//! A stack from its making to its end, and its nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Lab, PROJECT, hot, send, value};

impl Lab {
    /// Asks until the answer is right.
    pub(super) async fn until(&self, path: &str, right: impl Fn(&Value) -> bool) -> Value {
        // Nothing here takes long; what does not come is a defect, not slowness.
        let found = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let found = self.get(path).await.json();
                if right(&found) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("{path} stays {}", self.get(path).await.text),
        }
    }

    /// Makes a stack and waits until it is there; gives its path.
    async fn stack(&self, name: &str, template: Value) -> String {
        let body = json!({ "stack_name": name, "template": template });
        let made = self.post("/stacks", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.json()["stack"]["id"].as_str().unwrap().to_owned();
        let path = format!("/stacks/{name}/{id}");
        self.until(&path, |found| {
            found["stack"]["stack_status"] == "CREATE_COMPLETE"
        })
        .await;
        path
    }
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn a_stack_is_made_shown_changed_and_deleted() {
    let lab = Lab::new().await;
    let template = json!({
        "heat_template_version": "2018-08-31",
        "parameters": { "p": { "type": "string", "default": "one" } },
        "resources": { "v": value(json!({ "get_param": "p" })) },
        "outputs": { "o": { "value": { "get_attr": ["v", "value"] } } },
    });
    let path = lab.stack("life", template).await;
    let shown = lab.get(&path).await.json()["stack"].clone();
    let wanted = BTreeSet::from([
        "id",
        "stack_name",
        "links",
        "creation_time",
        "updated_time",
        "deletion_time",
        "notification_topics",
        "parameters",
        "description",
        "template_description",
        "capabilities",
        "disable_rollback",
        "timeout_mins",
        "stack_owner",
        "parent",
        "stack_user_project_id",
        "tags",
        "stack_status",
        "stack_status_reason",
        "outputs",
    ]);
    assert_eq!(keys(&shown), wanted);
    let href = format!("http://seed/orchestration/v1/{PROJECT}{path}");
    assert_eq!(shown["links"], json!([{ "rel": "self", "href": href }]));
    assert_eq!(shown["stack_owner"], "demo");
    assert_eq!(shown["outputs"][0]["output_value"], "one");
    let found = lab.get("/stacks/life?x=1").await;
    assert_eq!(
        (found.status, found.header("location")),
        (302, &*format!("{href}?x=1"))
    );
    let again = json!({ "stack_name": "life", "template": hot(json!({})) });
    let words = "The Stack (life) already exists.".to_owned();
    let fault = lab.post("/stacks", again).await.fault();
    assert_eq!(fault, (409, "StackExists".to_owned(), words));

    let change = json!({ "parameters": { "p": "two" } });
    let preview = lab
        .ask("PATCH", &format!("{path}/preview"), Some(change.clone()))
        .await;
    let changes = &preview.json()["resource_changes"];
    assert_eq!(
        changes["updated"][0]["resource_name"], "v",
        "{}",
        preview.text
    );
    let update = lab.ask("PATCH", &path, Some(change)).await;
    assert_eq!(
        (update.status, &update.json()["title"]),
        (202, &json!("Accepted"))
    );
    lab.until(&path, |found| {
        found["stack"]["outputs"][0]["output_value"] == "two"
    })
    .await;
    lab.until(&path, |found| {
        found["stack"]["stack_status"] == "UPDATE_COMPLETE"
    })
    .await;

    assert_eq!(lab.ask("DELETE", &path, None).await.status, 204);
    lab.until(&path, |found| {
        found["stack"]["stack_status"] == "DELETE_COMPLETE"
    })
    .await;
    assert_eq!(lab.ask("DELETE", &path, None).await.status, 404);
    assert_eq!(lab.get("/stacks/life").await.status, 404);
    // Its name is free from the moment in which its end is seen.
    let again = json!({ "stack_name": "life", "template": hot(json!({})) });
    assert_eq!(lab.post("/stacks", again).await.status, 201);
}

#[tokio::test]
async fn resources_and_events_have_links_that_lead_to_them() {
    let lab = Lab::new().await;
    let group = json!({ "type": "OS::Heat::ResourceGroup", "properties": {
        "count": 2, "resource_def": { "type": "OS::Heat::RandomString" },
    } });
    let path = lab.stack("links", hot(json!({ "g": group }))).await;
    let below = |href: &Value| {
        let href = href.as_str().unwrap().to_owned();
        let base = format!("http://seed/orchestration/v1/{PROJECT}");
        href.strip_prefix(&base).unwrap().to_owned()
    };
    let list = lab
        .get(&format!("{path}/resources?nested_depth=1"))
        .await
        .json();
    let list = list["resources"].as_array().unwrap().clone();
    assert_eq!(list.len(), 3);
    for resource in &list {
        let own = below(&resource["links"][0]["href"]);
        let shown = lab.get(&own).await;
        assert_eq!(shown.status, 200, "{own}: {}", shown.text);
        assert_eq!(
            shown.json()["resource"]["resource_name"],
            resource["resource_name"]
        );
    }
    let group = list.iter().find(|one| one["resource_name"] == "g").unwrap();
    let nested = lab.get(&below(&group["links"][2]["href"])).await.json();
    assert_eq!(
        nested["stack"]["parent"],
        lab.get(&path).await.json()["stack"]["id"]
    );
    let events = lab
        .get(&format!("{path}/events?nested_depth=5"))
        .await
        .json();
    let events = events["events"].as_array().unwrap().clone();
    assert!(events.len() >= 8, "{events:?}");
    for event in events.iter().filter(|event| event["resource_name"] == "0") {
        let own = below(&event["links"][0]["href"]);
        assert_eq!(
            lab.get(&own).await.json()["event"]["id"],
            event["id"],
            "{own}"
        );
    }
    let odd = lab.get(&format!("{path}/resources?zz=1")).await.fault();
    assert_eq!(odd.2, "Invalid filter parameters ['zz']");
}

fn node() -> Value {
    json!({
        "heat_template_version": "2018-08-31",
        "parameters": { "word": { "type": "string", "default": "one" } },
        "resources": {
            "server": { "type": "OS::Heat::DeployedServer", "properties": {
                "software_config_transport": "POLL_TEMP_URL",
            } },
            "config": { "type": "OS::Heat::SoftwareConfig", "properties": {
                "group": "script", "config": "true", "inputs": [{ "name": "word" }],
            } },
            "deployment": { "type": "OS::Heat::SoftwareDeployment", "properties": {
                "config": { "get_resource": "config" }, "server": { "get_resource": "server" },
                "signal_transport": "NO_SIGNAL",
                "input_values": { "word": { "get_param": "word" } },
            } },
        },
        "outputs": { "c": { "value": { "get_attr": ["server", "os_collect_config"] } } },
    })
}

#[tokio::test]
async fn a_node_is_told_what_changed_as_soon_as_it_did() {
    let lab = Lab::new().await;
    let path = lab.stack("node", node()).await;
    let shown = lab.get(&path).await.json();
    let url = shown["stack"]["outputs"][0]["output_value"]["request"]["metadata_url"].clone();
    let url = url
        .as_str()
        .unwrap()
        .strip_prefix("http://seed/metadata")
        .unwrap()
        .to_owned();
    let first = send(&lab.metadata, "GET", &url, "", &[]).await;
    assert_eq!(first.status, 200);
    let word = |text: &str| {
        let document: Value = serde_json::from_str(text).unwrap();
        let inputs = document["deployments"][0]["inputs"]
            .as_array()
            .unwrap()
            .clone();
        inputs.iter().find(|input| input["name"] == "word").unwrap()["value"].clone()
    };
    assert_eq!(word(&first.text), "one");
    let etag = first.header("etag").to_owned();
    let known = [("If-None-Match", etag.as_str()), ("Prefer", "wait=60")];
    let change = async {
        let body = json!({ "parameters": { "word": "two" } });
        lab.ask("PATCH", &path, Some(body)).await
    };
    let (mut told, changed) = tokio::join!(send(&lab.metadata, "GET", &url, "", &known), change);
    assert_eq!(changed.status, 202);
    // A document may change in more than one step; the node asks again with the tag it has.
    while word(&told.text) != "two" {
        let etag = told.header("etag").to_owned();
        let known = [("If-None-Match", etag.as_str()), ("Prefer", "wait=60")];
        told = send(&lab.metadata, "GET", &url, "", &known).await;
        assert_eq!(told.status, 200);
    }
    let wrong = format!("{url}x");
    assert_eq!(
        send(&lab.metadata, "GET", &wrong, "", &[]).await.status,
        404
    );
    let report = json!({ "generation": etag, "phase": "post-configure", "exit_code": 0 });
    let report = report.to_string();
    let to = format!("{url}/report");
    assert_eq!(
        send(&lab.metadata, "POST", &to, &report, &[]).await.status,
        204
    );
}

#[tokio::test]
async fn a_signed_address_takes_signals_and_nothing_else() {
    let lab = Lab::new().await;
    let mut template = node();
    template["resources"]["deployment"]["properties"]["signal_transport"] = json!("CFN_SIGNAL");
    let body = json!({ "stack_name": "signed", "template": template });
    let made = lab.post("/stacks", body).await.json();
    let path = format!("/stacks/signed/{}", made["stack"]["id"].as_str().unwrap());
    let server = format!("{path}/resources/server/metadata");
    let known = lab.until(&server, |found| {
        found["metadata"]["deployments"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    });
    let known = known.await;
    let inputs = known["metadata"]["deployments"][0]["inputs"]
        .as_array()
        .unwrap()
        .clone();
    let signal = inputs
        .iter()
        .find(|input| input["name"] == "deploy_signal_id")
        .unwrap();
    let signal = signal["value"].as_str().unwrap();
    let signal = signal
        .strip_prefix("http://seed/cloudformation")
        .unwrap()
        .to_owned();
    let outputs = json!({ "deploy_status_code": 0 }).to_string();
    let post = async |url: &str| send(&lab.cloudformation, "POST", url, &outputs, &[]).await;
    let tampered = post(&signal.replace("Signature=", "Signature=x")).await;
    assert_eq!(tampered.status, 403, "{}", tampered.text);
    assert!(
        tampered.text.starts_with("<ErrorResponse><Error>"),
        "{}",
        tampered.text
    );
    let other = post(&signal.replace("resources/deployment", "resources/server")).await;
    assert_eq!(other.status, 403, "{}", other.text);
    let put = send(&lab.cloudformation, "PUT", &signal, &outputs, &[]).await;
    assert_eq!(put.status, 405);
    let right = post(&signal).await;
    assert_eq!((right.status, right.text.as_str()), (200, ""));
    lab.until(&path, |found| {
        found["stack"]["stack_status"] == "CREATE_COMPLETE"
    })
    .await;
}
