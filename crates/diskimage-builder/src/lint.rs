//! `dib-lint`: looks through elements for mistakes that builds show late or never.
//!
//! Reads only. A rule can be switched off for a file by a line `# dib-lint: disable=RULE …`, and for all by
//! `ignore` in the section `dib-lint` of `tox.ini`. Python is judged by flake8, git says what is not ours.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::settings::Surroundings;

const DISABLE: &str = "# dib-lint: disable=";
/// Phases whose hooks run on the host, with the host's files at hand.
const OUTSIDE: &[&str] = &[
    "root.d",
    "extra-data.d",
    "block-device.d",
    "finalise.d",
    "cleanup.d",
];
/// What shows that a `sudo` on the host works on the image.
const SAFE: &[&str] = &[
    "dib-lint: safe_sudo",
    "install-packages",
    "TARGET_ROOT",
    "IMAGE_BLOCK_DEVICE",
    "TMP_MOUNT_PATH",
    "TMP_IMAGE_PATH",
];

/// Runs `dib-lint`: 0 if all is well, 1 if not.
pub fn main(around: &Surroundings) -> ExitCode {
    let elements = PathBuf::from(
        around
            .variable("ELEMENTS_DIR")
            .unwrap_or("diskimage_builder/elements"),
    );
    let library = PathBuf::from(
        around
            .variable("LIB_DIR")
            .unwrap_or("diskimage_builder/lib"),
    );
    let folder = std::env::current_dir().unwrap_or_default();
    let mut lint = Lint {
        out: io::stdout().lock(),
        errors: 0,
        ignored_rules: ignored_rules(Path::new("tox.ini")),
    };
    lint.say(&format!("Running dib-lint in {}", folder.display()));
    lint.all(&elements, &library);
    if lint.errors == 0 {
        lint.say("PASS");
        ExitCode::SUCCESS
    } else {
        lint.say("*** FAIL: Some tests failed!");
        ExitCode::FAILURE
    }
}

/// A file that is looked into.
struct Source {
    path: PathBuf,
    text: String,
    executable: bool,
    disabled: BTreeSet<String>,
}

impl Source {
    fn read(path: &Path, ignored_rules: &BTreeSet<String>) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut disabled = ignored_rules.clone();
        for line in text.lines() {
            if let Some(rules) = line.strip_prefix(DISABLE) {
                disabled.extend(rules.split_whitespace().map(str::to_owned));
            }
        }
        let executable = path
            .metadata()
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
        Self {
            path: path.to_owned(),
            text,
            executable,
            disabled,
        }
    }

    fn heeds(&self, rule: &str) -> bool {
        !self.disabled.contains(rule)
    }

    fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path
            .parent()
            .is_some_and(|parent| parent.to_string_lossy().contains(folder))
    }

    fn is_python(&self) -> bool {
        self.first_line().starts_with("#!") && self.first_line().contains("python")
    }

    fn ends_with_newline(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }
}

struct Lint<W: Write> {
    out: W,
    errors: usize,
    ignored_rules: BTreeSet<String>,
}

impl<W: Write> Lint<W> {
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}");
    }

    fn error(&mut self, text: impl AsRef<str>) {
        self.errors += 1;
        self.say(&format!("ERROR: {}", text.as_ref()));
    }

    fn all(&mut self, elements: &Path, library: &Path) {
        for folder in sorted(elements).into_iter().filter(|path| path.is_dir()) {
            if !folder.join("README.rst").is_file() {
                self.error(format!("{} lacks a README.rst", folder.display()));
            }
        }
        let files = files_below(elements);
        let library = files_below(library);
        let ignored = ignored_files(files.iter().chain(&library));
        for path in &files {
            if has_ending(path, &["rst", "yaml", "py"]) {
                continue;
            }
            if ignored.contains(path) {
                self.say(&format!("Skipping {}", path.display()));
                continue;
            }
            self.say(&format!("Checking {}", path.display()));
            let source = Source::read(path, &self.ignored_rules);
            self.script(&source);
        }
        self.say("Checking indents...");
        for path in &files {
            let source = Source::read(path, &self.ignored_rules);
            if !ignored.contains(path) && (source.executable || has_ending(path, &["rst"])) {
                self.form(&source);
            }
        }
        for path in library.iter().filter(|path| !ignored.contains(*path)) {
            let source = Source::read(path, &self.ignored_rules);
            self.form(&source);
        }
        self.documents(&files);
        self.data(&files);
    }

    /// What holds for hooks, environment files and lists.
    fn script(&mut self, source: &Source) {
        let path = source.path.display().to_string();
        let name = source
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.contains("source-repository-") && !source.ends_with_newline() {
            self.error(format!("{path} does not end with a newline"));
        }
        if source.first_line().starts_with("#!") {
            self.program(source, &path);
        }
        if name == "element-deps" {
            self.dependencies(source, &path);
        }
        let first = source.first_line();
        if first.starts_with("#!") && first.contains("bash") && first != "#!/bin/bash" {
            self.error(format!("{path} : only use #!/bin/bash for scripts"));
        }
        if first.contains("#!/bin/bash") {
            self.bash(source, &path);
        }
        if path.contains("environment.d") {
            if source.text.contains("set -x") {
                self.error(format!("Environment file {path} should not set tracing"));
            }
            if source.executable {
                self.error(format!(
                    "Environment file {path} should not be marked as executable"
                ));
            }
        }
        // The exit status of the command would be lost.
        let hides = |line: &str| {
            line.find("export ")
                .is_some_and(|at| line[at..].contains("$("))
        };
        if source.text.lines().any(hides) {
            self.error(format!("Split export and assignments in {path}"));
        }
        self.words(source, &path);
    }

    fn program(&mut self, source: &Source, path: &str) {
        if !source.executable && source.heeds("executable") {
            self.error(format!("{path} is not executable"));
        }
        if source.is_python() {
            let _ = self.out.flush();
            let judged = Command::new("flake8").arg(&source.path).status();
            if !judged.is_ok_and(|status| status.success()) {
                self.error(format!("{path} failed flake8"));
            }
        } else if source.heeds("indent") {
            let odd: Vec<String> = source
                .text
                .lines()
                .enumerate()
                .filter(|(_, line)| has_odd_indent(line))
                .map(|(number, line)| format!("{}:{line}", number + 1))
                .collect();
            if !odd.is_empty() {
                self.error(format!("{path} should use 4 spaces indent"));
                self.say(&odd.join("\n"));
            }
        }
    }

    fn dependencies(&mut self, source: &Source, path: &str) {
        let given: Vec<&str> = source
            .text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let mut wanted = given.clone();
        wanted.sort_unstable();
        if given != wanted {
            self.error(format!("{path} is not sorted alphabetically"));
            self.say(&format!("sorted: {}", wanted.join(" ")));
        }
    }

    fn bash(&mut self, source: &Source, path: &str) {
        let sets = |letter: char| {
            source.text.lines().any(|line| {
                line.strip_prefix("set -").is_some_and(|rest| {
                    rest.split(' ')
                        .next()
                        .is_some_and(|flags| flags.contains(letter))
                })
            })
        };
        if source.heeds("sete") && !sets('e') {
            self.error(format!("{path} is not set -e"));
        }
        if source.heeds("setu") && !sets('u') {
            self.error(format!("{path} is not set -u"));
        }
        let pipefail = |line: &str| line.starts_with("set -o pipefail");
        if source.heeds("setpipefail") && !source.text.lines().any(pipefail) {
            self.error(format!("{path} is not set -o pipefail"));
        }
        if source.heeds("dibdebugtrace") && !source.text.contains("DIB_DEBUG_TRACE") {
            self.error(format!("{path} does not follow DIB_DEBUG_TRACE"));
        }
    }

    /// Words that are dangerous, or missing in small images.
    fn words(&mut self, source: &Source, path: &str) {
        let outside = OUTSIDE.iter().any(|folder| source.is_in(folder));
        for line in source.text.lines().map(str::trim) {
            if line.starts_with('#') {
                continue;
            }
            if outside
                && source.heeds("safe_sudo")
                && line.contains("sudo ")
                && !SAFE.iter().any(|word| line.contains(word))
            {
                self.error(format!("{path} : potentially unsafe sudo\n -- {line}"));
            }
            if source.heeds("which") && line.contains("which ") && !line.contains("dib-lint: which")
            {
                self.error(format!("{path} : potential use of which\n -- {line}"));
            }
        }
    }

    /// What holds for everything that people read as text.
    fn form(&mut self, source: &Source) {
        let path = source.path.display().to_string();
        let tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
        if source.heeds("tabindent") && source.text.lines().any(tab) {
            self.error(format!("{path} contains tab characters"));
        }
        if source.heeds("newline") && !source.ends_with_newline() {
            self.error(format!("No newline at end of file: {path}"));
        }
    }

    fn documents(&mut self, files: &[PathBuf]) {
        let found: Vec<String> = files
            .iter()
            .filter(|path| has_ending(path, &["md"]))
            .map(|path| path.display().to_string())
            .collect();
        if !found.is_empty() && !self.ignored_rules.contains("mddocs") {
            self.error(format!(".md docs found: {}", found.join(" ")));
        }
    }

    fn data(&mut self, files: &[PathBuf]) {
        self.say("Checking YAML parsing...");
        for path in files.iter().filter(|path| has_ending(path, &["yaml"])) {
            self.say(&format!("Parsing  {}", path.display()));
            let source = Source::read(path, &self.ignored_rules);
            if let Err(error) = yaml::parse(&source.text) {
                self.error(format!(
                    "{} is not a valid YAML file: {error}",
                    path.display()
                ));
            }
        }
        self.say("Checking pkg-map files...");
        for path in files {
            let source = Source::read(path, &self.ignored_rules);
            if !path.ends_with("pkg-map") || source.executable {
                continue;
            }
            self.say(&format!("Parsing  {}", path.display()));
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&source.text) {
                self.error(format!(
                    "{} is not a valid JSON file: {error}",
                    path.display()
                ));
            }
        }
    }
}

/// One to three blanks beyond a multiple of four.
fn has_odd_indent(line: &str) -> bool {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    !blanks.is_multiple_of(4) && blanks < line.len()
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .is_some_and(|ending| endings.iter().any(|known| ending == *known))
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Plain files at any depth, in the order of their names.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in sorted(folder) {
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => files.extend(files_below(&path)),
            Ok(metadata) if metadata.is_file() => files.push(path),
            Ok(_) | Err(_) => {}
        }
    }
    files
}

/// What git is told to leave alone, asked once for all; nothing where there is no git.
fn ignored_files<'a>(files: impl Iterator<Item = &'a PathBuf>) -> BTreeSet<PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut names = Vec::new();
    for path in files {
        names.extend_from_slice(path.as_os_str().as_bytes());
        names.push(0);
    }
    let asked = Command::new("git")
        .args(["check-ignore", "-z", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut git) = asked else {
        return BTreeSet::new();
    };
    let input = git.stdin.take();
    // git answers while it reads: writing and reading must not wait for each other.
    let writer = std::thread::spawn(move || input.map(|mut input| input.write_all(&names)));
    let answer = git.wait_with_output();
    let _ = writer.join();
    answer
        .map(|output| output.stdout)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())))
        .collect()
}

/// `ignore` in the section `[dib-lint]`, which may go on in indented lines.
fn ignored_rules(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (mut here, mut taking) = (false, false);
    let mut rules = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            (here, taking) = (line.trim() == "[dib-lint]", false);
            continue;
        }
        let words = match line.split_once(['=', ':']) {
            Some((name, words)) if !line.starts_with([' ', '\t']) => {
                taking = here && name.trim() == "ignore";
                words
            }
            _ => line,
        };
        if taking {
            rules.extend(words.split_whitespace().map(str::to_owned));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#!/bin/bash\nif [ ${DIB_DEBUG_TRACE:-0} -gt 0 ]; then\n    set -x\nfi\nset -eu\nset -o pipefail\n";

    #[track_caller]
    fn check(name: &str, text: &str, mode: u32, expect: &[&str]) {
        let top = tempfile::tempdir().expect("folder");
        let path = top.path().join("el").join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(top.path().join("el/README.rst"), "el\n==\n").expect("file");
        std::fs::write(&path, text).expect("file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        let mut lint = Lint {
            out: Vec::new(),
            errors: 0,
            ignored_rules: BTreeSet::new(),
        };
        lint.all(top.path(), &top.path().join("none"));
        let said = String::from_utf8(lint.out).expect("text");
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("ERROR: "))
            .collect();
        assert_eq!(errors.len(), expect.len(), "{said}");
        for (error, wanted) in errors.iter().zip(expect) {
            assert!(error.contains(wanted), "{error}: {wanted}");
        }
    }

    #[test]
    fn a_good_hook_passes_and_a_bad_one_is_told_why() {
        check("install.d/50-x", GOOD, 0o755, &[]);
        check("install.d/50-x", GOOD, 0o644, &["is not executable"]);
        check(
            "install.d/50-x",
            "#!/bin/bash\n",
            0o755,
            &["set -e", "set -u", "set -o pipefail", "DIB_DEBUG_TRACE"],
        );
        let with = |line: &str| format!("{GOOD}{line}\n");
        check("root.d/50-x", &with("sudo rm /x"), 0o755, &["unsafe sudo"]);
        check("root.d/50-x", &with("sudo rm $TARGET_ROOT/x"), 0o755, &[]);
        check("install.d/50-x", &with("  x"), 0o755, &["4 spaces"]);
        check(
            "install.d/50-x",
            "#!/bin/bash\n# dib-lint: disable=sete setu setpipefail dibdebugtrace\n",
            0o755,
            &[],
        );
    }

    #[test]
    fn lists_and_data_are_read() {
        check("element-deps", "b\na\n", 0o644, &["sorted"]);
        check("pkg-map", "{\n", 0o644, &["valid JSON"]);
        check("x.yaml", "a: [1\n", 0o644, &["valid YAML"]);
        check("source-repository-x", "x git /x y", 0o644, &["newline"]);
        check(
            "environment.d/10-x",
            "set -x\n",
            0o755,
            &["tracing", "executable"],
        );
    }

    #[test]
    fn rules_of_a_project_go_over_several_lines() {
        let top = tempfile::tempdir().expect("folder");
        let path = top.path().join("tox.ini");
        std::fs::write(
            &path,
            "[tox]\nignore = no\n[dib-lint]\nignore = a\n  b c\nother = d\n",
        )
        .expect("file");
        let rules: Vec<String> = ignored_rules(&path).into_iter().collect();
        assert_eq!(rules, ["a", "b", "c"]);
    }
}
