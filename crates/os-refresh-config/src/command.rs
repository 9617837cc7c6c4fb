//! The command `os-refresh-config`: options and environment in, exit code out.

use crate::lock::{Lock, LockError};
use crate::log::{Level, Log};
use crate::phases::{PHASES, PhaseError, refresh};
use crate::record::Record;
use crate::status::{Places, Status};
use arguments::{Matches, Opt, Parser, Process, Takes, UsageError, print};
use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BASE: &str = "/usr/libexec/os-refresh-config";
const BASE_OLD: &str = "/opt/stack/os-config-refresh";
/// Where os-apply-config lists the files that it changed, for the hooks of the refresh.
const CHANGED: &str = "/run/os-apply-config/changed";
const STATE: &str = "/var/lib/os-refresh-config";
const LOCK_FILE: &str = "/var/run/os-refresh-config.lock";

/// Runs the command and gives its exit code.
pub fn run(process: Process<'_>) -> u8 {
    let Process {
        arguments,
        environment,
        out,
        err,
    } = process;
    let parser = parser();
    let status = arguments.first().is_some_and(|word| word == "status");
    let settings = parser
        .parse(&arguments[usize::from(status)..])
        .and_then(|matches| Ok((Settings::new(&parser, &matches)?, matches)));
    let (settings, matches) = match settings {
        Ok(settings) => settings,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            return 2;
        }
    };
    if matches.has("--help") {
        return print(out, &parser.help());
    }
    if status {
        let status = Status::read(&places(environment));
        let text = if matches.has("--json") {
            status.json()
        } else {
            status.lines()
        };
        return match print(out, &text) {
            0 => status.exit_code(),
            failed => failed,
        };
    }
    let mut log = Log {
        err,
        least: settings.level,
    };
    let base = base(environment, &mut log);
    if matches.has("--print-base") {
        return print(out, &format!("{}\n", base.display()));
    }
    if matches.has("--print-phases") {
        return print(out, &format!("{}\n", PHASES.join("\t")));
    }
    let state = state(environment);
    let code = execute(&base, &settings, state, &mut log);
    if code == 0 {
        // Only now has every hook seen the list; after a failure it goes on to grow.
        let changed = environment("OS_APPLY_CONFIG_CHANGED").unwrap_or_else(|| CHANGED.into());
        let _ = std::fs::remove_file(changed);
    }
    code
}

fn parser() -> Parser {
    use Takes::{Nothing, One};
    let rows = [
        ("-h --help", Nothing, "", "show this help and exit"),
        (
            "--print-base",
            Nothing,
            "",
            "print the base directory and exit",
        ),
        (
            "--print-phases",
            Nothing,
            "",
            "print the phases, separated by tabs, and exit",
        ),
        (
            "--log-level",
            One,
            "LEVEL",
            "least level of the log: DEBUG, INFO, WARN, ERROR or CRITICAL",
        ),
        (
            "--lockfile",
            One,
            "LOCKFILE",
            "lock file to use (default: /var/run/os-refresh-config.lock)",
        ),
        (
            "--timeout",
            One,
            "TIMEOUT",
            "seconds until the run is ended; without it there is no limit",
        ),
    ];
    let json = Opt::new(
        "--json",
        Nothing,
        "",
        "with `status`: print it for programs",
    )
    .exact();
    Parser {
        program: "os-refresh-config".to_owned(),
        about: "Runs the hooks that bring this machine to its configuration, phase by phase.\n\n\
                os-refresh-config status [--json] prints how the last refresh went instead: exit code 0 if it went well, 1 if it\n\
                failed, 3 if there was none."
            .to_owned(),
        options: rows
            .map(|(flags, takes, value, help)| Opt::new(flags, takes, value, help))
            .into_iter()
            .chain([json])
            .collect(),
        words: None,
    }
}

/// Where records of refreshes are kept. A refresh of another base is no business of the system's record.
fn state(environment: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let said = environment("OS_REFRESH_CONFIG_STATE").map(PathBuf::from);
    let whole = environment("OS_REFRESH_CONFIG_BASE_DIR").is_none();
    said.or_else(|| whole.then(|| PathBuf::from(STATE)))
}

fn places(environment: &dyn Fn(&str) -> Option<OsString>) -> Places {
    let place = |name: &str, default: &str| {
        environment(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
    };
    Places {
        refresh: place("OS_REFRESH_CONFIG_STATE", STATE),
        apply: place("OS_APPLY_CONFIG_STATE", "/var/lib/os-apply-config"),
        collect: place("OS_DEFAULT__CACHEDIR", "/var/lib/os-collect-config"),
    }
}

/// An integer as Python reads it from text: blanks around it, and single underscores between digits. One that is too large for
/// any time is the largest.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let good = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.split('_').all(good) {
        return None;
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    Some(
        digits
            .replace('_', "")
            .parse::<i64>()
            .map_or(sign * i64::MAX, |number| sign * number),
    )
}

struct Settings {
    level: Level,
    lock_file: PathBuf,
    limit: Option<Duration>,
}

impl Settings {
    fn new(parser: &Parser, matches: &Matches) -> Result<Settings, UsageError> {
        let mut level = Level::Info;
        for text in matches.all("--log-level") {
            level = Level::named(&text).ok_or_else(|| {
                parser.usage_error(format!("argument --log-level: invalid choice: '{text}'"))
            })?;
        }
        let mut limit = 0;
        for text in matches.all("--timeout") {
            limit = integer(&text).ok_or_else(|| {
                parser.usage_error(format!("argument --timeout: invalid int value: '{text}'"))
            })?;
        }
        Ok(Settings {
            level,
            lock_file: PathBuf::from(matches.value("--lockfile").unwrap_or(LOCK_FILE)),
            // Zero and less mean no limit.
            limit: u64::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .map(Duration::from_secs),
        })
    }
}

fn base(environment: &dyn Fn(&str) -> Option<OsString>, log: &mut Log<'_>) -> PathBuf {
    if let Some(base) = environment("OS_REFRESH_CONFIG_BASE_DIR") {
        return PathBuf::from(base);
    }
    if Path::new(BASE_OLD).is_dir() && !Path::new(BASE).is_dir() {
        let advice = format!(
            "Base directory {BASE_OLD} is deprecated. The recommended base directory is {BASE}"
        );
        log.say(Level::Warn, &advice);
        return PathBuf::from(BASE_OLD);
    }
    PathBuf::from(BASE)
}

fn execute(base: &Path, settings: &Settings, state: Option<PathBuf>, log: &mut Log<'_>) -> u8 {
    let _lock = match Lock::take(&settings.lock_file) {
        Ok(lock) => lock,
        Err(error) => {
            let cause = error
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            log.say(Level::Error, &format!("{error}{cause}"));
            return match error {
                // Upstream exits with the error number, EAGAIN.
                LockError::Held { .. } => 11,
                LockError::Open { .. } => 1,
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            log.say(Level::Error, &format!("cannot start: {error}"));
            return 1;
        }
    };
    let record = state.and_then(|state| Record::begin(state).ok());
    let ended = runtime.block_on(refresh(base, settings.limit, record.as_ref(), log));
    if let Some(Err(error)) = record.map(|record| record.end(&ended)) {
        log.say(Level::Warn, &format!("cannot record this run: {error}"));
    }
    match ended {
        Ok(()) => 0,
        // As a shell reports a process that SIGTERM ended.
        Err(PhaseError::Terminated { .. }) => 143,
        Err(PhaseError::Failed { .. } | PhaseError::Start { .. }) => 1,
    }
}
