//! Words of a script: taken apart, and told to people.

use super::{Command, Piece};

/// A condition, for people; its start, if it is long.
pub(super) fn told(condition: &[Command]) -> String {
    let words = condition.iter().filter_map(|command| match command {
        Command::Simple { words, .. } => Some(words),
        _ => None,
    });
    let mut text = String::new();
    for word in words.flatten().take(20) {
        for piece in word.pieces.iter().take(20) {
            match piece {
                Piece::Text(own) => text.extend(own.chars().take(100)),
                Piece::Variable { name, .. } => {
                    text.extend(
                        ["${"].into_iter().flat_map(str::chars).chain(name.chars().take(100)).chain(['}']),
                    );
                }
            }
        }
        text.push(' ');
    }
    format!("`{}`", short(text.trim_end()))
}

/// At most a hundred characters of a text.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(100).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// `name=value`, if the word is one.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((name, value))
}

/// A path without the device before it: `(hd0,gpt2)/boot/x` is `/boot/x`.
pub(super) fn without_device(path: &str) -> &str {
    let bare = path.strip_prefix('(').and_then(|inside| Some(inside.split_once(')')?.1));
    bare.unwrap_or(path)
}
