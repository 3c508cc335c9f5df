//! The packages of an advisory: `pkglist`.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::super::nevra::Evr;
use super::super::xml::{Tag, Xml};
use super::{Advisory, AdvisoryPackage, Collection, ModuleName, Suggests, keep};
use crate::error::{Error, Result, quoted};

/// Reads a `pkglist`; a package that is damaged is a flaw of the advisory.
pub(super) fn list(xml: &mut Xml<'_>, advisory: &mut Advisory) -> Result<()> {
    while let Some(tag) = xml.child(3)? {
        match tag.name() {
            "collection" => {
                let mut collection = Collection::default();
                if let Some(short) = tag.attribute("short")? {
                    keep(&mut collection.short, short);
                }
                fill(xml, advisory, &mut collection)?;
                advisory.collections.push(collection);
            }
            "package" => {
                advisory.flaw(xml.flaw("package", "one outside of a collection", "those of collections"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn fill(xml: &mut Xml<'_>, advisory: &mut Advisory, collection: &mut Collection) -> Result<()> {
    while let Some(tag) = xml.child(4)? {
        match tag.name() {
            "name" => keep(&mut collection.name, xml.text()?),
            "module" => {
                let module = module(&tag)?;
                let is_other = collection.module.as_ref().is_some_and(|known| *known != module);
                if module.name.is_empty() || module.stream.is_empty() {
                    advisory.flaw(xml.flaw("module", "no name or no stream", "both"));
                } else if is_other {
                    advisory.flaw(xml.flaw("module", "two that differ", "one of each collection"));
                } else {
                    collection.module = Some(module);
                }
            }
            "package" => {
                let draft = draft(&tag)?;
                match package(xml, draft)? {
                    Ok(package) => collection.packages.push(package),
                    Err(error) => advisory.flaw(error),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn module(tag: &Tag<'_>) -> Result<ModuleName> {
    let mut module = ModuleName::default();
    tag.attributes(&mut |name, value| {
        let value = value.into_owned();
        match name {
            "name" => module.name = value,
            "stream" => module.stream = value,
            "version" => module.version = value,
            "context" => module.context = value,
            "arch" => module.arch = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(module)
}

#[derive(Default)]
struct Draft {
    name: String,
    epoch: String,
    version: String,
    release: String,
    arch: String,
    src: String,
}

fn draft(tag: &Tag<'_>) -> Result<Draft> {
    let mut draft = Draft::default();
    tag.attributes(&mut |name, value| {
        let value = value.into_owned();
        match name {
            "name" => draft.name = value,
            "epoch" => draft.epoch = value,
            "version" => draft.version = value,
            "release" => draft.release = value,
            "arch" => draft.arch = value,
            "src" => draft.src = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(draft)
}

/// The package, or what is wrong with it.
fn package(xml: &mut Xml<'_>, draft: Draft) -> Result<std::result::Result<AdvisoryPackage, Error>> {
    let (mut file_name, mut suggests) = (None, Suggests::default());
    while let Some(tag) = xml.child(5)? {
        match tag.name() {
            "filename" => keep(&mut file_name, xml.text()?),
            name @ ("reboot_suggested" | "restart_suggested" | "relogin_suggested") => {
                let name = name.to_owned();
                suggests.set(&name, &xml.text()?);
            }
            _ => {}
        }
    }
    let place = |error: Error, name: &str| match name {
        "" => error,
        name => error.at(format!("package {}", quoted(name))),
    };
    for (field, value) in [("name", &draft.name), ("version", &draft.version), ("arch", &draft.arch)] {
        if value.is_empty() {
            return Ok(Err(place(xml.flaw(field, "none", "one"), &draft.name)));
        }
    }
    let Some(evr) = Evr::of_parts(&draft.epoch, draft.version, draft.release) else {
        let error = xml.flaw("epoch", quoted(draft.epoch), "a number below 4294967296");
        return Ok(Err(place(error, &draft.name)));
    };
    let src = Some(draft.src).filter(|src| !src.is_empty());
    Ok(Ok(AdvisoryPackage { name: draft.name, evr, arch: draft.arch, src, file_name, suggests }))
}
