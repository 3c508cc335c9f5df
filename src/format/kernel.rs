//! What the name of a kernel's file says of its version.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

/// Names of kernels before their version.
const PREFIXES: [&str; 9] =
    ["vmlinuz-", "vmlinux-", "linux-", "kernel-", "bzImage-", "zImage-", "Image-", "image-", "Image.gz-"];

/// The release of the kernel at a path, as `uname -r` says it, where the path tells: `/boot/vmlinuz-6.1.0-50-amd64`,
/// `/4098b3f648d74c13b1f04ccfba7798e8/6.12.48+deb13-amd64/linux`, `/lib/modules/6.8.5/vmlinuz`.
#[must_use]
pub fn release_of_path(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/');
    let name = parts.next()?;
    let of_name = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    of_name.filter(|release| is_release(release)).or_else(|| {
        let is_plain = matches!(name, "linux" | "vmlinuz" | "vmlinux" | "kernel" | "Image" | "bzImage");
        parts.next().filter(|above| is_plain && is_release(above))
    })
}

/// The release in the name of a unified kernel image: the part before it is an entry token or machine id.
#[must_use]
pub fn release_of_uki(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".efi").or_else(|| name.strip_suffix(".EFI"))?;
    let (stem, _) = without_tries(stem);
    if is_release(stem) {
        return Some(stem);
    }
    stem.match_indices('-')
        .find_map(|(dash, _)| stem.get(dash.saturating_add(1)..).filter(|rest| is_release(rest)))
}

/// Whether a text looks like a kernel's release: a number, a dot, a number.
#[must_use]
pub fn is_release(text: &str) -> bool {
    let digits =
        |text: &str| text.len().saturating_sub(text.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let major = digits(text);
    major > 0
        && major < 4
        && text.get(major..).and_then(|rest| rest.strip_prefix('.')).is_some_and(|minor| digits(minor) > 0)
}

/// A name without its boot counter, and the tries that are left: `x+3-1` is `x` with three left.
#[must_use]
pub fn without_tries(stem: &str) -> (&str, Option<u64>) {
    let Some((name, counter)) = stem.rsplit_once('+') else { return (stem, None) };
    let (left, done) = counter.split_once('-').map_or((counter, None), |(left, done)| (left, Some(done)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match left.parse() {
        Ok(tries) if is_number(left) && done.is_none_or(is_number) => (name, Some(tries)),
        _ => (stem, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_releases() {
        for (path, want) in [
            ("/boot/vmlinuz-6.1.0-50-amd64", Some("6.1.0-50-amd64")),
            ("/vmlinuz-5.14.0-570.12.1.el9_6.x86_64", Some("5.14.0-570.12.1.el9_6.x86_64")),
            ("/ostree/fedora-0f/vmlinuz-6.8.5-301.fc40.x86_64", Some("6.8.5-301.fc40.x86_64")),
            ("/4098b3f648d74c13b1f04ccfba7798e8/6.12.48+deb13-amd64/linux", Some("6.12.48+deb13-amd64")),
            ("/usr/lib/modules/6.8.5/vmlinuz", Some("6.8.5")),
            ("/boot/vmlinuz-0-rescue-4098b3f648d74c13b1f04ccfba7798e8", None),
            ("/boot/vmlinuz-linux", None),
            ("/boot/vmlinuz-virt", None),
            ("/vmlinuz", None),
            ("/boot/Image-6.4.0-150600.21-default", Some("6.4.0-150600.21-default")),
            ("", None),
        ] {
            assert_eq!(release_of_path(path), want, "{path}");
        }
        for (name, want) in [
            ("4098b3f648d74c13b1f04ccfba7798e8-6.12.3-200.fc41.x86_64.efi", Some("6.12.3-200.fc41.x86_64")),
            ("debian-6.12.48+deb13-amd64+3-1.efi", Some("6.12.48+deb13-amd64")),
            ("6.1.0.efi", Some("6.1.0")),
            ("arch-linux.efi", None),
            ("fedora.conf", None),
        ] {
            assert_eq!(release_of_uki(name), want, "{name}");
        }
        for (stem, want) in [
            ("a+3-1", ("a", Some(3))),
            ("a+0", ("a", Some(0))),
            ("6.12.48+deb13-amd64", ("6.12.48+deb13-amd64", None)),
            ("a+", ("a+", None)),
        ] {
            assert_eq!(without_tries(stem), want);
        }
    }
}
