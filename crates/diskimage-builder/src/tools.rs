//! Tools that elements call during a build, under their own names: they are links to this program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::element::{Element, ElementVariables, Library};
use crate::packages::{self, Distribution};
use crate::settings::Surroundings;

/// Runs the tool of that name, if there is one.
pub fn main(around: &Surroundings, arguments: &[String]) -> Option<ExitCode> {
    let result = match around.program.as_str() {
        "dib-python" => return Some(python(around, arguments)),
        "dib-block-device" => return Some(crate::block::command::main(around, arguments)),
        "sudo" => return Some(crate::rootless::sudo(arguments)),
        "dib-cache" => return Some(crate::cache::main(around, arguments)),
        "dib-lint" => return Some(crate::lint::main(around)),
        "package-installs-squash" => squash(around, arguments),
        "pkg-map-flatten" => flatten(arguments),
        "svc-map-flatten" => services(around, arguments),
        "element-info" => info(around, arguments),
        _ => return None,
    };
    Some(match result {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(text) => {
            complain(&text);
            ExitCode::FAILURE
        }
    })
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The elements named, without expansion.
fn named(elements: &str, path: &str) -> Result<Vec<Element>, String> {
    let library = Library::read(path).map_err(|error| chain(&error))?;
    elements
        .split_whitespace()
        .map(|name| {
            library
                .get(name)
                .cloned()
                .ok_or_else(|| format!("Element '{name}' not found"))
        })
        .collect()
}

fn distribution(around: &Surroundings) -> Distribution<'_> {
    Distribution {
        name: around.variable("DISTRO_NAME").unwrap_or_default(),
        release: around.variable("DIB_RELEASE").unwrap_or_default(),
    }
}

/// `package-installs-squash --elements "a b" --path PATH FILE`: writes FILE (JSON), and beside it lists of
/// mapped names, `FILE.d/PHASE.install` and `FILE.d/PHASE.uninstall`.
fn squash(around: &Surroundings, arguments: &[String]) -> Result<String, String> {
    let (mut elements, mut path, mut output) = (String::new(), String::new(), None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        match option {
            "--elements" => elements = value.or_else(|| rest.next().cloned()).unwrap_or_default(),
            "--path" => path = value.or_else(|| rest.next().cloned()).unwrap_or_default(),
            other => output = Some(PathBuf::from(other)),
        }
    }
    let output = output
        .ok_or("usage: package-installs-squash --elements NAMES --path ELEMENTS_PATH FILE")?;
    let elements = named(&elements, &path)?;
    let wanted = packages::squash(&elements, around).map_err(|error| chain(&error))?;
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    let text = serde_json::to_string_pretty(&packages::as_json(&wanted))
        .map_err(|error| error.to_string())?;
    write(&output, &text)?;
    let mut lists = output.into_os_string();
    lists.push(".d");
    let lists = PathBuf::from(lists);
    std::fs::create_dir_all(&lists)
        .map_err(|error| format!("cannot make {}: {error}", lists.display()))?;
    for (phase, packages) in &wanted {
        for (action, list) in [
            ("install", &packages.install),
            ("uninstall", &packages.uninstall),
        ] {
            let names = packages::mapped_names(list, &elements, distribution(around))
                .map_err(|error| chain(&error))?;
            let text: String = names.iter().map(|name| format!("{name}\n")).collect();
            write(&lists.join(format!("{phase}.{action}")), &text)?;
        }
    }
    Ok(String::new())
}

fn flatten(arguments: &[String]) -> Result<String, String> {
    let [path] = arguments else {
        return Err("usage: pkg-map-flatten FILE".to_owned());
    };
    packages::flatten_map(Path::new(path)).map_err(|error| chain(&error))
}

fn services(around: &Surroundings, arguments: &[String]) -> Result<String, String> {
    let [elements, path] = arguments else {
        return Err("usage: svc-map-flatten NAMES ELEMENTS_PATH".to_owned());
    };
    packages::services(&named(elements, path)?, distribution(around)).map_err(|error| chain(&error))
}

/// What hooks on the host start as Python. A tool of upstream's framework that needs upstream's package, which
/// is not here, is done by ours; all else goes to the Python of the machine.
fn python(around: &Surroundings, arguments: &[String]) -> ExitCode {
    use std::os::unix::process::CommandExt;
    if let Some((script, rest)) = arguments.split_first()
        && needs_upstream(Path::new(script))
    {
        let around = Surroundings {
            program: "package-installs-squash".to_owned(),
            ..around.clone()
        };
        return main(&around, rest).unwrap_or(ExitCode::FAILURE);
    }
    let program = "python3";
    let error = std::process::Command::new(program).args(arguments).exec();
    complain(&format!("cannot run `{program}`: {error}"));
    ExitCode::FAILURE
}

/// Whether a script is upstream's `package-installs-squash` in a form that imports upstream's package.
fn needs_upstream(script: &Path) -> bool {
    script
        .file_name()
        .is_some_and(|name| name == "package-installs-squash")
        && std::fs::read_to_string(script).is_ok_and(|text| {
            text.lines().any(|line| {
                line.starts_with("from diskimage_builder")
                    || line.starts_with("import diskimage_builder")
            })
        })
}

/// `element-info [-e|--env] ELEMENT...`
fn info(around: &Surroundings, arguments: &[String]) -> Result<String, String> {
    let mut as_bash = false;
    let mut wanted = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "-e" | "--env" => as_bash = true,
            "--expand-dependencies" => {}
            "-h" | "--help" => {
                return Ok("usage: element-info [-h] [--env] element...\n\nPrints all that these elements need.\n".to_owned());
            }
            option if option.starts_with('-') => {
                return Err(format!("element-info: unknown option {option}"));
            }
            name => wanted.push(name.to_owned()),
        }
    }
    let path = around.variable("ELEMENTS_PATH").unwrap_or_default();
    let failed = |error: crate::element::ElementError| {
        let hint = error
            .hint()
            .map(|hint| format!("\nhint: {hint}"))
            .unwrap_or_default();
        chain(&error) + &hint
    };
    let library = Library::read(path).map_err(failed)?;
    for sentence in &library.overrides {
        complain(sentence);
    }
    let elements = library.expand(&wanted).map_err(failed)?;
    let variables = ElementVariables::of(&elements);
    Ok(if as_bash {
        variables.as_bash()
    } else {
        variables.names + "\n"
    })
}
