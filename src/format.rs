//! Pure decoders: bytes in, records out. They know no paths of the host, no clock and no policy; what is
//! damaged is an error of its own that leaves the rest standing.

mod xml;

pub mod apk;
pub mod apt_packages;
pub mod apt_release;
pub mod berkeley_db;
pub mod bls;
pub mod chisel;
pub mod cve;
pub mod deb822;
pub mod debian_changelog;
pub mod dpkg;
pub mod extlinux;
pub mod fstab;
pub mod grub_cfg;
pub mod grubenv;
pub mod kernel;
pub mod loader_conf;
pub mod modules_yaml;
pub mod mount_unit;
pub mod ndb;
pub mod nevra;
pub mod opkg;
pub mod os_release;
pub mod ovf;
pub mod ovf_manifest;
pub mod pacman;
pub mod repomd;
pub mod rpm_file;
pub mod rpm_header;
pub mod rpm_macros;
pub mod rpm_manifest;
pub mod rpm_primary;
pub mod rpmdb;
pub mod sqlite;
pub mod system_release;
pub mod uki;
pub mod updateinfo;
pub mod xbps;
