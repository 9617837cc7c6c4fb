//! The command line of `disk-image-create` and `ramdisk-image-create`, as getopt reads it.
//!
//! Short options may be bundled, long ones shortened, operands may stand between them. Only spelling is
//! checked here; what values mean is checked by `settings`.

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Options with their values, in order.
    pub given: Vec<(Name, String)>,
    /// Names of elements.
    pub elements: Vec<String>,
}

/// An option, by its long or only name.
pub type Name = &'static str;

/// The command line is misspelt. The sentence is getopt's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("{program}: unrecognized option '{option}'")]
    Unknown {
        /// Name of the program.
        program: String,
        /// What was given.
        option: String,
    },
    /// No such letter.
    #[error("{program}: invalid option -- '{letter}'")]
    UnknownLetter {
        /// Name of the program.
        program: String,
        /// What was given.
        letter: char,
    },
    /// A value is missing.
    #[error("{program}: option '{option}' requires an argument")]
    NoValue {
        /// Name of the program.
        program: String,
        /// What was given.
        option: String,
    },
    /// A letter without its value.
    #[error("{program}: option requires an argument -- '{letter}'")]
    NoLetterValue {
        /// Name of the program.
        program: String,
        /// What was given.
        letter: char,
    },
    /// A value for an option that takes none.
    #[error("{program}: option '{option}' doesn't allow an argument")]
    UnwantedValue {
        /// Name of the program.
        program: String,
        /// What was given.
        option: String,
    },
    /// A shortened name that could be several.
    #[error("{program}: option '{option}' is ambiguous")]
    Ambiguous {
        /// Name of the program.
        program: String,
        /// What was given.
        option: String,
    },
}

/// Letters, and whether they take a value.
const LETTERS: &[(char, Name, bool)] = &[
    ('a', "a", true),
    ('o', "o", true),
    ('t', "t", true),
    ('p', "p", true),
    ('x', "x", false),
    ('u', "u", false),
    ('c', "c", false),
    ('n', "n", false),
    ('h', "help", false),
];

/// Long names, and whether they take a value.
const WORDS: &[(Name, bool)] = &[
    ("checksum", false),
    ("no-tmpfs", false),
    ("offline", false),
    ("help", false),
    ("version", false),
    ("min-tmpfs", true),
    ("image-size", true),
    ("image-extra-size", true),
    ("image-cache", true),
    ("max-online-resize", true),
    ("mkfs-options", true),
    ("mkfs-journal-size", true),
    ("qemu-img-options", true),
    ("ramdisk-element", true),
    ("root-label", true),
    ("install-type", true),
    ("docker-target", true),
    ("logfile", true),
];

/// Long names that upstream has not. They cannot be shortened: what users shorten stays unambiguous.
const OWN_WORDS: &[(Name, bool)] = &[
    ("plan", false),
    ("no-cache", false),
    ("cache-dir", true),
    ("shell-on-error", false),
    ("format", true),
];

impl Options {
    /// Reads the arguments behind the program's name.
    pub fn parse(program: &str, arguments: &[String]) -> Result<Self, OptionError> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                options.elements.extend(rest.cloned());
                break;
            } else if let Some(word) = argument.strip_prefix("--") {
                options.word(program, word, &mut rest)?;
            } else if argument.len() > 1 && argument.starts_with('-') {
                options.letters(program, &argument[1..], &mut rest)?;
            } else {
                options.elements.push(argument.clone());
            }
        }
        Ok(options)
    }

    fn word<'a>(
        &mut self,
        program: &str,
        word: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), OptionError> {
        let program = program.to_owned();
        let (name, value) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        let option = format!("--{name}");
        let exact = WORDS
            .iter()
            .chain(OWN_WORDS)
            .filter(|(known, _)| *known == name)
            .collect::<Vec<_>>();
        let close = WORDS
            .iter()
            .filter(|(known, _)| known.starts_with(name))
            .collect::<Vec<_>>();
        let (name, takes_value) = match (exact.as_slice(), close.as_slice()) {
            ([one], _) | ([], [one]) => **one,
            (_, []) => return Err(OptionError::Unknown { program, option }),
            (_, _) => return Err(OptionError::Ambiguous { program, option }),
        };
        let value = match (takes_value, value) {
            (false, None) => String::new(),
            (false, Some(_)) => return Err(OptionError::UnwantedValue { program, option }),
            (true, Some(value)) => value.to_owned(),
            (true, None) => rest
                .next()
                .cloned()
                .ok_or(OptionError::NoValue { program, option })?,
        };
        self.given.push((name, value));
        Ok(())
    }

    fn letters<'a>(
        &mut self,
        program: &str,
        letters: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), OptionError> {
        for (at, letter) in letters.char_indices() {
            let program = program.to_owned();
            let Some((_, name, takes_value)) = LETTERS.iter().find(|(known, ..)| *known == letter)
            else {
                return Err(OptionError::UnknownLetter { program, letter });
            };
            if !takes_value {
                self.given.push((name, String::new()));
                continue;
            }
            let behind = &letters[at + letter.len_utf8()..];
            let value = if behind.is_empty() {
                rest.next().cloned()
            } else {
                Some(behind.to_owned())
            };
            self.given.push((
                name,
                value.ok_or(OptionError::NoLetterValue { program, letter })?,
            ));
            break;
        }
        Ok(())
    }

    /// The last value of an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given
            .iter()
            .rev()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of an option, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the option is there.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// The text of `--help`.
pub fn help(program: &str, ramdisk: bool) -> String {
    let only_disk = if ramdisk {
        ""
    } else {
        "    -n                       Do not put the element base in front of the others
    -p PACKAGE[,PACKAGE]     Install these packages after install.d; may be repeated
"
    };
    format!(
        "Usage: {program} [OPTION]... ELEMENT...

Makes images from elements. The environment variables of diskimage-builder apply.

    -a ARCH                  Architecture of the image (amd64, arm64, ...)
    -o NAME                  Name of the image (default image); the type is appended
    -t TYPE[,TYPE]           qcow2, tar, tgz, squashfs, vhd, docker, aci, raw (default qcow2)
    -x                       Tell more; twice: even more
    -u                       Do not compress the qcow2 image
    -c                       Start with an empty environment
{only_disk}    --checksum               Write NAME.TYPE.md5 and NAME.TYPE.sha256
    --image-size GIB         Size of the image; may be a fraction
    --image-extra-size MIB   Room to add to what the tree takes
    --image-cache DIR        Cache of layers and downloads (default ~/.cache/image-create)
    --max-online-resize N    Blocks to which the file system shall be able to grow
    --min-tmpfs GIB          Least size of the tmpfs for the build
    --mkfs-journal-size MIB  Size of the journal (default 64)
    --mkfs-options OPTIONS   More options for the program that makes the root file system
    --no-tmpfs               Build on disk, not in memory
    --offline                Do not refresh what is cached
    --qemu-img-options K=V   Options for qemu-img
    --root-label LABEL       Label of the root file system
    --ramdisk-element NAME   Element for ramdisks (default ramdisk)
    --install-type TYPE      source or package (default source)
    --docker-target REPO:TAG Name of the docker image
    --logfile FILE           Append the log to FILE
    --no-cache               Make all layers anew, and keep none
    --cache-dir DIR          The same as --image-cache
    --shell-on-error         Open a shell where a hook failed, in the tree as it is then
    --format text|json       How progress is told: lines of the log, or one JSON object a line
    --plan                   Print what a build would do, and end
    -h, --help               Print this text
    --version                Print the version

ELEMENTS_PATH lists folders of elements, those of this program come last.
Documentation: docs/reference/disk-image-create.md
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        Options::parse("dic", &arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_as_getopt_does() {
        let options = parse("-nx vm -tqcow2 --image-s=3 -p a,b -- -x").expect("fine");
        assert_eq!(options.elements, ["vm", "-x"]);
        assert_eq!(options.value("image-size"), Some("3"));
        assert_eq!(options.value("t"), Some("qcow2"));
        assert!(options.has("n") && options.has("x"));
    }

    #[test]
    fn errors_are_getopts() {
        assert_eq!(
            parse("--nosuch").expect_err("bad"),
            "dic: unrecognized option '--nosuch'"
        );
        assert_eq!(parse("-z").expect_err("bad"), "dic: invalid option -- 'z'");
        assert_eq!(
            parse("-o").expect_err("bad"),
            "dic: option requires an argument -- 'o'"
        );
        assert_eq!(
            parse("--mkfs=1").expect_err("bad"),
            "dic: option '--mkfs' is ambiguous"
        );
    }
}
