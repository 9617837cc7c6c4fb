//! `tripleo seed`: runs the seed in the foreground until it is told to stop.

use std::io::Write;

use anyhow::Context as _;

/// Runs the seed; prints `ready URL` when it answers.
pub fn run(args: seed::SeedArgs) -> anyhow::Result<()> {
    let explain = |error: seed::SeedError| {
        let hint = error.hint();
        let error = anyhow::Error::new(error);
        match hint {
            Some(hint) => error.context(format!("the seed does not run ({hint})")),
            None => error.context("the seed does not run"),
        }
    };
    let settings = seed::Settings::try_from(args).map_err(explain)?;
    let mut printed = Ok(());
    seed::run(settings, |url| {
        let mut out = std::io::stdout().lock();
        printed = writeln!(out, "ready {url}").and_then(|()| out.flush());
    })
    .map_err(explain)?;
    printed.context("cannot write to standard output")
}
