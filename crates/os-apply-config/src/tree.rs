//! Renders a tree of templates: what each file shall hold, before anything is written.

use crate::accounts::Accounts;
use crate::control::{self, Control};
use crate::error::TemplateProblem;
use crate::{ApplyError, key, mustache};
use metadata::Value;
use rustix::fs::Access;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A template with what it renders to.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The template.
    pub template: PathBuf,
    /// Its path below the root of the templates, which is the file's path below the root of the output.
    pub path: PathBuf,
    /// What the file shall hold.
    pub body: Vec<u8>,
    /// What its control file says.
    pub control: Control,
}

/// Renders all templates below `root`, in the order of their paths. No such directory is an empty tree.
pub fn render(
    root: &Path,
    document: &Value,
    accounts: &Accounts,
) -> Result<Vec<Rendered>, ApplyError> {
    let mut paths = Vec::new();
    walk(root, Path::new(""), &mut paths)?;
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let template = root.join(&path);
            let control = read_control(&template, accounts)?;
            for key in &control.require {
                if key::find(document, key).is_none() {
                    return Err(ApplyError::Required {
                        template,
                        key: key.clone(),
                        nearest: key::nearest(document, key),
                    });
                }
            }
            let body = render_one(&template, document)?;
            Ok(Rendered {
                template,
                path,
                body,
                control,
            })
        })
        .collect()
}

/// Lists the templates below `root`; links to directories are not followed, as `os.walk` has it.
fn walk(root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), ApplyError> {
    let directory = root.join(below);
    let failed = |source| ApplyError::Walk {
        path: directory.clone(),
        source,
    };
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(source) => return Err(failed(source)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = below.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(root, &path, found)?;
        } else if !entry.path().is_dir() && !entry.file_name().as_encoded_bytes().ends_with(b".oac")
        {
            found.push(path);
        }
    }
    Ok(())
}

fn read_control(template: &Path, accounts: &Accounts) -> Result<Control, ApplyError> {
    let mut name = template.as_os_str().to_owned();
    name.push(".oac");
    let path = PathBuf::from(name);
    if !path.is_file() {
        return Ok(Control::default());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| ApplyError::Control {
        path: path.clone(),
        what: error.to_string(),
    })?;
    control::parse(&path, &text, accounts)
}

fn render_one(template: &Path, document: &Value) -> Result<Vec<u8>, ApplyError> {
    let failed = |source| ApplyError::Template {
        path: template.to_owned(),
        source,
    };
    let kind = std::fs::metadata(template).map_err(|error| failed(TemplateProblem::Read(error)))?;
    if !kind.is_file() {
        return Err(failed(TemplateProblem::NotAFile));
    }
    if rustix::fs::access(template, Access::EXEC_OK).is_ok() {
        return run(template, document);
    }
    let bytes = std::fs::read(template).map_err(|error| failed(TemplateProblem::Read(error)))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        failed(TemplateProblem::Encoding {
            at: error.utf8_error().valid_up_to(),
        })
    })?;
    // Python opens text files with universal newlines.
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    };
    let partial = |name: &str| std::fs::read_to_string(format!("./{name}.mustache")).ok();
    mustache::render(&text, document, &partial)
        .map(String::into_bytes)
        .map_err(|source| failed(TemplateProblem::Mustache { source }))
}

/// Runs an executable template; it reads the metadata as JSON and writes the file's content.
fn run(template: &Path, document: &Value) -> Result<Vec<u8>, ApplyError> {
    let started = |source| ApplyError::StartScript {
        path: template.to_owned(),
        source,
    };
    let mut child = Command::new(program(template))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(started)?;
    let input = document.to_json();
    let stdin = child.stdin.take();
    // The script may write before it has read all, or may not read at all.
    let writer = std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input.as_bytes());
        }
    });
    let output = child.wait_with_output().map_err(started)?;
    drop(writer);
    if !output.status.success() {
        let mut all = output.stdout;
        all.extend_from_slice(&output.stderr);
        let output = String::from_utf8_lossy(&all).into_owned();
        return Err(ApplyError::Script {
            path: template.to_owned(),
            output,
        });
    }
    if std::str::from_utf8(&output.stdout).is_err() {
        let source = TemplateProblem::OutputEncoding;
        return Err(ApplyError::Template {
            path: template.to_owned(),
            source,
        });
    }
    Ok(output.stdout)
}

/// A path without a slash would be looked for in `PATH`.
fn program(template: &Path) -> PathBuf {
    if template.components().count() == 1 {
        Path::new(".").join(template)
    } else {
        template.to_owned()
    }
}
