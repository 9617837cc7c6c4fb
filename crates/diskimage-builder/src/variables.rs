//! The environment that hooks see, outside and inside the chroot.

use std::ffi::OsString;
use std::path::Path;

use crate::element::ElementVariables;
use crate::layout::Layout;
use crate::settings::{Settings, Surroundings};
use crate::stage::{Workspace, is_internal};

/// The directories of programs in every image.
const IMAGE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An environment: names and values.
pub type Environment = Vec<(OsString, OsString)>;

/// Sets a variable.
pub fn set(environment: &mut Environment, name: &str, value: impl Into<OsString>) {
    environment.retain(|(known, _)| known != name);
    environment.push((name.into(), value.into()));
}

/// Takes a variable away.
pub fn unset(environment: &mut Environment, name: &str) {
    environment.retain(|(known, _)| known != name);
}

/// The value of a variable.
pub fn get<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment
        .iter()
        .find(|(known, _)| known == name)
        .and_then(|(_, value)| value.to_str())
}

/// The environment of hooks outside the chroot.
pub fn outside(
    settings: &Settings,
    around: &Surroundings,
    arguments: &str,
    elements: &ElementVariables,
    layout: &Layout,
    workspace: &Workspace,
) -> Environment {
    let mut environment: Environment = around
        .variables
        .iter()
        .filter(|(name, _)| !is_internal(name))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut put = |name: &str, value: &str| set(&mut environment, name, value);
    let path = |path: &Path| path.display().to_string();
    for (name, value) in &settings.exported {
        put(name, value);
    }
    put("ARCH", &settings.arch);
    put("ELEMENTS_PATH", &settings.elements_path);
    put("IMAGE_NAME", &settings.image_name);
    put("IMAGE_ELEMENT", &elements.names);
    put("IMAGE_ELEMENT_YAML", &elements.yaml);
    put("LC_ALL", "C");
    put("OUT_IMAGE_PATH", "");
    put("TMP_BUILD_DIR", &path(&workspace.build));
    put("TMP_IMAGE_DIR", &path(&workspace.image));
    put("TMP_IMAGE_PATH", &path(&workspace.image.join("image0.raw")));
    put("TMP_HOOKS_PATH", &path(&workspace.build.join("hooks")));
    put("TMP_MOUNT_PATH", &path(&workspace.build.join("mnt")));
    put("_LIB", &path(&workspace.build.join("lib")));
    put(
        "DIB_BLOCK_DEVICE_PARAMS_YAML",
        &path(&workspace.build.join("params.yaml")),
    );
    put("DIB_ARGS", arguments);
    put("DIB_ENV", &dib_variables(around));
    let python = around.variable("DIB_PYTHON_EXEC").map(str::to_owned);
    put(
        "DIB_PYTHON_EXEC",
        &python.unwrap_or_else(|| path(&workspace.build.join("lib/dib-python"))),
    );
    let root = layout.root();
    put(
        "DIB_ROOT_LABEL",
        root.and_then(|fs| fs.label.as_deref()).unwrap_or_default(),
    );
    put(
        "DIB_ROOT_FSTYPE",
        root.and_then(|fs| fs.kind.as_deref()).unwrap_or_default(),
    );
    let boot = layout
        .file_systems
        .iter()
        .find(|fs| fs.mount_point.as_deref() == Some("/boot"));
    put(
        "DIB_BOOT_LABEL",
        boot.and_then(|fs| fs.label.as_deref()).unwrap_or_default(),
    );
    put("DIB_MOUNTPOINTS", &layout.mount_points().join("|"));
    put(
        "BASH_FUNC_get_image_element_array%%",
        &format!("() {}", elements.array),
    );
    put("BASH_FUNC_die%%", "() { echo \"ERROR: $*\"; exit 1; }");
    for name in ["break", "break_cmd", "break_outside_target"] {
        unset(&mut environment, name);
    }
    environment
}

/// The environment of hooks inside, made from the one outside.
pub fn inside(outside: &Environment) -> Environment {
    let mut environment = outside.clone();
    let path = get(outside, "PATH").map_or_else(
        || IMAGE_PATH.to_owned(),
        |path| format!("{path}:{IMAGE_PATH}"),
    );
    set(&mut environment, "PATH", path);
    set(&mut environment, "HOME", "/root");
    set(&mut environment, "PWD", "/");
    for (name, value) in [
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/bash"),
    ] {
        set(&mut environment, name, value);
    }
    for name in ["TMPDIR", "VIRTUAL_ENV", "OLDPWD"] {
        unset(&mut environment, name);
    }
    // Functions of the host's shell are no business of the image.
    environment.retain(|(name, _)| !name.as_encoded_bytes().starts_with(b"BASH_FUNC_"));
    environment
}

/// `DIB_ENV`: the variables that shape a build, as bash would declare them; secrets are left out.
fn dib_variables(around: &Surroundings) -> String {
    let secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["PASSWORD", "_SECRET", "_TOKEN", "_PRIVATE_KEY"]
            .iter()
            .any(|word| name.ends_with(word))
    };
    let mut lines: Vec<String> = around
        .variables
        .iter()
        .filter(|(name, _)| name.starts_with("DIB_") && !secret(name))
        .map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('$', "\\$")
                .replace('`', "\\`");
            format!("declare -x {name}=\"{value}\"")
        })
        .collect();
    lines.sort();
    lines.join("\n")
}
