//! Columns that line up; a cell is one line and steers nothing, whatever an image put into it. Widths are counted in characters; what is too wide for the line is cut with `…`.

use super::plain;

/// Rows of a table; the first is the heading.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [usize],
}

impl Table {
    /// A table with these headings; the columns of `right` are aligned to the right.
    pub(super) fn new(headings: &[&str], right: &'static [usize]) -> Self {
        Table { rows: vec![headings.iter().map(|h| (*h).to_string()).collect()], right }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell).into_owned()).collect());
    }

    /// The rows as lines, indented, at most `width` wide as far as the last column can give way.
    pub(super) fn lines(&self, indent: usize, width: usize) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|c| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(c))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let before_last: usize = indent + widths.iter().rev().skip(1).map(|w| w + 2).sum::<usize>();
        let last = width.saturating_sub(before_last).max(12);
        self.rows
            .iter()
            .map(|row| {
                let mut line = " ".repeat(indent);
                for (c, cell) in row.iter().enumerate() {
                    let gap = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
                    let is_last = c + 1 == row.len();
                    match (self.right.contains(&c), is_last) {
                        (true, _) => line += &format!("{gap}{cell}"),
                        (false, true) => line += &cut(cell, last),
                        (false, false) => line += &format!("{cell}{gap}"),
                    }
                    if !is_last {
                        line += "  ";
                    }
                }
                line.trim_end().to_string()
            })
            .collect()
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_gives_way() {
        let mut table = Table::new(&["name", "n", "ids"], &[1]);
        table.row(["openssl".into(), "12".into(), "a, b, c, d, e, f, g".into()]);
        table.row(["zlib".into(), "1".into(), "-".into()]);
        assert_eq!(
            table.lines(2, 30),
            ["  name      n  ids", "  openssl  12  a, b, c, d, e,…", "  zlib      1  -"]
        );
    }
}
