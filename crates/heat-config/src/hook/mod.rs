//! Runs the hook of a deployment's group.
//!
//! A hook is a program that reads the deployment as JSON and prints its result as JSON. The hooks of the usual tools are
//! built in; one on disk comes before it. The tool itself must be on the node: an element brings it.

mod ansible;
mod apply_config;
mod chef;
mod json_file;
mod puppet;
mod salt;
mod script;

use crate::deployment::Deployment;
use metadata::{Map, Value, object};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Heat takes messages of a megabyte; of longer output the end is kept.
const MAX_OUTPUT: usize = 256 << 10;

/// A hook that is built in.
type BuiltIn = fn(&Hooks, &Deployment) -> io::Result<Value>;

/// The groups whose hooks are built in.
const BUILT_IN: [(&str, BuiltIn); 7] = [
    ("ansible", ansible::run),
    ("apply-config", apply_config::run),
    ("chef", chef::run),
    ("json-file", json_file::run),
    ("puppet", puppet::run),
    ("salt", salt::run),
    ("script", script::run),
];

/// What hooks let the environment say, beside `HEAT_<TOOL>_WORKING` and `HEAT_<TOOL>_OUTPUTS`.
const SAID: [&str; 10] = [
    "HEAT_CONFIG_HOOKS",
    "HEAT_ANSIBLE_CMD",
    "HEAT_ANSIBLE_INVENTORY",
    "HEAT_APPLY_CONFIG_CMD",
    "HEAT_CHEF_CMD",
    "HEAT_PUPPET_CMD",
    "HEAT_PUPPET_HIERA_DATADIR",
    "HEAT_SALT_CMD",
    "SALT_MINION_CONFIG",
    "LC_ALL",
];

/// Where hooks are, and where the built-in ones work.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Directories with one program per group.
    pub directories: Vec<PathBuf>,
    said: BTreeMap<String, OsString>,
}

/// Where one tool works.
struct Workshop {
    /// What it is given.
    working: PathBuf,
    /// Where the outputs of this deployment begin: `PATH.NAME` holds the output `NAME`.
    outputs: PathBuf,
}

impl Hooks {
    /// The hooks of this node, as far as `environment` does not say otherwise.
    pub fn new(environment: &dyn Fn(&str) -> Option<OsString>) -> Hooks {
        let mut said = BTreeMap::new();
        let tools = BUILT_IN.iter().flat_map(|(group, _)| {
            let tool = group.to_uppercase().replace('-', "_");
            [
                format!("HEAT_{tool}_WORKING"),
                format!("HEAT_{tool}_OUTPUTS"),
            ]
        });
        for name in SAID.map(str::to_owned).into_iter().chain(tools) {
            if let Some(value) = environment(&name) {
                said.insert(name, value);
            }
        }
        let mut hooks = Hooks {
            directories: Vec::new(),
            said,
        };
        hooks.directories = vec![
            hooks
                .said("HEAT_CONFIG_HOOKS", "/usr/libexec/heat-config/hooks")
                .into(),
            PathBuf::from("/var/lib/heat-config/hooks"),
        ];
        hooks
    }

    /// Carries the deployment out and gives its result. That something fails is a result, too.
    pub fn run(&self, deployment: &Deployment) -> Value {
        let group = deployment.group.as_str();
        let programs = self
            .directories
            .iter()
            .map(|directory| directory.join(group));
        let known = !group.contains('/');
        if let Some(program) = programs.clone().find(|program| known && program.is_file()) {
            return run_program(&program, deployment);
        }
        if let Some((_, hook)) = BUILT_IN.iter().find(|(name, _)| *name == group) {
            return hook(self, deployment)
                .unwrap_or_else(|error| failure(&format!("cannot run hook {group}: {error}")));
        }
        let places: Vec<String> = programs
            .map(|program| program.display().to_string())
            .collect();
        failure(&format!(
            "this node has no hook for group `{group}`: there is no {}",
            places.join(" and no ")
        ))
    }

    /// What the environment says, else `default`.
    fn said(&self, name: &str, default: &str) -> OsString {
        let said = self.said.get(name).cloned();
        said.unwrap_or_else(|| default.into())
    }

    /// Makes the directories of the deployment's tool; nobody else may look into them.
    fn workshop(&self, deployment: &Deployment) -> io::Result<Workshop> {
        let tool = deployment.group.to_uppercase().replace('-', "_");
        let place = |kind: &str, root: &str| {
            let default = format!("{root}/heat-config/heat-config-{}", deployment.group);
            PathBuf::from(self.said(&format!("HEAT_{tool}_{kind}"), &default))
        };
        let working = place("WORKING", "/var/lib");
        let outputs = place("OUTPUTS", "/var/run");
        for directory in [&working, &outputs] {
            private_directory(directory)?;
        }
        Ok(Workshop {
            working,
            outputs: outputs.join(&deployment.id),
        })
    }
}

impl Workshop {
    /// The result of a deployment whose tool ended with `output`: its outputs, then how it ended.
    fn result(&self, deployment: &Deployment, output: &Output) -> Value {
        let mut result = Map::new();
        for name in deployment.outputs().filter(|name| !name.contains('/')) {
            let mut path = self.outputs.clone().into_os_string();
            path.push(format!(".{name}"));
            if let Ok(bytes) = fs::read(PathBuf::from(path)) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                result.insert(name.to_owned(), Value::from(text));
            }
        }
        result.extend(ended(output));
        Value::Map(result)
    }

    /// Writes a file for the tool; what an earlier deployment left there is replaced.
    fn write(&self, name: &str, mode: u32, text: &str) -> io::Result<PathBuf> {
        let path = self.working.join(name);
        let mut file = private_file(&path, mode)?;
        file.write_all(text.as_bytes())?;
        // The kernel does not execute a file that somebody has open for writing.
        drop(file);
        Ok(path)
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A new file in the place of whatever was there, a link to elsewhere included.
fn private_file(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).open(path)
}

/// Runs a tool to its end. A tool that is not there is told by its name, and by the element that brings it.
fn run_tool(command: &mut Command, element: &str) -> io::Result<Output> {
    command.stdin(Stdio::null());
    let output = patiently(|| command.output());
    output.map_err(|error| {
        let program = command.get_program().display();
        let advice = match error.kind() {
            io::ErrorKind::NotFound => format!(" (the element {element} brings it)"),
            _ => String::new(),
        };
        io::Error::new(
            error.kind(),
            format!("cannot run {program}: {error}{advice}"),
        )
    })
}

/// Starts a program that was written a moment ago: a process that another thread was just making may hold the file open
/// for writing until it executes its own program, and meanwhile the kernel executes none.
fn patiently<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const ATTEMPTS: u32 = 100;
    for _ in 1..ATTEMPTS {
        match start() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            started => return started,
        }
    }
    start()
}

/// The configuration as text; a structured one as JSON, which is YAML, too.
fn config_text(deployment: &Deployment) -> String {
    match deployment.document.get("config") {
        None | Some(Value::Null) => String::new(),
        Some(Value::Text(text)) => text.clone(),
        Some(other) => other.to_json(),
    }
}

/// One of the deployment's options.
fn option<'d>(deployment: &'d Deployment, name: &str) -> Option<&'d Value> {
    deployment.document.get("options")?.get(name)
}

/// An option that is a text with something in it.
fn option_text<'d>(deployment: &'d Deployment, name: &str) -> Option<&'d str> {
    option(deployment, name)?
        .as_text()
        .filter(|text| !text.is_empty())
}

/// The name of this machine with its domain, as far as it has one.
fn host_name() -> Option<String> {
    let asked = Command::new("hostname")
        .arg("-f")
        .stderr(Stdio::null())
        .output();
    let asked = asked.ok().filter(|output| output.status.success());
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.or_else(|| fs::read_to_string("/proc/sys/kernel/hostname").ok())?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('/'))
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
    let mut command = Command::new(program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = patiently(|| command.spawn())?;
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

    pub(super) struct Place {
        pub root: tempfile::TempDir,
        pub hooks: Hooks,
    }

    pub(super) fn place() -> Place {
        let root = tempfile::tempdir().unwrap();
        let mut hooks = Hooks::new(&|_| None);
        hooks.directories = vec![root.path().join("hooks")];
        for (group, _) in BUILT_IN {
            let tool = group.to_uppercase().replace('-', "_");
            for kind in ["WORKING", "OUTPUTS"] {
                let path = root.path().join("s").join(kind).join(group);
                hooks
                    .said
                    .insert(format!("HEAT_{tool}_{kind}"), path.into());
            }
        }
        fs::create_dir(root.path().join("hooks")).unwrap();
        Place { root, hooks }
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

    fn text_of<'v>(value: &'v Value, key: &str) -> &'v str {
        value.get(key).unwrap().as_text().unwrap()
    }

    #[test]
    fn scripts_get_inputs_and_give_outputs() {
        let place = place();
        let config = "#!/bin/sh\necho \"$word $list $yes\"; echo e >&2; printf val > $heat_outputs_path.out; exit 3";
        let result = run(&place, "script", config);
        assert_eq!(text_of(&result, "deploy_stdout"), "x y [1, true] True\n");
        assert_eq!(text_of(&result, "deploy_stderr"), "e\n");
        assert_eq!(text_of(&result, "out"), "val");
        assert_eq!(result.get("deploy_status_code").unwrap().to_json(), "3");
        assert!(result.get("none").is_none());
    }

    #[test]
    fn a_script_without_interpreter_is_run_by_the_shell() {
        assert_eq!(
            text_of(&run(&place(), "script", "echo plain"), "deploy_stdout"),
            "plain\n"
        );
    }

    /// Runs the deployment that `text` describes, and compares its status.
    #[track_caller]
    pub(super) fn check_status(place: &Place, text: &str, status: i64) -> Value {
        let deployment = Deployment::read(&metadata::parse(text).unwrap()).unwrap();
        let result = place.hooks.run(&deployment);
        let found = result.get("deploy_status_code").unwrap().to_json();
        assert_eq!(found, status.to_string(), "{}", result.to_json());
        result
    }

    /// The tool is a shell script here: this shows what tools are told, and the tools themselves are tried in `--full`.
    #[track_caller]
    fn tool(place: &mut Place, variable: &str, script: &str) {
        let path = place.root.path().join("tool");
        let mut file = private_file(&path, 0o755).unwrap();
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes())
            .unwrap();
        place.hooks.said.insert(variable.to_owned(), path.into());
    }

    const INPUTS: &str = r#""inputs": [{"name": "word", "value": "x y"}, {"name": "list", "value": [1, true]},
        {"name": "deploy_action", "value": "CREATE"}], "outputs": [{"name": "out"}, {"name": "none"}]"#;

    #[test]
    fn ansible_is_told_all() {
        let mut place = place();
        let script = r#"echo "$@ $LC_ALL" | sed "s,$PWD/,,g"; cat a_variables.json a_playbook.yaml
            out=$(sed 's/.*heat_outputs_path": "\([^"]*\)".*/\1/' a_variables.json); printf val > "$out.out"; exit 4"#;
        tool(&mut place, "HEAT_ANSIBLE_CMD", script);
        let text = format!(
            r#"{{"id": "a", "group": "ansible", "config": "- hosts: all\n", "options": {{"tags": "t", "modulepath": "/m"}}, {INPUTS}}}"#
        );
        let result = check_status(&place, &text, 4);
        let out = text_of(&result, "deploy_stdout");
        let words = "-i localhost, --module-path /m --tags t a_playbook.yaml --extra-vars @a_variables.json C.UTF-8\n";
        let variables = r#"{"heat_config_id": "a", "word": "x y", "list": [1, true], "deploy_action": "CREATE", "heat_outputs_path":"#;
        assert!(out.starts_with(&format!("{words}{variables}")), "{out}");
        assert!(out.ends_with("}- hosts: all\n"), "{out}");
        assert_eq!(text_of(&result, "out"), "val");
        assert!(result.get("none").is_none());
        let result = check_status(&place, r#"{"id": "a", "group": "ansible"}"#, 1);
        assert_eq!(
            text_of(&result, "deploy_stderr"),
            "the deployment has no playbook"
        );
    }

    #[test]
    fn puppet_is_told_all() {
        let mut place = place();
        let script = r#"echo "$@" "$FACTER_word" "$FACTER_list" "$FACTER_deploy_config_name" | sed "s,$PWD/,,g"
            cat a.pp; printf val > "$FACTER_heat_outputs_path.out"; exit 2"#;
        tool(&mut place, "HEAT_PUPPET_CMD", script);
        let data = place.root.path().join("hiera");
        place
            .hooks
            .said
            .insert("HEAT_PUPPET_HIERA_DATADIR".to_owned(), data.clone().into());
        let text = format!(
            r#"{{"id": "a", "name": "n", "group": "puppet", "config": "notice(1)", "options": {{"enable_hiera": true, "tags": "t"}}, {INPUTS}}}"#
        );
        let result = check_status(&place, &text, 0);
        let expect = "apply --color false --detailed-exitcodes --logdest console --tags t a.pp x y [1, true] n\nnotice(1)";
        assert_eq!(text_of(&result, "deploy_stdout"), expect);
        assert_eq!(text_of(&result, "out"), "val");
        let hiera = fs::read_to_string(data.join("heat_config_n.json")).unwrap();
        assert!(
            hiera.starts_with(r#"{"word": "x y", "list": [1, true]"#),
            "{hiera}"
        );
    }

    #[test]
    fn salt_is_told_all() {
        let mut place = place();
        let script = r#"echo '{"local": {"a": {"result": true}}}'; (echo "$@" | sed "s,$PWD/,,g"; cat a.sls
            cat a.minion/minion.d/*.conf) >&2; exit 2"#;
        tool(&mut place, "HEAT_SALT_CMD", script);
        let text = format!(r#"{{"id": "a", "group": "salt", "config": {{"s": {{}}}}, {INPUTS}}}"#);
        let result = check_status(&place, &text, 0);
        let err = text_of(&result, "deploy_stderr");
        let words = "--local --retcode-passthrough --out json --config-dir a.minion state.sls a\n";
        let options = r#"{"s": {}}{"word": "x y", "list": [1, true], "deploy_action": "CREATE", "file_roots": {"base": ["#;
        assert!(err.starts_with(&format!("{words}{options}")), "{err}");
    }

    #[test]
    fn chef_is_told_all() {
        let mut place = place();
        let script = r#"echo "$1 $2 $4"; cat "$3" "$5"; printf val > "$heat_outputs_path.out""#;
        tool(&mut place, "HEAT_CHEF_CMD", script);
        let text = format!(
            r#"{{"id": "a", "group": "chef", "config": "[\"recipe[x]\"]", "options": {{"kitchen_path": "/k'"}}, {INPUTS}}}"#
        );
        let result = check_status(&place, &text, 0);
        let out = text_of(&result, "deploy_stdout");
        assert!(
            out.starts_with("-z --config -j\nlog_level :debug\n"),
            "{out}"
        );
        assert!(out.contains("cookbook_path '/k\\'/cookbooks'\n"), "{out}");
        assert!(
            out.contains("\"run_list\": [\n  \"recipe[x]\"\n ]"),
            "{out}"
        );
        assert!(!out.contains("deploy_action"), "{out}");
        assert_eq!(text_of(&result, "out"), "val");
        let text = r#"{"id": "a", "group": "chef", "config": "recipe[x]"}"#;
        check_status(&place, text, 1);
    }

    #[test]
    fn a_tool_that_is_missing_is_named() {
        let mut place = place();
        place
            .hooks
            .said
            .insert("HEAT_PUPPET_CMD".to_owned(), "/nonexistent/puppet".into());
        let result = check_status(&place, r#"{"id": "a", "group": "puppet", "config": ""}"#, 1);
        let err = text_of(&result, "deploy_stderr");
        assert!(err.contains("/nonexistent/puppet"), "{err}");
        assert!(
            err.contains("the element heat-config-puppet brings it"),
            "{err}"
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
        assert_eq!(text_of(&run(&place, "tool", "hi"), "got"), "it");
        hook("broken", "#!/bin/sh\necho no json; exit 4\n");
        let result = run(&place, "broken", "hi");
        assert_eq!(text_of(&result, "deploy_stdout"), "no json\n");
        assert_eq!(result.get("deploy_status_code").unwrap().to_json(), "4");
        let result = run(&place, "unknown", "hi");
        assert!(
            text_of(&result, "deploy_stderr")
                .starts_with("this node has no hook for group `unknown`")
        );
    }
}
