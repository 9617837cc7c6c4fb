//! The command `testenv`, also `tripleo testenv`: reads its arguments, calls, and writes to the given output.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use crate::control::Client;
use crate::error::LabError;
use crate::machine::Reset;
use crate::serve::{Inherited, Settings, serve};

/// Virtual hardware: machines with a management controller each
#[derive(Debug, clap::Subcommand)]
pub enum TestenvCommand {
    /// Make a lab and serve it until it is told to end
    Serve(ServeArgs),
    /// List the machines of a lab
    List(StateArgs),
    /// Show the last lines of a machine's console
    Console(ConsoleArgs),
    /// Press a machine's power button
    Power(PowerArgs),
    /// End a lab; disks and consoles stay
    Down(StateArgs),
}

/// Arguments of `testenv serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Specification of the lab (JSON)
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    /// Network namespace of the operator, by name or path [default: this process's]
    #[arg(long, value_name = "NETNS")]
    operator_netns: Option<PathBuf>,
    /// End the lab when the process that started it ends
    #[arg(long)]
    die_with_starter: bool,
    /// Files left open by the first stage
    #[arg(long, hide = true)]
    inside: Option<Inherited>,
}

/// The state directory of a lab.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// Directory for disks, consoles and sockets
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tripleo/testenv")]
    state: PathBuf,
}

/// Arguments of `testenv console`.
#[derive(Debug, clap::Args)]
pub struct ConsoleArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Machine
    machine: String,
    /// Number of lines
    #[arg(long, short = 'n', default_value_t = 100)]
    lines: usize,
}

/// Arguments of `testenv power`.
#[derive(Debug, clap::Args)]
pub struct PowerArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Machine
    machine: String,
    /// On, ForceOff, GracefulShutdown, ForceRestart …
    #[arg(value_parser = reset)]
    reset: Reset,
}

fn reset(text: &str) -> Result<Reset, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Does what the command says. `again` is the command line that leads here once more.
pub fn run(
    command: &TestenvCommand,
    again: Vec<OsString>,
    out: &mut dyn Write,
) -> Result<(), LabError> {
    // Output that nobody reads any more is no reason to stop.
    let mut print = |line: &str| match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) | Err(_) => {}
    };
    match command {
        TestenvCommand::Serve(args) => {
            let settings = Settings {
                state: args.state.state.clone(),
                specification: args.spec.clone(),
                operator_netns: args.operator_netns.clone(),
                die_with_starter: args.die_with_starter,
                again,
                inside: args.inside,
            };
            serve(&settings, &mut print)
        }
        TestenvCommand::List(args) => {
            for machine in Client::new(&args.state).list()? {
                let power = if machine.is_off() { "off" } else { "on" };
                let macs = machine.macs.join(" ");
                let snapshot = &machine.snapshot;
                print(&format!(
                    "{}\t{power}\t{}\t{macs}\t{}",
                    snapshot.name, machine.bmc, snapshot.activity
                ));
            }
            Ok(())
        }
        TestenvCommand::Console(args) => {
            let lines = Client::new(&args.state.state).console(&args.machine, args.lines)?;
            lines.iter().for_each(|line| print(line));
            Ok(())
        }
        TestenvCommand::Power(args) => {
            Client::new(&args.state.state).power(&args.machine, args.reset)
        }
        TestenvCommand::Down(args) => {
            let was_running = Client::new(&args.state).down()?;
            print(if was_running {
                "the lab has ended"
            } else {
                "no lab was running"
            });
            Ok(())
        }
    }
}
