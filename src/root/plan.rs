//! What one system mounts where: its fstab, its mount units, and the types of partitions.
//!
//! | what | as |
//! |---|---|
//! | fstab | systemd-fstab-generator reads it: of two lines for one place the first counts; without systemd both are mounted, and the last is seen |
//! | mount units | systemd takes them: those in /etc hide lines of fstab, these hide those in /usr |
//! | types of partitions | UAPI.2, where both are silent |
//!
//! A mount is required where software is and where its source is in the image, whatever its options say; where it
//! is not, `nofail` says that the system does without it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Candidate, MARKS, NETWORK, NO_VOLUME, SystemRoot, Volume};
use crate::bytes::{read_all, size_of_len};
use crate::error::{Error, Result};
use crate::format::fstab::{self, Fstab, FstabEntry, Spec, disk_ordinal};
use crate::limits::Limits;
use crate::model::{Gap, ImagePath};
use crate::tree::{FileTree, Mount, NodeId, NodeKind, Step, Subvolume};

/// Where systemd itself may be.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

pub(super) struct Plan<'a> {
    pub(super) volumes: &'a [Volume],
    pub(super) limits: &'a Limits,
    pub(super) system: SystemRoot,
    /// All kernel names of disks that its mounts name.
    disk_names: BTreeSet<String>,
}

/// One mount that a system's files ask for.
pub(super) struct Wanted {
    pub(super) entry: FstabEntry,
    /// Why it is not sure that it is mounted.
    pub(super) doubt: Option<String>,
}

/// Why something is not mounted.
struct Unmounted {
    error: Error,
    /// Whether what would be mounted is in the image, so that a boot would mount it.
    is_here: bool,
}

impl From<Error> for Unmounted {
    fn from(error: Error) -> Self {
        Unmounted { error, is_here: true }
    }
}

/// What is at a path, and where that is without links on its way.
type Found<'p> = Option<(ImagePath, &'p Mount, Step)>;

impl<'a> Plan<'a> {
    pub(super) fn new(
        volumes: &'a [Volume],
        limits: &'a Limits,
        own: &Candidate,
        node: NodeId,
        place: String,
    ) -> Self {
        let volume = volumes.get(own.volume);
        let root = volume.and_then(|volume| {
            let tree = Arc::clone(volume.tree.as_ref().ok()?);
            Some(Mount { path: ImagePath::root(), node, tree, place: volume.place.clone() })
        });
        let system = SystemRoot {
            volume: own.volume,
            place,
            mounts: root.into_iter().collect(),
            uses: BTreeSet::from([own.volume]),
            gaps: Vec::new(),
            mounts_root: false,
            disk_name: None,
        };
        Plan { volumes, limits, system, disk_names: BTreeSet::new() }
    }

    pub(super) fn finish(mut self) -> SystemRoot {
        self.discover();
        self.look_elsewhere();
        self.system
    }

    /// Whether the root has a mark of a system.
    ///
    /// # Errors
    /// If it has none that can be read, and one place of a mark cannot be read.
    pub(super) fn has_mark(&self) -> Result<bool> {
        let Some(root) = self.system.mounts.first() else { return Ok(false) };
        let paths = MARKS.map(ImagePath::from);
        let reached = root.tree.lookup_many(root.node, &paths);
        if paths.iter().zip(&reached).any(|(path, reached)| reached.steps.len() == path.components().count())
        {
            return Ok(true);
        }
        reached.into_iter().find_map(|reached| reached.failed).map_or(Ok(false), Err)
    }

    /// Whether there is something at a path of the root.
    pub(super) fn has(&self, path: &str) -> bool {
        matches!(self.find(&ImagePath::from(path)), Ok(Some(_)))
    }

    pub(super) fn mounts_itself(&mut self, fstab: &Fstab, candidate: &Candidate) -> bool {
        let own = self.volumes.get(self.system.volume);
        let root = fstab.entries.iter().find(|entry| {
            ImagePath::new(&entry.mount_point).is_root() && entry.mount_point.starts_with(b"/")
        });
        self.system.mounts_root = own.zip(root).is_some_and(|(own, root)| {
            let Ok(tree) = &own.tree else { return false };
            let names_it = match subvolume(&**tree, root) {
                Ok(node) => node == candidate.node,
                Err(_) => candidate.subvolume.is_none(),
            };
            own.is_named(&root.what) && names_it
        });
        if let Some(Spec::Partition { disk, .. } | Spec::Disk(disk)) = root.map(|root| &root.what)
            && self.system.mounts_root
        {
            self.system.disk_name = Some(disk.clone());
        }
        self.system.mounts_root
    }

    /// Mounts what types of partitions say, where nothing is mounted yet.
    fn discover(&mut self) {
        for (index, volume) in self.volumes.iter().enumerate() {
            let points: &[&str] = match volume.part_kind.as_str() {
                "EFI system" => &["boot/efi", "efi", "boot"],
                "Linux extended boot" => &["boot"],
                "Linux /var" => &["var"],
                _ => continue,
            };
            let Ok(tree) = &volume.tree else { continue };
            let is_new = |point: &&&str| {
                let point = ImagePath::from(**point);
                !self.system.mounts.iter().any(|mount| mount.path == point) && self.is_empty(&point)
            };
            let Some(point) = points.iter().find(is_new).filter(|_| !self.system.uses.contains(&index))
            else {
                continue;
            };
            let mount = Mount::new(ImagePath::from(*point), Arc::clone(tree), volume.place.clone());
            self.system.mounts.push(mount);
            self.system.uses.insert(index);
        }
    }

    /// Whether a path is an empty directory.
    fn is_empty(&self, path: &ImagePath) -> bool {
        let Ok(Some((mount, step))) = self.find(path) else { return false };
        let mut is_empty = step.meta.kind == NodeKind::Directory;
        let read = mount.tree.read_dir(step.node, &mut |entry| {
            is_empty &= entry.name == b"lost+found";
            Ok(())
        });
        is_empty && read.is_ok()
    }

    /// The system's fstab, wherever links lead from its place.
    pub(super) fn fstab(&mut self) -> Option<Fstab> {
        let place = ImagePath::from("etc/fstab");
        let read = self.file(&place).and_then(|content| match content {
            Some(content) => fstab::decode(&content, self.limits).map(Some),
            None => Ok(None),
        });
        match read {
            Ok(fstab) => fstab,
            Err(error) => {
                self.gap(&place, error.to_string(), true);
                None
            }
        }
    }

    /// The content of a small file, links followed; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or something is there that is no file: a directory, or a link to nothing.
    pub(super) fn file(&self, place: &ImagePath) -> Result<Option<Vec<u8>>> {
        let Some((_, mount, step)) = self.at(place)? else {
            let own = self.resolved(&place.parent())?.join(place.name());
            return match self.find(&own)? {
                None => Ok(None),
                Some(_) => Err(Error::not_found("what its link names")),
            };
        };
        if step.meta.kind != NodeKind::File {
            let kind = match step.meta.kind {
                NodeKind::Directory => "a directory",
                _ => "a special file",
            };
            return Err(Error::malformed("file", "kind", None, kind, "a file"));
        }
        let content = mount.tree.open(step.node)?;
        read_all(&*content, self.limits.fstab_bytes).map(Some)
    }

    /// Mounts what an fstab and the mount units say, parents first.
    pub(super) fn follow(&mut self, mut fstab: Fstab) {
        for problem in std::mem::take(&mut fstab.problems) {
            self.gap(&ImagePath::from("etc/fstab"), problem.to_string(), true);
        }
        let usr = ImagePath::from("usr");
        fstab.entries.retain(|entry| entry.mount_point.starts_with(b"/"));
        if let Err(error) = self.limits.mounts.check(size_of_len(fstab.entries.len())) {
            self.gap(&ImagePath::from("etc/fstab"), error.to_string(), true);
            fstab.entries.clear();
        }
        self.note_disks(fstab.entries.iter());
        // An initrd mounts /usr, where systemd and its units are.
        for entry in fstab.entries.iter().filter(|entry| ImagePath::new(&entry.mount_point) == usr).take(1) {
            self.want(&Wanted { entry: entry.clone(), doubt: None }, true);
        }
        let has_systemd =
            SYSTEMD.iter().any(|place| matches!(self.at(&ImagePath::from(*place)), Ok(Some(_))));
        let mut wanted = self.once_each(fstab.entries, has_systemd);
        if has_systemd {
            self.add_units(&mut wanted);
        }
        wanted.sort_by_key(|wanted| ImagePath::new(&wanted.entry.mount_point).components().count());
        self.note_disks(wanted.iter().map(|wanted| &wanted.entry));
        let is_mounted = |plan: &Self| plan.system.mounts.iter().any(|mount| mount.path == usr);
        for wanted in wanted {
            if ImagePath::new(&wanted.entry.mount_point) == usr && is_mounted(self) {
                continue;
            }
            self.want(&wanted, has_systemd);
        }
    }

    fn note_disks<'e>(&mut self, entries: impl Iterator<Item = &'e FstabEntry>) {
        self.disk_names.extend(entries.filter_map(|entry| match &entry.what {
            Spec::Partition { disk, .. } | Spec::Disk(disk) => Some(disk.clone()),
            _ => None,
        }));
    }

    /// Of lines for one place the one that counts.
    fn once_each(&mut self, entries: Vec<FstabEntry>, has_systemd: bool) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for entry in entries {
            let point = ImagePath::new(&entry.mount_point);
            let same = wanted.iter().position(|w| ImagePath::new(&w.entry.mount_point) == point);
            let Some(same) = same.filter(|_| is_on_a_volume(&entry)) else {
                wanted.push(Wanted { entry, doubt: None });
                continue;
            };
            let Some(before) = wanted.get_mut(same) else { continue };
            if before.entry == entry {
                continue;
            }
            let (which, counts) = match has_systemd {
                true => ("first", described(&before.entry.what)),
                false => ("last", described(&entry.what)),
            };
            if !has_systemd {
                before.entry = entry;
            }
            let reason = format!("fstab has several lines for it; the {which} counts: {counts}");
            self.gap(&point, reason, false);
        }
        wanted
    }

    /// Mounts one, or tells why not.
    fn want(&mut self, wanted: &Wanted, has_systemd: bool) {
        let entry = &wanted.entry;
        if !is_on_a_volume(entry) {
            return;
        }
        let point = ImagePath::new(&entry.mount_point);
        let is_software = is_software(&point);
        let types = entry.fs_type.split(',');
        if types.clone().any(|name| NETWORK.contains(&name.trim_start_matches("fuse."))) {
            let is_required = is_software && !entry.has("nofail") && !entry.has("noauto");
            if !entry.has("noauto") || entry.has("x-systemd.automount") {
                self.gap(&point, format!("mounted from elsewhere ({})", entry.fs_type), is_required);
            }
            return;
        }
        let is_asked = entry.has("noauto") && !entry.has("x-systemd.automount");
        let doubt = match &wanted.doubt {
            Some(doubt) => Some(doubt.clone()),
            // A unit that needs a path below pulls it in.
            None if is_asked => Some("it is mounted when something asks for it (noauto)".to_owned()),
            None => None,
        };
        if let Some(doubt) = doubt {
            if is_software {
                let is_boot = point.components().next() == Some(b"boot");
                let is_required = !is_boot && (has_systemd || !is_asked) && self.is_here(entry);
                let what = described(&entry.what);
                self.gap(
                    &point,
                    format!("whether {what} is mounted there is not known: {doubt}"),
                    is_required,
                );
            }
            return;
        }
        if let Err(Unmounted { error, is_here }) = self.mount(entry, point.clone()) {
            let is_required = is_software && !point.is_root() && (is_here || !entry.has("nofail"));
            self.gap(&point, error.to_string(), is_required);
        }
    }

    /// Whether what a line mounts is in the image.
    fn is_here(&self, entry: &FstabEntry) -> bool {
        match &entry.what {
            Spec::Other(path) if path.starts_with(b"/") => {
                !matches!(self.at(&ImagePath::new(path)), Ok(None))
            }
            Spec::Other(_) => entry.fs_type == "overlay",
            what => self.named(what).map_or_else(|unmounted| unmounted.is_here, |named| named.is_some()),
        }
    }

    fn mount(&mut self, entry: &FstabEntry, point: ImagePath) -> std::result::Result<(), Unmounted> {
        let point = self.resolved(&point)?;
        let absent = |what: String| Unmounted { error: Error::not_found(what), is_here: false };
        let described = described(&entry.what);
        if let Spec::Other(source) = &entry.what {
            let is_bind = entry.has("bind") || entry.has("rbind");
            if entry.fs_type == "overlay" {
                return Err(Error::unsupported("an overlay of directories").into());
            }
            let found = match source.starts_with(b"/") {
                true => self.at(&ImagePath::new(source))?,
                false => None,
            };
            return match found {
                _ if point.is_root() => Ok(()),
                Some((_, mount, step)) if is_bind => {
                    let (tree, place) = (Arc::clone(&mount.tree), mount.place.clone());
                    self.system.mounts.push(Mount { path: point, node: step.node, tree, place });
                    Ok(())
                }
                Some((.., step)) if step.meta.kind == NodeKind::File => {
                    Err(Error::unsupported(format!("the file system in the file {described}")).into())
                }
                _ if is_bind => Err(absent(described)),
                _ => Err(absent(format!("the volume that fstab names {described}"))),
            };
        }
        let Some(index) = self.named(&entry.what)? else {
            if point.is_root() && self.system.mounts_root {
                return Ok(());
            }
            return Err(absent(format!("the volume that fstab names {described}")));
        };
        let Some(volume) = self.volumes.get(index) else { return Ok(()) };
        if point.is_root() && index != self.system.volume {
            return Err(absent(format!(
                "it is named {described} by fstab, which is {}, and not where this system lies",
                volume.place
            )));
        }
        self.system.uses.insert(index);
        let tree = match &volume.tree {
            Ok(tree) => tree,
            Err(_) if volume.holds_none => return Ok(()),
            Err(error) => return Err(error.clone().at(volume.place.clone()).into()),
        };
        let mut node = subvolume(&**tree, entry)?;
        if point.is_root() {
            return Ok(());
        }
        if let Some(below) = entry.value("X-mount.subdir") {
            let below = ImagePath::from(below);
            let mut reached = tree.lookup_many(node, std::slice::from_ref(&below)).pop();
            if let Some(error) = reached.as_mut().and_then(|reached| reached.failed.take()) {
                return Err(error.at(volume.place.clone()).into());
            }
            let steps = reached.map(|reached| reached.steps).unwrap_or_default();
            let is_whole = steps.len() == below.components().count();
            node = match steps.last() {
                Some(step) if is_whole && step.meta.kind == NodeKind::Directory => step.node,
                None if below.is_root() => node,
                _ => {
                    return Err(
                        Error::not_found(format!("{}: {below} (X-mount.subdir)", volume.place)).into()
                    );
                }
            };
        }
        self.system.mounts.push(Mount {
            path: point,
            node,
            tree: Arc::clone(tree),
            place: volume.place.clone(),
        });
        Ok(())
    }

    /// The volume that is named so.
    ///
    /// # Errors
    /// If several are, and nothing says which of them a boot would take.
    fn named(&self, spec: &Spec) -> std::result::Result<Option<usize>, Unmounted> {
        let disk = match spec {
            Spec::Partition { disk, .. } | Spec::Disk(disk) => match self.disk_called(disk)? {
                None => return Ok(None),
                Some(index) => Some(index),
            },
            _ => None,
        };
        let all = self.volumes.iter().enumerate();
        let named: Vec<usize> = all
            .filter(|(_, volume)| disk.is_none_or(|disk| volume.disk == disk) && volume.is_named(spec))
            .map(|(index, _)| index)
            .collect();
        match named.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            many if many.contains(&self.system.volume) => Ok(Some(self.system.volume)),
            many => {
                let places: Vec<&str> =
                    many.iter().filter_map(|at| Some(self.volumes.get(*at)?.place.as_str())).collect();
                let reason = format!(
                    "{} names several volumes, and which of them is mounted is not known: {}",
                    described(spec),
                    places.join(", ")
                );
                Err(Error::config(reason).into())
            }
        }
    }

    /// The disk that the kernel calls so; `None` if it is none of these.
    ///
    /// # Errors
    /// If there are several disks, and nothing says which of them it is.
    fn disk_called(&self, name: &str) -> std::result::Result<Option<usize>, Unmounted> {
        let disks: BTreeSet<usize> = self.volumes.iter().map(|volume| volume.disk).collect();
        let own = self.volumes.get(self.system.volume).map(|volume| volume.disk);
        if self.system.disk_name.as_deref() == Some(name) {
            return Ok(own);
        }
        if disks.len() <= 1 {
            let is_first = match disk_ordinal(name) {
                Some(ordinal) => ordinal == 0,
                None => name.starts_with("mmcblk") && self.disk_names.len() <= 1,
            };
            return Ok(own.filter(|_| is_first && self.system.disk_name.is_none()));
        }
        // Of two disks and two names the other is the other.
        let others = self.disk_names.iter().filter(|other| self.system.disk_name.as_ref() != Some(other));
        if self.system.disk_name.is_some() && disks.len() == 2 && others.count() == 1 {
            return Ok(disks.into_iter().find(|disk| Some(*disk) != own));
        }
        let reason = format!(
            "/dev/{name} is one of the {} disks, and which of them is not in the image (hint: name volumes by UUID)",
            disks.len()
        );
        Err(Error::config(reason).into())
    }

    /// What is at a path, links followed.
    pub(super) fn at(&self, path: &ImagePath) -> Result<Found<'_>> {
        let real = self.resolved(path)?;
        Ok(self.find(&real)?.map(|(mount, step)| (real, mount, step)))
    }

    /// The names in a directory, links followed, sorted; none if it is none.
    pub(super) fn names(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        if let Some((_, mount, step)) =
            self.at(path)?.filter(|(.., step)| step.meta.kind == NodeKind::Directory)
        {
            mount.tree.read_dir(step.node, &mut |entry| {
                names.push(entry.name.to_vec());
                Ok(())
            })?;
        }
        names.sort();
        Ok(names)
    }

    /// A path through the mounts so far, without links on its way.
    pub(super) fn resolved(&self, path: &ImagePath) -> Result<ImagePath> {
        let mut left: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = ImagePath::root();
        let mut hops = 0_u64;
        while let Some(name) = left.pop() {
            if name == b".." {
                at = at.parent();
                continue;
            }
            let next = at.join(&name);
            let link = match self.find(&next)? {
                Some((mount, step)) if step.meta.kind == NodeKind::Symlink => {
                    Some(mount.tree.read_link(step.node)?)
                }
                _ => None,
            };
            let Some(target) = link else {
                at = next;
                continue;
            };
            hops = self.limits.link_hops.check(hops.saturating_add(1))?;
            if target.starts_with(b"/") {
                at = ImagePath::root();
            }
            left.extend(
                target
                    .split(|b| *b == b'/')
                    .rev()
                    .filter(|name| !matches!(*name, b"" | b"."))
                    .map(<[u8]>::to_vec),
            );
        }
        Ok(at)
    }

    /// What is at a path of the mounts so far, links not followed.
    pub(super) fn find(&self, path: &ImagePath) -> Result<Option<(&Mount, Step)>> {
        let covering = self.system.mounts.iter().filter(|mount| path.below(&mount.path).is_some());
        let Some(mount) = covering.max_by_key(|mount| mount.path.as_bytes().len()) else { return Ok(None) };
        let below = ImagePath::new(path.below(&mount.path).unwrap_or_default());
        if below.is_root() {
            return Ok(Some((mount, Step { node: mount.node, meta: mount.tree.meta(mount.node)? })));
        }
        let wanted = below.components().count();
        let Some(mut reached) = mount.tree.lookup_many(mount.node, &[below]).pop() else { return Ok(None) };
        match reached.failed {
            Some(error) => Err(error),
            None if reached.steps.len() == wanted => Ok(reached.steps.pop().map(|step| (mount, step))),
            None => Ok(None),
        }
    }

    pub(super) fn gap(&mut self, place: &ImagePath, reason: String, required: bool) {
        self.system.gaps.push(Gap { place: place.to_string(), reason, required });
    }
}

/// Whether a line of fstab mounts what is on a volume.
fn is_on_a_volume(entry: &FstabEntry) -> bool {
    !entry.fs_type.split(',').any(|name| NO_VOLUME.contains(&name))
}

/// Which directory of a tree an fstab wants.
fn subvolume(tree: &dyn FileTree, entry: &FstabEntry) -> Result<NodeId> {
    let by_id = entry.value("subvolid").and_then(|id| id.parse().ok()).map(Subvolume::Id);
    match entry.value("subvol").map(|path| Subvolume::Path(path.as_bytes())).or(by_id) {
        Some(chosen) => tree.subvolume(chosen),
        None => Ok(tree.root()),
    }
}

/// Whether what is mounted here has to be read: where software is. `/home` or `/srv` need not be there, nor what
/// snap installs, of which no package manager of the system knows.
pub(super) fn is_software(point: &ImagePath) -> bool {
    if point.below(&ImagePath::from("var/lib/snapd/snap")).is_some() {
        return false;
    }
    let first = point.components().next().unwrap_or_default();
    matches!(
        first,
        b"" | b"usr" | b"var" | b"opt" | b"boot" | b"etc" | b"lib" | b"lib64" | b"bin" | b"sbin" | b"root"
    )
}

/// How a volume is named, as fstab writes it.
pub(super) fn described(spec: &Spec) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match spec {
        Spec::Uuid(uuid) => format!("UUID={uuid}"),
        Spec::Label(label) => format!("LABEL={}", text(label)),
        Spec::PartUuid(uuid) => format!("PARTUUID={uuid}"),
        Spec::PartLabel(label) => format!("PARTLABEL={}", text(label)),
        Spec::Logical { group, name } => format!("{group}/{name}"),
        Spec::Partition { disk, number } => {
            let p = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
            format!("/dev/{disk}{p}{number}")
        }
        Spec::Disk(disk) => format!("/dev/{disk}"),
        Spec::Other(other) => format!("`{}`", text(other)),
    }
}
