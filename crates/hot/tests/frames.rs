//! What a frame makes of a template, one line per fact.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hot::{Environment, Files, Frame, NoFacts, StackInput, Template, TemplateError};

fn open(template: &str, environment: &str) -> Result<Frame, TemplateError> {
    let files = [(
        "child.yaml".to_owned(),
        "heat_template_version: 2018-08-31\nparameters: {q: {type: string}}\nresources: {v: {type: OS::Heat::Value, properties: {nope: 1}}}".to_owned(),
    )];
    Frame::open(&StackInput {
        name: "st".into(),
        id: "5b3c6ea8-0000-4000-8000-000000000000".into(),
        project: "p".into(),
        region: "r".into(),
        template: Template::from_text(&format!("heat_template_version: wallaby\n{template}"))?,
        files: Files::new(files.into_iter().collect()),
        environment: Environment::from_text(environment)?,
    })
}

#[track_caller]
fn check_output(template: &str, environment: &str, expect: &str) {
    let frame = open(template, environment).unwrap();
    let shown = match frame.output("o", &NoFacts) {
        Ok(value) => value.python_json(false),
        Err(error) => format!("{}: {}", error.kind, error.message),
    };
    assert_eq!(shown, expect, "{template}");
}

#[track_caller]
fn check_error(template: &str, environment: &str, expect: &str) {
    let result = open(template, environment).and_then(|frame| frame.validate());
    let error = result.expect_err(template);
    assert_eq!(format!("{}: {error}", error.kind), expect, "{template}");
}

#[test]
fn functions_give_what_heat_gives() {
    check_output(
        "outputs: {o: {value: {str_replace: {template: ab, params: {a: b, b: a}}}}}",
        "",
        "\"ba\"",
    );
    check_output(
        "outputs: {o: {value: {list_join: [',', [a, null, {b: 1}]]}}}",
        "",
        r#""a,,{\"b\": 1}""#,
    );
    check_output(
        "outputs: {o: {value: [1, {if: [false, 2]}, 3]}}",
        "",
        "[1, 3]",
    );
    check_output(
        "outputs: {o: {value: {get_param: [p, zz]}}}\nparameters: {p: {type: json, default: {}}}",
        "",
        "\"\"",
    );
    check_output(
        "outputs: {o: {value: {get_param: p, x: 1}}}",
        "",
        r#"{"get_param": "p", "x": 1}"#,
    );
    check_output(
        "outputs: {o: {value: {get_param: p}}}\nparameters: {p: {type: number, default: 1}}",
        "parameters: {p: '5.0'}",
        "5.0",
    );
    check_output(
        "outputs: {o: {value: {digest: [md5, '☃']}}}",
        "",
        "UnicodeEncodeError: 'latin-1' codec can't encode character '\\u2603' in position 0: ordinal not in range(256)",
    );
}

#[test]
fn an_error_names_kind_place_and_line() {
    check_error(
        "resources:\n  a:\n    type: OS::Heat::Value\n    properties: {vlaue: 1}",
        "",
        "StackValidationFailed: Property error: resources.a.properties: Unknown Property vlaue (line 5, column 5)",
    );
    check_error(
        "parameters: {p: {type: string}}",
        "",
        "UserParameterMissing: The Parameter (p) was not provided.",
    );
    check_error(
        "",
        "parameters: {q: 1}",
        "UnknownUserParameter: The Parameter (q) was not defined in template.",
    );
    check_error(
        "resources: {a: {type: OS::Heat::Value, properties: {value: {get_resource: zz}}}}",
        "",
        "InvalidTemplateReference: The specified reference \"zz\" (in a.Properties.value) is incorrect.",
    );
    check_error(
        "resources:\n  c: {type: child.yaml, properties: {q: x}}",
        "",
        "StackValidationFailed: Property error: resources.c<child.yaml>.resources.v.properties: Unknown Property nope (line 3, column 3)",
    );
}

#[test]
fn advice_names_what_was_probably_meant() {
    let result = open("resources: {a: {type: OS::Nova::Sevrer}}", "").and_then(|f| f.validate());
    assert_eq!(
        result.unwrap_err().hint().as_deref(),
        Some("did you mean `OS::Nova::Server`?")
    );
}

#[test]
fn a_thousand_resources_are_ordered_by_what_they_require() {
    let mut template = String::from("resources:\n  r0: {type: OS::Heat::RandomString}\n");
    for at in 1..1000 {
        template.push_str(&format!(
            "  r{at}: {{type: OS::Heat::TestResource, properties: {{value: {{get_attr: [r{}, {}]}}}}}}\n",
            at - 1,
            if at == 1 { "value" } else { "output" },
        ));
    }
    let frame = open(&template, "").unwrap();
    frame.validate().unwrap();
    let order = frame.creation_order().unwrap();
    assert_eq!(order.len(), 1000);
    assert_eq!((order[0].as_str(), order[999].as_str()), ("r0", "r999"));
}
