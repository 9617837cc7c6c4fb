//! The figures of a run: a row per step, the table at the end, and `devtest_perf.log` in upstream's text form with a JSON
//! line beside it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

/// What one step cost.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The step's name.
    pub step: &'static str,
    /// Seconds by the clock.
    pub wall: f64,
    /// CPU seconds of this command, the seed, the lab and its machines.
    pub cpu: f64,
    /// What the step found to do: `done`, or `kept` where it was finished before.
    pub outcome: &'static str,
}

/// The table of all steps, as it is printed at the end.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("step            wall s    CPU s\n");
    for row in rows {
        let _ = writeln!(
            text,
            "{:<12} {:>9.2} {:>8.2}  {}",
            row.step, row.wall, row.cpu, row.outcome
        );
    }
    let wall: f64 = rows.iter().map(|row| row.wall).sum();
    let cpu: f64 = rows.iter().map(|row| row.cpu).sum();
    let _ = writeln!(text, "{:<12} {wall:>9.2} {cpu:>8.2}", "all");
    text
}

/// Appends the run to `devtest_perf.log`: lines `<time> <label>: <value>` as upstream writes them, then one line of JSON.
pub fn append(path: &Path, comment: &str, time: &str, rows: &[Row]) -> io::Result<()> {
    let mut text = String::new();
    let _ = writeln!(text, "{time} Run comment  : {comment}");
    let total: f64 = rows.iter().map(|row| row.wall).sum();
    let _ = writeln!(text, "{time} Total runtime: {total:.0} s");
    for row in rows {
        let _ = writeln!(text, "{time}   {:<11}: {:.0} s", row.step, row.wall);
    }
    let json = serde_json::json!({ "time": time, "comment": comment, "steps": rows });
    let _ = writeln!(text, "{time} JSON {json}");
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row {
                step: "seed",
                wall: 1.25,
                cpu: 0.5,
                outcome: "done",
            },
            Row {
                step: "overcloud",
                wall: 4.0,
                cpu: 3.0,
                outcome: "kept",
            },
        ]
    }

    #[test]
    fn the_table_ends_with_the_sums() {
        let text = table(&rows());
        assert!(
            text.ends_with("all               5.25     3.50\n"),
            "{text}"
        );
    }

    #[test]
    fn the_log_grows_run_by_run_and_its_json_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devtest_perf.log");
        append(&path, "one", "2026-01-01T00:00:00Z", &rows()).unwrap();
        append(&path, "two", "2026-01-01T01:00:00Z", &rows()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let runs: Vec<serde_json::Value> = text
            .lines()
            .filter_map(|line| line.split_once(" JSON "))
            .map(|(_, json)| serde_json::from_str(json).unwrap())
            .collect();
        assert_eq!(runs[1]["comment"], "two");
        assert_eq!(runs[1]["steps"][0]["step"], "seed");
    }
}
