//! The operator's commands: parse, wire, print. What they do is in the rooms below.

mod commands;
mod context;
mod devtest;
mod output;
mod template_files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use context::{CloudChoice, Context};
use devtest::log::StepLog;

/// Install, upgrade and operate OpenStack clouds with OpenStack's own facilities
#[derive(Debug, Parser)]
#[command(name = "tripleo", version)]
struct Cli {
    /// Directory that holds all state
    #[arg(
        long,
        env = "TRIPLEO_STATE",
        default_value = "/var/lib/tripleo",
        value_name = "DIR"
    )]
    state: PathBuf,
    /// Directory with elements, images and templates; found from where this program lies if not given
    #[arg(long, env = "TRIPLEO_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Cloud to talk to, an entry of clouds.yaml
    #[arg(long, env = "OS_CLOUD", default_value = "seed", value_name = "NAME")]
    os_cloud: String,
    /// File with that entry; the seed's own if not given
    #[arg(long, env = "OS_CLIENT_CONFIG_FILE", value_name = "FILE")]
    os_client_config_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the whole story on this machine
    Devtest(Box<devtest::settings::DevtestArgs>),
    /// Work with golden images
    #[command(subcommand)]
    Image(commands::image::ImageCommand),
    /// Work with stacks
    #[command(subcommand)]
    Stack(commands::stack::StackCommand),
    /// Work with machines
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// Run the seed: a small OpenStack for bare metal
    Seed(Box<seed::SeedArgs>),
    /// Run and look at virtual hardware
    #[command(subcommand)]
    Testenv(testenv::cli::TestenvCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = StepLog::default();
    match &cli.command {
        // Servers say on stderr what they do; their starter keeps it in a file.
        Command::Seed(_) | Command::Testenv(_) => trace_to(std::io::stderr),
        Command::Devtest(_) | Command::Image(_) | Command::Stack(_) | Command::Node(_) => {
            trace_to(log.clone())
        }
    }
    match run(cli, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::Output::new().say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn trace_to<W>(writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(writer),
        )
        .with(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
}

fn run(cli: Cli, log: &StepLog) -> anyhow::Result<()> {
    let state = match &cli.command {
        Command::Seed(args) => return commands::seed::run((**args).clone()),
        Command::Testenv(command) => return commands::testenv::run(command),
        Command::Devtest(args) => args.state.clone().unwrap_or(cli.state),
        Command::Image(_) | Command::Stack(_) | Command::Node(_) => cli.state,
    };
    let root = match cli.root {
        Some(root) => root,
        None => std::env::current_exe()
            .ok()
            .and_then(|program| context::root_of(&program))
            .context(
                "cannot find elements, images and templates: give --root DIR (TRIPLEO_ROOT)",
            )?,
    };
    let own = state.join("seed/clouds.yaml");
    let clouds = match &cli.command {
        // The story works on the seed that it starts, whatever cloud the shell around it is set up for.
        Command::Devtest(_) => CloudChoice {
            file: own,
            name: "seed".to_owned(),
        },
        Command::Image(_)
        | Command::Stack(_)
        | Command::Node(_)
        | Command::Seed(_)
        | Command::Testenv(_) => CloudChoice {
            file: cli.os_client_config_file.unwrap_or(own),
            name: cli.os_cloud,
        },
    };
    let context = Context::new(state, root, clouds);
    // Commands wait far more than they compute.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Devtest(args) => devtest::run(&context, *args, log).await,
            Command::Image(command) => commands::image::run(&context, command).await,
            Command::Stack(command) => commands::stack::run(&context, command).await,
            Command::Node(command) => commands::node::run(&context, command).await,
            // Done above, before there was a runtime.
            Command::Seed(_) | Command::Testenv(_) => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The commands of this program in the code blocks of a page: indented lines that begin with its name. Comments and what
    /// stands for something else (`[…]`, `…`) are no part of them.
    fn commands(text: &str) -> Vec<Vec<String>> {
        text.lines()
            .filter_map(|line| line.strip_prefix("    "))
            .map(|line| line.trim_start_matches("target/ci/"))
            .filter(|line| line.starts_with("tripleo ") && !line.contains(['[', '|', '…']))
            .map(|line| {
                // Two blanks separate a command from the words beside it.
                let command = line.split("  ").next().unwrap_or_default();
                let command = command.split(" #").next().unwrap_or_default();
                command.split_whitespace().map(str::to_owned).collect()
            })
            .collect()
    }

    fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }

    #[test]
    fn the_commands_in_the_pages_are_commands_of_this_program() {
        let root = root();
        let mut found = vec![root.join("README.md")];
        pages(&root.join("docs"), &mut found);
        let mut tried = 0;
        for page in found {
            for command in commands(&std::fs::read_to_string(&page).unwrap()) {
                if let Err(error) = Cli::try_parse_from(&command) {
                    panic!("{}: {}\n{error}", page.display(), command.join(" "));
                }
                tried += 1;
            }
        }
        assert!(tried >= 5, "only {tried} commands were found");
    }

    #[test]
    fn a_command_that_is_not_there_is_found_out() {
        let page = "as here:\n\n    target/ci/tripleo node burn node-0   # sets it on fire\n";
        let command = commands(page).remove(0);
        assert_eq!(command, ["tripleo", "node", "burn", "node-0"]);
        assert!(Cli::try_parse_from(&command).is_err());
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }
}
