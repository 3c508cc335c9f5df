//! GRUB 2's `grub.cfg`: a script in GRUB's own shell language, as the GRUB manual 2.12, "Writing full
//! configuration files directly", describes it.
//!
//! Read is the whole grammar that grub-mkconfig of the distributions writes: simple commands with quoting and
//! variables, blocks (`menuentry`, `submenu`), `if`, `for`, `while`, `until`, functions. What a script comes to is
//! found out in [`mod@evaluate`], and only as far as it decides which entry is the default.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

pub mod evaluate;

use serde::{Deserialize, Serialize};

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

/// A script.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Script {
    /// Its commands, in their order.
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A name and its arguments; an assignment is one word.
    Simple {
        /// The words.
        words: Vec<Word>,
        /// What stands in braces behind them.
        block: Option<Vec<Command>>,
    },
    /// `if`.
    If {
        /// Each condition with what it leads to.
        arms: Vec<(Vec<Command>, Vec<Command>)>,
        /// `else`.
        otherwise: Vec<Command>,
    },
    /// `for`, `while` or `until`: how often it runs is not found out.
    Loop {
        /// The variable of a `for`.
        variable: Option<String>,
        /// The condition of a `while` or `until`, and what is done.
        body: Vec<Command>,
    },
    /// `function`.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        body: Vec<Command>,
    },
}

/// One word, before variables are put in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Word {
    pieces: Vec<Piece>,
    /// Whether any of it is quoted: then it is no keyword, and not taken apart at blanks.
    is_quoted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Piece {
    Text(String),
    Variable { name: String, is_quoted: bool },
}

impl Word {
    /// The word, if it is text alone and not quoted: what a keyword must be.
    fn bare(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text(text)] if !self.is_quoted => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

/// Decodes a script. Bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// `Malformed` where GRUB's own parser would stop, `Limit` for blocks in blocks in blocks.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Script> {
    let text = String::from_utf8_lossy(bytes);
    let tokens = Lexer { rest: &text, at: 0 }.all(limits)?;
    let mut parser = Parser { tokens: &tokens, limits };
    let commands = parser.list(&[], 0)?;
    match parser.tokens.first() {
        None => Ok(Script { commands }),
        Some((at, token)) => Err(unexpected(*at, token, "a command")),
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(Word),
    /// A line's end or a semicolon.
    End,
    Open,
    Close,
}

fn unexpected(at: u64, token: &Token, allowed: &str) -> Error {
    let found = match token {
        Token::Word(word) => quoted(word.bare().unwrap_or("a word")),
        Token::End => "the end of a command".into(),
        Token::Open => "`{`".into(),
        Token::Close => "`}`".into(),
    };
    Error::malformed("GRUB script", "command", at, found, allowed)
}

struct Lexer<'a> {
    rest: &'a str,
    at: u64,
}

impl Lexer<'_> {
    fn all(mut self, limits: &Limits) -> Result<Vec<(u64, Token)>> {
        let mut tokens = Vec::new();
        while let Some(next) = self.peek() {
            let at = self.at;
            let token = match next {
                ' ' | '\t' | '\r' => {
                    self.take();
                    continue;
                }
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.take();
                    }
                    continue;
                }
                '\n' | ';' => {
                    self.take();
                    Token::End
                }
                '{' => {
                    self.take();
                    Token::Open
                }
                '}' => {
                    self.take();
                    Token::Close
                }
                _ => match self.word()? {
                    Some(word) => Token::Word(word),
                    None => continue,
                },
            };
            limits.records.check(size_of_len(tokens.len()).saturating_add(1))?;
            tokens.push((at, token));
        }
        Ok(tokens)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        self.at = self.at.saturating_add(size_of_len(next.len_utf8()));
        Some(next)
    }

    /// A word; `None` if there is nothing but a line that goes on.
    fn word(&mut self) -> Result<Option<Word>> {
        let mut word = Word::default();
        let start = self.at;
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' => break,
                '\'' => {
                    self.take();
                    word.is_quoted = true;
                    self.single(&mut word, start)?;
                }
                '"' => {
                    self.take();
                    word.is_quoted = true;
                    self.double(&mut word, start)?;
                }
                '\\' => {
                    self.take();
                    match self.take() {
                        Some('\n') | None => {}
                        Some(escaped) => {
                            word.is_quoted = true;
                            word.push(escaped.encode_utf8(&mut [0; 4]));
                        }
                    }
                }
                '$' => {
                    self.take();
                    self.variable(&mut word, false);
                }
                other => {
                    self.take();
                    word.push(other.encode_utf8(&mut [0; 4]));
                }
            }
        }
        Ok((word.is_quoted || !word.pieces.is_empty()).then_some(word))
    }

    fn open_quote(start: u64) -> Error {
        Error::malformed("GRUB script", "word", start, "a quote that does not end", "its end")
    }

    fn single(&mut self, word: &mut Word, start: u64) -> Result<()> {
        word.push("");
        loop {
            match self.take().ok_or_else(|| Self::open_quote(start))? {
                '\'' => return Ok(()),
                other => word.push(other.encode_utf8(&mut [0; 4])),
            }
        }
    }

    fn double(&mut self, word: &mut Word, start: u64) -> Result<()> {
        word.push("");
        loop {
            match self.take().ok_or_else(|| Self::open_quote(start))? {
                '"' => return Ok(()),
                '$' => self.variable(word, true),
                '\\' => match self.peek() {
                    Some(escaped @ ('$' | '"' | '\\' | '\n')) => {
                        self.take();
                        if escaped != '\n' {
                            word.push(escaped.encode_utf8(&mut [0; 4]));
                        }
                    }
                    _ => word.push("\\"),
                },
                other => word.push(other.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// What follows a `$`: `name`, `{name}`, a digit, or one of `?*@#`. Anything else leaves it a dollar.
    fn variable(&mut self, word: &mut Word, is_quoted: bool) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, len) = match self.rest.strip_prefix('{') {
            Some(inside) => match inside.split_once('}') {
                Some((name, _)) if !name.contains('\n') => (name, name.len().saturating_add(2)),
                _ => ("", 0),
            },
            None => {
                let special = |c: char| c.is_ascii_digit() || matches!(c, '?' | '*' | '@' | '#');
                let len = match self.peek() {
                    Some(c) if special(c) => 1,
                    _ => self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len()),
                };
                (self.rest.get(..len).unwrap_or_default(), len)
            }
        };
        if len == 0 {
            return word.push("$");
        }
        word.pieces.push(Piece::Variable { name: name.to_owned(), is_quoted });
        self.rest = self.rest.get(len..).unwrap_or_default();
        self.at = self.at.saturating_add(size_of_len(len));
    }
}

struct Parser<'a> {
    tokens: &'a [(u64, Token)],
    limits: &'a Limits,
}

impl<'a> Parser<'a> {
    fn next(&mut self, allowed: &str) -> Result<(u64, &'a Token)> {
        let Some(((at, token), rest)) = self.tokens.split_first() else {
            return Err(Error::malformed("GRUB script", "command", None, "the end of the file", allowed));
        };
        self.tokens = rest;
        Ok((*at, token))
    }

    fn peek_bare(&self) -> Option<&'a str> {
        match self.tokens.first() {
            Some((_, Token::Word(word))) => word.bare(),
            _ => None,
        }
    }

    fn skip_ends(&mut self) {
        while let Some(((_, Token::End), rest)) = self.tokens.split_first() {
            self.tokens = rest;
        }
    }

    /// Commands up to one of these keywords, a closing brace or the end; none of which it takes.
    fn list(&mut self, until: &[&str], depth: u64) -> Result<Vec<Command>> {
        self.limits.boot_depth.check(depth)?;
        let mut commands = Vec::new();
        loop {
            self.skip_ends();
            match self.tokens.first() {
                None | Some((_, Token::Close)) => return Ok(commands),
                _ if self.peek_bare().is_some_and(|word| until.contains(&word)) => return Ok(commands),
                _ => commands.push(self.command(depth.saturating_add(1))?),
            }
        }
    }

    fn command(&mut self, depth: u64) -> Result<Command> {
        match self.peek_bare() {
            Some("if") => self.condition(depth),
            Some("for") => {
                self.keyword("for")?;
                let variable = self.name("a variable")?;
                self.skip_ends();
                while self.peek_bare() != Some("do") {
                    self.next("`do`")?;
                }
                let body = self.body(depth)?;
                Ok(Command::Loop { variable: Some(variable), body })
            }
            Some(word @ ("while" | "until")) => {
                self.keyword(word)?;
                let mut body = self.list(&["do"], depth)?;
                body.extend(self.body(depth)?);
                Ok(Command::Loop { variable: None, body })
            }
            Some("function") => {
                self.keyword("function")?;
                let name = self.name("the function's name")?;
                self.skip_ends();
                match self.next("`{`")? {
                    (_, Token::Open) => {}
                    (at, other) => return Err(unexpected(at, other, "`{`")),
                }
                Ok(Command::Function { name, body: self.block(depth)? })
            }
            _ => self.simple(depth),
        }
    }

    fn keyword(&mut self, word: &str) -> Result<()> {
        match self.next(word)? {
            (_, Token::Word(found)) if found.bare() == Some(word) => Ok(()),
            (at, other) => Err(unexpected(at, other, &format!("`{word}`"))),
        }
    }

    fn name(&mut self, what: &str) -> Result<String> {
        match self.next(what)? {
            (_, Token::Word(word)) if word.bare().is_some() => Ok(word.bare().unwrap_or_default().to_owned()),
            (at, other) => Err(unexpected(at, other, what)),
        }
    }

    fn body(&mut self, depth: u64) -> Result<Vec<Command>> {
        self.keyword("do")?;
        let body = self.list(&["done"], depth)?;
        self.keyword("done")?;
        Ok(body)
    }

    fn condition(&mut self, depth: u64) -> Result<Command> {
        self.keyword("if")?;
        let mut arms = Vec::new();
        loop {
            let condition = self.list(&["then"], depth)?;
            self.keyword("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"], depth)?));
            match self.peek_bare() {
                Some("elif") => self.keyword("elif")?,
                Some("else") => {
                    self.keyword("else")?;
                    let otherwise = self.list(&["fi"], depth)?;
                    self.keyword("fi")?;
                    return Ok(Command::If { arms, otherwise });
                }
                _ => {
                    self.keyword("fi")?;
                    return Ok(Command::If { arms, otherwise: Vec::new() });
                }
            }
        }
    }

    fn block(&mut self, depth: u64) -> Result<Vec<Command>> {
        let body = self.list(&[], depth)?;
        match self.next("`}`")? {
            (_, Token::Close) => Ok(body),
            (at, other) => Err(unexpected(at, other, "`}`")),
        }
    }

    fn simple(&mut self, depth: u64) -> Result<Command> {
        let mut words = Vec::new();
        loop {
            match self.tokens.first() {
                Some((_, Token::Word(word))) => {
                    words.push(word.clone());
                    self.next("a word")?;
                }
                Some((at, token @ Token::Open)) => {
                    if words.is_empty() {
                        return Err(unexpected(*at, token, "a command"));
                    }
                    self.next("`{`")?;
                    return Ok(Command::Simple { words, block: Some(self.block(depth)?) });
                }
                _ => return Ok(Command::Simple { words, block: None }),
            }
        }
    }
}
