//! The states of a node's life and the verbs that move it, as one table. The words are Ironic's.
//!
//! Pure: which steps a verb takes is decided in `plan`, and doing them is `steps`' job.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$item_doc])* #[serde(rename = $word)] $item,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$item),*];

            /// Ironic's word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$item => $word,)*
                }
            }

            /// From Ironic's word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// Where a node is in its life.
    ProvisionState {
        /// Known, not yet checked.
        Enroll = "enroll",
        /// Its credentials are being checked.
        Verifying = "verifying",
        /// Under control, not offered to anybody.
        Manageable = "manageable",
        /// Its hardware is being looked at.
        Inspecting = "inspecting",
        /// The same, waiting for the machine.
        InspectWait = "inspect wait",
        /// Looking at it did not go well.
        InspectFailed = "inspect failed",
        /// Being cleaned.
        Cleaning = "cleaning",
        /// The same, waiting for the machine.
        CleanWait = "clean wait",
        /// Cleaning did not go well.
        CleanFailed = "clean failed",
        /// Free to be used.
        Available = "available",
        /// Being given an image.
        Deploying = "deploying",
        /// The same, waiting for the machine.
        DeployWait = "wait call-back",
        /// That did not go well.
        DeployFailed = "deploy failed",
        /// In use.
        Active = "active",
        /// Being taken back.
        Deleting = "deleting",
        /// Taking it back did not go well.
        Error = "error",
        /// Being taken over as it is.
        Adopting = "adopting",
        /// That did not go well.
        AdoptFailed = "adopt failed",
        /// Being booted into the rescue system.
        Rescuing = "rescuing",
        /// The same, waiting for the machine.
        RescueWait = "rescue wait",
        /// That did not go well.
        RescueFailed = "rescue failed",
        /// In the rescue system.
        Rescue = "rescue",
        /// Being brought back from it.
        Unrescuing = "unrescuing",
        /// That did not go well.
        UnrescueFailed = "unrescue failed",
    }
}

words! {
    /// What may be asked of a node.
    Verb {
        /// Check it and take control.
        Manage = "manage",
        /// Clean it and offer it.
        Provide = "provide",
        /// Look at its hardware.
        Inspect = "inspect",
        /// Clean it by given steps.
        Clean = "clean",
        /// Take it over as it is.
        Adopt = "adopt",
        /// Give it an image.
        Deploy = "active",
        /// Give it an image again.
        Rebuild = "rebuild",
        /// Take it back.
        Undeploy = "deleted",
        /// Boot it into the rescue system.
        Rescue = "rescue",
        /// Bring it back from there.
        Unrescue = "unrescue",
        /// Stop waiting for the machine.
        Abort = "abort",
    }
}

impl Verb {
    /// From a word of a request: other names that Ironic has for some are read too.
    pub fn requested(word: &str) -> Option<Self> {
        match word {
            "deploy" => Some(Self::Deploy),
            "undeploy" => Some(Self::Undeploy),
            other => Self::parse(other),
        }
    }

    /// Where the node ends when all goes well.
    pub fn goal(self) -> ProvisionState {
        match self {
            Self::Manage | Self::Inspect | Self::Clean => ProvisionState::Manageable,
            Self::Provide | Self::Undeploy => ProvisionState::Available,
            Self::Adopt | Self::Deploy | Self::Rebuild | Self::Unrescue => ProvisionState::Active,
            Self::Rescue => ProvisionState::Rescue,
            Self::Abort => ProvisionState::CleanFailed,
        }
    }

    /// The states from which the verb may be asked.
    pub fn from(self) -> &'static [ProvisionState] {
        use ProvisionState as P;
        match self {
            Self::Manage => &[
                P::Enroll,
                P::Manageable,
                P::Available,
                P::CleanFailed,
                P::InspectFailed,
                P::AdoptFailed,
            ],
            Self::Provide => &[P::Manageable],
            Self::Inspect => &[P::Manageable, P::InspectFailed],
            Self::Clean => &[P::Manageable],
            Self::Adopt => &[P::Manageable, P::AdoptFailed],
            Self::Deploy => &[P::Available, P::DeployFailed],
            Self::Rebuild => &[P::Active, P::DeployFailed, P::Error],
            Self::Undeploy => &[
                P::Active,
                P::Rescue,
                P::Error,
                P::DeployWait,
                P::DeployFailed,
                P::RescueFailed,
                P::UnrescueFailed,
                P::RescueWait,
            ],
            Self::Rescue => &[P::Active, P::Rescue, P::RescueFailed, P::UnrescueFailed],
            Self::Unrescue => &[P::Rescue, P::RescueFailed, P::UnrescueFailed],
            Self::Abort => &[P::CleanWait, P::InspectWait, P::RescueWait],
        }
    }

    /// The states that the node shows while the verb works and while it waits for the machine.
    pub(crate) fn through(self) -> (ProvisionState, ProvisionState) {
        use ProvisionState as P;
        match self {
            Self::Manage => (P::Verifying, P::Verifying),
            Self::Provide | Self::Clean => (P::Cleaning, P::CleanWait),
            Self::Inspect => (P::Inspecting, P::InspectWait),
            Self::Adopt => (P::Adopting, P::Adopting),
            Self::Deploy | Self::Rebuild => (P::Deploying, P::DeployWait),
            Self::Undeploy => (P::Deleting, P::Deleting),
            Self::Rescue => (P::Rescuing, P::RescueWait),
            Self::Unrescue => (P::Unrescuing, P::Unrescuing),
            Self::Abort => (P::CleanFailed, P::CleanFailed),
        }
    }

    /// Where the node ends when it goes wrong before cleaning has begun.
    pub(crate) fn failed(self) -> ProvisionState {
        use ProvisionState as P;
        match self {
            Self::Manage => P::Enroll,
            Self::Provide | Self::Clean | Self::Abort => P::CleanFailed,
            Self::Inspect => P::InspectFailed,
            Self::Adopt => P::AdoptFailed,
            Self::Deploy | Self::Rebuild => P::DeployFailed,
            Self::Undeploy => P::Error,
            Self::Rescue => P::RescueFailed,
            Self::Unrescue => P::UnrescueFailed,
        }
    }
}

impl ProvisionState {
    /// Whether a node may be deleted in this state without maintenance.
    pub fn may_be_deleted(self) -> bool {
        matches!(
            self,
            Self::Enroll
                | Self::Manageable
                | Self::Available
                | Self::AdoptFailed
                | Self::CleanFailed
                | Self::InspectFailed
                | Self::Error
        )
    }

    /// Whether the node carries somebody's system.
    pub fn is_in_use(self) -> bool {
        matches!(
            self,
            Self::Active
                | Self::Rescue
                | Self::Rescuing
                | Self::RescueWait
                | Self::RescueFailed
                | Self::Unrescuing
                | Self::UnrescueFailed
                | Self::Deploying
                | Self::DeployWait
        )
    }

    /// Where `abort` leads from a waiting state.
    pub(crate) fn aborted(self) -> Option<Self> {
        match self {
            Self::CleanWait => Some(Self::CleanFailed),
            Self::InspectWait => Some(Self::InspectFailed),
            Self::RescueWait => Some(Self::RescueFailed),
            _ => None,
        }
    }
}

words! {
    /// What may be asked of a node's power.
    PowerTarget {
        /// On.
        On = "power on",
        /// Off at once.
        Off = "power off",
        /// Off and on.
        Reboot = "rebooting",
        /// Ask the system to shut down.
        SoftOff = "soft power off",
        /// Ask the system to shut down, then on.
        SoftReboot = "soft rebooting",
    }
}

impl PowerTarget {
    /// The state that it ends in.
    pub fn end(self) -> Power {
        match self {
            Self::On | Self::Reboot | Self::SoftReboot => Power::On,
            Self::Off | Self::SoftOff => Power::Off,
        }
    }
}

words! {
    /// Whether a machine runs.
    Power {
        /// It does.
        On = "power on",
        /// It does not.
        Off = "power off",
        /// Its BMC does not say.
        Error = "error",
    }
}

words! {
    /// From what a machine boots.
    BootDevice {
        /// The network.
        Pxe = "pxe",
        /// Its disk.
        Disk = "disk",
        /// A CD, virtual media included.
        Cdrom = "cdrom",
        /// The firmware's setup.
        Bios = "bios",
        /// What the firmware thinks is safe.
        Safe = "safe",
        /// By HTTP, from UEFI.
        UefiHttp = "uefihttp",
    }
}

words! {
    /// How a machine's firmware boots.
    BootMode {
        /// The BIOS way.
        Bios = "bios",
        /// By UEFI.
        Uefi = "uefi",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_a_state_that_somebody_can_leave() {
        for verb in Verb::ALL {
            if *verb != Verb::Abort {
                let goal = verb.goal();
                assert!(
                    Verb::ALL.iter().any(|next| next.from().contains(&goal)),
                    "{verb} ends in {goal}, from where nothing leads"
                );
            }
            let failed = verb.failed();
            assert!(
                Verb::ALL.iter().any(|next| next.from().contains(&failed)),
                "{verb} fails into {failed}, from where nothing leads"
            );
        }
    }

    #[test]
    fn words_are_read_back() {
        for state in ProvisionState::ALL {
            assert_eq!(ProvisionState::parse(state.word()), Some(*state));
        }
        assert_eq!(Verb::requested("deploy"), Some(Verb::Deploy));
        assert_eq!(Verb::requested("nothing"), None);
    }
}
