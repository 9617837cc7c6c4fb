//! Command lines as Python's `argparse` reads them: unique prefixes, `-fVALUE`, options with any number of values.
//!
//! Scripts in images use all of these forms with upstream's agents. Prints nothing and never exits; it does not
//! know what an option means.

mod process;

pub use process::{Process, main, print};

use std::fmt::Write as _;

/// What follows an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: the option is a switch.
    Nothing,
    /// One value.
    One,
    /// All values up to the next option; none is fine.
    Any,
}

/// One option of a program.
#[derive(Debug, Clone)]
pub struct Opt {
    /// Spellings, dashes included; the last one names the option in [`Matches`].
    pub flags: Vec<String>,
    /// What follows it.
    pub takes: Takes,
    /// The value's name in the help.
    pub value_name: String,
    /// Says what the option is for.
    pub help: String,
    /// Whether only the whole name means it. What upstream does not have must not take prefixes from what it has.
    pub exact: bool,
}

impl Opt {
    /// An option with the spellings `flags`, separated by blanks.
    pub fn new(flags: &str, takes: Takes, value_name: &str, help: &str) -> Opt {
        Opt {
            flags: flags.split_whitespace().map(str::to_owned).collect(),
            takes,
            value_name: value_name.to_owned(),
            help: help.to_owned(),
            exact: false,
        }
    }

    /// The same, meant by its whole name only.
    pub fn exact(mut self) -> Opt {
        self.exact = true;
        self
    }

    fn name(&self) -> &str {
        self.flags.last().map_or("", String::as_str)
    }

    fn usage(&self) -> String {
        let values = match self.takes {
            Takes::Nothing => String::new(),
            Takes::One => format!(" {}", self.value_name),
            Takes::Any => format!(" [{} ...]", self.value_name),
        };
        self.flags
            .iter()
            .map(|flag| format!("{flag}{values}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A program's command line.
#[derive(Debug, Clone)]
pub struct Parser {
    /// The name that the program was called by.
    pub program: String,
    /// Says what the program does.
    pub about: String,
    /// Its options.
    pub options: Vec<Opt>,
    /// Name and help of the words that are no options; without it such words are refused.
    pub words: Option<(String, String)>,
}

/// What a command line said.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// Options in the order given, under their last spelling.
    pub options: Vec<(String, Vec<String>)>,
    /// The words that belong to no option.
    pub words: Vec<String>,
}

impl Matches {
    /// Whether `flag` was given.
    pub fn has(&self, flag: &str) -> bool {
        self.options.iter().any(|(name, _)| name == flag)
    }

    /// The value of the last `flag` that was given.
    pub fn value(&self, flag: &str) -> Option<&str> {
        self.values(flag)
            .and_then(|values| values.first())
            .map(String::as_str)
    }

    /// The values after the last `flag` that was given.
    pub fn values(&self, flag: &str) -> Option<&[String]> {
        let found = self.options.iter().rev().find(|(name, _)| name == flag);
        found.map(|(_, values)| values.as_slice())
    }

    /// The values after every `flag` that was given.
    pub fn all(&self, flag: &str) -> Vec<String> {
        let found = self.options.iter().filter(|(name, _)| name == flag);
        found.flat_map(|(_, values)| values.clone()).collect()
    }
}

/// Why a command line cannot be used; printed it is what `argparse` prints. The exit code for it is 2.
#[derive(Debug, thiserror::Error)]
#[error("{usage}\n{program}: error: {what}")]
pub struct UsageError {
    usage: String,
    program: String,
    what: String,
}

/// What argparse takes for a number behind a dash: digits, or digits behind a point.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.chars().all(char::is_numeric);
    match text.split_once('.') {
        None => !text.is_empty() && digits(text),
        Some((whole, part)) => digits(whole) && !part.is_empty() && digits(part),
    }
}

/// Switches, the option behind them, and the value glued to it.
type Found<'p> = (Vec<&'p Opt>, &'p Opt, Option<String>);

impl Parser {
    /// Reads the arguments that follow the program's name.
    pub fn parse(&self, arguments: &[String]) -> Result<Matches, UsageError> {
        let mut matches = Matches::default();
        let mut only_words = false;
        // argparse takes one run of words; those behind the next option are too many.
        let mut run_ended = false;
        let mut at = 0;
        while let Some(argument) = arguments.get(at) {
            at += 1;
            let is_word = only_words || argument == "--" || !self.looks_like_option(argument);
            if is_word && run_ended {
                return Err(self.usage_error(format!("unrecognized arguments: {argument}")));
            }
            if is_word && argument != "--" || only_words {
                matches.words.push(argument.clone());
                continue;
            }
            run_ended = !is_word && !matches.words.is_empty();
            if argument == "--" {
                if self.words.is_none() {
                    return Err(self.usage_error("unrecognized arguments: --".to_owned()));
                }
                only_words = true;
                continue;
            }
            let (switches, option, glued) = self.find(argument)?;
            for switch in switches {
                matches.options.push((switch.name().to_owned(), Vec::new()));
            }
            let mut values: Vec<String> = glued.into_iter().collect();
            if values.is_empty() {
                let limit = match option.takes {
                    Takes::Nothing => 0,
                    Takes::One => 1,
                    Takes::Any => usize::MAX,
                };
                while values.len() < limit
                    && let Some(next) = arguments.get(at)
                    && !self.looks_like_option(next)
                {
                    values.push(next.clone());
                    at += 1;
                }
            }
            if option.takes == Takes::One && values.is_empty() {
                let flags = option.flags.join("/");
                return Err(self.usage_error(format!("argument {flags}: expected one argument")));
            }
            matches.options.push((option.name().to_owned(), values));
        }
        if self.words.is_none() && !matches.words.is_empty() {
            let words = matches.words.join(" ");
            return Err(self.usage_error(format!("unrecognized arguments: {words}")));
        }
        Ok(matches)
    }

    /// An error of usage with this program's usage before it.
    pub fn usage_error(&self, what: String) -> UsageError {
        UsageError {
            usage: self.usage(),
            program: self.program.clone(),
            what,
        }
    }

    /// Words with a dash are options unless they read as a negative number or hold a blank.
    fn looks_like_option(&self, argument: &str) -> bool {
        if !argument.starts_with('-') || argument == "-" {
            return false;
        }
        let known = self
            .options
            .iter()
            .any(|o| o.flags.iter().any(|f| f == argument));
        known || (!is_number(&argument[1..]) && !argument.contains(' ')) || argument.contains('=')
    }

    /// The option that `argument` means with the value glued to it, and the switches before it (`-vx`).
    fn find(&self, argument: &str) -> Result<Found<'_>, UsageError> {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument, None),
        };
        if let Some(option) = self.with_flag(flag) {
            if value.is_some() && option.takes == Takes::Nothing {
                return Err(self.ignored(option));
            }
            return Ok((Vec::new(), option, value));
        }
        if !argument.starts_with("--") {
            return self.find_letters(argument);
        }
        let near: Vec<(&Opt, &String)> = self
            .options
            .iter()
            .filter(|option| !option.exact)
            .flat_map(|option| option.flags.iter().map(move |name| (option, name)))
            .filter(|(_, name)| name.starts_with(flag))
            .collect();
        match near.as_slice() {
            [(option, _)] if value.is_some() && option.takes == Takes::Nothing => {
                Err(self.ignored(option))
            }
            [(option, _)] => Ok((Vec::new(), option, value)),
            [] => Err(self.usage_error(format!("unrecognized arguments: {argument}"))),
            _ => {
                let names: Vec<&str> = near.iter().map(|(_, name)| name.as_str()).collect();
                let names = names.join(", ");
                Err(self.usage_error(format!("ambiguous option: {argument} could match {names}")))
            }
        }
    }

    /// Letters behind one dash: switches, then at most one option whose value is the rest.
    fn find_letters(&self, argument: &str) -> Result<Found<'_>, UsageError> {
        let unknown = || self.usage_error(format!("unrecognized arguments: {argument}"));
        let mut switches: Vec<&Opt> = Vec::new();
        let mut letters = argument.char_indices().skip(1).peekable();
        while let Some((at, letter)) = letters.next() {
            let Some(option) = self.with_flag(&format!("-{letter}")) else {
                return Err(switches
                    .last()
                    .map_or_else(unknown, |last| self.ignored(last)));
            };
            let rest = &argument[at + letter.len_utf8()..];
            match (option.takes, letters.peek()) {
                (_, None) => return Ok((switches, option, None)),
                (Takes::Nothing, Some(_)) => switches.push(option),
                (Takes::One | Takes::Any, Some(_)) => {
                    return Ok((switches, option, Some(rest.to_owned())));
                }
            }
        }
        Err(unknown())
    }

    fn ignored(&self, option: &Opt) -> UsageError {
        let flags = option.flags.join("/");
        self.usage_error(format!("argument {flags}: ignored explicit argument"))
    }

    fn with_flag(&self, flag: &str) -> Option<&Opt> {
        self.options
            .iter()
            .find(|o| o.flags.iter().any(|f| f == flag))
    }

    fn usage(&self) -> String {
        let mut usage = format!("usage: {}", self.program);
        for option in &self.options {
            let short = option.usage();
            let short = short.split(", ").next().unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(usage, " [{short}]");
        }
        if let Some((name, _)) = &self.words {
            let _ = write!(usage, " [{name} ...]");
        }
        usage
    }

    /// The text for `--help`.
    pub fn help(&self) -> String {
        let mut out = format!("{}\n\n{}\n", self.usage(), self.about);
        if let Some((name, help)) = &self.words {
            let _ = write!(out, "\npositional arguments:\n  {name}\n      {help}\n");
        }
        out.push_str("\noptions:\n");
        for option in &self.options {
            let _ = writeln!(out, "  {}\n      {}", option.usage(), option.help);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parser() -> Parser {
        Parser {
            program: "tool".to_owned(),
            about: "Does things.".to_owned(),
            options: vec![
                Opt::new("-m --metadata", Takes::Any, "FILE", "documents"),
                Opt::new("--key", Takes::One, "KEY", "a key"),
                Opt::new("--key-default", Takes::One, "VALUE", "instead"),
                Opt::new("-v --validate", Takes::Nothing, "", "only look"),
                Opt::new("--only", Takes::Nothing, "", "ours").exact(),
            ],
            words: None,
        }
    }

    #[track_caller]
    fn check(line: &str, expect: Option<&[(&str, &[&str])]>) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let got = parser().parse(&arguments);
        let Some(expect) = expect else {
            assert!(got.is_err(), "{line}");
            return;
        };
        let got = got.unwrap_or_else(|e| panic!("{line}: {e}")).options;
        let got: Vec<(&str, Vec<&str>)> = got
            .iter()
            .map(|(n, v)| (n.as_str(), v.iter().map(String::as_str).collect()))
            .collect();
        let expect: Vec<(&str, Vec<&str>)> = expect.iter().map(|(n, v)| (*n, v.to_vec())).collect();
        assert_eq!(got, expect, "{line}");
    }

    #[test]
    fn forms() {
        check(
            "-m a b --key k",
            Some(&[("--metadata", &["a", "b"]), ("--key", &["k"])]),
        );
        check("-m -v", Some(&[("--metadata", &[]), ("--validate", &[])]));
        check("-mfile", Some(&[("--metadata", &["file"])]));
        check("--key=-k", Some(&[("--key", &["-k"])]));
        check("--key -5", Some(&[("--key", &["-5"])]));
        check("--valid", Some(&[("--validate", &[])]));
        check("--key-d x", Some(&[("--key-default", &["x"])]));
        check("--key=", Some(&[("--key", &[""])]));
        check("-vv", Some(&[("--validate", &[]), ("--validate", &[])]));
        check(
            "-vm a",
            Some(&[("--validate", &[]), ("--metadata", &["a"])]),
        );
        check("-vma", Some(&[("--validate", &[]), ("--metadata", &["a"])]));
        check("--only", Some(&[("--only", &[])]));
    }

    #[test]
    fn errors() {
        for line in [
            "--nope",
            "stray",
            "--key",
            "--key -x",
            "--ke x",
            "-x",
            "--validate=1",
            "--valid=1",
            "-vx",
            "-v=1",
            "--key -1e5",
            "--onl",
            "--",
            "-- a",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn words_come_in_one_run() {
        let mut parser = parser();
        parser.words = Some(("WORD".to_owned(), "words".to_owned()));
        let words = |line: &str| {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parser
                .parse(&arguments)
                .ok()
                .map(|matches| matches.words.join(" "))
        };
        for (line, expect) in [
            ("a b -v", Some("a b")),
            ("-v a b", Some("a b")),
            ("--key k a --key=k", Some("a")),
            ("a -- -v", Some("a -v")),
            ("-v --", Some("")),
            ("a -v b", None),
            ("a -v -- b", None),
        ] {
            assert_eq!(words(line).as_deref(), expect, "{line}");
        }
    }

    #[test]
    fn an_error_shows_usage_and_program() {
        let error = parser()
            .parse(&["--ke".to_owned(), "x".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("usage: tool [-m [FILE ...]]"), "{error}");
        assert!(
            error.ends_with("tool: error: ambiguous option: --ke could match --key, --key-default"),
            "{error}"
        );
    }
}
