//! Runs the hook of a deployment's group.
//!
//! A hook is a program that reads the deployment as JSON and prints its result as JSON. The hook `script` is built in;
//! one on disk comes before it.

use crate::deployment::Deployment;
use metadata::{Map, Value, object};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Heat takes messages of a megabyte; of longer output the end is kept.
const MAX_OUTPUT: usize = 256 << 10;

/// Where hooks are, and where the built-in one works.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Directories with one program per group.
    pub directories: Vec<PathBuf>,
    /// Where scripts are written.
    pub scripts: PathBuf,
    /// Where scripts write their outputs.
    pub outputs: PathBuf,
}

impl Hooks {
    /// Carries the deployment out and gives its result. That something fails is a result, too.
    pub fn run(&self, deployment: &Deployment) -> Value {
        let programs = self
            .directories
            .iter()
            .map(|directory| directory.join(&deployment.group));
        let known = !deployment.group.contains('/');
        if let Some(program) = programs.clone().find(|program| known && program.is_file()) {
            return run_program(&program, deployment);
        }
        if deployment.group == "script" {
            return self
                .run_script(deployment)
                .unwrap_or_else(|error| failure(&format!("cannot run the script: {error}")));
        }
        let places: Vec<String> = programs
            .map(|program| program.display().to_string())
            .collect();
        failure(&format!(
            "this node has no hook for group `{}`: there is no {}",
            deployment.group,
            places.join(" and no ")
        ))
    }

    /// Runs the configuration as a program with the inputs in its environment.
    fn run_script(&self, deployment: &Deployment) -> io::Result<Value> {
        for directory in [&self.scripts, &self.outputs] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let script = self.scripts.join(&deployment.id);
        let outputs = self.outputs.join(&deployment.id);
        let config = deployment
            .document
            .get("config")
            .and_then(Value::as_text)
            .unwrap_or_default();
        let _ = fs::remove_file(&script);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(&script)?;
        file.write_all(config.as_bytes())?;
        // The kernel does not execute a file that somebody has open for writing.
        drop(file);
        let run = |mut command: Command| {
            let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
            for (name, value) in deployment.inputs().filter(|(name, _)| usable(name)) {
                command.env(name, value.to_python().replace('\0', ""));
            }
            command
                .env("heat_outputs_path", &outputs)
                .stdin(Stdio::null())
                .output()
        };
        let output = match run(Command::new(&script)) {
            // As a shell does with a script that does not say what runs it.
            Err(error) if error.raw_os_error() == Some(8) => {
                let mut shell = Command::new("/bin/sh");
                shell.arg(&script);
                run(shell)?
            }
            other => other?,
        };
        let mut result = Map::new();
        for name in deployment.outputs().filter(|name| !name.contains('/')) {
            let mut path = outputs.clone().into_os_string();
            path.push(format!(".{name}"));
            if let Ok(bytes) = fs::read(PathBuf::from(path)) {
                result.insert(
                    name.to_owned(),
                    Value::from(String::from_utf8_lossy(&bytes).into_owned()),
                );
            }
        }
        result.extend(ended(&output));
        Ok(Value::Map(result))
    }
}

/// What every result says.
fn ended(output: &Output) -> Map {
    let text = |bytes: &[u8]| {
        let start = bytes.len().saturating_sub(MAX_OUTPUT);
        Value::from(String::from_utf8_lossy(&bytes[start..]).into_owned())
    };
    Map::from_iter([
        ("deploy_stdout".to_owned(), text(&output.stdout)),
        ("deploy_stderr".to_owned(), text(&output.stderr)),
        (
            "deploy_status_code".to_owned(),
            Value::from(status_code(output)),
        ),
    ])
}

fn status_code(output: &Output) -> i64 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = output.status.signal().map(|signal| -signal);
    i64::from(output.status.code().or(signal).unwrap_or(1))
}

/// The result of a deployment that could not be carried out.
pub(crate) fn failure(why: &str) -> Value {
    object([
        ("deploy_stdout", Value::from("")),
        ("deploy_stderr", Value::from(why)),
        ("deploy_status_code", Value::from(1)),
    ])
}

fn run_program(program: &Path, deployment: &Deployment) -> Value {
    match feed(program, deployment) {
        Ok(output) => {
            // A hook that prints no JSON has not worked as a hook; what it printed says why.
            let printed = std::str::from_utf8(&output.stdout)
                .ok()
                .and_then(|text| metadata::parse(text).ok());
            printed
                .filter(|result| result.as_map().is_some())
                .unwrap_or_else(|| Value::Map(ended(&output)))
        }
        Err(error) => failure(&format!("cannot run hook {}: {error}", program.display())),
    }
}

fn feed(program: &Path, deployment: &Deployment) -> io::Result<Output> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    let document = deployment.document.to_json();
    // The hook may write before it has read all, or may not read at all.
    std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(document.as_bytes());
        }
    });
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        _root: tempfile::TempDir,
        hooks: Hooks,
    }

    fn place() -> Place {
        let root = tempfile::tempdir().unwrap();
        let hooks = Hooks {
            directories: vec![root.path().join("hooks")],
            scripts: root.path().join("s/scripts"),
            outputs: root.path().join("s/outputs"),
        };
        fs::create_dir(root.path().join("hooks")).unwrap();
        Place { _root: root, hooks }
    }

    fn run(place: &Place, group: &str, config: &str) -> Value {
        let document = format!(
            r#"{{"id": "a", "group": "{group}", "config": {}, "outputs": [{{"name": "out"}}, {{"name": "none"}}],
                "inputs": [{{"name": "word", "value": "x y"}}, {{"name": "list", "value": [1, true]}},
                           {{"name": "yes", "value": true}}]}}"#,
            Value::from(config).to_json()
        );
        place
            .hooks
            .run(&Deployment::read(&metadata::parse(&document).unwrap()).unwrap())
    }

    fn text<'v>(value: &'v Value, key: &str) -> &'v str {
        value.get(key).unwrap().as_text().unwrap()
    }

    #[test]
    fn scripts_get_inputs_and_give_outputs() {
        let place = place();
        let config = "#!/bin/sh\necho \"$word $list $yes\"; echo e >&2; printf val > $heat_outputs_path.out; exit 3";
        let result = run(&place, "script", config);
        assert_eq!(text(&result, "deploy_stdout"), "x y [1, true] True\n");
        assert_eq!(text(&result, "deploy_stderr"), "e\n");
        assert_eq!(text(&result, "out"), "val");
        assert_eq!(result.get("deploy_status_code").unwrap().to_json(), "3");
        assert!(result.get("none").is_none());
    }

    #[test]
    fn a_script_without_interpreter_is_run_by_the_shell() {
        assert_eq!(
            text(&run(&place(), "script", "echo plain"), "deploy_stdout"),
            "plain\n"
        );
    }

    #[test]
    fn hooks_read_and_print_json() {
        let place = place();
        let hook = |name: &str, text: &str| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o755)
                .open(place.hooks.directories[0].join(name))
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        hook(
            "tool",
            "#!/bin/sh\ngrep -q '\"config\": \"hi\"' && echo '{\"deploy_status_code\": 0, \"got\": \"it\"}'\n",
        );
        assert_eq!(text(&run(&place, "tool", "hi"), "got"), "it");
        hook("broken", "#!/bin/sh\necho no json; exit 4\n");
        let result = run(&place, "broken", "hi");
        assert_eq!(text(&result, "deploy_stdout"), "no json\n");
        assert_eq!(result.get("deploy_status_code").unwrap().to_json(), "4");
        let result = run(&place, "unknown", "hi");
        assert!(
            text(&result, "deploy_stderr").starts_with("this node has no hook for group `unknown`")
        );
    }
}
