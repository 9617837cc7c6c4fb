//! The lines that operators know: `dib-run-parts Running …` and the table of times.

use std::fmt;

use jiff::ZonedDateTime;

use crate::run::Timing;

/// Whether lines carry the date: the program on nodes writes it, the one in image builds does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// `dib-run-parts TEXT`
    Plain,
    /// `dib-run-parts Wed Nov 25 00:08:59 UTC 2026 TEXT`
    Dated,
}

/// One line of the report, without its end.
pub fn say(stamp: Stamp, text: impl fmt::Display) -> String {
    match stamp {
        Stamp::Plain => format!("dib-run-parts {text}"),
        Stamp::Dated => format!(
            "dib-run-parts {} {text}",
            ZonedDateTime::now().strftime("%a %b %e %H:%M:%S %Z %Y")
        ),
    }
}

/// The table of times that ends a run.
#[derive(Debug)]
pub struct Profile<'a> {
    /// Name of the hook directory.
    pub target: &'a str,
    /// What ran; shown by name.
    pub timings: &'a [Timing],
}

impl Profile<'_> {
    /// The lines of the table, without the prefix of [`say`].
    pub fn lines(&self) -> Vec<String> {
        let mut rows: Vec<&Timing> = self.timings.iter().collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let mut lines = vec![
            "----------------------- PROFILING -----------------------".to_owned(),
            String::new(),
            format!("Target: {}", self.target),
            String::new(),
            format!("{:<40} {:>9}", "Script", "Seconds"),
            format!("{:<40} {:>9}", "-".repeat(39), "-".repeat(10)),
            String::new(),
        ];
        lines.extend(
            rows.iter()
                .map(|row| format!("{:<40} {:>10.3}", row.name, row.took.as_secs_f64())),
        );
        lines.push(String::new());
        lines.push("--------------------- END PROFILING ---------------------".to_owned());
        lines
    }
}
