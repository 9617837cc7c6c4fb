//! Executes a build plan: layers from the cache or made now, then the image's own phases, then outputs.
//!
//! Runs in the worker: mounts and processes made here are gone when it ends, however it ends.

mod attached;
mod layering;
mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use self::attached::Attached;
use self::layering::Stack;
pub(crate) use self::tree::tree_kib;
use crate::block::BlockError;
use crate::disk_image::DiskError;
use crate::element::ElementVariables;
use crate::hooks::{HookError, merge};
use crate::layers::{LayerError, Layers};
use crate::output::{self, OutputError, Outputs};
use crate::phases::{Part, PhaseError, Runner, tell};
use crate::place::{self, MountError};
use crate::plan::{BuildPlan, DevicesWanted, LayoutSource, PlanError};
use crate::rootless;
use crate::settings::{Settings, Surroundings};
use crate::stage::Workspace;
use crate::variables::{self, get, set};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A phase failed.
    #[error(transparent)]
    Phase(#[from] PhaseError),
    /// Elements cannot be merged.
    #[error(transparent)]
    Hooks(#[from] HookError),
    /// Something cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The layer cache cannot be used.
    #[error(transparent)]
    Layers(#[from] LayerError),
    /// An output cannot be made.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Devices cannot be made.
    #[error(transparent)]
    Devices(#[from] BlockError),
    /// The disk cannot be finished.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Devices are still in use.
    #[error("cannot take the image's devices down: {text}")]
    Busy {
        /// What is in the way.
        text: String,
    },
    /// Only devices of the kernel can make this layout, and there are none.
    #[error("{reason}, which needs loop devices, and this machine has none")]
    NoDevices {
        /// What asks for them.
        reason: String,
    },
    /// A program failed.
    #[error("cannot {what}")]
    Program {
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        source: disk::program::ProgramError,
    },
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// root.d made nothing.
    #[error("no root.d hook put anything into the tree: there is no operating system")]
    EmptyRoot,
    /// A file of the build cannot be read or written.
    #[error("cannot {what} {path}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl BuildError {
    /// The exit code of the build.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Phase(error) => error.exit_code(),
            Self::Hooks(_)
            | Self::Mount(_)
            | Self::Layers(_)
            | Self::Output(_)
            | Self::Plan(_)
            | Self::Devices(_)
            | Self::Disk(_)
            | Self::Busy { .. }
            | Self::NoDevices { .. }
            | Self::Program { .. }
            | Self::EmptyRoot
            | Self::File { .. } => 1,
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Phase(PhaseError::Hook { phase, .. }) => Some(format!(
                "look at its output above; for a shell at that point: break=after-error or break=before-{phase}, and -x to see more"
            )),
            Self::Phase(_)
            | Self::Hooks(_)
            | Self::Layers(_)
            | Self::Busy { .. }
            | Self::EmptyRoot => None,
            Self::Devices(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Program { source, .. } => source.hint(),
            Self::NoDevices { .. } => {
                Some("give the container /dev/loop-control and the loop devices".to_owned())
            }
            Self::Mount(error) => error.hint(),
            Self::Output(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::File { source, .. } => (source.kind() == io::ErrorKind::StorageFull).then(|| {
                "the disk is full: set TMP_DIR or --image-cache to another one".to_owned()
            }),
        }
    }
}

fn file(what: &'static str, path: &Path) -> impl Fn(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::File {
        what,
        path: path.clone(),
        source,
    }
}

fn folder(path: &Path) -> Result<(), BuildError> {
    std::fs::create_dir_all(path).map_err(file("make the folder", path))
}

/// What a build is made of.
pub struct Build<'a> {
    /// Settings.
    pub settings: &'a Settings,
    /// What is around.
    pub around: &'a Surroundings,
    /// The plan.
    pub plan: &'a BuildPlan,
    /// Folders of this build.
    pub workspace: &'a Workspace,
    /// The command line, for hooks.
    pub arguments: String,
    /// The folder in which the user called us.
    pub folder: PathBuf,
}

impl Build<'_> {
    /// Builds.
    pub fn run(&self) -> Result<(), BuildError> {
        let build = &self.workspace.build;
        if self.settings.use_tmpfs {
            place::tmpfs(build, "mode=755")?;
            place::tmpfs(&self.workspace.image, "mode=755")?;
        }
        let root = build.join("mnt");
        let hooks = build.join("hooks");
        for path in [&root, &hooks] {
            folder(path)?;
        }
        self.write_lib()?;
        self.write_params()?;
        let owners = merge(&self.plan.elements, &hooks)?;
        let elements = ElementVariables::of(&self.plan.elements);
        let mut environment = variables::outside(
            self.settings,
            self.around,
            &self.arguments,
            &elements,
            &self.plan.layout,
            self.workspace,
        );
        if rootless::is_on(self.around) {
            let path = get(&environment, "PATH").unwrap_or_default();
            let path = format!("{}:{path}", self.rootless_programs().display());
            set(&mut environment, "PATH", path);
        }
        let mut runner = Runner {
            settings: self.settings,
            owners: &owners,
            outside: environment,
            folder: self.folder.clone(),
            hooks,
            root,
            break_command: self.around.variable("break_cmd").map(str::to_owned),
            break_outside: self.around.variable("break_outside_target").is_some(),
        };
        // Who looks into a build wants to see it happen.
        let watched = self.settings.trace > 0 || self.around.variable("break").is_some();
        let seconds = if watched {
            0
        } else {
            self.settings.layer_seconds
        };
        let layers = Layers::new(&self.settings.cache, seconds, &self.workspace.id);
        let mut stack = Stack::default();
        self.root_layer(&mut runner, &layers, &mut stack)?;
        self.extra_data(&mut runner, &mut stack)?;
        self.upper_layers(&runner, &layers, &mut stack)?;
        let attached = self.image_phases(&mut runner, &stack)?;
        let tree = runner.root.clone();
        let outputs = Outputs {
            settings: self.settings,
            plan: self.plan,
            around: self.around,
            workspace: self.workspace,
            tree: &tree,
        };
        outputs.pack()?;
        let offline = attached.is_none();
        if let Some(attached) = attached {
            self.detach(&tree, attached)?;
        }
        outputs.write_disks(offline)?;
        layers.tidy();
        tell("Build completed successfully");
        Ok(())
    }

    /// Programs that come first on the PATH of hooks outside, for ordinary users.
    fn rootless_programs(&self) -> PathBuf {
        self.workspace.build.join("lib/rootless")
    }

    fn write_lib(&self) -> Result<(), BuildError> {
        let lib = self.workspace.build.join("lib");
        folder(&lib)?;
        let die = "die() {\n    echo \"ERROR: $*\"\n    exit 1\n}\n";
        for name in ["die", "common-functions"] {
            std::fs::write(lib.join(name), die).map_err(file("write", &lib))?;
        }
        let program = std::env::current_exe().map_err(file("find this program from", &lib))?;
        for tool in [
            "dib-python",
            "package-installs-squash",
            "pkg-map-flatten",
            "svc-map-flatten",
        ] {
            std::os::unix::fs::symlink(&program, lib.join(tool))
                .map_err(file("link a tool in", &lib))?;
        }
        if rootless::is_on(self.around) {
            let own = self.rootless_programs();
            folder(&own)?;
            std::os::unix::fs::symlink(&program, own.join("sudo"))
                .map_err(file("link a tool in", &own))?;
        }
        Ok(())
    }

    /// The file that upstream's block device tool reads; elements may look into it.
    fn write_params(&self) -> Result<(), BuildError> {
        let build = &self.workspace.build;
        let config = match &self.plan.layout_source {
            LayoutSource::Element(path) => path.clone(),
            LayoutSource::Variable | LayoutSource::Default => {
                build.join("block-device-config.yaml")
            }
        };
        if !matches!(self.plan.layout_source, LayoutSource::Element(_)) {
            std::fs::write(&config, &self.plan.layout_text).map_err(file("write", &config))?;
        }
        let label = self.settings.root_label.clone().unwrap_or_default();
        let text = format!(
            "config: {}\nimage-dir: {}\nroot-fs-type: {}\nroot-label: {label}\nmount-base: {}\nbuild-dir: {}\n",
            config.display(),
            self.workspace.image.display(),
            self.settings.fs_type,
            build.join("mnt").display(),
            build.display(),
        );
        let path = build.join("params.yaml");
        std::fs::write(&path, text).map_err(file("write", &path))
    }

    /// The phases of the image itself, on a tree of its own or on devices.
    fn image_phases(
        &self,
        runner: &mut Runner<'_>,
        stack: &Stack,
    ) -> Result<Option<Attached>, BuildError> {
        let (upper, work) = (
            self.workspace.build.join("top/tree"),
            self.workspace.build.join("top/work"),
        );
        self.mount(runner, stack, &upper, &work)?;
        runner.phase("post-root", false, Part::All)?;
        self.unmount(runner);
        place::overlay(&stack.trees, &upper, &work, &runner.root)?;
        let kib = self.image_kib(&runner.root)?;
        set(&mut runner.outside, "DIB_IMAGE_SIZE", kib.to_string());
        let built = self.workspace.build.join("built");
        folder(&built)?;
        place::move_mount(&runner.root, &built)?;
        let device = self.block_device(runner)?;
        let fstab = built.join("etc/fstab");
        folder(&built.join("etc"))?;
        std::fs::write(&fstab, self.plan.layout.fstab()).map_err(file("write", &fstab))?;
        let mut attached = None;
        if let Some(device) = device {
            place::move_mount(&built, &runner.root)?;
            set(&mut runner.outside, "IMAGE_BLOCK_DEVICE", device);
        } else if self.wants_devices()? {
            attached = Some(self.attach(runner, &built, kib)?);
        } else {
            place::move_mount(&built, &runner.root)?;
            self.name_the_file(runner, kib)?;
        }
        self.mount_system(runner)?;
        if let Some(attached) = &attached {
            self.show_devices(runner, attached)?;
        }
        runner.phase("pre-finalise", false, Part::All)?;
        let path = get(&runner.outside, "PATH").unwrap_or_default().to_owned();
        if let Some(before) = attached
            .as_ref()
            .and_then(|it| self.finalise_path(runner, it))
        {
            set(&mut runner.outside, "PATH", before);
        }
        runner.phase("finalise", true, Part::All)?;
        set(&mut runner.outside, "PATH", path);
        set(&mut runner.outside, "TARGET_ROOT", runner.root.as_os_str());
        runner.phase("cleanup", false, Part::All)?;
        self.keep_packages(&runner.root);
        self.unmount_below(&runner.root);
        tree::restore_resolver(&runner.root)?;
        tree::strip(&runner.root)?;
        if attached.is_some() {
            self.fill_esp(&runner.root)?;
        }
        Ok(attached)
    }

    /// Unmounts what is mounted in the tree, but for the file systems of the image.
    fn unmount_below(&self, root: &Path) {
        let own: BTreeSet<PathBuf> = match &self.plan.devices {
            Some(_) => self
                .plan
                .layout
                .mount_points()
                .into_iter()
                .map(|point| root.join(point.trim_start_matches('/')))
                .collect(),
            None => BTreeSet::from([root.to_owned()]),
        };
        let points: BTreeSet<PathBuf> = place::mount_points_below(root).into_iter().collect();
        for point in points.difference(&own) {
            place::unmount_all(point);
        }
    }

    /// Whether the last phases run on devices: where the machine has some.
    fn wants_devices(&self) -> Result<bool, BuildError> {
        let Some(wanted) = &self.plan.devices else {
            return Ok(false);
        };
        let there = File::options()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .is_ok();
        match wanted {
            DevicesWanted::Layout(reason) if !there => Err(BuildError::NoDevices {
                reason: reason.clone(),
            }),
            DevicesWanted::Hooks(reason) if !there => {
                tell(&format!(
                    "No loop devices here, though {reason}; the disk is made offline"
                ));
                Ok(false)
            }
            DevicesWanted::Layout(reason) | DevicesWanted::Hooks(reason) => {
                tell(&format!("The image gets devices: {reason}"));
                Ok(true)
            }
        }
    }

    /// Without devices hooks are told the file that will be the disk.
    fn name_the_file(&self, runner: &mut Runner<'_>, kib: u64) -> Result<(), BuildError> {
        let image = self.workspace.image.join("image0.raw");
        let raw = File::create(&image).map_err(file("make", &image))?;
        raw.set_len(kib * 1024).map_err(file("make", &image))?;
        set(&mut runner.outside, "IMAGE_BLOCK_DEVICE", image.as_os_str());
        let devices = format!(" [image0]={}", image.display());
        set(&mut runner.outside, "IMAGE_BLOCK_DEVICES", devices);
        Ok(())
    }

    /// Runs block-device.d; a line `IMAGE_BLOCK_DEVICE=` on its output names a device made by a hook.
    fn block_device(&self, runner: &Runner<'_>) -> Result<Option<String>, BuildError> {
        let path = self.workspace.build.join("block-device.out");
        let output = File::create(&path).map_err(file("make", &path))?;
        let result = runner.phase_with_output("block-device", &output);
        let mut text = Vec::new();
        File::open(&path)
            .and_then(|mut input| input.read_to_end(&mut text))
            .map_err(file("read", &path))?;
        let _ = io::stderr().write_all(&text);
        result?;
        let text = String::from_utf8_lossy(&text);
        Ok(text
            .lines()
            .filter_map(|line| line.strip_prefix("IMAGE_BLOCK_DEVICE="))
            .next_back()
            .map(str::to_owned))
    }

    /// How large the image is to be, in KiB.
    fn image_kib(&self, root: &Path) -> Result<u64, BuildError> {
        let taken = tree::tree_kib(root).map_err(file("measure", root))?;
        let wanted = match (self.settings.image_kib, self.settings.extra_kib) {
            (Some(kib), _) => kib,
            (None, Some(extra)) => taken + extra + self.overhead_kib(),
            // Room for what a node writes: two thirds more than the tree takes.
            (None, None) => taken * 10 / 6 + self.overhead_kib(),
        };
        Ok(wanted.next_multiple_of(64))
    }

    /// The journal and the other partitions.
    fn overhead_kib(&self) -> u64 {
        let root = self.plan.layout.root();
        let journal = if root.and_then(|fs| fs.kind.as_deref()) == Some("ext4") {
            self.settings.journal_mib * 1024
        } else {
            0
        };
        journal + output::partitions_kib(&self.plan.layout)
    }
}
