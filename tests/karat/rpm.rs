//! Systems that rpm itself made, in every shape in which karat takes them, against what rpm says of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use karat::collect::assemble;
use karat::collect::fact::Needs;
use karat::format::rpm_header::Header;
use karat::format::rpmdb::{self, Beside};
use karat::limits::Limits;
use karat::model::{Gap, Inventory, Package};
use tempfile::TempDir;

use crate::cli::{DAY, Ran, karat, shown};
use crate::making::{Layout, gzip, has_tool};
use crate::memory::{Memory, Walk, serving, squash_all};

/// Epochs, signs of the order, a module, files of all kinds, and a changelog with and without versions.
const BASH: &str = "
Name: bash
Epoch: 1
Version: 5.1.8~rc1
Release: 6.el9
Summary: s
License: MIT
Vendor: Rëd Hat, Inc.
Packager: Jané <j@example.org>
%description
s
%package -n nodejs
Summary: s
Version: 18.1^git2
ModularityLabel: nodejs:18:9040020240301:rhel9
%description -n nodejs
s
%package docs
Summary: s
Epoch: 0
BuildArch: noarch
%description docs
s
%install
mkdir -p %{buildroot}/etc %{buildroot}/usr/bin %{buildroot}/usr/share/doc
echo a > %{buildroot}/etc/bashrc
echo b > %{buildroot}/usr/bin/bash
ln -s bash %{buildroot}/usr/bin/sh
echo c > '%{buildroot}/usr/share/doc/a b'
%files
%config(noreplace) /etc/bashrc
%dir /usr/bin
/usr/bin/*
%ghost /var/log/bash.log
%files -n nodejs
%files docs
\"/usr/share/doc/a b\"
%changelog
* Mon Jan 01 2024 Jané Doe <j@example.org> - 1:5.1.8~rc1-6
- Fix CVE-2024-0001, grüße
* Sun Dec 31 2023 Jané Doe <j@example.org>
- Fix CVE-2023-0002
* Mon Dec 04 2023 Jané Doe <j@example.org> - 1:5.1.8~rc1-5
- Fix CVE-2023-0001
";

const KERNEL: &str = "
Name: kernel-core
Version: 5.14.0
Release: %{number}.el9
Summary: s
License: GPL
Provides: installonlypkg(kernel)
%description
s
%files
";

/// What rpm prints of a package, as [`told`] does of ours.
const FORMAT: &str = "%{NAME}|%{EPOCHNUM}:%{VERSION}-%{RELEASE}|%{ARCH}|%{SOURCERPM}|%{VENDOR}|%{MODULARITYLABEL}|\
                      %{BUILDTIME}|%{INSTALLTIME}\n";

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Builds packages of a spec; they lie in `folder/RPMS`.
fn build(folder: &Path, name: &str, spec: &str, define: &str) {
    let path = folder.join(format!("{name}.spec"));
    fs::write(&path, spec).unwrap();
    let topdir = format!("_topdir {}", folder.display());
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--target", "x86_64-linux", "--define", &topdir, "--define", define])
        .args(["--define", "debug_package %{nil}", "--define", "_build_id_links none"])
        .arg(path));
}

/// All packages that were built, by the start of their names.
fn built(folder: &Path, starts: &[&str]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for arch in ["x86_64", "noarch"] {
        let entries = fs::read_dir(folder.join("RPMS").join(arch));
        all.extend(entries.into_iter().flatten().map(|entry| entry.unwrap().path()));
    }
    all.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        starts.iter().any(|start| name.starts_with(start))
    });
    all.sort();
    all
}

/// rpm on the database in this folder, which need not be a system's.
fn rpm(database: &Path) -> Command {
    let mut command = Command::new("rpm");
    command.arg("--dbpath").arg(fs::canonicalize(database).unwrap());
    command
}

fn install(database: &Path, packages: &[PathBuf]) {
    fs::create_dir_all(database).unwrap();
    run(rpm(database)
        .args(["--define", "_db_backend sqlite", "-i", "--nodeps", "--noscripts", "--justdb", "--force"])
        .args(["--ignorearch", "--ignoreos"])
        .args(packages));
}

/// What rpm lists, without keys.
fn listed(database: &Path, backend: &str) -> Vec<String> {
    let backend = format!("_db_backend {backend}");
    let text = run(rpm(database).args(["--define", &backend, "-qa", "--qf", FORMAT]));
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with("gpg-pubkey|")).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The headers' columns of [`FORMAT`], as karat reads them.
fn told(database: &Path) -> Vec<String> {
    let limits = Limits::default();
    let wal = fs::read(database.with_file_name("rpmdb.sqlite-wal")).ok();
    let beside = Beside { wal: wal.as_ref().map(|bytes| bytes as _), journal: None };
    let mut lines = Vec::new();
    rpmdb::blobs(&fs::read(database).unwrap(), beside, &limits, &mut |blob| {
        let package = Header::of_record(blob.unwrap().bytes, &limits).unwrap().package().unwrap();
        if package.is_key() {
            return;
        }
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "(none)".into());
        lines.push(format!(
            "{}|{}:{}-{}|{}|{}|{}|{}|{}|{}",
            package.name,
            package.epoch.unwrap_or_default(),
            package.version,
            package.release,
            package.arch,
            or_none(&package.source_rpm),
            or_none(&package.vendor),
            or_none(&package.module),
            package.built_at.unwrap().unix(),
            package.installed_at.unwrap().unix(),
        ));
    })
    .unwrap();
    lines.sort();
    lines
}

/// What an inventory has of a package, in the form of [`listed`] as far as it has it.
fn of_inventory(package: &Package) -> String {
    let epoch = if package.version.contains(':') { "" } else { "0:" };
    let time = |time: Option<karat::model::Time>| time.unwrap().unix();
    format!(
        "{}|{epoch}{}|{}|{}-{}.src.rpm|{}|{}|{}|{}",
        package.name,
        package.version,
        package.arch,
        package.source.name,
        package.source.version,
        package.origin.as_deref().unwrap_or("(none)"),
        package.stream.as_deref().unwrap_or("(none)"),
        time(package.built_at),
        time(package.installed_at)
    )
}

/// The same of what rpm lists: the stream is the start of the module's label.
fn without_context(mut lines: Vec<String>) -> Vec<String> {
    for line in &mut lines {
        *line = line.replace(":9040020240301:rhel9", "");
    }
    lines
}

fn inventory(path: &Path) -> (Ran, Inventory) {
    let ran = karat(&["inventory", path.to_str().unwrap(), "-o", "json", "--as-of", DAY]);
    let inventory =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&ran)));
    (ran, inventory)
}

fn packages(inventory: &Inventory) -> Vec<String> {
    let mut lines: Vec<String> =
        inventory.systems.iter().flat_map(|system| &system.packages).map(of_inventory).collect();
    lines.sort();
    lines
}

fn reasons(inventory: &Inventory) -> Vec<String> {
    let told =
        |gap: &Gap| format!("{}: {}{}", gap.place, gap.reason, if gap.required { " (required)" } else { "" });
    inventory.gaps.iter().map(told).collect()
}

/// A system without packages, of a distribution that has rpm.
fn bare(root: &Path) {
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(
        root.join("etc/os-release"),
        "NAME=\"Red Hat Enterprise Linux\"\nID=rhel\nVERSION_ID=\"9.4\"\n",
    )
    .unwrap();
}

/// A tar of folders of a host: what they are called in it, and where they are.
fn tar(entries: &[(&str, &Path)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    for (name, path) in entries {
        match path.is_dir() {
            true => builder.append_dir_all(name, path).unwrap(),
            false => builder.append_path_with_name(path, name).unwrap(),
        }
    }
    builder.into_inner().unwrap()
}

/// An image of these layers.
fn image(folder: &Path, layers: Vec<Vec<u8>>) {
    let layout = Layout(folder);
    let layers: Vec<_> = layers.into_iter().map(|tar| (tar.clone(), gzip(&tar))).collect();
    let manifest = layout.image("amd64", &layers);
    layout.finish(&[manifest]);
}

/// A built set of packages, or nothing where the tools are missing.
fn workshop() -> Option<TempDir> {
    if !["rpm", "rpmbuild", "sqlite3"].iter().all(|name| has_tool(name)) {
        return None;
    }
    let folder = TempDir::new().unwrap();
    build(folder.path(), "bash", BASH, "number 0");
    for number in ["362", "427", "427.13.1"] {
        build(folder.path(), "kernel", KERNEL, &format!("number {number}"));
    }
    Some(folder)
}

/// Installs packages while a reader holds the database open, as `dnf` does, and keeps the files as they are then:
/// all that was installed is in the write-ahead log only.
fn install_into_log(database: &Path, packages: &[PathBuf], to: &Path) {
    let mut reader = Command::new("sqlite3")
        .arg(database.join("rpmdb.sqlite"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = reader.stdin.take().unwrap();
    writeln!(input, "BEGIN; SELECT count(*) FROM Packages;").unwrap();
    let mut line = String::new();
    BufReader::new(reader.stdout.take().unwrap()).read_line(&mut line).unwrap();
    install(database, packages);
    fs::create_dir_all(to).unwrap();
    for file in ["rpmdb.sqlite", "rpmdb.sqlite-wal"] {
        fs::copy(database.join(file), to.join(file)).unwrap();
    }
    drop(input);
    reader.wait().unwrap();
}

#[test]
fn a_system_is_the_same_in_every_shape_and_as_rpm_lists_it() {
    let Some(shop) = workshop() else { return };
    let shop = shop.path();
    let root = shop.join("root");
    bare(&root);
    let database = root.join("var/lib/rpm");
    install(&database, &built(shop, &["bash", "nodejs", "kernel"]));
    if has_tool("gpg") {
        let home = shop.join("gpg");
        fs::create_dir(&home).unwrap();
        let gpg = |args: &[&str]| {
            run(Command::new("gpg")
                .arg("--homedir")
                .arg(&home)
                .args(["--batch", "--passphrase", ""])
                .args(args))
        };
        gpg(&["--quick-gen-key", "a@example.org", "rsa2048"]);
        fs::write(shop.join("key"), gpg(&["--armor", "--export"])).unwrap();
        run(rpm(&database).arg("--import").arg(shop.join("key")));
        assert!(run(rpm(&database).arg("-qa")).contains("gpg-pubkey-"));
    }
    // What rpm leaves is as it leaves it, but for its shared memory.
    let want = listed(&database, "sqlite");
    assert_eq!(want.len(), 6);
    assert_eq!(told(&database.join("rpmdb.sqlite")), want);
    let _ = fs::remove_file(database.join("rpmdb.sqlite-shm"));

    let (ran, directory) = inventory(&root);
    assert_eq!((ran.code, reasons(&directory)), (0, vec![]), "{}", shown(&ran));
    assert_eq!(packages(&directory), without_context(want.clone()));
    assert_eq!(directory.systems[0].platform.as_ref().unwrap().to_string(), "rhel/9/x86_64");

    // A root file system as a tar, an image of one layer, and one whose upper layers change the database.
    let archive = shop.join("root.tar");
    fs::write(&archive, tar(&[("", &root)])).unwrap();
    let layered = shop.join("layered");
    image(&layered, vec![tar(&[("", &root)])]);
    let first = shop.join("first");
    install(&first, &built(shop, &["bash-5", "kernel-core-5.14.0-362"]));
    let changed = shop.join("changed");
    image(
        &changed,
        vec![tar(&[("etc", &root.join("etc")), ("var/lib/rpm", &first)]), tar(&[("var/lib/rpm", &database)])],
    );
    let mut all = vec![archive, layered, changed];
    if has_tool("mke2fs") {
        let disk = shop.join("disk.img");
        run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg("32M"));
        all.push(disk);
    }
    for path in all {
        let (ran, found) = inventory(&path);
        assert_eq!((ran.code, reasons(&found)), (0, vec![]), "{}", shown(&ran));
        assert_eq!(packages(&found), packages(&directory), "{}", path.display());
        if !path.ends_with("disk.img") {
            assert_eq!(found.content_id, directory.content_id, "{}", path.display());
        }
    }
    // What the changelogs say: entries without a version belong to the one above.
    let ran = karat(&["inventory", root.to_str().unwrap(), "-o", "json", "--with-releases", "--as-of", DAY]);
    let history: Inventory = serde_json::from_str(&ran.stdout).unwrap();
    let releases: Vec<_> = history.systems[0]
        .releases
        .iter()
        .filter(|entry| entry.source.starts_with("bash"))
        .map(|entry| {
            format!("{} {} {} {}", entry.source, entry.version, entry.dated.unwrap(), entry.cves.join(" "))
        })
        .collect();
    let want = [
        "bash 5.1.8~rc1-5 2023-12-04T12:00:00Z CVE-2023-0001",
        "bash 5.1.8~rc1-6.el9 2024-01-01T12:00:00Z CVE-2023-0002 CVE-2024-0001",
        "bash/nodejs:18 5.1.8~rc1-5 2023-12-04T12:00:00Z CVE-2023-0001",
        "bash/nodejs:18 5.1.8~rc1-6.el9 2024-01-01T12:00:00Z CVE-2023-0002 CVE-2024-0001",
    ];
    assert_eq!(releases, want);
}

#[test]
fn a_log_in_another_layer_belongs_to_the_database() {
    let Some(shop) = workshop() else { return };
    let shop = shop.path();
    let root = shop.join("root");
    bare(&root);
    let (database, snapshot) = (shop.join("db"), shop.join("snapshot"));
    install(&database, &built(shop, &["bash", "kernel-core-5.14.0-362"]));
    let _ = fs::remove_file(database.join("rpmdb.sqlite-shm"));
    install_into_log(&database, &built(shop, &["nodejs", "kernel-core-5.14.0-427"]), &snapshot);
    let main = snapshot.join("rpmdb.sqlite");
    let log = snapshot.join("rpmdb.sqlite-wal");
    let etc = root.join("etc");
    let base = || tar(&[("etc", etc.as_path()), ("var/lib/rpm/rpmdb.sqlite", main.as_path())]);
    let with_log = tar(&[("var/lib/rpm/rpmdb.sqlite-wal", log.as_path())]);
    let removed = shop.join("empty");
    fs::write(&removed, "").unwrap();
    let without_log = tar(&[("var/lib/rpm/.wh.rpmdb.sqlite-wal", removed.as_path())]);

    let pending = without_context(told(&main));
    assert_eq!(pending.len(), 6);
    for (name, layers, count) in [
        ("pending", vec![base(), with_log.clone()], 6),
        ("below", vec![with_log.clone(), base()], 6),
        ("removed", vec![base(), with_log, without_log], 3),
    ] {
        let folder = shop.join(name);
        image(&folder, layers);
        let (ran, found) = inventory(&folder);
        assert_eq!((ran.code, reasons(&found)), (0, vec![]), "{name}: {}", shown(&ran));
        assert_eq!(packages(&found).len(), count, "{name}: {:?}", packages(&found));
        if count == 6 {
            assert_eq!(packages(&found), pending, "{name}");
        }
    }
    // rpm says the same of the files, which it folds in on the way.
    assert_eq!(without_context(listed(&snapshot, "sqlite")), pending);
}

/// Headers as a database of Berkeley DB, which rpm still reads and no longer writes.
fn as_berkeley_db(from: &Path, to: &Path, kind: &str, order: &str, page_size: &str) {
    let rows = run(Command::new("sqlite3").arg(from).arg("SELECT hnum, hex(blob) FROM Packages"));
    let mut dump = format!(
        "VERSION=3\nformat=bytevalue\ntype={kind}\ndb_lorder={order}\ndb_pagesize={page_size}\nHEADER=END\n"
    );
    let mut row = |instance: u32, value: &str| {
        let key = if order == "1234" { instance.to_le_bytes() } else { instance.to_be_bytes() };
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        dump.push_str(&format!(" {key}\n {}\n", value.to_ascii_lowercase()));
    };
    row(0, "ff000000");
    for (instance, value) in rows.lines().filter_map(|line| line.split_once('|')) {
        row(instance.parse().unwrap(), value);
    }
    dump.push_str("DATA=END\n");
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let input = to.with_extension("dump");
    fs::write(&input, dump).unwrap();
    run(Command::new("db_load").arg("-f").arg(&input).arg(to));
    fs::remove_file(input).unwrap();
}

#[test]
fn databases_of_berkeley_db_are_as_rpm_lists_them() {
    let Some(shop) = workshop() else { return };
    if !has_tool("db_load") {
        return;
    }
    let shop = shop.path();
    let database = shop.join("db");
    install(&database, &built(shop, &["bash", "nodejs", "kernel"]));
    let want = listed(&database, "sqlite");
    for kind in ["hash", "btree"] {
        for order in ["1234", "4321"] {
            for page_size in ["512", "1024", "4096", "16384", "65536"] {
                let case = format!("{kind}-{order}-{page_size}");
                let root = shop.join(&case);
                let file = root.join("var/lib/rpm/Packages");
                as_berkeley_db(&database.join("rpmdb.sqlite"), &file, kind, order, page_size);
                assert_eq!(listed(file.parent().unwrap(), "bdb_ro"), want, "{case}");
                assert_eq!(told(&file), want, "{case}");
                if page_size == "4096" {
                    bare(&root);
                    let (ran, found) = inventory(&root);
                    assert_eq!((ran.code, reasons(&found)), (0, vec![]), "{case}: {}", shown(&ran));
                    assert_eq!(packages(&found), without_context(want.clone()), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_database_is_found_wherever_distributions_keep_it_and_the_newest_counts() {
    let Some(shop) = workshop() else { return };
    let shop = shop.path();
    let database = shop.join("db");
    install(&database, &built(shop, &["bash", "nodejs", "kernel"]));
    let want = without_context(listed(&database, "sqlite"));
    let put = |root: &Path, place: &str| {
        bare(root);
        fs::create_dir_all(root.join(place)).unwrap();
        fs::copy(database.join("rpmdb.sqlite"), root.join(place).join("rpmdb.sqlite")).unwrap();
    };
    // Fedora and SUSE, with a link where it was; ostree, the same with the link the other way round.
    for (name, place, link, target) in [
        ("fedora", "usr/lib/sysimage/rpm", Some("var/lib/rpm"), "../../usr/lib/sysimage/rpm"),
        ("ostree", "usr/share/rpm", Some("var/lib/rpm"), "../../usr/share/rpm"),
        ("linked", "usr/share/rpm", Some("usr/lib/sysimage/rpm"), "../../share/rpm"),
        ("absolute", "usr/lib/sysimage/rpm", Some("var/lib/rpm"), "/usr/lib/sysimage/rpm"),
        ("alone", "usr/share/rpm", None, ""),
    ] {
        let root = shop.join(name);
        put(&root, place);
        if let Some(link) = link {
            fs::create_dir_all(root.join(link).parent().unwrap()).unwrap();
            symlink(target, root.join(link)).unwrap();
        }
        let (ran, found) = inventory(&root);
        assert_eq!((ran.code, reasons(&found)), (0, vec![]), "{name}: {}", shown(&ran));
        assert_eq!(packages(&found), want, "{name}");
        assert_eq!(found.systems[0].packages[0].path.to_string(), format!("/{place}/rpmdb.sqlite"), "{name}");
    }

    // A database of Berkeley DB that was left behind: it has what was installed first.
    if !has_tool("db_load") {
        return;
    }
    let older = shop.join("older");
    install(&older, &built(shop, &["kernel-core-5.14.0-362"]));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let newer = shop.join("newer");
    install(&newer, &built(shop, &["bash", "kernel-core-5.14.0-427.13"]));
    let root = shop.join("two");
    bare(&root);
    let place = root.join("var/lib/rpm");
    as_berkeley_db(&older.join("rpmdb.sqlite"), &place.join("Packages"), "hash", "1234", "4096");
    fs::copy(newer.join("rpmdb.sqlite"), place.join("rpmdb.sqlite")).unwrap();
    let (ran, found) = inventory(&root);
    assert_eq!(packages(&found), without_context(listed(&newer, "sqlite")), "{}", shown(&ran));
    let told = reasons(&found);
    assert!(
        told.len() == 1 && told[0].starts_with("/var/lib/rpm/Packages: a second rpm database"),
        "{told:?}"
    );
}

#[test]
fn what_is_no_whole_database_is_told_and_never_passes() {
    let Some(shop) = workshop() else { return };
    let shop = shop.path();
    let database = shop.join("db");
    install(&database, &built(shop, &["bash", "nodejs", "kernel"]));
    let whole = fs::read(database.join("rpmdb.sqlite")).unwrap();
    let root = shop.join("root");
    let place = root.join("var/lib/rpm");
    let with = |name: &str, content: &[u8], want: &str, count: usize| {
        let _ = fs::remove_dir_all(&root);
        bare(&root);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(name), content).unwrap();
        let (ran, found) = inventory(&root);
        let told = reasons(&found);
        assert_ne!(ran.code, 0, "{}", shown(&ran));
        assert!(
            told.iter().any(|text| text.contains(want) && text.ends_with("(required)")),
            "{want}: {told:#?}"
        );
        assert_eq!(packages(&found).len(), count, "{want}: {told:#?}");
    };
    with("Name", b"x", "rpm's directory is there, and no database in it", 0);
    with("__db.001", b"x", "rpm's directory is there, and no database in it", 0);
    with("rpmdb.sqlite-wal", b"x", "rpm's directory is there, and no database in it", 0);
    with("rpmdb.sqlite", b"", "rpm database: magic", 0);
    with("rpmdb.sqlite", &whole[..50], "SQLite database: header", 0);
    with("Packages", &[0; 8192], "rpm database: magic", 0);
    let other = shop.join("other.sqlite");
    run(Command::new("sqlite3").arg(&other).arg("CREATE TABLE history (a)"));
    with("rpmdb.sqlite", &fs::read(&other).unwrap(), "an SQLite database with the tables `history", 0);

    // One header that was edited by hand: the others are listed, and which it is, is told.
    let edited = shop.join("edited.sqlite");
    for (change, want) in [
        ("replace(hex(blob), hex('5.1.8~rc1'), hex('5.1.9~rc1'))", "digest"),
        ("substr(hex(blob), 1, 300)", "size"),
        ("'00'", "size"),
        ("hex(zeroblob(64))", "index"),
        ("'7fffffff7fffffff' || substr(hex(blob), 17)", "limit"),
    ] {
        fs::write(&edited, &whole).unwrap();
        // Old sqlite3 has no unhex(): the text goes through the shell.
        let query =
            format!("SELECT {change} FROM Packages WHERE blob = (SELECT blob FROM Packages WHERE hnum = 1)");
        let hex = run(Command::new("sqlite3").arg(&edited).arg(query));
        let update = format!("UPDATE Packages SET blob = x'{}' WHERE hnum = 1", hex.trim());
        run(Command::new("sqlite3").arg(&edited).arg(update));
        let bytes = fs::read(&edited).unwrap();
        with("rpmdb.sqlite", &bytes, "record 1", 5);
        with("rpmdb.sqlite", &bytes, want, 5);
    }
    // Taken out, while the index of names still has it.
    fs::write(&edited, &whole).unwrap();
    run(Command::new("sqlite3").arg(&edited).arg("DELETE FROM Packages WHERE hnum = 1"));
    with("rpmdb.sqlite", &fs::read(&edited).unwrap(), "which is instance 1 in the index of names", 5);

    // Cut off anywhere: something is told.
    for pages in [1, 2, 5, 10, 30] {
        let _ = fs::remove_dir_all(&root);
        bare(&root);
        fs::create_dir_all(&place).unwrap();
        let len = (pages * 4096).min(whole.len() - 1);
        fs::write(place.join("rpmdb.sqlite"), &whole[..len]).unwrap();
        let (ran, found) = inventory(&root);
        assert!(ran.code != 0 && found.gaps.iter().any(|gap| gap.required), "{len}: {}", shown(&ran));
    }
}

#[test]
fn a_database_that_macros_put_elsewhere_is_a_gap() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let database = fs::read(root.join("fixtures/rpmdb/sqlite/rpmdb.sqlite")).unwrap();
    for (macros, want) in [
        ("%_dbpath %{_var}/lib/rpm\n", None),
        ("%_dbpath\t/usr/share/rpm\n", None),
        ("%_dbpath /opt/rpm\n", Some("in /opt/rpm, which is not read")),
        ("%_dbpath %{_home}/rpm\n", Some("in %{_home}/rpm, which is not read")),
    ] {
        let image = Memory::new()
            .file("etc/os-release", "ID=rocky\nVERSION_ID=9.4\n")
            .file("var/lib/rpm/rpmdb.sqlite", database.clone())
            .file("etc/rpm/macros.db", macros);
        for walk in [Walk::Stream, Walk::LookUp] {
            let squashed = squash_all(vec![image.clone()], walk, &serving(Needs::OS_PACKAGES), 1);
            let assembled = assemble(&squashed, Needs::OS_PACKAGES, &Limits::default());
            assert!(!assembled.system.packages.is_empty(), "{macros}");
            // The packages of this database are for any architecture.
            let told = assembled.gaps.iter().filter(|gap| gap.place != "packages");
            let gaps: Vec<_> = told.map(|gap| (gap.required, gap.reason.as_str())).collect();
            match (want, gaps.as_slice()) {
                (None, []) => {}
                (Some(want), [(true, reason)]) => assert!(reason.contains(want), "{reason}"),
                _ => panic!("{macros} {walk:?}: {gaps:?}"),
            }
        }
    }
}
