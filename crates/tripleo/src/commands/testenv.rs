//! `tripleo testenv`: virtual hardware.

use std::io;

use anyhow::Context as _;
use testenv::cli::{self, TestenvCommand};

/// Runs one of the commands; a lab calls this program again to get into namespaces of its own.
pub fn run(command: &TestenvCommand) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let again = std::iter::once(program.into_os_string())
        .chain(std::env::args_os().skip(1))
        .collect();
    Ok(cli::run(command, again, &mut io::stdout())?)
}
