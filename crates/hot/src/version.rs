//! Template versions: their names, aliases and sections.

use crate::error::{Kind, TemplateError};
use crate::value::{Map, Value};

/// A version of the template language, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `HeatTemplateFormatVersion: 2012-12-12`.
    Cfn,
    /// `AWSTemplateFormatVersion: 2010-09-09`: CFN with conditions.
    Aws,
    /// `2013-05-23`.
    Icehouse,
    /// `2014-10-16`.
    Juno,
    /// `2015-04-30`.
    Kilo,
    /// `2015-10-15`.
    Liberty,
    /// `2016-04-08`.
    Mitaka,
    /// `2016-10-14`, `newton`.
    Newton,
    /// `2017-02-24`, `ocata`.
    Ocata,
    /// `2017-09-01`, `pike`.
    Pike,
    /// `2018-03-02`, `queens`.
    Queens,
    /// `2018-08-31`, `rocky`.
    Rocky,
    /// `2021-04-16`, `wallaby`.
    Wallaby,
}

const HOT_KEY: &str = "heat_template_version";
const HEAT_CFN_KEY: &str = "HeatTemplateFormatVersion";
const AWS_KEY: &str = "AWSTemplateFormatVersion";

/// Key, name and version of all that may stand at the top of a template.
const NAMES: &[(&str, &str, Version)] = &[
    (HOT_KEY, "2013-05-23", Version::Icehouse),
    (HOT_KEY, "2014-10-16", Version::Juno),
    (HOT_KEY, "2015-04-30", Version::Kilo),
    (HOT_KEY, "2015-10-15", Version::Liberty),
    (HOT_KEY, "2016-04-08", Version::Mitaka),
    (HOT_KEY, "2016-10-14", Version::Newton),
    (HOT_KEY, "2017-02-24", Version::Ocata),
    (HOT_KEY, "2017-09-01", Version::Pike),
    (HOT_KEY, "2018-03-02", Version::Queens),
    (HOT_KEY, "2018-08-31", Version::Rocky),
    (HOT_KEY, "2021-04-16", Version::Wallaby),
    (HOT_KEY, "newton", Version::Newton),
    (HOT_KEY, "ocata", Version::Ocata),
    (HOT_KEY, "pike", Version::Pike),
    (HOT_KEY, "queens", Version::Queens),
    (HOT_KEY, "rocky", Version::Rocky),
    (HOT_KEY, "wallaby", Version::Wallaby),
    (HEAT_CFN_KEY, "2012-12-12", Version::Cfn),
    (AWS_KEY, "2010-09-09", Version::Aws),
];

impl Version {
    /// Whether it is one of the CFN versions.
    pub fn is_cfn(self) -> bool {
        self <= Version::Aws
    }

    /// Whether it has conditions.
    pub fn has_conditions(self) -> bool {
        self == Version::Aws || self >= Version::Newton
    }

    /// The sections that a template of it may have.
    pub fn sections(self) -> Vec<&'static str> {
        let mut sections = if self.is_cfn() {
            vec![
                "AWSTemplateFormatVersion",
                "HeatTemplateFormatVersion",
                "Description",
                "Mappings",
            ]
        } else {
            vec![HOT_KEY, "description", "parameter_groups"]
        };
        sections.extend(if self.is_cfn() {
            ["Parameters", "Resources", "Outputs", "__undefined__"]
        } else {
            ["parameters", "resources", "outputs", "__undefined__"]
        });
        if self.has_conditions() {
            sections.push(if self.is_cfn() {
                "Conditions"
            } else {
                "conditions"
            });
        }
        sections
    }

    /// Finds the version of a template.
    pub fn of(document: &Map) -> Result<Version, TemplateError> {
        let wrong = |what: String| {
            TemplateError::new(
                Kind::InvalidTemplateVersion,
                format!("The template version is invalid: {what}"),
            )
        };
        let keys: Vec<&str> = [HEAT_CFN_KEY, AWS_KEY, HOT_KEY]
            .into_iter()
            .filter(|key| document.contains_key(*key))
            .collect();
        let key = match keys[..] {
            [] => return Err(wrong("Template version was not provided".to_owned())),
            [key] => key,
            _ => return Err(wrong(format!("Ambiguous versions ({})", keys.join(", ")))),
        };
        let given = &document[key];
        if !given.is_true() {
            return Err(wrong("Template version was not provided".to_owned()));
        }
        let name = given.python_str();
        let mut known = NAMES.iter().filter(|(k, _, _)| *k == key);
        if let Some((_, _, version)) = known.clone().find(|(_, n, _)| *n == name) {
            return Ok(*version);
        }
        let mut names: Vec<&str> = known.by_ref().map(|(_, n, _)| *n).collect();
        names.sort_unstable();
        let verb = if names.len() == 1 {
            "should be"
        } else {
            "should be one of"
        };
        Err(wrong(format!(
            "\"{key}: {name}\". \"{key}\" {verb}: {}",
            names.join(", ")
        )))
    }

    /// All names with their versions: the key, the name, and whether it is an alias of another name.
    pub fn all() -> impl Iterator<Item = (&'static str, &'static str, Version)> {
        NAMES.iter().copied()
    }

    /// The version of a name as the API has it: `heat_template_version.2018-08-31`.
    pub fn from_api_name(name: &str) -> Option<Version> {
        let (key, name) = name.split_once('.')?;
        NAMES
            .iter()
            .find(|(k, n, _)| *k == key && *n == name)
            .map(|(_, _, version)| *version)
    }
}

/// The words for the parts of a template, which differ between HOT and CFN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub parameters: &'static str,
    pub resources: &'static str,
    pub outputs: &'static str,
    pub conditions: &'static str,
    pub description: &'static str,
    pub kind: &'static str,
    pub properties: &'static str,
    pub metadata: &'static str,
    pub depends_on: &'static str,
    pub deletion_policy: &'static str,
    pub update_policy: &'static str,
    pub condition: &'static str,
    pub value: &'static str,
}

static HOT_WORDS: Words = Words {
    parameters: "parameters",
    resources: "resources",
    outputs: "outputs",
    conditions: "conditions",
    description: "description",
    kind: "type",
    properties: "properties",
    metadata: "metadata",
    depends_on: "depends_on",
    deletion_policy: "deletion_policy",
    update_policy: "update_policy",
    condition: "condition",
    value: "value",
};

static CFN_WORDS: Words = Words {
    parameters: "Parameters",
    resources: "Resources",
    outputs: "Outputs",
    conditions: "Conditions",
    description: "Description",
    kind: "Type",
    properties: "Properties",
    metadata: "Metadata",
    depends_on: "DependsOn",
    deletion_policy: "DeletionPolicy",
    update_policy: "UpdatePolicy",
    condition: "Condition",
    value: "Value",
};

impl Version {
    pub(crate) fn words(self) -> &'static Words {
        if self.is_cfn() {
            &CFN_WORDS
        } else {
            &HOT_WORDS
        }
    }
}

/// Refuses sections that the version does not have.
pub(crate) fn check_sections(document: &Map, version: Version) -> Result<(), TemplateError> {
    let sections = version.sections();
    for key in document.keys() {
        if !sections.contains(&key.as_str()) {
            let advice = crate::error::nearest(key, sections.iter().copied())
                .map(|near| format!("did you mean `{near}`?"));
            let mut error =
                TemplateError::invalid(format!("The template section is invalid: {key}"));
            error.advice = advice.map(String::into_boxed_str);
            return Err(error);
        }
    }
    Ok(())
}

/// A section of a template; an empty or missing one is an empty map.
pub(crate) fn section<'a>(document: &'a Map, name: &str) -> Option<&'a Value> {
    document.get(name).filter(|section| section.is_true())
}
