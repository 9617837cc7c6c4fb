//! What `environment.d` does to the environment.
//!
//! The files are bash, so bash reads them: under `set -eu -o pipefail` and with tracing on, as users of
//! diskimage-builder know it. Only what they export comes back.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::report::Stamp;
use crate::run::{Launch, RunError, status_code};

/// The names of the environment files beside a hook directory, in the order in which they are read.
///
/// Upstream sorts their full paths by number, which start with a slash: so the order is that of the bytes.
pub fn environment_files(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !entry.path().is_file() {
            continue;
        }
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Sources `files` (paths as the started bash sees them) and gives the environment that results.
pub fn source(
    launch: &dyn Launch,
    files: &[PathBuf],
    stamp: Stamp,
) -> Result<Vec<(OsString, OsString)>, RunError> {
    let failed = |source| RunError::Environment { source };
    let mut command = launch.command(OsStr::new("bash"));
    command
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A bash that died early has its say by its exit code.
        let _ = input.write_all(&script(files, stamp));
    }
    let mut output = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut output).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    match status_code(status) {
        0 => Ok(parse(&output)),
        code => Err(RunError::EnvironmentStatus { code }),
    }
}

/// One compound command: bash reads it whole before it runs, so a file that reads stdin takes nothing away.
fn script(files: &[PathBuf], stamp: Stamp) -> Vec<u8> {
    let mut text = b"{\nexec 3>&1 1>&2 </dev/null\nset -eu -o pipefail\n".to_vec();
    for file in files {
        let quoted = quote(file.as_os_str());
        text.extend_from_slice(b"printf ");
        text.extend_from_slice(match stamp {
            Stamp::Plain => b"'dib-run-parts Sourcing environment file %s\\n' ".as_slice(),
            Stamp::Dated => {
                b"'dib-run-parts %(%a %b %e %H:%M:%S %Z %Y)T Sourcing environment file %s\\n' -1 "
            }
        });
        text.extend_from_slice(&quoted);
        text.extend_from_slice(b" >&2\nset -o xtrace\nsource ");
        text.extend_from_slice(&quoted);
        text.extend_from_slice(b"\nset +o xtrace\n");
    }
    text.extend_from_slice(b"exec env -0 >&3\n}\n");
    text
}

fn quote(text: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn parse(output: &[u8]) -> Vec<(OsString, OsString)> {
    output
        .split(|byte| *byte == 0)
        .filter_map(|item| {
            let at = item.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&item[..at], &item[at + 1..]);
            // `_` is the last command of the bash that is gone.
            (name != b"_").then(|| {
                (
                    OsString::from_vec(name.to_vec()),
                    OsString::from_vec(value.to_vec()),
                )
            })
        })
        .collect()
}
