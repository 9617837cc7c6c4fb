//! Whatever the template, opening and validating it gives a frame or an error.

use hot::{Environment, Files, Frame, NoFacts, StackInput, Template, Value};
use proptest::prelude::*;

fn input(template: Template) -> StackInput {
    StackInput {
        name: "st".into(),
        id: "5b3c6ea8-0000-4000-8000-000000000000".into(),
        project: "p".into(),
        region: "r".into(),
        template,
        files: Files::default(),
        environment: Environment::default(),
    }
}

fn try_out(template: Template) {
    let Ok(frame) = Frame::open(&input(template)) else {
        return;
    };
    let _ = frame.validate();
    let _ = frame.dependencies();
    let names: Vec<String> = frame
        .resources()
        .map(|resource| resource.name.clone())
        .collect();
    for name in names {
        if let Ok(properties) = frame.properties(&name, &NoFacts) {
            let _ = frame.member(&name, "id", &properties);
        }
    }
    for output in frame.outputs() {
        let _ = frame.output(&output.name, &NoFacts);
    }
}

/// Keys that mean something, so that deep code is reached.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "get_param",
        "get_attr",
        "get_resource",
        "get_file",
        "list_join",
        "str_replace",
        "template",
        "params",
        "repeat",
        "for_each",
        "permutations",
        "yaql",
        "expression",
        "data",
        "if",
        "map_merge",
        "map_replace",
        "keys",
        "values",
        "digest",
        "str_split",
        "make_url",
        "host",
        "port",
        "filter",
        "contains",
        "list_concat",
        "equals",
        "and",
        "or",
        "not",
        "type",
        "properties",
        "value",
        "condition",
        "depends_on",
        "metadata",
        "deletion_policy",
        "count",
        "resource_def",
        "constraints",
        "length",
        "range",
        "modulo",
        "default",
        "a",
        "b",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        "[ -~]{0,12}".prop_map(Value::Text),
        prop::sample::select(vec![
            "OS::Heat::Value",
            "OS::Heat::ResourceGroup",
            "OS::Nova::Server",
            "string",
            "json",
            "$.data.select($)",
            "a",
            "b",
            "c.yaml",
            "number",
            "comma_delimited_list",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_sections_are_read_or_refused(
        version in prop::sample::select(vec!["2013-05-23", "2016-10-14", "2021-04-16"]),
        parameters in value(),
        resources in prop::collection::vec(value(), 0..3),
        output in value(),
        condition in value(),
    ) {
        let resources = resources.into_iter().enumerate().map(|(at, properties)| {
            let kind = ["OS::Heat::Value", "OS::Heat::ResourceGroup", "OS::Nova::Server"][at % 3];
            let resource = [("type", Value::from(kind)), ("properties", properties)];
            (format!("r{at}"), Value::Map(resource.map(|(k, v)| (k.to_owned(), v)).into()))
        });
        let mut document = vec![
            ("heat_template_version", Value::from(version)),
            ("parameters", Value::Map([("a".to_owned(), parameters)].into())),
            ("resources", Value::Map(resources.collect())),
            ("outputs", Value::Map([("o".to_owned(), Value::Map([("value".to_owned(), output)].into()))].into())),
        ];
        if version != "2013-05-23" {
            document.push(("conditions", Value::Map([("a".to_owned(), condition)].into())));
        }
        let document = document.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        try_out(Template::from_value(Value::Map(document)));
    }

    #[test]
    fn any_expression_is_evaluated_or_refused(expression in "[ -~]{0,30}") {
        let yaql = Value::Map([("expression".to_owned(), Value::Text(expression))].into());
        let output = Value::Map([("value".to_owned(), Value::Map([("yaql".to_owned(), yaql)].into()))].into());
        let document = Value::Map([
            ("heat_template_version".to_owned(), Value::from("2018-08-31")),
            ("outputs".to_owned(), Value::Map([("o".to_owned(), output)].into())),
        ].into());
        try_out(Template::from_value(document));
    }
}
