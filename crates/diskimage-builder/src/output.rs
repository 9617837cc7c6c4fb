//! Outputs: what is packed from the tree, and what is a disk.
//!
//! Each is written under another name and renamed when it is whole, so a killed build leaves old images
//! alone. Which outputs there are is in the plan.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk::program::{ProgramError, run};
use md5::Digest as _;
use serde_json::json;

use crate::disk_image::{self, DiskError};
use crate::layout::{Layout, Size};
use crate::phases::{event, tell};
use crate::plan::BuildPlan;
use crate::settings::{Settings, Surroundings};
use crate::stage::{PARTIAL, Workspace};

/// Room in front of and behind partitions, in KiB.
const TABLE_KIB: u64 = 2 * 1024;

/// Why an output cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The disk cannot be made.
    #[error("cannot make the disk image")]
    Disk {
        /// What went wrong.
        source: DiskError,
    },
    /// A program failed.
    #[error("cannot make the {kind} image")]
    Program {
        /// The type of the output.
        kind: String,
        /// What went wrong.
        source: ProgramError,
    },
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl OutputError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Disk { source } => source.hint(),
            Self::Program { source, .. } => source.hint(),
            Self::File { source, .. } => {
                (source.kind() == io::ErrorKind::StorageFull).then(|| "the disk is full".to_owned())
            }
        }
    }
}

fn file_failed(path: &Path) -> impl Fn(io::Error) -> OutputError {
    let path = path.to_owned();
    move |source| OutputError::File {
        path: path.clone(),
        source,
    }
}

/// Partitions beside the root file system, and the table, in KiB.
pub fn partitions_kib(layout: &Layout) -> u64 {
    let Some(table) = &layout.table else { return 0 };
    let fixed = table
        .partitions
        .iter()
        .map(|partition| match partition.size {
            Size::Bytes(bytes) => bytes.div_ceil(1 << 20) * 1024,
            Size::Share(_) => 0,
        });
    fixed.sum::<u64>() + TABLE_KIB
}

/// What all outputs are made from.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// Settings of the build.
    pub settings: &'a Settings,
    /// Its plan.
    pub plan: &'a BuildPlan,
    /// What is around.
    pub around: &'a Surroundings,
    /// Its folders.
    pub workspace: &'a Workspace,
    /// The tree of the image.
    pub tree: &'a Path,
}

impl<'a> Outputs<'a> {
    fn writer(&self) -> Writer<'a> {
        Writer {
            settings: self.settings,
            around: self.around,
            workspace: self.workspace,
            tree: self.tree,
        }
    }

    fn of(&self, tree: bool) -> impl Iterator<Item = &'a (String, String)> {
        let outputs = self.plan.outputs.iter();
        outputs.filter(move |(kind, _)| Settings::is_tree_type(kind) == tree)
    }

    /// Writes what is packed from the tree.
    pub fn pack(&self) -> Result<(), OutputError> {
        let writer = self.writer();
        self.of(true)
            .try_for_each(|(kind, name)| writer.pack_tree(kind, name))
    }

    /// Writes what is a disk. Makes the disk first, if that is `wanted`.
    pub fn write_disks(&self, wanted: bool) -> Result<(), OutputError> {
        if self.of(false).next().is_none() {
            return Ok(());
        }
        let raw = self.workspace.image.join("image0.raw");
        if wanted {
            let Self {
                settings,
                plan,
                around,
                workspace,
                tree,
            } = *self;
            disk_image::make(settings, plan, around, workspace, tree, &raw)
                .map_err(|source| OutputError::Disk { source })?;
        }
        let writer = self.writer();
        self.of(false)
            .try_for_each(|(kind, name)| writer.write_disk(kind, name, &raw))
    }
}

struct Writer<'a> {
    settings: &'a Settings,
    around: &'a Surroundings,
    workspace: &'a Workspace,
    tree: &'a Path,
}

impl Writer<'_> {
    /// The name under which an output is written until it is whole: the guard knows it.
    fn partial(&self, name: &str) -> PathBuf {
        let path = Path::new(name);
        let base = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        path.with_file_name(format!(".{base}.{}.{PARTIAL}", self.workspace.id))
    }

    fn run(&self, kind: &str, command: &mut Command) -> Result<(), OutputError> {
        run(command)
            .map(drop)
            .map_err(|source| OutputError::Program {
                kind: kind.to_owned(),
                source,
            })
    }

    fn tar(&self, target: &OsStr) -> Command {
        let mut command = Command::new("tar");
        command.arg("-C").arg(self.tree).arg("-cf").arg(target);
        command.args([
            "--exclude",
            "./sys",
            "--exclude",
            "./proc",
            "--xattrs",
            "--xattrs-include=*",
        ]);
        // The same tree makes the same archive.
        command.args(["--sort=name", "--numeric-owner", "--format=posix"]);
        command.arg("--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime");
        if let Some(epoch) = self.around.variable("SOURCE_DATE_EPOCH") {
            command.arg(format!("--mtime=@{epoch}"));
            command.arg("--clamp-mtime");
        }
        command
    }

    fn pack_tree(&self, kind: &str, name: &str) -> Result<(), OutputError> {
        let partial = self.partial(name);
        match kind {
            "tar" => self.run(kind, self.tar(partial.as_os_str()).arg("."))?,
            "tgz" => self.tgz(&partial)?,
            "aci" => self.aci(&partial)?,
            "docker" => return self.docker(),
            _ => self.squashfs(&partial)?,
        }
        if kind == "tgz" {
            self.finish(kind, name, &partial)
        } else {
            self.replace(name, &partial)
        }
    }

    fn tgz(&self, partial: &Path) -> Result<(), OutputError> {
        let tar = self.workspace.image.join("image.tar");
        self.run("tgz", self.tar(tar.as_os_str()).arg("."))?;
        let gzip = self.around.variable("DIB_GZIP_BIN").unwrap_or("gzip");
        let input = File::open(&tar).map_err(file_failed(&tar))?;
        let output = File::create(partial).map_err(file_failed(partial))?;
        let failed = |source| OutputError::Program {
            kind: "tgz".to_owned(),
            source: ProgramError::Start {
                program: gzip.to_owned(),
                source,
            },
        };
        let status = Command::new(gzip)
            .arg("-9")
            .stdin(input)
            .stdout(output)
            .status()
            .map_err(failed)?;
        if !status.success() {
            return Err(failed(io::Error::other(status.to_string())));
        }
        std::fs::remove_file(&tar).map_err(file_failed(&tar))
    }

    fn aci(&self, partial: &Path) -> Result<(), OutputError> {
        self.run(
            "aci",
            self.tar(partial.as_os_str())
                .args(["--transform", "s,^\\.,rootfs,S", "."]),
        )?;
        let Some(manifest) = self.around.variable("ACI_MANIFEST") else {
            tell("No ACI_MANIFEST specified");
            return Ok(());
        };
        let copy = self.workspace.image.join("manifest");
        std::fs::copy(manifest, &copy).map_err(file_failed(Path::new(manifest)))?;
        let mut append = Command::new("tar");
        append
            .arg("-C")
            .arg(&self.workspace.image)
            .arg("-rf")
            .arg(partial)
            .arg("manifest");
        self.run("aci", &mut append)
    }

    fn docker(&self) -> Result<(), OutputError> {
        let target = self.settings.docker_target.as_deref().unwrap_or_default();
        let failed = |source| OutputError::Program {
            kind: "docker".to_owned(),
            source,
        };
        let start = |source| {
            failed(ProgramError::Start {
                program: "tar".to_owned(),
                source,
            })
        };
        let mut tar = self
            .tar(OsStr::new("-"))
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let Some(stream) = tar.stdout.take() else {
            return Ok(());
        };
        let result = run(Command::new("docker")
            .args(["import", "-", target])
            .stdin(stream))
        .map_err(failed);
        tar.wait().map_err(start)?;
        result.map(drop)
    }

    fn squashfs(&self, partial: &Path) -> Result<(), OutputError> {
        let mut command = Command::new("mksquashfs");
        command
            .arg(self.tree)
            .arg(partial)
            .args(["-comp", "xz", "-noappend", "-root-becomes"]);
        command
            .arg(self.tree)
            .args(["-wildcards", "-e", "proc/*", "-e", "sys/*", "-no-recovery"]);
        self.run("squashfs", &mut command)
    }

    fn write_disk(&self, kind: &str, name: &str, raw: &Path) -> Result<(), OutputError> {
        let partial = self.partial(name);
        match kind {
            "raw" => {
                let input = File::open(raw).map_err(file_failed(raw))?;
                let output = File::create(&partial).map_err(file_failed(&partial))?;
                disk::sparse::copy_sparse(&input, &output).map_err(file_failed(&partial))?;
            }
            "vhd" => self.vhd(name, raw, &partial)?,
            kind => self.convert(kind, raw, &partial)?,
        }
        self.finish(kind, name, &partial)
    }

    fn convert(&self, kind: &str, raw: &Path, partial: &Path) -> Result<(), OutputError> {
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "raw", "-O", kind]);
        let mut options: Vec<&str> = self
            .settings
            .qemu_img_options
            .split(',')
            .filter(|o| !o.is_empty())
            .collect();
        if kind == "qcow2" && self.settings.compress {
            command.arg("-c");
            // A fifth of the time that zlib takes, and smaller; compat=0.10 does not know it.
            if !options.iter().any(|option| {
                option.starts_with("compression_type") || option.starts_with("compat")
            }) {
                options.push("compression_type=zstd");
            }
        }
        if !options.is_empty() {
            command.args(["-o", &options.join(",")]);
        }
        self.run(kind, command.arg(raw).arg(partial))
    }

    fn vhd(&self, name: &str, raw: &Path, partial: &Path) -> Result<(), OutputError> {
        let between = self.workspace.image.join("image.vhd-intermediate");
        let convert = |from: &str, to: &str, input: &Path, output: &Path| {
            let mut command = Command::new("vhd-util");
            command
                .args(["convert", "-s", from, "-t", to, "-i"])
                .arg(input)
                .arg("-o")
                .arg(output);
            self.run("vhd", &mut command)
        };
        let _ = name;
        convert("0", "1", raw, &between)?;
        convert("1", "2", &between, partial)?;
        for leftover in [between.with_extension("vhd-intermediate.bak"), between] {
            let _ = std::fs::remove_file(leftover);
        }
        Ok(())
    }

    /// Puts an output in place of an old one, which is renamed, and writes its checksums.
    fn finish(&self, kind: &str, name: &str, partial: &Path) -> Result<(), OutputError> {
        let target = Path::new(name);
        if target.exists() && !self.settings.overwrite {
            let stem = name.strip_suffix(&format!(".{kind}")).unwrap_or(name);
            let modified = target
                .metadata()
                .and_then(|metadata| metadata.modified())
                .map_err(file_failed(target))?;
            let stamp = jiff::Timestamp::try_from(modified)
                .map(|time| {
                    time.to_zoned_datetime(jiff::tz::TimeZone::system())
                        .strftime("%Y.%m.%d-%H.%M.%S")
                        .to_string()
                })
                .unwrap_or_else(|_| "old".to_owned());
            let old = format!("{stem}-{stamp}.{kind}");
            tell(&format!("Old image found. Renaming it to {old}"));
            for suffix in ["", ".md5", ".sha256"] {
                let from = format!("{name}{suffix}");
                if Path::new(&from).exists() {
                    std::fs::rename(&from, format!("{old}{suffix}"))
                        .map_err(file_failed(target))?;
                }
            }
        }
        self.replace(name, partial)
    }

    fn replace(&self, name: &str, partial: &Path) -> Result<(), OutputError> {
        let target = Path::new(name);
        for suffix in [".md5", ".sha256"] {
            let _ = std::fs::remove_file(format!("{name}{suffix}"));
        }
        std::fs::rename(partial, target).map_err(file_failed(target))?;
        self.checksums(name)?;
        tell(&format!("Image file {name} created"));
        event(&json!({"event": "image", "file": name}));
        Ok(())
    }

    fn checksums(&self, name: &str) -> Result<(), OutputError> {
        let wanted = self.settings.checksums;
        if !wanted.md5 && !wanted.sha256 {
            return Ok(());
        }
        let path = Path::new(name);
        let (mut md5, mut sha256) = (md5::Md5::new(), sha2::Sha256::new());
        let mut input = File::open(path).map_err(file_failed(path))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = input.read(&mut buffer).map_err(file_failed(path))?;
            if read == 0 {
                break;
            }
            if wanted.md5 {
                md5.update(&buffer[..read]);
            }
            if wanted.sha256 {
                sha256.update(&buffer[..read]);
            }
        }
        let write = |suffix: &str, sum: &[u8]| {
            let path = PathBuf::from(format!("{name}.{suffix}"));
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            std::fs::write(&path, format!("{sum}  {name}\n")).map_err(file_failed(&path))
        };
        if wanted.md5 {
            write("md5", &md5.finalize())?;
        }
        if wanted.sha256 {
            write("sha256", &sha256.finalize())?;
        }
        Ok(())
    }
}
