//! An inventory for people: what was found, where, and what could not be read.

use crate::model::{Boot, Coverage, Inventory};

use super::table::Table;
use super::{DOUBTFUL, Detail, FAINT, GOOD, STRONG, count, paint, plain};

/// An inventory as text; packages one by one.
#[must_use]
pub fn inventory_text(inventory: &Inventory, detail: Detail) -> String {
    let mut lines = vec![head(inventory)];
    for system in &inventory.systems {
        let platform = system.platform.as_ref().map_or("unknown platform".into(), ToString::to_string);
        let name = system.os.as_ref().and_then(|os| os.pretty_name.clone()).unwrap_or_default();
        let volume = system.volume.as_ref().map(|volume| format!(" on {volume}")).unwrap_or_default();
        lines.push(format!(
            "      {}  {}  {}",
            plain(&format!("{platform}{volume}")),
            plain(&name),
            paint(FAINT, count(system.packages.len(), "package", "packages"))
        ));
        lines.extend(system.boot.as_ref().filter(|_| detail.verbose).map(boot_line));
        let mut table = Table::new(&["package", "version", "arch", "source", "layer", "state"], &[4]);
        for package in &system.packages {
            let source =
                match package.source.name == package.name && package.source.version == package.version {
                    true => String::new(),
                    false => format!("{} {}", package.source.name, package.source.version),
                };
            table.row([
                package.name.clone(),
                package.version.clone(),
                package.arch.clone(),
                source,
                package.stratum.to_string(),
                package.state.clone().unwrap_or_default(),
            ]);
        }
        lines.push(String::new());
        lines.extend(table.lines(6, if detail.verbose { usize::MAX } else { detail.width }));
        if !system.releases.is_empty() {
            let known = count(system.releases.len(), "release", "releases");
            lines.push(paint(FAINT, format!("      {known} in changelogs")));
        }
    }
    lines.extend(coverage(inventory, detail));
    lines.extend(gaps(inventory));
    lines.join("\n") + "\n"
}

/// What boots by itself, and which file says so.
fn boot_line(boot: &Boot) -> String {
    let what = match (&boot.unknown, &boot.version, &boot.kernel) {
        (Some(why), _, _) => format!("not known: {why}"),
        (None, Some(version), _) => format!("Linux {version}"),
        (None, None, kernel) => format!("{}, of unknown version", kernel.as_deref().unwrap_or("a kernel")),
    };
    let title = boot.title.as_ref().map(|title| format!(", \"{title}\"")).unwrap_or_default();
    format!(
        "      boots {}  {}",
        plain(&what),
        paint(FAINT, plain(&format!("({}{title}; {})", boot.loader, boot.config)))
    )
}

/// Where everything of an image is, as text: volumes in the order of the disk, then what was found inside.
#[must_use]
pub fn layout_text(inventory: &Inventory) -> String {
    let mut table = Table::new(&LAYOUT, &[2, 3]);
    let rows = layout_rows(inventory);
    let mut lines = vec![head(inventory)];
    if !rows.is_empty() {
        rows.into_iter().for_each(|row| table.row(row));
        lines.push(String::new());
        lines.extend(table.lines(6, usize::MAX));
    }
    lines.extend(gaps(inventory));
    lines.join("\n") + "\n"
}

/// What is told of every place of a layout.
pub(super) const LAYOUT: [&str; 7] = ["what", "where", "starts at", "size", "role", "read", "note"];

/// The places of a layout, in the order of the disk.
pub(super) fn layout_rows(inventory: &Inventory) -> Vec<[String; 7]> {
    let mut rows: Vec<&Coverage> = inventory.coverage.iter().collect();
    // Of several disks each has its name before its volumes'.
    let disk = |row: &Coverage| row.place.rsplit_once(": ").map(|(disk, _)| disk.to_owned());
    let is_in_disk = |row: &Coverage| row.size_bytes.is_some();
    rows.sort_by_cached_key(|row| {
        (
            !is_in_disk(row),
            disk(row),
            row.role != "disk",
            row.offset_bytes.unwrap_or(u64::MAX),
            row.place.clone(),
        )
    });
    let cells = |row: &&Coverage| {
        [
            row.kind.clone(),
            row.place.clone(),
            row.offset_bytes.map(size).unwrap_or_default(),
            row.size_bytes.map(size).unwrap_or_default(),
            row.role.clone(),
            if row.read { "yes" } else { "NO" }.to_owned(),
            row.note.clone().unwrap_or_default(),
        ]
    };
    rows.iter().map(cells).collect()
}

/// A number of bytes in the largest binary unit that leaves at least one, with one decimal where it is not whole.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut unit, mut scale) = (0, 1_u64);
    while unit + 1 < UNITS.len() && bytes / scale >= 1024 {
        (unit, scale) = (unit + 1, scale * 1024);
    }
    match bytes % scale {
        0 => format!("{} {}", bytes / scale, UNITS[unit]),
        _ => format!("{:.1} {}", bytes as f64 / scale as f64, UNITS[unit]),
    }
}

fn head(inventory: &Inventory) -> String {
    let required = inventory.gaps.iter().filter(|gap| gap.required).count();
    let verdict = match required {
        0 => paint(GOOD, "READ"),
        _ => paint(DOUBTFUL, "INCOMPLETE"),
    };
    let mut text =
        format!("{verdict}  {}  {}", paint(STRONG, &inventory.image.reference), inventory.image.kind);
    if let Some(digest) = inventory.image.digest {
        text += &format!("  {digest}");
    }
    text
}

fn coverage(inventory: &Inventory, detail: Detail) -> Vec<String> {
    if !detail.verbose {
        return Vec::new();
    }
    let mut table = Table::new(&["place", "what", "role", "read"], &[]);
    for place in &inventory.coverage {
        let read = if place.read { "yes" } else { "no" };
        table.row([place.place.clone(), place.kind.clone(), place.role.clone(), read.into()]);
    }
    [String::new()].into_iter().chain(table.lines(6, usize::MAX)).collect()
}

fn gaps(inventory: &Inventory) -> Vec<String> {
    if inventory.gaps.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "      Not read:".to_string()];
    for gap in &inventory.gaps {
        let optional = if gap.required { "" } else { " (not required)" };
        lines.push(format!("        {}: {}{optional}", paint(DOUBTFUL, &gap.place), plain(&gap.reason)));
    }
    lines
}
