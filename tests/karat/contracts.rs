//! What is written down of the contracts is what the types say. `KARAT_BLESS=1 cargo test contracts` writes it
//! anew.

use std::path::Path;

use karat::baseline::Baseline;
use karat::compare::Comparison;
use karat::model::Inventory;
use karat::report::Report;
use karat::standard::findings_page;
use schemars::{JsonSchema, schema_for};

fn check(name: &str, want: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("KARAT_BLESS").is_some() {
        std::fs::write(&path, want).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == want, "docs/{name} is out of date; KARAT_BLESS=1 cargo test contracts writes it anew");
}

fn check_schema<T: JsonSchema>(name: &str) {
    let mut json = serde_json::to_string_pretty(&schema_for!(T)).unwrap();
    json.push('\n');
    check(name, &json);
}

#[test]
fn schemas_are_those_of_the_types() {
    check_schema::<Inventory>("inventory.schema.json");
    check_schema::<Baseline>("baseline.schema.json");
    check_schema::<Report>("report.schema.json");
    check_schema::<Comparison>("compare.schema.json");
}

#[test]
fn every_finding_is_explained() {
    check("findings.md", &findings_page());
}
