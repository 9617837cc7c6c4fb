//! YAQL, the language of the function `yaql`.
//!
//! A small interpreter of our own: the operators, and those functions and methods of the standard
//! library that templates use. Sequences are not lazy, so an endless one is an error; there are no
//! limits on lengths otherwise, which upstream has and TripleO had to raise.

mod arithmetic;
mod collections;
mod eval;
mod functions;
mod item;
mod maps;
mod parse;
mod queries;
mod text;

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::value::Value;

/// Refuses an expression that can not be parsed.
pub(crate) fn check(text: &str) -> Outcome<()> {
    parse(text).map(|_| ())
}

fn parse(text: &str) -> Outcome<parse::Ast> {
    parse::parse(text)
        .map_err(|why| TemplateError::new(Kind::ValueError, format!("Bad expression {why}.")))
}

/// Evaluates an expression; `$.data` is `data`.
pub(crate) fn evaluate(text: &str, data: &Value) -> Outcome<Value> {
    let ast = parse(text)?;
    let mut root = item::Dict::new();
    let key = item::Item::text("data");
    root.insert(key.identity(), (key, item::Item::from_value(data)));
    let names = eval::Names::root(item::Item::dict(root));
    Ok(eval::evaluate(&ast, &names)?.to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, data: &str, expect: &str) {
        let data = Value::from_yaml(&yaml::parse(data).unwrap());
        let shown = match evaluate(expression, &data) {
            Ok(value) => value.python_json(false),
            Err(error) => format!("{}: {}", error.kind, error.message),
        };
        assert_eq!(shown, expect, "{expression}");
    }

    #[test]
    fn operators_bind_as_in_yaql() {
        check("1 + 2 * 3", "", "7");
        check("7 / 2", "", "3");
        check("-7 mod 3", "", "2");
        check("not 1 = 2 and 3 in [3]", "", "true");
        check("let(a => 2) -> $a * 3", "", "6");
        check("[1] + [2]", "", "[1, 2]");
        check("\":\" in $.data", "a:b", "true");
    }

    #[test]
    fn properties_reach_into_maps_and_over_lists() {
        check("$.data.a.b", "{a: {b: 1}}", "1");
        check("$.data.a", "[{a: 1}, {a: 2}]", "[1, 2]");
        check("$.data.zz", "{a: 1}", "KeyError: 'zz'");
        check("$.data?.a", "null", "null");
        check(
            "$.data.a",
            "null",
            "NoFunctionRegisteredException: Unknown function \"#property#a\"",
        );
    }

    #[test]
    fn queries_of_tripleo_work() {
        check(
            "$.data.where($ != null).reduce($1.mergeWith($2), {})",
            "[{a: {x: [1]}}, null, {a: {x: [2], y: 3}}]",
            r#"{"a": {"x": [1, 2], "y": 3}}"#,
        );
        check(
            "dict($.data.where($ != null).flatten().selectMany($.items()).groupBy($[0], $[1]).select([$[0], $[1].flatten()]))",
            "[{a: 1}, [{a: [2]}, {b: 3}]]",
            r#"{"a": [1, 2], "b": [3]}"#,
        );
        check(
            "regex('(?:https?://)?(.*?)/(.*)').split($.data)[1]",
            "http://host/path",
            r#""host""#,
        );
        check(
            "str(\"{0}\".format($.data).split(\"/\")[-1])",
            "a/b",
            r#""b""#,
        );
        check("switch(not isList($.data) => 1, true => 2)", "x", "1");
        check(
            "let(root => $) -> $.data.items().where($[0] in $root.data.keys()).len()",
            "{a: 1}",
            "1",
        );
        check(
            "dict($.data.keys().zip(dict(n => 1).repeat(len($.data.keys()))))",
            "{a: 0}",
            r#"{"a": {"n": 1}}"#,
        );
        check("range(0, len($.data)).join(\",\")", "[x, y]", r#""0,1""#);
        check(
            "let(s => $.data) -> $s.deleteAll($s.keys().where($s[$] = null))",
            "{a: null, b: 1}",
            r#"{"b": 1}"#,
        );
        check(
            "$.data.items().orderBy($[0]).first()[1]",
            "{b: 1, a: 2}",
            "2",
        );
        check(
            "$.data.items().select($.join('='))",
            "{b: 1, a: 2}",
            r#"["b=1", "a=2"]"#,
        );
        check(
            "$.data.select(int($)*1024/2).join(\",\").split(',')",
            "['1', '2']",
            r#"["512", "1024"]"#,
        );
        check(
            "regex(`([a-z0-9])([A-Z])`).replace($.data, '\\\\1_\\\\2').toLower()",
            "fooBar",
            r#""foo_bar""#,
        );
        check("[$.data]*len([1, 2])", "x", r#"["x", "x"]"#);
    }

    #[test]
    fn what_can_not_be_parsed_is_said() {
        check(
            "$.data.",
            "",
            "ValueError: Bad expression Parse error: unexpected end of statement.",
        );
        check(
            "nosuch(1)",
            "",
            "NoFunctionRegisteredException: Unknown function \"nosuch\"",
        );
    }
}
