//! All that a build will do, as a value that prints itself.
//!
//! Elements, layout, layers with their hooks, outputs: every choice is here. `build` executes it. What
//! only `extra-data.d` can tell (the keys of the upper layers) is said to be so.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;

use run_parts::{Hooks, NamePattern, numeric_order};

use crate::digest::Key;
use crate::element::{Element, ElementError, Library};
use crate::hooks::PHASES;
use crate::layers::{self, Relevant};
use crate::layout::{Layout, LayoutError, PLAIN};
use crate::settings::Settings;
use crate::variables::Environment;

/// The hook that installs the packages of all elements; the packages layer ends behind it.
pub const PACKAGES_HOOK: &str = "01-package-installs";

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The elements do not fit.
    #[error(transparent)]
    Element(#[from] ElementError),
    /// The layout is wrong.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PlanError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Element(error) => error.hint(),
            Self::Layout(_) | Self::Read { .. } => None,
        }
    }
}

/// A hook, with the element that brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedHook {
    /// Its name.
    pub name: String,
    /// Its element.
    pub element: String,
}

/// A phase with its hooks in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPhase {
    /// Its name, without `.d`.
    pub name: &'static str,
    /// Whether its hooks run in the chroot.
    pub inside: bool,
    /// Its hooks.
    pub hooks: Vec<PlannedHook>,
}

/// Where a layout came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutSource {
    /// The variable `DIB_BLOCK_DEVICE_CONFIG`.
    Variable,
    /// A file of an element.
    Element(std::path::PathBuf),
    /// One file system, no partitions.
    Default,
}

/// The plan of a build.
#[derive(Debug, Clone)]
pub struct BuildPlan {
    /// The elements in order.
    pub elements: Vec<Element>,
    /// Where file systems lie.
    pub layout: Layout,
    /// Where that came from.
    pub layout_source: LayoutSource,
    /// The text of the layout, for hooks.
    pub layout_text: String,
    /// All phases.
    pub phases: Vec<PlannedPhase>,
    /// Architecture.
    pub arch: String,
    /// Packages of `-p`.
    pub packages: Vec<String>,
    /// Types and file names of the outputs.
    pub outputs: Vec<(String, String)>,
    /// Whether the boot loader is put into the image by us.
    pub boot_loader: bool,
    /// Why the last phases run on real devices, if they do.
    pub devices: Option<DevicesWanted>,
}

/// Why the last phases of an image run on real devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicesWanted {
    /// The layout cannot be made otherwise.
    Layout(String),
    /// Hooks expect them.
    Hooks(String),
}

impl DevicesWanted {
    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Layout(text) | Self::Hooks(text) => text,
        }
    }
}

impl BuildPlan {
    /// Decides everything.
    pub fn new(settings: &Settings, library: &Library) -> Result<Self, PlanError> {
        let elements = library.expand(&settings.elements)?;
        let (layout_text, layout_source) = find_layout(settings, &elements)?;
        let mut layout = Layout::parse(&layout_text)?;
        layout.complete(&settings.fs_type, &settings.default_root_label());
        let has = |name: &str| elements.iter().any(|element| element.name == name);
        let phases = phases(&elements)?;
        let asks = asks_for_devices(&phases, &elements)?;
        let devices = match (
            layout.needs_kernel(settings.sector),
            &asks,
            layout.separate(),
        ) {
            (Some(reason), ..) => Some(DevicesWanted::Layout(reason)),
            (None, Some(hook), _) => {
                let text = format!("{} of element `{}` asks for them", hook.name, hook.element);
                Some(DevicesWanted::Hooks(text))
            }
            (None, None, Some(point)) => {
                let text = format!("{point} is a file system of its own");
                Some(DevicesWanted::Hooks(text))
            }
            (None, None, None) => None,
        };
        let installs_itself = asks.is_some_and(|hook| hook.element == "bootloader");
        let skip_disk = settings.ramdisk || has("no-final-image");
        let outputs = settings
            .types
            .iter()
            .filter(|kind| Settings::is_tree_type(kind) && !settings.ramdisk || !skip_disk)
            .map(|kind| (kind.clone(), output_name(&settings.image_name, kind)))
            .collect();
        Ok(Self {
            phases,
            devices,
            arch: settings.arch.clone(),
            packages: settings.packages.clone(),
            outputs,
            boot_loader: has("bootloader") && !installs_itself,
            elements,
            layout,
            layout_source,
            layout_text,
        })
    }

    /// The phase of this name.
    pub fn phase(&self, name: &str) -> Option<&PlannedPhase> {
        self.phases.iter().find(|phase| phase.name == name)
    }

    /// Whether the packages layer stands by itself.
    pub fn splits_install(&self) -> bool {
        self.phase("install")
            .is_some_and(|phase| phase.hooks.iter().any(|hook| hook.name == PACKAGES_HOOK))
    }

    /// The key of the root layer.
    pub fn root_key(&self, environment: &Environment) -> Result<Key, PlanError> {
        let mut hasher = layers::start_key("", "root");
        let roots: BTreeSet<&str> = self
            .phase("root")
            .into_iter()
            .flat_map(|phase| phase.hooks.iter().map(|hook| hook.element.as_str()))
            .collect();
        let mut mentioned = BTreeSet::new();
        for element in self
            .elements
            .iter()
            .filter(|element| roots.contains(element.name.as_str()))
        {
            let failed = |source| PlanError::Read {
                path: element.path.clone(),
                source,
            };
            hasher.field(element.name.as_bytes());
            hasher
                .tree(&element.path, &|path| !read_by_root(path))
                .map_err(failed)?;
            words_below(&element.path, &mut mentioned).map_err(failed)?;
        }
        let none = BTreeSet::new();
        let relevant = Relevant {
            mentioned: &mentioned,
            set_by_elements: &none,
            all_dib: false,
        };
        layers::add_variables(&mut hasher, environment, &relevant).map_err(|source| {
            PlanError::Read {
                path: "a file named by a variable".into(),
                source,
            }
        })?;
        Ok(hasher.finish())
    }
}

/// Whether hooks of root.d may read this path of an element: not the hooks of other phases, nor what people read.
fn read_by_root(path: &Path) -> bool {
    let top = path
        .components()
        .next()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let top = top.unwrap_or_default();
    let other_phase = PHASES
        .iter()
        .any(|(name, _)| *name != "root" && top.strip_suffix(".d") == Some(name));
    !other_phase && top != "tests" && !top.starts_with("README")
}

/// The file name of an output.
pub fn output_name(image: &str, kind: &str) -> String {
    match kind {
        "squashfs" => format!("{image}.squash"),
        kind => format!("{image}.{kind}"),
    }
}

/// Collects the words of all files below `path`.
fn words_below(path: &Path, words: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            words_below(&path, words)?;
        } else if path.is_file() {
            layers::add_words(&std::fs::read(&path)?, words);
        }
    }
    Ok(())
}

fn phases(elements: &[Element]) -> Result<Vec<PlannedPhase>, PlanError> {
    let pattern = NamePattern::default();
    let mut phases = Vec::new();
    for (name, inside) in PHASES {
        let mut hooks = Vec::new();
        for element in elements {
            let folder = element.path.join(format!("{name}.d"));
            if !folder.is_dir() {
                continue;
            }
            let found = Hooks::read(&folder, &pattern).map_err(|source| PlanError::Read {
                path: folder.clone(),
                source,
            })?;
            let element = &element.name;
            hooks.extend(found.run.into_iter().map(|name| PlannedHook {
                name,
                element: element.clone(),
            }));
        }
        hooks.sort_by(|a, b| numeric_order(&a.name, &b.name));
        phases.push(PlannedPhase {
            name,
            inside: *inside,
            hooks,
        });
    }
    Ok(phases)
}

/// The first hook of the image's last phases that speaks of devices; one of the boot loader goes before.
fn asks_for_devices(
    phases: &[PlannedPhase],
    elements: &[Element],
) -> Result<Option<PlannedHook>, PlanError> {
    let mut first: Option<PlannedHook> = None;
    let last = ["pre-finalise", "finalise", "cleanup"];
    for phase in phases.iter().filter(|phase| last.contains(&phase.name)) {
        for hook in &phase.hooks {
            let Some(element) = elements.iter().find(|element| element.name == hook.element) else {
                continue;
            };
            let path = element
                .path
                .join(format!("{}.d", phase.name))
                .join(&hook.name);
            let text = std::fs::read(&path).map_err(|source| PlanError::Read { path, source })?;
            let wanted = b"IMAGE_BLOCK_DEVICE";
            let asks = text.windows(wanted.len()).any(|part| part == wanted);
            if asks && (first.is_none() || hook.element == "bootloader") {
                first = Some(PlannedHook {
                    name: format!("{}.d/{}", phase.name, hook.name),
                    element: hook.element.clone(),
                });
            }
        }
    }
    Ok(first)
}

fn find_layout(
    settings: &Settings,
    elements: &[Element],
) -> Result<(String, LayoutSource), PlanError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| PlanError::Read {
            path: path.to_owned(),
            source,
        })
    };
    if let Some(given) = &settings.block_device_config {
        let text = match given.strip_prefix("file://") {
            Some(path) => read(Path::new(path))?,
            None => given.clone(),
        };
        return Ok((text, LayoutSource::Variable));
    }
    let family = match settings.arch.as_str() {
        "ppc64le" => "ppc64el",
        arch => arch,
    };
    for element in elements {
        for name in [
            format!("block-device-{family}.yaml"),
            "block-device-default.yaml".to_owned(),
        ] {
            let path = element.path.join(name);
            if path.is_file() {
                return Ok((read(&path)?, LayoutSource::Element(path)));
            }
        }
    }
    Ok((PLAIN.to_owned(), LayoutSource::Default))
}

impl fmt::Display for BuildPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .elements
            .iter()
            .map(|element| element.name.as_str())
            .collect();
        writeln!(f, "architecture: {}", self.arch)?;
        writeln!(f, "elements: {}", names.join(" "))?;
        let layers: &[(&str, &[&str])] = if self.splits_install() {
            &[
                ("root", &["root"]),
                ("extra data (each time)", &["extra-data"]),
                ("packages", &["pre-install", "install<"]),
                ("install", &["install>", "post-install"]),
                (
                    "image (each time)",
                    &[
                        "post-root",
                        "block-device",
                        "pre-finalise",
                        "finalise",
                        "cleanup",
                    ],
                ),
            ]
        } else {
            &[
                ("root", &["root"]),
                ("extra data (each time)", &["extra-data"]),
                ("install", &["pre-install", "install", "post-install"]),
                (
                    "image (each time)",
                    &[
                        "post-root",
                        "block-device",
                        "pre-finalise",
                        "finalise",
                        "cleanup",
                    ],
                ),
            ]
        };
        for (layer, parts) in layers {
            writeln!(f, "layer {layer}:")?;
            for part in *parts {
                self.write_phase(f, part)?;
            }
        }
        writeln!(f, "file systems:")?;
        for fs in &self.layout.file_systems {
            writeln!(
                f,
                "  {} {} label {} on {}",
                fs.mount_point.as_deref().unwrap_or("-"),
                fs.kind.as_deref().unwrap_or_default(),
                fs.label.as_deref().unwrap_or_default(),
                fs.partition
                    .as_deref()
                    .map_or("the whole image".to_owned(), |name| format!(
                        "partition {name}"
                    ))
            )?;
        }
        writeln!(
            f,
            "boot loader: {}",
            if self.boot_loader { "yes" } else { "no" }
        )?;
        match &self.devices {
            Some(wanted) => writeln!(f, "devices: yes, {}", wanted.reason())?,
            None => writeln!(f, "devices: no")?,
        }
        writeln!(f, "outputs:")?;
        self.outputs
            .iter()
            .try_for_each(|(kind, name)| writeln!(f, "  {kind} {name}"))
    }
}

impl BuildPlan {
    fn write_phase(&self, f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
        let (name, half) = match part.strip_suffix(['<', '>']) {
            Some(name) => (name, part.chars().last()),
            None => (part, None),
        };
        let Some(phase) = self.phase(name) else {
            return Ok(());
        };
        let end = phase
            .hooks
            .iter()
            .position(|hook| hook.name == PACKAGES_HOOK)
            .map_or(0, |at| at + 1);
        let hooks = match half {
            Some('<') => &phase.hooks[..end],
            Some(_) => &phase.hooks[end..],
            None => &phase.hooks[..],
        };
        for hook in hooks {
            let place = if phase.inside {
                "in the image"
            } else {
                "outside"
            };
            writeln!(f, "  {name}.d/{} of {} ({place})", hook.name, hook.element)?;
        }
        if name == "install" && half != Some('<') && !self.packages.is_empty() {
            writeln!(f, "  install-packages {}", self.packages.join(" "))?;
        }
        Ok(())
    }
}
