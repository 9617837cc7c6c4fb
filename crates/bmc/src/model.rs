//! What is said of a machine, in our words; Redfish's words are only in the conversions here.

use std::fmt;

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// It is on its way to run.
    PoweringOn,
    /// It is on its way down.
    PoweringOff,
    /// The BMC does not say.
    Unknown,
}

impl PowerState {
    pub(crate) fn parse(word: Option<&str>) -> Self {
        match word {
            Some("On" | "Paused") => Self::On,
            Some("Off") => Self::Off,
            Some("PoweringOn") => Self::PoweringOn,
            Some("PoweringOff") => Self::PoweringOff,
            Some(_) | None => Self::Unknown,
        }
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "power on",
            Self::Off => "power off",
            Self::PoweringOn => "powering on",
            Self::PoweringOff => "powering off",
            Self::Unknown => "unknown",
        })
    }
}

/// What to do with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAction {
    /// Switch on.
    On,
    /// Switch off at once.
    Off,
    /// Ask the operating system to shut down.
    SoftOff,
    /// Off at once, then on.
    Reboot,
    /// Ask the operating system to shut down, then on.
    SoftReboot,
}

/// From what a machine boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootTarget {
    /// As the firmware is set up.
    None,
    /// From the network.
    Pxe,
    /// From its disk.
    Hdd,
    /// From a (virtual) CD.
    Cd,
    /// From a (virtual) USB CD: what some controllers call their virtual media.
    UsbCd,
    /// A device of USB.
    Usb,
    /// Into the firmware's setup.
    BiosSetup,
    /// By HTTP, from UEFI.
    UefiHttp,
}

impl BootTarget {
    const WORDS: [(Self, &'static str); 8] = [
        (Self::None, "None"),
        (Self::Pxe, "Pxe"),
        (Self::Hdd, "Hdd"),
        (Self::Cd, "Cd"),
        (Self::UsbCd, "UsbCd"),
        (Self::Usb, "Usb"),
        (Self::BiosSetup, "BiosSetup"),
        (Self::UefiHttp, "UefiHttp"),
    ];

    /// Redfish's word.
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(target, _)| *target == self)
            .map_or("None", |(_, word)| word)
    }

    /// From Redfish's word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(target, _)| *target)
    }
}

/// For how long a boot override holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootFrequency {
    /// Not at all.
    Disabled,
    /// For the next boot.
    Once,
    /// Until it is changed.
    Continuous,
}

impl BootFrequency {
    /// Redfish's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Once => "Once",
            Self::Continuous => "Continuous",
        }
    }

    pub(crate) fn parse(word: Option<&str>) -> Self {
        match word {
            Some("Once") => Self::Once,
            Some("Continuous") => Self::Continuous,
            Some(_) | None => Self::Disabled,
        }
    }
}

/// How a machine's firmware boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootMode {
    /// The BIOS way.
    Bios,
    /// By UEFI.
    Uefi,
}

impl BootMode {
    /// Redfish's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bios => "Legacy",
            Self::Uefi => "UEFI",
        }
    }
}

/// What the next boot will use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOverride {
    /// The target, where it is one that we know.
    pub target: Option<BootTarget>,
    /// For how long.
    pub frequency: BootFrequency,
    /// The firmware's way, where the BMC says it.
    pub mode: Option<BootMode>,
    /// Targets that may be set; empty where the BMC does not say.
    pub allowed: Vec<BootTarget>,
}

/// What a BMC says of its machine as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Path on the BMC.
    pub path: String,
    /// Maker, as the firmware says it.
    pub manufacturer: Option<String>,
    /// Model, as the firmware says it.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// UUID of the machine.
    pub uuid: Option<String>,
    /// Power state.
    pub power: PowerState,
    /// What the next boot will use.
    pub boot: BootOverride,
}

/// A processor socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// Model.
    pub model: Option<String>,
    /// Cores.
    pub cores: u64,
    /// Threads.
    pub threads: u64,
    /// Architecture in the words of `uname -m`, where known.
    pub arch: Option<String>,
}

/// A network card's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The BMC's name of it.
    pub name: String,
    /// MAC address, colon form, lower case.
    pub mac: String,
    /// Whether it is the BMC's opinion that it works.
    pub enabled: bool,
    /// Speed, where a link is up.
    pub speed_mbps: Option<u64>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The BMC's name of it.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Whether it turns, where the BMC says it.
    pub rotational: Option<bool>,
}

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The machine as a whole.
    pub system: System,
    /// Memory in MiB; 0 where the BMC does not say.
    pub memory_mib: u64,
    /// Processor sockets.
    pub cpus: Vec<Cpu>,
    /// Network ports that have a MAC address.
    pub nics: Vec<Nic>,
    /// Disks.
    pub disks: Vec<Disk>,
}

impl Inventory {
    /// Threads of all processors.
    pub fn threads(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.threads).sum()
    }

    /// The architecture of the first processor that says one.
    pub fn arch(&self) -> Option<&str> {
        self.cpus.iter().find_map(|cpu| cpu.arch.as_deref())
    }
}
