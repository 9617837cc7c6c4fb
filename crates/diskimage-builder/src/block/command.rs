//! `dib-block-device`: one command after another, with a state folder between them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::config::{self, Entry, RootDefaults, text_of};
use super::device::{self, Places};
use super::graph;
use super::state::State;
use super::{BlockError, as_root, file, wrong};
use crate::packages::to_json;
use crate::settings::Surroundings;

const USAGE: &str = "usage: dib-block-device [-h] [--params FILE] COMMAND

commands:
  init             read the configuration
  getval SYMBOL    print root-label, root-fstype, boot-label, mount-points; after create also
                   image-path, image-block-device, image-block-devices
  create           make devices, file systems and mounts
  writefstab       write etc/fstab of the tree
  umount           unmount and detach
  cleanup          remove the state
  delete           after a failure: unmount, detach and remove all

FILE is by default what DIB_BLOCK_DEVICE_PARAMS_YAML names.
";

/// Runs `dib-block-device`.
pub fn main(around: &Surroundings, arguments: &[String]) -> ExitCode {
    let mut parameters = around
        .variable("DIB_BLOCK_DEVICE_PARAMS_YAML")
        .map(PathBuf::from);
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-h" | "--help" => return print(USAGE),
            "--params" => parameters = rest.next().map(PathBuf::from),
            other => match other.strip_prefix("--params=") {
                Some(path) => parameters = Some(PathBuf::from(path)),
                None => words.push(other.to_owned()),
            },
        }
    }
    let Some(parameters) = parameters else {
        complain("DIB_BLOCK_DEVICE_PARAMS_YAML or --params not set");
        return ExitCode::from(2);
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = Session::open(&parameters, around).and_then(|session| match words.as_slice() {
        ["init"] => session.init(),
        ["getval", symbol] => session.value(symbol),
        ["create"] => session.create(),
        ["writefstab"] => session.write_fstab(),
        ["umount"] => session.unmount(),
        ["cleanup"] => session.clean_up(),
        ["delete"] => session.delete(),
        _ => {
            complain(USAGE.trim_end());
            Ok(ExitCode::from(2))
        }
    });
    result.unwrap_or_else(|error| {
        let mut text = format!("ERROR: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text.push_str(&format!(": {inner}"));
            source = inner.source();
        }
        complain(&text);
        if let Some(hint) = error.hint() {
            complain(&format!("hint: {hint}"));
        }
        ExitCode::FAILURE
    })
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The parameters of a build, and where its state is kept.
struct Session {
    parameters: Value,
    build: PathBuf,
    states: PathBuf,
    sector: Option<u64>,
}

impl Session {
    fn open(path: &Path, around: &Surroundings) -> Result<Self, BlockError> {
        let text = std::fs::read_to_string(path).map_err(file("read", path))?;
        let document = yaml::parse(&text)
            .map_err(|error| wrong(format!("{} is not valid YAML: {error}", path.display())))?;
        let parameters = to_json(&document);
        let build = parameters.get("build-dir").and_then(text_of);
        let build = build
            .map(PathBuf::from)
            .ok_or_else(|| wrong(format!("{} has no build-dir", path.display())))?;
        let sector = around
            .variable("DIB_BLOCK_SIZE")
            .map(graph::absolute)
            .transpose()?;
        Ok(Self {
            states: build.join("states/block-device"),
            parameters,
            build,
            sector,
        })
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.parameters
            .get(name)
            .and_then(text_of)
            .filter(|text| !text.is_empty())
    }

    fn path(&self, name: &str) -> Result<PathBuf, BlockError> {
        let value = self.parameter(name).map(PathBuf::from);
        value.ok_or_else(|| wrong(format!("the parameters have no {name}")))
    }

    fn config_file(&self) -> PathBuf {
        self.states.join("config.json")
    }

    fn state_file(&self) -> PathBuf {
        self.states.join("state.json")
    }

    fn entries(&self) -> Result<Vec<Entry>, BlockError> {
        let path = self.config_file();
        let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        let value = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        Ok(config::from_json(&value))
    }

    fn state(&self) -> Result<State, BlockError> {
        let path = self.state_file();
        State::read(&path)?.ok_or_else(|| {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            file("read", &path)(missing)
        })
    }

    fn init(&self) -> Result<ExitCode, BlockError> {
        let path = self.path("config")?;
        let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        let mut entries = config::parse(&text)?;
        let root = RootDefaults {
            kind: self.parameter("root-fs-type"),
            label: self.parameter("root-label"),
            options: self.parameter("root-fs-opts"),
        };
        config::complete(&mut entries, &root);
        std::fs::create_dir_all(&self.states).map_err(file("make", &self.states))?;
        let target = self.config_file();
        std::fs::write(&target, config::as_json(&entries).to_string())
            .map_err(file("write", &target))?;
        Ok(ExitCode::SUCCESS)
    }

    fn value(&self, symbol: &str) -> Result<ExitCode, BlockError> {
        let text = match symbol {
            "root-label" => self.mounted_at("/", "label")?,
            "root-fstype" => self.mounted_at("/", "type")?,
            "boot-label" => self.mounted_at("/boot", "label")?,
            "mount-points" => {
                let entries = self.entries()?;
                let mounts = entries.iter().filter(|entry| entry.plugin == "mount");
                let points: Vec<String> = mounts
                    .filter_map(|entry| entry.text("mount_point"))
                    .collect();
                points.join("|")
            }
            "image-path" => {
                let state = self.state()?;
                state
                    .image("image0")
                    .map(|path| path.display().to_string())
                    .unwrap_or_default()
            }
            "image-block-device" => self
                .state()?
                .device("image0")
                .unwrap_or_default()
                .to_owned(),
            "image-block-devices" => block_devices(&self.state()?),
            other => {
                // Scripts rely on the status: it says nothing.
                complain(&format!("Invalid symbol [{other}] for getval"));
                return Ok(ExitCode::SUCCESS);
            }
        };
        Ok(print(&format!("{text}\n")))
    }

    /// A setting of the file system mounted there; empty if there is none.
    fn mounted_at(&self, point: &str, key: &str) -> Result<String, BlockError> {
        let entries = self.entries()?;
        let mount = entries.iter().find(|entry| {
            entry.plugin == "mount" && entry.text("mount_point").as_deref() == Some(point)
        });
        let base = mount.and_then(|mount| mount.text("base"));
        let system = base.and_then(|base| {
            entries
                .iter()
                .find(|entry| entry.plugin == "mkfs" && entry.name() == base)
        });
        Ok(match system {
            Some(system) => system
                .text(key)
                .or_else(|| (key == "label").then(|| system.name()))
                .unwrap_or_default(),
            None => String::new(),
        })
    }

    fn create(&self) -> Result<ExitCode, BlockError> {
        let nodes = graph::nodes(&self.entries()?, self.sector)?;
        let bytes = self.parameter("image-size");
        let places = Places {
            images: self.path("image-dir")?,
            mounts: self.path("mount-base")?,
            bytes: bytes.map(|text| graph::absolute(&text)).transpose()?,
            private: false,
        };
        let made = device::create(&nodes, &places)?;
        made.state.write(&self.state_file())?;
        Ok(ExitCode::SUCCESS)
    }

    fn write_fstab(&self) -> Result<ExitCode, BlockError> {
        let text = self.state()?.fstab();
        let own = self.states.join("fstab");
        std::fs::write(&own, text).map_err(file("write", &own))?;
        let folder = self.build.join("built/etc");
        let target = folder.join("fstab");
        for (what, command) in [
            (
                "make the folder of fstab",
                as_root("mkdir").arg("-p").arg(&folder),
            ),
            ("write fstab", as_root("cp").arg(&own).arg(&target)),
        ] {
            disk::program::run(command).map_err(|source| BlockError::Program {
                what: what.to_owned(),
                source,
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn unmount(&self) -> Result<ExitCode, BlockError> {
        let Some(state) = State::read(&self.state_file())? else {
            return Ok(ExitCode::SUCCESS);
        };
        Ok(if take_down(&state) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn clean_up(&self) -> Result<ExitCode, BlockError> {
        self.state()?;
        self.forget()?;
        Ok(ExitCode::SUCCESS)
    }

    fn delete(&self) -> Result<ExitCode, BlockError> {
        let state = self.state()?;
        let well = take_down(&state);
        device::remove_images(&state);
        self.forget()?;
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn forget(&self) -> Result<(), BlockError> {
        std::fs::remove_dir_all(&self.states).map_err(file("remove", &self.states))
    }
}

fn take_down(state: &State) -> bool {
    device::take_down(state, &mut |error| {
        let source = std::error::Error::source(error);
        let cause = source
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        complain(&format!("ERROR: {error}{cause}"));
    })
}

/// Devices by name as bash writes an array.
pub fn block_devices(state: &State) -> String {
    let devices = state.devices();
    devices
        .iter()
        .map(|(name, device)| format!(" [{name}]={device} "))
        .collect()
}
