//! All settings of one process, checked before any work starts.
//!
//! Flags win over the environment, that over files; later files win over earlier ones. `$name` in a value is the value
//! of another option.

mod file;
mod substitute;
mod table;

pub use file::SyntaxError;

use arguments::{Matches, Opt, Parser, Takes, UsageError};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use table::{Kind, MAIN, Row, TABLE};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The command line is wrong.
    #[error(transparent)]
    Usage(UsageError),
    /// A configuration file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A configuration file is malformed.
    #[error("cannot parse configuration file {}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: SyntaxError,
    },
    /// A value does not fit its option.
    #[error("argument --{option}: Invalid {kind} value: {value}")]
    Value {
        /// The option.
        option: String,
        /// What it must be.
        kind: &'static str,
        /// What it is.
        value: String,
    },
    /// Values refer to each other in a circle.
    #[error("option `{option}` refers to itself")]
    Circle {
        /// The option.
        option: String,
    },
}

/// Everything that flags, environment and files say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What was said, least first: values by section and key.
    said: Vec<(String, String, Vec<String>)>,
    /// The files that were read and named as files, with their content.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// What the command line asks for.
pub enum Asked {
    /// To work with these settings.
    Work(Box<Settings>),
    /// The text of the help.
    Help(String),
    /// The version.
    Version,
}

impl Settings {
    /// Reads the command line, the environment and the files that they name.
    pub fn read(
        arguments: &[String],
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Asked, SettingsError> {
        let parser = parser();
        let matches = parser.parse(arguments).map_err(SettingsError::Usage)?;
        if matches.has("--help") {
            return Ok(Asked::Help(parser.help()));
        }
        if matches.has("--version") {
            return Ok(Asked::Version);
        }
        let mut settings = Settings {
            said: Vec::new(),
            files: Vec::new(),
        };
        settings.read_files(&matches, environment)?;
        settings.read_environment(environment);
        settings.read_flags(&matches);
        settings.check()?;
        Ok(Asked::Work(Box::new(settings)))
    }

    fn read_files(
        &mut self,
        matches: &Matches,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<(), SettingsError> {
        let home = environment("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute());
        let places = |name: &str| {
            let home = home.as_ref().map(|home| home.join(name));
            home.into_iter().chain([PathBuf::from("/etc").join(name)])
        };
        let mut files: Vec<PathBuf> = matches
            .all("--config-file")
            .into_iter()
            .map(PathBuf::from)
            .collect();
        if files.is_empty() {
            files.extend(places("os-collect-config.conf").find(|path| path.exists()));
        }
        for path in files {
            let content = self.read_file(&path)?;
            self.files.push((path, content));
        }
        let mut directories: Vec<PathBuf> = matches
            .all("--config-dir")
            .into_iter()
            .map(PathBuf::from)
            .collect();
        if directories.is_empty() {
            directories.extend(places("os-collect-config.conf.d").find(|path| path.is_dir()));
        }
        for directory in directories {
            let failed = |source| SettingsError::Read {
                path: directory.clone(),
                source,
            };
            let entries: Result<Vec<_>, _> =
                std::fs::read_dir(&directory).map_err(failed)?.collect();
            let mut paths: Vec<PathBuf> = entries
                .map_err(failed)?
                .iter()
                .map(|entry| entry.path())
                .collect();
            paths.retain(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "conf")
            });
            paths.sort();
            for path in paths {
                self.read_file(&path)?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &PathBuf) -> Result<Vec<u8>, SettingsError> {
        let content = std::fs::read(path).map_err(|source| SettingsError::Read {
            path: path.clone(),
            source,
        })?;
        let assignments = file::parse(&String::from_utf8_lossy(&content)).map_err(|source| {
            SettingsError::Syntax {
                path: path.clone(),
                source,
            }
        })?;
        for (section, key, value) in assignments {
            self.said.push((section, key, vec![value]));
        }
        Ok(content)
    }

    fn read_environment(&mut self, environment: &dyn Fn(&str) -> Option<OsString>) {
        for row in TABLE {
            let name = format!(
                "OS_{}__{}",
                row.group.to_uppercase(),
                row.name.to_uppercase()
            );
            if let Some(value) = environment(&name) {
                self.replace(row, vec![value.to_string_lossy().into_owned()]);
            }
        }
    }

    fn read_flags(&mut self, matches: &Matches) {
        for row in TABLE {
            let given = match row.kind {
                Kind::Texts if row.flags.is_empty() => matches.words.clone(),
                Kind::Texts => matches.all(flag(row)),
                Kind::Switch => {
                    let last = matches.options.iter().rev().find_map(|(name, _)| {
                        (name == flag(row))
                            .then_some("true")
                            .or((*name == negated(row)).then_some("false"))
                    });
                    last.map(str::to_owned).into_iter().collect()
                }
                _ => matches
                    .value(flag(row))
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
            };
            if !given.is_empty() {
                self.replace(row, given);
            }
        }
    }

    /// Lets `values` win over all that was said before, lists included.
    fn replace(&mut self, row: &Row, values: Vec<String>) {
        self.said
            .retain(|(group, name, _)| !(group == row.group && name == row.name));
        self.said
            .push((row.group.to_owned(), row.name.to_owned(), values));
    }

    fn check(&self) -> Result<(), SettingsError> {
        for row in TABLE {
            match row.kind {
                Kind::Float => self.float(row.group, row.name).map(drop)?,
                Kind::Integer => self.integer(row.group, row.name).map(drop)?,
                Kind::Switch => self.switch(row.group, row.name).map(drop)?,
                Kind::Address => self.address(row.group, row.name).map(drop)?,
                Kind::Text | Kind::Texts => {}
            }
        }
        Ok(())
    }

    /// The values as they were said, or the defaults.
    fn raw(&self, group: &str, name: &str) -> Vec<String> {
        let said = self.said.iter().filter(|(g, n, _)| g == group && n == name);
        let said: Vec<String> = said.flat_map(|(_, _, values)| values.clone()).collect();
        if !said.is_empty() {
            return said;
        }
        let row = TABLE
            .iter()
            .find(|row| row.group == group && row.name == name);
        row.map(|row| {
            row.default
                .iter()
                .map(|value| (*value).to_owned())
                .collect()
        })
        .unwrap_or_default()
    }

    /// All values of a list.
    pub fn texts(&self, group: &str, name: &str) -> Result<Vec<String>, SettingsError> {
        self.raw(group, name)
            .iter()
            .map(|value| self.substituted(group, name, value, 0))
            .collect()
    }

    /// A text; empty if it was set to nothing, none if it was not set.
    pub fn text(&self, group: &str, name: &str) -> Result<Option<String>, SettingsError> {
        self.text_at(group, name, 0)
    }

    fn text_at(
        &self,
        group: &str,
        name: &str,
        depth: usize,
    ) -> Result<Option<String>, SettingsError> {
        let last = self.raw(group, name).pop();
        last.map(|value| self.substituted(group, name, &value, depth))
            .transpose()
    }

    /// A text that says something.
    pub fn filled(&self, group: &str, name: &str) -> Result<Option<String>, SettingsError> {
        Ok(self.text(group, name)?.filter(|value| !value.is_empty()))
    }

    /// A text of the main section that has a default.
    pub fn main_text(&self, name: &str) -> Result<String, SettingsError> {
        Ok(self.text(MAIN, name)?.unwrap_or_default())
    }

    fn substituted(
        &self,
        group: &str,
        name: &str,
        value: &str,
        depth: usize,
    ) -> Result<String, SettingsError> {
        const MAX_DEPTH: usize = 50;
        if depth > MAX_DEPTH {
            return Err(SettingsError::Circle {
                option: name.to_owned(),
            });
        }
        let known = |group: &str, name: &str| {
            TABLE
                .iter()
                .any(|row| row.group == group && row.name == name)
        };
        substitute::substitute(value, &|word: &str| {
            let (inner_group, inner) = word.split_once('.').unwrap_or((group, word));
            let inner_group = if known(inner_group, inner) {
                inner_group
            } else {
                MAIN
            };
            if !known(inner_group, inner) {
                return Ok(None);
            }
            Ok(Some(
                self.text_at(inner_group, inner, depth + 1)?
                    .unwrap_or_default(),
            ))
        })
    }

    fn value<T>(
        &self,
        group: &str,
        name: &str,
        kind: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.text(group, name)? else {
            return Ok(None);
        };
        let option = if group == MAIN {
            name.to_owned()
        } else {
            format!("{group}-{name}")
        };
        let wrong = || SettingsError::Value {
            option,
            kind,
            value: text.clone(),
        };
        read(text.trim()).map(Some).ok_or_else(wrong)
    }

    /// A number of seconds.
    pub fn float(&self, group: &str, name: &str) -> Result<f64, SettingsError> {
        let read = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        Ok(self.value(group, name, "Float", read)?.unwrap_or_default())
    }

    /// A whole number.
    pub fn integer(&self, group: &str, name: &str) -> Result<i64, SettingsError> {
        Ok(self
            .value(group, name, "Integer", |text| text.parse().ok())?
            .unwrap_or_default())
    }

    /// Whether something is switched on.
    pub fn switch(&self, group: &str, name: &str) -> Result<bool, SettingsError> {
        let read = |text: &str| match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        };
        Ok(self
            .value(group, name, "Boolean", read)?
            .unwrap_or_default())
    }

    /// An address.
    pub fn address(&self, group: &str, name: &str) -> Result<Option<String>, SettingsError> {
        let read = |text: &str| match text.split_once(':') {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Some(text.to_owned()),
            _ => None,
        };
        self.value(group, name, "URI", read)
    }

    /// Whether the named configuration files are still as they were read.
    pub fn files_are_unchanged(&self) -> bool {
        self.files.iter().all(|(path, content)| {
            // A file that is gone for a moment is about to be replaced.
            std::fs::read(path).map_or(true, |now| now == *content)
        })
    }
}

fn flag(row: &Row) -> &'static str {
    row.flags.rsplit(' ').next().unwrap_or("")
}

/// The flag that switches a switch off: `no` goes before the option's own name.
fn negated(row: &Row) -> String {
    let group = if row.group == MAIN {
        String::new()
    } else {
        format!("{}-", row.group)
    };
    let name = flag(row).trim_start_matches("--").to_owned();
    format!("--{group}no{}", name.strip_prefix(&group).unwrap_or(&name))
}

/// Options that upstream does not have.
const OURS: [&str; 2] = ["--config-drive", "--request-ca_certificate"];

fn parser() -> Parser {
    let mut options = vec![
        Opt::new("-h --help", Takes::Nothing, "", "show this help and exit"),
        Opt::new("--version", Takes::Nothing, "", "show the version and exit"),
        Opt::new(
            "--config-file",
            Takes::One,
            "PATH",
            "configuration file; may be repeated, later ones win",
        ),
        Opt::new(
            "--config-dir",
            Takes::One,
            "DIR",
            "directory of *.conf files, which win over all others",
        ),
    ];
    for row in TABLE.iter().filter(|row| !row.flags.is_empty()) {
        if row.kind == Kind::Switch {
            options.push(Opt::new(row.flags, Takes::Nothing, "", row.help));
            options.push(Opt::new(&negated(row), Takes::Nothing, "", "the opposite"));
        } else {
            let name = row.name.to_uppercase();
            let option = Opt::new(row.flags, Takes::One, &name, row.help);
            options.push(if OURS.contains(&row.flags) {
                option.exact()
            } else {
                option
            });
        }
    }
    for (flags, takes) in table::IGNORED {
        let takes = if *takes { Takes::One } else { Takes::Nothing };
        options.push(Opt::new(flags, takes, "VALUE", "accepted, without effect"));
    }
    Parser {
        program: "os-collect-config".to_owned(),
        about: "Collects metadata and runs a command when it changed.".to_owned(),
        options,
        words: Some((
            "collectors".to_owned(),
            "sources to ask, in order".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(
        conf: &str,
        arguments: &str,
        environment: &[(&str, &str)],
    ) -> Result<Settings, SettingsError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.conf");
        std::fs::write(&path, conf).unwrap();
        let mut all = vec!["--config-file".to_owned(), path.display().to_string()];
        all.extend(arguments.split_whitespace().map(str::to_owned));
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value))
        };
        match Settings::read(&all, &lookup)? {
            Asked::Work(settings) => Ok(*settings),
            Asked::Help(_) | Asked::Version => panic!("not asked for"),
        }
    }

    #[track_caller]
    fn cachedir(conf: &str, arguments: &str, environment: &[(&str, &str)], expect: &str) {
        let settings = settings(conf, arguments, environment).unwrap();
        assert_eq!(settings.main_text("cachedir").unwrap(), expect);
    }

    #[test]
    fn precedence() {
        cachedir("", "", &[], "/var/lib/os-collect-config");
        cachedir("[DEFAULT]\ncachedir=/conf\n", "", &[], "/conf");
        cachedir(
            "[DEFAULT]\ncachedir=/conf\n",
            "",
            &[("OS_DEFAULT__CACHEDIR", "/env")],
            "/env",
        );
        cachedir(
            "[DEFAULT]\ncachedir=/conf\n",
            "--cachedir /flag",
            &[("OS_DEFAULT__CACHEDIR", "/env")],
            "/flag",
        );
        cachedir(
            "[default]\ncachedir=/conf\n",
            "",
            &[],
            "/var/lib/os-collect-config",
        );
    }

    #[test]
    fn substitution() {
        cachedir(
            "[DEFAULT]\ncachedir=$backup_cachedir/x\nbackup_cachedir=/b$$c\n",
            "",
            &[],
            "/b$c/x",
        );
        cachedir(
            "[DEFAULT]\ncachedir=${cfn.stack_name}$heat.user_id\n[cfn]\nstack_name=S\n",
            "",
            &[],
            "S",
        );
        cachedir(
            "[DEFAULT]\ncachedir=/$OS_CONFIG_FILES\n",
            "",
            &[],
            "/$OS_CONFIG_FILES",
        );
        let circle = settings("[DEFAULT]\ncachedir=$cachedir\n", "", &[]).unwrap();
        assert!(matches!(
            circle.main_text("cachedir"),
            Err(SettingsError::Circle { .. })
        ));
    }

    #[test]
    fn lists() {
        let conf = "[heat_local]\npath=/a\npath=/b\n";
        let read = |arguments: &str| {
            settings(conf, arguments, &[])
                .unwrap()
                .texts("heat_local", "path")
                .unwrap()
        };
        assert_eq!(read(""), ["/a", "/b"]);
        assert_eq!(read("--heat_local-path /c"), ["/c"]);
        let words = settings("", "ec2 local", &[]).unwrap();
        assert_eq!(words.texts(MAIN, "collectors").unwrap(), ["ec2", "local"]);
    }

    #[test]
    fn switches() {
        let read = |conf: &str, arguments: &str| {
            settings(conf, arguments, &[]).map(|s| s.switch("zaqar", "use_websockets").unwrap())
        };
        assert!(!read("", "").unwrap());
        assert!(read("[zaqar]\nuse_websockets=Yes\n", "").unwrap());
        assert!(!read("[zaqar]\nuse_websockets=1\n", "--zaqar-nouse-websockets").unwrap());
        assert!(read("[zaqar]\nuse_websockets=maybe\n", "").is_err());
    }

    #[test]
    fn wrong_values_name_their_option() {
        let error = settings("", "-i soon", &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "argument --polling_interval: Invalid Float value: soon"
        );
        assert!(settings("", "--request-metadata-url x", &[]).is_err());
        assert!(settings("", "--keystone-cache_ttl 1.5", &[]).is_err());
        assert!(matches!(
            settings("", "--backup_cachedir /x", &[]),
            Err(SettingsError::Usage(_))
        ));
    }
}
