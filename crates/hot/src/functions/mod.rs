//! The table of functions: which version knows which function under which name.
//!
//! A row gives the check of arguments done while parsing and the way to resolve. Rows of one name
//! follow each other by version; the messages are Heat's.

mod collections;
mod digest;
mod expression;
mod logic;
mod reference;
mod text;
mod url;

use crate::error::{Kind, TemplateError};
use crate::expr::{Call, Expr, Outcome, Parser};
use crate::scope::Scope;
use crate::value::Value;
use crate::version::Version;

pub(crate) use logic::decide;
pub(crate) use reference::{all_attributes, attribute_args, select as select_path};

type Expand = fn(&Parser<'_>, &'static Function, &Value, &str) -> Outcome<(Expr, bool)>;

/// One function of the language.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name.
    pub name: &'static str,
    /// Refuses arguments while the template is parsed.
    pub check: fn(&Call) -> Outcome<()>,
    /// Gives its value.
    pub resolve: fn(&Call, &Scope<'_>) -> Outcome<Value>,
    /// Checks what needs the frame but no values. None: the arguments are checked.
    pub validate: Option<fn(&Call, &Scope<'_>) -> Outcome<()>>,
    /// Of a macro: parses the arguments itself.
    pub expand: Option<Expand>,
}

impl Function {
    const fn new(
        name: &'static str,
        check: fn(&Call) -> Outcome<()>,
        resolve: fn(&Call, &Scope<'_>) -> Outcome<Value>,
    ) -> Function {
        Function {
            name,
            check,
            resolve,
            validate: None,
            expand: None,
        }
    }

    const fn validated(mut self, validate: fn(&Call, &Scope<'_>) -> Outcome<()>) -> Function {
        self.validate = Some(validate);
        self
    }

    const fn expanded(mut self, expand: Expand) -> Function {
        self.expand = Some(expand);
        self
    }
}

/// Where a function may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In values.
    Value,
    /// In conditions.
    Condition,
    /// In both.
    Both,
}

/// From which version to which, and where.
struct Row {
    from: Version,
    to: Version,
    place: Place,
    function: Function,
}

/// What a name is in a version.
pub(crate) enum Lookup {
    /// A function.
    Function(&'static Function),
    /// A function of an older version, which must not be used any more.
    Removed,
    /// A function that may not be used in conditions.
    WrongPlace,
    /// Not a function: the map is data.
    None,
}

use Version::{
    Aws, Cfn, Icehouse, Juno, Kilo, Liberty, Mitaka, Newton, Ocata, Pike, Rocky, Wallaby,
};

const fn row(from: Version, to: Version, place: Place, function: Function) -> Row {
    Row {
        from,
        to,
        place,
        function,
    }
}

static ROWS: &[Row] = &[
    row(
        Icehouse,
        Wallaby,
        Place::Both,
        Function::new("get_param", any, reference::get_param),
    ),
    row(
        Icehouse,
        Wallaby,
        Place::Value,
        Function::new("get_resource", any, reference::get_resource),
    ),
    row(
        Icehouse,
        Icehouse,
        Place::Value,
        Function::new(
            "get_attr",
            reference::check_get_attr,
            reference::get_attr_then_select,
        )
        .validated(reference::validate_get_attr),
    ),
    row(
        Juno,
        Kilo,
        Place::Value,
        Function::new("get_attr", reference::check_get_attr, reference::get_attr)
            .validated(reference::validate_get_attr),
    ),
    row(
        Liberty,
        Wallaby,
        Place::Value,
        Function::new(
            "get_attr",
            reference::check_get_attr_or_all,
            reference::get_attr,
        )
        .validated(reference::validate_get_attr),
    ),
    row(
        Icehouse,
        Wallaby,
        Place::Value,
        Function::new("get_file", any, reference::get_file),
    ),
    row(
        Icehouse,
        Wallaby,
        Place::Value,
        Function::new(
            "resource_facade",
            reference::check_facade,
            reference::facade,
        ),
    ),
    row(
        Icehouse,
        Kilo,
        Place::Value,
        Function::new("list_join", text::check_join, text::join),
    ),
    row(
        Liberty,
        Wallaby,
        Place::Value,
        Function::new("list_join", text::check_join_many, text::join_many),
    ),
    row(
        Icehouse,
        Kilo,
        Place::Value,
        Function::new("str_replace", text::check_replace, text::replace),
    ),
    row(
        Liberty,
        Wallaby,
        Place::Value,
        Function::new("str_replace", text::check_replace, text::replace_json),
    ),
    row(
        Ocata,
        Wallaby,
        Place::Value,
        Function::new(
            "str_replace_strict",
            text::check_replace,
            text::replace_strict,
        ),
    ),
    row(
        Pike,
        Wallaby,
        Place::Value,
        Function::new(
            "str_replace_vstrict",
            text::check_replace,
            text::replace_vstrict,
        ),
    ),
    row(
        Kilo,
        Wallaby,
        Place::Value,
        Function::new("digest", any, digest::digest),
    ),
    row(
        Liberty,
        Wallaby,
        Place::Value,
        Function::new("str_split", text::check_str_split, text::str_split),
    ),
    row(
        Kilo,
        Mitaka,
        Place::Value,
        Function::new("repeat", collections::check_repeat, collections::repeat),
    ),
    row(
        Newton,
        Ocata,
        Place::Value,
        Function::new(
            "repeat",
            collections::check_repeat,
            collections::repeat_maps,
        ),
    ),
    row(
        Pike,
        Wallaby,
        Place::Value,
        Function::new(
            "repeat",
            collections::check_repeat_loops,
            collections::repeat_loops,
        ),
    ),
    row(
        Mitaka,
        Wallaby,
        Place::Value,
        Function::new("map_merge", any, collections::map_merge),
    ),
    row(
        Newton,
        Wallaby,
        Place::Value,
        Function::new("map_replace", any, collections::map_replace),
    ),
    row(
        Newton,
        Ocata,
        Place::Value,
        Function::new("yaql", expression::check_yaql, expression::yaql),
    ),
    row(
        Pike,
        Wallaby,
        Place::Both,
        Function::new("yaql", expression::check_yaql, expression::yaql),
    ),
    row(
        Newton,
        Rocky,
        Place::Value,
        Function::new("if", any, logic::taken).expanded(logic::expand_if),
    ),
    row(
        Wallaby,
        Wallaby,
        Place::Value,
        Function::new("if", any, logic::taken).expanded(logic::expand_if_or_drop),
    ),
    row(
        Ocata,
        Wallaby,
        Place::Value,
        Function::new("filter", collections::check_filter, collections::filter),
    ),
    row(
        Pike,
        Wallaby,
        Place::Value,
        Function::new("make_url", url::check, url::make_url),
    ),
    row(
        Pike,
        Wallaby,
        Place::Value,
        Function::new("list_concat", any, collections::list_concat),
    ),
    row(
        Pike,
        Wallaby,
        Place::Value,
        Function::new("list_concat_unique", any, collections::list_concat_unique),
    ),
    row(
        Pike,
        Wallaby,
        Place::Both,
        Function::new(
            "contains",
            collections::check_contains,
            collections::contains,
        ),
    ),
    row(
        Newton,
        Wallaby,
        Place::Condition,
        Function::new("equals", logic::check_equals, logic::equals),
    ),
    row(
        Newton,
        Wallaby,
        Place::Condition,
        Function::new("not", logic::check_not, logic::not),
    ),
    row(
        Newton,
        Wallaby,
        Place::Condition,
        Function::new("and", logic::check_many, logic::and),
    ),
    row(
        Newton,
        Wallaby,
        Place::Condition,
        Function::new("or", logic::check_many, logic::or),
    ),
    // CFN, and what HOT had of it in the beginning.
    row(
        Cfn,
        Icehouse,
        Place::Both,
        Function::new("Ref", any, reference::cfn_ref),
    ),
    row(
        Cfn,
        Aws,
        Place::Value,
        Function::new(
            "Fn::GetAtt",
            reference::check_cfn_get_att,
            reference::get_attr,
        )
        .validated(reference::validate_get_attr),
    ),
    row(
        Cfn,
        Aws,
        Place::Both,
        Function::new(
            "Fn::FindInMap",
            collections::check_find_in_map,
            collections::find_in_map,
        ),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new("Fn::GetAZs", any, reference::get_azs),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new("Fn::Join", text::check_join, text::join),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new("Fn::Split", text::check_split, text::split),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new("Fn::Replace", text::check_cfn_replace, text::cfn_replace),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new("Fn::Base64", any, text::base64),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new(
            "Fn::MemberListToMap",
            collections::check_member_list,
            collections::member_list,
        ),
    ),
    row(
        Cfn,
        Icehouse,
        Place::Value,
        Function::new(
            "Fn::ResourceFacade",
            reference::check_facade,
            reference::facade,
        ),
    ),
    row(
        Cfn,
        Kilo,
        Place::Value,
        Function::new("Fn::Select", collections::check_select, collections::select),
    ),
    row(
        Aws,
        Aws,
        Place::Condition,
        Function::new("Fn::Equals", logic::check_equals, logic::equals),
    ),
    row(
        Aws,
        Aws,
        Place::Condition,
        Function::new("Fn::Not", logic::check_cfn_not, logic::not),
    ),
    row(
        Aws,
        Aws,
        Place::Condition,
        Function::new("Fn::And", logic::check_many, logic::and),
    ),
    row(
        Aws,
        Aws,
        Place::Condition,
        Function::new("Fn::Or", logic::check_many, logic::or),
    ),
    row(
        Aws,
        Aws,
        Place::Value,
        Function::new("Fn::If", any, logic::taken).expanded(logic::expand_if),
    ),
];

/// Looks a name up.
pub(crate) fn find(version: Version, name: &str, in_condition: bool) -> Lookup {
    let mut removed = false;
    let mut elsewhere = false;
    for row in ROWS.iter().filter(|row| row.function.name == name) {
        if version < row.from {
            continue;
        }
        if version > row.to {
            // Only functions that HOT once had are refused; the others were never its own.
            removed |= row.to >= Icehouse && !is_superseded(name);
            continue;
        }
        match (row.place, in_condition) {
            (Place::Both, _) | (Place::Value, false) | (Place::Condition, true) => {
                return Lookup::Function(&row.function);
            }
            (Place::Value, true) => elsewhere = true,
            (Place::Condition, false) => {}
        }
    }
    match (elsewhere, removed) {
        (true, _) => Lookup::WrongPlace,
        (false, true) => Lookup::Removed,
        (false, false) => Lookup::None,
    }
}

/// Names whose older rows were replaced by newer ones, not removed.
fn is_superseded(name: &str) -> bool {
    !name.starts_with("Fn::") && name != "Ref"
}

/// What the API tells of the functions of a version: (name, description).
pub fn names(version: Version, with_conditions: bool) -> Vec<&'static str> {
    let mut names: Vec<_> = ROWS
        .iter()
        .filter(|row| (row.from..=row.to).contains(&version))
        .filter(|row| with_conditions || row.place != Place::Condition)
        .map(|row| row.function.name)
        .collect();
    names.sort_unstable();
    names
}

/// Any arguments pass while parsing.
fn any(_call: &Call) -> Outcome<()> {
    Ok(())
}

fn value_error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::new(Kind::ValueError, message))
}

fn type_error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::new(Kind::TypeError, message))
}

fn key_error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::new(Kind::KeyError, message))
}

/// At most the first 200 characters, as Heat cuts values in messages.
fn short(text: String) -> String {
    text.chars().take(200).collect()
}
