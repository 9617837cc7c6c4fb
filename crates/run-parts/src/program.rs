//! `dib-run-parts`: runs the hooks of one directory.
//!
//! Reads the command line and four environment variables, and prints; the library does the rest.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{HookDirectory, Launch, NamePattern, Profile, RunError, Stamp, Timing, Watch, say};

const USAGE: &str = "Usage: dib-run-parts [--undated] [--list] hook_directory

Runs the executable files of hook_directory in order, after sourcing what lies in
hook_directory/../environment.d. The first failure ends the run with its exit code.

  --list      only print what would run, without running anything
  --undated   no date in the messages, as in image builds

RUN_PARTS_REGEX names the files that are taken (default ^[0-9A-Za-z_-]+$).
";

/// Runs the program with the arguments behind its name.
pub fn main(mut arguments: Vec<OsString>) -> ExitCode {
    let mut take = |word: &str| {
        let found = arguments.first().is_some_and(|argument| argument == word);
        if found {
            arguments.remove(0);
        }
        found
    };
    let stamp = if take("--undated") {
        Stamp::Plain
    } else {
        Stamp::Dated
    };
    let list = take("--list");
    let directory = match arguments.first() {
        Some(path) if Path::new(path).is_dir() => HookDirectory::new(PathBuf::from(path)),
        Some(_) | None => {
            to_stderr(USAGE);
            return ExitCode::FAILURE;
        }
    };
    let result = if list {
        print_list(&directory)
    } else {
        run(&directory, stamp)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                to_stderr(&(say(stamp, text) + "\n"));
            }
            ExitCode::from(failure.code)
        }
    }
}

/// How the program ends if it fails; a hook that failed has said why itself.
struct Failure {
    code: u8,
    text: Option<String>,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let text = match &error {
            RunError::Hook { .. } | RunError::EnvironmentStatus { .. } => None,
            RunError::Directory { source, .. }
            | RunError::Environment { source }
            | RunError::Start { source, .. } => Some(format!("{error}: {source}")),
        };
        // Exit codes have eight bits.
        Self {
            code: u8::try_from(error.exit_code()).unwrap_or(1),
            text,
        }
    }
}

fn pattern() -> Result<NamePattern, Failure> {
    let text = std::env::var("RUN_PARTS_REGEX").unwrap_or_default();
    NamePattern::new(&text).map_err(|error| Failure {
        code: 1,
        text: Some(error.to_string()),
    })
}

fn print_list(directory: &HookDirectory) -> Result<(), Failure> {
    let mut text = Vec::new();
    for name in directory.hooks(&pattern()?)?.run {
        text.extend_from_slice(directory.path_of(&name).as_os_str().as_encoded_bytes());
        text.push(b'\n');
    }
    std::io::stdout().write_all(&text).map_err(|error| Failure {
        code: 1,
        text: Some(format!("cannot write the list: {error}")),
    })
}

fn run(directory: &HookDirectory, stamp: Stamp) -> Result<(), Failure> {
    let hooks = directory.hooks(&pattern()?)?;
    if std::env::var("DIB_DEBUG_TRACE")
        .is_ok_and(|level| level.parse::<u32>().is_ok_and(|level| level > 0))
    {
        for (kind, names) in [
            ("non-executable files", &hooks.not_executable),
            ("non-conforming filenames", &hooks.odd_names),
        ] {
            if !names.is_empty() {
                to_stderr(
                    &(say(stamp, format_args!("Ignoring {kind}: {}", names.join(" "))) + "\n"),
                );
            }
        }
    }
    let environment = directory.environment(&Here, stamp)?;
    let mut report = Report {
        stamp,
        record: Record::open(),
    };
    let timings = directory.run(&hooks.run, environment.as_deref(), &Here, &mut report)?;
    let target = directory
        .here
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    for line in (Profile {
        target: &target,
        timings: &timings,
    })
    .lines()
    {
        to_stderr(&(say(stamp, line) + "\n"));
    }
    Ok(())
}

/// Programs start where we are, with all that we have.
struct Here;

impl Launch for Here {
    fn command(&self, program: &OsStr) -> Command {
        Command::new(program)
    }
}

/// Where os-refresh-config wants to see which hooks began and how long they took.
struct Record(Option<File>);

impl Record {
    fn open() -> Record {
        let path = std::env::var_os("OS_REFRESH_CONFIG_SCRIPTS");
        Record(path.and_then(|path| OpenOptions::new().append(true).open(path).ok()))
    }

    /// Adds a line. One that cannot be written is missing there, and stops no hook.
    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        if let Some(file) = &mut self.0 {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

struct Report {
    stamp: Stamp,
    record: Record,
}

impl Watch for Report {
    fn running(&mut self, path: &Path) {
        self.record.add(format_args!("running\t{}", path.display()));
        to_stderr(&(say(self.stamp, format_args!("Running {}", path.display())) + "\n"));
    }

    fn completed(&mut self, timing: &Timing) {
        let seconds = timing.took.as_secs_f64();
        self.record
            .add(format_args!("completed\t{seconds:.3}\t{}", timing.name));
        to_stderr(&(say(self.stamp, format_args!("{} completed", timing.name)) + "\n"));
    }
}

/// A closed stderr must not stop the hooks.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
