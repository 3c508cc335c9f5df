//! The expressions of GRUB's `[` and `test`, in three values: what an image does not say is unknown.

use super::words::without_device;
use super::{Files, UNKNOWN};

/// What an expression comes to; `None` if it is not known or not understood. At most `depth` in each other.
pub(super) fn truth(words: &[&str], files: &dyn Files, depth: u64) -> Option<bool> {
    if words.is_empty() {
        return Some(false);
    }
    let mut expression = Expression { words, files, depth };
    let value = expression.any().ok()?;
    if expression.words.is_empty() { value } else { None }
}

/// Reads one expression of `test`.
struct Expression<'a> {
    words: &'a [&'a str],
    files: &'a dyn Files,
    depth: u64,
}

/// It is no expression.
struct NoExpression;

type Answer = std::result::Result<Option<bool>, NoExpression>;

impl<'a> Expression<'a> {
    fn take(&mut self) -> std::result::Result<&'a str, NoExpression> {
        let (first, rest) = self.words.split_first().ok_or(NoExpression)?;
        self.words = rest;
        Ok(first)
    }

    fn any(&mut self) -> Answer {
        let mut value = self.all()?;
        while self.words.first() == Some(&"-o") {
            self.take()?;
            let other = self.all()?;
            value = match (value, other) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        Ok(value)
    }

    fn all(&mut self) -> Answer {
        let mut value = self.one()?;
        while self.words.first() == Some(&"-a") {
            self.take()?;
            let other = self.one()?;
            value = match (value, other) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        Ok(value)
    }

    fn one(&mut self) -> Answer {
        self.depth = self.depth.checked_sub(1).ok_or(NoExpression)?;
        let answer = self.term();
        self.depth = self.depth.saturating_add(1);
        answer
    }

    fn term(&mut self) -> Answer {
        if let [left, operator, right, ..] = self.words
            && let Some(answer) = binary(left, operator, right)
        {
            self.words = self.words.get(3..).unwrap_or_default();
            return Ok(answer);
        }
        let first = self.take()?;
        match first {
            "!" => Ok(self.one()?.map(|value| !value)),
            "(" => {
                let value = self.any()?;
                if self.take()? == ")" { Ok(value) } else { Err(NoExpression) }
            }
            "-n" | "-z" if !self.words.is_empty() => {
                let is_there = is_there(self.take()?);
                Ok(if first == "-n" { is_there } else { is_there.map(|there| !there) })
            }
            "-d" | "-e" | "-f" | "-s" if !self.words.is_empty() => {
                let path = without_device(self.take()?);
                Ok(if path.contains(UNKNOWN) || path.is_empty() { None } else { self.files.exists(path) })
            }
            text => Ok(is_there(text)),
        }
    }
}

/// Whether a text is not empty.
fn is_there(text: &str) -> Option<bool> {
    match text.chars().all(|c| c == UNKNOWN) {
        true if text.is_empty() => Some(false),
        true => None,
        false => Some(true),
    }
}

/// The answer of `left operator right`; `None` if it is no operator.
fn binary(left: &str, operator: &str, right: &str) -> Option<Option<bool>> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let is_known = !left.contains(UNKNOWN) && !right.contains(UNKNOWN);
    let number = |text: &str| {
        let digits: String = text
            .trim_start()
            .chars()
            .enumerate()
            .take_while(|(i, c)| c.is_ascii_digit() || (*i == 0 && *c == '-'))
            .map(|(_, c)| c)
            .collect();
        digits.parse::<i64>().unwrap_or(0)
    };
    let answer = match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        "-eq" => number(left).cmp(&number(right)) == Equal,
        "-ne" => number(left).cmp(&number(right)) != Equal,
        "-lt" => number(left).cmp(&number(right)) == Less,
        "-le" => number(left).cmp(&number(right)) != Greater,
        "-gt" => number(left).cmp(&number(right)) == Greater,
        "-ge" => number(left).cmp(&number(right)) != Less,
        "-nt" | "-ot" | "-pgt" | "-plt" => return Some(None),
        _ => return None,
    };
    Some(is_known.then_some(answer))
}
