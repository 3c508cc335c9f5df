use super::super::bls;
use super::*;

/// What ukify and objcopy make: a stub with these sections behind its code.
fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let count = u16::try_from(sections.len() + 1).unwrap();
    let mut bytes = vec![0; 0x80];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes.extend_from_slice(b"PE\0\0\x64\x86");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&240_u16.to_le_bytes());
    bytes.extend_from_slice(&[0; 2 + 240]);
    let mut bodies = vec![0xcc; 512];
    let start = 0x400;
    let mut row = |name: &str, virtual_size: u32, raw: u32, at: u32| {
        let mut row = [0; 40];
        row[..name.len()].copy_from_slice(name.as_bytes());
        for (place, value) in [(8, virtual_size), (12, 0x1000 + at), (16, raw), (20, at)] {
            row[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&row);
    };
    row(".text", 512, 512, start);
    for (name, text) in sections {
        let at = start + u32::try_from(bodies.len()).unwrap();
        let size = u32::try_from(text.len()).unwrap();
        row(name, size, size.next_multiple_of(512), at);
        bodies.extend_from_slice(text);
        bodies.resize(bodies.len().next_multiple_of(512), 0);
    }
    bytes.resize(start as usize, 0);
    bytes.extend_from_slice(&bodies);
    bytes
}

const OSREL: &[u8] =
    b"PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nVERSION=\"13 (trixie)\"\nID=debian\n";
const UNAME: &[u8] = b"6.12.48+deb13-amd64";

#[test]
fn sections_say_what_it_is() {
    let limits = Limits::default();
    let whole = image(&[(".osrel", OSREL), (".cmdline", b"quiet"), (".uname", UNAME), (".linux", b"MZ")]);
    let entry = decode("debian-6.12.48+deb13-amd64+3-1.efi", &whole, &limits).unwrap().unwrap();
    assert_eq!(
        entry,
        BlsEntry {
            id: "debian-6.12.48+deb13-amd64".into(),
            tries_left: Some(3),
            title: Some("Debian GNU/Linux 13 (trixie)".into()),
            version: Some("13 (trixie)".into()),
            sort_key: Some("debian".into()),
            efi: Some("/EFI/Linux/debian-6.12.48+deb13-amd64+3-1.efi".into()),
            uname: Some("6.12.48+deb13-amd64".into()),
            options: Some("quiet".into()),
            is_unified: true,
            ..BlsEntry::default()
        }
    );
    assert_eq!(entry.release(), Some("6.12.48+deb13-amd64"));
    // The release is what the image says, and not its name; without, the name tells it.
    let named = decode("x-6.1.0.EFI", &whole, &limits).unwrap().unwrap();
    assert_eq!(named.release(), Some("6.12.48+deb13-amd64"));
    let without = image(&[(".osrel", OSREL)]);
    assert_eq!(decode("x-6.1.0.efi", &without, &limits).unwrap().unwrap().release(), Some("6.1.0"));
    assert_eq!(decode("x.efi", &without, &limits).unwrap().unwrap().release(), None);
    for (name, bytes) in [
        ("x.efi.bak", whole.clone()),
        ("x", whole.clone()),
        ("x.efi", image(&[(".uname", UNAME)])),
        ("x.efi", image(&[(".osrel", b"VERSION_ID=1\n")])),
    ] {
        assert_eq!(decode(name, &bytes, &limits).unwrap(), None, "{name}");
    }
}

#[test]
fn a_menu_is_in_the_order_of_systemd_boot() {
    let limits = Limits::default();
    let entry = |name: &str, osrel: &str| {
        decode(name, &image(&[(".osrel", osrel.as_bytes())]), &limits).unwrap().unwrap()
    };
    let debian = "ID=debian\nVERSION_ID=13\nNAME=Debian\n";
    let mut menu = [
        entry("debian-6.12.9.efi", debian),
        entry("debian-6.12.48.efi", debian),
        entry("DEBIAN-6.12.50+0-3.efi", debian),
        entry("alpine.efi", "ID=alpine\nNAME=Alpine\nVERSION_ID=3.20\n"),
        entry("of-image.efi", "ID=debian\nIMAGE_ID=aaa\nIMAGE_VERSION=7\nNAME=x\n"),
        bls::decode("one.conf", b"title x\nlinux /vmlinuz\n", &limits).unwrap().unwrap(),
    ];
    bls::sort(&mut menu);
    let order: Vec<&str> = menu.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(order, ["of-image", "alpine", "debian-6.12.48", "debian-6.12.9", "one", "DEBIAN-6.12.50"]);
}

#[test]
fn broken_images_are_refused() {
    let limits = Limits::default();
    let whole = image(&[(".osrel", OSREL), (".uname", UNAME)]);
    let error = |bytes: Vec<u8>| decode("x.efi", &bytes, &limits).unwrap_err().to_string();
    assert!(error(vec![0; 64]).contains("magic"), "{}", error(vec![0; 64]));
    let mut huge = whole.clone();
    let row = 0x80 + 24 + 240 + 40;
    huge[row + 8..row + 12].copy_from_slice(&[0xff; 4]);
    huge[row + 16..row + 20].copy_from_slice(&[0xff; 4]);
    assert!(error(huge).contains("limit `os_release_bytes` passed"));
    let mut many = whole.clone();
    many[0x86] = 97;
    assert!(error(many).contains("at most 96"));
    let wanted = decode("x.efi", &whole, &limits).unwrap();
    for len in 0..whole.len() {
        // The last section ends with zeros that are no part of its text.
        if let Ok(found) = decode("x.efi", &whole[..len].to_vec(), &limits) {
            assert_eq!(found, wanted, "cut at {len}");
        }
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        let _ = decode("x.efi", &flipped, &limits);
    }
}
