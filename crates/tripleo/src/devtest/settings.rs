//! What a run of devtest is asked to do: defaults, upstream's variables and options become one checked value.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Run the whole story on this machine: images, machines, seed, a deployed stack
#[derive(Debug, Clone, clap::Args)]
pub struct DevtestArgs {
    /// Directory that holds all state, if not /var/lib/tripleo (TRIPLEO_STATE)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// What to deploy
    #[arg(long, value_enum, default_value_t = Size::Hello)]
    pub size: Size,
    /// Only build images
    #[arg(long)]
    pub build_only: bool,
    /// Use the image that is there, without asking whether its inputs changed
    #[arg(short = 'c', long = "use-cache", env = "USE_CACHE", value_parser = clap::builder::FalseyValueParser::new())]
    pub cached: bool,
    /// Start no lab, use the machines of the testenv file
    #[arg(long)]
    pub existing_environment: bool,
    /// Machines to enrol, as a testenv JSON file or the list `nodes` of one
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// Log everything that seed and lab do
    #[arg(long)]
    pub debug_logging: bool,
    /// Heat environment for the stack, may be repeated
    #[arg(long, value_name = "FILE", env = "HEAT_ENV")]
    pub heat_env_overcloud: Vec<PathBuf>,
    /// Accepted as upstream's users type it: the lab lives in namespaces of its own and trashes nothing
    #[arg(long)]
    pub trash_my_machine: bool,
    /// Accepted as upstream's users type it: the seed deploys everything
    #[arg(long)]
    pub no_undercloud: bool,
    /// End machines, lab and seed; images, caches and logs stay
    #[arg(long)]
    pub down: bool,
    /// Parameter of the stack, may be repeated
    #[arg(long = "parameter", short = 'P', value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Machines in the lab
    #[arg(long, env = "NODE_CNT", default_value_t = 2, value_name = "COUNT")]
    pub node_count: u32,
    /// Processors of a machine
    #[arg(long, env = "NODE_CPU", default_value_t = 1, value_name = "COUNT")]
    pub node_cpus: u32,
    /// MiB of memory of a machine
    #[arg(long, env = "NODE_MEM", default_value_t = 2048, value_name = "MIB")]
    pub node_memory: u64,
    /// GiB of a machine's disk
    #[arg(long, env = "NODE_DISK", default_value_t = 8, value_name = "GIB")]
    pub node_disk: u64,
    /// Where the testenv file lies; below the state directory if not given
    #[arg(long, env = "TE_DATAFILE", value_name = "FILE")]
    pub testenv_file: Option<PathBuf>,
    /// Minutes until the stack has failed
    #[arg(
        long,
        env = "OVERCLOUD_STACK_TIMEOUT",
        default_value_t = 60,
        value_name = "MINUTES"
    )]
    pub stack_timeout: u64,
    /// A word about this run for the perf log
    #[arg(
        long,
        env = "DEVTEST_PERF_COMMENT",
        default_value = "",
        hide_default_value = true
    )]
    pub perf_comment: String,
    #[command(subcommand)]
    pub command: Option<DevtestCommand>,
}

/// What to do with a story that is up
#[derive(Debug, Clone, clap::Subcommand)]
pub enum DevtestCommand {
    /// Open a shell in which the stock client talks to the seed
    Shell,
}

/// What the story deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// Two machines with one small service each
    Hello,
    /// A controller and a compute node of real OpenStack (not there yet)
    Overcloud,
}

impl DevtestArgs {
    /// Checks everything that can be wrong before any work starts.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.size == Size::Overcloud {
            bail!("--size overcloud cannot be deployed yet; --size hello (the default) can");
        }
        if self.node_count < 2 && self.nodes.is_none() && !self.existing_environment {
            bail!(
                "the hello story needs two machines, --node-count (NODE_CNT) is {}",
                self.node_count
            );
        }
        if self.node_count > super::lab::MOST {
            bail!(
                "--node-count (NODE_CNT) is {}; the lab's networks have room for {}",
                self.node_count,
                super::lab::MOST
            );
        }
        if self.node_memory < 256 {
            bail!(
                "--node-memory (NODE_MEM) is {} MiB; a machine needs 256",
                self.node_memory
            );
        }
        if self.node_disk < 2 {
            bail!(
                "--node-disk (NODE_DISK) is {} GiB; the image needs 2",
                self.node_disk
            );
        }
        for file in self.heat_env_overcloud.iter().chain(&self.nodes) {
            std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        }
        Ok(())
    }

    /// Where the testenv file lies.
    pub fn testenv_file(&self, state: &Path) -> PathBuf {
        self.testenv_file
            .clone()
            .unwrap_or_else(|| state.join("testenv.json"))
    }
}
