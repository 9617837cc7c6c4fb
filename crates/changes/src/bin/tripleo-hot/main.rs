//! `tripleo-hot`: tries out Heat templates without a cloud.
//!
//! Every command prints one JSON object on standard output; the exit status is 1 for an error. The
//! contract is in `docs/reference/tripleo-hot.md`.

mod client;
mod eval;
mod serve;
mod trial;
mod update;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value as Json;

/// Try out Heat templates without a cloud
#[derive(Debug, Parser)]
#[command(name = "tripleo-hot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the stack on no cloud and print its outputs
    Eval(Stack),
    /// Check a template; parameters need no values
    Validate(Stack),
    /// Show what an update from one template to another would change
    Changes(Changes),
    /// Answer requests, one JSON object a line
    Serve,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One JSON object.
    Json,
}

#[derive(Debug, Args)]
struct Stack {
    /// Template to read
    #[arg(long, short, value_name = "FILE")]
    template: PathBuf,
    /// Environment file; can be given again
    #[arg(long, short, value_name = "FILE")]
    environment: Vec<PathBuf>,
    /// Value of a parameter; can be given again
    #[arg(long, value_name = "NAME=VALUE")]
    parameter: Vec<String>,
    /// Name of the stack
    #[arg(long, value_name = "NAME", default_value = "st")]
    stack_name: String,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

impl Stack {
    fn request(self) -> client::Request {
        let Format::Json = self.format;
        client::Request {
            stack_name: self.stack_name,
            template: self.template,
            environments: self.environment,
            parameters: self.parameter,
        }
    }
}

#[derive(Debug, Args)]
struct Changes {
    /// Template of the stack that is there
    #[arg(long, value_name = "FILE")]
    old: PathBuf,
    /// Template of the update
    #[arg(long, value_name = "FILE")]
    new: PathBuf,
    /// Environment file of the stack that is there
    #[arg(long, value_name = "FILE")]
    old_environment: Vec<PathBuf>,
    /// Environment file of the update
    #[arg(long, value_name = "FILE")]
    new_environment: Vec<PathBuf>,
    /// Parameter of the stack that is there
    #[arg(long, value_name = "NAME=VALUE")]
    old_parameter: Vec<String>,
    /// Parameter of the update
    #[arg(long, value_name = "NAME=VALUE")]
    new_parameter: Vec<String>,
    /// Keep parameters and environment that the update does not give
    #[arg(long)]
    existing: bool,
    /// Name of the stack
    #[arg(long, value_name = "NAME", default_value = "st")]
    stack_name: String,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

impl Changes {
    fn request(self) -> update::Request {
        let Format::Json = self.format;
        let stack = |template, environments, parameters| client::Request {
            stack_name: self.stack_name.clone(),
            template,
            environments,
            parameters,
        };
        update::Request {
            old: stack(self.old, self.old_environment, self.old_parameter),
            new: stack(self.new, self.new_environment, self.new_parameter),
            existing: self.existing,
        }
    }
}

fn main() -> ExitCode {
    let reply = match Cli::parse().command {
        Command::Eval(stack) => eval::eval(&stack.request()),
        Command::Validate(stack) => eval::validate(&stack.request()),
        Command::Changes(changes) => update::changes(&changes.request()),
        Command::Serve => return serve::serve(std::io::stdin().lock(), std::io::stdout().lock()),
    };
    let (json, code) = match reply {
        Ok(json) => (json, ExitCode::SUCCESS),
        Err(error) => (eval::error_json(&error), ExitCode::FAILURE),
    };
    match print(&json) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn print(json: &Json) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()
}
