//! `tripleo stack`.

use super::{Seed, in_order};

const ONE: &str = "\
heat_template_version: 2018-08-31
description: colours
parameters:
  colour: {type: string, default: red}
  password: {type: string, default: hunter-two, hidden: true}
resources:
  paint:
    type: OS::Heat::TestResource
    properties: {value: {get_param: colour}}
  copy:
    type: OS::Heat::Value
    properties: {value: {get_attr: [paint, output]}}
  word:
    type: OS::Heat::RandomString
    properties: {length: 12}
outputs:
  shown: {value: {get_attr: [copy, value]}}
  word: {value: {get_resource: word}}
";

/// The lines of a stack that begin so.
fn line(shown: &str, start: &str) -> String {
    let mut lines = shown.lines().filter_map(|line| line.strip_prefix(start));
    lines
        .next()
        .unwrap_or_else(|| panic!("no line `{start}` in:\n{shown}"))
        .to_owned()
}

#[test]
fn a_stack_is_created_looked_at_changed_and_deleted() {
    let seed = Seed::start();
    seed.file("one.yaml", ONE);
    assert_eq!(
        seed.well("stack preview one -t one.yaml"),
        "+ paint (OS::Heat::TestResource)\n+ copy (OS::Heat::Value)\n+ word (OS::Heat::RandomString)\n\
         3 added, 0 updated, 0 replaced, 0 deleted, 0 unchanged\n"
    );
    // A preview makes nothing.
    assert_eq!(
        seed.well("stack list"),
        "id  name  status  created  updated\n"
    );

    assert_eq!(seed.well("stack create one -t one.yaml"), "");
    let shown = seed.well("stack show one");
    assert_eq!(line(&shown, "stack_name: "), "one");
    assert_eq!(line(&shown, "description: "), "colours");
    assert_eq!(line(&shown, "stack_status: "), "CREATE_COMPLETE");
    assert_eq!(line(&shown, "parameter colour: "), "red");
    assert_eq!(line(&shown, "output shown: "), "red");
    assert!(!shown.contains("hunter-two"), "{shown}");
    let word = line(&shown, "output word: ");
    let id = line(&shown, "id: ");
    assert_eq!(seed.well(&format!("stack show {id}")), shown);
    in_order(
        &seed.well("stack list"),
        &["id", "name", &id, "one", "CREATE_COMPLETE"],
    );

    assert_eq!(
        seed.well("stack preview one --existing -P colour=blue"),
        "~ paint (OS::Heat::TestResource)\n    value: \"red\" -> \"blue\"\n\
         ~ copy (OS::Heat::Value)\n    value: \"red\" -> \"blue\"\n\
         0 added, 2 updated, 0 replaced, 0 deleted, 1 unchanged\n"
    );
    assert_eq!(line(&seed.well("stack show one"), "output shown: "), "red");
    assert_eq!(seed.well("stack update one --existing -P colour=blue"), "");
    let shown = seed.well("stack show one");
    assert_eq!(line(&shown, "stack_status: "), "UPDATE_COMPLETE");
    assert_eq!(line(&shown, "output shown: "), "blue");
    assert_eq!(line(&shown, "output word: "), word);
    // What is not kept goes back to its default.
    seed.well("stack update one -t one.yaml");
    assert_eq!(line(&seed.well("stack show one"), "output shown: "), "red");

    in_order(
        &seed.well("stack events one"),
        &[
            " one CREATE_IN_PROGRESS ",
            " paint CREATE_COMPLETE ",
            " copy CREATE_IN_PROGRESS ",
            " one CREATE_COMPLETE ",
            " one UPDATE_IN_PROGRESS ",
            " paint UPDATE_COMPLETE ",
            " one UPDATE_COMPLETE ",
        ],
    );
    let ended = seed.run("stack failures one");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(
        ended.stderr.contains("no resource of one failed"),
        "{}",
        ended.stderr
    );

    assert_eq!(seed.well("stack delete one"), "");
    seed.refused("stack show one", &["The Stack (one) could not be found"]);
    assert_eq!(
        seed.well("stack list"),
        "id  name  status  created  updated\n"
    );
}

#[test]
fn a_preview_tells_paths_and_what_forces_a_replacement() {
    let seed = Seed::start();
    let inner = "\
heat_template_version: 2018-08-31
parameters:
  size: {type: number}
resources:
  word:
    type: OS::Heat::RandomString
    properties: {length: {get_param: size}}
";
    seed.file("inner.yaml", inner);
    let outer = |count: u32, size: u32| {
        format!(
            "heat_template_version: 2018-08-31\nresources:\n  words:\n    type: OS::Heat::ResourceGroup\n    \
             properties: {{count: {count}, resource_def: {{type: inner.yaml, properties: {{size: {size}}}}}}}\n"
        )
    };
    seed.file("outer.yaml", &outer(2, 8));
    let shown = seed.well("stack preview outer -t outer.yaml");
    in_order(
        &shown,
        &[
            "+ words/0/word (OS::Heat::RandomString)",
            "+ words/1/word (",
            "2 added",
        ],
    );
    seed.well("stack create outer -t outer.yaml");
    seed.file("outer.yaml", &outer(3, 9));
    let shown = seed.well("stack preview outer -t outer.yaml");
    in_order(
        &shown,
        &[
            "+ words/2 (inner.yaml)",
            "+ words/2/word (OS::Heat::RandomString)",
            "~ words (OS::Heat::ResourceGroup)",
            "count: 2 -> 3",
            "~ words/0 (inner.yaml)",
            "size: 8 -> 9",
            "! words/0/word (OS::Heat::RandomString)",
            "length: 8 -> 9 (forces the replacement)",
            "! words/1/word (",
        ],
    );
}

#[test]
fn what_failed_is_told_and_the_stack_takes_a_better_template() {
    let seed = Seed::start();
    seed.file(
        "fails.yaml",
        "heat_template_version: 2018-08-31\nparameters:\n  fail: {type: boolean, default: true}\nresources:\n  \
         good: {type: OS::Heat::Value, properties: {value: 1}}\n  \
         bad: {type: OS::Heat::TestResource, properties: {fail: {get_param: fail}}}\n",
    );
    let failure = "bad (OS::Heat::TestResource) CREATE_FAILED\n  reason: ValueError: resources.bad: Test Resource failed bad\n  \
                   next:   update the stack as it is: tripleo stack update s --existing\n";
    seed.refused(
        "stack create s -t fails.yaml",
        &[
            &format!("stack s failed\n{failure}"),
            "tripleo stack events s",
        ],
    );
    assert_eq!(seed.well("stack failures s"), failure);
    in_order(
        &seed.well("stack events s"),
        &[" bad CREATE_FAILED ", " s CREATE_FAILED "],
    );
    seed.well("stack update s --existing -P fail=false");
    assert_eq!(seed.well("stack failures s"), "");
    // A creation that is to be rolled back leaves nothing, and says so.
    seed.refused(
        "stack create r -t fails.yaml --rollback",
        &["stack r failed and was rolled back", "Test Resource failed"],
    );
}

#[test]
fn wrong_words_are_refused_with_their_place() {
    let seed = Seed::start();
    seed.file("one.yaml", ONE);
    seed.well("stack create one -t one.yaml");
    seed.refused(
        "stack create one -t one.yaml",
        &["The Stack (one) already exists"],
    );
    for command in [
        "show",
        "delete",
        "events",
        "failures",
        "update --existing",
        "preview --existing",
    ] {
        seed.refused(
            &format!("stack {command} two"),
            &["The Stack (two) could not be found"],
        );
    }

    seed.file(
        "broken.yaml",
        "heat_template_version: 2018-08-31\nresources:\n  a: {type: OS::Heat::None\n",
    );
    seed.file(
        "property.yaml",
        &ONE.replace("{length: 12}", "\n      length: 12\n      sequenc: digits"),
    );
    seed.file(
        "type.yaml",
        &ONE.replace("OS::Heat::Value", "OS::Heat::Valeu"),
    );
    seed.file(
        "parameter.yaml",
        &ONE.replace("get_param: colour", "get_param: color"),
    );
    for command in [
        "stack create new",
        "stack update one",
        "stack preview one",
        "stack preview new",
    ] {
        let with = |rest: &str| format!("{command} {rest}");
        seed.refused(
            &with("-t broken.yaml"),
            &["broken.yaml", "line 4, column 1"],
        );
        seed.refused(
            &with("-t property.yaml"),
            &[
                "property.yaml:15:5: ",
                "resources.word.properties",
                "sequenc",
                "did you mean `sequence`?",
            ],
        );
        seed.refused(
            &with("-t type.yaml"),
            &[
                "type.yaml:11:11: ",
                "OS::Heat::Valeu",
                "did you mean `OS::Heat::Value`?",
            ],
        );
        seed.refused(
            &with("-t parameter.yaml"),
            &[
                "parameter.yaml:9:18: ",
                "resources.paint.properties.value",
                "color",
            ],
        );
        seed.refused(
            &with("-t nowhere.yaml"),
            &["cannot read nowhere.yaml", "No such file"],
        );
        seed.refused(
            &with("-t one.yaml -e nowhere.yaml"),
            &["cannot read nowhere.yaml", "No such file"],
        );
        seed.refused(
            &with("-t one.yaml -P color=red"),
            &["color", "did you mean `colour`?"],
        );
        seed.refused(&with("-t one.yaml -P colour"), &["`colour` has no `=`"]);
        seed.refused(command, &["give a template: --template FILE"]);
    }
    // Nothing of that has touched the stack.
    let shown = seed.well("stack show one");
    assert_eq!(line(&shown, "stack_status: "), "CREATE_COMPLETE");
    assert_eq!(line(&shown, "output shown: "), "red");
    seed.refused("stack show new", &["could not be found"]);
}
