//! The command `testenv` by itself, without the rest of `tripleo`.

use std::process::ExitCode;

use clap::Parser;
use testenv::cli::{TestenvCommand, run};

/// Virtual hardware: machines with a management controller each
#[derive(Debug, Parser)]
#[command(name = "testenv", version)]
struct Arguments {
    #[command(subcommand)]
    command: TestenvCommand,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    match run(
        &arguments.command,
        std::env::args_os().collect(),
        &mut std::io::stdout(),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error.hint();
            tracing::error!("{:#}", anyhow::Error::new(error));
            if let Some(hint) = hint {
                tracing::error!("{hint}");
            }
            ExitCode::FAILURE
        }
    }
}
