//! Which kernel boots: configurations as the boot loaders' own tools write them, in a root directory, a tar and a
//! disk; and what it means for the verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::model::{Boot, BootLoader, Inventory};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{DAY, karat, shown};
use crate::tools::tool;

/// A root file system with these kernels of Debian 12 and these files.
struct Root(TempDir);

impl Root {
    fn new(kernels: &[(&str, &str)]) -> Self {
        let root = Root(TempDir::new().unwrap());
        root.write("etc/os-release", b"ID=debian\nVERSION_ID=12\n");
        let stanza = |name: &str, version: &str, source: &str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nMaintainer: Debian\n\
                 Version: {version}\nSource: {source}\nDescription: x\n\n"
            )
        };
        let mut status = stanza("dpkg", "1.21.22", "dpkg");
        for (release, version) in kernels {
            status += &stanza(&format!("linux-image-{release}"), version, "linux");
        }
        root.write("var/lib/dpkg/status", status.as_bytes());
        root
    }

    fn with(self, files: &[(&str, &[u8])]) -> Self {
        for (path, bytes) in files {
            self.write(path, bytes);
        }
        self
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = Command::new(program).current_dir(self.0.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn inventory(path: &Path) -> Inventory {
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, path.to_str().unwrap()]);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&ran)))
}

/// What boots of a root with these files; they make no gap.
fn boots(files: &[(&str, &[u8])]) -> Option<Boot> {
    let root = Root::new(&[]).with(files);
    let found = inventory(&root.path());
    assert_eq!(found.gaps, []);
    found.systems.into_iter().next().unwrap().boot
}

/// The release that boots, or why it is not known.
fn release(files: &[(&str, &[u8])]) -> String {
    let boot = boots(files).unwrap();
    boot.version.or(boot.unknown).or(boot.kernel).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/boot").join(name)).unwrap()
}

const OLD: &str = "6.1.0-50-amd64";
const NEW: &str = "6.1.0-56-amd64";
const STUB: &[u8] =
    b"search.fs_uuid 2f64394d root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n";
const ENTRY: &[u8] = b"title Debian\nversion 6.1.0-50-amd64\nlinux /4098b3/6.1.0-50-amd64/linux\n";

#[test]
fn grub_says_what_boots() {
    let (saved, first) = (fixture("debian-12-saved.cfg"), fixture("debian-12-first.cfg"));
    let environment = fixture("grubenv-50");
    assert_eq!(boots(&[]), None);
    assert_eq!(
        boots(&[("boot/grub/grub.cfg", &saved), ("boot/grub/grubenv", &environment)]),
        Some(Boot {
            loader: BootLoader::Grub,
            config: "boot/grub/grub.cfg".into(),
            title: Some(format!(
                "Advanced options for Debian GNU/Linux > Debian GNU/Linux, with Linux {OLD}"
            )),
            kernel: Some(format!("/boot/vmlinuz-{OLD}")),
            version: Some(OLD.into()),
            unknown: None,
        })
    );
    let cfg = "boot/grub/grub.cfg";
    assert_eq!(release(&[(cfg, &saved)]), NEW);
    assert_eq!(release(&[(cfg, &first), ("boot/efi/EFI/debian/grub.cfg", STUB)]), NEW);
    // Parts of a menu beside it.
    let custom = b"set default=mine\nmenuentry x --id mine { linux /boot/vmlinuz-6.6.6 }\n";
    assert_eq!(release(&[(cfg, &first), ("boot/grub/custom.cfg", custom)]), "6.6.6");
    // Two that differ, and one that is broken.
    let other = b"menuentry x { linux /boot/vmlinuz-6.6.6 }\n";
    let why = release(&[(cfg, &first), ("boot/efi/EFI/debian/grub.cfg", other)]);
    assert!(why.contains("which one runs is not in the image") && why.contains("starts 6.6.6"), "{why}");
    assert!(release(&[(cfg, b"if true; then\n")]).contains("GRUB script"));
    assert!(release(&[(cfg, &saved), ("boot/grub/grubenv", b"x")]).contains("environment block"));
}

#[test]
fn the_ceilings_of_the_run_hold_for_what_boots() {
    let root = Root::new(&[]).with(&[("boot/grub/grub.cfg", &fixture("debian-12-first.cfg"))]);
    let path = root.path();
    let boot = |limit: &str| {
        let args =
            ["inventory", "-q", "-o", "json", "--as-of", DAY, path.to_str().unwrap(), "--limit", limit];
        let ran = karat(&args);
        let found: Inventory =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&ran)));
        assert_eq!(found.gaps, [], "{limit}");
        found.systems.into_iter().next().unwrap().boot.unwrap()
    };
    assert_eq!(boot("boot_steps=200000").version.as_deref(), Some(NEW));
    for (limit, name) in [("boot_steps=5", "boot_steps"), ("boot_entries=0", "boot_entries")] {
        let why = boot(limit).unknown.unwrap();
        assert!(why.contains(&format!("limit `{name}` passed")), "{why}");
    }
}

#[test]
fn a_link_is_followed_to_the_kernel() {
    let root = Root::new(&[]).with(&[
        ("boot/grub/grub.cfg", b"menuentry x { linux /vmlinuz }\n"),
        ("boot/vmlinuz-6.1.0-50-amd64", b""),
    ]);
    std::os::unix::fs::symlink("boot/vmlinuz-6.1.0-50-amd64", root.path().join("vmlinuz")).unwrap();
    let found = inventory(&root.path());
    assert_eq!(found.gaps, []);
    let boot = found.systems[0].boot.clone().unwrap();
    assert_eq!((boot.kernel.as_deref(), boot.version.as_deref()), (Some("/vmlinuz"), Some(OLD)));
}

#[test]
fn entries_in_files_say_what_boots() {
    let id = "4098b3f648d74c13b1f04ccfba7798e8";
    let entry = |version: &str| {
        let text = format!("title RHEL ({version}) 9.6\nversion {version}\nlinux /vmlinuz-{version}\n");
        (format!("boot/loader/entries/{id}-{version}.conf"), text)
    };
    let (new, old) = ("5.14.0-570.12.1.el9_6.x86_64", "5.14.0-70.13.1.el9_0.x86_64");
    let (a, b) = (entry(new), entry(old));
    let cfg = b"load_env -f ${config_directory}/grubenv\nset default=\"${saved_entry}\"\nblscfg\n";
    let saved = format!("# GRUB Environment Block\nsaved_entry={id}-{old}\n");
    let menu = [(a.0.as_str(), a.1.as_bytes()), (b.0.as_str(), b.1.as_bytes()), ("boot/grub2/grub.cfg", cfg)];
    assert_eq!(release(&menu), new);
    assert_eq!(release(&[&menu[..], &[("boot/grub2/grubenv", saved.as_bytes())]].concat()), old);

    // The same entries, started by systemd-boot.
    let menu = &menu[..2];
    assert_eq!(boots(menu), None);
    let conf = "boot/loader/loader.conf";
    assert_eq!(release(&[menu, &[(conf, b"timeout 3\n")]].concat()), new);
    assert_eq!(release(&[menu, &[(conf, b"default *-70.*\n")]].concat()), old);
    assert_eq!(release(&[menu, &[(conf, b"default nothing*\n")]].concat()), new);
    let why = release(&[menu, &[(conf, b"default @saved\n")]].concat());
    assert!(why.contains("a variable of the firmware"), "{why}");
    let installed = [("boot/efi/EFI/systemd/systemd-bootx64.efi", &b""[..])];
    assert_eq!(release(&[menu, &installed].concat()), new);

    let conf = ("efi/loader/loader.conf", &b""[..]);
    let counted = ("efi/loader/entries/a+0-3.conf", ENTRY);
    let good = ("efi/loader/entries/0.conf", &b"linux /vmlinuz-6.1.0-56-amd64\n"[..]);
    assert_eq!(release(&[counted, good, conf]), NEW);
}

#[test]
fn unified_kernel_images_say_what_boots() {
    let (old, new) = (fixture("uki-6.12.43.efi"), fixture("uki-6.12.48.efi"));
    let (old_release, new_release) = ("6.12.43+deb13-amd64", "6.12.48+deb13-amd64");
    let conf = |text: &'static str| ("efi/loader/loader.conf", text.as_bytes());
    let (a, b) = (("efi/EFI/Linux/token-a.efi", &old[..]), ("efi/EFI/Linux/token-b+3.efi", &new[..]));
    let boot = boots(&[a, conf("")]).unwrap();
    assert_eq!(
        (boot.loader, boot.title.as_deref(), boot.kernel.as_deref(), boot.version.as_deref()),
        (
            BootLoader::SystemdBoot,
            Some("Debian GNU/Linux 13 (trixie)"),
            Some("/EFI/Linux/token-a.efi"),
            Some(old_release)
        )
    );
    // Of one system and version the names decide, and a pattern before them.
    assert_eq!(release(&[a, b, conf("")]), new_release);
    assert_eq!(release(&[a, b, conf("default token-a*\n")]), old_release);
    let failed = ("efi/EFI/Linux/token-b+0-3.efi", &new[..]);
    assert_eq!(release(&[a, failed, conf("")]), old_release);
    // Entries with a key to sort by come before those without, in files or in images.
    assert_eq!(release(&[a, ("efi/loader/entries/z.conf", ENTRY), conf("")]), old_release);
    let keyed = b"title x\nsort-key aaa\nversion 1\nlinux /vmlinuz-6.1.0-56-amd64\n";
    assert_eq!(release(&[a, ("efi/loader/entries/z.conf", keyed), conf("")]), NEW);
    // What is cut off or none is not passed over.
    for (bytes, wanted) in
        [(&new[..0x100], "bytes wanted"), (&b"\x7fELF"[..], "bytes wanted"), (&[0; 100], "magic")]
    {
        let why = release(&[a, ("efi/EFI/Linux/x.efi", bytes), conf("")]);
        assert!(why.contains("x.efi: ") && why.contains(wanted), "{why}");
    }
}

#[test]
fn ubuntus_menu_says_what_boots() {
    let (first, submenu) = (fixture("ubuntu-24.04-first.cfg"), fixture("ubuntu-24.04-submenu.cfg"));
    let cfg = "boot/grub/grub.cfg";
    assert_eq!(release(&[(cfg, &first)]), "6.8.0-51-generic");
    assert_eq!(release(&[(cfg, &submenu), ("boot/efi/EFI/ubuntu/grub.cfg", STUB)]), "6.8.0-45-generic");
}

#[test]
fn suses_menu_goes_on_in_a_file_of_snapshots() {
    let menu = "set default=\"${saved_entry}\"\n\
        menuentry 'openSUSE Leap 15.6'  --class opensuse --id a { linux /boot/vmlinuz-6.4.0-150600.23.30-default root=x ${extra_cmdline} }\n\
        if [ -f \"/.snapshots/grub-snapshot.cfg\" ]; then\n  source \"/.snapshots/grub-snapshot.cfg\"\nfi\n";
    let submenu =
        b"if [ -z \"$extra_cmdline\" ]; then\n submenu \"snapshots\" { true }\n set default=0\nfi\n";
    let stub = b"set btrfs_relative_path=\"yes\"\nsearch --fs-uuid --set=root 8f3b\nset prefix=(${root})/boot/grub2\nsource \"${prefix}/grub.cfg\"\n";
    let files = [
        ("boot/grub2/grub.cfg", menu.as_bytes()),
        ("boot/efi/EFI/opensuse/grub.cfg", stub),
        (".snapshots/grub-snapshot.cfg", &submenu[..]),
    ];
    assert_eq!(release(&files), "6.4.0-150600.23.30-default");
    assert_eq!(release(&files[..2]), "6.4.0-150600.23.30-default");
    // A file of the menu that cannot be understood may name another default.
    let why = release(&[files[0], (".snapshots/grub-snapshot.cfg", b"if true; then\n")]);
    assert!(why.contains("it goes on in a file that is not known"), "{why}");
}

#[test]
fn extlinux_says_what_boots() {
    let text = b"default l1\nlabel l0\n linux /boot/vmlinuz-6.1.0-56-amd64\nlabel l1\n menu label Old\n linux /boot/vmlinuz-6.1.0-50-amd64\n";
    let boot = boots(&[("boot/extlinux/extlinux.conf", text)]).unwrap();
    assert_eq!(
        (boot.loader, boot.title.as_deref(), boot.version.as_deref()),
        (BootLoader::Extlinux, Some("Old"), Some(OLD))
    );
}

/// Debian's kernels: the image's default is the older, production runs the newer.
fn latent() -> (Root, Root) {
    let kernels = [(OLD, "6.1.176-1"), (NEW, "6.1.192-1")];
    let image = Root::new(&kernels).with(&[("boot/grub/grub.cfg", &fixture("debian-12-submenu.cfg"))]);
    (image, Root::new(&kernels[1..]))
}

fn audit(image: &Path, host: &Root, format: &str) -> String {
    let baseline = host.0.path().join("baseline.json");
    let (host, baseline) = (host.path(), baseline.to_str().unwrap().to_owned());
    let host = host.to_str().unwrap();
    let built =
        karat(&["baseline", "build", "-q", "--name", "p", "-o", &baseline, "--host", host, "--as-of", DAY]);
    assert_eq!(built.code, 0, "{}", shown(&built));
    let image = image.to_str().unwrap();
    karat(&["audit", "-q", "--baseline", &baseline, "--as-of", DAY, image, "-o", format]).stdout
}

#[test]
fn a_kernel_that_would_not_boot_is_a_latent_patch() {
    let (image, host) = latent();
    let report: Value = serde_json::from_str(&audit(&image.path(), &host, "json")).unwrap();
    let system = &report["images"][0]["systems"][0];
    let kernel = &system["drift"][0];
    assert_eq!(kernel["name"], "linux-image-6.1.0-50-amd64", "{kernel:#}");
    assert_eq!(kernel["change"], "behind");
    assert_eq!(kernel["image_version"], "6.1.176-1");
    assert_eq!(kernel["not_booted"]["name"], "linux-image-6.1.0-56-amd64");
    assert_eq!(kernel["missed"][0]["latent"], true);
    let codes: Vec<&str> =
        system["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"latent-patch"), "{codes:?}");
    let upgrade = &system["upgrades"][0];
    assert_eq!(upgrade["boot_instead"], serde_json::json!(["linux-image-6.1.0-56-amd64"]), "{upgrade:#}");
    for format in ["text", "markdown"] {
        let told = audit(&image.path(), &host, format);
        assert!(
            told.contains("boot by default what is installed") && !told.contains("upgrade 1 source"),
            "{told}"
        );
        assert!(told.contains("is installed and would not boot") && told.contains("latent-patch"), "{told}");
    }

    // Where the newer boots, nothing is missed; where nothing says, the newest counts, and that is told.
    let booting = Root::new(&[(OLD, "6.1.176-1"), (NEW, "6.1.192-1")])
        .with(&[("boot/grub/grub.cfg", &fixture("debian-12-first.cfg"))]);
    let report: Value = serde_json::from_str(&audit(&booting.path(), &host, "json")).unwrap();
    assert_eq!(report["images"][0]["systems"][0]["drift"], serde_json::json!([]));
    booting.write("boot/grub/grub.cfg", b"if loadfont x; then set default=1; fi\nmenuentry a { linux /a }\n");
    let report: Value = serde_json::from_str(&audit(&booting.path(), &host, "json")).unwrap();
    let system = &report["images"][0]["systems"][0];
    assert_eq!(system["drift"], serde_json::json!([]));
    assert!(system["findings"].to_string().contains("boot-unknown"), "{system:#}");
    let told = karat(&["inventory", "-v", booting.path().to_str().unwrap()]).stdout;
    assert!(told.contains("boots not known: its default depends on `loadfont x`"), "{told}");
}

#[test]
fn a_disk_and_a_tar_boot_what_their_root_does() {
    let (image, _) = latent();
    let wanted = inventory(&image.path());
    assert_eq!(wanted.systems[0].boot.as_ref().unwrap().version.as_deref(), Some(OLD));
    if tool("tar").is_some() {
        image.run("tar", &["-C", "root", "-cf", "root.tar", "."]);
        assert_eq!(inventory(&image.0.path().join("root.tar")).content_id, wanted.content_id);
    }
    if tool("mke2fs").is_some() && tool("sfdisk").is_some() {
        // The boot partition is one of its own, so paths of GRUB begin there.
        image.run("mv", &["root/boot", "boot"]);
        fs::create_dir(image.path().join("boot")).unwrap();
        let cfg = String::from_utf8(fixture("debian-12-submenu.cfg")).unwrap().replace("/boot/", "/");
        fs::write(image.0.path().join("boot/grub/grub.cfg"), cfg).unwrap();
        image.write("etc/fstab", b"LABEL=root / ext4 defaults 0 1\nLABEL=boot /boot ext4 defaults 0 2\n");
        let make = "truncate -s 8M a && truncate -s 4M b && truncate -s 16M vm.raw && \
            mke2fs -q -F -t ext4 -L root -d root a && mke2fs -q -F -t ext4 -L boot -d boot b && \
            printf 'label: gpt\\nstart=2048, size=16384, type=L\\nstart=18432, size=8192, type=L\\n' | sfdisk -q vm.raw && \
            dd if=a of=vm.raw bs=1M seek=1 conv=notrunc status=none && dd if=b of=vm.raw bs=1M seek=9 conv=notrunc status=none";
        image.run("sh", &["-c", make]);
        let found = inventory(&image.0.path().join("vm.raw"));
        assert_eq!(found.gaps, []);
        let boot = found.systems[0].boot.clone().unwrap();
        assert_eq!(
            (boot.kernel.as_deref(), boot.version.as_deref()),
            (Some("/vmlinuz-6.1.0-50-amd64"), Some(OLD))
        );
    }
}
