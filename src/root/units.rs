//! The mount units of a system, as systemd finds them (systemd.unit(5), "unit file load path").
//!
//! A unit is mounted when a target wants or requires it, or its automount. Another unit may need a path below it,
//! which pulls it in as well: what nobody is seen to want is a doubt where its source is in the image.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Plan, Wanted, described};
use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::format::mount_unit::{MountUnit, mount_point, unit_name};
use crate::model::ImagePath;

/// Where units are, the first counts; whether they count before what fstab says.
const FOLDERS: [(&str, bool); 6] = [
    ("etc/systemd/system.control", true),
    ("etc/systemd/system", true),
    ("etc/systemd/system.attached", true),
    ("usr/local/lib/systemd/system", false),
    ("usr/lib/systemd/system", false),
    ("lib/systemd/system", false),
];

/// What changes units: the directory's name without `.d`, and in it each file by its name.
type Changes = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, ImagePath>>;

/// What the folders of units hold.
#[derive(Default)]
struct Units {
    /// Where each mount unit lies, and whether it counts before fstab.
    files: BTreeMap<Vec<u8>, (ImagePath, bool)>,
    /// What changes them.
    changes: Changes,
    /// Names of mount units that something wants, themselves or as automounts.
    wanted: BTreeSet<Vec<u8>>,
}

impl Plan<'_> {
    /// Adds what mount units mount to the lines of fstab.
    pub(super) fn add_units(&mut self, wanted: &mut Vec<Wanted>) {
        let units = self.units();
        for (name, (path, before_fstab)) in &units.files {
            let Some(point) = mount_point(name).filter(|point| !point.is_root()) else { continue };
            let same = |wanted: &Wanted| ImagePath::new(&wanted.entry.mount_point) == point;
            let of_fstab = wanted.iter().position(same);
            if of_fstab.is_some() && !before_fstab {
                continue;
            }
            match self.unit(name, path, &units.changes, &point) {
                Ok(unit) => {
                    if let Some(at) = of_fstab {
                        let line = wanted.remove(at);
                        let what = match &unit {
                            Some(_) => format!(
                                "mounts instead of {}, which fstab names",
                                described(&line.entry.what)
                            ),
                            None => format!("masks {}, which fstab names", described(&line.entry.what)),
                        };
                        self.gap(&point, format!("the unit {path} {what}"), false);
                    }
                    let Some(mut unit) = unit else { continue };
                    if unit.doubt.is_none() && !units.wanted.contains(name) && of_fstab.is_none() {
                        unit.doubt = Some(format!("no target wants the unit {path}"));
                    }
                    wanted.push(unit);
                }
                Err(error) => {
                    let is_required = super::plan::is_software(&point);
                    self.gap(path, error.to_string(), is_required);
                }
            }
        }
        // What changes a unit changes one that is made of a line of fstab, too.
        for line in wanted.iter_mut() {
            let point = ImagePath::new(&line.entry.mount_point);
            let name = unit_name(&point);
            if units.files.contains_key(&name) || point.is_root() {
                continue;
            }
            let mut unit = MountUnit::default();
            let changed = self.change(&mut unit, &name, &units.changes).map(|()| unit.entry(&point));
            match changed {
                Ok(Some(changed)) => {
                    if !unit.what.is_empty() {
                        line.entry.what = changed.what;
                    }
                    if !unit.fs_type.is_empty() {
                        line.entry.fs_type = changed.fs_type;
                    }
                    if !unit.options.is_empty() {
                        line.entry.options = changed.options;
                    }
                    line.doubt =
                        self.doubt(&unit).unwrap_or_else(|| Some("its unit asks for what is not so".into()));
                }
                Ok(None) => line.doubt = Some("what changes its unit has specifiers".to_owned()),
                Err(error) => line.doubt = Some(error.to_string()),
            }
        }
    }

    /// What lies in the folders of units. A folder that cannot be read is a gap.
    fn units(&mut self) -> Units {
        let mut units = Units::default();
        let mut seen = BTreeSet::new();
        for (folder, before_fstab) in FOLDERS {
            let folder = ImagePath::from(folder);
            match self.resolved(&folder) {
                Ok(real) if seen.insert(real.clone()) => {}
                Ok(_) => continue,
                Err(error) => {
                    self.gap(&folder, error.to_string(), true);
                    continue;
                }
            }
            for name in self.names_or_gap(&folder) {
                let path = folder.join(&name);
                if let Err(error) = self.limits.mounts.check(size_of_len(units.files.len()).saturating_add(1))
                {
                    self.gap(&folder, error.to_string(), true);
                    break;
                }
                if name.ends_with(b".mount") {
                    units.files.entry(name).or_insert((path, before_fstab));
                } else if let Some(of) = name.strip_suffix(b".d").filter(|of| of.ends_with(b"mount")) {
                    let files = self.names_or_gap(&path).into_iter().filter(|file| file.ends_with(b".conf"));
                    let files: Vec<Vec<u8>> = files.collect();
                    let changes = units.changes.entry(of.to_vec()).or_default();
                    for file in files {
                        let at = path.join(&file);
                        changes.entry(file).or_insert(at);
                    }
                } else if [&b".wants"[..], b".requires", b".upholds"].iter().any(|end| name.ends_with(end)) {
                    let names = self.names_or_gap(&path).into_iter();
                    units.wanted.extend(names.filter_map(|name| match name.strip_suffix(b".automount") {
                        Some(stem) => Some([stem, b".mount"].concat()),
                        None => name.ends_with(b".mount").then_some(name),
                    }));
                }
            }
        }
        units
    }

    fn names_or_gap(&mut self, folder: &ImagePath) -> Vec<Vec<u8>> {
        self.names(folder).unwrap_or_else(|error| {
            self.gap(folder, error.to_string(), true);
            Vec::new()
        })
    }

    /// What a unit mounts; `None` if it is masked.
    fn unit(
        &self,
        name: &[u8],
        path: &ImagePath,
        changes: &Changes,
        point: &ImagePath,
    ) -> Result<Option<Wanted>> {
        if self.resolved(path)? == ImagePath::from("dev/null") {
            return Ok(None);
        }
        let own = self.file(path)?.unwrap_or_default();
        if own.is_empty() {
            return Ok(None);
        }
        let mut unit = MountUnit::default();
        unit.read(&own, self.limits)?;
        self.change(&mut unit, name, changes)?;
        if !unit.mount_point.is_empty() && ImagePath::new(&unit.mount_point) != *point {
            return Err(Error::malformed(
                "mount unit",
                "Where",
                None,
                crate::error::quoted(&unit.mount_point),
                format!("/{point}, as its name says"),
            ));
        }
        let entry = unit
            .entry(point)
            .ok_or_else(|| Error::unsupported("a mount unit with specifiers, which depend on the machine"))?;
        Ok(self.doubt(&unit).map(|doubt| Wanted { entry, doubt }))
    }

    /// Takes over what the `.d` directories of a unit change of it.
    fn change(&self, unit: &mut MountUnit, name: &[u8], changes: &Changes) -> Result<()> {
        let mut files: BTreeMap<&[u8], &ImagePath> = BTreeMap::new();
        for of in changed_by(name) {
            for (file, at) in changes.get(&of).into_iter().flatten() {
                files.entry(file).or_insert(at);
            }
        }
        for at in files.into_values() {
            if self.resolved(at)? != ImagePath::from("dev/null") {
                unit.read(&self.file(at)?.unwrap_or_default(), self.limits)?;
            }
        }
        Ok(())
    }

    /// Why it is not sure that what a unit asks for holds, if so; `None` if it does not hold.
    fn doubt(&self, unit: &MountUnit) -> Option<Option<String>> {
        let mut doubt = None;
        for (key, value) in &unit.conditions {
            match self.holds(key, value) {
                Some(true) => {}
                Some(false) => return None,
                None => doubt = Some(format!("its unit asks for {key}={value}")),
            }
        }
        Some(doubt)
    }

    /// Whether what a unit asks for holds on a machine; `None` if the image does not say it.
    fn holds(&self, key: &str, value: &str) -> Option<bool> {
        let key = key.trim_start_matches("Condition").trim_start_matches("Assert");
        let (is_not, value) = match value.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        match (key, value) {
            ("Virtualization", "container") => Some(is_not),
            ("PathExists" | "PathIsDirectory", path) if path.starts_with('/') => {
                let path = ImagePath::from(path);
                let first = path.components().next().unwrap_or_default();
                if matches!(first, b"run" | b"proc" | b"sys" | b"dev" | b"tmp") {
                    return None;
                }
                Some(self.at(&path).ok()?.is_some() != is_not)
            }
            _ => None,
        }
    }
}

/// The names of the `.d` directories of a unit, without that end, the one that counts most first:
/// `a-b.mount`, `a-.mount`, `mount`.
fn changed_by(name: &[u8]) -> Vec<Vec<u8>> {
    let stem = name.strip_suffix(b".mount").unwrap_or(name);
    let mut names = vec![name.to_vec()];
    for at in (0..stem.len()).rev() {
        let (before, after) = stem.split_at(at);
        if after.len() > 1 && after.first() == Some(&b'-') {
            names.push([before, b"-.mount"].concat());
        }
    }
    names.push(b"mount".to_vec());
    names
}
