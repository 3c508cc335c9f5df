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

use crate::error::{Error, Result};
use crate::format::fstab::Spec;
use crate::limits::Limits;
use crate::model::{Gap, ImagePath};
use crate::tree::{FileTree, Mount, NodeId, NodeKind, Subvolume, SubvolumeInfo};

mod command_line;
mod elsewhere;
mod nested;
mod plan;
mod units;

pub use command_line::contradicted;
pub use nested::{Nested, nested};
use plan::Plan;

/// A volume of a disk, as far as it matters here.
pub struct Volume {
    /// Its place for people: `partition 2`.
    pub place: String,
    /// Which of the image's disks it is on.
    pub disk: usize,
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
    /// Whether this is what an fstab names so; of a partition or disk by the kernel's name, whether it is one of
    /// that number, on whichever disk.
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
            Spec::Partition { number, .. } => self.number == Some(*number) && self.logical.is_none(),
            Spec::Disk(_) => self.is_disk,
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
    /// What the kernel calls the disk that it is on, where its fstab says so.
    disk_name: Option<String>,
}

/// What says that a directory is the root of a system.
const MARKS: [&str; 17] = [
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
    "usr/lib/holo/pacmandb/local",
    "var/lib/chisel/manifest.wall",
    "usr/lib/opkg/status",
    "var/lib/opkg/status",
    "var/db/xbps",
    "var/db/pkg",
];

/// Types that are on no volume.
const NO_VOLUME: [&str; 23] = [
    "rpc_pipefs",
    "nfsd",
    "xenfs",
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
    let all: Vec<(usize, NodeId, Option<SubvolumeInfo>)> =
        roots.iter().map(|root| (root.volume, root.node, root.subvolume.clone())).collect();
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
    found.gaps.extend(all.iter().filter_map(|(index, node, subvolume)| {
        let volume = volumes.get(*index)?;
        let is_kept = subvolume.as_ref().is_some_and(|own| own.is_snapshot || is_kept(&own.path));
        let is_used = found.systems.iter().filter(|system| system.uses.contains(index)).any(|system| {
            let mut mounts = system.mounts.iter();
            subvolume.is_none() || mounts.any(|mount| mount.place == volume.place && mount.node == *node)
        });
        let path = subvolume.as_ref().map(|own| &own.path);
        (!is_kept && !is_used)
            .then(|| elsewhere::orphan(volume, path, &**volume.tree.as_ref().ok()?, *node))?
    }));
    // Another slot of an A/B pair boots after the next switch.
    for index in usr {
        let is_used = found.systems.iter().any(|system| system.uses.contains(&index));
        if let Some(volume) = volumes.get(index).filter(|_| !is_used) {
            let reason =
                "it holds a /usr that no system names, so what it would boot is not judged".to_owned();
            found.gaps.push(Gap { place: volume.place.clone(), reason, required: true });
        }
    }
    tell_roots_once(&mut found.gaps);
    found
}

/// Leaves out what cannot be read of a volume for the reason for which its root directory cannot.
fn tell_roots_once(gaps: &mut Vec<Gap>) {
    let roots: Vec<(String, String)> = gaps
        .iter()
        .filter_map(|gap| Some((gap.place.strip_suffix(": /")?.to_owned(), gap.reason.clone())))
        .collect();
    gaps.retain(|gap| {
        gap.place.ends_with(": /")
            || !roots.iter().any(|(volume, reason)| {
                gap.reason == *reason
                    && gap.place.strip_prefix(volume).is_some_and(|rest| rest.starts_with(": /"))
            })
    });
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
        let is_kept = is_kept(&subvolume.path);
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
            // Its place may be a link into that /usr.
            let fstab = plan.fstab().unwrap_or_default();
            plan.follow(fstab);
            found.systems.push(plan.finish());
        }
        return None;
    }
    first.follow(fstab);
    found.systems.push(first.finish());
    None
}

/// Whether a container engine or a snapshot tool keeps a subvolume of this path.
fn is_kept(path: &ImagePath) -> bool {
    NOT_BOOTED.iter().any(|folder| {
        let folder = ImagePath::from(*folder);
        let mut above = path.clone();
        loop {
            let is_below = above.as_bytes().ends_with(folder.as_bytes());
            if is_below || above.is_root() {
                break is_below;
            }
            above = above.parent();
        }
    })
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
