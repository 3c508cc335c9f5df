//! What `CREATE TABLE` says of the columns, as far as reading needs it: their names, which of them is the rowid
//! under another name, which are computed and not stored, and whether there is a rowid at all.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Columns {
    /// Names of the stored columns, in the order of the values of a record.
    pub names: Vec<String>,
    /// Which of them is the rowid (`INTEGER PRIMARY KEY`); its values are stored as NULL.
    pub rowid: Option<usize>,
    /// Declared `WITHOUT ROWID`: such a table is an index.
    pub is_without_rowid: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word that may be a keyword.
    Word(String),
    /// A name or text in quotes.
    Quoted(String),
    /// Any other character.
    Sign(char),
}

impl Token {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Sign(_) => None,
        }
    }
}

/// The columns that this statement declares; `None` if it is none that creates a table with columns.
pub(super) fn columns(sql: &str) -> Option<Columns> {
    let tokens = tokens(sql)?;
    let open = tokens.iter().position(|token| *token == Token::Sign('('))?;
    let head = tokens.get(..open)?;
    if !head.first()?.is("CREATE") || !head.iter().take(3).any(|token| token.is("TABLE")) {
        return None;
    }
    let (items, options) = split(tokens.get(open..)?)?;
    let is_without_rowid = options.windows(2).any(|pair| match pair {
        [a, b] => a.is("WITHOUT") && b.is("ROWID"),
        _ => false,
    });
    let mut columns = Columns { is_without_rowid, ..Columns::default() };
    let mut integers = Vec::new();
    for item in &items {
        let (first, rest) = item.split_first()?;
        if ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].iter().any(|word| first.is(word)) {
            // A key over one INTEGER column is the rowid, in either direction.
            if let Some(key) = primary_key(item)
                && let Some((keys, _)) = split(key)
                && let [only] = &keys[..]
                && let Some(name) = only.first().and_then(Token::name)
            {
                let is_named = |at: usize| {
                    columns.names.get(at).is_some_and(|own: &String| own.eq_ignore_ascii_case(name))
                };
                columns.rowid = integers.iter().copied().find(|at| is_named(*at));
            }
            continue;
        }
        let outer = outside_parentheses(rest);
        let computed = outer.iter().position(|token| token.is("AS"));
        let is_stored = outer.iter().any(|token| token.is("STORED"));
        if computed.is_some() && !is_stored {
            continue;
        }
        let is_integer =
            matches!(&outer[..], [kind, ..] if kind.is("INTEGER")) && outer.get(1).is_none_or(ends_type);
        if is_integer {
            integers.push(columns.names.len());
        }
        // A column's own key is the rowid unless it is declared DESC, which is an old quirk.
        if let Some(key) = primary_key(rest)
            && is_integer
            && !key.first().is_some_and(|token| token.is("DESC"))
        {
            columns.rowid = Some(columns.names.len());
        }
        columns.names.push(first.name()?.to_owned());
    }
    Some(columns)
}

/// Whether a declared type ends before this token.
fn ends_type(token: &Token) -> bool {
    const AFTER: [&str; 11] = [
        "CONSTRAINT",
        "PRIMARY",
        "NOT",
        "NULL",
        "UNIQUE",
        "CHECK",
        "DEFAULT",
        "COLLATE",
        "REFERENCES",
        "GENERATED",
        "AS",
    ];
    AFTER.iter().any(|word| token.is(word))
}

/// What follows `PRIMARY KEY` outside of parentheses.
fn primary_key(item: &[Token]) -> Option<&[Token]> {
    let mut depth = 0_usize;
    for (at, token) in item.iter().enumerate() {
        match token {
            Token::Sign('(') => depth = depth.saturating_add(1),
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ if depth == 0 && token.is("PRIMARY") => {
                let after = item.get(at.saturating_add(1)..)?;
                return after.split_first().filter(|(key, _)| key.is("KEY")).map(|(_, rest)| rest);
            }
            _ => {}
        }
    }
    None
}

fn outside_parentheses(tokens: &[Token]) -> Vec<Token> {
    let mut depth = 0_usize;
    let mut outer = Vec::new();
    for token in tokens {
        match token {
            Token::Sign('(') => {
                if depth == 0 {
                    outer.push(token.clone());
                }
                depth = depth.saturating_add(1);
            }
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ if depth == 0 => outer.push(token.clone()),
            _ => {}
        }
    }
    outer
}

/// The items of a list in parentheses, which are the first token and its match, and what follows it.
fn split(list: &[Token]) -> Option<(Vec<&[Token]>, &[Token])> {
    let (mut depth, mut start, mut items) = (0_usize, 1_usize, Vec::new());
    for (at, token) in list.iter().enumerate() {
        match token {
            Token::Sign('(') => depth = depth.saturating_add(1),
            Token::Sign(')') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    items.push(list.get(start..at)?);
                    return Some((items, list.get(at.saturating_add(1)..)?));
                }
            }
            Token::Sign(',') if depth == 1 => {
                items.push(list.get(start..at)?);
                start = at.saturating_add(1);
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Words, quoted names and signs; without white space and comments. `None` if a quote is not closed.
fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..)?;
        if c.is_ascii_whitespace() {
            rest = after;
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, next)| next);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, next)| next);
        } else if let '"' | '`' | '\'' | '[' = c {
            let close = if c == '[' { ']' } else { c };
            let mut text = String::new();
            let mut left = after;
            loop {
                let (part, next) = left.split_once(close)?;
                text.push_str(part);
                left = next;
                match next.strip_prefix(close) {
                    // A doubled quote stands for itself.
                    Some(more) if c != '[' => {
                        text.push(close);
                        left = more;
                    }
                    _ => break,
                }
            }
            tokens.push(Token::Quoted(text));
            rest = left;
        } else if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, next) = rest.split_at_checked(end)?;
            tokens.push(Token::Word(word.to_owned()));
            rest = next;
        } else {
            tokens.push(Token::Sign(c));
            rest = after;
        }
    }
    Some(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_told_as_sqlite_tells_them() {
        for (sql, names, rowid) in [
            (
                "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)",
                "hnum blob",
                Some(0),
            ),
            (
                "CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))",
                "key hnum idx",
                None,
            ),
            ("CREATE TABLE sqlite_sequence(name,seq)", "name seq", None),
            ("create table t(a int primary key, b)", "a b", None),
            ("CREATE TABLE t(a, b integer primary key desc)", "a b", None),
            ("CREATE TABLE t(a, b integer, PRIMARY KEY(b DESC))", "a b", Some(1)),
            (
                "CREATE TABLE t(a, \"b\"\"c\" integer, CONSTRAINT k PRIMARY KEY(\"B\"\"C\"))",
                "a b\"c",
                Some(1),
            ),
            ("CREATE TABLE t(a integer, b integer, PRIMARY KEY(a, b))", "a b", None),
            ("CREATE TABLE t(a UNSIGNED INTEGER PRIMARY KEY)", "a", None),
            ("CREATE TABLE t(a INTEGER(8) PRIMARY KEY)", "a", None),
            (
                "CREATE TABLE t(a integer default (1+2) /* x, */ constraint p primary key, -- y,\n [b c] as (a,a), `d` stored as (a) stored)",
                "a d",
                Some(0),
            ),
            ("CREATE TABLE t(é text check (é in ('a,)', 'b''(')), b) STRICT", "é b", None),
        ] {
            let columns = columns(sql).unwrap_or_else(|| panic!("{sql}"));
            assert_eq!((columns.names.join(" ").as_str(), columns.rowid), (names, rowid), "{sql}");
            assert!(!columns.is_without_rowid);
        }
        assert!(columns("CREATE TABLE t(a primary key) without rowid, strict").unwrap().is_without_rowid);
        for sql in
            ["", "CREATE VIEW v AS SELECT (1)", "CREATE TABLE t(a", "CREATE TABLE t('a)", "CREATE TABLE t(,)"]
        {
            assert_eq!(columns(sql), None, "{sql}");
        }
    }
}
