//! Tells the cloud how a run went: `POST <metadata address>/report`.

use crate::collectors::request::Address;
use crate::http::{Ask, Http, HttpError};
use crate::watch::Watch;
use metadata::{Value, object};
use reqwest::Method;
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

/// Says how a run ended that began at `started`.
pub(crate) fn compose(
    generation: &str,
    exit_code: i64,
    watch: &Watch,
    started: SystemTime,
) -> Value {
    let failed = exit_code != 0;
    let only_failed = |text: &Option<String>| text.clone().filter(|_| failed);
    object([
        ("generation", Value::from(generation)),
        (
            "phase",
            Value::from(only_failed(&watch.phase).unwrap_or_default()),
        ),
        ("script", Value::from(only_failed(&watch.script))),
        (
            "exit_code",
            Value::from(watch.exit_code.filter(|_| failed).unwrap_or(exit_code)),
        ),
        (
            "tail",
            Value::from(if failed { watch.tail() } else { String::new() }),
        ),
        ("drift", drift(Path::new(DRIFT), started)),
    ])
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

    #[test]
    fn a_good_run_names_no_hook() {
        let mut watch = Watch::default();
        watch.read(b"password is x\n");
        let report = compose("7", 0, &watch, SystemTime::now());
        let expect = r#"{"generation": "7", "phase": "", "script": null, "exit_code": 0, "tail": "", "drift": []}"#;
        assert_eq!(report.to_json(), expect);
    }
}
