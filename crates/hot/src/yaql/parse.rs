//! Parses YAQL expressions.
//!
//! The operators and their order are those of YAQL's default factory. Words without quotes are
//! text; a word before a parenthesis is a function.

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ast {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Quoted text, or a word.
    Text(String),
    /// `$`, `$1`, `$name`; the name is `1` for `$`.
    Variable(String),
    List(Vec<Ast>),
    /// Pairs of a map literal.
    Dict(Vec<(Ast, Ast)>),
    /// `name(…)`.
    Function(String, Arguments),
    /// `receiver.name(…)`; the flag is set for `?.`.
    Method(Box<Ast>, String, Arguments, bool),
    /// `receiver.name`.
    Property(Box<Ast>, String, bool),
    Index(Box<Ast>, Vec<Ast>),
    Unary(Operator, Box<Ast>),
    Binary(Operator, Box<Ast>, Box<Ast>),
}

/// What stands between the parentheses of a call.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Arguments {
    pub positional: Vec<Ast>,
    /// `key => value`; the key is an expression, which is a word where it names a parameter.
    pub pairs: Vec<(Ast, Ast)>,
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
    Matches,
    MatchesNot,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    NotEqual,
    Equal,
    In,
    Not,
    And,
    Or,
    Arrow,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Int(i64),
    Float(f64),
    Text(String),
    Word(String),
    Function(String),
    Variable(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 25] = [
    "->", "=>", "=~", "!~", ">=", "<=", "!=", "?.", "(", ")", "[", "]", "{", "}", ",", ".", "+",
    "-", "*", "/", ">", "<", "=", "#", "?",
];

/// Deeper nesting is refused: the parser calls itself.
const MAX_DEPTH: usize = 100;

/// Parses an expression. The error is YAQL's.
pub(crate) fn parse(text: &str) -> Result<Ast, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        text,
        depth: 0,
    };
    let ast = parser.expression(0)?;
    match parser.peek() {
        None => Ok(ast),
        Some(_) => Err(parser.unexpected()),
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let start = at;
        if c.is_whitespace() {
            at += 1;
        } else if c == '"' || c == '\'' || c == '`' {
            let (text, next) = quoted(&chars, at)?;
            tokens.push((Token::Text(text), start));
            at = next;
        } else if c == '$' {
            at += 1;
            let name = take(&chars, &mut at, |c| c.is_alphanumeric() || c == '_');
            tokens.push((
                Token::Variable(if name.is_empty() { "1".into() } else { name }),
                start,
            ));
        } else if c.is_ascii_digit() {
            tokens.push((number(&chars, &mut at), start));
        } else if c.is_alphabetic() || c == '_' {
            let word = take(&chars, &mut at, |c| c.is_alphanumeric() || c == '_');
            let token = if chars.get(at) == Some(&'(') && !is_operator(&word) {
                Token::Function(word)
            } else {
                Token::Word(word)
            };
            tokens.push((token, start));
        } else {
            let rest: String = chars[at..chars.len().min(at + 2)].iter().collect();
            let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) else {
                return Err(format!(
                    "Lexical error: illegal character '{c}' at {at}, value {}",
                    chars[at..].iter().collect::<String>()
                ));
            };
            tokens.push((Token::Symbol(symbol), start));
            at += symbol.len();
        }
    }
    Ok(tokens)
}

fn is_operator(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "in" | "mod")
}

fn take(chars: &[char], at: &mut usize, good: impl Fn(char) -> bool) -> String {
    let start = *at;
    while *at < chars.len() && good(chars[*at]) {
        *at += 1;
    }
    chars[start..*at].iter().collect()
}

fn number(chars: &[char], at: &mut usize) -> Token {
    let whole = take(chars, at, |c| c.is_ascii_digit());
    let is_float =
        chars.get(*at) == Some(&'.') && chars.get(*at + 1).is_some_and(char::is_ascii_digit);
    if !is_float {
        return match whole.parse() {
            Ok(number) => Token::Int(number),
            Err(_) => Token::Float(whole.parse().unwrap_or(f64::INFINITY)),
        };
    }
    *at += 1;
    let fraction = take(chars, at, |c| c.is_ascii_digit());
    Token::Float(format!("{whole}.{fraction}").parse().unwrap_or(0.0))
}

fn quoted(chars: &[char], start: usize) -> Result<(String, usize), String> {
    let quote = chars[start];
    let mut text = String::new();
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            c if c == quote => return Ok((text, at + 1)),
            '\\' if at + 1 < chars.len() => {
                let next = chars[at + 1];
                if quote == '`' {
                    // Verbatim: only the quote itself is escaped.
                    if next != '`' {
                        text.push('\\');
                    }
                    text.push(next);
                } else {
                    match next {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        'r' => text.push('\r'),
                        '\\' | '"' | '\'' => text.push(next),
                        other => {
                            text.push('\\');
                            text.push(other);
                        }
                    }
                }
                at += 2;
            }
            c => {
                text.push(c);
                at += 1;
            }
        }
    }
    Err(format!(
        "Lexical error: illegal character '{quote}' at {start}, value {}",
        chars[start..].iter().collect::<String>()
    ))
}

struct Parser<'a> {
    tokens: Vec<(Token, usize)>,
    at: usize,
    text: &'a str,
    depth: usize,
}

/// The binary operators with their strength; a stronger one binds first.
fn binary(token: &Token) -> Option<(Operator, u8)> {
    Some(match token {
        Token::Symbol("->") => (Operator::Arrow, 1),
        Token::Word(word) => match word.as_str() {
            "or" => (Operator::Or, 2),
            "and" => (Operator::And, 3),
            "in" => (Operator::In, 5),
            "mod" => (Operator::Modulo, 7),
            _ => return None,
        },
        Token::Symbol(symbol) => match *symbol {
            ">" => (Operator::Greater, 5),
            "<" => (Operator::Less, 5),
            ">=" => (Operator::GreaterEqual, 5),
            "<=" => (Operator::LessEqual, 5),
            "!=" => (Operator::NotEqual, 5),
            "=" => (Operator::Equal, 5),
            "+" => (Operator::Plus, 6),
            "-" => (Operator::Minus, 6),
            "*" => (Operator::Times, 7),
            "/" => (Operator::Divide, 7),
            "=~" => (Operator::Matches, 8),
            "!~" => (Operator::MatchesNot, 8),
            _ => return None,
        },
        _ => return None,
    })
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol)
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.skip(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> String {
        match self.tokens.get(self.at) {
            None => "Parse error: unexpected end of statement".to_owned(),
            Some((token, place)) => {
                let shown = match token {
                    Token::Int(number) => number.to_string(),
                    Token::Float(number) => number.to_string(),
                    Token::Text(text)
                    | Token::Word(text)
                    | Token::Function(text)
                    | Token::Variable(text) => text.clone(),
                    Token::Symbol(symbol) => (*symbol).to_owned(),
                };
                format!(
                    "Parse error: unexpected '{shown}' at position {place} of expression '{}'",
                    self.text
                )
            }
        }
    }

    fn expression(&mut self, weakest: u8) -> Result<Ast, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("Parse error: nested too deeply".to_owned());
        }
        let mut left = self.unary(weakest)?;
        while let Some((operator, strength)) = self.peek().and_then(binary) {
            if strength < weakest {
                break;
            }
            self.at += 1;
            // Only the arrow binds to the right.
            let next = if operator == Operator::Arrow {
                strength
            } else {
                strength + 1
            };
            let right = self.expression(next)?;
            left = Ast::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self, weakest: u8) -> Result<Ast, String> {
        let operator = match self.peek() {
            Some(Token::Word(word)) if word == "not" => {
                self.at += 1;
                let inner = self.expression(weakest.max(4))?;
                return Ok(Ast::Unary(Operator::Not, Box::new(inner)));
            }
            Some(Token::Symbol("+")) => Operator::Plus,
            Some(Token::Symbol("-")) => Operator::Minus,
            _ => return self.postfix(),
        };
        self.at += 1;
        let inner = self.expression(9)?;
        Ok(Ast::Unary(operator, Box::new(inner)))
    }

    fn postfix(&mut self) -> Result<Ast, String> {
        let mut value = self.primary()?;
        loop {
            let safe = self.is("?.");
            if safe || self.is(".") {
                self.at += 1;
                value = match self.next() {
                    Some(Token::Word(name)) => Ast::Property(Box::new(value), name, safe),
                    Some(Token::Function(name)) => {
                        let arguments = self.arguments()?;
                        Ast::Method(Box::new(value), name, arguments, safe)
                    }
                    _ => {
                        self.at -= 1;
                        return Err(self.unexpected());
                    }
                };
            } else if self.skip("[") {
                let items = self.list("]")?;
                value = Ast::Index(Box::new(value), items);
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Result<Ast, String> {
        let token = self.next();
        Ok(match token {
            Some(Token::Int(number)) => Ast::Int(number),
            Some(Token::Float(number)) => Ast::Float(number),
            Some(Token::Text(text)) => Ast::Text(text),
            Some(Token::Variable(name)) => Ast::Variable(name),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Ast::Bool(true),
                "false" => Ast::Bool(false),
                "null" => Ast::Null,
                word if is_operator(word) => {
                    self.at -= 1;
                    return Err(self.unexpected());
                }
                _ => Ast::Text(word),
            },
            Some(Token::Function(name)) => Ast::Function(name, self.arguments()?),
            Some(Token::Symbol("(")) => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                inner
            }
            Some(Token::Symbol("[")) => Ast::List(self.list("]")?),
            Some(Token::Symbol("{")) => self.dict()?,
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Ast>, String> {
        let mut items = Vec::new();
        if self.skip(end) {
            return Ok(items);
        }
        loop {
            items.push(self.expression(0)?);
            if self.skip(end) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn dict(&mut self) -> Result<Ast, String> {
        let mut pairs = Vec::new();
        if self.skip("}") {
            return Ok(Ast::Dict(pairs));
        }
        loop {
            let key = self.expression(0)?;
            self.expect("=>")?;
            pairs.push((key, self.expression(0)?));
            if self.skip("}") {
                return Ok(Ast::Dict(pairs));
            }
            self.expect(",")?;
        }
    }

    fn arguments(&mut self) -> Result<Arguments, String> {
        self.expect("(")?;
        let mut arguments = Arguments::default();
        if self.skip(")") {
            return Ok(arguments);
        }
        loop {
            let first = self.expression(0)?;
            if self.skip("=>") {
                let value = self.expression(0)?;
                arguments.pairs.push((first, value));
            } else {
                arguments.positional.push(first);
            }
            if self.skip(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }
}
