//! The deploy agent by itself, without the other agents of the node's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    deploy_agent::main()
}
