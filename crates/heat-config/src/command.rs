//! The commands `heat-config`, `heat-config-notify` and `os-signal-deployments`.

use crate::deployment::{Deployment, Road};
use crate::hook::{Hooks, failure};
use crate::refreshed;
use crate::signal::Signals;
use crate::state::{Progress, State, StateError};
use arguments::{Opt, Parser, Process, Takes, print};
use metadata::{Value, object};
use os_collect_config::ConfigDrive;
use secret::Mask;
use std::error::Error;
use std::ffi::OsString;
use std::io::{Read as _, Write};
use std::path::PathBuf;

type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

const DEPLOYED: &str = "/var/lib/heat-config/deployed";
/// What a deployment that was cut off is said to have ended with.
const CUT_OFF: &str =
    "the node or its agent stopped while this deployment ran; it is not run a second time";

/// What goes wrong on the way, for the log.
type Failure = Box<dyn Error>;

/// Runs all new deployments of this node and signals their results.
pub fn run(process: Process<'_>) -> u8 {
    let about = "Runs each new software deployment of this node by the hook of its group, and signals its result.";
    with_parser(
        process,
        parser("heat-config", about, Vec::new()),
        |parts, _| {
            let Parts {
                environment, err, ..
            } = parts;
            let hooks = Hooks::new(environment);
            let mut work = Work::open(environment)?;
            let mut failed = false;
            for deployment in deployments(environment, err)? {
                if deployment.road() != Road::Hook {
                    continue;
                }
                let result = work.result(&deployment, &hooks, err)?;
                failed |= !work.signal(&deployment, &result, err)?;
            }
            // A signal that did not arrive must be sent by the next run, and there is one only after a failure.
            Ok(u8::from(failed))
        },
    )
}

/// Sends one signal: the deployment's file is named, its result is read.
pub fn notify(process: Process<'_>) -> u8 {
    let about = "Reads a result as JSON and signals it for the deployment that FILE holds.";
    let mut parser = parser("heat-config-notify", about, Vec::new());
    parser.words = Some(("FILE".to_owned(), "deployment as JSON".to_owned()));
    with_parser(process, parser, |parts, matches| {
        let Parts {
            environment, err, ..
        } = parts;
        let [path] = matches.words.as_slice() else {
            let _ = writeln!(err, "heat-config-notify: FILE is missing");
            return Ok(2);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        let document = metadata::parse(&text).map_err(|error| format!("{path}: {error}"))?;
        let mut input = String::new();
        std::io::stdin().read_to_string(&mut input)?;
        let result = metadata::parse(&input).map_err(|error| format!("standard input: {error}"))?;
        let deployment = Deployment::read(&document)?;
        let mut signals = Signals::new(drive(environment));
        block_on(signals.send(&deployment, &result))??;
        Ok(0)
    })
}

/// Signals the deployments for os-apply-config: the refresh that applied them went well, or failed.
pub fn signal_refreshed(process: Process<'_>) -> u8 {
    let about =
        "Signals all deployments for os-apply-config: the refresh that applied them went well.";
    let options = vec![Opt::new(
        "--failed",
        Takes::Nothing,
        "",
        "the refresh failed",
    )];
    with_parser(
        process,
        parser("os-signal-deployments", about, options),
        |parts, matches| {
            let Parts {
                environment, err, ..
            } = parts;
            let result = if matches.has("--failed") {
                let secrets = Mask::of(&os_apply_config::metadata(environment)?);
                failure(&refreshed::failed(environment, &secrets))
            } else {
                well()
            };
            let mut work = Work::open(environment)?;
            let mut failed = false;
            for deployment in deployments(environment, err)? {
                if deployment.road() == Road::Refresh {
                    failed |= !work.signal(&deployment, &result, err)?;
                }
            }
            Ok(u8::from(failed))
        },
    )
}

fn well() -> Value {
    object([
        ("deploy_stdout", Value::from("")),
        ("deploy_stderr", Value::from("")),
        ("deploy_status_code", Value::from(0)),
    ])
}

/// The parts of a process that commands use.
struct Parts<'p> {
    environment: Environment<'p>,
    err: &'p mut dyn Write,
}

fn parser(program: &str, about: &str, mut options: Vec<Opt>) -> Parser {
    options.insert(
        0,
        Opt::new("-h --help", Takes::Nothing, "", "show this help and exit"),
    );
    Parser {
        program: program.to_owned(),
        about: about.to_owned(),
        options,
        words: None,
    }
}

fn with_parser(
    process: Process<'_>,
    parser: Parser,
    command: impl FnOnce(Parts<'_>, arguments::Matches) -> Result<u8, Failure>,
) -> u8 {
    let Process {
        arguments,
        environment,
        out,
        err,
    } = process;
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
    match command(Parts { environment, err }, matches) {
        Ok(code) => code,
        Err(error) => {
            say(
                err,
                &format!("{}: {}", parser.program, chain(error.as_ref())),
            );
            1
        }
    }
}

fn say(err: &mut dyn Write, text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(err, "{text}");
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn path(environment: Environment<'_>, name: &str, default: &str) -> PathBuf {
    environment(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

fn drive(environment: Environment<'_>) -> ConfigDrive {
    environment("OS_DEFAULT__CONFIG_DRIVE").map_or_else(ConfigDrive::default, |shown| {
        ConfigDrive::shown_at(shown.into())
    })
}

/// All usable deployments of the metadata; the others are named in the log.
fn deployments(
    environment: Environment<'_>,
    err: &mut dyn Write,
) -> Result<Vec<Deployment>, Failure> {
    let document = os_apply_config::metadata(environment)?;
    let list = document
        .get("deployments")
        .and_then(Value::as_list)
        .unwrap_or_default();
    let mut found = Vec::new();
    for document in list {
        match Deployment::read(document) {
            Ok(deployment) => found.push(deployment),
            Err(error) => say(err, &format!("skipped: {error}")),
        }
    }
    Ok(found)
}

fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future))
}

/// State and signals of one run.
struct Work {
    state: State,
    signals: Signals,
}

impl Work {
    fn open(environment: Environment<'_>) -> Result<Work, StateError> {
        let state = State::open(path(environment, "HEAT_CONFIG_DEPLOYED", DEPLOYED))?;
        Ok(Work {
            state,
            signals: Signals::new(drive(environment)),
        })
    }

    /// How the deployment ended, after running it if it is new.
    fn result(
        &self,
        deployment: &Deployment,
        hooks: &Hooks,
        err: &mut dyn Write,
    ) -> Result<Value, StateError> {
        let Deployment {
            id, name, group, ..
        } = deployment;
        let result = match self.state.progress(id) {
            Progress::Ended(result) => return Ok(result),
            Progress::Begun => failure(CUT_OFF),
            Progress::New => {
                self.state.begin(id, &deployment.document)?;
                say(
                    err,
                    &format!("running deployment `{name}` ({id}) by hook {group}"),
                );
                hooks.run(deployment)
            }
        };
        self.state.end(id, &result)?;
        let code = status(&result);
        say(
            err,
            &format!("deployment `{name}` ended with status {code}"),
        );
        if code != "0" {
            say(
                err,
                result
                    .get("deploy_stderr")
                    .and_then(Value::as_text)
                    .unwrap_or_default(),
            );
        }
        Ok(result)
    }

    /// Signals the result unless that was done. False means that the signal did not arrive.
    fn signal(
        &mut self,
        deployment: &Deployment,
        result: &Value,
        err: &mut dyn Write,
    ) -> Result<bool, Failure> {
        let status = status(result);
        match self.state.signalled(&deployment.id).as_deref() {
            Some(sent) if sent == status || sent == "0" => return Ok(true),
            _ => {}
        }
        let name = &deployment.name;
        match block_on(self.signals.send(deployment, result))? {
            Ok(sent) => {
                self.state.set_signalled(&deployment.id, &status)?;
                if sent {
                    say(
                        err,
                        &format!("signalled status {status} of deployment `{name}`"),
                    );
                }
                Ok(true)
            }
            Err(error) => {
                say(
                    err,
                    &format!("cannot signal deployment `{name}`: {}", chain(&error)),
                );
                Ok(false)
            }
        }
    }
}

fn status(result: &Value) -> String {
    result
        .get("deploy_status_code")
        .map_or_else(|| "0".to_owned(), Value::to_python)
}
