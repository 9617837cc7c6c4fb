//! What `main` finds around the program: name, variables, machine. The only place that looks.

use std::path::{Path, PathBuf};

use crate::settings::Surroundings;

/// Looks around.
pub fn look() -> (Surroundings, Vec<String>) {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let around = Surroundings {
        program,
        variables,
        own_elements: own_elements(),
        machine: machine(std::env::consts::ARCH).to_owned(),
        memory_kib: memory_kib(),
    };
    (around, arguments.collect())
}

/// The elements that come with the program: beside an installed one, else in the source tree.
fn own_elements() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let installed = program.parent()?.join("../share/tripleo/elements");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../elements");
    [installed, source]
        .into_iter()
        .find_map(|path| path.canonicalize().ok().filter(|path| path.is_dir()))
}

fn machine(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => other,
    }
}

fn memory_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}
