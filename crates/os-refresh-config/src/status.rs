//! `os-refresh-config status`: what this node holds, and how its last refresh went.
//!
//! Puts together what the agents keep: our own record, os-collect-config's last report, os-apply-config's list of drift. Asks
//! nobody and changes nothing.

use metadata::{Value, object};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the agents keep what they know.
pub(crate) struct Places {
    /// Of os-refresh-config.
    pub refresh: PathBuf,
    /// Of os-apply-config.
    pub apply: PathBuf,
    /// The cache of os-collect-config.
    pub collect: PathBuf,
}

/// What is known. All of it may be missing.
pub(crate) struct Status {
    last: Option<Value>,
    drift: Option<Value>,
    report: Option<Value>,
}

impl Status {
    /// Reads what is there.
    pub(crate) fn read(places: &Places) -> Status {
        Status {
            last: read(&places.refresh.join("last.json")),
            drift: read(&places.apply.join("drift.json")),
            report: read(&places.collect.join("last-report")),
        }
    }

    /// 0: the last refresh went well; 1: it failed; 3: there was none.
    pub(crate) fn exit_code(&self) -> u8 {
        match &self.last {
            None => 3,
            Some(last) if text(last, "failure").is_some() => 1,
            Some(_) => 0,
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let part = |part: &Option<Value>| part.clone().unwrap_or(Value::Null);
        let all = object([
            ("refresh", part(&self.last)),
            ("report", part(&self.report)),
            ("drift", part(&self.drift)),
        ]);
        format!("{}\n", all.to_json_indented())
    }

    /// For people.
    pub(crate) fn lines(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        match &self.last {
            None => out.push_str("last refresh:  none yet\n"),
            Some(last) => {
                let started = text(last, "started").unwrap_or("?");
                let took = number(last, "seconds").unwrap_or_default();
                let how = match (text(last, "phase"), text(last, "failure")) {
                    (Some(phase), Some(how)) => format!("failed in phase {phase}: {how}"),
                    _ => "went well".to_owned(),
                };
                let _ = writeln!(out, "last refresh:  {started}, {took:.3} s, {how}");
            }
        }
        match &self.report {
            None => out.push_str("configuration: no report was sent to a cloud\n"),
            Some(report) => {
                let generation = text(report, "generation").unwrap_or_default();
                let sent = text(report, "sent").unwrap_or("?");
                let _ = writeln!(
                    out,
                    "configuration: generation {generation}, told to the cloud at {sent}"
                );
                let way = text(report, "changes").unwrap_or("?");
                let _ = writeln!(out, "changes:       {way}");
            }
        }
        self.drift_lines(&mut out);
        self.script_lines(&mut out);
        out
    }

    fn drift_lines(&self, out: &mut String) {
        let drift = self
            .drift
            .as_ref()
            .and_then(Value::as_list)
            .unwrap_or_default();
        if drift.is_empty() {
            out.push_str("drift:         none seen\n");
        }
        for file in drift {
            let path = text(file, "path").unwrap_or("?");
            let found = text(file, "sha256")
                .map_or_else(|| "missing".to_owned(), |hash| format!("sha256:{hash}"));
            let _ = writeln!(
                out,
                "drift:         {path} was changed by hand ({found}), and put right"
            );
        }
    }

    fn script_lines(&self, out: &mut String) {
        let scripts = self
            .last
            .as_ref()
            .and_then(|last| last.get("scripts")?.as_list());
        let mut phase = "";
        for script in scripts.unwrap_or_default() {
            let name = text(script, "script").unwrap_or("?");
            let this = phase_of(name);
            if this != phase {
                let _ = writeln!(out, "phase {this}:");
                phase = this;
            }
            let _ = match number(script, "seconds") {
                Some(seconds) => writeln!(out, "  {seconds:>9.3} s  {name}"),
                None => writeln!(out, "     FAILED  {name}"),
            };
        }
        let failed = scripts
            .unwrap_or_default()
            .iter()
            .find(|script| number(script, "seconds").is_none());
        if let Some(tail) = failed.and_then(|failed| self.words_of(failed)) {
            out.push_str("output:\n");
            for line in tail.trim_end().lines() {
                let _ = writeln!(out, "  {line}");
            }
        }
    }

    /// What the script printed, if the last report is about the same failure.
    fn words_of(&self, failed: &Value) -> Option<&str> {
        let report = self.report.as_ref()?;
        let same = text(report, "script")? == text(failed, "script")?;
        text(report, "tail").filter(|tail| same && !tail.trim().is_empty())
    }
}

/// The phase of a script: its directory's name without `.d`.
fn phase_of(script: &str) -> &str {
    let directory = Path::new(script).parent().and_then(Path::file_stem);
    directory.and_then(|name| name.to_str()).unwrap_or_default()
}

fn read(path: &Path) -> Option<Value> {
    // A file that is missing or torn says nothing.
    metadata::parse(&std::fs::read_to_string(path).ok()?).ok()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_text()
}

fn number(value: &Value, key: &str) -> Option<f64> {
    match value.get(key)? {
        Value::Float(number) => Some(*number),
        Value::Int(number) => i32::try_from(*number).ok().map(f64::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<Value> {
        Some(metadata::parse(text).unwrap())
    }

    #[test]
    fn a_failure_is_told_whole() {
        let status = Status {
            last: value(
                r#"{"started": "2026-11-25T08:00:00Z", "seconds": 1.5, "phase": "configure", "failure": "dib-run-parts returned non-zero exit status 4.",
                    "scripts": [{"script": "/b/configure.d/1", "seconds": 0.25}, {"script": "/b/configure.d/2", "seconds": null}]}"#,
            ),
            drift: value(
                r#"[{"path": "/etc/a", "sha256": "00", "expected": "11"}, {"path": "/etc/b", "sha256": null}]"#,
            ),
            report: value(
                r#"{"generation": "7", "sent": "2026-11-25T08:00:02Z", "changes": "arrive at once, by a held request",
                    "script": "/b/configure.d/2", "tail": "no such key\n"}"#,
            ),
        };
        let expect = "last refresh:  2026-11-25T08:00:00Z, 1.500 s, failed in phase configure: dib-run-parts returned non-zero exit status 4.\n\
                      configuration: generation 7, told to the cloud at 2026-11-25T08:00:02Z\n\
                      changes:       arrive at once, by a held request\n\
                      drift:         /etc/a was changed by hand (sha256:00), and put right\n\
                      drift:         /etc/b was changed by hand (missing), and put right\n\
                      phase configure:\n\
                      \x20     0.250 s  /b/configure.d/1\n\
                      \x20    FAILED  /b/configure.d/2\n\
                      output:\n\
                      \x20 no such key\n";
        assert_eq!(status.lines(), expect);
        assert_eq!(status.exit_code(), 1);
    }

    #[test]
    fn nothing_is_known_at_first() {
        let status = Status {
            last: None,
            drift: None,
            report: None,
        };
        assert_eq!(status.exit_code(), 3);
        assert!(status.lines().starts_with("last refresh:  none yet\n"));
        assert!(status.json().contains("\"refresh\": null"));
    }
}
