//! Types, versions, functions, validation.

use serde_json::{Value, json};

use crate::{Lab, hot, value};

fn names(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|one| one[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn types_are_found_by_the_beginning_of_their_names() {
    let lab = Lab::new().await;
    let found = lab
        .get("/resource_types?name=OS::Heat::.*String")
        .await
        .json();
    assert_eq!(found["resource_types"], json!(["OS::Heat::RandomString"]));
    let found = lab.get("/resource_types?name=Heat").await.json();
    assert_eq!(found["resource_types"], json!([]));
    assert_eq!(lab.get("/resource_types?name=(").await.status, 400);
    let shown = lab
        .get("/resource_types/OS::Heat::RandomString")
        .await
        .json();
    assert_eq!(shown["properties"]["length"]["default"], 32);
    let words = "The Resource Type (OS::No::Such) could not be found.";
    for tail in ["", "/template"] {
        let fault = lab
            .get(&format!("/resource_types/OS::No::Such{tail}"))
            .await
            .fault();
        assert_eq!(fault, (404, "EntityNotFound".to_owned(), words.to_owned()));
    }
    let template = lab
        .get("/resource_types/OS::Heat::RandomString/template")
        .await
        .json();
    assert_eq!(template["HeatTemplateFormatVersion"], "2012-12-12");
}

#[tokio::test]
async fn versions_have_functions() {
    let lab = Lab::new().await;
    let versions = lab.get("/template_versions").await.json();
    let list = versions["template_versions"].as_array().unwrap();
    let rocky = list
        .iter()
        .find(|one| one["version"] == "heat_template_version.2018-08-31");
    assert_eq!(
        rocky.unwrap()["aliases"],
        json!(["heat_template_version.rocky"])
    );
    let path = "/template_versions/heat_template_version.2018-08-31/functions";
    let plain = names(
        &lab.get(path).await.json()["template_functions"],
        "functions",
    );
    assert!(plain.contains(&"yaql".to_owned()) && !plain.contains(&"equals".to_owned()));
    let all = format!("{path}?with_condition_func=true");
    let all = names(
        &lab.get(&all).await.json()["template_functions"],
        "functions",
    );
    assert!(all.contains(&"equals".to_owned()));
    assert_eq!(lab.get("/template_versions/zz/functions").await.status, 404);
}

#[tokio::test]
async fn validation_tells_what_a_template_wants() {
    let lab = Lab::new().await;
    let template = json!({
        "heat_template_version": "2018-08-31",
        "description": "D",
        "parameters": {
            "s": { "type": "string", "constraints": [{ "length": { "min": 1, "max": 9 } }] },
            "q": { "type": "number", "default": 2, "hidden": true, "label": "L" },
        },
        "resources": { "v": value(json!({ "get_param": "s" })) },
    });
    let body = json!({ "template": template, "parameters": { "q": 3 } });
    let found = lab.post("/validate", body).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let found = found.json();
    assert_eq!(found["Description"], "D");
    assert_eq!(
        found["Parameters"]["s"],
        json!({
            "Type": "String", "Description": "", "NoEcho": "false", "Label": "s",
            "MinLength": 1, "MaxLength": 9,
        })
    );
    assert_eq!(found["Parameters"]["q"]["Value"], 3);
    assert_eq!(found["Parameters"]["q"]["NoEcho"], "true");
    assert_eq!(found["Environment"]["parameters"], json!({ "q": 3 }));
    let wrong = json!({ "template": hot(json!({ "v": { "type": "OS::No::Such" } })) });
    let fault = lab.post("/validate", wrong).await.fault();
    assert_eq!(fault.1, "HTTPBadRequest");
}

#[tokio::test]
async fn validation_looks_into_nested_templates() {
    let lab = Lab::new().await;
    let inner = json!({
        "heat_template_version": "2018-08-31",
        "description": "inner",
        "parameters": { "k": { "type": "string", "default": "z" } },
        "resources": { "m": value(json!({ "get_param": "k" })) },
    });
    let body = json!({
        "template": hot(json!({ "n": { "type": "n.yaml" } })),
        "files": { "n.yaml": inner.to_string() },
    });
    let found = lab.post("/validate?show_nested=true", body).await.json();
    let nested = &found["NestedParameters"]["n"];
    assert_eq!(
        (&nested["Type"], &nested["Description"]),
        (&json!("n.yaml"), &json!("inner"))
    );
    assert_eq!(nested["Parameters"]["k"]["Default"], "z");
}
