//! Tells the cloud how a run went: `POST <metadata address>/report`.

use crate::collectors::request::Address;
use crate::http::{Ask, Http, HttpError};
use crate::watch::Watch;
use metadata::{Value, object};
use reqwest::Method;
use secret::Mask;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What os-apply-config found changed by hand.
const DRIFT: &str = "/var/lib/os-apply-config/drift.json";

/// Reports that wait to be sent. Only the last one matters.
#[derive(Default)]
pub(crate) struct Reports {
    pending: Option<Value>,
    /// The server that said that it takes none.
    refused_by: Option<String>,
}

impl Reports {
    /// Whether a report would be sent to `address`.
    pub(crate) fn wanted(&self, address: Option<&Address>) -> bool {
        address.is_some_and(|address| self.refused_by.as_ref() != Some(&address.url))
    }

    /// Puts a report in the place of the one that waits.
    pub(crate) fn put(&mut self, report: Value) {
        self.pending = Some(report);
    }

    /// Sends the report that waits, if there is one. It goes on waiting if the server cannot be reached.
    ///
    /// What a server took is given back, for whoever asks this node how it is.
    pub(crate) async fn send(
        &mut self,
        http: &Http,
        address: &Address,
    ) -> Result<Option<Value>, HttpError> {
        let Some(report) = &self.pending else {
            return Ok(None);
        };
        let ask = Ask::get(report_url(&address.url), address.timeout)
            .method(Method::POST)
            .json(report)
            .trust(address.trust.clone());
        let answer = http.send(ask).await?;
        match answer.status {
            404 | 405 | 501 => {
                self.refused_by = Some(address.url.clone());
                self.pending = None;
                Ok(None)
            }
            // Sent again it would be refused again.
            400..=499 => {
                self.pending = None;
                answer.successful().map(|_| None)
            }
            _ => {
                answer.successful()?;
                Ok(self.pending.take())
            }
        }
    }
}

/// The address of reports beside that of the metadata; a secret in the query stays.
fn report_url(url: &str) -> String {
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url, String::new()),
    };
    format!("{}/report{query}", path.trim_end_matches('/'))
}

/// A run of the command that has ended.
pub(crate) struct Run<'r> {
    /// The version of the metadata that it was for.
    pub generation: &'r str,
    pub exit_code: i64,
    pub watch: &'r Watch,
    pub started: SystemTime,
    /// What the documents of the run hold that nobody must see.
    pub secrets: &'r Mask,
}

/// Says how a run ended. Paths and words of scripts are theirs; secrets in them are covered.
pub(crate) fn compose(run: &Run<'_>) -> Value {
    let Run {
        watch, exit_code, ..
    } = *run;
    let failed = exit_code != 0;
    let only_failed = |text: &Option<String>| text.clone().filter(|_| failed);
    let tail = if failed {
        run.secrets.cover_tail(&watch.tail())
    } else {
        String::new()
    };
    let took = run.started.elapsed().unwrap_or_default();
    object([
        ("generation", Value::from(run.generation)),
        ("started", Value::from(time(run.started))),
        ("seconds", Value::from(took.as_millis() as f64 / 1000.0)),
        (
            "phase",
            Value::from(only_failed(&watch.phase).unwrap_or_default()),
        ),
        ("script", Value::from(only_failed(&watch.script))),
        (
            "exit_code",
            Value::from(watch.exit_code.filter(|_| failed).unwrap_or(exit_code)),
        ),
        ("tail", Value::from(tail)),
        ("scripts", watch.scripts()),
        ("drift", drift(Path::new(DRIFT), run.started)),
    ])
}

/// In whole seconds, UTC.
pub(crate) fn time(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// The kernel stamps files with a clock that moves once a tick (10 ms at 100 Hz), so that what a quick run wrote may
/// look older than the run itself. Two runs are farther apart than this.
const TICK: Duration = Duration::from_millis(20);

/// What the run's os-apply-config found changed by hand: `PATH sha256:…`, or `PATH missing`.
fn drift(path: &Path, started: SystemTime) -> Value {
    let written = std::fs::metadata(path).and_then(|found| found.modified());
    if !written.is_ok_and(|written| written + TICK >= started) {
        return Value::List(Vec::new());
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let found = metadata::parse(&text).unwrap_or(Value::Null);
    let line = |file: &Value| {
        let name = file.get("path")?.as_text()?;
        Some(match file.get("sha256").and_then(Value::as_text) {
            Some(hash) => format!("{name} sha256:{hash}"),
            None => format!("{name} missing"),
        })
    };
    let lines: Vec<String> = found
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(line)
        .collect();
    Value::from(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_go_beside_the_metadata() {
        assert_eq!(
            report_url("http://h/m/1?secret=a"),
            "http://h/m/1/report?secret=a"
        );
        assert_eq!(report_url("http://h/m/1/"), "http://h/m/1/report");
    }

    #[test]
    fn drift_of_this_run_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drift.json");
        std::fs::write(
            &path,
            r#"[{"path":"/a","sha256":"00"},{"path":"/b","sha256":null}]"#,
        )
        .unwrap();
        let long_ago = SystemTime::UNIX_EPOCH;
        assert_eq!(
            drift(&path, long_ago).to_json(),
            r#"["/a sha256:00", "/b missing"]"#
        );
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(drift(&path, later).to_json(), "[]");
    }

    fn report(exit_code: i64, output: &str) -> Value {
        let mut watch = Watch::default();
        watch.read(output.as_bytes());
        let mut secrets = Mask::default();
        secrets.learn("hunter2");
        compose(&Run {
            generation: "7",
            exit_code,
            watch: &watch,
            started: SystemTime::now(),
            secrets: &secrets,
        })
    }

    #[test]
    fn a_good_run_names_no_hook() {
        let report = report(0, "password is x\n");
        let shown = |key: &str| report.get(key).unwrap().to_json();
        assert_eq!(shown("generation"), r#""7""#);
        assert_eq!(shown("phase"), r#""""#);
        assert_eq!(shown("script"), "null");
        assert_eq!(shown("exit_code"), "0");
        assert_eq!(shown("tail"), r#""""#);
        assert_eq!(shown("scripts"), "[]");
        assert_eq!(shown("drift"), "[]");
    }

    #[test]
    fn the_words_of_a_failed_run_hold_no_secret() {
        let report = report(3, "cannot log in with hunter2\n");
        let tail = report.get("tail").unwrap().as_text();
        assert_eq!(tail, Some("cannot log in with ***\n"));
    }
}
