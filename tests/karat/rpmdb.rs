//! The databases of rpm against what rpm and SQLite say of them, and against broken ones.

use std::path::Path;
use std::process::Command;

use karat::bytes::ReadAt;
use karat::error::{Error, Result};
use karat::format::rpmdb::{self, Backend, Beside, Blob};
use karat::format::sqlite::{Database, Value};
use karat::limits::Limits;
use karat::model::Sha256;

use crate::mutate::fixture;
use crate::tools::tool;

/// A database and what lies beside it.
#[derive(Clone, Default)]
struct Files {
    database: Vec<u8>,
    wal: Option<Vec<u8>>,
    journal: Option<Vec<u8>>,
}

impl Files {
    fn read(name: &str) -> Files {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rpmdb").join(name);
        let read = |file: &str| std::fs::read(folder.join(file)).ok();
        Files {
            database: read("rpmdb.sqlite").or_else(|| read("Packages.db")).unwrap(),
            wal: read("rpmdb.sqlite-wal"),
            journal: read("rpmdb.sqlite-journal"),
        }
    }

    fn list(&self) -> Listed {
        let beside = Beside {
            wal: self.wal.as_ref().map(|bytes| bytes as &dyn ReadAt),
            journal: self.journal.as_ref().map(|bytes| bytes as &dyn ReadAt),
        };
        let mut listed = Listed::default();
        let mut each = |blob: Result<Blob<'_>>| match blob {
            Ok(blob) => listed.blobs.push((blob.instance, blob.bytes.len(), Sha256::of(blob.bytes).hex())),
            Err(error) => listed.errors.push(error),
        };
        let done = rpmdb::blobs(&self.database, beside, &Limits::default(), &mut each);
        listed.errors.extend(done.err());
        listed
    }
}

#[derive(Default)]
struct Listed {
    blobs: Vec<(u64, usize, String)>,
    errors: Vec<Error>,
}

impl Listed {
    fn instances(&self) -> Vec<u64> {
        self.blobs.iter().map(|blob| blob.0).collect()
    }

    fn told(&self) -> Vec<String> {
        self.errors.iter().map(ToString::to_string).collect()
    }
}

/// Instance, length and digest of each header, as the tools say.
fn expected(name: &str) -> Vec<(u64, usize, String)> {
    let text = String::from_utf8(fixture(&format!("rpmdb/{name}/expected.tsv"))).unwrap();
    let mut rows: Vec<_> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [instance, .., len, digest] = fields[..] else { panic!("{line}") };
            (instance.parse().unwrap(), len.parse().unwrap(), digest.to_owned())
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn every_header_is_what_rpm_has() {
    for name in ["sqlite", "wal", "wal-big-endian", "journal", "ndb", "ndb-many"] {
        let mut listed = Files::read(name).list();
        assert_eq!(listed.told(), [""; 0], "{name}");
        listed.blobs.sort();
        assert_eq!(listed.blobs, expected(name), "{name}");
    }
}

#[test]
fn logs_beside_a_database_count() {
    // Without its log the database is as it was at the last checkpoint.
    let mut files = Files::read("wal");
    files.wal = None;
    assert_eq!(files.list().instances(), [1, 2, 5, 6]);
    assert_eq!(files.list().told(), [""; 0]);
    for empty in [vec![], vec![0; 32]] {
        files.wal = Some(empty);
        assert_eq!(files.list().instances(), [1, 2, 5, 6]);
    }
    // A log that is cut within a transaction ends with the one before, as for SQLite: here all are lost.
    let whole = Files::read("wal").wal.unwrap();
    files.wal = Some(whole[..32 + 536 * 3].to_vec());
    assert_eq!(files.list().instances(), [1, 2, 5, 6]);
    // Commits behind a damaged frame are lost too, and that is told.
    let mut broken = whole.clone();
    broken[32 + 24 + 7] ^= 1;
    files.wal = Some(broken);
    assert_eq!(files.list().instances(), [1, 2, 5, 6]);
    assert!(
        files.list().told()[0].starts_with("SQLite write-ahead log: frame at byte 0x20: a wrong checksum")
    );
    let mut broken = whole;
    broken[17] ^= 1;
    files.wal = Some(broken);
    assert!(
        files.list().told()[0].starts_with("SQLite write-ahead log: header at byte 0x0"),
        "{:?}",
        files.list().told()
    );
    // Pages of another size are those of another database.
    files.wal = None;
    files.journal = Files::read("journal").journal.map(|bytes| bytes[..512].to_vec());
    assert!(files.list().told()[0].contains("page size: 1024 bytes; allowed: that of the database, 512"));

    // A journal that a finished transaction left says nothing.
    let mut files = Files::read("journal");
    files.journal.as_mut().unwrap()[0] = 0;
    assert_ne!(files.list().instances(), [1, 2, 5, 6, 7]);
    assert!(!files.list().told().is_empty());
    let mut files = Files::read("journal");
    files.journal.as_mut().unwrap()[512 + 4 + 1024] ^= 1;
    assert!(
        files.list().told().iter().any(|text| text.starts_with("SQLite rollback journal: record at byte"))
    );
}

#[test]
fn what_is_no_database_of_rpm_says_what_it_is() {
    let list = |database: &[u8]| Files { database: database.to_vec(), ..Files::default() }.list().told();
    for (bytes, want) in [
        (&b""[..], "rpm database: magic at byte 0x0: 0 bytes"),
        (b"SQLite format 3\0", "SQLite database: header at byte 0x0: 16 bytes; allowed: 100"),
        (b"RpmP", "NDB database: header at byte 0x0: 4 bytes; allowed: 32"),
        (&[0; 40], "rpm database: magic at byte 0x0: 40 bytes"),
        (&[b"RpmP\x01".to_vec(), vec![0; 40]].concat(), "not read by this version: version 1 of rpm's NDB"),
    ] {
        let told = list(bytes);
        assert!(told[0].starts_with(want), "{told:?}");
    }
    let mut bytes = vec![0; 16];
    for (magic, want) in
        [([0x61, 0x15, 6, 0], true), ([0, 6, 0x15, 0x61], true), ([0, 5, 0x31, 0x62], true), ([0; 4], false)]
    {
        bytes[12..].copy_from_slice(&magic);
        assert_eq!(rpmdb::backend(&bytes), want.then_some(Backend::BerkeleyDb));
    }
    // The table has another name, or a column has.
    let whole = Files::read("sqlite").database;
    for (from, to, want) in [
        (&b"Packages"[..], &b"Bundles "[..], "an SQLite database with the tables `"),
        (b"blob BLOB NOT", b"blub BLOB NOT", "an SQLite database whose table Packages has `hnum, blub`"),
    ] {
        let mut bytes = whole.clone();
        while let Some(at) = bytes.windows(from.len()).position(|part| part == from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        let told = list(&bytes);
        assert!(told[0].contains(want), "{told:?}");
    }
}

/// Breaks a file byte by byte; what is listed without an error has to be all. Contents of headers may change:
/// SQLite has no checksums.
fn never_lists_less_in_silence(whole: &Files, at: impl Iterator<Item = usize>) {
    let instances = whole.list().instances();
    let mut broken = whole.clone();
    for at in at {
        let byte = broken.database[at];
        for other in [byte ^ 1, byte ^ 0x80, 0, 0xff] {
            if other == byte {
                continue;
            }
            broken.database[at] = other;
            let listed = broken.list();
            let is_whole = instances.iter().all(|instance| listed.instances().contains(instance));
            assert!(
                is_whole || !listed.errors.is_empty(),
                "byte {at:#x}: {byte:#x} as {other:#x}: {:?}",
                listed.instances()
            );
        }
        broken.database[at] = byte;
    }
}

#[test]
fn no_broken_byte_loses_a_package_in_silence() {
    for name in ["wal", "ndb"] {
        let mut files = Files::read(name);
        files.wal = None;
        never_lists_less_in_silence(&files, (0..files.database.len()).step_by(3));
    }
    let files = Files::read("ndb-many");
    never_lists_less_in_silence(&files, (0..2 * 4096).step_by(13));
    let files = Files::read("sqlite");
    never_lists_less_in_silence(&files, (0..files.database.len()).step_by(29));
}

#[test]
fn no_cut_off_database_is_shown_as_whole() {
    for name in ["wal", "sqlite", "ndb", "ndb-many"] {
        let mut files = Files::read(name);
        files.wal = None;
        let all = files.list().instances();
        for len in (0..files.database.len()).step_by(97) {
            let cut = Files { database: files.database[..len].to_vec(), ..Files::default() };
            let listed = cut.list();
            assert!(listed.instances() == all || !listed.errors.is_empty(), "{name}: {len}");
        }
    }
}

#[test]
fn broken_logs_end_in_time() {
    for name in ["wal", "journal"] {
        let files = Files::read(name);
        let len = files.wal.as_ref().or(files.journal.as_ref()).unwrap().len();
        for at in (0..600).chain((600..len).step_by(31)) {
            for flip in [1, 0x80, 0xff] {
                let mut broken = files.clone();
                let log = broken.wal.as_mut().or(broken.journal.as_mut()).unwrap();
                log[at] ^= flip;
                let listed = broken.list();
                let is_whole = listed.instances().len() >= 4;
                assert!(is_whole || !listed.errors.is_empty(), "{name}: byte {at:#x}");
                let mut cut = files.clone();
                cut.wal.as_mut().or(cut.journal.as_mut()).unwrap().truncate(at);
                cut.list();
            }
        }
    }
}

#[test]
fn neighbours_of_what_is_damaged_still_come() {
    let whole = Files::read("ndb");
    let database = &whole.database;
    let le = |at: usize| u32::from_le_bytes(database[at..at + 4].try_into().unwrap());
    let slot =
        (0..4096).step_by(16).find(|at| database[*at..].starts_with(b"Slot") && le(at + 4) == 2).unwrap();
    let blob = usize::try_from(le(slot + 8)).unwrap() * 16;
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut files = whole.clone();
        change(&mut files.database);
        let listed = files.list();
        (listed.instances(), listed.told().join("\n"))
    };
    for (change, want) in [
        (&(|d: &mut Vec<u8>| d[slot] = 0) as &dyn Fn(&mut Vec<u8>), "slot at byte"),
        (&|d| d[blob + 40] ^= 1, "package index 2: NDB database: blob checksum"),
        (&|d| d[blob] ^= 1, "package index 2: NDB database: blob magic"),
        (&|d| d[blob + 12] ^= 0x10, "blob length"),
        (&|d| d[blob + 4] ^= 0x10, "blob index"),
        (&|d| d[slot + 12] ^= 1, "blob length"),
        // Removed, or never finished: the blob is still there.
        (&|d| d[slot + 4..slot + 16].fill(0), "a blob of package index 2 that no slot names"),
    ] {
        let (instances, told) = broken(change);
        assert_eq!(instances, [1, 5, 6, 7], "{told}");
        assert!(told.contains(want), "{told}");
    }
    // Two slots with the same blocks, or the same index.
    let other = slot + 16;
    let (instances, told) = broken(&|d| d.copy_within(slot + 8..slot + 16, other + 8));
    assert!(instances == [1, 2, 6, 7] && told.contains("which others have"), "{instances:?} {told}");
    let (instances, told) = broken(&|d| d.copy_within(slot..slot + 16, other));
    assert!(instances == [1, 2, 6, 7] && told.contains("which others have"), "{instances:?} {told}");
    assert!(told.contains("package index 5 that no slot names"), "{told}");
    // More pages of slots, or fewer, than there are.
    let (_, told) = broken(&|d| d[12] = 200);
    assert!(told.contains("slot pages at byte 0xc: 200"), "{told}");
    let mut many = Files::read("ndb-many");
    many.database[12] -= 1;
    assert!(many.list().told().iter().any(|text| text.contains("a slot after the last page of slots")));
}

#[test]
fn chains_and_sizes_that_cannot_be_are_told_and_end() {
    let whole = Files::read("sqlite");
    let next = |bytes: &[u8], page: usize| {
        u32::from_be_bytes(bytes[(page - 1) * 1024..][..4].try_into().unwrap()).try_into().unwrap_or(0)
    };
    let pages = 2..whole.database.len() / 1024;
    let chain: Vec<usize> = pages.filter(|page| next(&whole.database, *page) == page + 1).collect();
    let first = *chain.windows(4).find(|run| run[3] == run[0] + 3).unwrap().first().unwrap();
    for (to, want) in
        [(first, "a second time"), (0, "page number: 0; allowed: 1..="), (9_999, "page number: 9999")]
    {
        let mut files = whole.clone();
        files.database[first * 1024..][..4].copy_from_slice(&u32::try_from(to).unwrap().to_be_bytes());
        let listed = files.list();
        let told = listed.told().join("\n");
        assert_eq!(listed.instances(), [1, 2, 6, 7], "{told}");
        assert!(
            told.contains(want)
                && told.contains("of an overflow chain")
                && told.contains("no header of `large`, which is instance 5"),
            "{told}"
        );
    }
    // Instance 5 says that it has 268 MB; its row has 13504 bytes and what stands before them.
    let mut files = whole.clone();
    let at = files.database.windows(3).position(|part| part == [0xe9, 0x45, 5]).unwrap();
    files.database[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 5]);
    let listed = files.list();
    assert_eq!(listed.instances(), [1, 2, 6, 7]);
    assert!(listed.told()[0].contains("limit `rpm_header_bytes` passed: 268435333"), "{:?}", listed.told());
    // More pages than the ceiling allows, more records, a later format.
    let mut files = whole.clone();
    files.database[28..32].fill(0xff);
    assert!(files.list().told()[0].contains("limit `package_db_bytes` passed"));
    let mut files = whole;
    let limits = Limits::default();
    let told = |files: &Files, limits: &Limits| {
        rpmdb::blobs(&files.database, Beside::default(), limits, &mut |_| ())
            .map_err(|error| error.to_string())
    };
    let mut few = limits.clone();
    few.set("records", 3).unwrap();
    assert!(told(&files, &few).unwrap_err().contains("limit `records` passed"));
    files.database[19] = 3;
    assert_eq!(
        told(&files, &limits).unwrap_err(),
        "not read by this version: version 3 of SQLite's file format"
    );
}

/// Makes a database with this script, which prints its rows: row id, and each value as it is stored.
const MAKE: &str = r"
import random, sqlite3, struct, subprocess, sys
path, page_size, encoding, reserved, shell = sys.argv[1:]
random.seed(page_size + encoding)
if reserved != '0':
    subprocess.run([shell, path, '.filectrl reserve_bytes ' + reserved, 'VACUUM'], check=True, capture_output=True)
database = sqlite3.connect(path, isolation_level=None)
for line in ('page_size=' + page_size, 'encoding=\'%s\'' % encoding):
    database.execute('PRAGMA ' + line)
database.execute('CREATE TABLE other (a, b)')
database.execute('CREATE TABLE t (a, id INTEGER PRIMARY KEY, \'b c\' BLOB)')
database.execute('CREATE TABLE kept (a TEXT PRIMARY KEY, b) WITHOUT ROWID')
database.execute('CREATE INDEX i ON t (a)')
values = [None, 0, 1, -1, 127, -128, 128, 32767, -32768, 8388607, -8388608, 2**31, -2**31 - 1, 2**47, -2**47 - 1, 2**63 - 1,
          -2**63, 1.5, -0.1, float('inf'), '', 'text', 'ä€𝄞' * 40, b'', b'x' * 99]
lengths = [0, 1, 30, 439, 440, 477, 478, 900, 4000, 4061, 4062, 8191, 8192, 20000, 70000]
ids = set()
database.execute('BEGIN')
for round in range(3):
    for value in values:
        for length in random.sample(lengths, 3):
            rowid = random.choice([random.randrange(1, 400), random.randrange(-2**63, 2**63)])
            if rowid not in ids:
                ids.add(rowid)
                database.execute('INSERT INTO t VALUES (?, ?, ?)', (value, rowid, random.randbytes(length)))
    for rowid in random.sample(sorted(ids), 60):
        database.execute('DELETE FROM t WHERE id = ?', (rowid,))
        ids.discard(rowid)
database.execute('COMMIT')
def stored(value, raw):
    if value is None: return 'null'
    if isinstance(value, int): return 'i%d' % value
    if isinstance(value, float): return 'r' + struct.pack('>d', value).hex()
    return ('t' if isinstance(value, str) else 'b') + bytes(raw).hex()
for a, raw, rowid, b in database.execute('SELECT a, CAST(a AS BLOB), id, \'b c\' FROM t ORDER BY id'.replace('\'b c\'', '\x22b c\x22')):
    print(rowid, stored(a, raw), 'i%d' % rowid, 'b' + b.hex())
assert database.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
";

#[test]
fn tables_of_every_page_size_and_encoding_are_as_sqlite_reads_them() {
    let (Some(python), Some(shell)) = (tool("python3"), tool("sqlite3")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let sizes = ["512", "1024", "2048", "4096", "8192", "16384", "32768", "65536"];
    let cases = sizes
        .iter()
        .flat_map(|size| ["UTF-8", "UTF-16le", "UTF-16be"].map(|encoding| (*size, encoding, "0")));
    for (size, encoding, reserved) in cases.chain([("512", "UTF-8", "32"), ("4096", "UTF-16le", "255")]) {
        let case = format!("{size}-{encoding}-{reserved}");
        let path = folder.path().join(&case);
        let made = Command::new(&python)
            .args(["-c", MAKE])
            .args([path.as_os_str(), size.as_ref(), encoding.as_ref(), reserved.as_ref(), shell.as_os_str()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{case}: {}", String::from_utf8_lossy(&made.stderr));
        let bytes = std::fs::read(&path).unwrap();
        if reserved != "0" {
            assert_eq!(bytes[20].to_string(), reserved, "{case}");
        }
        let limits = Limits::default();
        let database = Database::open(&bytes, None, None, &limits).unwrap();
        let schema = database.schema().unwrap();
        assert!(schema.damage.is_empty(), "{case}: {:?}", schema.damage);
        let table = schema.table("T").unwrap().unwrap();
        assert_eq!((table.columns.join(","), table.rowid), ("a,id,b c".into(), Some(1)));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let stored = |value: &Value<'_>| match value {
            Value::Null => "null".to_owned(),
            Value::Integer(value) => format!("i{value}"),
            Value::Real(value) => format!("r{}", hex(&value.to_be_bytes())),
            Value::Text(bytes) => format!("t{}", hex(bytes)),
            Value::Blob(bytes) => format!("b{}", hex(bytes)),
        };
        let mut rows = Vec::new();
        database
            .rows(table, limits.record_bytes, &mut |row| {
                let row = row.unwrap_or_else(|error| panic!("{case}: {error}"));
                let values: Vec<String> = row.values.iter().map(stored).collect();
                rows.push(format!("{} {}", row.rowid, values.join(" ")));
            })
            .unwrap();
        let want = String::from_utf8(made.stdout).unwrap();
        let want: Vec<&str> = want.lines().collect();
        assert_eq!(rows.len(), want.len(), "{case}");
        assert!(rows.iter().zip(&want).all(|(own, want)| own == want), "{case}");
        let kept = schema.table("kept").unwrap().unwrap();
        let refused = database.rows(kept, limits.record_bytes, &mut |_| ()).unwrap_err().to_string();
        assert_eq!(
            refused,
            "table `kept`: not read by this version: a table without row ids in an SQLite database"
        );
    }
}
