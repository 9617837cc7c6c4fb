//! Command line and environment become one checked value before any work starts.
//!
//! Reads nothing itself: `main` hands in arguments, variables and the few paths that matter.

use std::path::{Path, PathBuf};

use crate::options::Options;

/// Types that are packed from the tree.
const TREE_TYPES: &[&str] = &["tar", "tgz", "squashfs", "docker", "aci"];

/// Types that `qemu-img` writes.
const DISK_TYPES: &[&str] = &[
    "qcow2",
    "raw",
    "vhd",
    "vmdk",
    "vdi",
    "vpc",
    "vhdx",
    "qcow",
    "qed",
    "parallels",
];

/// Why no build can start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nothing to build.
    #[error("ERROR: At least one distribution root element must be specified")]
    NoElement,
    /// An unknown image type.
    #[error("`{kind}` is not an image type")]
    Type {
        /// The type given.
        kind: String,
    },
    /// docker without a name for its image.
    #[error("Please set --docker-target.")]
    NoDockerTarget,
    /// An unknown form of progress.
    #[error("`{value}` is no form of progress: text or json")]
    Format {
        /// The value given.
        value: String,
    },
    /// A value that is no number.
    #[error("`{value}` is no number for {option}")]
    Number {
        /// The option or variable.
        option: &'static str,
        /// The value given.
        value: String,
    },
}

impl SettingsError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoElement => {
                Some("for example: disk-image-create -o image debian-minimal vm".to_owned())
            }
            Self::Type { .. } => Some(format!(
                "choose of {}, {}",
                TREE_TYPES.join(", "),
                DISK_TYPES.join(", ")
            )),
            Self::NoDockerTarget | Self::Format { .. } | Self::Number { .. } => None,
        }
    }
}

/// Which checksum files are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checksums {
    /// NAME.TYPE.md5
    pub md5: bool,
    /// NAME.TYPE.sha256
    pub sha256: bool,
}

/// Where `main` found itself.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Name by which the program was called.
    pub program: String,
    /// All environment variables.
    pub variables: Vec<(String, String)>,
    /// The folder of the elements that come with the program.
    pub own_elements: Option<PathBuf>,
    /// The architecture of this machine, in Debian's words.
    pub machine: String,
    /// Memory of this machine in KiB.
    pub memory_kib: u64,
}

impl Surroundings {
    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether the program was called as the one for ramdisks.
    pub fn ramdisk(&self) -> bool {
        self.program == "ramdisk-image-create"
    }
}

/// All that a build is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Architecture of the image.
    pub arch: String,
    /// Name of the image, possibly with a path, without a type.
    pub image_name: String,
    /// Types of the outputs.
    pub types: Vec<String>,
    /// Whether qcow2 images are compressed.
    pub compress: bool,
    /// How much is told.
    pub trace: u32,
    /// Whether a ramdisk is made.
    pub ramdisk: bool,
    /// Packages of `-p`.
    pub packages: Vec<String>,
    /// Checksum files.
    pub checksums: Checksums,
    /// Wanted size of the image in KiB.
    pub image_kib: Option<u64>,
    /// Room to add, in KiB.
    pub extra_kib: Option<u64>,
    /// Size of the journal in MiB.
    pub journal_mib: u64,
    /// Cache of layers and downloads.
    pub cache: PathBuf,
    /// Folder for temporary folders.
    pub tmp: PathBuf,
    /// Whether temporary folders are in memory.
    pub use_tmpfs: bool,
    /// Options of mkfs for the root file system.
    pub mkfs_options: String,
    /// Options for `qemu-img convert -o`.
    pub qemu_img_options: String,
    /// Bytes of a sector, if the user tells them (`DIB_BLOCK_SIZE`).
    pub sector: Option<u64>,
    /// Label of the root file system, if given.
    pub root_label: Option<String>,
    /// Type of the root file system.
    pub fs_type: String,
    /// Value of DIB_DEFAULT_INSTALLTYPE.
    pub install_type: String,
    /// Name of the docker image.
    pub docker_target: Option<String>,
    /// Whether existing images are overwritten.
    pub overwrite: bool,
    /// Elements, as they are built.
    pub elements: Vec<String>,
    /// Folders of elements.
    pub elements_path: String,
    /// Layout given by the user: YAML, or `file://` and a path.
    pub block_device_config: Option<String>,
    /// Only print what would be done.
    pub plan_only: bool,
    /// How long a cached layer counts, in seconds; 0: layers are not cached.
    pub layer_seconds: u64,
    /// Places to stop at, from the variable `break`.
    pub breaks: Vec<String>,
    /// Variables that hooks see because of options.
    pub exported: Vec<(String, String)>,
}

impl Settings {
    /// Checks all that the user said.
    pub fn new(options: &Options, around: &Surroundings) -> Result<Self, SettingsError> {
        let of = |option: &str, name: &str| {
            options
                .value(option)
                .or_else(|| around.variable(name))
                .map(str::to_owned)
        };
        let types = image_types(options, around)?;
        let ramdisk = around.ramdisk();
        let mut image_name = of("o", "IMAGE_NAME").unwrap_or_else(|| "image".to_owned());
        if options.has("o")
            && let [kind] = types.as_slice()
        {
            let short = image_name
                .strip_suffix(&format!(".{kind}"))
                .map(str::to_owned);
            image_name = short.unwrap_or(image_name);
        }
        let fs_type = around.variable("FS_TYPE").unwrap_or("ext4").to_owned();
        let min_tmpfs = of("min-tmpfs", "DIB_MIN_TMPFS").unwrap_or_else(|| "2".to_owned());
        let no_tmpfs = options.has("no-tmpfs")
            || around
                .variable("DIB_NO_TMPFS")
                .is_some_and(|value| value != "0");
        let needed_kib = number(&min_tmpfs, "--min-tmpfs")? * 2.0 * 1024.0 * 1024.0;
        let enough = around.memory_kib as f64 >= needed_kib;
        let docker_target = of("docker-target", "DOCKER_TARGET");
        if types.iter().any(|kind| kind == "docker") && docker_target.is_none() {
            return Err(SettingsError::NoDockerTarget);
        }
        if let Some(value) = options
            .value("format")
            .filter(|value| !["text", "json"].contains(value))
        {
            return Err(SettingsError::Format {
                value: value.to_owned(),
            });
        }
        let cache = options
            .value("cache-dir")
            .map(str::to_owned)
            .or_else(|| of("image-cache", "DIB_IMAGE_CACHE"))
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                Path::new(around.variable("HOME").unwrap_or("/root")).join(".cache/image-create")
            });
        let kib = |option, name, label, factor: f64| -> Result<Option<u64>, SettingsError> {
            of(option, name)
                .map(|value| number(&value, label).map(|n| (n * factor) as u64))
                .transpose()
        };
        let elements = elements(options, around, ramdisk);
        if elements.is_empty() {
            return Err(SettingsError::NoElement);
        }
        Ok(Self {
            arch: of("a", "ARCH").unwrap_or_else(|| around.machine.clone()),
            image_name,
            compress: !options.has("u"),
            trace: trace(options, around),
            ramdisk,
            packages: options
                .values("p")
                .flat_map(|value| value.split(','))
                .map(str::to_owned)
                .collect(),
            checksums: checksums(options, around),
            image_kib: kib(
                "image-size",
                "DIB_IMAGE_SIZE",
                "--image-size",
                1024.0 * 1024.0,
            )?,
            extra_kib: kib(
                "image-extra-size",
                "DIB_IMAGE_EXTRA_SIZE",
                "--image-extra-size",
                1024.0,
            )?,
            journal_mib: kib(
                "mkfs-journal-size",
                "DIB_JOURNAL_SIZE",
                "--mkfs-journal-size",
                1.0,
            )?
            .unwrap_or(64),
            tmp: PathBuf::from(
                around
                    .variable("TMPDIR")
                    .or_else(|| around.variable("TMP_DIR"))
                    .unwrap_or("/tmp"),
            ),
            use_tmpfs: !no_tmpfs && enough,
            mkfs_options: of("mkfs-options", "MKFS_OPTS").unwrap_or_default(),
            sector: around
                .variable("DIB_BLOCK_SIZE")
                .map(|value| number(value, "DIB_BLOCK_SIZE"))
                .transpose()?
                .map(|bytes| bytes as u64),
            qemu_img_options: of("qemu-img-options", "QEMU_IMG_OPTIONS").unwrap_or_default(),
            root_label: of("root-label", "ROOT_LABEL"),
            fs_type,
            install_type: of("install-type", "DIB_DEFAULT_INSTALLTYPE")
                .unwrap_or_else(|| "source".to_owned()),
            docker_target,
            overwrite: around
                .variable("OVERWRITE_OLD_IMAGE")
                .is_some_and(|value| value != "0"),
            elements,
            elements_path: elements_path(around),
            block_device_config: around
                .variable("DIB_BLOCK_DEVICE_CONFIG")
                .map(str::to_owned),
            plan_only: options.has("plan"),
            layer_seconds: if options.has("no-cache") {
                0
            } else {
                layer_seconds(around)?
            },
            breaks: around
                .variable("break")
                .unwrap_or_default()
                .split(',')
                .chain(options.has("shell-on-error").then_some("after-error"))
                .map(str::to_owned)
                .collect(),
            exported: exported(options, around, &cache, &min_tmpfs, no_tmpfs),
            cache,
            types,
        })
    }

    /// The label of the root file system, unless the layout says another.
    pub fn default_root_label(&self) -> String {
        let default = if self.fs_type == "xfs" {
            "img-rootfs"
        } else {
            "cloudimg-rootfs"
        };
        self.root_label
            .clone()
            .unwrap_or_else(|| default.to_owned())
    }

    /// Whether a type is packed from the tree rather than from a disk.
    pub fn is_tree_type(kind: &str) -> bool {
        TREE_TYPES.contains(&kind)
    }

    /// Whether hooks stop for a shell at `place`, such as `before-install`.
    pub fn breaks_at(&self, place: &str) -> bool {
        self.breaks.iter().any(|wanted| wanted == place)
    }
}

fn image_types(options: &Options, around: &Surroundings) -> Result<Vec<String>, SettingsError> {
    let given = options
        .value("t")
        .or_else(|| around.variable("IMAGE_TYPES"))
        .unwrap_or("qcow2");
    let mut types: Vec<String> = Vec::new();
    for kind in given
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty())
    {
        if !TREE_TYPES.contains(&kind) && !DISK_TYPES.contains(&kind) {
            return Err(SettingsError::Type {
                kind: kind.to_owned(),
            });
        }
        if !types.iter().any(|known| known == kind) {
            types.push(kind.to_owned());
        }
    }
    Ok(types)
}

fn elements(options: &Options, around: &Surroundings, ramdisk: bool) -> Vec<String> {
    let named = around
        .variable("IMAGE_ELEMENT")
        .unwrap_or_default()
        .split_whitespace();
    let mut elements: Vec<String> = named
        .map(str::to_owned)
        .chain(options.elements.iter().cloned())
        .collect();
    if elements.is_empty() {
        return elements;
    }
    // A virtual machine needs a partition table; this one starts by BIOS and by UEFI.
    let is_layout = |name: &String| name.starts_with("block-device-");
    if elements.iter().any(|name| name == "vm") && !elements.iter().any(is_layout) {
        elements.push("block-device-efi".to_owned());
    }
    let skip_base = options.has("n")
        || around
            .variable("SKIP_BASE")
            .is_some_and(|value| value != "0");
    if !skip_base {
        elements.insert(0, "base".to_owned());
    }
    if ramdisk {
        let element = options
            .value("ramdisk-element")
            .or_else(|| around.variable("RAMDISK_ELEMENT"));
        elements.insert(0, element.unwrap_or("ramdisk").to_owned());
    }
    elements
}

fn elements_path(around: &Surroundings) -> String {
    let given = around.variable("ELEMENTS_PATH").unwrap_or_default();
    match &around.own_elements {
        Some(own) if given.is_empty() => own.display().to_string(),
        Some(own) => format!("{given}:{}", own.display()),
        None => given.to_owned(),
    }
}

fn trace(options: &Options, around: &Surroundings) -> u32 {
    let from_variable = around
        .variable("DIB_DEBUG_TRACE")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0_u32);
    let given = u32::try_from(options.values("x").count()).unwrap_or(u32::MAX);
    from_variable.saturating_add(given)
}

fn checksums(options: &Options, around: &Surroundings) -> Checksums {
    let value = if options.has("checksum") {
        "1"
    } else {
        around.variable("DIB_CHECKSUM").unwrap_or("0")
    };
    let names: Vec<&str> = value.split(',').map(str::trim).collect();
    let all = value != "0" && !names.contains(&"md5") && !names.contains(&"sha256");
    Checksums {
        md5: all || names.contains(&"md5"),
        sha256: all || names.contains(&"sha256"),
    }
}

/// Packages of a cached layer grow old, so it counts for a day unless `DIB_LAYER_MAX_AGE` says otherwise.
fn layer_seconds(around: &Surroundings) -> Result<u64, SettingsError> {
    let value = around.variable("DIB_LAYER_MAX_AGE").unwrap_or("86400");
    let offline = around
        .variable("DIB_OFFLINE")
        .is_some_and(|value| value != "0");
    let seconds = number(value, "DIB_LAYER_MAX_AGE")?;
    Ok(if offline && seconds > 0.0 {
        u64::MAX
    } else {
        seconds as u64
    })
}

fn number(value: &str, option: &'static str) -> Result<f64, SettingsError> {
    let number = value
        .trim()
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| SettingsError::Number {
        option,
        value: value.to_owned(),
    })
}

/// Variables by which hooks and older scripts learn of options.
fn exported(
    options: &Options,
    around: &Surroundings,
    cache: &Path,
    min_tmpfs: &str,
    no_tmpfs: bool,
) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: &str| list.push((name.to_owned(), value.to_owned()));
    let home = around.variable("HOME").unwrap_or("/root");
    let locks = around.variable("DIB_LOCKFILES").map(str::to_owned);
    put(
        "DIB_LOCKFILES",
        &locks.unwrap_or_else(|| format!("{home}/.cache/dib/lockfiles")),
    );
    put("DIB_IMAGE_CACHE", &cache.display().to_string());
    put("DIB_MIN_TMPFS", min_tmpfs);
    put("DIB_NO_TMPFS", if no_tmpfs { "1" } else { "0" });
    let checksum = if options.has("checksum") {
        "1"
    } else {
        around.variable("DIB_CHECKSUM").unwrap_or("0")
    };
    put("DIB_CHECKSUM", checksum);
    put("DIB_DEBUG_TRACE", &trace(options, around).to_string());
    put("FS_TYPE", around.variable("FS_TYPE").unwrap_or("ext4"));
    put(
        "IMAGE_TYPE",
        around.variable("IMAGE_TYPE").unwrap_or("qcow2"),
    );
    let offline = if options.has("offline") {
        "1"
    } else {
        around.variable("DIB_OFFLINE").unwrap_or_default()
    };
    put("DIB_OFFLINE", offline);
    if options.has("n") {
        put("SKIP_BASE", "1");
    }
    if options.has("u") {
        put("COMPRESS_IMAGE", "");
    }
    for (option, name) in [
        ("docker-target", "DOCKER_TARGET"),
        ("max-online-resize", "MAX_ONLINE_RESIZE"),
        ("logfile", "LOGFILE"),
        ("image-size", "DIB_IMAGE_SIZE"),
        ("image-extra-size", "DIB_IMAGE_EXTRA_SIZE"),
        ("mkfs-journal-size", "DIB_JOURNAL_SIZE"),
    ] {
        if let Some(value) = options.value(option) {
            put(name, value);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(line: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let options =
            Options::parse("disk-image-create", &arguments).map_err(|error| error.to_string())?;
        let around = Surroundings {
            program: "disk-image-create".to_owned(),
            variables: variables
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            own_elements: Some(PathBuf::from("/own")),
            machine: "amd64".to_owned(),
            memory_kib: 24 << 20,
        };
        Settings::new(&options, &around).map_err(|error| error.to_string())
    }

    #[test]
    fn a_type_at_the_end_of_the_name_goes() {
        assert_eq!(
            settings("-t raw -o a/b.raw os", &[])
                .expect("fine")
                .image_name,
            "a/b"
        );
        assert_eq!(
            settings("-t raw,tar -o b.raw os", &[])
                .expect("fine")
                .image_name,
            "b.raw"
        );
    }

    #[test]
    fn elements_are_completed() {
        let names = |line: &str| {
            settings(line, &[("IMAGE_ELEMENT", "os")])
                .expect("fine")
                .elements
                .join(" ")
        };
        assert_eq!(names("vm"), "base os vm block-device-efi");
        assert_eq!(names("-n vm block-device-mbr"), "os vm block-device-mbr");
    }

    #[test]
    fn wrong_values_are_named() {
        assert_eq!(
            settings("-t nosuch os", &[]).expect_err("bad"),
            "`nosuch` is not an image type"
        );
        let error = settings("--image-size big os", &[]).expect_err("bad");
        assert_eq!(error, "`big` is no number for --image-size");
        assert!(
            settings("", &[])
                .expect_err("bad")
                .starts_with("ERROR: At least one")
        );
    }

    #[test]
    fn sizes_are_counted_in_kib() {
        let settings =
            settings("--image-size 0.2 os", &[("DIB_IMAGE_EXTRA_SIZE", "40")]).expect("fine");
        assert_eq!(
            (settings.image_kib, settings.extra_kib),
            (Some(209_715), Some(40_960))
        );
    }
}
