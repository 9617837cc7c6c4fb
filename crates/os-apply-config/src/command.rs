//! The command `os-apply-config`: options and environment in, exit code out.

use crate::accounts::Accounts;
use crate::file_set::FileSet;
use crate::log::Log;
use crate::record::Record;
use crate::{ApplyError, documents, key, tree};
use arguments::{Matches, Opt, Parser, Process, Takes, print};
use metadata::Value;
use secret::Mask;
use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

const TEMPLATES: &str = "/usr/libexec/os-apply-config/templates";
const TEMPLATES_OLD: &str = "/opt/stack/os-apply-config/templates";
const TEMPLATES_OLDER: &str = "/opt/stack/os-config-applier/templates";
const FILE_LIST: &str = "/var/lib/os-collect-config/os_config_files.json";
const FILE_LIST_OLD: &str = "/var/run/os-collect-config/os_config_files.json";
const FALLBACK: [&str; 3] = [
    "/var/cache/heat-cfntools/last_metadata",
    "/var/lib/heat-cfntools/cfn-init-data",
    "/var/lib/cloud/data/cfn-init-data",
];
const STATE: &str = "/var/lib/os-apply-config";
const CHANGED: &str = "/run/os-apply-config/changed";

/// Options that upstream does not have.
const OURS: [&str; 3] = ["--dry-run", "--diff", "--print-services"];

/// The merged metadata that a run without options sees.
pub fn metadata(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Value, ApplyError> {
    let mut nowhere = std::io::sink();
    let mut log = Log::new(&mut nowhere, false);
    let settings = Settings::new(&Matches::default(), environment, &mut log);
    let documents = settings.documents(&mut log)?;
    let all: Vec<PathBuf> = settings
        .fallback
        .iter()
        .chain(&documents)
        .cloned()
        .collect();
    documents::read_all(&all)
}

/// Runs the command and gives its exit code.
pub fn run(process: Process<'_>) -> u8 {
    let Process {
        arguments,
        environment,
        out,
        err,
    } = process;
    let parser = parser();
    let matches = match parser.parse(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            return 2;
        }
    };
    if matches.has("--help") {
        return print(out, &parser.help());
    }
    if matches.has("--version") {
        return print(
            out,
            concat!(
                "os-apply-config ",
                env!("CARGO_PKG_VERSION"),
                " (as 14.1.0)\n"
            ),
        );
    }
    let mut log = Log::new(err, rustix::process::geteuid().is_root());
    let settings = Settings::new(&matches, environment, &mut log);
    if matches.has("--print-templates") {
        return print(out, &format!("{}\n", settings.templates.display()));
    }
    if matches.has("--print-services") {
        return print(out, &service_lines(settings.record.as_ref()));
    }
    match execute(&settings, out, &mut log) {
        Ok(code) => code,
        Err(error) => {
            log.error(&chain(&error));
            1
        }
    }
}

/// An error with its causes and its hint, one below the other.
fn chain(error: &ApplyError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Upstream's words for some errors hold the cause already.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    text
}

fn parser() -> Parser {
    use Takes::{Any, Nothing, One};
    let rows = [
        ("-h --help", Nothing, "", "show this help and exit"),
        (
            "-t --templates",
            One,
            "TEMPLATE_ROOT",
            "directory of the templates",
        ),
        (
            "-o --output",
            One,
            "OUTPUT_DIR",
            "directory for the files, in the tree of the templates (default: /)",
        ),
        (
            "-m --metadata",
            Any,
            "METADATA_FILE",
            "metadata documents; may be repeated, later ones win",
        ),
        (
            "--fallback-metadata",
            Any,
            "FALLBACK_METADATA",
            "documents that all others win over",
        ),
        (
            "-v --validate",
            Nothing,
            "",
            "render all templates and write nothing",
        ),
        (
            "--dry-run",
            Nothing,
            "",
            "render, then print what would be written, and write nothing",
        ),
        (
            "--diff",
            Nothing,
            "",
            "as --dry-run, with the changes of content; secrets are masked",
        ),
        (
            "--print-templates",
            Nothing,
            "",
            "print the directory of the templates and exit",
        ),
        (
            "-s --subhash",
            One,
            "SUBHASH",
            "use only this part of the metadata for templates",
        ),
        ("--key", One, "KEY", "print the value of this key and exit"),
        (
            "--type",
            One,
            "TYPE",
            "type that the key's value must have (default: default): default, dsn, int, \
          netaddress, netdevice, raw, swiftdevices, username",
        ),
        (
            "--key-default",
            One,
            "KEY_DEFAULT",
            "print this if the key does not exist",
        ),
        (
            "--boolean-key",
            One,
            "BOOLEAN_KEY",
            "exit with 0 for true, 1 for false, 255 for anything else",
        ),
        (
            "--os-config-files",
            One,
            "OS_CONFIG_FILES",
            "file with a JSON list of the metadata documents",
        ),
        (
            "--print-services",
            Nothing,
            "",
            "print the services that control files name, each with the files that it reads, separated by tabs",
        ),
        ("--version", Nothing, "", "show the version and exit"),
    ];
    Parser {
        program: "os-apply-config".to_owned(),
        about: "Reads and merges metadata documents, and writes configuration files by templates."
            .to_owned(),
        options: rows
            .map(|(flags, takes, value, help)| {
                let option = Opt::new(flags, takes, value, help);
                if OURS.contains(&flags) {
                    option.exact()
                } else {
                    option
                }
            })
            .into(),
        words: None,
    }
}

/// How far a run goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Renders.
    Validate,
    /// Renders, decides and prints.
    Show { diff: bool },
    /// Renders, decides and writes.
    Write,
}

struct Settings {
    templates: PathBuf,
    output: PathBuf,
    metadata: Vec<PathBuf>,
    file_list: PathBuf,
    file_list_is_default: bool,
    from_list: bool,
    fallback: Vec<PathBuf>,
    depth: Depth,
    subhash: String,
    key: Option<String>,
    kind: String,
    key_default: Option<String>,
    boolean_key: Option<String>,
    record: Option<Record>,
}

impl Settings {
    fn new(
        matches: &Matches,
        environment: &dyn Fn(&str) -> Option<OsString>,
        log: &mut Log<'_>,
    ) -> Self {
        let value = |flag: &str| matches.value(flag).map(str::to_owned);
        let filled = |flag: &str| value(flag).filter(|text| !text.is_empty());
        let default_list =
            environment("OS_CONFIG_FILES_PATH").map_or(PathBuf::from(FILE_LIST), PathBuf::from);
        let file_list =
            value("--os-config-files").map_or_else(|| default_list.clone(), PathBuf::from);
        let mut metadata: Vec<PathBuf> = matches
            .all("--metadata")
            .into_iter()
            .map(PathBuf::from)
            .collect();
        let mut from_list = false;
        if metadata.is_empty() {
            match environment("OS_CONFIG_FILES") {
                Some(paths) => metadata = std::env::split_paths(&paths).collect(),
                None => from_list = true,
            }
        }
        let output = value("--output").map_or(PathBuf::from("/"), PathBuf::from);
        Settings {
            templates: matches
                .value("--templates")
                .map_or_else(|| default_templates(environment, log), PathBuf::from),
            metadata,
            file_list_is_default: file_list == default_list,
            file_list,
            from_list,
            fallback: match matches.values("--fallback-metadata") {
                Some(paths) => paths.iter().map(PathBuf::from).collect(),
                None => FALLBACK.map(PathBuf::from).to_vec(),
            },
            depth: match (
                matches.has("--validate"),
                matches.has("--dry-run"),
                matches.has("--diff"),
            ) {
                (true, _, _) => Depth::Validate,
                (_, _, true) => Depth::Show { diff: true },
                (_, true, _) => Depth::Show { diff: false },
                _ => Depth::Write,
            },
            subhash: value("--subhash").unwrap_or_default(),
            key: filled("--key"),
            kind: value("--type").unwrap_or_else(|| "default".to_owned()),
            key_default: value("--key-default"),
            boolean_key: filled("--boolean-key"),
            record: record(&output, environment),
            output,
        }
    }

    /// The metadata documents that lie over the fallback ones.
    fn documents(&self, log: &mut Log<'_>) -> Result<Vec<PathBuf>, ApplyError> {
        if !self.from_list {
            return Ok(self.metadata.clone());
        }
        let listed = documents::read_list(&self.file_list)?;
        if !listed.is_empty() || !self.file_list_is_default {
            return Ok(listed);
        }
        let old = Path::new(FILE_LIST_OLD);
        log.warning(&format!("DEPRECATED: falling back to {}", old.display()));
        documents::read_list(old)
    }
}

fn record(output: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> Option<Record> {
    let state = environment("OS_APPLY_CONFIG_STATE").map(PathBuf::from);
    let changed = environment("OS_APPLY_CONFIG_CHANGED").map(PathBuf::from);
    if state.is_none() && output != Path::new("/") {
        return None;
    }
    Some(Record {
        state: state.unwrap_or_else(|| PathBuf::from(STATE)),
        changed: changed.unwrap_or_else(|| PathBuf::from(CHANGED)),
    })
}

fn default_templates(environment: &dyn Fn(&str) -> Option<OsString>, log: &mut Log<'_>) -> PathBuf {
    if let Some(path) = environment("OS_CONFIG_APPLIER_TEMPLATES") {
        return PathBuf::from(path);
    }
    if Path::new(TEMPLATES_OLD).is_dir() {
        return PathBuf::from(TEMPLATES_OLD);
    }
    if Path::new(TEMPLATES_OLDER).is_dir() && !Path::new(TEMPLATES).is_dir() {
        log.warning(&format!(
            "Template directory {TEMPLATES_OLDER} is deprecated. The recommended location for template files is \
             {TEMPLATES}"
        ));
        return PathBuf::from(TEMPLATES_OLDER);
    }
    PathBuf::from(TEMPLATES)
}

fn execute(settings: &Settings, out: &mut dyn Write, log: &mut Log<'_>) -> Result<u8, ApplyError> {
    let files = settings.documents(log)?;
    if settings.key.is_some() && settings.boolean_key.is_some() {
        log.warning("--key is not compatible with --boolean-key. --boolean-key ignored.");
    }
    let all: Vec<PathBuf> = settings.fallback.iter().chain(&files).cloned().collect();
    let document = documents::read_all(&all)?;
    if let Some(key) = &settings.key {
        let text = value_text(settings, key, &document, files)?;
        return Ok(print(out, &format!("{text}\n")));
    }
    if let Some(key) = &settings.boolean_key {
        return Ok(match key::find(&document, key) {
            Some(Value::Bool(true)) => 0,
            Some(Value::Bool(false)) => 1,
            _ => 255,
        });
    }
    install(
        settings,
        documents::sub_hash(document, &settings.subhash)?,
        out,
        log,
    )
}

fn value_text(
    settings: &Settings,
    key: &str,
    document: &Value,
    files: Vec<PathBuf>,
) -> Result<String, ApplyError> {
    match (key::find(document, key), &settings.key_default) {
        (Some(value), _) => key::text(value, &settings.kind),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => {
            let nearest = key::nearest(document, key);
            Err(ApplyError::MissingKey {
                key: key.to_owned(),
                files,
                nearest,
            })
        }
    }
}

fn install(
    settings: &Settings,
    document: Value,
    out: &mut dyn Write,
    log: &mut Log<'_>,
) -> Result<u8, ApplyError> {
    let accounts = Accounts::below(Path::new("/"));
    let rendered = tree::render(&settings.templates, &document, &accounts)?;
    if settings.depth == Depth::Validate {
        log.info("success");
        return Ok(0);
    }
    let set = FileSet::decide(rendered, &settings.output)?;
    if let Depth::Show { diff } = settings.depth {
        let text = if diff {
            set.diff(&Mask::of(&document))
        } else {
            set.to_string()
        };
        return Ok(print(out, &text));
    }
    for line in announce(&set) {
        log.info(&line);
    }
    let recorded = |log: &mut Log<'_>, what: std::io::Result<()>| {
        if let Err(error) = what {
            log.warning(&format!("cannot record what was written: {error}"));
        }
    };
    if let Some(record) = &settings.record {
        recorded(log, record.before(&set));
    }
    crate::apply(&set)?;
    if let Some(record) = &settings.record {
        recorded(log, record.after(&set));
    }
    log.info("success");
    Ok(0)
}

/// One line for each service, as the last run that went well knew them.
fn service_lines(record: Option<&Record>) -> String {
    let services = record.map(Record::services).unwrap_or_default();
    let line = |(name, files): &(String, Vec<String>)| format!("{name}\t{}\n", files.join("\t"));
    services.iter().map(line).collect()
}

/// What a run says about each file that it touches or leaves out.
fn announce(set: &FileSet) -> Vec<String> {
    use crate::Action;
    let line = |file: &crate::FileChange| {
        let path = file.path.display();
        match &file.action {
            Action::Keep(_) => None,
            Action::Omit => Some(format!("not creating empty {path}")),
            Action::Remove { .. } => Some(format!("deleting {path}")),
            Action::Write { .. } => Some(format!("writing {path}")),
        }
    };
    set.files.iter().filter_map(line).collect()
}
