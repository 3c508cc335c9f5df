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
            _ if path.starts_with("/boot/") => Some(self.scripts.iter().any(|(own, _)| *own == path)),
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
