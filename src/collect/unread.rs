//! Package databases that are recognised and not read yet, each a gap with its name, so that an image that holds
//! one is never called clean: those of other package managers, and those of systems below the image's own (a
//! chroot, an unpacked image).

use crate::error::Result;
use crate::model::ImagePath;
use crate::stratum::{Entry, Want};

use super::{Collector, FileView, Needs, Out};

/// Recognises databases of other package managers.
pub(super) struct Unread;

/// A package manager, where its database is, and whether an image can pass without it being read.
struct Manager {
    name: &'static str,
    database: &'static str,
    required: bool,
}

const fn system(name: &'static str, database: &'static str) -> Manager {
    Manager { name, database, required: true }
}

const fn application(name: &'static str, database: &'static str) -> Manager {
    Manager { name, database, required: false }
}

/// A database is a file or a directory; of a directory any file below it counts.
const MANAGERS: &[Manager] = &[
    system("ipkg", "usr/lib/ipkg/status"),
    system("nix", "nix/var/nix/db/db.sqlite"),
    system("guix", "var/guix/db/db.sqlite"),
    system("swupd", "usr/share/clear/bundles"),
    system("Container-Optimized OS", "etc/cos-package-info.json"),
    system("eopkg", "var/lib/eopkg/package"),
    system("pisi", "var/lib/pisi/package"),
    system("moss", ".moss/db"),
    system("slackware", "var/lib/pkgtools/packages"),
    system("slackware", "var/log/packages"),
    system("tazpkg", "var/lib/tazpkg/installed"),
    system("tce", "usr/local/tce.installed"),
    system("kiss", "var/db/kiss/installed"),
    system("pkgutils", "var/lib/pkg/db"),
    system("pkg", "var/db/pkg/local.sqlite"),
    application("snap", "var/lib/snapd/state.json"),
    application("snap", "var/lib/snapd/seed/seed.yaml"),
    application("snap", "var/lib/snapd/snaps"),
    application("flatpak", "var/lib/flatpak/app"),
    application("flatpak", "var/lib/flatpak/runtime"),
    application("homebrew", "home/linuxbrew/.linuxbrew/Cellar"),
    application("bitnami", "opt/bitnami/.bitnami_components.json"),
    application("conda", "opt/conda/conda-meta/history"),
];

/// Databases of the package managers that are read, as a system below the image's own has them.
const NESTED: &[(&str, &str)] = &[
    ("dpkg", "/var/lib/dpkg/status"),
    ("apk", "/lib/apk/db/installed"),
    ("rpm", "/var/lib/rpm/Packages"),
    ("rpm", "/var/lib/rpm/rpmdb.sqlite"),
    ("rpm", "/var/lib/rpm/Packages.db"),
    ("rpm", "/usr/lib/sysimage/rpm/Packages"),
    ("rpm", "/usr/lib/sysimage/rpm/Packages.db"),
    ("rpm", "/usr/lib/sysimage/rpm/rpmdb.sqlite"),
    ("pacman", "/var/lib/pacman/local/ALPM_DB_VERSION"),
    ("chisel", "/var/lib/chisel/manifest.wall"),
    ("opkg", "/usr/lib/opkg/status"),
    ("opkg", "/var/lib/opkg/status"),
    ("xbps", "/var/db/xbps/pkgdb-0.38.plist"),
];

/// The package manager whose database this is, if it is that of a system below the image's own. What documents
/// and tests of programs carry is none.
fn nested(path: &ImagePath) -> Option<&'static str> {
    let bytes = path.as_bytes();
    let is_own = |root: &[u8]| root.is_empty() || root == b"usr";
    let found = NESTED.iter().find_map(|(name, end)| {
        let root = bytes.strip_suffix(end.as_bytes())?;
        (!is_own(root)).then_some((*name, root))
    });
    found.filter(|(_, root)| !root.starts_with(b"usr/share/doc/")).map(|(name, _)| name)
}

const PLACES: [&str; MANAGERS.len()] = {
    let mut places = [""; MANAGERS.len()];
    let mut i = 0;
    while i < places.len() {
        places[i] = MANAGERS[i].database;
        i += 1;
    }
    places
};

fn manager(path: &ImagePath) -> Option<&'static Manager> {
    MANAGERS.iter().find(|m| match path.as_bytes().strip_prefix(m.database.as_bytes()) {
        Some(rest) => rest.is_empty() || rest.first() == Some(&b'/'),
        None => false,
    })
}

impl Collector for Unread {
    fn id(&self) -> &'static str {
        "unread"
    }

    fn version(&self) -> u32 {
        4
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        &PLACES
    }

    fn reads_files_only(&self) -> bool {
        false // of a database that is a directory, any file counts
    }

    fn is_required(&self, path: &ImagePath) -> bool {
        manager(path).is_none_or(|manager| manager.required)
    }

    fn want(&self, entry: &Entry) -> Want {
        match manager(&entry.path).is_some() || nested(&entry.path).is_some() {
            true => Want::Head(0),
            false => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        if let Some(manager) = manager(file.path) {
            let place = ImagePath::from(manager.database).to_string();
            let reason = format!("packages of {}: recognised, not read by this version", manager.name);
            out.gap_at(place, reason, manager.required);
        } else if let Some(name) = nested(file.path) {
            out.gap(format!(
                "packages of a system below the image's own ({name}): recognised, not read by this version"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::{Meta, Node};

    #[test]
    fn databases_are_known_by_path() {
        let want = |path: &str| {
            Unread.want(&Entry { path: ImagePath::from(path), node: Node::File(Meta::default()) }) != Want::No
        };
        assert!(!want("var/lib/rpm/Packages"));
        assert!(!want("var/lib/pacman/local/bash-5.2-1/desc"));
        assert!(want("var/log/packages/bash-5.2.037-x86_64-1"));
        assert!(want("nix/var/nix/db/db.sqlite"));
        assert!(!want("var/lib/rpm.old/Packages"));
        assert!(want("srv/var/lib/rpm/Packages"));
        assert!(want("srv/chroot/var/lib/dpkg/status"));
        assert!(!want("var/lib/dpkg/status"));
        assert!(!want("lib/apk/db/installed"));
        assert!(!want("usr/lib/apk/db/installed"));
        assert!(!want("srv/chroot/var/lib/dpkg/status-old"));
        assert!(!want("usr/share/doc/x/examples/var/lib/dpkg/status"));
    }
}
