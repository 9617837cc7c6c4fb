//! What the operator sees: data on stdout, all else on stderr, progress that fits where it goes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints results, messages and progress.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    terminal: bool,
}

impl Output {
    /// Looks where stderr goes: only a terminal gets moving progress.
    pub fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
        }
    }

    /// Prints a line of data. A reader that went away (a closed pipe) is no error of ours.
    pub fn data(&self, line: &str) {
        let _ = writeln!(io::stdout(), "{line}");
    }

    /// Prints a message for a person.
    pub fn say(&self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Prints a table: a heading and rows, columns as wide as they need.
    pub fn table(&self, heading: &[&str], rows: &[Vec<String>]) {
        self.data(table(heading, rows).trim_end());
    }

    /// Starts to show that something is going on; dropping it ends the show.
    pub fn progress(&self, what: &str) -> Progress {
        if self.terminal {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar.set_message(what.to_owned());
            Progress {
                bar: Some(bar),
                last: what.to_owned(),
            }
        } else {
            self.say(what);
            Progress {
                bar: None,
                last: what.to_owned(),
            }
        }
    }
}

/// Progress of one piece of work.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    /// Says what is going on now; without a terminal a line is printed only when it differs from the last one.
    pub fn now(&mut self, what: &str) {
        if self.last == what {
            return;
        }
        what.clone_into(&mut self.last);
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => {
                let _ = writeln!(io::stderr(), "  {what}");
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut heading.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["node-0".to_owned(), "active".to_owned()]];
        assert_eq!(
            table(&["name", "state"], &rows),
            "name    state\nnode-0  active\n"
        );
    }
}
