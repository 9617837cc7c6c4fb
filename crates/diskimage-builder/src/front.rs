//! What users start: reads the command line, starts the guard, writes the log, says how it ended.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::build::{Build, BuildError};
use crate::element::Library;
use crate::layers::Layers;
use crate::log::Log;
use crate::options::{Options, help};
use crate::phases::{PhaseError, event};
use crate::plan::{BuildPlan, LayoutSource, PlanError};
use crate::rootless;
use crate::settings::{Settings, Surroundings};
use crate::stage::{self, Guarded, STAGE};

/// Runs `disk-image-create` or `ramdisk-image-create` with `arguments` (without the program's name).
pub fn main(around: &Surroundings, arguments: &[String]) -> ExitCode {
    let options = match Options::parse(&around.program, arguments) {
        Ok(options) => options,
        Err(error) => {
            complain(&format!("{error}\n"));
            return ExitCode::FAILURE;
        }
    };
    if options.has("help") {
        return print(&help(&around.program, around.ramdisk()));
    }
    if options.has("version") {
        return print(&format!(
            "{} {}\n",
            around.program,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if !options.has("plan")
        && let Err(error) = rootless::enter(around, arguments)
    {
        complain(&format!(
            "ERROR: {}\n",
            with_hint(&error, Some(error.hint()))
        ));
        return ExitCode::FAILURE;
    }
    let around = if options.has("c") {
        cleared(around)
    } else {
        around.clone()
    };
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    match std::env::var(STAGE).as_deref() {
        Ok("guard") => guard(&options, &around, &folder),
        Ok("worker") => worker(&options, &around, arguments, &folder),
        Ok(_) | Err(_) => front(&options, &around),
    }
}

/// `-c`: only what programs need to run at all stays, and how to build.
fn cleared(around: &Surroundings) -> Surroundings {
    let kept = |name: &str| {
        [
            "PATH",
            "HOME",
            "USER",
            "TERM",
            "TZ",
            "ELEMENTS_PATH",
            rootless::ROOTLESS,
        ]
        .contains(&name)
    };
    let mut around = around.clone();
    around
        .variables
        .retain(|(name, _)| kept(name) || name.starts_with("DIB_") || name.starts_with("TMP"));
    around
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Everything that is decided before anything runs.
fn decide(
    options: &Options,
    around: &Surroundings,
    log: Option<&Log>,
) -> Result<(Settings, BuildPlan), String> {
    let settings =
        Settings::new(options, around).map_err(|error| with_hint(&error, error.hint()))?;
    let say = |text: &str| {
        if let Some(log) = log {
            log.say(text);
        }
    };
    say(&format!(
        "Building elements: {}",
        settings.elements.join(" ")
    ));
    let plan_failed = |error: PlanError| with_hint(&error, error.hint());
    let library =
        Library::read(&settings.elements_path).map_err(|error| with_hint(&error, error.hint()))?;
    for sentence in &library.overrides {
        say(sentence);
    }
    let plan = BuildPlan::new(&settings, &library).map_err(plan_failed)?;
    let names: Vec<&str> = plan
        .elements
        .iter()
        .map(|element| element.name.as_str())
        .collect();
    say(&format!(
        "Expanded element dependencies to: {}",
        names.join(" ")
    ));
    if let LayoutSource::Element(path) = &plan.layout_source {
        say(&format!("Using block-device config: {}", path.display()));
    }
    Ok((settings, plan))
}

fn with_hint(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    text
}

fn front(options: &Options, around: &Surroundings) -> ExitCode {
    let path = options
        .value("logfile")
        .or_else(|| around.variable("LOGFILE"))
        .map(PathBuf::from);
    let json = options.value("format") == Some("json");
    let log = match Log::open(path.as_deref(), around, json) {
        Ok(log) => log,
        Err(error) => {
            let path = path.unwrap_or_default();
            complain(&format!(
                "cannot open the log file {}: {error}\n",
                path.display()
            ));
            return ExitCode::FAILURE;
        }
    };
    let quiet_log = if options.has("plan") {
        None
    } else {
        Some(&log)
    };
    if quiet_log.is_some()
        && let Err(text) = make_folders(options, around)
    {
        log.say(&text);
        return ExitCode::FAILURE;
    }
    let (settings, plan) = match decide(options, around, quiet_log) {
        Ok(decided) => decided,
        Err(text) => {
            log.say(&text);
            if log.is_quiet() {
                complain(&format!("{text}\n"));
            }
            return ExitCode::FAILURE;
        }
    };
    if settings.plan_only {
        return print(&plan.to_string());
    }
    log.also_to(&log_file(&settings));
    let code = run_guarded(&log);
    log.event(&json!({"event": "end", "code": code, "log": log.path()}));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Cache and locks have their folders even if nothing else works: elements expect them.
fn make_folders(options: &Options, around: &Surroundings) -> Result<(), String> {
    let Ok(settings) = Settings::new(options, around) else {
        return Ok(());
    };
    let locks = settings
        .exported
        .iter()
        .find(|(name, _)| name == "DIB_LOCKFILES");
    for folder in [
        Some(settings.cache.clone()),
        locks.map(|(_, path)| PathBuf::from(path)),
    ]
    .into_iter()
    .flatten()
    {
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    }
    Ok(())
}

/// The log of this build, in the cache.
fn log_file(settings: &Settings) -> PathBuf {
    let name = Path::new(&settings.image_name)
        .file_name()
        .unwrap_or_default();
    let folder = settings.cache.join("logs");
    let _ = std::fs::create_dir_all(&folder);
    folder.join(format!("{}.log", name.to_string_lossy()))
}

/// Starts the guard, writes the log while it lives, and gives its exit code.
fn run_guarded(log: &Log) -> i32 {
    if let Err(error) = stage::ending_signals().thread_block() {
        log.say(&format!("cannot block signals: {error}"));
        return 1;
    }
    let (mut guard, output) = match stage::start_guard() {
        Ok(started) => started,
        Err(error) => {
            log.say(&with_hint(&error, error.hint()));
            return 1;
        }
    };
    let signals = stage::forward_signals(guard.id());
    let pump = std::thread::spawn({
        let log = log.clone();
        move || log.pump(File::from(output))
    });
    let status = guard.wait();
    let _ = pump.join();
    let code = match status {
        Ok(status) => run_parts::status_code(status),
        Err(_) => 1,
    };
    let code = signals.try_recv().map_or(code, |signal| 128 + signal);
    if code != 0 {
        tell_failure(log, code);
    }
    code
}

fn tell_failure(log: &Log, code: i32) {
    let mut text = format!("Build failed with exit code {code}");
    if let Some(path) = log.path() {
        text.push_str(&format!("; the whole log is in {}", path.display()));
    }
    log.say(&text);
    // On a terminal the lines stand above; without one they are all that there is.
    if log.is_quiet() {
        complain(&format!("{}\n{text}\n", log.tail().join("\n")));
    }
}

fn guard(options: &Options, around: &Surroundings, folder: &Path) -> ExitCode {
    let settings = match Settings::new(options, around) {
        Ok(settings) => settings,
        Err(error) => {
            complain(&format!("{}\n", with_hint(&error, error.hint())));
            return ExitCode::FAILURE;
        }
    };
    let output = folder.join(&settings.image_name);
    let output = output.parent().map(Path::to_owned).unwrap_or_default();
    let layers = Layers::folder(&settings.cache);
    match stage::guard(&Guarded {
        tmp: &settings.tmp,
        layers: &layers,
        output: &output,
    }) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            complain(&format!("{}\n", with_hint(&error, error.hint())));
            ExitCode::FAILURE
        }
    }
}

fn worker(
    options: &Options,
    around: &Surroundings,
    arguments: &[String],
    folder: &Path,
) -> ExitCode {
    let failed = |text: &str| {
        complain(&format!("{text}\n"));
        ExitCode::FAILURE
    };
    let workspace = match stage::become_worker() {
        Ok(workspace) => workspace,
        Err(error) => return failed(&with_hint(&error, error.hint())),
    };
    let (settings, plan) = match decide(options, around, None) {
        Ok(decided) => decided,
        Err(text) => return failed(&text),
    };
    let build = Build {
        settings: &settings,
        around,
        plan: &plan,
        workspace: &workspace,
        arguments: arguments.join(" "),
        folder: folder.to_owned(),
    };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match build.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("ERROR: {}\n", with_hint(&error, error.hint())));
            event(
                &json!({"event": "failure", "text": error.to_string(), "hook": failed_hook(&error)}),
            );
            exit_code(&error)
        }
    }
}

/// Element, phase and hook of a failure, for programs.
fn failed_hook(error: &BuildError) -> Option<Value> {
    match error {
        BuildError::Phase(PhaseError::Hook {
            element,
            phase,
            hook,
            code,
        }) => Some(json!({"element": element, "phase": phase, "hook": hook, "code": code})),
        _ => None,
    }
}

fn exit_code(error: &BuildError) -> ExitCode {
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}
