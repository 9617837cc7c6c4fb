//! Layers of a build: which key each has, and how it comes into being if the cache lacks it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Build, BuildError, file, folder, tree};
use crate::digest::Key;
use crate::layers::{self, Draft, Layer, Layers, Relevant};
use serde_json::json;

use crate::phases::{Part, Runner, event, tell};
use crate::place;
use crate::plan::PACKAGES_HOOK;
use crate::variables::{self, Environment, set};

/// Folders of the hook tree that no layer of the chroot reads.
const NOT_INSIDE: &[&str] = &[
    "root.d",
    "extra-data.d",
    "post-root.d",
    "block-device.d",
    "pre-finalise.d",
    "finalise.d",
    "cleanup.d",
];

/// What builds share of apt, and where it lies in a tree.
const SHARED: &[(&str, &str)] = &[
    ("archives", "var/cache/apt/archives"),
    ("lists", "var/lib/apt/lists"),
];

/// A layer whose hooks run in the chroot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// pre-install.d, and install.d up to the packages of all elements.
    Packages,
    /// All that follows; or everything, where no element installs packages that way.
    Install,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Install => "install",
        }
    }

    /// Whether the layer depends on this path of the hook tree. `text` is that of its scripts: what beside
    /// them no script of the packages layer names cannot change it.
    fn reads(self, path: &Path, text: &[u8]) -> bool {
        let mut parts = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        let (top, inner) = (parts.next().unwrap_or_default(), parts.next());
        if NOT_INSIDE.contains(&&*top) {
            return false;
        }
        if self == Self::Install {
            return true;
        }
        match (&*top, inner) {
            ("pre-install.d" | "bin", _) | ("install.d", None) => true,
            ("install.d", Some(hook)) => is_before_packages(&hook),
            ("environment.d" | "post-install.d", _) => false,
            (top, _) => text.windows(top.len()).any(|part| part == top.as_bytes()),
        }
    }
}

fn is_before_packages(hook: &str) -> bool {
    run_parts::numeric_order(hook, PACKAGES_HOOK) != std::cmp::Ordering::Greater
}

/// The text of the scripts that make a layer.
fn scripts(hooks: &Path, kind: Kind) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for folder in [
        "pre-install.d",
        "install.d",
        "post-install.d",
        "environment.d",
        "bin",
    ] {
        let late = ["post-install.d", "environment.d"].contains(&folder);
        let Ok(entries) = std::fs::read_dir(hooks.join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let read = kind == Kind::Install
                || !late && (folder != "install.d" || is_before_packages(&name));
            if read && path.is_file() {
                text.extend_from_slice(&std::fs::read(&path)?);
                text.push(b'\n');
            }
        }
    }
    Ok(text)
}

/// Layers in use: from the top down, with the locks that keep them.
#[derive(Default)]
pub(super) struct Stack {
    pub(super) trees: Vec<PathBuf>,
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
    /// The tree that root.d makes.
    pub(super) fn root_layer(
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
        self.harvest_lists(&tree)?;
        // A mount that root.d leaves for later phases would not be there if the layer came from the cache.
        let left = self.set_mounts_aside(&runner.root)?;
        place::unmount_all(&runner.root);
        self.push(layers, draft, left == 0, stack)
    }

    /// Opens a layer; one that is there goes on the stack.
    fn open(
        &self,
        layers: &Layers,
        key: &Key,
        name: &str,
        stack: &mut Stack,
    ) -> Result<Option<Draft>, BuildError> {
        let short = &key.digest[..12];
        let told = |cached: bool| {
            event(&json!({"event": "layer", "layer": name, "key": key.digest, "cached": cached}));
        };
        match layers.open(key)? {
            Layer::There { tree, lock } => {
                tell(&format!("Layer {name} is cached: {short}"));
                told(true);
                stack.push(tree, Some(lock));
                Ok(None)
            }
            Layer::Wanted(draft) => {
                tell(&format!("Making layer {name}: {short}"));
                told(false);
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
    pub(super) fn mount(
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

    pub(super) fn mount_system(&self, runner: &Runner<'_>) -> Result<(), BuildError> {
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

    /// Shows what builds share of the package manager, as far as the tree has one: downloads and lists.
    /// What this build fetches lands in trees of its own first, and never in the image.
    fn share_packages(&self, runner: &Runner<'_>) -> Result<(), BuildError> {
        let wanted = self
            .around
            .variable("DIB_APT_LOCAL_CACHE")
            .is_none_or(|value| value != "0");
        for (name, point) in SHARED {
            let point = runner.root.join(point);
            if !point.is_dir() || !wanted {
                continue;
            }
            let shared = self.shared(name, &runner.root)?;
            let own = self.workspace.build.join("apt").join(name);
            let upper = own.join("upper");
            folder(&upper)?;
            place::overlay(&[shared], &upper, &own.join("work"), &point)?;
            folder(&point.join("partial"))?;
        }
        Ok(())
    }

    /// Downloads are shared by all; lists by those who have the same sources.
    fn shared(&self, name: &str, root: &Path) -> Result<PathBuf, BuildError> {
        let mut shared = self.settings.cache.join("apt").join(name);
        if name == "lists" {
            let mut hasher = layers::start_key(&self.settings.arch, name);
            for sources in ["etc/apt/sources.list", "etc/apt/sources.list.d"] {
                let path = root.join(sources);
                let added = if path.is_dir() {
                    hasher.tree(&path, &|_| false).map(drop)
                } else if path.is_file() {
                    hasher.file(&path).map(drop)
                } else {
                    Ok(())
                };
                added.map_err(file("read", &path))?;
            }
            shared.push(&hasher.finish().digest[..16]);
        }
        folder(&shared)?;
        Ok(shared)
    }

    /// Gives what this build fetched to others.
    pub(super) fn keep_packages(&self, root: &Path) {
        for (name, _) in SHARED.iter().copied() {
            let upper = self.workspace.build.join("apt").join(name).join("upper");
            let Ok(entries) = std::fs::read_dir(&upper) else {
                continue;
            };
            let Ok(shared) = self.shared(name, root) else {
                continue;
            };
            for entry in entries.flatten() {
                let (path, file_name) = (entry.path(), entry.file_name());
                let text = file_name.to_string_lossy();
                let package = text.ends_with(".deb");
                let fetched = if name == "archives" {
                    package
                } else {
                    text != "lock"
                };
                let have = package && shared.join(&file_name).exists();
                if !fetched || have || !path.is_file() {
                    continue;
                }
                let beside = shared.join(format!(".{text}.{}", self.workspace.id));
                // What cannot be kept is fetched again, no more.
                let kept = std::fs::copy(&path, &beside)
                    .and_then(|_| std::fs::rename(&beside, shared.join(&file_name)));
                if kept.is_err() {
                    let _ = std::fs::remove_file(&beside);
                }
            }
        }
    }

    /// Takes the package lists that root.d fetched out of the tree: no image needs them, later layers do.
    fn harvest_lists(&self, tree: &Path) -> Result<(), BuildError> {
        let lists = tree.join("var/lib/apt/lists");
        if !lists.is_dir() || lists.is_symlink() {
            return Ok(());
        }
        let shared = self.shared("lists", tree)?;
        for entry in std::fs::read_dir(&lists)
            .map_err(file("read", &lists))?
            .flatten()
        {
            let path = entry.path();
            if path.is_file() && entry.file_name() != "lock" {
                let beside = shared.join(format!(".{}", self.workspace.id));
                let kept = std::fs::copy(&path, &beside)
                    .and_then(|_| std::fs::rename(&beside, shared.join(entry.file_name())));
                if kept.is_err() {
                    let _ = std::fs::remove_file(&beside);
                }
                std::fs::remove_file(&path).map_err(file("remove", &path))?;
            }
        }
        Ok(())
    }

    pub(super) fn unmount(&self, runner: &Runner<'_>) {
        self.keep_packages(&runner.root);
        place::unmount_all(&runner.root);
    }

    /// Runs extra-data.d on top of the root layer. It may read anything of the host, so it runs each time.
    pub(super) fn extra_data(
        &self,
        runner: &mut Runner<'_>,
        stack: &mut Stack,
    ) -> Result<(), BuildError> {
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
        tree::use_host_resolver(&runner.root)?;
        runner.phase("extra-data", false, Part::All)?;
        self.keep_packages(&runner.root);
        detach_own_mounts(&runner.root);
        self.set_mounts_aside(&runner.root)?;
        place::unmount_all(&runner.root);
        stack.push(upper, None);
        Ok(())
    }

    /// The layers of pre-install.d, install.d and post-install.d.
    pub(super) fn upper_layers(
        &self,
        runner: &Runner<'_>,
        layers: &Layers,
        stack: &mut Stack,
    ) -> Result<(), BuildError> {
        let sourced = runner.sourced()?;
        let below = self.key_below(runner, stack)?;
        let split = self.plan.splits_install();
        let kind = if split { Kind::Packages } else { Kind::Install };
        let mut key = self
            .key(runner, &sourced, &below.digest, kind)?
            .on(&below, "extra data");
        if split {
            if let Some(draft) = self.open(layers, &key, "packages", stack)? {
                self.mount(runner, stack, &draft.tree(), &draft.work())?;
                runner.phase("pre-install", true, Part::All)?;
                runner.phase("install", true, Part::UpTo(PACKAGES_HOOK))?;
                self.finish_layer(runner, layers, draft, stack)?;
            }
            key = self.key(runner, &sourced, &key.digest, Kind::Install)?;
        }
        let mut hasher = layers::start_key(&key.digest, "packages of the command line");
        for package in &self.plan.packages {
            hasher
                .noted("package", package, |hasher| {
                    hasher.field(package.as_bytes());
                    Ok(())
                })
                .map_err(file("hash", &runner.hooks))?;
        }
        let key = hasher.finish().with(key);
        if let Some(draft) = self.open(layers, &key, "install", stack)? {
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
        self.keep_packages(&runner.root);
        detach_own_mounts(&runner.root);
        self.set_mounts_aside(&runner.root)?;
        self.unmount(runner);
        let keep = stack.uncached == 0;
        self.push(layers, draft, keep, stack)
    }

    /// What the layers above extra-data.d stand on: the root layer, and what extra-data.d made of it.
    fn key_below(&self, runner: &Runner<'_>, stack: &Stack) -> Result<Key, BuildError> {
        let sourced = runner.sourced()?;
        let mut hasher = layers::start_key(&self.plan.root_key(&sourced)?.digest, "extra data");
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

    /// The key of a layer whose hooks run in the chroot.
    fn key(
        &self,
        runner: &Runner<'_>,
        sourced: &Environment,
        below: &str,
        kind: Kind,
    ) -> Result<Key, BuildError> {
        let failed = file("read", &runner.hooks);
        let mut hasher = layers::start_key(below, kind.name());
        let text = scripts(&runner.hooks, kind).map_err(&failed)?;
        let skip = |path: &Path| !kind.reads(path, &text);
        hasher.tree(&runner.hooks, &skip).map_err(&failed)?;
        let mut mentioned = BTreeSet::new();
        layers::add_words(&text, &mut mentioned);
        let base: BTreeSet<_> = runner.outside.iter().collect();
        let set_by_elements: BTreeSet<String> = sourced
            .iter()
            .filter(|variable| kind == Kind::Install && !base.contains(variable))
            .filter_map(|(name, _)| name.to_str().map(str::to_owned))
            .collect();
        let relevant = Relevant {
            mentioned: &mentioned,
            set_by_elements: &set_by_elements,
            // What the packages layer does not mention may change without new packages.
            all_dib: kind == Kind::Install,
        };
        layers::add_variables(&mut hasher, sourced, &relevant).map_err(&failed)?;
        Ok(hasher.finish())
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
        "var/lib/apt/lists",
    ] {
        place::unmount_all(&root.join(own));
    }
}
