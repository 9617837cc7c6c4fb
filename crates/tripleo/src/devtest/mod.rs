//! The whole story, step by step, with upstream's step names: setup, testenv, seed, overcloud, end.
//!
//! Each step looks first at what is there and does only what is missing, so that a run that stopped anywhere is gone on
//! with by running it again. What a step does to the world is in the module of its name.

pub mod cpu;
pub mod daemon;
pub mod lab;
pub mod log;
pub mod networks;
pub mod overcloud;
pub mod perf;
pub mod seeding;
pub mod settings;
pub mod steps;
pub mod testenv_json;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::context::Context;
use daemon::Daemon;
use log::StepLog;
use perf::Row;
use settings::{DevtestArgs, DevtestCommand};

/// A run of the story: what it works on and what it has cost so far.
pub struct Story<'a> {
    context: &'a Context,
    args: DevtestArgs,
    lab: Daemon,
    seed: Daemon,
    rows: Vec<Row>,
}

/// The steps, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Setup,
    Testenv,
    Seed,
    Overcloud,
    End,
}

const STEPS: [Step; 5] = [
    Step::Setup,
    Step::Testenv,
    Step::Seed,
    Step::Overcloud,
    Step::End,
];

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Testenv => "testenv",
            Self::Seed => "seed",
            Self::Overcloud => "overcloud",
            Self::End => "end",
        }
    }
}

/// What a step found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done,
    /// Everything was there.
    Kept,
}

/// Runs devtest as the arguments say.
pub async fn run(context: &Context, args: DevtestArgs, log: &StepLog) -> anyhow::Result<()> {
    if matches!(args.command, Some(DevtestCommand::Shell)) {
        return steps::shell(context);
    }
    let mut story = Story::new(context, args)?;
    if story.args.down {
        return story.down();
    }
    story.args.check()?;
    story.all(log).await
}

impl<'a> Story<'a> {
    fn new(context: &'a Context, args: DevtestArgs) -> anyhow::Result<Self> {
        let logs = context.folder("logs")?;
        Ok(Self {
            lab: Daemon::new("testenv", &context.folder("testenv")?, &logs),
            seed: Daemon::new("seed", &context.folder("seed")?, &logs),
            context,
            args,
            rows: Vec::new(),
        })
    }

    async fn all(&mut self, log: &StepLog) -> anyhow::Result<()> {
        let _only = steps::lock(self.context)?;
        let logs = self.context.folder("logs")?;
        for step in if self.args.build_only {
            &STEPS[..1]
        } else {
            &STEPS[..]
        } {
            let name = step.name();
            let path = log
                .switch(&logs, name)
                .with_context(|| format!("cannot write the log of step {name}"))?;
            let start = (Instant::now(), self.spent());
            let outcome = match step {
                Step::Setup => self.setup(),
                Step::Testenv => self.testenv(),
                Step::Seed => self.bring_up_seed().await,
                Step::Overcloud => self.overcloud().await,
                Step::End => self.end().await,
            };
            self.finish(name, &path, start, outcome)?;
        }
        self.tell()
    }

    fn down(&mut self) -> anyhow::Result<()> {
        let _only = steps::lock(self.context)?;
        let progress = self
            .context
            .output
            .progress("ending machines, lab and seed");
        // The seed first: it would see its machines vanish.
        self.seed.stop(PATIENCE)?;
        self.lab.stop(PATIENCE)?;
        // A lab that was killed left control groups; one whose process nobody noted ends here.
        let socket = self.context.state.join("testenv");
        if let Err(error) = testenv::Client::new(&socket).down() {
            tracing::warn!(%error, "the lab does not end");
        }
        steps::clean(self.context)?;
        drop(progress);
        self.context
            .output
            .say("everything is down; images, caches and logs stay in the state directory. ./devtest brings it up again");
        Ok(())
    }

    /// CPU seconds of everything that belongs to the story.
    fn spent(&self) -> f64 {
        let daemons: f64 = [&self.lab, &self.seed]
            .into_iter()
            .filter_map(Daemon::pid)
            .map(cpu::tree)
            .sum();
        cpu::own() + daemons
    }

    fn finish(
        &mut self,
        step: &'static str,
        log: &std::path::Path,
        start: (Instant, f64),
        outcome: anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        let outcome = outcome.with_context(|| {
            format!("step {step} failed (its log: {}); when mended, run ./devtest again: it goes on from here", log.display())
        })?;
        let row = Row {
            step,
            wall: start.0.elapsed().as_secs_f64(),
            // A daemon that was started anew has counted from nothing.
            cpu: (self.spent() - start.1).max(0.0),
            outcome: match outcome {
                Outcome::Done => "done",
                Outcome::Kept => "kept",
            },
        };
        self.context
            .output
            .say(&format!("{step}: {} in {:.1} s", row.outcome, row.wall));
        self.rows.push(row);
        Ok(())
    }
}

/// A polite end of lab or seed takes the time that the machines in it need to stop.
const PATIENCE: Duration = Duration::from_secs(60);
