//! The databases of rpm: the headers of all installed packages, whatever holds them.
//!
//! | file | backend | since | holds |
//! |---|---|---|---|
//! | `rpmdb.sqlite` | SQLite | rpm 4.16 | table `Packages`: `hnum`, the row id, and `blob`; the other tables are indexes |
//! | `Packages.db` | NDB | rpm 4.14 | one blob a package |
//! | `Packages` | Berkeley DB, hash or B-tree | up to rpm 4.16 | keys of four bytes; 0 is no package |
//!
//! What a blob says is not looked at here.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeSet;

use super::berkeley_db;
use super::ndb;
use super::sqlite::{self, Database, Value};
use crate::bytes::ReadAt;
use crate::error::{Error, Result, ResultExt, quoted};
use crate::limits::Limits;

/// What an rpm database is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// `rpmdb.sqlite`.
    Sqlite,
    /// `Packages.db`.
    Ndb,
    /// `Packages`.
    BerkeleyDb,
}

impl Backend {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backend::Sqlite => "SQLite",
            Backend::Ndb => "NDB",
            Backend::BerkeleyDb => "Berkeley DB",
        }
    }
}

/// The header of one installed package, as rpm stores it: index and data, without lead and magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The package's number in the database; rpm calls it instance. Not zero.
    pub instance: u64,
    /// The header.
    pub bytes: &'a [u8],
}

/// What may lie beside a database and belongs to it: SQLite's `-wal` and `-journal`.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// The write-ahead log.
    pub wal: Option<&'a dyn ReadAt>,
    /// The rollback journal.
    pub journal: Option<&'a dyn ReadAt>,
}

/// The backend of a database that begins so; 16 bytes are enough. `None` if it is none of them.
#[must_use]
pub fn backend(head: &[u8]) -> Option<Backend> {
    if sqlite::is_sqlite(head) {
        Some(Backend::Sqlite)
    } else if ndb::is_ndb(head) {
        Some(Backend::Ndb)
    } else if berkeley_db::is_berkeley_db(head) {
        Some(Backend::BerkeleyDb)
    } else {
        None
    }
}

/// Shows the headers of all packages of a database, told by its magic, in the order in which it has them. What is damaged is shown
/// as an error, and its neighbours still come; so are packages of which only an index is left. A database of
/// which no error was shown has been shown whole.
///
/// # Errors
/// `Malformed` if it is no database of rpm, or one whose header is damaged; `Unsupported` for a version of its
/// format that is not read; `Limit` if it is too long or has more packages than `records`; `Io`.
pub fn blobs(
    database: &dyn ReadAt,
    beside: Beside<'_>,
    limits: &Limits,
    each: &mut dyn FnMut(Result<Blob<'_>>),
) -> Result<()> {
    let mut head = [0; 16];
    let len = usize::try_from(database.size_bytes().min(16)).unwrap_or(16);
    let filled = head.get_mut(..len).unwrap_or_default();
    database.read_exact_at(0, filled)?;
    match backend(&head) {
        Some(Backend::Sqlite) => from_sqlite(database, beside, limits, each),
        Some(Backend::Ndb) => ndb::blobs(database, limits, &mut |blob| {
            each(blob.map(|blob| Blob { instance: blob.index.into(), bytes: blob.bytes }));
        }),
        Some(Backend::BerkeleyDb) => from_berkeley_db(&head, database, limits, each),
        None => {
            let found = format!("{} bytes that begin with {}", database.size_bytes(), quoted(head));
            Err(Error::malformed("rpm database", "magic", 0, found, "that of SQLite, NDB or Berkeley DB"))
        }
    }
}

/// Keys are instances, in the byte order of the database; under 0 it keeps the highest that was given.
fn from_berkeley_db(
    head: &[u8],
    database: &dyn ReadAt,
    limits: &Limits,
    each: &mut dyn FnMut(Result<Blob<'_>>),
) -> Result<()> {
    let order = berkeley_db::byte_order(head);
    berkeley_db::values(database, limits, &mut |pair| {
        let (key, bytes) = match pair {
            Ok(pair) => pair,
            Err(error) => return each(Err(error)),
        };
        let instance = order.filter(|_| key.len() == 4).map(|order| order.u32(&key, 0));
        match instance {
            Some(0) => {}
            Some(instance) => each(Ok(Blob { instance: instance.into(), bytes: &bytes })),
            None => {
                let found = format!("a key of {} bytes", key.len());
                each(Err(Error::malformed("rpm database", "key", None, found, "four bytes: an instance")));
            }
        }
    })
}

fn from_sqlite(
    database: &dyn ReadAt,
    beside: Beside<'_>,
    limits: &Limits,
    each: &mut dyn FnMut(Result<Blob<'_>>),
) -> Result<()> {
    let database = Database::open(database, beside.wal, beside.journal, limits)?;
    for error in database.damage() {
        each(Err(error.clone()));
    }
    let schema = database.schema()?;
    let table = schema.table("Packages")?;
    let Some((table, [hnum, blob])) =
        table.and_then(|table| Some((table, columns(table, ["hnum", "blob"])?)))
    else {
        let names: Vec<_> = schema.tables.iter().map(|table| table.name.as_str()).take(8).collect();
        let found = match table {
            Some(table) => {
                format!("an SQLite database whose table Packages has {}", quoted(table.columns.join(", ")))
            }
            None => format!("an SQLite database with the tables {}", quoted(names.join(", "))),
        };
        return Err(Error::malformed("rpm database", "tables", None, found, "Packages, with hnum and blob"));
    };
    let mut instances = BTreeSet::new();
    database.rows(table, limits.rpm_header_bytes, &mut |row| {
        each(row.and_then(|row| {
            let wrong = |found: String, allowed: &str| {
                Error::malformed("rpm database", "Packages", None, found, allowed)
                    .at(format!("page {}", row.page))
            };
            let instance = match row.values.get(hnum) {
                Some(Value::Integer(instance)) => u64::try_from(*instance).ok().filter(|own| *own != 0),
                _ => None,
            };
            let (Some(instance), Some(Value::Blob(bytes))) = (instance, row.values.get(blob)) else {
                return Err(wrong(
                    format!("row {} with other values", row.rowid),
                    "a number above zero and a blob",
                ));
            };
            if !instances.insert(instance) {
                return Err(wrong(format!("instance {instance} again"), "each once"));
            }
            Ok(Blob { instance, bytes })
        }));
    })?;
    missing(&database, &schema, &instances, limits, each)
}

/// Tells of packages that the index of names has and the table does not: what was lost leaves no other trace if
/// a whole branch of the table is gone. What is wrong with the index itself is of no concern.
fn missing(
    database: &Database<'_>,
    schema: &sqlite::Schema,
    instances: &BTreeSet<u64>,
    limits: &Limits,
    each: &mut dyn FnMut(Result<Blob<'_>>),
) -> Result<()> {
    let Ok(Some(index)) = schema.table("Name") else { return Ok(()) };
    let Some([key, hnum]) = columns(index, ["key", "hnum"]) else { return Ok(()) };
    let mut told = BTreeSet::new();
    let read = database.rows(index, limits.record_bytes, &mut |row| {
        let Ok(row) = row else { return };
        let (Some(Value::Text(name)), Some(Value::Integer(instance))) =
            (row.values.get(key), row.values.get(hnum))
        else {
            return;
        };
        let Ok(instance) = u64::try_from(*instance) else { return };
        if !instances.contains(&instance) && told.insert(instance) {
            let found = format!(
                "no header of {}, which is instance {instance} in the index of names",
                quoted(database.text(name))
            );
            each(Err(Error::malformed("rpm database", "Packages", None, found, "one of each package")
                .hint("`rpm --rebuilddb` settles it if the package is not installed")));
        }
    });
    read.at(|| "index of names".into())
}

fn columns<const N: usize>(table: &sqlite::Table, names: [&str; N]) -> Option<[usize; N]> {
    let found: Vec<usize> = names.iter().filter_map(|name| table.column(name)).collect();
    found.try_into().ok()
}
