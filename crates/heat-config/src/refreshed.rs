//! What is said of a refresh that failed: phase, script, exit code, and the script's last words.
//!
//! The first line is the same for every failure, so that whoever shows it can find its parts again:
//! `os-refresh-config failed in phase P: script S ended with exit code N`.

use metadata::Value;
use secret::Mask;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// So many bytes of the script's last words go along.
const TAIL: usize = 4096;

/// What os-refresh-config and os-collect-config tell the hooks for errors, secrets covered.
pub(crate) fn failed(environment: &dyn Fn(&str) -> Option<OsString>, secrets: &Mask) -> String {
    let said = |name: &str| environment(name).map(|text| text.to_string_lossy().into_owned());
    let learnt = environment("OS_COLLECT_CONFIG_FAILURE")
        .and_then(|path| wait_for(Path::new(&path)))
        .unwrap_or(Value::Null);
    let learnt_text = |key: &str| learnt.get(key)?.as_text().map(str::to_owned);
    let phase = said("OS_REFRESH_CONFIG_FAILED_PHASE").or_else(|| learnt_text("phase"));
    let phase = phase
        .map(|phase| format!(" in phase {phase}"))
        .unwrap_or_default();
    let code = learnt.get("exit_code").map(Value::to_python);
    let how = match (learnt_text("script"), code) {
        (Some(script), Some(code)) => {
            format!(": script {script} ended with exit code {code}")
        }
        _ => said("OS_REFRESH_CONFIG_FAILED_HOW")
            .map(|how| format!(": {how}"))
            .unwrap_or_default(),
    };
    let tail = secrets.cover_tail(&learnt_text("tail").unwrap_or_default());
    let tail = own_words(&tail);
    let start = tail.ceil_char_boundary(tail.len().saturating_sub(TAIL));
    let text = format!("os-refresh-config failed{phase}{how}\n{}", &tail[start..]);
    text.trim_end().to_owned()
}

/// What the script said, without what os-refresh-config says of its failure.
fn own_words(tail: &str) -> String {
    let lines = tail.lines();
    let own = lines.filter(|line| !line.contains("(os-refresh-config) ["));
    own.collect::<Vec<_>>().join("\n")
}

/// Reads a document that another process is about to write: os-collect-config learns of a failure from the same output that
/// came before this program was started, so it is a matter of moments.
fn wait_for(path: &Path) -> Option<Value> {
    const ATTEMPTS: u32 = 50;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Ok(text) = std::fs::read_to_string(path) {
            return metadata::parse(&text).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(failure: Option<&str>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-failure");
        if let Some(failure) = failure {
            std::fs::write(&path, failure).unwrap();
        }
        let environment = |name: &str| match name {
            "OS_REFRESH_CONFIG_FAILED_PHASE" => Some(OsString::from("configure")),
            "OS_REFRESH_CONFIG_FAILED_HOW" => Some(OsString::from(
                "dib-run-parts returned non-zero exit status 9.",
            )),
            "OS_COLLECT_CONFIG_FAILURE" => failure.map(|_| path.clone().into_os_string()),
            _ => None,
        };
        let mut secrets = Mask::default();
        secrets.learn("hunter2");
        failed(&environment, &secrets)
    }

    #[test]
    fn the_script_and_its_words_without_secrets() {
        let failure = r#"{"phase": "configure", "script": "/b/configure.d/20-f", "exit_code": 9,
            "tail": "login hunter2\nboom\n[2026-11-25 00:08:59,001] (os-refresh-config) [ERROR] during configure phase.\n"}"#;
        assert_eq!(
            said(Some(failure)),
            "os-refresh-config failed in phase configure: script /b/configure.d/20-f ended with exit code 9\nlogin ***\nboom"
        );
    }

    #[test]
    fn without_the_collector_only_os_refresh_config_speaks() {
        assert_eq!(
            said(None),
            "os-refresh-config failed in phase configure: dib-run-parts returned non-zero exit status 9."
        );
    }
}
