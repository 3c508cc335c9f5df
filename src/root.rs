//! Which operating systems lie on the volumes of a disk, and what each of them mounts where.
//!
//! A system is found by what it says of itself: a volume whose root names a system, has a package database, or
//! has an fstab that mounts this very volume at `/`. Its fstab says which other volumes belong to it. A volume
//! that should be there and is not, or cannot be read, is a gap.
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
use std::sync::Arc;

use crate::bytes::read_all;
use crate::error::{Error, Result};
use crate::format::fstab::{self, Fstab, FstabEntry, Spec};
use crate::limits::Limits;
use crate::model::{Gap, ImagePath};
use crate::tree::{FileTree, Mount, NodeId, NodeKind, Step, Subvolume};

/// A volume of a disk, as far as it matters here.
pub struct Volume {
    /// Its place for people: `partition 2`.
    pub place: String,
    /// The number of a partition in its table.
    pub number: Option<u32>,
    /// Whether it is all of the disk.
    pub is_disk: bool,
    /// The UUID of its partition.
    pub part_uuid: Option<String>,
    /// The name of its partition.
    pub part_label: Option<String>,
    /// Volume group and name of a logical volume.
    pub logical: Option<(String, String)>,
    /// Its file system, or why there is none to read.
    pub tree: Result<Arc<dyn FileTree>>,
}

impl Volume {
    /// Whether this is what an fstab names so.
    #[must_use]
    pub fn is_named(&self, spec: &Spec) -> bool {
        let identity = self.tree.as_ref().ok().map(|tree| tree.identity());
        let is = |own: Option<&str>, named: &str| own.is_some_and(|own| own.eq_ignore_ascii_case(named));
        match spec {
            Spec::Uuid(uuid) => is(identity.and_then(|own| own.uuid.as_deref()), uuid),
            Spec::Label(label) => identity.is_some_and(|own| !label.is_empty() && own.label == *label),
            Spec::PartUuid(uuid) => is(self.part_uuid.as_deref(), uuid),
            Spec::PartLabel(label) => self.part_label.as_ref().is_some_and(|own| own.as_bytes() == label),
            Spec::Logical { group, name } => {
                self.logical.as_ref().is_some_and(|(own_group, own)| own_group == group && own == name)
            }
            Spec::Partition(number) => self.number == Some(*number) && self.logical.is_none(),
            Spec::Disk => self.is_disk,
            Spec::Other(_) => false,
        }
    }
}

/// One system and all that it mounts.
pub struct SystemRoot {
    /// The index of the volume that has its root.
    pub volume: usize,
    /// The root and what is mounted in it; those above come first.
    pub mounts: Vec<Mount>,
    /// The volumes that it uses, in ascending order.
    pub uses: BTreeSet<usize>,
    /// What of it cannot be mounted or understood.
    pub gaps: Vec<Gap>,
}

/// What says that a directory is the root of a system.
const MARKS: [&str; 11] = [
    "etc/os-release",
    "usr/lib/os-release",
    "etc/redhat-release",
    "etc/debian_version",
    "var/lib/dpkg/status",
    "var/lib/rpm",
    "usr/lib/sysimage/rpm",
    "usr/share/rpm",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "var/lib/pacman/local",
];

/// Types that are on no volume.
const NO_VOLUME: [&str; 20] = [
    "swap",
    "proc",
    "sysfs",
    "tmpfs",
    "devpts",
    "devtmpfs",
    "ramfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "efivarfs",
    "mqueue",
    "hugetlbfs",
    "bpf",
    "fusectl",
    "binfmt_misc",
    "pstore",
];

/// Types whose files are on another machine.
const NETWORK: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "glusterfs", "ceph", "9p", "virtiofs"];

/// Finds the systems on these volumes, in their order.
#[must_use]
pub fn systems(volumes: &[Volume], limits: &Limits) -> Vec<SystemRoot> {
    let readable =
        volumes.iter().enumerate().filter_map(|(index, volume)| Some((index, volume.tree.as_ref().ok()?)));
    readable
        .filter_map(|(index, tree)| {
            let mount = Mount::new(ImagePath::root(), Arc::clone(tree), volumes.get(index)?.place.clone());
            let mut plan = Plan {
                volumes,
                limits,
                system: SystemRoot {
                    volume: index,
                    mounts: vec![mount],
                    uses: BTreeSet::from([index]),
                    gaps: Vec::new(),
                },
            };
            let fstab = plan.fstab();
            let is_system = plan.has_mark() || fstab.as_ref().is_some_and(|fstab| plan.mounts_itself(fstab));
            if !is_system {
                return None;
            }
            plan.follow(fstab.unwrap_or_default());
            Some(plan.system)
        })
        .collect()
}

struct Plan<'a> {
    volumes: &'a [Volume],
    limits: &'a Limits,
    system: SystemRoot,
}

impl Plan<'_> {
    fn has_mark(&self) -> bool {
        let Some(root) = self.system.mounts.first() else { return false };
        let paths = MARKS.map(ImagePath::from);
        let reached = root.tree.lookup_many(root.node, &paths);
        paths.iter().zip(reached).any(|(path, reached)| reached.steps.len() == path.components().count())
    }

    fn mounts_itself(&self, fstab: &Fstab) -> bool {
        let own = self.volumes.get(self.system.volume);
        let root = fstab.entries.iter().find(|entry| {
            ImagePath::new(&entry.mount_point).is_root() && entry.mount_point.starts_with(b"/")
        });
        own.zip(root).is_some_and(|(own, root)| own.is_named(&root.what))
    }

    fn fstab(&mut self) -> Option<Fstab> {
        let place = ImagePath::from("etc/fstab");
        let read = self.find(&place).and_then(|found| {
            let Some((mount, step)) = found.filter(|(_, step)| step.meta.kind == NodeKind::File) else {
                return Ok(None);
            };
            let content = mount.tree.open(step.node)?;
            fstab::decode(&read_all(&*content, self.limits.fstab_bytes)?, self.limits).map(Some)
        });
        match read {
            Ok(fstab) => fstab,
            Err(error) => {
                self.gap(&place, error.to_string(), true);
                None
            }
        }
    }

    /// Mounts what an fstab says, in its order but parents first.
    fn follow(&mut self, mut fstab: Fstab) {
        for problem in std::mem::take(&mut fstab.problems) {
            self.gap(&ImagePath::from("etc/fstab"), problem.to_string(), true);
        }
        fstab.entries.sort_by_key(|entry| ImagePath::new(&entry.mount_point).components().count());
        for entry in fstab.entries {
            let types = entry.fs_type.split(',');
            let is_here = !types.clone().any(|name| NO_VOLUME.contains(&name));
            if !is_here || !entry.mount_point.starts_with(b"/") || entry.has("noauto") {
                continue;
            }
            let point = ImagePath::new(&entry.mount_point);
            let is_required = is_software(&point) && !entry.has("nofail");
            if types.clone().any(|name| NETWORK.contains(&name.trim_start_matches("fuse."))) {
                self.gap(&point, format!("mounted from elsewhere ({})", entry.fs_type), is_required);
                continue;
            }
            if let Err(error) = self.mount(&entry, point.clone()) {
                self.gap(&point, error.to_string(), is_required);
            }
        }
    }

    fn mount(&mut self, entry: &FstabEntry, point: ImagePath) -> Result<()> {
        let point = self.resolved(&point)?;
        if let Spec::Other(source) = &entry.what
            && (entry.has("bind") || entry.has("rbind"))
        {
            let source = self.resolved(&ImagePath::new(source))?;
            let (mount, step) = self.find(&source)?.ok_or_else(|| Error::not_found(source.to_string()))?;
            let (tree, place) = (Arc::clone(&mount.tree), mount.place.clone());
            self.system.mounts.push(Mount { path: point, node: step.node, tree, place });
            return Ok(());
        }
        let named: Vec<usize> = (0..self.volumes.len())
            .filter(|index| self.volumes.get(*index).is_some_and(|volume| volume.is_named(&entry.what)))
            .collect();
        let own = named.contains(&self.system.volume).then_some(self.system.volume);
        // A copy of a volume has its UUID and label, too; the disk's first is what a boot would find.
        let Some(index) = own.or_else(|| named.first().copied()) else {
            if point.is_root() {
                return Ok(());
            }
            return Err(Error::not_found(format!("the volume that fstab names {}", described(&entry.what))));
        };
        let Some(volume) = self.volumes.get(index) else { return Ok(()) };
        if point.is_root() && index != self.system.volume {
            return Ok(());
        }
        self.system.uses.insert(index);
        let tree = volume.tree.as_ref().map_err(|error| error.clone().at(volume.place.clone()))?;
        let node = subvolume(&**tree, entry)?;
        if point.is_root() {
            // The root that was found may lie in another subvolume than the one that is mounted.
            if let Some(root) = self.system.mounts.first_mut().filter(|_| entry.value("subvol").is_some()) {
                root.node = node;
            }
            return Ok(());
        }
        self.system.mounts.push(Mount {
            path: point,
            node,
            tree: Arc::clone(tree),
            place: volume.place.clone(),
        });
        Ok(())
    }

    /// A path through the mounts so far, without links on its way.
    fn resolved(&self, path: &ImagePath) -> Result<ImagePath> {
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
    fn find(&self, path: &ImagePath) -> Result<Option<(&Mount, Step)>> {
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

    fn gap(&mut self, place: &ImagePath, reason: String, required: bool) {
        self.system.gaps.push(Gap { place: place.to_string(), reason, required });
    }
}

/// Which directory of a tree an fstab wants.
fn subvolume(tree: &dyn FileTree, entry: &FstabEntry) -> Result<NodeId> {
    let by_id = entry.value("subvolid").and_then(|id| id.parse().ok()).map(Subvolume::Id);
    match entry.value("subvol").map(|path| Subvolume::Path(path.as_bytes())).or(by_id) {
        Some(chosen) => tree.subvolume(chosen),
        None => Ok(tree.root()),
    }
}

/// Whether what is mounted here has to be read: where software is. `/home` or `/srv` need not be there.
fn is_software(point: &ImagePath) -> bool {
    let first = point.components().next().unwrap_or_default();
    matches!(
        first,
        b"" | b"usr" | b"var" | b"opt" | b"boot" | b"etc" | b"lib" | b"lib64" | b"bin" | b"sbin" | b"root"
    )
}

fn described(spec: &Spec) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match spec {
        Spec::Uuid(uuid) => format!("UUID={uuid}"),
        Spec::Label(label) => format!("LABEL={}", text(label)),
        Spec::PartUuid(uuid) => format!("PARTUUID={uuid}"),
        Spec::PartLabel(label) => format!("PARTLABEL={}", text(label)),
        Spec::Logical { group, name } => format!("{group}/{name}"),
        Spec::Partition(number) => format!("partition {number}"),
        Spec::Disk => "the whole disk".to_owned(),
        Spec::Other(other) => format!("`{}`", text(other)),
    }
}
