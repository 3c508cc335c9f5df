//! Which kernel boots: what the boot loaders' configurations say together.
//!
//! An image may hold several configurations (of GRUB on BIOS and on EFI, of two boot loaders), and which one the
//! firmware comes to is not in it. Where they agree, that is known; where not, it is not.

use crate::collect::Fact;
use crate::collect::boot::{ESP, EXTLINUX, GRUB, is_looked_up};
use crate::collect::fact::BootFact;
use crate::collect::squash::{Resolved, Squashed};
use crate::format::bls::{self, BlsEntry};
use crate::format::grub_cfg::{Script, evaluate};
use crate::format::{kernel, loader_conf};
use crate::limits::Limits;
use crate::model::{Boot, BootLoader, ImagePath};
use crate::stratum::Node;

/// What boots, `None` if there is no boot loader's configuration; and the command lines of the kernels that boot
/// loaders start, of each that is known.
pub(super) fn boot(squashed: &Squashed, limits: &Limits) -> (Option<Boot>, Vec<String>) {
    let mut all = grub(squashed, limits);
    all.extend(systemd_boot(squashed));
    all.extend(extlinux(squashed));
    let (all, options): (Vec<Boot>, Vec<Option<String>>) = all.into_iter().unzip();
    let mut options: Vec<String> = options.into_iter().flatten().collect();
    options.sort();
    options.dedup();
    (agreed(all), options)
}

/// What several boot loaders start, where they agree.
fn agreed(all: Vec<Boot>) -> Option<Boot> {
    // The order is that of the loaders and places above, so the first names the file.
    let mut all = all.into_iter();
    let mut first = all.next()?;
    for other in all {
        let same = first.unknown.is_none() && other.unknown.is_none() && first.version == other.version;
        if same && (first.version.is_some() || first.kernel == other.kernel) {
            continue;
        }
        let told = |boot: &Boot| match (&boot.unknown, &boot.version, &boot.kernel) {
            (Some(why), _, _) => format!("{} ({}) is not known: {why}", boot.loader, boot.config),
            (None, Some(what), _) | (None, None, Some(what)) => {
                format!("{} ({}) starts {what}", boot.loader, boot.config)
            }
            (None, None, None) => format!("{} ({})", boot.loader, boot.config),
        };
        let why = format!(
            "there are several boot loaders, and which one runs is not in the image: {}; {}",
            told(&first),
            told(&other)
        );
        return Some(Boot { title: None, kernel: None, version: None, unknown: Some(why), ..first });
    }
    first.title = first.title.filter(|title| !title.is_empty());
    Some(first)
}

/// What a place of a boot loader says, wherever links lead from it.
fn said<'s>(squashed: &'s Squashed, place: &ImagePath) -> Option<&'s BootFact> {
    let Resolved::File(real) = squashed.resolve(place) else { return None };
    let parts = squashed.found(&real)?.iter().filter(|part| part.collector == "boot");
    parts.flat_map(|part| &part.facts).find_map(|fact| match fact {
        (_, Fact::Boot(fact)) => Some(fact),
        _ => None,
    })
}

/// The default of a boot loader: its title, kernel, the kernel's release and its command line.
type Chosen = (Option<String>, String, Option<String>, String);

/// Files directly in a directory, wherever links lead from it.
fn files_in<'s>(squashed: &'s Squashed, directory: &ImagePath) -> Vec<&'s ImagePath> {
    let Resolved::Directory(real) = squashed.resolve(directory) else { return Vec::new() };
    let is_file = |node: &Node| matches!(node, Node::File(_) | Node::HardLink(_));
    let below = squashed.below(&real).filter(|(path, node)| is_file(node) && path.parent() == real);
    below.map(|(path, _)| path).collect()
}

fn found(
    squashed: &Squashed,
    loader: BootLoader,
    config: &ImagePath,
    default: Result<Chosen, String>,
) -> (Boot, Option<String>) {
    let blank =
        Boot { loader, config: config.clone(), title: None, kernel: None, version: None, unknown: None };
    match default {
        Ok((title, kernel, version, options)) => {
            let version = version.or_else(|| release(squashed, &kernel));
            (Boot { title, kernel: Some(kernel), version, ..blank }, Some(options))
        }
        Err(why) => (Boot { unknown: Some(why), ..blank }, None),
    }
}

/// The release of the kernel at a path of a boot loader; where its name tells none, of what a link there names.
fn release(squashed: &Squashed, path: &str) -> Option<String> {
    if let Some(release) = kernel::release_of_path(path) {
        return Some(release.to_owned());
    }
    let name = path.trim_start_matches('/');
    let places = [name.to_owned()].into_iter().chain(ESP.iter().rev().map(|esp| format!("{esp}/{name}")));
    places.into_iter().find_map(|place| {
        let place = ImagePath::from(place.as_str());
        squashed.node(&place)?;
        let real = match squashed.resolve(&place) {
            Resolved::File(real) | Resolved::Unknown(real) => real,
            _ => return None,
        };
        kernel::release_of_path(&String::from_utf8_lossy(real.as_bytes())).map(str::to_owned)
    })
}

/// Every `grub.cfg` that says something of its own.
fn grub(squashed: &Squashed, limits: &Limits) -> Vec<(Boot, Option<String>)> {
    let mut configs: Vec<ImagePath> =
        GRUB.iter().map(|place| ImagePath::from(*place).join("grub.cfg")).collect();
    for esp in ESP {
        let efi = ImagePath::from(esp).join("EFI");
        let Resolved::Directory(real) = squashed.resolve(&efi) else { continue };
        let below = squashed.below(&real).map(|(path, _)| path);
        configs.extend(below.filter(|path| path.name() == b"grub.cfg").cloned());
    }
    let mut all = Vec::new();
    for config in &configs {
        let Some(fact) = said(squashed, config) else { continue };
        let directory = format!("/{}", String::from_utf8_lossy(config.parent().as_bytes()));
        let default = match fact {
            BootFact::GrubConfig(script) => {
                let files = GrubFiles { squashed };
                evaluate::default(script, &directory, &files, limits)
                    .unwrap_or_else(|error| Err(error.reason()))
            }
            BootFact::Unread(why) => Err(why.clone()),
            _ => continue,
        };
        let default = default.map(|default| {
            let version = default.version;
            (Some(default.title), default.kernel, version, default.options)
        });
        all.push(found(squashed, BootLoader::Grub, config, default));
    }
    all
}

/// What a script of GRUB may ask.
struct GrubFiles<'a> {
    squashed: &'a Squashed,
}

impl GrubFiles<'_> {
    /// Where a path of GRUB may lie in the system: its partition may be mounted at `/boot` or below.
    fn places(path: &str) -> Vec<ImagePath> {
        let bare = path.trim_start_matches('/');
        // A subvolume of btrfs, as openSUSE and Ubuntu name it.
        let bare = bare.strip_prefix("@/").unwrap_or(bare);
        let below = ESP.iter().rev().map(|esp| format!("{esp}/{bare}"));
        [bare.to_owned()].into_iter().chain(below).map(|place| ImagePath::from(place.as_str())).collect()
    }
}

impl evaluate::Files for GrubFiles<'_> {
    fn exists(&self, path: &str) -> Option<bool> {
        let places = Self::places(path);
        let is_there = |place: &ImagePath| {
            matches!(self.squashed.resolve(place), Resolved::File(_) | Resolved::Directory(_))
        };
        if places.iter().any(is_there) {
            return Some(true);
        }
        let is_looked_up = |place: &ImagePath| std::str::from_utf8(place.as_bytes()).is_ok_and(is_looked_up);
        (!self.squashed.partial || places.iter().any(is_looked_up)).then_some(false)
    }

    fn environment(&self, path: &str) -> Option<&[(String, String)]> {
        Self::places(path).iter().find_map(|place| match said(self.squashed, place) {
            Some(BootFact::GrubEnvironment(variables)) => Some(variables.as_slice()),
            _ => None,
        })
    }

    fn script(&self, path: &str) -> Option<(&Script, String)> {
        Self::places(path).iter().find_map(|place| match said(self.squashed, place) {
            Some(BootFact::GrubConfig(script)) => {
                Some((script, format!("/{}", String::from_utf8_lossy(place.parent().as_bytes()))))
            }
            _ => None,
        })
    }

    fn bls_entries(&self) -> Result<Vec<evaluate::BlsMenuEntry>, String> {
        let (mut entries, _) = entries(self.squashed, &["boot"], &["loader/entries"])?;
        bls::sort_as_grub(&mut entries);
        let menu = entries.into_iter().map(|entry| evaluate::BlsMenuEntry {
            title: entry.shown().to_owned(),
            version: entry.release().map(str::to_owned),
            options: entry.options.clone().unwrap_or_default(),
            kernel: entry.linux.unwrap_or_default(),
            id: entry.id,
        });
        Ok(menu.collect())
    }
}

/// The entries of the Boot Loader Specification in these folders below these places, and the path of the first; or
/// why one of them is not known.
fn entries(
    squashed: &Squashed,
    places: &[&str],
    folders: &[&str],
) -> Result<(Vec<BlsEntry>, Option<ImagePath>), String> {
    let mut entries = Vec::new();
    let mut first = None;
    for place in
        places.iter().flat_map(|place| folders.iter().map(|folder| ImagePath::from(*place).join(folder)))
    {
        for path in files_in(squashed, &place) {
            match said(squashed, path) {
                Some(BootFact::BlsEntry(entry)) => entries.push(entry.clone()),
                Some(BootFact::Unread(why)) => return Err(format!("{path}: {why}")),
                _ => continue,
            }
            first.get_or_insert_with(|| path.clone());
        }
    }
    Ok((entries, first))
}

/// What systemd-boot starts, if it is there.
fn systemd_boot(squashed: &Squashed) -> Option<(Boot, Option<String>)> {
    let confs = ESP.map(|esp| ImagePath::from(esp).join("loader/loader.conf"));
    let conf = confs.iter().find_map(|place| Some((place, said(squashed, place)?)));
    let is_installed = ESP.iter().any(|esp| {
        files_in(squashed, &ImagePath::from(*esp).join("EFI/systemd"))
            .iter()
            .any(|path| path.name().starts_with(b"systemd-boot"))
    });
    if conf.is_none() && !is_installed {
        return None;
    }
    let pattern = match conf {
        Some((_, BootFact::LoaderConf { default })) => Ok(default.clone()),
        Some((_, BootFact::Unread(why))) => Err(why.clone()),
        _ => Ok(None),
    };
    let read = entries(squashed, &ESP, &["loader/entries", "EFI/Linux"]);
    let first = read.as_ref().ok().and_then(|(_, first)| first.clone());
    let config = conf.map(|(place, _)| place.clone()).or(first).unwrap_or_else(|| confs[0].clone());
    let default = pattern.and_then(|pattern| {
        let (entries, _) = read?;
        systemd_default(entries, pattern.as_deref())
    });
    Some(found(squashed, BootLoader::SystemdBoot, &config, default))
}

/// The entry that systemd-boot starts without its EFI variables: the first that fits the pattern, else the first.
fn systemd_default(mut entries: Vec<BlsEntry>, pattern: Option<&str>) -> Result<Chosen, String> {
    let pattern = pattern.unwrap_or("*");
    if pattern.starts_with('@') {
        return Err(format!("its default is `{pattern}`, which is in a variable of the firmware"));
    }
    if pattern.to_ascii_lowercase().starts_with("auto-") {
        return Err(format!("its default is `{pattern}`, which it finds by itself"));
    }
    bls::sort(&mut entries);
    let fits = |entry: &&BlsEntry| {
        loader_conf::fits(pattern, &entry.full_id()) || loader_conf::fits(pattern, &entry.id)
    };
    // Where nothing fits, all count.
    let entry = entries.iter().find(fits).or(entries.first()).ok_or("it has no entry")?;
    let kernel = entry.linux.clone().or_else(|| entry.efi.clone()).unwrap_or_default();
    let options = entry.options.clone().unwrap_or_default();
    Ok((Some(entry.shown().to_owned()), kernel, entry.release().map(str::to_owned), options))
}

/// What every configuration of extlinux starts.
fn extlinux(squashed: &Squashed) -> Vec<(Boot, Option<String>)> {
    let mut all = Vec::new();
    for place in EXTLINUX {
        let place = ImagePath::from(place);
        let default = match said(squashed, &place) {
            Some(BootFact::Extlinux(config)) => config.chosen().and_then(|label| {
                let title = label.title.unwrap_or(label.name);
                let kernel = label.kernel.ok_or_else(|| format!("its default `{title}` names no kernel"))?;
                Ok((Some(title), kernel, None, label.options))
            }),
            Some(BootFact::Unread(why)) => Err(why.clone()),
            _ => continue,
        };
        all.push(found(squashed, BootLoader::Extlinux, &place, default));
    }
    all
}
