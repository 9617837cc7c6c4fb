//! `diskimage-builder FILE.yaml…`: several images from lists of settings.
//!
//! Entries of one name are merged; each image becomes one call of `disk-image-create`, printed before it is
//! made. A file is checked whole before the first image is built.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::{Map, Value};

use crate::packages::to_json;
use crate::settings::Surroundings;

/// What a key takes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Flag,
    /// A whole number from the first to the second.
    Number(i64, i64),
    OneOf(&'static [&'static str]),
    Texts,
    ListOf(&'static [&'static str]),
    Pairs,
}

const ARCHITECTURES: &[&str] = &[
    "aarch64", "amd64", "arm64", "armhf", "powerpc", "ppc64", "ppc64el", "ppc64le", "s390x",
    "x86_64",
];
const TYPES: &[&str] = &[
    "qcow2", "tar", "tgz", "squashfs", "vhd", "docker", "aci", "raw",
];

/// All keys in the order of the command line, with its option.
const KEYS: &[(&str, &str, Kind)] = &[
    ("imagename", "-o", Kind::Text),
    ("arch", "-a", Kind::OneOf(ARCHITECTURES)),
    ("types", "-t", Kind::ListOf(TYPES)),
    ("environment", "", Kind::Pairs),
    ("ramdisk", "", Kind::Flag),
    ("debug-trace", "-x", Kind::Number(0, 2)),
    ("uncompressed", "-u", Kind::Flag),
    ("clear", "-c", Kind::Flag),
    ("logfile", "--logfile", Kind::Text),
    ("checksum", "--checksum", Kind::Flag),
    ("image-size", "--image-size", Kind::Number(1, i64::MAX)),
    (
        "image-extra-size",
        "--image-extra-size",
        Kind::Number(1, i64::MAX),
    ),
    ("image-cache", "--image-cache", Kind::Text),
    (
        "max-online-resize",
        "--max-online-resize",
        Kind::Number(1, i64::MAX),
    ),
    ("min-tmpfs", "--min-tmpfs", Kind::Number(1, i64::MAX)),
    (
        "mkfs-journal-size",
        "--mkfs-journal-size",
        Kind::Number(1, i64::MAX),
    ),
    ("mkfs-options", "--mkfs-options", Kind::Text),
    ("no-tmpfs", "--no-tmpfs", Kind::Flag),
    ("offline", "--offline", Kind::Flag),
    ("qemu-img-options", "--qemu-img-options", Kind::Pairs),
    ("root-label", "--root-label", Kind::Text),
    ("ramdisk-element", "--ramdisk-element", Kind::Text),
    (
        "install-type",
        "--install-type",
        Kind::OneOf(&["source", "package"]),
    ),
    ("docker-target", "--docker-target", Kind::Text),
    ("packages", "-p", Kind::Texts),
    ("skip-base", "-n", Kind::Flag),
    ("elements", "", Kind::Texts),
];

/// Why no image is built.
#[derive(Debug, thiserror::Error)]
pub enum MultiError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file does not follow the schema.
    #[error("{path}: {text}")]
    Form {
        /// The file.
        path: String,
        /// What is wrong.
        text: String,
    },
}

/// One call of an image builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `disk-image-create` or `ramdisk-image-create`.
    pub program: &'static str,
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// Arguments.
    pub arguments: Vec<String>,
}

impl Call {
    fn of(image: &Map<String, Value>) -> Self {
        let mut call = Self {
            program: "disk-image-create",
            environment: Vec::new(),
            arguments: Vec::new(),
        };
        for (key, option, _) in KEYS {
            let Some(value) = image.get(*key) else {
                continue;
            };
            match (*key, value) {
                ("ramdisk", value) => {
                    if value == &Value::Bool(true) {
                        call.program = "ramdisk-image-create";
                    }
                }
                ("environment", Value::Object(pairs)) => {
                    call.environment = pairs
                        .iter()
                        .map(|(name, value)| (name.clone(), word(value)))
                        .collect();
                }
                ("elements", Value::Array(names)) => call.arguments.extend(names.iter().map(word)),
                ("debug-trace", Value::Number(times)) => {
                    let times =
                        usize::try_from(times.as_u64().unwrap_or_default()).unwrap_or_default();
                    call.arguments
                        .extend(std::iter::repeat_n((*option).to_owned(), times));
                }
                (_, Value::Bool(on)) => call.arguments.extend(on.then(|| (*option).to_owned())),
                (_, Value::Array(items)) if items.is_empty() => {}
                (_, Value::Array(items)) => {
                    let list: Vec<String> = items.iter().map(word).collect();
                    call.arguments
                        .extend([(*option).to_owned(), list.join(",")]);
                }
                (_, Value::Object(pairs)) => {
                    let list: Vec<String> = pairs
                        .iter()
                        .map(|(name, value)| format!("{name}={}", word(value)))
                        .collect();
                    call.arguments
                        .extend([(*option).to_owned(), list.join(",")]);
                }
                (_, value) => call.arguments.extend([(*option).to_owned(), word(value)]),
            }
        }
        call
    }

    /// The name of the image.
    fn image(&self) -> &str {
        let mut arguments = self.arguments.iter();
        arguments
            .find(|argument| *argument == "-o")
            .and_then(|_| arguments.next())
            .map_or("image", String::as_str)
    }

    /// The call as one types it in a shell.
    fn as_line(&self, program: &Path) -> String {
        let variables = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={}", always_quoted(value)));
        let program = quoted(&program.to_string_lossy());
        let words: Vec<String> = variables
            .chain([program])
            .chain(self.arguments.iter().map(|argument| quoted(argument)))
            .collect();
        words.join(" ")
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        always_quoted(text)
    }
}

fn always_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Reads one file, in order of its entries.
fn entries(path: &str) -> Result<Vec<Map<String, Value>>, MultiError> {
    let wrong = |text: String| MultiError::Form {
        path: path.to_owned(),
        text,
    };
    let text = std::fs::read_to_string(path).map_err(|source| MultiError::Read {
        path: path.to_owned(),
        source,
    })?;
    let document = yaml::parse(&text).map_err(|error| wrong(error.to_string()))?;
    let Value::Array(list) = to_json(&document) else {
        return Err(wrong("it must be a list of images".to_owned()));
    };
    let mut images = Vec::new();
    for (number, entry) in list.into_iter().enumerate() {
        let Value::Object(image) = entry else {
            return Err(wrong(format!(
                "entry {} must be a map, not {entry}",
                number + 1
            )));
        };
        for (key, value) in &image {
            let Some((_, _, kind)) = KEYS.iter().find(|(known, ..)| known == key) else {
                return Err(wrong(format!("entry {}: unknown key `{key}`", number + 1)));
            };
            if !fits(value, *kind) {
                return Err(wrong(format!(
                    "entry {}: `{key}` cannot be {value}: {}",
                    number + 1,
                    wanted(*kind)
                )));
            }
        }
        images.push(image);
    }
    Ok(images)
}

fn fits(value: &Value, kind: Kind) -> bool {
    let among =
        |value: &Value, list: &[&str]| value.as_str().is_some_and(|text| list.contains(&text));
    match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Bool(_)) => true,
        (Kind::Number(least, most), Value::Number(number)) => number
            .as_i64()
            .is_some_and(|number| (least..=most).contains(&number)),
        (Kind::OneOf(list), value) => among(value, list),
        (Kind::Texts, Value::Array(items)) => items.iter().all(Value::is_string),
        (Kind::ListOf(list), Value::Array(items)) => items.iter().all(|item| among(item, list)),
        (Kind::Pairs, Value::Object(pairs)) => pairs.values().all(Value::is_string),
        (
            Kind::Text
            | Kind::Flag
            | Kind::Number(..)
            | Kind::Texts
            | Kind::ListOf(_)
            | Kind::Pairs,
            _,
        ) => false,
    }
}

fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Text => "text is wanted".to_owned(),
        Kind::Flag => "true or false is wanted".to_owned(),
        Kind::Number(least, i64::MAX) => format!("a whole number from {least} on is wanted"),
        Kind::Number(least, most) => format!("a whole number from {least} to {most} is wanted"),
        Kind::OneOf(list) => format!("one of {} is wanted", list.join(", ")),
        Kind::Texts => "a list of texts is wanted".to_owned(),
        Kind::ListOf(list) => format!("a list of {} is wanted", list.join(", ")),
        Kind::Pairs => "a map of texts is wanted".to_owned(),
    }
}

/// Merges entries of one name: lists grow, maps are updated, the rest is replaced.
fn merge(all: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    let mut images: Vec<(String, Map<String, Value>)> = Vec::new();
    let mut name = "image".to_owned();
    for entry in all {
        if let Some(Value::String(own)) = entry.get("imagename") {
            name.clone_from(own);
        }
        let at = images
            .iter()
            .position(|(known, _)| *known == name)
            .unwrap_or_else(|| {
                images.push((name.clone(), Map::new()));
                images.len() - 1
            });
        let image = &mut images[at].1;
        for (key, value) in entry {
            match (image.get_mut(&key), value) {
                (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
                (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
                (_, value) => drop(image.insert(key, value)),
            }
        }
    }
    images.into_iter().map(|(_, image)| image).collect()
}

/// All calls that `files` ask for.
pub fn calls(files: &[String]) -> Result<Vec<Call>, MultiError> {
    let mut all = Vec::new();
    for file in files {
        all.extend(entries(file)?);
    }
    Ok(merge(all).iter().map(Call::of).collect())
}

fn help() -> String {
    let mut text = "usage: diskimage-builder [-h] [--dry-run] [--stop-on-failure] FILE...\n\n\
        Builds the images that YAML files list: a list of maps with these keys.\n\n"
        .to_owned();
    for (key, option, kind) in KEYS {
        text.push_str(&format!("  {key:<20} {option:<22} {}\n", wanted(*kind)));
    }
    text.push_str(
        "\n  --dry-run            only print the command lines\n  \
         --stop-on-failure    end with the first image that fails\n",
    );
    text
}

/// Runs `diskimage-builder`.
pub fn main(_around: &Surroundings, arguments: &[String]) -> ExitCode {
    let (mut dry_run, mut stop, mut files) = (false, false, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "-h" | "--help" => {
                let _ = std::io::stdout().write_all(help().as_bytes());
                return ExitCode::SUCCESS;
            }
            "--dry-run" => dry_run = true,
            "--stop-on-failure" => stop = true,
            option if option.starts_with('-') => {
                tell(&format!(
                    "diskimage-builder: error: unrecognized arguments: {option}"
                ));
                return ExitCode::from(2);
            }
            file => files.push(file.to_owned()),
        }
    }
    if files.is_empty() {
        tell("usage: diskimage-builder [-h] [--dry-run] [--stop-on-failure] FILE...");
        return ExitCode::from(2);
    }
    match calls(&files) {
        Ok(calls) => run_all(&calls, dry_run, stop),
        Err(error) => {
            tell(&format!("diskimage-builder: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn run_all(calls: &[Call], dry_run: bool, stop: bool) -> ExitCode {
    let own = std::env::current_exe().unwrap_or_default();
    let mut failed = Vec::new();
    for call in calls {
        let program = own.with_file_name(call.program);
        tell(&call.as_line(&program));
        if dry_run {
            continue;
        }
        let variables = call.environment.iter().map(|(name, value)| (name, value));
        let result = Command::new(&program)
            .args(&call.arguments)
            .envs(variables)
            .status();
        match result {
            Ok(status) if status.success() => continue,
            Ok(status) => failed.push(format!("image {} failed: {status}", call.image())),
            Err(error) => failed.push(format!("cannot run {}: {error}", program.display())),
        }
        if stop {
            break;
        }
    }
    for text in &failed {
        tell(&format!("diskimage-builder: {text}"));
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> String {
        let top = tempfile::tempdir().expect("folder");
        let path = top.path().join("i.yaml");
        std::fs::write(&path, text).expect("file");
        match calls(&[path.to_str().expect("text").to_owned()]) {
            Ok(calls) => calls
                .iter()
                .map(|call| call.as_line(Path::new(call.program)))
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error
                .to_string()
                .rsplit_once("yaml: ")
                .expect("names the file")
                .1
                .to_owned(),
        }
    }

    #[test]
    fn entries_of_one_name_are_merged() {
        assert_eq!(
            lines(
                "- {imagename: a, elements: [x], arch: amd64, environment: {A: '1'}}\n- {imagename: b}\n- {imagename: a, elements: [z], arch: arm64, debug-trace: 2}"
            ),
            "A='1' disk-image-create -o a -a arm64 -x -x x z\ndisk-image-create -o b"
        );
    }

    #[test]
    fn wrong_values_are_named() {
        assert_eq!(
            lines("- {image-size: 0}"),
            "entry 1: `image-size` cannot be 0: a whole number from 1 on is wanted"
        );
        assert_eq!(lines("- {nosuch: 0}"), "entry 1: unknown key `nosuch`");
    }
}
