//! Unified differences of texts, with secrets masked.

use secret::{COVER, Mask};
use std::fmt::Write as _;
use std::path::Path;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;
/// Above this many lines on either side a change is shown whole, because the table of lines would be too large.
const MAX_LINES: usize = 4000;

/// The difference of two contents of the file `path`.
pub fn unified(path: &Path, before: &[u8], after: &[u8], secrets: &Mask) -> String {
    let mut out = format!("--- {0}\n+++ {0}\n", path.display());
    let (Ok(before), Ok(after)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else {
        let _ = writeln!(
            out,
            "not text: {} bytes become {}",
            before.len(),
            after.len()
        );
        return out;
    };
    let (before, after) = (secrets.cover(before), secrets.cover(after));
    let before = hide_former(&before, &after);
    let lines = compare(&lines(&before), &lines(&after));
    for hunk in hunks(&lines) {
        let _ = writeln!(out, "@@ -{} +{} @@", hunk.before, hunk.after);
        for (sign, line) in hunk.lines {
            let _ = writeln!(out, "{sign}{line}");
        }
    }
    out
}

/// Hides what a former line has in the place of a masked text: the former secret is in no metadata any more.
fn hide_former(before: &str, after: &str) -> String {
    let starts: Vec<&str> = after
        .lines()
        .filter_map(|line| line.split_once(COVER))
        .map(|(start, _)| start)
        .collect();
    let hidden = before.split_inclusive('\n').map(|line| {
        let start = starts
            .iter()
            .find(|start| !start.trim().is_empty() && line.starts_with(**start));
        match start {
            Some(start) if !line.contains(COVER) => {
                let end = if line.ends_with('\n') { "\n" } else { "" };
                format!("{start}(hidden){end}")
            }
            _ => line.to_owned(),
        }
    });
    hidden.collect()
}

fn lines(text: &str) -> Vec<&str> {
    text.split_terminator('\n').collect()
}

type Line<'t> = (char, &'t str);

/// The shortest script of kept, removed and added lines.
fn compare<'t>(before: &[&'t str], after: &[&'t str]) -> Vec<Line<'t>> {
    if before.len() > MAX_LINES || after.len() > MAX_LINES {
        let removed = before.iter().map(|line| ('-', *line));
        return removed
            .chain(after.iter().map(|line| ('+', *line)))
            .collect();
    }
    let width = after.len() + 1;
    let mut common = vec![0u32; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i * width + j] = if before[i] == after[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut script = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            script.push((' ', before[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len()
            || (i < before.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            script.push(('-', before[i]));
            i += 1;
        } else {
            script.push(('+', after[j]));
            j += 1;
        }
    }
    script
}

struct Hunk<'s, 't> {
    before: usize,
    after: usize,
    lines: &'s [Line<'t>],
}

/// Cuts a script into the parts around its changes.
fn hunks<'s, 't>(script: &'s [Line<'t>]) -> Vec<Hunk<'s, 't>> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (n, _) in script
        .iter()
        .enumerate()
        .filter(|(_, (sign, _))| *sign != ' ')
    {
        let (start, end) = (
            n.saturating_sub(CONTEXT),
            (n + CONTEXT + 1).min(script.len()),
        );
        match ranges.last_mut() {
            Some((_, last)) if *last >= start => *last = end,
            _ => ranges.push((start, end)),
        }
    }
    let count = |end: usize, other: char| {
        script[..end]
            .iter()
            .filter(|(sign, _)| *sign != other)
            .count()
    };
    let hunk = |(start, end): (usize, usize)| Hunk {
        before: count(start, '+') + 1,
        after: count(start, '-') + 1,
        lines: &script[start..end],
    };
    ranges.into_iter().map(hunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_changes_with_context() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n";
        let expect = "--- /f\n+++ /f\n@@ -2 +2 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n+10\n";
        assert_eq!(
            unified(
                Path::new("/f"),
                before.as_bytes(),
                after.as_bytes(),
                &Mask::default()
            ),
            expect
        );
    }

    #[test]
    fn masks_secrets() {
        let document = metadata::parse(
            r#"{"db":{"admin_password":"hunter22","host":"db.example"},"tokens":["abcd-1"]}"#,
        )
        .unwrap();
        let out = unified(
            Path::new("/f"),
            b"p=old\nq=old\n",
            b"p=hunter22 h=db.example t=abcd-1\n",
            &Mask::of(&document),
        );
        assert!(
            out.ends_with("-p=(hidden)\n-q=old\n+p=*** h=db.example t=***\n"),
            "{out}"
        );
    }
}
