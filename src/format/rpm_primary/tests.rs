use std::io::BufReader;

use super::*;

fn all(text: &[u8], buffer: usize) -> (Vec<String>, std::result::Result<Read, String>) {
    let mut told = Vec::new();
    let mut stream = BufReader::with_capacity(buffer, text);
    let read = read(&mut stream, &Limits::default(), &mut |package| {
        told.push(match package {
            Ok(p) => {
                let obsoletes: Vec<String> = p
                    .obsoletes
                    .iter()
                    .map(|o| match &o.versions {
                        Some((compare, evr)) => format!("{} {compare:?} {evr}", o.name),
                        None => o.name.clone(),
                    })
                    .collect();
                format!(
                    "{}-{}.{} at {}{} of {} by {} built {} file {} size {} [{}]",
                    p.name,
                    p.evr,
                    p.arch,
                    p.base.unwrap_or_default(),
                    p.location,
                    p.source_rpm.unwrap_or_default(),
                    p.vendor.unwrap_or_default(),
                    p.built_at.map(|t| t.to_string()).unwrap_or_default(),
                    p.file_at.map(|t| t.to_string()).unwrap_or_default(),
                    p.size_bytes.map(|t| t.to_string()).unwrap_or_default(),
                    obsoletes.join(", ")
                )
            }
            Err(error) => format!("ERROR {error}"),
        });
        Ok(())
    });
    (told, read.map_err(|error| error.to_string()))
}

const BASH: &str = r#"<package type="rpm">
  <location href="b.rpm"/><foo><name>not this</name><package/></foo>
  <name>ba&#115;h</name><!-- <name>nor this</name> -->
  <s:arch xmlns:s="urn:other">s390x</s:arch>
  <arch><![CDATA[x86_64]]></arch>
  <version epoch="1" ver="5.1" rel="2.el9"/>
  <checksum type="sha256" pkgid="YES">90f61e546938a11449b710160ad294618a5bd3062e46f8cf851fd0088af184b7</checksum>
  <summary>Fake &amp; bash</summary>
  <time file="1334670842" build="1334670843"/>
  <size package="2237" installed="0" archive="256"/>
  <format>
    <rpm:vendor>V &amp; W</rpm:vendor>
    <rpm:sourcerpm>bash-5.1-2.el9.src.rpm</rpm:sourcerpm>
    <rpm:provides><rpm:entry name="bash"/></rpm:provides>
    <rpm:obsoletes>
      <rpm:entry name="sh"/>
      <rpm:entry name="ksh" flags="LT" epoch="0" ver="2" rel="1"/>
      <rpm:entry name="csh" flags="GE" ver="3"></rpm:entry>
    </rpm:obsoletes>
  </format>
</package>"#;

const BASH_TOLD: &str = "bash-1:5.1-2.el9.x86_64 at b.rpm of bash-5.1-2.el9.src.rpm by V & W built \
    2012-04-17T13:54:03Z file 2012-04-17T13:54:02Z size 2237 [sh, ksh Below 2-1, csh AboveOrEqual 3]";

fn document(packages: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="2">
{packages}
</metadata>
<!-- end -->"#
    )
}

#[test]
fn packages_are_read_whatever_order_prefix_and_buffer() {
    let text = document(&format!("{BASH}<bar>{BASH}</bar>{BASH}"));
    for buffer in [1, 2, 7, 64, 1 << 16] {
        let (told, read) = all(text.as_bytes(), buffer);
        assert_eq!(told, [BASH_TOLD, BASH_TOLD]);
        assert_eq!(read.unwrap(), Read { count: 2, stated: Some(2) });
    }
    let prefixed = BASH.replace("<rpm:", "<r:").replace("</rpm:", "</r:");
    let prefixed = document(&prefixed).replace("xmlns:rpm", "xmlns:r");
    assert_eq!(all(prefixed.as_bytes(), 99).0, [BASH_TOLD]);
    let bare = format!("\u{feff}<metadata>{BASH}</metadata>");
    assert_eq!(all(bare.as_bytes(), 99).0, [BASH_TOLD]);
}

#[test]
fn fewer_packages_than_stated_are_told() {
    let read = all(document(BASH).as_bytes(), 99).1.unwrap();
    let error = read.check().unwrap_err().to_string();
    assert_eq!(error, "rpm primary: packages: 1; allowed: 2, as it says itself");
    assert_eq!(all(b"<metadata/>", 99).1.unwrap().check().ok(), Some(()));
}

#[test]
fn a_damaged_package_leaves_its_neighbours() {
    for (from, to, why) in [
        ("<name>ba&#115;h</name>", "", "package 2: rpm primary: name at byte "),
        (
            "<arch><![CDATA[x86_64]]></arch>",
            "<arch> </arch>",
            "package 2: `bash`: rpm primary: arch at byte ",
        ),
        ("ver=\"5.1\"", "", "`bash`: rpm primary: version at byte "),
        ("<location href=\"b.rpm\"/>", "", "location at byte "),
        ("epoch=\"1\"", "epoch=\"-1\"", "`-1`; allowed: a number below 4294967296"),
        ("epoch=\"1\"", "epoch=\"4294967296\"", "`4294967296`; allowed"),
        ("build=\"1334670843\"", "build=\"x\"", "build time at byte "),
        ("package=\"2237\"", "package=\"-2\"", "`-2`; allowed: a number of bytes"),
        ("pkgid=\"YES\">90", "pkgid=\"YES\">zz", "`sha256`; allowed: a kind, and its hexadecimal digits"),
        ("flags=\"LT\"", "flags=\"??\"", "`??`; allowed: LT, LE, EQ, GE or GT"),
        ("name=\"ksh\" ", "", "an entry without name"),
        ("<summary>", "<name>zsh</name><summary>", "`bash`: rpm primary: name at byte "),
    ] {
        assert!(BASH.contains(from), "{from}");
        let bad = BASH.replace(from, to);
        let (told, read) = all(document(&format!("{BASH}{bad}{BASH}")).as_bytes(), 999);
        assert_eq!(
            (told.len(), told[0].as_str(), told[2].as_str()),
            (3, BASH_TOLD, BASH_TOLD),
            "{to}: {told:?}"
        );
        assert!(told[1].starts_with("ERROR ") && told[1].contains(why), "{to}: {}", told[1]);
        assert_eq!(read.unwrap().count, 3);
    }
}

#[test]
fn what_is_no_xml_ends_with_the_number_of_packages() {
    let head = document(BASH).replace("</metadata>\n<!-- end -->", "");
    let deep = "<a>".repeat(64);
    let attributes: String = (0..70).map(|n| format!(" a{n}='x'")).collect();
    for (rest, why) in [
        ("", "after 1 packages: rpm primary: end at byte "),
        ("<package>", "after 1 packages: rpm primary: end at byte "),
        ("<package><name>a</arch></package></metadata>", "after 1 packages: rpm primary: XML at byte "),
        ("<package><name>&unknown;</name></package></metadata>", "`&unknown;`"),
        ("<package><name>&#0;</name></package></metadata>", "`&#0;`"),
        ("<package><version ver=1/></package></metadata>", "element `version`: rpm primary: attribute"),
        (
            "<package><version ver='1' ver='2'/></package></metadata>",
            "element `version`: rpm primary: attribute",
        ),
        (&format!("<package><version {attributes}/></package></metadata>"), "more than 64; allowed"),
        ("</metadata><metadata/>", "after 1 packages: rpm primary: end at byte "),
        ("</metadata>x", "more behind the root"),
        (&deep, "limit `xml_depth` passed: 65 against 64"),
        ("<package", "rpm primary: XML at byte "),
        ("<!DOCTYPE a [<!ENTITY a 'b'>]>", "end at byte"),
    ] {
        let (told, read) = all(format!("{head}{rest}").as_bytes(), 999);
        assert_eq!(told, [BASH_TOLD], "{rest}");
        let error = read.unwrap_err();
        assert!(error.contains(why), "{rest}: {error}");
    }
    for (text, why) in [
        ("", "root at byte 0x0: no element; allowed: `metadata`"),
        ("<html><body>404</body></html>", "element `html`; allowed: `metadata`"),
        ("404 not found", "text before the first element"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><metadata/>", "in the encoding `ISO-8859-1`"),
    ] {
        let error = all(text.as_bytes(), 99).1.unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn a_tag_text_or_record_without_end_stays_within_its_limit() {
    let mut limits = Limits::default();
    limits.record_bytes.max = 4000;
    for start in [
        "<metadata><package><name>",
        "<metadata a='",
        "<metadata><!--",
        "<metadata><x>",
        "<",
        "<metadata><![CDATA[",
    ] {
        let endless = std::io::Read::take(std::io::repeat(b'x'), 1 << 30);
        let mut stream = BufReader::new(std::io::Read::chain(start.as_bytes(), endless));
        let error = read(&mut stream, &limits, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("record_bytes"), "{start}: {error}");
    }
    let many = format!("<metadata><package>{}", "<rpm:entry name='a'/>".repeat(1000));
    let error = read(&mut many.as_bytes(), &limits, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("record_bytes"), "{error}");
    limits.records.max = 3;
    let many = format!("<metadata>{}</metadata>", "<package/>".repeat(5));
    let error = read(&mut many.as_bytes(), &limits, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("after 4 packages: limit `records` passed: 4 against 3"), "{error}");
}

/// No flipped byte and no cut makes it panic or hang; a cut is always told.
#[test]
fn flipped_and_cut_files_end() {
    let whole = document(&format!("{BASH}{BASH}")).into_bytes();
    let end = whole.len() - "\n<!-- end -->".len();
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80, whole[at] ^ b'<', whole[at] ^ b'>', whole[at] ^ b'"'] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let (told, read) = all(&bytes, 999);
            let is_believed = read.is_ok_and(|read| read.check().is_ok());
            assert!(!is_believed || told.len() == 2, "{at} {flip}");
        }
        assert_eq!(all(&whole[..at], 999).1.is_ok(), at == end || at == end + 1, "{at}");
    }
}
