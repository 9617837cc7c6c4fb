//! The phases of an image on real devices: for hooks that ask for them, and for layouts that only the kernel can make.
//!
//! Everything is the build's own: loop devices go with the process, mounts with its namespace. An ESP on a kernel
//! without FAT is a folder in memory until the end; then its files go into the file system.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::program::{ProgramError, run};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::{Build, BuildError, file, folder};
use crate::block::config::{self, RootDefaults};
use crate::block::device::{self, Made, Places};
use crate::block::{command, graph};
use crate::disk_image;
use crate::phases::{Runner, tell};
use crate::place;
use crate::variables::{get, set};

/// Where the programs that stand before the image's are seen in the chroot.
const PROGRAMS: &str = "/tmp/.dib-programs";
const GRUB_INSTALL: &str = include_str!("grub-install.sh");

/// An image on devices.
pub(super) struct Attached {
    made: Made,
    raw: PathBuf,
}

fn program(what: &'static str) -> impl Fn(ProgramError) -> BuildError {
    move |source| BuildError::Program { what, source }
}

impl Build<'_> {
    /// Makes the devices, mounts them as the root, and fills them from `built`, where the tree is.
    pub(super) fn attach(
        &self,
        runner: &mut Runner<'_>,
        built: &Path,
        kib: u64,
    ) -> Result<Attached, BuildError> {
        let mut entries = config::parse(&self.plan.layout_text)?;
        let root = RootDefaults {
            kind: Some(self.settings.fs_type.clone()),
            label: self.settings.root_label.clone(),
            options: Some(disk_image::root_options(
                self.settings,
                &self.settings.fs_type,
            )),
        };
        config::complete(&mut entries, &root);
        let nodes = graph::nodes(&entries, self.settings.sector)?;
        let places = Places {
            images: self.workspace.image.clone(),
            mounts: runner.root.clone(),
            bytes: Some(kib * 1024),
            private: true,
        };
        let made = device::create(&nodes, &places)?;
        let mut from = built.as_os_str().to_owned();
        from.push("/.");
        run(Command::new("cp")
            .args(["-a", "--one-file-system"])
            .arg(from)
            .arg(&runner.root))
        .map_err(program("copy the tree to its file systems"))?;
        place::unmount_all(built);
        let device = made.state.device("image0").unwrap_or_default();
        set(&mut runner.outside, "IMAGE_BLOCK_DEVICE", device);
        let devices = command::block_devices(&made.state);
        set(&mut runner.outside, "IMAGE_BLOCK_DEVICES", devices);
        let raw = made.state.image("image0").map(Path::to_owned);
        Ok(Attached {
            made,
            raw: raw.unwrap_or_default(),
        })
    }

    /// Shows the devices in the chroot, and the programs that stand before the image's.
    pub(super) fn show_devices(
        &self,
        runner: &Runner<'_>,
        attached: &Attached,
    ) -> Result<(), BuildError> {
        for (_, device) in attached.made.state.devices() {
            let Ok(metadata) = Path::new(device).metadata() else {
                continue;
            };
            let node = runner.root.join(device.trim_start_matches('/'));
            if let Some(parent) = node.parent() {
                folder(parent)?;
            }
            let mode = Mode::from_bits_truncate(0o660);
            mknod(&node, SFlag::S_IFBLK, mode, metadata.rdev())
                .map_err(|error| file("make the device", &node)(error.into()))?;
        }
        if attached.made.stand_ins.is_empty() {
            return Ok(());
        }
        let own = self.workspace.build.join("programs");
        folder(&own)?;
        let script = own.join("grub-install");
        std::fs::write(&script, GRUB_INSTALL).map_err(file("write", &script))?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, executable).map_err(file("write", &script))?;
        let there = runner.root.join(PROGRAMS.trim_start_matches('/'));
        folder(&there)?;
        place::bind_read_only(&own, &there).map_err(BuildError::from)
    }

    /// The PATH of finalise.d; `None` where nothing stands before the image's programs.
    pub(super) fn finalise_path(&self, runner: &Runner<'_>, attached: &Attached) -> Option<String> {
        let path = get(&runner.outside, "PATH").unwrap_or_default();
        (!attached.made.stand_ins.is_empty()).then(|| format!("{PROGRAMS}:{path}"))
    }

    /// Puts our boot loader's files on the ESP while it is at hand.
    pub(super) fn fill_esp(&self, root: &Path) -> Result<(), BuildError> {
        let esp = self
            .plan
            .layout
            .file_systems
            .iter()
            .find(|fs| fs.kind.as_deref() == Some("vfat"));
        let point = esp.and_then(|fs| fs.mount_point.as_deref());
        match point {
            Some(point) if self.plan.boot_loader && self.settings.arch == "amd64" => {
                let target = root.join(point.trim_start_matches('/')).join("EFI/BOOT");
                folder(&target)?;
                let target = target.join("BOOTX64.EFI");
                disk_image::efi_program(self.plan, self.workspace, &target)?;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the devices down; what is left is the raw file.
    pub(super) fn detach(&self, root: &Path, attached: Attached) -> Result<(), BuildError> {
        for (path, device) in &attached.made.stand_ins {
            copy_to_fat(path, device).map_err(program("copy files to the ESP"))?;
        }
        let mut failure = None;
        attached.made.take_down(&mut |error| {
            tell(&format!("{error}"));
            failure.get_or_insert_with(|| error.to_string());
        });
        if let Some(text) = failure {
            return Err(BuildError::Busy { text });
        }
        let raw = attached.raw;
        attached.made.release().map_err(file("write out", &raw))?;
        place::unmount_all(root);
        disk_image::finish_attached(self.settings, self.plan, self.workspace, &raw)?;
        Ok(())
    }
}

/// Copies all that lies in `folder` to the FAT file system on `device`.
fn copy_to_fat(folder: &Path, device: &str) -> Result<(), ProgramError> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    if entries.is_empty() {
        return Ok(());
    }
    run(Command::new("mcopy")
        .env("MTOOLS_SKIP_CHECK", "1")
        .args(["-i", device, "-s", "-o", "-Q"])
        .args(entries)
        .arg("::"))
    .map(drop)
}
