//! Reports as people read them. One renderer a file; a renderer shows what a report holds and decides nothing.
//!
//! Text bears ANSI colours; whoever prints it takes them out where they are not wanted. All else that could
//! steer a terminal is escaped: names and versions come from images, and an image is hostile.

mod audit_text;
mod baseline_text;
mod compare_text;
mod explain_text;
#[cfg(test)]
mod hostile;
mod inventory_text;
mod markdown;
mod plain;
mod table;

pub use audit_text::audit_text;
pub use baseline_text::{baseline_text, history_text};
pub use compare_text::compare_text;
pub use explain_text::explain_text;
pub use inventory_text::{inventory_text, layout_text};
pub use markdown::{audit_markdown, compare_markdown, inventory_markdown};
pub use plain::plain;

use anstyle::{AnsiColor, Style};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// How much is told, and how wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// Everything, instead of the worst.
    pub verbose: bool,
    /// Columns.
    pub width: usize,
}

/// Coloured text; what an image says in it cannot colour or move anything.
fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{}{style:#}", plain(&text.to_string()))
}

/// `1 patch`, `2 patches`.
fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `CVE-2026-1, CVE-2026-2 and 7 more`; a dash for none.
fn some_of(items: &[&str], most: usize) -> String {
    match items.len() {
        0 => "-".into(),
        n if n <= most => items.join(", "),
        n => format!("{} +{}", items[..most].join(", "), n - most),
    }
}
