//! What the first process of a machine must do before and after all else.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::error::AgentError;

/// File systems of the kernel: kind and where they are looked for. Without `/dev` there are no disks.
const KERNEL: [(&str, &str, &str); 3] = [
    ("proc", "/proc", "self"),
    ("sysfs", "/sys", "class"),
    ("devtmpfs", "/dev", "null"),
];

/// Makes what the kernel knows visible, where nobody has done it.
pub fn prepare() -> Result<(), AgentError> {
    if std::process::id() != 1 {
        return Ok(());
    }
    for (kind, place, sign) in KERNEL {
        if Path::new(place).join(sign).exists() {
            continue;
        }
        fs::create_dir_all(place).map_err(AgentError::io(format!("make {place}")))?;
        mount(
            Some(kind),
            place,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .map_err(AgentError::io(format!("mount {place}")))?;
    }
    Ok(())
}

/// Switches the machine off. A machine that cannot ends its first process, which is as good in a container.
pub fn switch_off() {
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(_) | Err(_) => {}
    }
}
