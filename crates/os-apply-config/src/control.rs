//! Control files: what `NAME.oac` says about the file that the template `NAME` becomes.

use crate::ApplyError;
use crate::accounts::Accounts;
use std::path::Path;
use yaml::Yaml;

/// What a control file may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Permission bits; without them a new file gets 0644 and an existing one keeps its own.
    pub mode: Option<u32>,
    /// Number of the owner.
    pub owner: Option<u32>,
    /// Number of the group.
    pub group: Option<u32>,
    /// Whether an empty file is written; if not, the file is removed instead.
    pub allow_empty: bool,
    /// A shell command that must accept the new file, which it finds as `$FILE`.
    pub validate: Option<String>,
    /// Services that read the file.
    pub services: Vec<String>,
    /// Keys of the metadata that the template cannot do without.
    pub require: Vec<String>,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            mode: None,
            owner: None,
            group: None,
            allow_empty: true,
            validate: None,
            services: Vec::new(),
            require: Vec::new(),
        }
    }
}

/// Reads the control file `path` with the content `text`.
pub fn parse(path: &Path, text: &str, accounts: &Accounts) -> Result<Control, ApplyError> {
    let wrong = |what: String| ApplyError::Control {
        path: path.to_owned(),
        what,
    };
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    if first.is_some_and(|line| line.split_whitespace().next() == Some("...")) {
        // PyYAML wants a document before its end; the parser takes the end for an empty document.
        return Err(wrong("it ends before it begins".to_owned()));
    }
    let document = yaml::parse(text).map_err(|error| wrong(error.to_string()))?;
    let mut control = Control::default();
    let pairs = match &document.value {
        Yaml::Map(pairs) => pairs,
        Yaml::Seq(items) if !items.is_empty() => {
            return Err(wrong("header is not a dict".to_owned()));
        }
        Yaml::Text(text) if !text.is_empty() => {
            return Err(wrong("header is not a dict".to_owned()));
        }
        Yaml::Bool(true) => return Err(wrong("header is not a dict".to_owned())),
        Yaml::Int(number) if *number != 0 => return Err(wrong("header is not a dict".to_owned())),
        Yaml::Float(number) if *number != 0.0 => {
            return Err(wrong("header is not a dict".to_owned()));
        }
        // What Python takes for false says nothing.
        _ => return Ok(control),
    };
    for (key, value) in pairs {
        let line = key.span.line;
        let name = spell(&key.value);
        let set = match name.as_str() {
            "mode" => mode(&value.value).map(|mode| control.mode = mode),
            "owner" => account(
                "owner",
                "passwd",
                &value.value,
                Accounts::user,
                Accounts::has_user,
                accounts,
            )
            .map(|id| control.owner = Some(id)),
            "group" => account(
                "group",
                "group",
                &value.value,
                Accounts::group,
                Accounts::has_group,
                accounts,
            )
            .map(|id| control.group = Some(id)),
            "allow_empty" => match &value.value {
                Yaml::Bool(value) => {
                    control.allow_empty = *value;
                    Ok(())
                }
                other => Err(format!(
                    "allow_empty requires Boolean, got: '{}'",
                    spell(other)
                )),
            },
            "validate" => match &value.value {
                Yaml::Text(command) if !command.trim().is_empty() => {
                    control.validate = Some(command.clone());
                    Ok(())
                }
                other => Err(format!("validate '{}' is not a command", spell(other))),
            },
            "services" => words(&value.value, &name).map(|names| control.services = names),
            "require" => words(&value.value, &name).map(|keys| control.require = keys),
            _ => Err(format!("unrecognised file control key '{name}'")),
        };
        set.map_err(|what| wrong(format!("{what} on line {line}")))?;
    }
    Ok(control)
}

/// Reads permission bits. Zero sets nothing, as upstream takes it for absent.
fn mode(value: &Yaml) -> Result<Option<u32>, String> {
    match value {
        Yaml::Int(bits @ 0..=0o777) => Ok(u32::try_from(*bits).ok().filter(|bits| *bits != 0)),
        Yaml::Int(bits) => Err(format!("mode '{bits:#o}' out of range")),
        other => Err(format!("mode '{}' is not numeric", spell(other))),
    }
}

/// One word, or a list of them.
fn words(value: &Yaml, what: &str) -> Result<Vec<String>, String> {
    let word = |value: &Yaml| match value {
        Yaml::Text(word) if !word.is_empty() && !word.contains(char::is_whitespace) => {
            Ok(word.clone())
        }
        other => Err(format!("{what} '{}' is not a name", spell(other))),
    };
    match value {
        Yaml::Seq(items) => items.iter().map(|item| word(&item.value)).collect(),
        one => Ok(vec![word(one)?]),
    }
}

fn account(
    what: &str,
    database: &str,
    value: &Yaml,
    named: fn(&Accounts, &str) -> Option<u32>,
    exists: fn(&Accounts, u32) -> bool,
    accounts: &Accounts,
) -> Result<u32, String> {
    let id = match value {
        Yaml::Text(name) => named(accounts, name),
        Yaml::Int(id) => u32::try_from(*id).ok().filter(|id| exists(accounts, *id)),
        other => return Err(format!("{what} '{}' must be a string or int", spell(other))),
    };
    id.ok_or_else(|| format!("{what} '{}' not found in {database} database", spell(value)))
}

fn spell(value: &Yaml) -> String {
    match value {
        Yaml::Null => "None".to_owned(),
        Yaml::Bool(true) => "True".to_owned(),
        Yaml::Bool(false) => "False".to_owned(),
        Yaml::Int(number) => number.to_string(),
        Yaml::Float(number) => number.to_string(),
        Yaml::Text(text) => text.clone(),
        Yaml::Seq(_) => "a list".to_owned(),
        Yaml::Map(_) => "a mapping".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Control, String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "ann:x:7:8::/:\n").unwrap();
        std::fs::write(root.path().join("etc/group"), "staff:x:50:\n").unwrap();
        parse(Path::new("/t/f.oac"), text, &Accounts::below(root.path())).map_err(|e| e.to_string())
    }

    #[test]
    fn accepted() {
        for (text, mode) in [
            ("mode: 0755", Some(0o755)),
            ("mode: 511", Some(0o777)),
            ("mode: 0x1ff", Some(0o777)),
            ("mode: 0b111", Some(7)),
            ("mode: 07_77", Some(0o777)),
            ("mode: 0", None),
            ("", None),
            ("{}", None),
            ("~", None),
            ("[]", None),
            ("# only a remark\n", None),
        ] {
            assert_eq!(read(text).unwrap().mode, mode, "{text}");
        }
        assert_eq!(read("owner: ann\ngroup: 50").unwrap().owner, Some(7));
        assert_eq!(read("owner: 7\ngroup: staff").unwrap().group, Some(50));
        assert!(!read("allow_empty: no").unwrap().allow_empty);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(mode|owner|allow_empty|services|[a-z~?|>&*!%@`-]|[:,#{}\\[\\] \\n\"'0-9]){0,20}") {
            if let Ok(control) = parse(Path::new("/t/f.oac"), &text, &Accounts::below(Path::new("/nonexistent"))) {
                proptest::prop_assert!(control.mode.is_none_or(|mode| mode <= 0o777));
            }
        }
    }

    #[test]
    fn checks_and_services() {
        let text =
            "validate: 'visudo -c -f \"$FILE\"'\nservices: [a.service, b]\nrequire: db.host\n";
        let control = read(text).unwrap();
        assert_eq!(control.validate.as_deref(), Some("visudo -c -f \"$FILE\""));
        assert_eq!(control.services, ["a.service", "b"]);
        assert_eq!(control.require, ["db.host"]);
    }

    #[test]
    fn refused() {
        for (text, expect) in [
            (
                "mode: \"0644\"",
                "mode '0644' is not numeric on line 1 in /t/f.oac",
            ),
            (
                "mode: 0o755",
                "mode '0o755' is not numeric on line 1 in /t/f.oac",
            ),
            (
                "mode: 755",
                "mode '0o1363' out of range on line 1 in /t/f.oac",
            ),
            ("# c\n\n... # e\n", "it ends before it begins"),
            ("mode: -1", "out of range"),
            ("mode: true", "mode 'True' is not numeric"),
            ("validate: []", "validate 'a list' is not a command"),
            ("services: a b", "services 'a b' is not a name on line 1"),
            ("require: [1]", "require '1' is not a name on line 1"),
            ("owner: bob", "owner 'bob' not found in passwd database"),
            ("owner: \"7\"", "owner '7' not found"),
            (
                "\ngroup: 9",
                "group '9' not found in group database on line 2",
            ),
            ("group: ~", "group 'None' must be a string or int"),
            ("allow_empty: y", "allow_empty requires Boolean, got: 'y'"),
            ("allow_empty: 0", "allow_empty requires Boolean, got: '0'"),
            ("key: 1", "unrecognised file control key 'key'"),
            ("- a", "header is not a dict"),
            ("word", "header is not a dict"),
            ("a: [", "in /t/f.oac"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
