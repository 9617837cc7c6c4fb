//! The operator's commands against a seed, as processes: what stands on stdout, what on stderr, how they end.
//!
//! Each test has a seed of its own on a port that the kernel picks; its machines' BMCs are here, its stacks live in a cloud in memory.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod bmc;
mod node;
mod stack;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const TRIPLEO: &str = env!("CARGO_BIN_EXE_tripleo");

/// A seed that runs, and a folder for the files of its operator.
struct Seed {
    folder: TempDir,
    process: Child,
}

/// How a command ended.
struct Ended {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// This program, with nothing of the shell around it.
fn tripleo(state: &Path) -> Command {
    let mut command = Command::new(TRIPLEO);
    for name in [
        "OS_CLOUD",
        "OS_CLIENT_CONFIG_FILE",
        "TRIPLEO_STATE",
        "TRIPLEO_ROOT",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command.arg("--state").arg(state).stdin(Stdio::null());
    command
}

impl Seed {
    fn start() -> Seed {
        let folder = tempfile::tempdir().unwrap();
        let mut command = tripleo(folder.path());
        command.args(["seed", "--listen", "127.0.0.1:0", "--cloud", "sim"]);
        // Cleaning would boot the machines.
        command.args(["--automated-clean", "false", "--state"]);
        command.arg(folder.path().join("seed"));
        let log = fs::File::create(folder.path().join("seed.log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let seed = Seed { folder, process };
        assert!(
            line.starts_with("ready http://127.0.0.1:"),
            "{line}{}",
            seed.log()
        );
        seed
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("seed.log")).unwrap()
    }

    /// A file of the operator.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a command in the operator's folder, so that its files go by their names.
    #[track_caller]
    fn run(&self, words: &str) -> Ended {
        let mut command = tripleo(self.folder.path());
        command
            .arg("--root")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        let output = command
            .args(words.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        Ended {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }

    /// The command goes well; gives its stdout.
    #[track_caller]
    fn well(&self, words: &str) -> String {
        let ended = self.run(words);
        assert_eq!(
            ended.code,
            Some(0),
            "{words}: {}{}",
            ended.stdout,
            ended.stderr
        );
        ended.stdout
    }

    /// The command is refused: exit code 1, nothing that a program would take for data, and all of these words on stderr.
    #[track_caller]
    fn refused(&self, words: &str, said: &[&str]) {
        let ended = self.run(words);
        assert_eq!(
            ended.code,
            Some(1),
            "{words}: {}{}",
            ended.stdout,
            ended.stderr
        );
        assert_eq!(ended.stdout, "", "{words}");
        for said in said {
            assert!(
                ended.stderr.contains(said),
                "{words}: `{said}` is not in: {}",
                ended.stderr
            );
        }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// `text` holds all of these, in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut from = 0;
    for part in parts {
        match text[from..].find(part) {
            Some(at) => from += at + part.len(),
            None => panic!("`{part}` is not where it should be in:\n{text}"),
        }
    }
}

#[test]
fn without_a_seed_it_is_said_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for words in [&["stack", "list"], &["node", "list"], &["image", "ls"]] {
        let output = tripleo(folder.path())
            .arg("--root")
            .arg(&root)
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("seed/clouds.yaml") && said.contains("./devtest"),
            "{said}"
        );
    }
}

#[test]
fn images_are_listed() {
    let seed = Seed::start();
    assert_eq!(seed.well("image ls"), "id  name  status  bytes  created\n");
    seed.refused("image build nosuch", &["images/nosuch.yaml"]);
    seed.refused(
        "--os-cloud elsewhere image ls",
        &["`elsewhere`", "clouds.yaml"],
    );
}
