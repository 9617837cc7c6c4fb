//! Cuts a template into text and tags, with the search order of pystache's regular expression.

/// Why a template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MustacheError {
    /// A section is closed that is not the open one. The words are pystache's.
    #[error("Section end tag mismatch: {closed} != {open}", open = open.as_deref().unwrap_or("None"))]
    EndTag {
        /// The name in the closing tag.
        closed: String,
        /// The section that is open, if any.
        open: Option<String>,
        /// Line of the closing tag.
        line: usize,
    },
    /// A change of delimiters that names fewer than two.
    #[error("list index out of range: `{given}` is not a pair of delimiters")]
    Delimiters {
        /// What the tag holds.
        given: String,
        /// Line of the tag.
        line: usize,
    },
    /// Partials that include each other without end.
    #[error("partial `{name}` is nested too deeply")]
    TooDeep {
        /// The partial's name.
        name: String,
    },
}

impl MustacheError {
    /// The line of the template that holds the error.
    pub fn line(&self) -> Option<usize> {
        match self {
            MustacheError::EndTag { line, .. } | MustacheError::Delimiters { line, .. } => {
                Some(*line)
            }
            MustacheError::TooDeep { .. } => None,
        }
    }
}

/// A piece of a parsed template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Value(String),
    Section(String, Vec<Node>),
    Inverted(String, Vec<Node>),
    Partial { name: String, indent: String },
}

/// One tag as found in the text.
struct Tag<'t> {
    /// Where the blanks before it start.
    start: usize,
    /// Where the tag's own text starts.
    open: usize,
    end: usize,
    kind: char,
    key: &'t str,
}

/// Parses a whole template; it starts with the usual delimiters.
pub(super) fn parse(template: &str) -> Result<Vec<Node>, MustacheError> {
    let mut delimiters = ("{{".to_owned(), "}}".to_owned());
    let mut nodes = Vec::new();
    // What was collected around each open section: its kind, its name, the nodes before it.
    let mut outer: Vec<(char, String, Vec<Node>)> = Vec::new();
    let mut at = 0;
    while let Some(tag) = find(template, at, &delimiters) {
        let (text_end, next, indent) = surroundings(template, &tag);
        if at < text_end {
            nodes.push(Node::Text(template[at..text_end].to_owned()));
        }
        at = next;
        let key = tag.key.to_owned();
        match tag.kind {
            '#' | '^' => outer.push((tag.kind, key, std::mem::take(&mut nodes))),
            '/' => {
                let line = line_of(template, tag.open);
                match outer.pop() {
                    Some((kind, open, before)) if open == key => {
                        let inner = std::mem::replace(&mut nodes, before);
                        nodes.push(match kind {
                            '#' => Node::Section(open, inner),
                            _ => Node::Inverted(open, inner),
                        });
                    }
                    other => {
                        let open = other.map(|(_, open, _)| open);
                        return Err(MustacheError::EndTag {
                            closed: key,
                            open,
                            line,
                        });
                    }
                }
            }
            '=' => {
                let mut words = tag.key.split_whitespace();
                match (words.next(), words.next()) {
                    (Some(open), Some(close)) => delimiters = (open.to_owned(), close.to_owned()),
                    _ => {
                        let line = line_of(template, tag.open);
                        return Err(MustacheError::Delimiters { given: key, line });
                    }
                }
            }
            '!' => {}
            '>' => nodes.push(Node::Partial { name: key, indent }),
            _ => nodes.push(Node::Value(key)),
        }
    }
    // A section that is never closed swallows what came before it, as pystache has it.
    if at < template.len() {
        nodes.push(Node::Text(template[at..].to_owned()));
    }
    Ok(nodes)
}

/// Where the text before a tag ends, where parsing goes on, and the tag's indentation if it stands alone.
fn surroundings(template: &str, tag: &Tag<'_>) -> (usize, usize, String) {
    let bytes = template.as_bytes();
    let ends_line = |at: usize| matches!(bytes.get(at), None | Some(b'\r' | b'\n'));
    let begins = tag.start == 0 || ends_line(tag.start - 1);
    let interpolates = matches!(tag.kind, ' ' | '&');
    if begins && ends_line(tag.end) && !interpolates {
        let mut next = tag.end;
        next += usize::from(bytes.get(next) == Some(&b'\r'));
        next += usize::from(bytes.get(next) == Some(&b'\n'));
        return (tag.start, next, template[tag.start..tag.open].to_owned());
    }
    (tag.open, tag.end, String::new())
}

fn line_of(template: &str, at: usize) -> usize {
    template[..at].matches('\n').count() + 1
}

/// The first tag at or after `from`.
fn find<'t>(template: &'t str, from: usize, delimiters: &(String, String)) -> Option<Tag<'t>> {
    let mut search = from;
    loop {
        let open = search + template[search..].find(delimiters.0.as_str())?;
        let inside = open + delimiters.0.len();
        if let Some((kind, key, end)) = inside_tag(template, inside, &delimiters.1) {
            let blanks = template[from..open]
                .bytes()
                .rev()
                .take_while(|b| matches!(b, b' ' | b'\t'));
            return Some(Tag {
                start: open - blanks.count(),
                open,
                end,
                kind,
                key,
            });
        }
        search = open + template[open..].chars().next().map_or(1, char::len_utf8);
    }
}

/// Reads a tag from behind its opening delimiter: kind, key, end.
fn inside_tag<'t>(template: &'t str, at: usize, close: &str) -> Option<(char, &'t str, usize)> {
    // Without any closing delimiter no attempt below can succeed.
    template[at..].find(close)?;
    let start = skip_blanks(template, at);
    let rest = &template[start..];
    if rest.starts_with('=')
        && let Some((key, end)) = fenced(template, start + 1, "=", close)
    {
        return Some(('=', key, end));
    }
    if rest.starts_with('{')
        && let Some((key, end)) = fenced(template, start + 1, "}", close)
    {
        return Some(('&', key, end));
    }
    if let Some(kind) = rest.chars().next().filter(|c| "!>&/#^".contains(*c))
        && let Some((key, end)) = lazy_key(template, start + 1, close)
    {
        return Some((kind, key, end));
    }
    lazy_key(template, at, close).map(|(key, end)| (' ', key, end))
}

/// A key on one line, then `fence`, then the closing delimiter.
fn fenced<'t>(template: &'t str, at: usize, fence: &str, close: &str) -> Option<(&'t str, usize)> {
    let mut start = skip_blanks(template, at);
    loop {
        for (n, c) in template[start..].char_indices() {
            if c == '\n' {
                break;
            }
            let key_end = start + n + c.len_utf8();
            let at = skip_blanks(template, key_end);
            if let Some(after) = template[at..].strip_prefix(fence) {
                let at = skip_blanks(template, template.len() - after.len());
                if template[at..].starts_with(close) {
                    return Some((&template[start..key_end], at + close.len()));
                }
            }
        }
        start = step_back(template, at, start)?;
    }
}

/// The shortest key of at least one character before a closing delimiter, blanks around it dropped where possible.
fn lazy_key<'t>(template: &'t str, at: usize, close: &str) -> Option<(&'t str, usize)> {
    let mut start = skip_blanks(template, at);
    loop {
        if let Some(first) = template[start..].chars().next() {
            let least = start + first.len_utf8();
            if let Some(found) = template[least..].find(close) {
                let found = least + found;
                let key_end = least + template[least..found].trim_end_matches(is_blank).len();
                return Some((&template[start..key_end], found + close.len()));
            }
        }
        start = step_back(template, at, start)?;
    }
}

/// One blank fewer skipped, down to none.
fn step_back(template: &str, at: usize, start: usize) -> Option<usize> {
    let last = template[at..start].chars().next_back()?;
    Some(start - last.len_utf8())
}

fn skip_blanks(template: &str, at: usize) -> usize {
    template.len() - template[at..].trim_start_matches(is_blank).len()
}

/// What `\s` matches in Python.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
