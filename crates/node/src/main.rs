//! The one program that an image carries for its agents; it acts as the agent whose name it was called by.
//!
//! Called by its own name it takes the agent's name as first word, lists the names, or makes links for all of them. Does
//! nothing itself, and never asks NSS: it is linked statically and runs in roots of other distributions.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// A name, and what the program does when called by it.
type Agent = (&'static str, fn() -> ExitCode);

/// All names that the program answers to.
const AGENTS: [Agent; 9] = [
    ("deploy-agent", deploy_agent::main),
    ("dib-run-parts", || run_parts::main(words())),
    ("heat-config", || arguments::main(heat_config::run)),
    ("heat-config-notify", || {
        arguments::main(heat_config::notify)
    }),
    ("os-apply-config", || arguments::main(os_apply_config::run)),
    ("os-collect-config", os_collect_config::main),
    ("os-config-applier", || {
        arguments::main(os_apply_config::run)
    }),
    ("os-refresh-config", || {
        arguments::main(os_refresh_config::run)
    }),
    ("os-signal-deployments", || {
        arguments::main(heat_config::signal_refreshed)
    }),
];

const USAGE: &str = "Usage: node-agents NAME [ARGUMENT ...]   act as the agent NAME
       node-agents --list                 print the names
       node-agents --install DIRECTORY    make a link in DIRECTORY for each name
       node-agents --version
";

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    // As the first process of a deploy medium it is the deploy agent.
    let name = match name.as_str() {
        "init" => "deploy-agent".to_owned(),
        _ => name,
    };
    if let Some((_, agent)) = AGENTS.iter().find(|(agent, _)| *agent == name) {
        return agent();
    }
    let words = words();
    match words.first().and_then(|word| word.to_str()) {
        Some("--version") => print(concat!("node-agents ", env!("CARGO_PKG_VERSION"), "\n")),
        Some("--list") => print(&AGENTS.map(|(name, _)| format!("{name}\n")).concat()),
        Some("--install") => match words.get(1) {
            Some(directory) => install(Path::new(directory)),
            None => usage(),
        },
        Some(name) if AGENTS.iter().any(|(agent, _)| *agent == name) => {
            become_agent(name, &words[1..])
        }
        _ => usage(),
    }
}

/// The words behind the program's name.
fn words() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

fn print(text: &str) -> ExitCode {
    // A reader that went away gets nothing, and needs nothing.
    let printed = std::io::stdout().write_all(text.as_bytes());
    if printed.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn complain(text: &str) {
    // There is nobody else to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn usage() -> ExitCode {
    complain(USAGE);
    ExitCode::from(2)
}

/// Executes this program again under the agent's name, so that agents see the same words however they were called.
fn become_agent(name: &str, words: &[OsString]) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let error = std::process::Command::new("/proc/self/exe")
        .arg0(name)
        .args(words)
        .exec();
    complain(&format!(
        "node-agents: cannot execute myself as `{name}`: {error}\n"
    ));
    ExitCode::FAILURE
}

/// Makes a link for each name, beside what is there already.
fn install(directory: &Path) -> ExitCode {
    let install = || {
        let program = std::env::current_exe()?;
        for (name, _) in AGENTS {
            let link = directory.join(name);
            match std::fs::remove_file(&link) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(&program, link)?;
        }
        Ok(())
    };
    match install() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!(
                "node-agents: cannot make links in {}: {error}\n",
                directory.display()
            ));
            ExitCode::FAILURE
        }
    }
}
