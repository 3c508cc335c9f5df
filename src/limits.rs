//! Every ceiling on what an image may make karat read, hold or do, each with unit and reason.
//!
//! A ceiling is passed explicitly to the code that it bounds. Passing one is an error that names it; all of
//! them can be raised with `--limit NAME=VALUE`, none is ever cut silently.

use crate::error::{Error, Kind, Result};

/// A named ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// As `--limit` takes it.
    pub name: &'static str,
    /// The largest value that passes.
    pub max: u64,
    /// What is counted.
    pub unit: &'static str,
    /// Why it is where it is.
    pub reason: &'static str,
}

impl Ceiling {
    /// Passes `found` on if it is within the ceiling.
    ///
    /// # Errors
    /// `Limit` if it is above, with a hint that names the flag.
    pub fn check(&self, found: u64) -> Result<u64> {
        if found <= self.max {
            return Ok(found);
        }
        Err(self.passed(found))
    }

    /// The error that says that `found` is above this ceiling.
    #[must_use]
    pub fn passed(&self, found: u64) -> Error {
        Error::new(Kind::Limit { name: self.name, found, allowed: self.max, unit: self.unit })
            .hint(format!("if you trust this image, raise it: --limit {}={found}", self.name))
    }

    /// The ceiling as a size in memory; saturates on small machines.
    #[must_use]
    pub fn as_len(&self) -> usize {
        usize::try_from(self.max).unwrap_or(usize::MAX)
    }
}

macro_rules! limits {
    ($( $field:ident = $max:expr, $unit:literal, $reason:literal; )*) => {
        /// All ceilings of a run.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits { $( #[doc = $reason] pub $field: Ceiling, )* }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $( $field: Ceiling {
                    name: stringify!($field), max: $max, unit: $unit, reason: $reason,
                }, )* }
            }
        }

        impl Limits {
            /// All ceilings, in the order of the documentation.
            #[must_use]
            pub fn all(&self) -> Vec<Ceiling> { vec![ $( self.$field, )* ] }

            /// Sets the ceiling of this name.
            ///
            /// # Errors
            /// `Config` if there is none of this name.
            pub fn set(&mut self, name: &str, max: u64) -> Result<()> {
                match name {
                    $( stringify!($field) => self.$field.max = max, )*
                    _ => return Err(Error::config(format!("no limit is called `{name}`"))
                        .hint("`karat limits` lists them")),
                }
                Ok(())
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

limits! {
    layer_bytes = 256 * GIB, "bytes", "one layer, inflated: above the largest images that are built, and a bound on what a deflate bomb costs";
    inflate_ratio = 1100, "times", "inflated over stored bytes of a layer after its first 64 MiB: deflate cannot pass 1032, zstd of real file systems stays under 100";
    zstd_window_bytes = 128 * MIB, "bytes", "the window of a zstd frame, which is memory: what zstd allows without --long; rounded down to a power of two";
    xz_dictionary_bytes = 64 * MIB, "bytes", "the dictionary of an xz block, which is memory: what xz -9 takes";
    layers = 1024, "layers", "layers of one image: eight times what container engines allow";
    manifest_bytes = 8 * MIB, "bytes", "an index, manifest or image configuration: registries stop at 4 MiB";
    index_depth = 4, "levels", "indexes inside indexes: one is usual, two are seen";
    images = 1000, "images", "images in one archive or layout";
    archive_members = 1_000_000, "members", "members of an image archive itself (not of its layers)";
    entries = 10_000_000, "entries", "files, directories and links of one stratum: each costs about 150 bytes of memory";
    path_bytes = 64 * KIB, "bytes", "one path: sixteen times what Linux allows";
    path_depth = 4096, "levels", "directories above one file";
    tar_extension_bytes = MIB, "bytes", "one PAX or GNU extension header of a tar member";
    link_hops = 40, "links", "symbolic links followed to resolve one path, as in Linux";
    spool_file_bytes = 8 * GIB, "bytes", "one file of an image that has to be read at random out of a stream";
    spool_disk_bytes = 256 * GIB, "bytes", "one disk image that is compressed as a whole, inflated; ranges of zeros take no space";
    spool_resident_file_bytes = 8 * MIB, "bytes", "one spooled file in memory; larger ones go to an unlinked temporary file";
    spool_resident_bytes = 64 * MIB, "bytes", "all spooled files in memory";
    package_db_bytes = 512 * MIB, "bytes", "one package database file: a hundred times that of a full desktop";
    record_bytes = 16 * MIB, "bytes", "one record (stanza) of a package database";
    follow_ups = 100_000, "files", "files of one image that links lead to and that are read a second time";
    rpm_header_bytes = 64 * MIB, "bytes", "one header of an rpm package or database: rpm itself stops at 256 MiB, and a package of a hundred thousand files has under 20 MiB";
    sqlite_log_bytes = 256 * MIB, "bytes", "what SQLite keeps beside a database, its write-ahead log or rollback journal: SQLite writes the log back when it has 4 MiB";
    sqlite_depth = 20, "levels", "pages above each other in one table of an SQLite database, as in SQLite";
    apk_line_bytes = MIB, "bytes", "one line of an apk database or index: eight times what apk itself reads";
    damages = 1000, "places", "damaged records and pages of one package database that are told one by one: after these the database is given up";
    records = 200_000, "records", "records of one package database or changelog";
    fstab_bytes = MIB, "bytes", "one fstab: those of real systems have a few lines";
    mounts = 2000, "mounts", "lines of one fstab, and mount units of one system: those of real systems have dozens";
    os_release_bytes = MIB, "bytes", "one os-release file";
    boot_config_bytes = 4 * MIB, "bytes", "one file of a boot loader's configuration: a grub.cfg with a hundred kernels has under a megabyte";
    boot_depth = 64, "levels", "blocks and conditions inside each other in a boot loader's configuration, and files that it includes: generated ones have four";
    boot_steps = 200_000, "commands", "commands of a boot loader's configuration that are followed to find its default";
    boot_entries = 10_000, "entries", "entries of a boot loader's menu: one a kernel, and its recovery";
    rpm_header_entries = 65_535, "entries", "tags of one rpm header: rpm's own ceiling";
    rpm_files = 2_000_000, "files", "files of one package of rpm: the largest that are built have half a million";
    changelog_bytes = 128 * MIB, "bytes", "one changelog, inflated";
    changelog_line_bytes = 64 * KIB, "bytes", "one line of a changelog: people write them, and even generated ones stay under a thousand";
    channel_files = 1_000_000, "files", "files and directories of one channel source: a mirror of all of Debian has fewer for one architecture";
    channel_index_bytes = GIB, "bytes", "one file of a channel source, inflated: the largest package index that is published has 60 MB";
    xml_depth = 64, "levels", "elements inside each other: repository metadata has six";
    yaml_depth = 64, "levels", "lists and maps inside each other: what describes a module stream has eight";
    repomd_files = 10_000, "files", "files that one repomd.xml lists: repositories have up to thirty";
    deb_control_bytes = 64 * MIB, "bytes", "the control archive of one .deb, inflated: the largest have under a megabyte";
    deb_data_bytes = 32 * GIB, "bytes", "the files of one .deb, inflated: ar cannot hold more than 10 GB stored";
    document_bytes = GIB, "bytes", "one inventory or baseline document";
    markdown_bytes = MIB, "bytes", "one Markdown report: GitHub takes no larger job summary; what is left out is counted in it";
    registry_stall_seconds = 60, "seconds", "without a byte from a registry: slow ones are slow for seconds";
    registry_answer_seconds = 300, "seconds", "a manifest, token or error of a registry, from first to last byte";
    registry_layer_seconds = 6 * 3600, "seconds", "one answer with a layer: 10 GB at 4 Mbit/s";
    registry_attempts = 6, "tries", "of one request that brings nothing, over eight seconds and what the registry asks to wait";
    registry_resumes = 64, "cuts", "of one layer on its way: each goes on where the last ended";
    registry_wait_seconds = 120, "seconds", "a wait that a registry asks for (Retry-After); longer ones are for another run";
    registry_redirects = 5, "hops", "redirects of one request: registries send once, to where the blobs are";
    registry_manifests = 1000, "fetches", "manifests asked for to find one image: indexes name a dozen";
    registry_answer_bytes = MIB, "bytes", "a token or list from a registry, or what a credential helper says";
    auth_file_bytes = MIB, "bytes", "one file of credentials";
    ca_file_bytes = 8 * MIB, "bytes", "one file of CA certificates: those of a system are 250 KiB";
    credential_helper_seconds = 30, "seconds", "an answer of a credential helper";
    cache_bytes = GIB, "bytes", "the layer cache in the user's cache directory; what was used longest ago goes first";
    cache_entry_bytes = 256 * MIB, "bytes", "one entry of the layer cache, packed or unpacked: a layer that says more is read each time";
    shared_entries = 1_000_000, "entries", "files, directories and links of layers that are kept in memory for the other images of a run";
    disk_chain = 64, "images", "differencing images over each other: hypervisors advise against more than a few";
    disk_cache_bytes = 16 * MIB, "bytes", "map tables and inflated clusters of one disk that are kept in memory";
    disk_descriptor_bytes = MIB, "bytes", "the text that describes a VMDK: those of templates have a few hundred, one of 20 TB in extents of 2 GB under 600 KB";
    disk_extents = 32_768, "extents", "files that one disk is split into: 64 TB in extents of 2 GB";
    disk_snapshots = 65_536, "snapshots", "snapshots inside one disk image, as in QEMU";
    disk_map_steps = 4_194_304, "steps", "of the map of a disk that are followed to see that all it leads to is in its file: 256 GiB of clusters that are in use, and a second or two";
    disk_log_bytes = 64 * MIB, "bytes", "the log of a VHDX that is replayed: Hyper-V writes 1 MiB";
    partitions = 4096, "partitions", "partitions of one disk: tables have room for 128";
    lvm_metadata_bytes = 16 * MIB, "bytes", "the text that describes an LVM volume group: a thousand volumes take under a megabyte";
    lvm_segments = 1_000_000, "segments", "pieces of all volumes of an LVM volume group";
    blank_bytes = 64 * MIB, "bytes", "of each range of a disk in no volume, looked through for anything but zeros";
    search_steps = 65_536, "MiB", "of each range of a disk in no volume, behind its first part, at each of which what partitions begin with is looked for: 64 GiB, and a third of a second";
    search_candidates = 1000, "places", "of each range of a disk in no volume, where a magic says that something may begin: noise has two in 64 MiB";
    disk_siblings = 10_000, "files", "files beside a disk image among which its parent is looked for";
    metadata_cache_bytes = 16 * MIB, "bytes", "file system metadata of one disk that is kept in memory, in blocks of 64 KiB: a walk comes back to a block soon or not at all";
    inflated_cache_bytes = 8 * MIB, "bytes", "inflated blocks of one compressed file system that are kept in memory: eight of the largest that squashfs has";
    file_extents = 1_000_000, "extents", "runs of one file, and blocks that say where they are: up to 32 MB of memory, and more than a file of 100 GB has on the worst disks";
    tar_sparse_extents = 2_000_000, "extents", "pieces of all sparse members of an image archive: 48 MB of memory, and more than a disk of 100 GB has";
    directory_bytes = GIB, "bytes", "the names of one directory: ten million of them";
    journal_blocks = 1 << 20, "blocks", "the journal of one file system: four times what mke2fs makes by itself";
    xfs_log_bytes = 256 * MIB, "bytes", "what an XFS log holds that was not written back, which is replayed in memory: logs have a size up to 2 GB, and are written back long before they are full";
    btrfs_chunks = 262_144, "chunks", "chunks of one btrfs: 256 TB in chunks of 1 GiB";
    btrfs_node_bytes = 8 * MIB, "bytes", "checked blocks of the trees of one btrfs that are kept in memory";
    btrfs_subvolumes = 100_000, "subvolumes", "subvolumes and snapshots of one btrfs: a hundred are advised against";
    btrfs_log_bytes = 128 * MIB, "bytes", "what a btrfs log holds, which is replayed in memory: it has what was synced since the last commit, which is made every 30 seconds";
    system_use_bytes = 128 * KIB, "bytes", "what one record of an ISO 9660 directory says beyond the standard (names, modes, links), with its continuations: Linux reads 64 KiB";
    medium_files = 20_000, "files", "files of a live or installation medium, down to its third level, that are looked at for file systems in them: a full DVD of packages has half of them there";
    nested_images = 3, "levels", "file systems in files of file systems: a live medium has a squashfs with an ext4 in it";
    gaps = 10_000, "gaps", "gaps told one by one for one image; more are one gap that counts them";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_ceiling_names_itself_and_its_flag() {
        let mut limits = Limits::default();
        limits.set("layers", 3).unwrap();
        assert_eq!(limits.layers.check(3).unwrap(), 3);
        let error = limits.layers.check(4).unwrap_err();
        assert_eq!(error.to_string(), "limit `layers` passed: 4 against 3 layers");
        assert_eq!(error.hint_text(), Some("if you trust this image, raise it: --limit layers=4"));
        assert!(limits.set("bogus", 1).is_err());
    }

    #[test]
    fn every_ceiling_has_unit_and_reason() {
        for ceiling in Limits::default().all() {
            assert!(!ceiling.unit.is_empty() && ceiling.reason.len() > 10, "{}", ceiling.name);
        }
    }
}
