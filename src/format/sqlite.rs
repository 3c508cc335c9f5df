//! SQLite databases, read by their pages: the rows of tables, as the database is with its write-ahead log or
//! rollback journal. Never written, never whole in memory.
//!
//! Specification: <https://www.sqlite.org/fileformat2.html> (SQLite 3).
//!
//! | bytes of the first page | |
//! |---|---|
//! | 0..16 | `SQLite format 3\0` |
//! | 16..18 | page size; 1 stands for 65536 |
//! | 18, 19 | versions for writing and reading: 1 with a rollback journal, 2 with a write-ahead log |
//! | 20 | bytes reserved at the end of each page |
//! | 21..24 | 64, 32, 32 |
//! | 24..28, 92..96 | change counter, and its value when the size was written |
//! | 28..32 | size in pages |
//! | 44..48 | schema format, 1 to 4 |
//! | 56..60 | text encoding: UTF-8, UTF-16LE, UTF-16BE |
//! | 100.. | root of the table `sqlite_schema` |
//!
//! Not read: indexes (and tables `WITHOUT ROWID`, which are stored as such), virtual tables, and what columns
//! that were added later have by default. Free pages are of no interest.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod btree;
mod log;
mod pages;
mod record;
mod table;

pub use btree::Row;
pub use record::Value;

use btree::Walk;
use log::{is_page_size, replay_journal, replay_wal};
use pages::{Origin, Overlay, Pages};

use crate::bytes::{ReadAt, array_at, be_u16, be_u32, size_of_len};
use crate::error::{Error, Result, ResultExt, quoted};
use crate::limits::{Ceiling, Limits};

const FORMAT: &str = "SQLite database";
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;

/// Whether a file that begins so is an SQLite database.
#[must_use]
pub fn is_sqlite(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// A database with its logs.
pub struct Database<'a> {
    pages: Pages<'a>,
    encoding: Encoding,
    damage: Vec<Error>,
    limits: &'a Limits,
}

/// A table of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The names of its stored columns, in the order of the values of a row.
    pub columns: Vec<String>,
    /// Which of them is the row id under another name.
    pub rowid: Option<usize>,
    root: u32,
    unread: Option<&'static str>,
}

impl Table {
    /// Where the values of a column are in a row. Names are compared without case, as SQLite does.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The tables of a database, and what of the list of them could not be read.
#[derive(Debug, Default)]
pub struct Schema {
    /// In the order of the list.
    pub tables: Vec<Table>,
    /// Entries of the list that are damaged.
    pub damage: Vec<Error>,
}

impl Schema {
    /// The table of this name, compared without case; `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with the list, if it has no such table and is damaged.
    pub fn table(&self, name: &str) -> Result<Option<&Table>> {
        match (self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name)), self.damage.first()) {
            (None, Some(error)) => Err(error.clone()),
            (found, _) => Ok(found),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl<'a> Database<'a> {
    /// Opens a database with the files beside it: `-wal`, whose committed pages count, and `-journal`, whose
    /// pages undo a transaction that was not finished. What of them is damaged is told by [`Database::damage`].
    ///
    /// # Errors
    /// `Malformed` if a field of its header is not as the format demands, or a log has pages of another size;
    /// `Unsupported` for a later version of the format; `Limit` if it or a log is too long; `Io`.
    pub fn open(
        database: &'a dyn ReadAt,
        wal: Option<&'a dyn ReadAt>,
        journal: Option<&'a dyn ReadAt>,
        limits: &'a Limits,
    ) -> Result<Self> {
        limits.package_db_bytes.check(database.size_bytes())?;
        let (mut overlay, mut damage) = (Overlay::new(), Vec::new());
        let undone = match journal {
            Some(journal) => replay_journal(journal, database, &mut overlay, &mut damage, limits)?,
            None => None,
        };
        let written = match wal {
            Some(wal) => replay_wal(wal, &mut overlay, &mut damage, limits)?,
            None => None,
        };
        let (origin, offset) = overlay.get(&1).copied().unwrap_or((Origin::Database, 0));
        let first = match origin {
            Origin::Wal => wal,
            Origin::Journal => journal,
            Origin::Database => None,
        };
        let header = Header::read(first.unwrap_or(database), offset)?;
        for log in written.iter().chain(&undone) {
            if log.page_bytes != header.page_bytes {
                let found = format!("{} bytes", log.page_bytes);
                let allowed = format!("that of the database, {}", header.page_bytes);
                return Err(Error::malformed("SQLite log", "page size", None, found, allowed));
            }
        }
        let in_file = database.size_bytes().checked_div(size_of_len(header.page_bytes)).unwrap_or(0);
        let in_logs = written.or(undone).map(|log| u64::from(log.count));
        let count = in_logs.or(header.count.map(u64::from)).unwrap_or(in_file);
        limits.package_db_bytes.check(count.saturating_mul(size_of_len(header.page_bytes)))?;
        let pages = Pages {
            database,
            wal,
            journal,
            overlay,
            page_bytes: header.page_bytes,
            usable_bytes: header.usable_bytes,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        };
        Ok(Database { pages, encoding: header.encoding, damage, limits })
    }

    /// What of the logs beside the database is damaged, so that it may be older than it should be.
    #[must_use]
    pub fn damage(&self) -> &[Error] {
        &self.damage
    }

    /// The tables, as `sqlite_schema` lists them.
    ///
    /// # Errors
    /// `Limit` for more entries than `records`.
    pub fn schema(&self) -> Result<Schema> {
        let mut schema = Schema::default();
        let mut each = |row: Result<Row<'_>>| match row.and_then(|row| self.table(&row)) {
            Ok(table) => schema.tables.extend(table),
            Err(error) => schema.damage.push(error.at("sqlite_schema")),
        };
        Walk::new(&self.pages, self.limits, self.limits.record_bytes, &mut each).run(1)?;
        Ok(schema)
    }

    /// The table that an entry of `sqlite_schema` describes: type, name, table, root page, statement.
    fn table(&self, row: &Row<'_>) -> Result<Option<Table>> {
        let wrong = |found: String, allowed: &str| {
            let place = self.pages.place(row.page);
            Error::malformed("SQLite schema", "entry", None, found, allowed).at(place)
        };
        let [Value::Text(kind), Value::Text(name), _, root, sql] = row.values[..] else {
            return Err(wrong(
                format!("{} values", row.values.len()),
                "type, name, table, root page, statement",
            ));
        };
        match self.encoding.text(kind).as_str() {
            "table" => {}
            "index" | "view" | "trigger" => return Ok(None),
            other => return Err(wrong(quoted(other), "table, index, view or trigger")),
        }
        let name = self.encoding.text(name);
        let root = match root {
            Value::Integer(root) => u32::try_from(root).ok(),
            _ => None,
        };
        let root =
            root.ok_or_else(|| wrong(format!("the root page of table {}", quoted(&name)), "a number"))?;
        let sql = match sql {
            Value::Text(sql) => self.encoding.text(sql),
            _ => String::new(),
        };
        let (columns, unread) = match table::columns(&sql) {
            _ if root == 0 => (table::Columns::default(), Some("a virtual table")),
            Some(columns) if columns.is_without_rowid => (columns, Some("a table without row ids")),
            Some(columns) => (columns, None),
            None => return Err(wrong(quoted(&sql), "a statement that creates a table")),
        };
        Ok(Some(Table { name, columns: columns.names, rowid: columns.rowid, root, unread }))
    }

    /// Shows the rows of a table in the order of their ids; a damaged page or row is shown as an error with its
    /// page and offset, and its neighbours still come. Rows of more than `row_bytes` are errors.
    ///
    /// # Errors
    /// `Unsupported` for virtual tables and such `WITHOUT ROWID`; `Limit` for more rows than `records`.
    pub fn rows(
        &self,
        table: &Table,
        row_bytes: Ceiling,
        each: &mut dyn FnMut(Result<Row<'_>>),
    ) -> Result<()> {
        if let Some(kind) = table.unread {
            return Err(Error::unsupported(format!("{kind} in an SQLite database"))
                .at(format!("table `{}`", table.name)));
        }
        let mut named = |row: Result<Row<'_>>| {
            each(row.map(|mut row| {
                if let Some(value) = table.rowid.and_then(|at| row.values.get_mut(at)) {
                    *value = Value::Integer(row.rowid);
                }
                row
            }));
        };
        Walk::new(&self.pages, self.limits, row_bytes, &mut named)
            .run(table.root)
            .at(|| format!("table `{}`", table.name))
    }

    /// Text of the database. Bytes that are none in its encoding become U+FFFD.
    #[must_use]
    pub fn text(&self, stored: &[u8]) -> String {
        self.encoding.text(stored)
    }
}

/// What the first bytes of the first page say.
struct Header {
    page_bytes: usize,
    usable_bytes: usize,
    /// Pages of the database, if the writer kept the number.
    count: Option<u32>,
    encoding: Encoding,
}

impl Header {
    fn read(file: &dyn ReadAt, offset: u64) -> Result<Self> {
        let mut header = [0; HEADER_BYTES];
        let left = file.size_bytes().saturating_sub(offset);
        let wrong = |field, at: u64, found: String, allowed: &str| {
            Err(Error::malformed(FORMAT, field, offset.saturating_add(at), found, allowed))
        };
        if left < size_of_len(HEADER_BYTES) {
            return wrong("header", 0, format!("{left} bytes"), "100");
        }
        file.read_exact_at(offset, &mut header)?;
        if !is_sqlite(&header) {
            return wrong("magic", 0, quoted(array_at::<16>(&header, 0)), "`SQLite format 3\\0`");
        }
        let page_size = match be_u16(&header, 16) {
            1 => 65536,
            size => u32::from(size),
        };
        if !is_page_size(page_size) {
            return wrong("page size", 16, page_size.to_string(), "a power of two in 512..=65536");
        }
        let [_, read_version, reserved, fractions @ ..] = array_at::<6>(&header, 18);
        if read_version > 2 {
            return Err(Error::unsupported(format!("version {read_version} of SQLite's file format")));
        }
        let page_bytes = usize::try_from(page_size).unwrap_or(usize::MAX);
        let usable_bytes = page_bytes.saturating_sub(usize::from(reserved));
        if usable_bytes < 480 {
            return wrong("reserved space", 20, reserved.to_string(), "what leaves 480 bytes of a page");
        }
        if fractions != [64, 32, 32] {
            return wrong("payload fractions", 21, format!("{fractions:?}"), "[64, 32, 32]");
        }
        // Both are zero in a database without tables.
        let schema_format = be_u32(&header, 44);
        if schema_format > 4 {
            return Err(Error::unsupported(format!("format {schema_format} of SQLite's schema")));
        }
        let encoding = match be_u32(&header, 56) {
            0 | 1 => Encoding::Utf8,
            2 => Encoding::Utf16Le,
            3 => Encoding::Utf16Be,
            other => return wrong("text encoding", 56, other.to_string(), "1, 2 or 3"),
        };
        let is_counted = be_u32(&header, 24) == be_u32(&header, 92);
        let count = Some(be_u32(&header, 28)).filter(|count| is_counted && *count != 0);
        Ok(Header { page_bytes, usable_bytes, count, encoding })
    }
}

impl Encoding {
    fn text(self, stored: &[u8]) -> String {
        let read = match self {
            Encoding::Utf8 => return String::from_utf8_lossy(stored).into_owned(),
            Encoding::Utf16Le => u16::from_le_bytes,
            Encoding::Utf16Be => u16::from_be_bytes,
        };
        let units: Vec<u16> = stored.chunks_exact(2).map(|pair| read(array_at(pair, 0))).collect();
        String::from_utf16_lossy(&units)
    }
}
