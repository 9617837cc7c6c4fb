//! Elements: where they lie, what they need, what they provide, in which order they count.
//!
//! The result of an expansion is a list in a fixed order (upstream's is a set): first what an element
//! needs, then the element, elements as the user named them. Nothing is run here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

/// The virtual name that one element of each build must provide.
pub const OPERATING_SYSTEM: &str = "operating-system";

/// Why a list of elements makes no image.
#[derive(Debug, thiserror::Error)]
pub enum ElementError {
    /// No path to look in.
    #[error("ELEMENTS_PATH must be set")]
    NoPath,
    /// An entry of ELEMENTS_PATH is wrong.
    #[error("ELEMENTS_PATH entry '{path}' is not a directory", path = path.display())]
    NotADirectory {
        /// The entry.
        path: PathBuf,
    },
    /// An element is nowhere.
    #[error("Element '{element}' not found")]
    Missing {
        /// Its name.
        element: String,
        /// The element that needs it, if it was not the user.
        needed_by: Option<String>,
        /// A name that is close.
        nearest: Option<String>,
    },
    /// Two elements provide the same.
    #[error("{name}: already provided by {provider}, so {element} cannot be used beside it")]
    AlreadyProvided {
        /// What is provided twice.
        name: String,
        /// Who provides it.
        provider: String,
        /// Who wants to provide it, or is it.
        element: String,
    },
    /// No element is an operating system.
    #[error("Please include an operating system element")]
    NoOperatingSystem,
    /// An element cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ElementError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::Missing {
                needed_by: Some(by),
                ..
            } => Some(format!("`{by}` needs it; is its folder in ELEMENTS_PATH?")),
            Self::Missing { .. } => {
                Some("ELEMENTS_PATH lists the folders that hold elements".to_owned())
            }
            Self::NoOperatingSystem => Some("for example `debian-minimal`".to_owned()),
            Self::NoPath
            | Self::NotADirectory { .. }
            | Self::AlreadyProvided { .. }
            | Self::Read { .. } => None,
        }
    }
}

/// An element found in the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name: that of its folder.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    needs: Vec<String>,
    provides: Vec<String>,
}

impl Element {
    /// What `element-provides` lists.
    pub fn provides(&self) -> &[String] {
        &self.provides
    }

    /// What `element-deps` lists.
    pub fn needs(&self) -> &[String] {
        &self.needs
    }
}

/// All elements of a path.
#[derive(Debug, Default)]
pub struct Library {
    elements: BTreeMap<String, Element>,
    /// Sentences about elements that hide others.
    pub overrides: Vec<String>,
}

impl Library {
    /// Reads `path` (as ELEMENTS_PATH): earlier folders win.
    pub fn read(path: &str) -> Result<Self, ElementError> {
        if path.is_empty() {
            return Err(ElementError::NoPath);
        }
        let mut library = Self::default();
        let mut seen = BTreeSet::new();
        for folder in path.split(':').filter(|folder| !folder.is_empty()) {
            // A folder that is listed twice overrides nothing.
            let real = Path::new(folder)
                .canonicalize()
                .unwrap_or_else(|_| PathBuf::from(folder));
            if seen.insert(real) {
                library.add_folder(Path::new(folder))?;
            }
        }
        Ok(library)
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), ElementError> {
        if !folder.is_dir() {
            return Err(ElementError::NotADirectory {
                path: folder.to_owned(),
            });
        }
        let failed = |source| ElementError::Read {
            path: folder.to_owned(),
            source,
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        for path in paths {
            // A linked element is known by the name of its target, as upstream knows it.
            let Ok(real) = path.canonicalize() else {
                continue;
            };
            let Some(name) = real.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if !real.is_dir() {
                continue;
            }
            if let Some(first) = self.elements.get(name) {
                self.overrides.push(format!(
                    "Element {name} of {} overrides the one of {}",
                    first.path.display(),
                    path.display()
                ));
                continue;
            }
            let element = Element {
                name: name.to_owned(),
                needs: words(&real.join("element-deps"))?,
                provides: words(&real.join("element-provides"))?,
                path: if path.is_symlink() {
                    real.clone()
                } else {
                    path
                },
            };
            self.elements.insert(name.to_owned(), element);
        }
        Ok(())
    }

    /// The element of this name.
    pub fn get(&self, name: &str) -> Option<&Element> {
        self.elements.get(name)
    }

    /// All that `wanted` needs, without what others provide, in a fixed order.
    pub fn expand(&self, wanted: &[String]) -> Result<Vec<Element>, ElementError> {
        let mut queue: VecDeque<(String, Option<String>)> =
            wanted.iter().map(|name| (name.clone(), None)).collect();
        let mut found = BTreeSet::new();
        let mut provided: BTreeMap<String, String> = BTreeMap::new();
        while let Some((name, needed_by)) = queue.pop_front() {
            if found.contains(&name) {
                continue;
            }
            if let Some(provider) = provided.get(&name) {
                if needed_by.is_none() {
                    return Err(ElementError::AlreadyProvided {
                        name: name.clone(),
                        provider: provider.clone(),
                        element: name,
                    });
                }
                continue;
            }
            let element = match self.elements.get(&name) {
                Some(element) => element,
                // A name that is only virtual may be provided by an element further on.
                None if needed_by.is_some() => {
                    found.insert(name);
                    continue;
                }
                None => return Err(self.missing(name, None)),
            };
            for virtual_name in &element.provides {
                let taken = provided.insert(virtual_name.clone(), name.clone());
                if let Some(provider) = taken.filter(|provider| *provider != name) {
                    return Err(ElementError::AlreadyProvided {
                        name: virtual_name.clone(),
                        provider,
                        element: name,
                    });
                }
            }
            queue.extend(
                element
                    .needs
                    .iter()
                    .map(|need| (need.clone(), Some(name.clone()))),
            );
            found.insert(name);
        }
        self.check(wanted, &found, &provided)?;
        Ok(self.in_order(wanted, &provided))
    }

    fn check(
        &self,
        wanted: &[String],
        found: &BTreeSet<String>,
        provided: &BTreeMap<String, String>,
    ) -> Result<(), ElementError> {
        for name in found {
            if self.elements.contains_key(name) || provided.contains_key(name) {
                continue;
            }
            if name == OPERATING_SYSTEM {
                return Err(ElementError::NoOperatingSystem);
            }
            let needed_by = found
                .iter()
                .filter_map(|other| self.elements.get(other))
                .find(|other| other.needs.contains(name))
                .map(|other| other.name.clone());
            return Err(self.missing(name.clone(), needed_by));
        }
        for name in wanted {
            if let Some(provider) = provided.get(name) {
                return Err(ElementError::AlreadyProvided {
                    name: name.clone(),
                    provider: provider.clone(),
                    element: name.clone(),
                });
            }
        }
        if provided.contains_key(OPERATING_SYSTEM) {
            Ok(())
        } else {
            Err(ElementError::NoOperatingSystem)
        }
    }

    fn missing(&self, element: String, needed_by: Option<String>) -> ElementError {
        let nearest = self
            .elements
            .keys()
            .map(|name| (distance(name, &element), name))
            .filter(|(distance, _)| *distance <= 2)
            .min()
            .map(|(_, name)| name.clone());
        ElementError::Missing {
            element,
            needed_by,
            nearest,
        }
    }

    /// What is needed first; what others provide is left out, with what only it needs.
    fn in_order(&self, wanted: &[String], provided: &BTreeMap<String, String>) -> Vec<Element> {
        fn visit<'a>(
            library: &'a Library,
            provided: &BTreeMap<String, String>,
            name: &str,
            seen: &mut BTreeSet<&'a str>,
            order: &mut Vec<Element>,
        ) {
            let Some(element) = library.elements.get(name) else {
                return;
            };
            if provided.contains_key(name) || !seen.insert(&element.name) {
                return;
            }
            let mut needs = element.needs.clone();
            needs.sort_unstable();
            for need in &needs {
                visit(library, provided, need, seen, order);
            }
            order.push(element.clone());
        }
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in wanted {
            visit(self, provided, name, &mut seen, &mut order);
        }
        order
    }
}

/// The lines of a file, without blanks; none if there is no file.
fn words(path: &Path) -> Result<Vec<String>, ElementError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ElementError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Edit distance, to find the name that was meant.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The three ways in which hooks learn of the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementVariables {
    /// `IMAGE_ELEMENT`: the names.
    pub names: String,
    /// `IMAGE_ELEMENT_YAML`: a map of names to paths.
    pub yaml: String,
    /// Body of the function `get_image_element_array`.
    pub array: String,
}

impl ElementVariables {
    /// Spells the variables for `elements`.
    pub fn of(elements: &[Element]) -> Self {
        let names: Vec<&str> = elements
            .iter()
            .map(|element| element.name.as_str())
            .collect();
        let mut sorted: Vec<&Element> = elements.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let yaml: Vec<String> = sorted
            .iter()
            .map(|element| {
                format!(
                    "{}: {}",
                    yaml_scalar(&element.name),
                    yaml_scalar(&element.path.to_string_lossy())
                )
            })
            .collect();
        let array: String = sorted
            .iter()
            .map(|element| format!("[{}]={} ", element.name, element.path.display()))
            .collect();
        let quoted = array
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('$', "\\$")
            .replace('`', "\\`");
        Self {
            names: names.join(" "),
            yaml: format!("{{{}}}", yaml.join(", ")),
            array: format!("{{ echo \"{quoted}\"; }}"),
        }
    }

    /// The text that bash evaluates, as `element-info --env` prints it.
    pub fn as_bash(&self) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        format!(
            "export IMAGE_ELEMENT={}\nexport IMAGE_ELEMENT_YAML={}\n\
             function get_image_element_array {{\n{}\n}}\nexport -f get_image_element_array\n",
            quote(&self.names),
            quote(&self.yaml),
            self.array.trim_start_matches("{ ").trim_end_matches(" }")
        )
    }
}

fn yaml_scalar(text: &str) -> String {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/_.-".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name: needs; provides` lines make a library.
    fn library(top: &Path, text: &str) -> Library {
        for line in text.lines() {
            let (name, rest) = line.trim().split_once(':').expect("name");
            let (needs, provides) = rest.split_once(';').expect("parts");
            let folder = top.join(name);
            std::fs::create_dir_all(&folder).expect("folder");
            std::fs::write(folder.join("element-deps"), needs.trim().replace(' ', "\n"))
                .expect("file");
            std::fs::write(
                folder.join("element-provides"),
                provides.trim().replace(' ', "\n"),
            )
            .expect("file");
        }
        Library::read(top.to_str().expect("text")).expect("reads")
    }

    #[track_caller]
    fn check(text: &str, wanted: &str, expect: &str) {
        let top = tempfile::tempdir().expect("folder");
        let library = library(top.path(), text);
        let wanted: Vec<String> = wanted.split(' ').map(str::to_owned).collect();
        let got = match library.expand(&wanted) {
            Ok(elements) => ElementVariables::of(&elements).names,
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn needs_come_first_and_the_order_is_fixed() {
        check(
            "os: ; operating-system\na: c b;\nb: ;\nc: b;",
            "os a",
            "os b c a",
        );
        check("os: ; operating-system\na: b;\nb: a;", "os a", "os b a");
        check(
            "os: ; operating-system\na: real;\nreal: junk;\njunk: ;\np: ; real",
            "os p a",
            "os p a",
        );
        check(
            "os: ; operating-system\na: operating-system;",
            "a os",
            "a os",
        );
    }

    #[test]
    fn says_what_is_wrong() {
        check("a: ;", "a", "Please include an operating system element");
        check(
            "os: ; operating-system\na: x;",
            "os a",
            "Element 'x' not found",
        );
        check(
            "os: ; operating-system\nos2: ; operating-system",
            "os os2",
            "operating-system: already provided by os, so os2 cannot be used beside it",
        );
    }

    #[test]
    fn a_misspelt_element_is_guessed() {
        let top = tempfile::tempdir().expect("folder");
        let library = library(top.path(), "debian-minimal: ; operating-system");
        let error = library
            .expand(&["debian-minmal".to_owned()])
            .expect_err("missing");
        assert_eq!(
            error.hint().as_deref(),
            Some("did you mean `debian-minimal`?")
        );
    }
}
