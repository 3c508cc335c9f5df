use super::*;

fn all(text: &[u8]) -> (Vec<Result<Advisory>>, std::result::Result<u64, String>) {
    let mut told = Vec::new();
    let read = read(&mut &text[..], &Limits::default(), &mut |advisory| {
        told.push(advisory);
        Ok(())
    });
    (told, read.map(|read| read.count).map_err(|error| error.to_string()))
}

fn one(body: &str) -> Advisory {
    let text =
        format!("<updates><update type='security' status='final'><id>A-1</id>{body}</update></updates>");
    let (mut told, count) = all(text.as_bytes());
    assert_eq!(count, Ok(1), "{body}");
    told.pop().unwrap().unwrap()
}

const GOOD: &str = r#"<update from="a@b" status="stable" type="enhancement" version="1">
  <description>fixes CVE-2020-1 not, CVE-2020-10001 and CVE-2020-10002</description>
  <pkglist>
    <collection short="s">
      <name>n</name>
      <module name="kangaroo" stream="0" version="20180730223407" context="deadbeef" arch="noarch"/>
      <package arch="noarch" name="kangaroo" epoch="2" release="1" version="0.3" src="k.src.rpm">
        <filename>kangaroo-0.3-1.noarch.rpm</filename><restart_suggested>1</restart_suggested>
      </package>
      <package arch="src" name="kangaroo" release="1" version="0.3"/>
    </collection>
    <collection><package arch="noarch" name="duck" epoch="" release="2" version="0.7"/></collection>
  </pkglist>
  <reboot_suggested/><relogin_suggested>False</relogin_suggested>
  <references>
    <reference href="http://x/" id="CVE-2020-10001" type="cve"/>
    <reference id="7" type="bugzilla" title="CVE-2020-10003 kangaroo: jumps &amp; runs"/>
  </references>
  <issued date="2018-01-27 16:08:09"/><updated date="2018-07-20 06:00:01 UTC"/>
  <severity>Low</severity><title>Kangaroo</title><release>1</release>
  <id>RHEA-2012:0059</id>
</update>"#;

#[test]
fn all_of_an_advisory_is_read_in_any_order() {
    let (mut told, count) = all(format!("<updates>{GOOD}{GOOD}</updates>").as_bytes());
    assert_eq!((told.len(), count), (2, Ok(2)));
    let a = told.pop().unwrap().unwrap();
    assert_eq!(
        (a.id.as_str(), a.kind, a.status.as_deref()),
        ("RHEA-2012:0059", AdvisoryKind::Enhancement, Some("stable"))
    );
    assert_eq!(
        (a.from.as_deref(), a.version.as_deref(), a.release.as_deref()),
        (Some("a@b"), Some("1"), Some("1"))
    );
    assert_eq!((a.title.as_deref(), a.severity.as_deref()), (Some("Kangaroo"), Some("Low")));
    assert_eq!(a.cves, ["CVE-2020-10001", "CVE-2020-10003"]);
    assert_eq!(a.mentioned_cves, ["CVE-2020-10002"]);
    assert_eq!(a.suggests, Suggests { reboot: true, restart: false, relogin: false });
    let (time, evidence) = a.dated().unwrap();
    assert_eq!((time.to_string().as_str(), evidence), ("2018-01-27T16:08:09Z", DateEvidence::Issued));
    assert_eq!(a.updated_at.unwrap().to_string(), "2018-07-20T06:00:01Z");
    assert_eq!((a.references.len(), a.collections.len(), a.flaw_count), (2, 2, 0));
    assert_eq!(a.references[1].title.as_deref(), Some("CVE-2020-10003 kangaroo: jumps & runs"));
    let first = &a.collections[0];
    assert_eq!((first.short.as_deref(), first.name.as_deref()), (Some("s"), Some("n")));
    assert_eq!(first.module.as_ref().unwrap().context, "deadbeef");
    let told: Vec<String> = a
        .packages()
        .map(|p| {
            format!("{}-{}.{} {:?} {:?} {}", p.name, p.evr, p.arch, p.src, p.file_name, p.suggests.restart)
        })
        .collect();
    assert_eq!(
        told,
        [
            "kangaroo-2:0.3-1.noarch Some(\"k.src.rpm\") Some(\"kangaroo-0.3-1.noarch.rpm\") true",
            "kangaroo-0.3-1.src None None false",
            "duck-0.7-2.noarch None None false"
        ]
    );
}

#[test]
fn kinds_and_flags_are_told_in_the_words_of_every_vendor() {
    for (text, want) in [
        ("security", AdvisoryKind::Security),
        ("Security", AdvisoryKind::Security),
        ("bugfix", AdvisoryKind::Bugfix),
        ("recommended", AdvisoryKind::Bugfix),
        ("enhancement", AdvisoryKind::Enhancement),
        ("optional", AdvisoryKind::Enhancement),
        ("newpackage", AdvisoryKind::NewPackage),
        ("custom_type", AdvisoryKind::Other),
        ("", AdvisoryKind::Other),
    ] {
        assert_eq!(AdvisoryKind::of(text), want, "{text}");
    }
    for (text, want) in [
        ("/>", true),
        (">True</reboot_suggested>", true),
        (">1</reboot_suggested>", true),
        (">0</reboot_suggested>", false),
        (">false</reboot_suggested>", false),
    ] {
        assert_eq!(one(&format!("<reboot_suggested{text}")).suggests.reboot, want, "{text}");
    }
}

#[test]
fn dates_say_what_they_are() {
    for (body, want) in [
        ("<issued date='1213630432'/>", Some(("2008-06-16T15:33:52Z", DateEvidence::Issued))),
        ("<updated date='2021-01-05'/>", Some(("2021-01-05T00:00:00Z", DateEvidence::Updated))),
        ("<issued>2021-01-05</issued>", Some(("2021-01-05T00:00:00Z", DateEvidence::Issued))),
        ("<issued date=''/>", None),
        ("", None),
    ] {
        let advisory = one(body);
        let told = advisory.dated().map(|(time, evidence)| (time.to_string(), evidence));
        assert_eq!(told.as_ref().map(|(time, evidence)| (time.as_str(), *evidence)), want, "{body}");
        assert_eq!(advisory.flaw_count, 0);
    }
    let advisory = one("<issued date='15mangled2'/><updated date='2013-01-27 16:08:05 UTC'/>");
    assert_eq!(advisory.dated().unwrap().1, DateEvidence::Updated);
    assert!(advisory.flaws[0].to_string().contains("issued at byte "), "{:?}", advisory.flaws);
}

#[test]
fn a_damaged_package_is_a_flaw_of_its_advisory() {
    let good = "<package name='a' version='1' release='1' arch='noarch'/>";
    for (bad, why) in [
        ("<package version='1' release='1' arch='noarch'/>", "updateinfo: name at byte "),
        ("<package name='b' release='1' arch='noarch'/>", "package `b`: updateinfo: version at byte "),
        ("<package name='b' version='1' release='1'/>", "package `b`: updateinfo: arch at byte "),
        ("<package name='b' version='1' arch='x' epoch='None'/>", "`None`; allowed: a number below"),
        ("<module name='m'/>", "no name or no stream"),
        ("<module name='m' stream='1'/><module name='m' stream='2'/>", "two that differ"),
    ] {
        let advisory = one(&format!("<pkglist><collection>{good}{bad}{good}</collection></pkglist>"));
        assert_eq!((advisory.packages().count(), advisory.flaw_count), (2, 1), "{bad}");
        assert!(advisory.flaws[0].to_string().contains(why), "{bad}: {:?}", advisory.flaws);
    }
    let many = format!("<pkglist>{}</pkglist>", good.repeat(99));
    let advisory = one(&many);
    assert_eq!((advisory.flaws.len(), advisory.flaw_count), (16, 99));
}

#[test]
fn an_advisory_without_id_leaves_its_neighbours() {
    for (bad, why) in [
        ("<update><title>T</title></update>", "advisory 2: `T`: updateinfo: id at byte "),
        ("<update><id> </id></update>", "advisory 2: updateinfo: id at byte "),
        ("<update><id>a</id><id>b</id></update>", "two that differ"),
    ] {
        let (told, count) = all(format!("<updates>{GOOD}{bad}{GOOD}</updates>").as_bytes());
        assert_eq!(count, Ok(3), "{bad}");
        assert!(told[0].is_ok() && told[2].is_ok());
        let error = told[1].as_ref().unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
    let (told, count) = all(format!("<updates>{GOOD}<update><id>x</id>").as_bytes());
    assert_eq!(told.len(), 1);
    assert!(count.unwrap_err().starts_with("after 1 advisories: updateinfo: end at byte "));
}

#[test]
fn flipped_and_cut_files_end() {
    let whole = format!("<updates>{GOOD}{GOOD}</updates>").into_bytes();
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80, whole[at] ^ b'<', whole[at] ^ b'>', whole[at] ^ b'"'] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let _ = all(&bytes);
        }
        assert!(all(&whole[..at]).1.is_err(), "{at}");
    }
}
