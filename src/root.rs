//! Which operating systems lie on the volumes of a disk, and what each of them mounts where.
//!
//! A system is found by what it says of itself: a volume whose root names a system, has a package database, or
//! has an fstab that mounts this very volume at `/`. Its fstab says which other volumes belong to it. A volume
//! that should be there and is not, or cannot be read, is a gap. Where fstab is silent, types of partitions say
//! what is mounted (UAPI.2, Discoverable Partitions Specification).
//!
//! | a system's root is | found by |
//! |---|---|
//! | a volume's root directory, or a btrfs subvolume's | what marks a system, or its fstab |
//! | an ostree or bootc deployment | `ostree/deploy/OS/deploy/CHECKSUM.SERIAL` on a volume |
//! | a root with /usr elsewhere | a volume that holds what belongs below /usr; one system for each (A and B) |
//! | a file of a live medium | [`nested`] |
//! | a root of composefs alone | `composefs/images`: a gap, it is not read |
//!
//! Snapshots of btrfs and subvolumes of container engines are told and are no systems, unless they boot.
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
use crate::tree::{FileTree, Mount, NodeId, NodeKind, Step, Subvolume, SubvolumeInfo};

mod nested;

pub use nested::{Nested, nested};

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
    /// What its partition's type says that it is, as [`crate::volume::Volume::kind`] has it.
    pub part_kind: String,
    /// It is known to hold no software, so that a system does without it.
    pub holds_none: bool,
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
    /// Its place for people: that of the volume, and where the volume may have several, the root's in it.
    pub place: String,
    /// The root and what is mounted in it; those above come first.
    pub mounts: Vec<Mount>,
    /// The volumes that it uses, in ascending order.
    pub uses: BTreeSet<usize>,
    /// What of it cannot be mounted or understood.
    pub gaps: Vec<Gap>,
    /// Whether its own fstab mounts it at the root.
    mounts_root: bool,
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

/// What says that a volume holds what belongs below /usr.
const USR_MARKS: [&str; 2] = ["lib/os-release", "lib/sysimage/rpm"];

/// Where container engines and snapshot tools keep subvolumes that no machine boots.
const NOT_BOOTED: [&str; 8] = [
    "var/lib/docker",
    "var/lib/containers",
    "var/lib/containerd",
    "var/lib/machines",
    "var/lib/lxd",
    "var/lib/incus",
    "timeshift-btrfs",
    ".snapshots",
];

/// What was found on the volumes.
#[derive(Default)]
pub struct Found {
    /// The systems, in the order of the volumes.
    pub systems: Vec<SystemRoot>,
    /// What has the marks of a system and is none: the volume, what it is, and where in the volume.
    pub passed: Vec<(usize, &'static str, ImagePath)>,
    /// What of volumes keeps systems from being found.
    pub gaps: Vec<Gap>,
}

/// Where a root may be.
struct Candidate {
    volume: usize,
    node: NodeId,
    /// The subvolume, if it is not the volume's own root.
    subvolume: Option<SubvolumeInfo>,
}

/// Finds the systems on these volumes.
#[must_use]
pub fn systems(volumes: &[Volume], limits: &Limits) -> Found {
    let mut found = Found::default();
    let trees = || {
        volumes.iter().enumerate().filter_map(|(at, volume)| Some((at, volume, volume.tree.as_ref().ok()?)))
    };
    let usr: Vec<usize> = trees().filter(|(_, _, tree)| is_usr(&***tree)).map(|(at, ..)| at).collect();
    let mut roots = Vec::new();
    for (index, volume, tree) in trees() {
        let own = Candidate { volume: index, node: tree.root(), subvolume: None };
        let deployments = deployments(volume, &own, &**tree, &mut found.gaps);
        let has_deployments = !deployments.is_empty();
        if let Some(gap) = composefs(volume, &own, &**tree) {
            found.gaps.push(gap);
        }
        for (node, path, var) in deployments {
            let mut plan = Plan::new(volumes, limits, &own, node, format!("{}: {path}", volume.place));
            plan.system.mounts.extend(var.map(|node| Mount {
                path: ImagePath::from("var"),
                node,
                tree: Arc::clone(tree),
                place: volume.place.clone(),
            }));
            let fstab = plan.fstab();
            plan.follow(fstab.unwrap_or_default());
            found.systems.push(plan.finish());
        }
        let subvolumes = tree.subvolumes().unwrap_or_else(|error| {
            let place = format!("{}: subvolumes", volume.place);
            found.gaps.push(Gap { place, reason: error.to_string(), required: true });
            Vec::new()
        });
        if !has_deployments && !usr.contains(&index) {
            roots.push(own);
        }
        for subvolume in subvolumes {
            match tree.subvolume(Subvolume::Id(subvolume.id)) {
                Ok(node) if node == tree.root() => {}
                Ok(node) => roots.push(Candidate { volume: index, node, subvolume: Some(subvolume) }),
                Err(error) => {
                    let place = format!("{}: subvolume {}", volume.place, subvolume.path);
                    found.gaps.push(Gap { place, reason: error.to_string(), required: true });
                }
            }
        }
    }
    // A /usr that a system names is not for another one that names none.
    let waiting: Vec<Candidate> =
        roots.into_iter().filter_map(|root| consider(root, volumes, None, limits, &mut found)).collect();
    let is_free = |at: &usize| !found.systems.iter().any(|system| system.uses.contains(at));
    let free: Vec<usize> = usr.iter().copied().filter(is_free).collect();
    for candidate in waiting {
        consider(candidate, volumes, Some(&free), limits, &mut found);
    }
    found.systems.sort_by(|a, b| (a.volume, &a.place).cmp(&(b.volume, &b.place)));
    // /usr alone, of which the root is made when it boots for the first time.
    if found.systems.is_empty() {
        for index in &usr {
            let Some((volume, Ok(tree))) = volumes.get(*index).map(|volume| (volume, &volume.tree)) else {
                continue;
            };
            let own = Candidate { volume: *index, node: tree.root(), subvolume: None };
            let mut plan = Plan::new(volumes, limits, &own, own.node, volume.place.clone());
            plan.system.mounts.push(Mount::new(
                ImagePath::from("usr"),
                Arc::clone(tree),
                volume.place.clone(),
            ));
            found.systems.push(plan.finish());
        }
    }
    drop_parts(&mut found.systems);
    // Another slot of an A/B pair boots after the next switch.
    for index in usr {
        let is_used = found.systems.iter().any(|system| system.uses.contains(&index));
        if let Some(volume) = volumes.get(index).filter(|_| !is_used) {
            let reason =
                "it holds a /usr that no system names, so what it would boot is not judged".to_owned();
            found.gaps.push(Gap { place: volume.place.clone(), reason, required: true });
        }
    }
    found
}

/// Whether a tree is that of /usr and not of a root.
fn is_usr(tree: &dyn FileTree) -> bool {
    let is_there = |names: &[&str]| {
        let paths: Vec<ImagePath> = names.iter().map(|name| ImagePath::from(*name)).collect();
        let reached = tree.lookup_many(tree.root(), &paths);
        paths.iter().zip(reached).any(|(path, reached)| reached.steps.len() == path.components().count())
    };
    is_there(&USR_MARKS) && !is_there(&["usr", "etc", "sysroot"])
}

/// Makes systems of a candidate, if it is the root of one. Gives it back if it has no /usr and names none,
/// unless it is known which volumes with a /usr are free for it.
fn consider(
    candidate: Candidate,
    volumes: &[Volume],
    free_usr: Option<&[usize]>,
    limits: &Limits,
    found: &mut Found,
) -> Option<Candidate> {
    let volume = volumes.get(candidate.volume)?;
    let place = match &candidate.subvolume {
        Some(subvolume) => format!("{}: subvolume {}", volume.place, subvolume.path),
        None => volume.place.clone(),
    };
    let plan = || Plan::new(volumes, limits, &candidate, candidate.node, place.clone());
    let mut first = plan();
    let fstab = first.fstab();
    let mounts_itself = fstab.as_ref().is_some_and(|fstab| first.mounts_itself(fstab, &candidate));
    let is_marked = first.has_mark().unwrap_or_else(|error| {
        first.gap(&ImagePath::root(), error.to_string(), true);
        false
    });
    if !is_marked && !mounts_itself {
        // What cannot be read may be what says that this is a system.
        let told = first.system.gaps.into_iter();
        found.gaps.extend(told.map(|gap| Gap { place: format!("{place}: {}", gap.place), ..gap }));
        return None;
    }
    if let Some(subvolume) = candidate.subvolume.as_ref().filter(|_| !mounts_itself) {
        let is_kept = NOT_BOOTED.iter().any(|folder| {
            let folder = ImagePath::from(*folder);
            let mut above = subvolume.path.clone();
            loop {
                let is_below = above.as_bytes().ends_with(folder.as_bytes());
                if is_below || above.is_root() {
                    break is_below;
                }
                above = above.parent();
            }
        });
        if subvolume.is_snapshot || is_kept {
            let what = if subvolume.is_snapshot { "btrfs snapshot" } else { "btrfs subvolume of an engine" };
            found.passed.push((candidate.volume, what, subvolume.path.clone()));
            return None;
        }
    }
    let fstab = fstab.unwrap_or_default();
    let names_usr =
        fstab.entries.iter().any(|entry| ImagePath::new(&entry.mount_point) == ImagePath::from("usr"));
    let is_without = !names_usr && !first.has("usr/lib") && !first.has("usr/bin");
    let Some(free_usr) = free_usr.or((!is_without).then_some(&[])) else { return Some(candidate) };
    if is_without && !free_usr.is_empty() {
        for index in free_usr {
            let Some((own, Ok(tree))) = volumes.get(*index).map(|own| (own, &own.tree)) else { continue };
            let mut plan = plan();
            plan.system.place = format!("{place} with {}", own.place);
            plan.system.uses.insert(*index);
            plan.system.mounts.push(Mount::new(ImagePath::from("usr"), Arc::clone(tree), own.place.clone()));
            plan.follow(fstab.clone());
            found.systems.push(plan.finish());
        }
        return None;
    }
    first.follow(fstab);
    found.systems.push(first.finish());
    None
}

/// The deployments of ostree on a volume: their roots, where these are, and the root of their /var.
fn deployments(
    volume: &Volume,
    own: &Candidate,
    tree: &dyn FileTree,
    gaps: &mut Vec<Gap>,
) -> Vec<(NodeId, ImagePath, Option<NodeId>)> {
    let mut found = Vec::new();
    let mut failed = |path: &ImagePath, error: &Error| {
        let place = format!("{}: {path}", volume.place);
        gaps.push(Gap { place, reason: error.to_string(), required: true });
    };
    let top = ImagePath::from("ostree/deploy");
    let Some(deploy) = directory(tree, own.node, &top, &top, &mut failed) else { return found };
    for (name, os) in directories(tree, deploy, &top, &mut failed) {
        let path = top.join(&name).join("deploy");
        let Some(node) = directory(tree, os, &ImagePath::from("deploy"), &path, &mut failed) else {
            continue;
        };
        let var = directory(tree, os, &ImagePath::from("var"), &top.join(&name).join("var"), &mut failed);
        for (deployment, root) in directories(tree, node, &path, &mut failed) {
            found.push((root, path.join(&deployment), var));
        }
    }
    found
}

/// The gap of what bootc deploys without ostree: images of metadata in `composefs/images`, of which each names a
/// root, and files in `composefs/objects` by their digests.
fn composefs(volume: &Volume, own: &Candidate, tree: &dyn FileTree) -> Option<Gap> {
    let top = ImagePath::from("composefs");
    let place = format!("{}: {top}", volume.place);
    let mut failed = None;
    let images = directory(tree, own.node, &top.join("images"), &top, &mut |_, error| {
        failed.get_or_insert_with(|| error.to_string());
    });
    let reason =
        "a root of composefs alone, whose files are kept by their digests, is not read by this version";
    let reason = failed.or_else(|| images.map(|_| reason.to_owned()))?;
    Some(Gap { place, reason, required: true })
}

/// The directory at a path, if there is one; `place` is the whole path for messages.
fn directory(
    tree: &dyn FileTree,
    from: NodeId,
    path: &ImagePath,
    place: &ImagePath,
    failed: &mut dyn FnMut(&ImagePath, &Error),
) -> Option<NodeId> {
    let reached = tree.lookup_many(from, std::slice::from_ref(path)).pop()?;
    if let Some(error) = &reached.failed {
        failed(place, error);
    }
    let step = reached.steps.last().filter(|_| reached.steps.len() == path.components().count())?;
    (step.meta.kind == NodeKind::Directory).then_some(step.node)
}

/// The directories in a directory, by name.
fn directories(
    tree: &dyn FileTree,
    from: NodeId,
    path: &ImagePath,
    failed: &mut dyn FnMut(&ImagePath, &Error),
) -> Vec<(Vec<u8>, NodeId)> {
    let mut all = Vec::new();
    let read = tree.read_dir(from, &mut |entry| {
        all.push((entry.name.to_vec(), entry.node));
        Ok(())
    });
    if let Err(error) = read {
        failed(path, &error);
    }
    all.sort();
    all.retain(|(name, node)| match tree.meta(*node) {
        Ok(meta) => meta.kind == NodeKind::Directory,
        Err(error) => {
            failed(&path.join(name), &error);
            false
        }
    });
    all
}

/// Drops what another system mounts as a part of itself: a volume with /var has a package database as well.
fn drop_parts(systems: &mut Vec<SystemRoot>) {
    let root_of = |system: &SystemRoot| system.mounts.first().map(|mount| (system.volume, mount.node));
    let parts: Vec<(String, NodeId)> = systems
        .iter()
        .flat_map(|system| system.mounts.iter().skip(1))
        .filter(|mount| !mount.path.is_root())
        .map(|mount| (mount.place.clone(), mount.node))
        .collect();
    systems.retain(|system| {
        let Some((_, node)) = root_of(system) else { return false };
        let place = system.mounts.first().map(|mount| mount.place.clone()).unwrap_or_default();
        system.mounts_root || system.is_whole_usr() || !parts.contains(&(place, node))
    });
}

impl SystemRoot {
    /// Whether it is a /usr of which the root is still to be made.
    fn is_whole_usr(&self) -> bool {
        let mut nodes = self.mounts.iter().map(|mount| mount.node);
        self.mounts.len() == 2 && nodes.next() == nodes.next()
    }
}

struct Plan<'a> {
    volumes: &'a [Volume],
    limits: &'a Limits,
    system: SystemRoot,
}

impl<'a> Plan<'a> {
    fn new(volumes: &'a [Volume], limits: &'a Limits, own: &Candidate, node: NodeId, place: String) -> Self {
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
        };
        Plan { volumes, limits, system }
    }

    fn finish(mut self) -> SystemRoot {
        self.discover();
        self.system
    }

    /// Whether the root has a mark of a system.
    ///
    /// # Errors
    /// If it has none that can be read, and one place of a mark cannot be read.
    fn has_mark(&self) -> Result<bool> {
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
    fn has(&self, path: &str) -> bool {
        matches!(self.find(&ImagePath::from(path)), Ok(Some(_)))
    }

    fn mounts_itself(&mut self, fstab: &Fstab, candidate: &Candidate) -> bool {
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
        let tree = match &volume.tree {
            Ok(tree) => tree,
            Err(_) if volume.holds_none => return Ok(()),
            Err(error) => return Err(error.clone().at(volume.place.clone())),
        };
        let node = subvolume(&**tree, entry)?;
        if point.is_root() {
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
