//! Reads along what a refresh prints, to say afterwards which scripts ran, how long each took, which one failed, and with what words.
//!
//! Knows the lines of os-refresh-config and dib-run-parts, upstream's as well as ours. Of any other command it keeps
//! the last words.

use metadata::{Value, object};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many of the last bytes are kept.
const TAIL: usize = 4096;
/// So many scripts are kept; no element set comes near it.
const MOST_SCRIPTS: usize = 512;

/// A script that was seen to run.
#[derive(Debug)]
struct Script {
    phase: String,
    path: String,
    began: Instant,
    /// None: it has not ended, or it failed.
    took: Option<Duration>,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub phase: Option<String>,
    pub script: Option<String>,
    pub exit_code: Option<i64>,
    scripts: Vec<Script>,
    tail: VecDeque<u8>,
    line: Vec<u8>,
}

impl Watch {
    /// Reads a piece of output.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            self.tail.push_back(*byte);
            if self.tail.len() > TAIL {
                self.tail.pop_front();
            }
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.notice(&String::from_utf8_lossy(&line));
            } else if self.line.len() < TAIL {
                self.line.push(*byte);
            }
        }
    }

    fn notice(&mut self, line: &str) {
        if let Some((_, text)) = line.split_once("(os-refresh-config) [") {
            let Some((_, text)) = text.split_once("] ") else {
                return;
            };
            if let Some(phase) = text.strip_prefix("Starting phase ") {
                self.phase = Some(phase.to_owned());
                self.script = None;
            } else if text.starts_with("Completed phase ") {
                self.phase = None;
            } else if let Some((_, status)) = text.split_once("returned non-zero exit status ") {
                self.exit_code = status
                    .trim_end_matches("]")
                    .trim_end_matches('.')
                    .parse()
                    .ok();
            }
        } else if line.starts_with("dib-run-parts ") && self.exit_code.is_none() {
            if let Some((_, path)) = line.split_once(" Running ") {
                self.script = Some(path.to_owned());
                self.begin(path);
                // What earlier hooks said is of no use to whoever reads about this one.
                self.tail.clear();
            } else if let Some(line) = line.strip_suffix(" completed") {
                self.script = None;
                self.complete(line.rsplit(' ').next().unwrap_or_default());
            }
        }
    }

    fn begin(&mut self, path: &str) {
        if self.scripts.len() < MOST_SCRIPTS {
            self.scripts.push(Script {
                phase: self.phase.clone().unwrap_or_default(),
                path: path.to_owned(),
                began: Instant::now(),
                took: None,
            });
        }
    }

    /// A script may itself run a directory of scripts, so the latest one of that name is meant.
    fn complete(&mut self, name: &str) {
        let is_it = |script: &&mut Script| {
            script.took.is_none() && script.path.rsplit('/').next() == Some(name)
        };
        if let Some(script) = self.scripts.iter_mut().rev().find(is_it) {
            script.took = Some(script.began.elapsed());
        }
    }

    /// The scripts in the order in which they began; one without a time did not end well.
    pub(crate) fn scripts(&self) -> Value {
        let scripts = self.scripts.iter().map(|script| {
            let seconds = script.took.map(|took| took.as_millis() as f64 / 1000.0);
            object([
                ("phase", Value::from(script.phase.as_str())),
                ("script", Value::from(script.path.as_str())),
                ("seconds", Value::from(seconds)),
            ])
        });
        Value::List(scripts.collect())
    }

    /// What is known of the failure, for whoever cleans up after it.
    pub(crate) fn failure(&self) -> Option<Value> {
        let code = self.exit_code?;
        Some(object([
            ("phase", Value::from(self.phase.clone())),
            ("script", Value::from(self.script.clone())),
            ("exit_code", Value::from(code)),
            ("tail", Value::from(self.tail())),
        ]))
    }

    /// The last words, from the start of the hook that failed.
    pub(crate) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Output is bytes, not text, and comes in pieces that end anywhere.
        #[test]
        fn pieces_of_any_size_say_the_same(
            lines in proptest::collection::vec(
                r"(dib-run-parts X Running /b/[ab]|dib-run-parts X [ab] completed|y \(os-refresh-config\) \[INFO\] (Starting phase c|Completed phase c|z returned non-zero exit status [0-9x]{1,3}\.\])|[é\x00 a]{0,9})",
                0..9,
            ),
            size in 1usize..40,
        ) {
            let text = lines.join("\n") + "\n";
            let (mut whole, mut pieces) = (Watch::default(), Watch::default());
            whole.read(text.as_bytes());
            text.as_bytes().chunks(size).for_each(|piece| pieces.read(piece));
            let shown = |watch: &Watch| {
                let scripts: Vec<String> = watch.scripts.iter().map(|script| script.path.clone()).collect();
                (watch.phase.clone(), watch.script.clone(), watch.exit_code, watch.tail(), scripts)
            };
            proptest::prop_assert_eq!(shown(&whole), shown(&pieces));
        }
    }

    const DATE: &str = "dib-run-parts Wed Nov 25 00:08:59 UTC 2026";

    fn orc(text: &str) -> String {
        format!("[2026-11-25 00:08:59,001] (os-refresh-config) {text}\n")
    }

    #[test]
    fn names_the_hook_that_failed() {
        let mut watch = Watch::default();
        let mut text = orc("[INFO] Starting phase pre-configure");
        text += &format!("{DATE} Running /b/pre-configure.d/1-a\nfirst\n{DATE} 1-a completed\n");
        text += &orc("[INFO] Completed phase pre-configure");
        text += &orc("[INFO] Starting phase configure");
        text += &format!("{DATE} Running /b/configure.d/20-f\nboom\n");
        text += &orc(
            "[ERROR] during configure phase. [Command '['dib-run-parts', '/b/configure.d']' \
                      returned non-zero exit status 9.]",
        );
        text += &format!("{DATE} Running /b/error.d/1\n{DATE} 1 completed\n");
        // Pieces end anywhere.
        for piece in text.as_bytes().chunks(7) {
            watch.read(piece);
        }
        assert_eq!(watch.phase.as_deref(), Some("configure"));
        assert_eq!(watch.script.as_deref(), Some("/b/configure.d/20-f"));
        assert_eq!(watch.exit_code, Some(9));
        assert!(watch.tail().starts_with("boom\n"), "{}", watch.tail());
        // Hooks for errors are no part of the run.
        let scripts = watch.scripts();
        let seen: Vec<(&str, &str, bool)> = scripts
            .as_list()
            .unwrap()
            .iter()
            .map(|script| {
                let text = |key: &str| script.get(key).unwrap().as_text().unwrap();
                let ended = matches!(script.get("seconds"), Some(Value::Float(_)));
                (text("phase"), text("script"), ended)
            })
            .collect();
        let expect = [
            ("pre-configure", "/b/pre-configure.d/1-a", true),
            ("configure", "/b/configure.d/20-f", false),
        ];
        assert_eq!(seen, expect);
    }

    #[test]
    fn after_a_good_run_nothing_is_named() {
        let mut watch = Watch::default();
        watch.read(orc("[INFO] Starting phase configure").as_bytes());
        watch.read(format!("{DATE} Running /b/configure.d/1\n{DATE} 1 completed\n").as_bytes());
        watch.read(orc("[INFO] Completed phase configure").as_bytes());
        assert_eq!(
            (watch.phase, watch.script, watch.exit_code),
            (None, None, None)
        );
    }

    #[test]
    fn the_tail_is_bounded() {
        let mut watch = Watch::default();
        watch.read(&[b'x'; TAIL * 3]);
        assert_eq!(watch.tail().len(), TAIL);
    }
}
