use super::*;

fn all(text: &str) -> Vec<String> {
    let mut told = Vec::new();
    let count = read(&mut text.as_bytes(), &Limits::default(), &mut |document| {
        told.push(match document {
            Ok(Document::Stream(m)) => {
                let rpms: Vec<String> = m.artifacts.iter().map(Nevra::to_string).collect();
                let flaws: Vec<String> = m.flaws.iter().map(Error::to_string).collect();
                format!(
                    "{}:{}:{}:{}:{} [{}]{}",
                    m.name,
                    m.stream,
                    m.version.map(|v| v.to_string()).unwrap_or_default(),
                    m.context.unwrap_or_default(),
                    m.arch.unwrap_or_default(),
                    rpms.join(" "),
                    flaws.join("; ")
                )
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(count, told.len() as u64);
    told
}

const GOOD: &str = "---
document: modulemd
version: 2
data:
  name: mariadb
  stream: 3.0
  version: 9040020240101000000
  context: deadbeef
  arch: x86_64
  summary: 'a: b'
  description: >-
    --- is no marker here
    nor is ...
  xmd: {mbs: {stream: other}}
  artifacts:
    rpms:
    - mariadb-3:10.5.16-2.module+el9.x86_64
    - 'a-0:1-2.noarch'
    - nonsense
...
";

const GOOD_TOLD: &str = "mariadb:3.0:9040020240101000000:deadbeef:x86_64 \
    [mariadb-3:10.5.16-2.module+el9.x86_64 a-1-2.noarch]\
    modulemd: artifacts.rpms: `nonsense`; allowed: name-epoch:version-release.arch";

#[test]
fn documents_are_read_however_they_are_separated() {
    assert_eq!(all(GOOD), [GOOD_TOLD]);
    let without_end = GOOD.replace("\n...\n", "\n");
    for text in [
        format!("{GOOD}{GOOD}"),
        format!("{without_end}{without_end}"),
        format!("# comment\n%YAML 1.2\n{GOOD}\n\n# between\n---\n---\n...\n...\n{GOOD}# end"),
        format!("\u{feff}{GOOD}{without_end}...\n"),
        format!("{GOOD}{GOOD}").replace('\n', "\r\n"),
        format!("{}{GOOD}", GOOD.strip_prefix("---\n").unwrap()),
    ] {
        assert_eq!(all(&text), [GOOD_TOLD, GOOD_TOLD], "{text}");
    }
    assert_eq!(all(""), [""; 0]);
    assert_eq!(all("---\n...\n# nothing\n---\n"), [""; 0]);
}

/// As libyaml before 0.2.3 wrote it.
#[test]
fn a_closing_quote_may_be_in_the_first_column() {
    let text = GOOD.replace("  summary: 'a: b'\n", "  components:\n    rpms:\n      a:\n        rationale: 'a daemon\n          that is.\n\n\n'\n  message: 'x\n\n'\n");
    assert_eq!(all(&format!("{text}{GOOD}")), [GOOD_TOLD, GOOD_TOLD]);
    let obsoletes = "document: modulemd-obsoletes\ndata:\n  module: a\n  stream: '1'\n  message: 'x\n\n'\n";
    assert!(all(obsoletes)[0].contains("message: Some(\"x\\n\")"), "{:?}", all(obsoletes));
}

#[test]
fn other_documents_are_read() {
    for (text, want) in [
        (
            "document: modulemd-defaults\nversion: 1\ndata: {module: a, stream: 10, profiles: {10: [x]}}",
            "Defaults(ModuleDefaults { module: \"a\", stream: Some(\"10\") })",
        ),
        (
            "document: modulemd-defaults\ndata: {module: a, stream: }",
            "Defaults(ModuleDefaults { module: \"a\", stream: None })",
        ),
        (
            "document: modulemd-obsoletes\nversion: 1\ndata:\n  modified: 2020-05-23T00:00Z\n  module: a\n  \
             stream: \"1\"\n  eol_date: 2021-01-01T00:00Z\n  message: end\n  obsoleted_by: {module: a, stream: 2}",
            "Obsoletes(ModuleObsoletes { module: \"a\", stream: \"1\", context: None, modified_at: \
             Some(2020-05-23T00:00:00Z), is_reset: false, ends_at: Some(2021-01-01T00:00:00Z), message: \
             Some(\"end\"), obsoleted_by: Some((\"a\", \"2\")) })",
        ),
        ("document: modulemd-translations\ndata: {}", "Other(\"modulemd-translations\")"),
    ] {
        assert_eq!(all(text), [want], "{text}");
    }
}

#[test]
fn a_damaged_document_leaves_the_others_standing() {
    let deep = format!("document: modulemd\ndata: {}1{}", "[".repeat(70), "]".repeat(70));
    for (bad, why) in [
        ("document: modulemd\ndata: {name: a}", "document 2: line 21: modulemd: data.stream: none"),
        (
            "document: modulemd\ndata: {name: a, stream: b, version: x}",
            "data.version: `x`; allowed: a number",
        ),
        ("document: modulemd\ndata: {name: a, stream: ~}", "data.stream: none"),
        ("document: modulemd\ndata: {name: a, name: b}", "`data.name` twice"),
        ("data: 1", "line 21: modulemd: document: none"),
        ("document: modulemd\ndata: [a", "document 2: line "),
        ("a: b: c", "document 2: line 22: modulemd: YAML: "),
        ("a: &x [1]\nb: *x", "line 23: modulemd: YAML: an alias; allowed: everything in its place"),
        ("<<: *x", "modulemd: YAML: "),
        ("? [a]\n: b", "a list or map as a key"),
        ("a: 1\r--- \rb: 1", "a second document"),
        (&deep, "limit `yaml_depth` passed: 65 against 64"),
        ("plain", "document: none"),
    ] {
        let told = all(&format!("{GOOD}---\n{bad}\n{GOOD}"));
        assert_eq!(
            (told.len(), told[0].as_str(), told[2].as_str()),
            (3, GOOD_TOLD, GOOD_TOLD),
            "{bad}: {told:?}"
        );
        assert!(told[1].contains(why), "{bad}: {}", told[1]);
    }
    let mut bytes = GOOD.as_bytes().to_vec();
    bytes[100] = 0xff;
    bytes.extend_from_slice(GOOD.as_bytes());
    let mut errors = 0;
    read(&mut &bytes[..], &Limits::default(), &mut |document| {
        errors += u32::from(document.is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(errors, 1);
}

#[test]
fn a_document_without_end_stays_within_its_limit() {
    let mut limits = Limits::default();
    limits.record_bytes.max = 1000;
    let endless = std::io::Read::take(std::io::repeat(b'x'), 1 << 30);
    let error = read(&mut std::io::BufReader::new(endless), &limits, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("record_bytes"), "{error}");
}

/// No flipped byte and no cut makes it panic, hang or lose a document without an error.
#[test]
fn flipped_and_cut_documents_end() {
    let whole = format!("{GOOD}{GOOD}");
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80, whole.as_bytes()[at] ^ b'-', whole.as_bytes()[at] ^ b'\n'] {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[at] ^= flip;
            read(&mut &bytes[..], &Limits::default(), &mut |_| Ok(())).unwrap();
        }
        read(&mut &whole.as_bytes()[..at], &Limits::default(), &mut |_| Ok(())).unwrap();
    }
}

/// What is dear to scan for its size: half a megabyte of it has to end in far less than a second.
#[test]
fn hostile_documents_end_in_time() {
    let many = 1 << 18;
    for text in [
        "[".repeat(many),
        "{".repeat(many),
        "- ".repeat(many),
        "? ".repeat(many),
        "a: ".repeat(many),
        "!a ".repeat(many),
        "&a ".repeat(many),
        "'".repeat(many),
        "\"\\x".repeat(many),
        "a: |\n".to_owned() + &" \n".repeat(many),
        "a: >\n".to_owned() + &" \n\n".repeat(many),
        "[a,".to_owned() + &"a,".repeat(many),
        "{a: b,".to_owned() + &"a: b,".repeat(many),
        "a\n".repeat(many),
        "#".repeat(many),
        " ".repeat(many) + "x",
        "\t".repeat(many),
        "\u{feff}".repeat(many),
        (0..600).map(|n| " ".repeat(n) + "a:\n").collect(),
        "x: y\n".repeat(many),
    ] {
        read(&mut text.as_bytes(), &Limits::default(), &mut |_| Ok(())).unwrap();
    }
}
