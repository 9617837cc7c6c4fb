//! What a run of devtest is asked to do: defaults, upstream's variables and options become one checked value.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Run the whole story on this machine: images, machines, seed, a deployed stack
#[derive(Debug, Clone, clap::Args)]
pub struct DevtestArgs {
    /// Directory that holds all state, if not /var/lib/tripleo (TRIPLEO_STATE)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// What to deploy
    #[arg(long, env = "TRIPLEO_SIZE", value_enum, default_value_t = Size::Overcloud)]
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
    #[arg(long, value_name = "FILE", env = "TRIPLEO_HEAT_ENV")]
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
    /// Controllers of the overcloud; more than one comes later
    #[arg(
        long,
        env = "OVERCLOUD_CONTROLSCALE",
        default_value_t = 1,
        value_name = "COUNT"
    )]
    pub controller_count: u32,
    /// Compute nodes of the overcloud
    #[arg(
        long,
        env = "OVERCLOUD_COMPUTESCALE",
        default_value_t = 1,
        value_name = "COUNT"
    )]
    pub compute_count: u32,
    /// Machines in the lab; as many as the size needs if not given
    #[arg(long, env = "NODE_CNT", value_name = "COUNT")]
    pub node_count: Option<u32>,
    /// Processors of a machine; overcloud 2, hello 1
    #[arg(long, env = "NODE_CPU", value_name = "COUNT")]
    pub node_cpus: Option<u32>,
    /// MiB of memory of a machine; overcloud 6144, hello 2048
    #[arg(long, env = "NODE_MEM", value_name = "MIB")]
    pub node_memory: Option<u64>,
    /// GiB of a machine's disk; overcloud 16, hello 8
    #[arg(long, env = "NODE_DISK", value_name = "GIB")]
    pub node_disk: Option<u64>,
    /// Where the testenv file lies; below the state directory if not given
    #[arg(long, env = "TE_DATAFILE", value_name = "FILE")]
    pub testenv_file: Option<PathBuf>,
    /// The machines' network, 256 addresses; 192.0.2.0/24 if not given, or 172.30.254.0/24 or 192.168.254.0/24 where this host has that one itself
    #[arg(long, env = "BM_NETWORK_CIDR", value_name = "CIDR")]
    pub baremetal_network: Option<ipnet::Ipv4Net>,
    /// Minutes until the stack has failed
    #[arg(
        long,
        env = "OVERCLOUD_STACK_TIMEOUT",
        default_value_t = 60,
        value_name = "MINUTES"
    )]
    pub stack_timeout: u64,
    /// How long a machine may take from power on until its deploy agent calls, in seconds; 180 for the lab's machines, for others 1200
    #[arg(long, env = "TRIPLEO_BOOT_TIMEOUT", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub boot_timeout: Option<u32>,
    /// Addresses for machines that are being deployed or cleaned; if not given those of the lab, and elsewhere a part of the machines' network
    #[arg(long, env = "TRIPLEO_DEPLOY_RANGE", value_name = "FIRST-LAST", value_parser = range)]
    pub deploy_range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Where machines reach the seed; its address on their network and port 5000 if not given
    #[arg(long, env = "TRIPLEO_INTERNAL_LISTEN", value_name = "ADDR:PORT")]
    pub internal_listen: Option<SocketAddr>,
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
    /// A controller and compute nodes of real OpenStack, proved by an instance
    Overcloud,
}

impl Size {
    /// The golden images of its machines: names of files in `images/`, of images in the seed.
    pub fn images(self) -> &'static [&'static str] {
        match self {
            Self::Hello => &["hello"],
            Self::Overcloud => &["overcloud-controller", "overcloud-compute"],
        }
    }

    /// The stack that it deploys, and the template of the same name.
    pub fn stack(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Overcloud => "overcloud",
        }
    }
}

/// What the lab's machines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machines {
    /// How many.
    pub count: u32,
    /// Processors of each.
    pub cpus: u32,
    /// MiB of memory of each.
    pub memory: u64,
    /// GiB of the disk of each.
    pub disk: u64,
}

impl DevtestArgs {
    /// Checks everything that can be wrong before any work starts.
    pub fn check(&self) -> anyhow::Result<()> {
        let (machines, needed) = (self.machines(), self.needed());
        if self.size == Size::Overcloud && self.controller_count != 1 {
            bail!(
                "--controller-count (OVERCLOUD_CONTROLSCALE) is {}; only 1 can be deployed yet",
                self.controller_count
            );
        }
        if machines.count < needed && self.nodes.is_none() && !self.existing_environment {
            bail!(
                "this story needs {needed} machines, --node-count (NODE_CNT) is {}",
                machines.count
            );
        }
        let most = super::lab::most(self.size);
        if machines.count > most {
            bail!(
                "--node-count (NODE_CNT) is {}; the lab's networks have room for {most}",
                machines.count
            );
        }
        let (memory, disk) = match self.size {
            Size::Hello => (256, 2),
            Size::Overcloud => (4096, 6),
        };
        if machines.memory < memory {
            bail!(
                "--node-memory (NODE_MEM) is {} MiB; a machine needs {memory}",
                machines.memory
            );
        }
        if machines.disk < disk {
            bail!(
                "--node-disk (NODE_DISK) is {} GiB; the image needs {disk}",
                machines.disk
            );
        }
        for file in self.heat_env_overcloud.iter().chain(&self.nodes) {
            std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        }
        Ok(())
    }

    /// Seconds from power on until a machine's deploy agent must have called.
    ///
    /// Virtual machines have no firmware; a hundred of them at once on two processors still take a while. A server tests its
    /// memory, and looks for its disks, for minutes.
    pub fn boot_timeout(&self) -> u32 {
        let lab = self.nodes.is_none() && !self.existing_environment;
        self.boot_timeout.unwrap_or(if lab { 180 } else { 1200 })
    }

    /// The lab's machines: what is given, else what the size needs.
    pub fn machines(&self) -> Machines {
        let (cpus, memory, disk) = match self.size {
            Size::Hello => (1, 2048, 8),
            Size::Overcloud => (2, 6144, 16),
        };
        Machines {
            count: self.node_count.unwrap_or_else(|| self.needed()),
            cpus: self.node_cpus.unwrap_or(cpus),
            memory: self.node_memory.unwrap_or(memory),
            disk: self.node_disk.unwrap_or(disk),
        }
    }

    /// How many machines the stack takes.
    fn needed(&self) -> u32 {
        match self.size {
            Size::Hello => 2,
            Size::Overcloud => self.controller_count.saturating_add(self.compute_count),
        }
    }

    /// Where the testenv file lies.
    pub fn testenv_file(&self, state: &Path) -> PathBuf {
        self.testenv_file
            .clone()
            .unwrap_or_else(|| state.join("testenv.json"))
    }
}

/// Reads `FIRST-LAST`.
fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let wrong = || format!("`{text}` is not FIRST-LAST, two addresses in this order");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let address = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| wrong());
    let (first, last) = (address(first)?, address(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DevtestArgs,
    }

    fn args(line: &[&str]) -> DevtestArgs {
        Line::parse_from(["devtest"].iter().chain(line)).args
    }

    #[test]
    fn physical_servers_have_the_time_that_their_firmware_takes() {
        assert_eq!(args(&[]).boot_timeout(), 180);
        assert_eq!(args(&["--nodes", "x"]).boot_timeout(), 1200);
        assert_eq!(args(&["--existing-environment"]).boot_timeout(), 1200);
        let own = ["--boot-timeout", "2400", "--nodes", "x"];
        assert_eq!(args(&own).boot_timeout(), 2400);
    }

    #[test]
    fn ranges_go_upwards() {
        assert_eq!(
            range("10.0.0.5-10.0.0.9"),
            Ok(([10, 0, 0, 5].into(), [10, 0, 0, 9].into()))
        );
        for wrong in ["10.0.0.9-10.0.0.5", "10.0.0.5", "10.0.0.5-x", ""] {
            assert!(range(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
