//! Executes a build plan: layers from the cache or made now, then the image's own phases, then outputs.
//!
//! Runs in the worker: mounts and processes made here are gone when it ends, however it ends.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::element::ElementVariables;
use crate::hooks::{HookError, merge};
use crate::layers::{self, Draft, Layer, LayerError, Layers, Relevant};
use crate::output::{self, OutputError};
use crate::phases::{Part, PhaseError, Runner, tell};
use crate::place::{self, MountError};
use crate::plan::{BuildPlan, LayoutSource, PACKAGES_HOOK, PlanError};
use crate::settings::{Settings, Surroundings};
use crate::stage::Workspace;
use crate::variables::{self, Environment, set};

/// Folders of the hook tree that only phases behind the layers read.
const AFTER_LAYERS: &[&str] = &[
    "root.d",
    "extra-data.d",
    "post-root.d",
    "block-device.d",
    "pre-finalise.d",
    "finalise.d",
    "cleanup.d",
];

/// Folders of the hook tree that the packages layer does not read.
const AFTER_PACKAGES: &[&str] = &[
    "install.d",
    "post-install.d",
    "static",
    "os-apply-config",
    "os-refresh-config",
    "init-scripts",
];

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
            Self::Phase(_) | Self::Hooks(_) | Self::Layers(_) | Self::EmptyRoot => None,
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

/// Layers in use: from the top down, with the locks that keep them.
#[derive(Default)]
struct Stack {
    trees: Vec<PathBuf>,
    locks: Vec<File>,
    uncached: usize,
}

impl Stack {
    fn push(&mut self, tree: PathBuf, lock: Option<File>) {
        self.trees.insert(0, tree);
        self.locks.extend(lock);
    }
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
        let environment = variables::outside(
            self.settings,
            self.around,
            &self.arguments,
            &elements,
            &self.plan.layout,
            self.workspace,
        );
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
        self.image_phases(&mut runner, &stack)?;
        output::write_all(
            self.settings,
            self.plan,
            self.around,
            self.workspace,
            &runner.root,
        )?;
        layers.tidy();
        tell("Build completed successfully");
        Ok(())
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
            "package-installs-squash",
            "pkg-map-flatten",
            "svc-map-flatten",
        ] {
            std::os::unix::fs::symlink(&program, lib.join(tool))
                .map_err(file("link a tool in", &lib))?;
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

    /// The tree that root.d makes.
    fn root_layer(
        &self,
        runner: &mut Runner<'_>,
        layers: &Layers,
        stack: &mut Stack,
    ) -> Result<(), BuildError> {
        let sourced = runner.sourced()?;
        let key = self.plan.root_key(&sourced)?;
        let draft = match self.open(layers, &key, "root", stack)? {
            Some(draft) => draft,
            None => return Ok(()),
        };
        let tree = draft.tree();
        std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o755))
            .map_err(file("prepare", &tree))?;
        place::bind(&tree, &runner.root)?;
        let mut outside = runner.outside.clone();
        set(&mut outside, "TARGET_ROOT", runner.root.as_os_str());
        let plain = std::mem::replace(&mut runner.outside, outside);
        let result = runner.phase("root", false, Part::All);
        runner.outside = plain;
        result?;
        let empty = std::fs::read_dir(&tree)
            .map_err(file("read", &tree))?
            .flatten()
            .all(|entry| entry.file_name() == "tmp" || entry.file_name() == "lost+found");
        if empty {
            return Err(BuildError::EmptyRoot);
        }
        // A mount that root.d leaves for later phases would not be there if the layer came from the cache.
        let left = self.set_mounts_aside(&runner.root)?;
        place::unmount_all(&runner.root);
        self.push(layers, draft, left == 0, stack)
    }

    /// Opens a layer; one that is there goes on the stack.
    fn open(
        &self,
        layers: &Layers,
        key: &str,
        name: &str,
        stack: &mut Stack,
    ) -> Result<Option<Draft>, BuildError> {
        match layers.open(key)? {
            Layer::There { tree, lock } => {
                tell(&format!("Layer {name} is cached: {}", &key[..12]));
                stack.push(tree, Some(lock));
                Ok(None)
            }
            Layer::Wanted(draft) => {
                tell(&format!("Making layer {name}: {}", &key[..12]));
                Ok(Some(draft))
            }
        }
    }

    fn push(
        &self,
        layers: &Layers,
        draft: Draft,
        keep: bool,
        stack: &mut Stack,
    ) -> Result<(), BuildError> {
        if keep && layers.keeps() {
            let (tree, lock) = layers.keep(draft)?;
            stack.push(tree, lock);
        } else {
            stack.push(draft.tree(), None);
            stack.uncached += 1;
            // The draft's lock may go: its folder bears this build's name.
        }
        Ok(())
    }

    /// Moves mounts that hooks made below `root` out of the way. Gives their number.
    fn set_mounts_aside(&self, root: &Path) -> Result<usize, BuildError> {
        let aside = self.workspace.build.join("mounts");
        let mut moved = 0;
        let points: BTreeSet<PathBuf> = place::mount_points_below(root)
            .into_iter()
            .filter(|p| p != root)
            .collect();
        let mut taken: Vec<PathBuf> = Vec::new();
        for point in points {
            if taken.iter().any(|outer| point.starts_with(outer)) {
                continue;
            }
            let Ok(relative) = point.strip_prefix(root) else {
                continue;
            };
            let slot = aside.join(format!("{moved}"));
            folder(&slot)?;
            place::move_mount(&point, &slot)?;
            let list = aside.join("list");
            let mut list_file = File::options()
                .append(true)
                .create(true)
                .open(&list)
                .map_err(file("write", &list))?;
            writeln!(list_file, "{}", relative.display()).map_err(file("write", &list))?;
            taken.push(point);
            moved += 1;
        }
        Ok(moved)
    }

    /// Brings mounts back that were set aside.
    fn bring_mounts_back(&self, root: &Path) -> Result<(), BuildError> {
        let aside = self.workspace.build.join("mounts");
        let Ok(text) = std::fs::read_to_string(aside.join("list")) else {
            return Ok(());
        };
        for (number, relative) in text.lines().enumerate() {
            let point = root.join(relative);
            folder(&point)?;
            place::move_mount(&aside.join(number.to_string()), &point)?;
        }
        let list = aside.join("list");
        std::fs::remove_file(&list).map_err(file("remove", &list))
    }

    /// Mounts the stack with `upper` on top, and what a system needs.
    fn mount(
        &self,
        runner: &Runner<'_>,
        stack: &Stack,
        upper: &Path,
        work: &Path,
    ) -> Result<(), BuildError> {
        folder(upper)?;
        place::overlay(&stack.trees, upper, work, &runner.root)?;
        self.mount_system(runner)?;
        self.bring_mounts_back(&runner.root)
    }

    fn mount_system(&self, runner: &Runner<'_>) -> Result<(), BuildError> {
        place::system_mounts(&runner.root)?;
        let target = runner.root.join("tmp/in_target.d");
        if !runner.root.join("tmp").is_dir() {
            let mut builder = std::fs::DirBuilder::new();
            builder
                .mode(0o1777)
                .create(runner.root.join("tmp"))
                .map_err(file("make", &runner.root.join("tmp")))?;
        }
        folder(&target)?;
        place::bind_read_only(&runner.hooks, &target)?;
        self.share_packages(runner)
    }

    /// Shows the package cache; what a build downloads lands in a tree of its own first.
    fn share_packages(&self, runner: &Runner<'_>) -> Result<(), BuildError> {
        let archives = runner.root.join("var/cache/apt/archives");
        let wanted = self
            .around
            .variable("DIB_APT_LOCAL_CACHE")
            .is_none_or(|value| value != "0");
        if !archives.is_dir() || !wanted {
            return Ok(());
        }
        let shared = self.settings.cache.join("apt/archives");
        folder(&shared)?;
        let own = self.workspace.build.join("apt");
        let (upper, work) = (own.join("upper"), own.join("work"));
        folder(&upper)?;
        place::overlay(&[shared], &upper, &work, &archives)?;
        folder(&archives.join("partial"))
    }

    /// Gives downloaded packages to other builds.
    fn keep_packages(&self) {
        let shared = self.settings.cache.join("apt/archives");
        let Ok(entries) = std::fs::read_dir(self.workspace.build.join("apt/upper")) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| name.ends_with(".deb"))
                || shared.join(&name).exists()
            {
                continue;
            }
            let mut beside = std::ffi::OsString::from(".");
            beside.push(&name);
            beside.push(format!(".{}", self.workspace.id));
            let beside = shared.join(beside);
            // A package that cannot be kept is downloaded again, no more.
            if std::fs::copy(entry.path(), &beside)
                .and_then(|_| std::fs::rename(&beside, shared.join(&name)))
                .is_err()
            {
                let _ = std::fs::remove_file(&beside);
            }
        }
    }

    fn unmount(&self, runner: &Runner<'_>) {
        self.keep_packages();
        place::unmount_all(&runner.root);
    }

    /// Runs extra-data.d on top of the root layer. It may read anything of the host, so it runs each time.
    fn extra_data(&self, runner: &mut Runner<'_>, stack: &mut Stack) -> Result<(), BuildError> {
        let install_type = runner.hooks.join("environment.d/11-dib-install-type.bash");
        folder(&runner.hooks.join("environment.d"))?;
        let text = format!(
            "export DIB_DEFAULT_INSTALLTYPE=${{DIB_DEFAULT_INSTALLTYPE:-{}}}\n",
            self.settings.install_type
        );
        std::fs::write(&install_type, text).map_err(file("write", &install_type))?;
        if self.around.variable("DIB_DEFAULT_INSTALLTYPE").is_none() {
            variables::unset(&mut runner.outside, "DIB_DEFAULT_INSTALLTYPE");
        }
        let upper = self.workspace.build.join("extra/tree");
        self.mount(
            runner,
            stack,
            &upper,
            &self.workspace.build.join("extra/work"),
        )?;
        use_host_resolver(&runner.root)?;
        runner.phase("extra-data", false, Part::All)?;
        self.keep_packages();
        detach_own_mounts(&runner.root);
        self.set_mounts_aside(&runner.root)?;
        place::unmount_all(&runner.root);
        stack.push(upper, None);
        Ok(())
    }

    /// The layers of pre-install.d, install.d and post-install.d.
    fn upper_layers(
        &self,
        runner: &Runner<'_>,
        layers: &Layers,
        stack: &mut Stack,
    ) -> Result<(), BuildError> {
        let sourced = runner.sourced()?;
        let below = self.key_below(runner, stack)?;
        let split = self.plan.splits_install();
        let mut key = self.key(
            runner,
            &sourced,
            &below,
            "packages",
            if split { AFTER_PACKAGES } else { &[] },
        )?;
        if split {
            if let Some(draft) = self.open(layers, &key, "packages", stack)? {
                self.mount(runner, stack, &draft.tree(), &draft.work())?;
                runner.phase("pre-install", true, Part::All)?;
                runner.phase("install", true, Part::UpTo(PACKAGES_HOOK))?;
                self.finish_layer(runner, layers, draft, stack)?;
            }
            key = self.key(runner, &sourced, &key, "install", &[])?;
        }
        let mut hasher = layers::start_key(&key, "packages of the command line");
        for package in &self.plan.packages {
            hasher.field(package.as_bytes());
        }
        if let Some(draft) = self.open(layers, &hasher.finish(), "install", stack)? {
            self.mount(runner, stack, &draft.tree(), &draft.work())?;
            if split {
                runner.phase("install", true, Part::Behind(PACKAGES_HOOK))?;
            } else {
                runner.phase("pre-install", true, Part::All)?;
                runner.phase("install", true, Part::All)?;
            }
            if !self.plan.packages.is_empty() {
                runner.install_packages(&self.plan.packages)?;
            }
            runner.phase("post-install", true, Part::All)?;
            self.finish_layer(runner, layers, draft, stack)?;
        }
        Ok(())
    }

    fn finish_layer(
        &self,
        runner: &Runner<'_>,
        layers: &Layers,
        draft: Draft,
        stack: &mut Stack,
    ) -> Result<(), BuildError> {
        self.keep_packages();
        detach_own_mounts(&runner.root);
        self.set_mounts_aside(&runner.root)?;
        self.unmount(runner);
        let keep = stack.uncached == 0;
        self.push(layers, draft, keep, stack)
    }

    /// What the layers above extra-data.d stand on: the root layer, and what extra-data.d made of it.
    fn key_below(&self, runner: &Runner<'_>, stack: &Stack) -> Result<String, BuildError> {
        let sourced = runner.sourced()?;
        let mut hasher = layers::start_key(&self.plan.root_key(&sourced)?, "extra data");
        if let Some(extra) = stack.trees.first() {
            let skip = |path: &Path| {
                ["dev", "proc", "sys"]
                    .iter()
                    .any(|name| path == Path::new(name))
            };
            hasher.tree(extra, &skip).map_err(file("read", extra))?;
        }
        Ok(hasher.finish())
    }

    fn key(
        &self,
        runner: &Runner<'_>,
        sourced: &Environment,
        below: &str,
        kind: &str,
        left_out: &[&str],
    ) -> Result<String, BuildError> {
        let mut hasher = layers::start_key(below, kind);
        let skip = |path: &Path| {
            let top = path
                .components()
                .next()
                .map(|part| part.as_os_str().to_string_lossy().into_owned());
            let top = top.unwrap_or_default();
            // The hooks up to the packages are read by the packages layer, the others are not.
            if top == "install.d" && left_out.contains(&"install.d") {
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                return path.components().count() > 1
                    && run_parts::numeric_order(&name, PACKAGES_HOOK)
                        == std::cmp::Ordering::Greater;
            }
            AFTER_LAYERS.contains(&top.as_str()) || left_out.contains(&top.as_str())
        };
        hasher
            .tree(&runner.hooks, &skip)
            .map_err(file("read", &runner.hooks))?;
        let mut mentioned = BTreeSet::new();
        words_of(&runner.hooks, &mut mentioned).map_err(file("read", &runner.hooks))?;
        let base: BTreeSet<_> = runner.outside.iter().collect();
        let set_by_elements: BTreeSet<String> = sourced
            .iter()
            .filter(|variable| !base.contains(variable))
            .filter_map(|(name, _)| name.to_str().map(str::to_owned))
            .collect();
        let relevant = Relevant {
            mentioned: &mentioned,
            set_by_elements: &set_by_elements,
            all_dib: true,
        };
        layers::add_variables(&mut hasher, sourced, &relevant)
            .map_err(file("read", &runner.hooks))?;
        Ok(hasher.finish())
    }

    /// The phases of the image itself, on a tree of its own.
    fn image_phases(&self, runner: &mut Runner<'_>, stack: &Stack) -> Result<(), BuildError> {
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
        place::move_mount(&built, &runner.root)?;
        self.mount_system(runner)?;
        match device {
            Some(device) => set(&mut runner.outside, "IMAGE_BLOCK_DEVICE", device),
            None => {
                let image = self.workspace.image.join("image0.raw");
                let raw = File::create(&image).map_err(file("make", &image))?;
                raw.set_len(kib * 1024).map_err(file("make", &image))?;
                set(&mut runner.outside, "IMAGE_BLOCK_DEVICE", image.as_os_str());
                set(
                    &mut runner.outside,
                    "IMAGE_BLOCK_DEVICES",
                    format!(" [image0]={}", image.display()),
                );
            }
        }
        runner.phase("pre-finalise", false, Part::All)?;
        runner.phase("finalise", true, Part::All)?;
        set(&mut runner.outside, "TARGET_ROOT", runner.root.as_os_str());
        runner.phase("cleanup", false, Part::All)?;
        self.keep_packages();
        let points: BTreeSet<PathBuf> = place::mount_points_below(&runner.root)
            .into_iter()
            .collect();
        for point in points.iter().filter(|point| **point != runner.root) {
            place::unmount_all(point);
        }
        restore_resolver(&runner.root)?;
        strip(&runner.root)
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
        let taken = tree_kib(root).map_err(file("measure", root))?;
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

/// Unmounts what the framework mounted, leaving the mounts of hooks.
fn detach_own_mounts(root: &Path) {
    for own in [
        "proc",
        "sys",
        "dev",
        "tmp/in_target.d",
        "var/cache/apt/archives",
    ] {
        place::unmount_all(&root.join(own));
    }
}

fn words_of(path: &Path, words: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() && !path.is_symlink() && (name.ends_with(".d") || name == "bin") {
            words_of(&path, words)?;
        } else if path.is_file() {
            layers::add_words(&std::fs::read(&path)?, words);
        }
    }
    Ok(())
}

/// What `du` counts: blocks, each file once.
fn tree_kib(root: &Path) -> io::Result<u64> {
    fn walk(path: &Path, seen: &mut BTreeSet<(u64, u64)>, sectors: &mut u64) -> io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.path().symlink_metadata()?;
            if metadata.nlink() < 2
                || metadata.is_dir()
                || seen.insert((metadata.dev(), metadata.ino()))
            {
                *sectors += metadata.blocks();
            }
            if metadata.is_dir() {
                walk(&entry.path(), seen, sectors)?;
            }
        }
        Ok(())
    }
    let mut sectors = root.symlink_metadata()?.blocks();
    walk(root, &mut BTreeSet::new(), &mut sectors)?;
    Ok(sectors / 2)
}

/// Programs in the chroot find names as the host does; the image's own file waits beside.
fn use_host_resolver(root: &Path) -> Result<(), BuildError> {
    let (own, kept) = (
        root.join("etc/resolv.conf"),
        root.join("etc/resolv.conf.ORIG"),
    );
    if own.symlink_metadata().is_ok() {
        std::fs::rename(&own, &kept).map_err(file("rename", &own))?;
    }
    if root.join("etc").is_dir() {
        let text = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        std::fs::write(&own, text).map_err(file("write", &own))?;
    }
    Ok(())
}

fn restore_resolver(root: &Path) -> Result<(), BuildError> {
    let (own, kept) = (
        root.join("etc/resolv.conf"),
        root.join("etc/resolv.conf.ORIG"),
    );
    let have = kept.symlink_metadata().is_ok();
    // A hook that made it a link, or immutable, means it.
    if own.is_symlink() || is_immutable(&own) {
        return if have {
            std::fs::remove_file(&kept).map_err(file("remove", &kept))
        } else {
            Ok(())
        };
    }
    if have {
        std::fs::rename(&kept, &own).map_err(file("restore", &own))
    } else if own.exists() {
        std::fs::remove_file(&own).map_err(file("remove", &own))
    } else {
        Ok(())
    }
}

fn is_immutable(path: &Path) -> bool {
    let flags = File::open(path)
        .ok()
        .and_then(|file| rustix::fs::ioctl_getflags(&file).ok());
    flags.is_some_and(|flags| flags.contains(rustix::fs::IFlags::IMMUTABLE))
}

/// Takes away what no image should carry: temporary files, logs of the build.
fn strip(root: &Path) -> Result<(), BuildError> {
    let tmp = root.join("tmp");
    for entry in std::fs::read_dir(&tmp).into_iter().flatten().flatten() {
        crate::stage::remove_tree(&entry.path());
    }
    empty_files(&root.join("var/log"));
    remove_logs(&root.join("root"));
    Ok(())
}

fn empty_files(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            empty_files(&path);
        } else if path.is_file() {
            let _ = File::options().write(true).truncate(true).open(&path);
        }
    }
}

fn remove_logs(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            remove_logs(&path);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let _ = std::fs::remove_file(&path);
        }
    }
}
