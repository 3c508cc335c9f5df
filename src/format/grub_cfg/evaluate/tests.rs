//! Scripts as grub-mkconfig of the distributions writes them, and what no image says.

use super::super::decode;
use super::*;
use crate::format::grubenv;

/// Scripts, environments and entries beside a `grub.cfg`; what is in none of them is not there.
#[derive(std::default::Default)]
struct Beside {
    environment: Option<Vec<(String, String)>>,
    scripts: Vec<(&'static str, Script)>,
    bls: Vec<BlsMenuEntry>,
}

impl Files for Beside {
    fn exists(&self, path: &str) -> Option<bool> {
        match path {
            "/boot/grub/grubenv" => Some(self.environment.is_some()),
            _ if self.scripts.iter().any(|(own, _)| *own == path) => Some(true),
            _ if path.starts_with("/boot/") => Some(false),
            _ => None,
        }
    }

    fn environment(&self, path: &str) -> Option<&[(String, String)]> {
        self.environment.as_deref().filter(|_| path == "/boot/grub/grubenv")
    }

    fn script(&self, path: &str) -> Option<(&Script, String)> {
        let (_, script) = self.scripts.iter().find(|(own, _)| *own == path)?;
        Some((script, "/boot/grub".into()))
    }

    fn bls_entries(&self) -> std::result::Result<Vec<BlsMenuEntry>, String> {
        Ok(self.bls.clone())
    }
}

fn script(text: &str) -> Script {
    decode(text.as_bytes(), &Limits::default()).unwrap()
}

fn beside(block: &[u8]) -> Beside {
    let variables = grubenv::decode(block, &Limits::default()).unwrap();
    Beside { environment: Some(variables), ..Beside::default() }
}

fn with(pairs: &[(&str, &str)]) -> Beside {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Beside { environment: Some(pairs.collect()), ..Beside::default() }
}

/// The kernel of the default, or why it is not known.
fn kernel(text: &str, files: &Beside) -> String {
    match default(&script(text), "/boot/grub", files, &Limits::default()).unwrap() {
        Ok(found) => found.kernel,
        Err(why) => format!("unknown: {why}"),
    }
}

const FIRST: &str = include_str!("../../../../fixtures/boot/debian-12-first.cfg");
const SUBMENU: &str = include_str!("../../../../fixtures/boot/debian-12-submenu.cfg");
const SAVED: &str = include_str!("../../../../fixtures/boot/debian-12-saved.cfg");
const FLAT: &str = include_str!("../../../../fixtures/boot/debian-12-flat.cfg");
const SAVED_50: &[u8] = include_bytes!("../../../../fixtures/boot/grubenv-50");
const NEXT: &[u8] = include_bytes!("../../../../fixtures/boot/grubenv-next");
const NEW: &str = "/boot/vmlinuz-6.1.0-56-amd64";
const OLD: &str = "/boot/vmlinuz-6.1.0-50-amd64";

#[test]
fn defaults_of_grub_mkconfig_are_followed() {
    let none = Beside::default();
    for (name, text, files, want) in [
        ("the first", FIRST, &none, NEW),
        ("in a submenu", SUBMENU, &none, OLD),
        ("by id, without submenus", FLAT, &none, OLD),
        ("saved, and nothing saved", SAVED, &none, NEW),
        ("saved by id", SAVED, &beside(SAVED_50), OLD),
        ("once another", SAVED, &beside(NEXT), NEW),
        ("once another, of a fixed default", SUBMENU, &beside(NEXT), NEW),
        ("a fixed default does not ask what was saved", FIRST, &beside(SAVED_50), NEW),
        (
            "by title",
            SAVED,
            &with(&[(
                "saved_entry",
                "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-50-amd64",
            )]),
            OLD,
        ),
        ("by numbers", SAVED, &with(&[("saved_entry", "1>2")]), OLD),
        ("what names no entry is the first", SAVED, &with(&[("saved_entry", "gone")]), NEW),
        ("a number past the end, too", SAVED, &with(&[("saved_entry", "7")]), NEW),
    ] {
        assert_eq!(kernel(text, files), want, "{name}");
    }
    let found = default(&script(SUBMENU), "/boot/grub", &none, &Limits::default()).unwrap().unwrap();
    assert_eq!(
        found.title,
        "Advanced options for Debian GNU/Linux > Debian GNU/Linux, with Linux 6.1.0-50-amd64"
    );
    assert_eq!(found.id.as_deref(), Some("gnulinux-6.1.0-50-amd64-advanced-/dev/sda1"));
}

/// The head of a `grub.cfg` of Fedora and RHEL, where the entries are files.
const BLS: &str = r#"
set pager=1
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${saved_entry}"
fi
insmod increment
if [ -n "${boot_counter}" -a "${boot_success}" = "0" ]; then
  if  [ "${boot_counter}" = "0" -o "${boot_counter}" = "-1" ]; then
    set default=1
    set boot_counter=-1
  else
    decrement boot_counter
  fi
  save_env boot_counter
fi
if [ x$feature_platform_search_hint = xy ]; then
  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 2f64394d
else
  search --no-floppy --fs-uuid --set=root 2f64394d
fi
insmod blscfg
blscfg
if [ "${boot_success}" = "1" -o "${boot_indeterminate}" = "1" ]; then
  set menu_hide_ok=1
else
  set menu_hide_ok=0
fi
if [ "$grub_platform" = "efi" ]; then
  menuentry 'UEFI Firmware Settings' --id 'uefi-firmware' {
    fwsetup
  }
fi
"#;

fn bls(versions: &[&str]) -> Vec<BlsMenuEntry> {
    let entry = |version: &&str| BlsMenuEntry {
        title: format!("Red Hat Enterprise Linux ({version}) 9.6 (Plow)"),
        id: format!("4098b3f648d74c13b1f04ccfba7798e8-{version}"),
        kernel: format!("/vmlinuz-{version}"),
        version: Some((*version).to_owned()),
        options: "root=UUID=1234 ro $kernelopts".to_owned(),
    };
    versions.iter().map(entry).collect()
}

#[test]
fn defaults_with_entries_in_files_are_followed() {
    let versions = ["5.14.0-570.el9.x86_64", "5.14.0-427.el9.x86_64", "0-rescue"];
    let (new, old) = ("/vmlinuz-5.14.0-570.el9.x86_64", "/vmlinuz-5.14.0-427.el9.x86_64");
    for (pairs, want) in [
        (&[][..], new),
        (&[("saved_entry", "4098b3f648d74c13b1f04ccfba7798e8-5.14.0-427.el9.x86_64")], old),
        (&[("saved_entry", "1")], old),
        (&[("saved_entry", "0"), ("boot_counter", "0"), ("boot_success", "0")], old),
        (&[("saved_entry", "0"), ("boot_counter", "1"), ("boot_success", "0")], new),
        (&[("saved_entry", "0"), ("boot_counter", "0"), ("boot_success", "1")], new),
        (
            &[("saved_entry", "4098b3f648d74c13b1f04ccfba7798e8-gone")],
            "unknown: its default `4098b3f648d74c13b1f04ccfba7798e8-gone` is no entry of its menu, and starts with a number",
        ),
        // Past what may be there or not.
        (&[("saved_entry", "3")], "unknown: which entry of its menu is number 3 is not known"),
        (
            &[("saved_entry", "uefi-firmware")],
            "unknown: whether its menu has the default `uefi-firmware` is not known",
        ),
    ] {
        assert_eq!(kernel(BLS, &Beside { bls: bls(&versions), ..with(pairs) }), want, "{pairs:?}");
    }
    assert_eq!(kernel(BLS, &with(&[])), "unknown: which entry of its menu is number 0 is not known");
}

#[test]
fn what_the_image_does_not_say_is_unknown() {
    let menu = "menuentry a --id a { linux /a }\nmenuentry b --id b { linux /b }\n";
    let none = Beside::default();
    for (head, want) in [
        ("", "/a"),
        ("set default=b", "/b"),
        ("default=1", "/b"),
        (
            "if [ $grub_platform = efi ]; then set default=1; else set default=0; fi",
            "unknown: its default depends on `[ ${grub_platform} = efi ]`",
        ),
        ("if [ $grub_platform = efi ]; then set default=1; else set default=1; fi", "/b"),
        ("if loadfont x; then set default=1; fi", "unknown: its default depends on `loadfont x`"),
        ("if loadfont x; then set color=1; fi", "/a"),
        (
            "if [ $grub_platform = efi ]; then menuentry fw { fwsetup }; fi",
            "unknown: which entry of its menu is number 0 is not known",
        ),
        (
            "load_env -f (hd1)/env; set default=$saved_entry",
            "unknown: its default depends on an environment block that is not known (`/env`)",
        ),
        (
            "set env_block=\"($root)512+1\"\nload_env -f \"${env_block}\"\nset default=\"${saved_entry}\"",
            "unknown: its default depends on an environment block that is not known (`512+1`)",
        ),
        ("eval \"set default=1\"", "unknown: it carries out the text of a variable"),
        ("source (hd1)/other.cfg", "unknown: it goes on in a file that is not known (`/other.cfg`)"),
        ("source /boot/grub/none.cfg", "/a"),
        ("configfile (hd1,gpt1)/boot/grub/none.cfg", "/a"),
        (
            "menuentry x { chainloader +1 }",
            "unknown: its default `x` starts no Linux of its own (chainloader)",
        ),
        ("menuentry x { linux $kernel_of_mine }", "unknown: its default `x` loads no kernel"),
        ("menuentry x { linux ($root)$root/k }", "unknown: which kernel its default `x` loads is not known"),
        (
            "menuentry x { multiboot2 /xen.gz placeholder\n module2 /vmlinuz-6.1 root=x\n module2 --nounzip /initrd }",
            "/vmlinuz-6.1",
        ),
        ("submenu s { }", "unknown: the submenu of its default has no entry"),
        ("for x in a b; do set default=1; done", "unknown: its default depends on how often a loop runs"),
        ("function pick { set default=$1x; if true; then set default=1; fi }\npick", "/b"),
        ("function f { f }\nf", "limit"),
        ("if ! [ -e /boot/x ]; then set default=1; fi", "/b"),
        ("if [ ! -e /boot/x -a ( 1 -lt 2 ) ]; then set default=1; fi", "/b"),
        ("if [ x\"$nothing\" = x -o y ]; then true; fi\nset default=\\b", "/b"),
        ("linux /direct\nboot", "/direct"),
    ] {
        let script = script(&format!("{head}\n{menu}"));
        let got = match default(&script, "/boot/grub", &none, &Limits::default()) {
            Ok(Ok(found)) => found.kernel,
            Ok(Err(why)) => format!("unknown: {why}"),
            Err(_) => "limit".to_owned(),
        };
        assert_eq!(got, want, "{head}");
    }
}

#[test]
fn a_stub_on_the_efi_partition_leads_to_the_menu() {
    let main = Beside { scripts: vec![("/boot/grub/grub.cfg", script(SUBMENU))], ..Beside::default() };
    let stub = "search.fs_uuid 2f64394d root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n";
    let found = default(&script(stub), "/boot/efi/EFI/debian", &main, &Limits::default()).unwrap();
    assert_eq!(found.unwrap().kernel, OLD);
    let found =
        default(&script(stub), "/boot/efi/EFI/debian", &Beside::default(), &Limits::default()).unwrap();
    assert_eq!(found, Err("it has no menu".to_owned()));
}

#[test]
fn broken_scripts_end_in_an_answer() {
    let limits = Limits::default();
    for text in [
        "if true; then",
        "fi",
        "}",
        "{",
        "menuentry 'x",
        "menuentry \"x",
        "x {",
        "for",
        "function",
        "while true; do",
        "if; then; fi }",
        "$",
        "${",
        "${x",
        "\\",
        "menuentry x { submenu",
        "'",
    ] {
        if let Ok(script) = decode(text.as_bytes(), &limits) {
            let _ = default(&script, "", &Beside::default(), &limits);
        }
    }
    assert!(decode("{ ".repeat(1000).as_bytes(), &limits).is_err());
    assert!(decode("x { ".repeat(1000).as_bytes(), &limits).is_err());
    assert!(decode("if ".repeat(1000).as_bytes(), &limits).is_err());
    let deep = format!("[ {} ]", "! ".repeat(10_000));
    assert!(decode(deep.as_bytes(), &limits).is_ok());
    assert_eq!(
        kernel(&format!("if {deep}; then true; fi\nmenuentry a {{ linux /a }}"), &Beside::default()),
        "/a"
    );
    // What grows by doubling, runs long, or nests without end passes a limit.
    for bomb in [
        format!("a=xxxxxxxx\n{}", "a=$a$a$a$a\n".repeat(60)),
        format!("a=xxxxxxxx\n{}", "a=$a$a\n".repeat(10) + &"b=$a$a$a$a$a$a$a$a$a$a$a$a\n".repeat(10_000)),
        format!(
            "{}{}",
            (0..20_000).map(|i| format!("v{i}=1\n")).collect::<String>(),
            "if x; then y; fi\n".repeat(10_000)
        ),
        (0..30)
            .map(|i| format!("function f{i} {{ f{} ; f{} ; f{} }}\n", i + 1, i + 1, i + 1))
            .collect::<String>()
            + "f0\n",
    ] {
        let script = decode(bomb.as_bytes(), &limits).unwrap();
        assert!(default(&script, "", &Beside::default(), &limits).is_err());
    }
    let negated =
        format!("if {} true; then set default=1; fi\nmenuentry a {{ linux /a }}", "! ".repeat(100_000));
    assert_eq!(kernel(&negated, &Beside::default()), "/a");
    let bytes = SUBMENU.as_bytes();
    for at in (0..bytes.len()).step_by(7) {
        for broken in [bytes[..at].to_vec(), {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x55;
            flipped
        }] {
            if let Ok(script) = decode(&broken, &limits) {
                let _ = default(&script, "/boot/grub", &beside(SAVED_50), &limits);
            }
        }
    }
}

const UBUNTU_FIRST: &str = include_str!("../../../../fixtures/boot/ubuntu-24.04-first.cfg");
const UBUNTU_SAVED: &str = include_str!("../../../../fixtures/boot/ubuntu-24.04-saved.cfg");
const UBUNTU_SUBMENU: &str = include_str!("../../../../fixtures/boot/ubuntu-24.04-submenu.cfg");

#[test]
fn ubuntus_defaults_are_followed() {
    let (new, old) = ("/boot/vmlinuz-6.8.0-51-generic", "/boot/vmlinuz-6.8.0-45-generic");
    let by_title = "Advanced options for Ubuntu>Ubuntu, with Linux 6.8.0-45-generic";
    let by_id = "gnulinux-advanced-/dev/sda1>gnulinux-6.8.0-45-generic-advanced-/dev/sda1";
    for (text, pairs, want) in [
        (UBUNTU_FIRST, &[][..], new),
        // A boot that failed shows the menu and changes no default.
        (UBUNTU_FIRST, &[("recordfail", "1")], new),
        (UBUNTU_FIRST, &[("saved_entry", by_title)], new),
        (UBUNTU_FIRST, &[("next_entry", by_id)], old),
        (UBUNTU_SUBMENU, &[], old),
        (UBUNTU_SUBMENU, &[("next_entry", "0")], new),
        (UBUNTU_SAVED, &[("saved_entry", by_title)], old),
        (UBUNTU_SAVED, &[("saved_entry", by_id)], old),
        (UBUNTU_SAVED, &[("saved_entry", "1>2")], old),
        (UBUNTU_SAVED, &[("saved_entry", "0")], new),
        (UBUNTU_SAVED, &[("saved_entry", "0"), ("prev_saved_entry", by_id)], new),
        // The recovery of the newest.
        (UBUNTU_SAVED, &[("saved_entry", "1>1")], new),
    ] {
        assert_eq!(kernel(text, &with(pairs)), want, "{pairs:?}");
        assert_eq!(kernel(&with_initrdfail(text), &with(pairs)), want, "{pairs:?}");
    }
    assert_eq!(kernel(UBUNTU_SAVED, &Beside::default()), new);
    // A boot without initrd failed: what was to boot once before is the next.
    let again = with(&[("initrdfail", "1"), ("prev_entry", by_id)]);
    assert_eq!(kernel(&with_initrdfail(UBUNTU_FIRST), &again), old);
}

/// The part that Ubuntu's own images have besides: which entry follows a boot without initrd that failed.
fn with_initrdfail(text: &str) -> String {
    let at = "if [ \"${next_entry}\" ] ; then";
    let part = r#"if [ "${initrdfail}" = 2 ]; then
   set initrdfail=
elif [ "${initrdfail}" = 1 ]; then
   set next_entry="${prev_entry}"
   set prev_entry=
   save_env prev_entry
   if [ "${next_entry}" ]; then
      set initrdfail=2
   fi
fi
"#;
    assert!(text.contains(at));
    text.replacen(at, &format!("{part}{at}"), 1)
}

/// What SUSE's `grub.cfg` has of its own: relative paths of btrfs, an environment in the file system's first
/// blocks, options of kernels from snapshots, hidden entries, and a submenu in a file of its own.
const SUSE: &str = r#"
set btrfs_relative_path="y"
export btrfs_relative_path
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${env_block}" ] ; then
  set env_block="(${root})${env_block}"
  export env_block
  load_env -f "${env_block}"
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   if [ "${env_block}" ] ; then
     save_env -f "${env_block}" next_entry
   fi
   set boot_once=true
else
   set default="${saved_entry}"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
if loadfont unicode ; then
  set gfxmode=auto
  load_video
fi
terminal_output gfxterm
if [ -f /boot/grub/themes/openSUSE/theme.txt ] ; then set theme=/boot/grub/themes/openSUSE/theme.txt; fi
menuentry 'openSUSE Leap 15.6'  --class opensuse --class gnu-linux --class gnu --class os $menuentry_id_option 'gnulinux-simple-8f3b' {
	load_video
	set gfxpayload=keep
	insmod gzio
	insmod btrfs
	if [ x$feature_platform_search_hint = xy ]; then
	  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2  8f3b
	else
	  search --no-floppy --fs-uuid --set=root 8f3b
	fi
	echo	'Loading Linux 6.4.0-150600.23.30-default ...'
	linux	/boot/vmlinuz-6.4.0-150600.23.30-default root=UUID=8f3b  ${extra_cmdline} splash=silent quiet
	initrd	/boot/initrd-6.4.0-150600.23.30-default
}
submenu 'Advanced options for openSUSE Leap 15.6' --hotkey=1 $menuentry_id_option 'gnulinux-advanced-8f3b' {
	menuentry 'openSUSE Leap 15.6, with Linux 6.4.0-150600.23.30-default' --hotkey=2 --class os $menuentry_id_option 'gnulinux-6.4.0-150600.23.30-default-advanced-8f3b' {
		linux	/boot/vmlinuz-6.4.0-150600.23.30-default root=UUID=8f3b  ${extra_cmdline} splash=silent quiet
	}
	menuentry 'openSUSE Leap 15.6, with Linux 6.4.0-150600.21-default' --hotkey=3 --class os $menuentry_id_option 'gnulinux-6.4.0-150600.21-default-advanced-8f3b' {
		linux	/boot/vmlinuz-6.4.0-150600.21-default root=UUID=8f3b  ${extra_cmdline} splash=silent quiet
	}
}
if [ -f "/.snapshots/grub-snapshot.cfg" ]; then
  source "/.snapshots/grub-snapshot.cfg"
fi
if [ "${grub_platform}" = "efi" ]; then
  hiddenentry "Text mode" --hotkey "t" {
    set textmode=true
    terminal_output console
  }
fi
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
"#;

/// The submenu of snapshots as SUSE's plug-in of snapper writes it.
const SNAPSHOTS: &str = r#"
if [ -z "$extra_cmdline" ]; then
  submenu  "Start bootloader from a read-only snapshot" {
    if [ -f "/.snapshots/2/grub-snapshot.cfg" ]; then
      source "/.snapshots/2/grub-snapshot.cfg"
    fi
    if [ x$snapshot_found != xtrue ]; then
      submenu "Not Found" { true; }
    fi
  }
fi
"#;

#[test]
fn suses_defaults_are_followed() {
    let (new, old) = ("/boot/vmlinuz-6.4.0-150600.23.30-default", "/boot/vmlinuz-6.4.0-150600.21-default");
    let snapshots = || ("/.snapshots/grub-snapshot.cfg", script(SNAPSHOTS));
    let saved =
        |entry: &'static str| Beside { scripts: vec![snapshots()], ..with(&[("saved_entry", entry)]) };
    for (entry, want) in [
        ("openSUSE Leap 15.6", new),
        (
            "Advanced options for openSUSE Leap 15.6>openSUSE Leap 15.6, with Linux 6.4.0-150600.21-default",
            old,
        ),
        ("gnulinux-advanced-8f3b>gnulinux-6.4.0-150600.21-default-advanced-8f3b", old),
        ("1>1", old),
        ("0", new),
        ("", new),
        // What boots in a snapshot is in the snapshot.
        (
            "Start bootloader from a read-only snapshot>0",
            "unknown: it goes on in a file that is not known (`/.snapshots/2/grub-snapshot.cfg`)",
        ),
    ] {
        assert_eq!(kernel(SUSE, &saved(entry)), want, "{entry}");
    }
    assert_eq!(kernel(SUSE, &Beside { scripts: vec![snapshots()], ..Beside::default() }), new);
    // On btrfs the environment that counts is in blocks of the file system.
    let in_blocks =
        Beside { scripts: vec![snapshots()], ..with(&[("env_block", "512+1"), ("saved_entry", "0")]) };
    assert_eq!(
        kernel(SUSE, &in_blocks),
        "unknown: its default depends on an environment block that is not known (`512+1`)"
    );
    // Whether there are snapshots is not known, and they may change what is the default.
    assert_eq!(
        kernel(SUSE, &with(&[("saved_entry", "0")])),
        "unknown: it goes on in a file that is not known (`/.snapshots/grub-snapshot.cfg`)"
    );
}

#[test]
fn archs_defaults_are_followed() {
    let text = r#"
if [ -s $prefix/grubenv ]; then load_env; fi
if [ "${next_entry}" ] ; then set default="${next_entry}"; else set default="0"; fi
if [ x"${feature_menuentry_id}" = xy ]; then menuentry_id_option="--id"; else menuentry_id_option=""; fi
menuentry 'Arch Linux' --class arch --class gnu-linux --class gnu --class os $menuentry_id_option 'gnulinux-simple-58c1' {
	load_video
	set gfxpayload=keep
	insmod gzio
	insmod part_gpt
	insmod fat
	search --no-floppy --fs-uuid --set=root A836-5A29
	echo	'Loading Linux linux-lts ...'
	linux	/vmlinuz-linux-lts root=UUID=58c1 rw rootflags=subvol=@arch  loglevel=3 quiet
	initrd	/intel-ucode.img /initramfs-linux-lts.img
}
submenu 'Advanced options for Arch Linux' $menuentry_id_option 'gnulinux-advanced-58c1' {
	menuentry 'Arch Linux, with Linux linux-lts' --class arch $menuentry_id_option 'gnulinux-linux-lts-advanced-58c1' {
		linux	/vmlinuz-linux-lts root=UUID=58c1 rw
	}
	menuentry 'Arch Linux, with Linux linux-lts (fallback initramfs)' --class arch $menuentry_id_option 'gnulinux-linux-lts-fallback-58c1' {
		linux	/vmlinuz-linux-lts root=UUID=58c1 rw
	}
	menuentry 'Arch Linux, with Linux linux' --class arch $menuentry_id_option 'gnulinux-linux-advanced-58c1' {
		linux	/vmlinuz-linux root=UUID=58c1 rw
	}
}
if [ "$grub_platform" = "efi" ]; then
	fwsetup --is-supported
	if [ "$?" = 0 ]; then
		menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
			fwsetup
		}
	fi
fi
"#;
    assert_eq!(kernel(text, &Beside::default()), "/vmlinuz-linux-lts");
    assert_eq!(kernel(text, &with(&[("next_entry", "1>2")])), "/vmlinuz-linux");
    let by_id = "gnulinux-advanced-58c1>gnulinux-linux-advanced-58c1";
    assert_eq!(kernel(text, &with(&[("next_entry", by_id)])), "/vmlinuz-linux");
    assert_eq!(
        kernel(text, &with(&[("next_entry", "uefi-firmware")])),
        "unknown: whether its menu has the default `uefi-firmware` is not known"
    );
}

#[test]
fn entries_in_files_are_shown_as_asked() {
    let versions = ["5.14.0-570.el9.x86_64", "5.14.0-427.el9.x86_64", "0-rescue"];
    let (new, old, rescue) =
        ("/vmlinuz-5.14.0-570.el9.x86_64", "/vmlinuz-5.14.0-427.el9.x86_64", "/vmlinuz-0-rescue");
    let id = "4098b3f648d74c13b1f04ccfba7798e8-5.14.0-427.el9.x86_64";
    let title = "Red Hat Enterprise Linux (5.14.0-427.el9.x86_64) 9.6 (Plow)";
    let head = "set default_kernelopts=\"root=/dev/mapper/rhel-root ro\"\nif [ -z \"${kernelopts}\" ]; then\n set kernelopts=\"root=x ro\"\nfi\n";
    for (commands, want) in [
        (format!("set default={id}\nblscfg"), old),
        (format!("set default=\"{title}\"\nblscfg"), old),
        ("set default=1\nblscfg".to_owned(), old),
        ("set default=2\nblscfg".to_owned(), rescue),
        ("set default=\nblscfg".to_owned(), new),
        // The default alone, then the others behind it.
        ("set default=1\nblscfg default\nset default=0\nblscfg non-default".to_owned(), old),
        (format!("set default=\"{title}\"\nblscfg non-default\nset default=0"), new),
        ("set default=1\nblscfg --show-default\nset default=0".to_owned(), old),
        (format!("blscfg {id}\nset default=0"), old),
        (format!("blscfg --entry {id}.conf\nset default=0"), old),
        ("set default=1\nblscfg (hd0,gpt2)/loader/entries".to_owned(), old),
        ("set default=1\nblscfg --path /boot/loader/entries".to_owned(), old),
        ("set default=0\nbls_import".to_owned(), new),
        ("blscfg (hd0,gpt2)/elsewhere".to_owned(), "unknown: its entries are in a directory of their own"),
        ("set blsdir=/x\nblscfg".to_owned(), "unknown: its entries are in a directory of their own"),
        ("blscfg --what".to_owned(), "unknown: it says `blscfg --what`"),
        (
            format!("set default={id}\nblscfg default"),
            "unknown: which entries it shows depends on its default, which is not known",
        ),
        ("blscfg\nuki".to_owned(), "unknown: its menu is made by `uki`"),
        (
            "blscfg\nextract_entries_source /x".to_owned(),
            "unknown: its menu is made by `extract_entries_source`",
        ),
    ] {
        let beside = Beside { bls: bls(&versions), ..Beside::default() };
        assert_eq!(kernel(&format!("{head}{commands}\n"), &beside), want, "{commands}");
    }
}
