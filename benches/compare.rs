//! How long comparing and judging take: `cargo bench --bench compare -- INVENTORY BASELINE`, both as karat
//! writes them; without arguments, on the shipped fixtures. Prints the median of 101 runs in milliseconds.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, reason = "it is a program")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use karat::intel::SupportEnds;
use karat::limits::Limits;
use karat::report::ImageReport;
use karat::{Baseline, Standard};

fn main() -> karat::Result<()> {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(PathBuf::from);
    let limits = Limits::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (inventory, baseline) = match (args.next(), args.next()) {
        (Some(inventory), Some(baseline)) => {
            (karat::scan::document(&std::fs::read(inventory)?)?, Baseline::load(&baseline, &limits)?)
        }
        _ => {
            let baseline = root.join("fixtures/production/debian-12.baseline.json");
            let image = root.join("fixtures/images/debian-12-drifted.oci.tar");
            (fixture(&image)?, Baseline::load(&baseline, &limits)?)
        }
    };
    let support = SupportEnds::shipped()?;
    let standard = Standard::default();
    let mut milliseconds: Vec<f64> = (0..101)
        .map(|_| {
            let start = Instant::now();
            let as_of = baseline.baseline.as_of;
            let report = ImageReport::of(&inventory, &baseline.baseline, &standard, &support, as_of);
            std::hint::black_box(report);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    milliseconds.sort_by(f64::total_cmp);
    let packages: usize = inventory.systems.iter().map(|system| system.packages.len()).sum();
    println!("comparing {packages} packages: {:.2} ms", milliseconds[milliseconds.len() / 2]);
    Ok(())
}

fn fixture(image: &Path) -> karat::Result<karat::Inventory> {
    use std::sync::Arc;
    let limits = Arc::new(Limits::default());
    let options = karat::scan::Options {
        source: karat::source::Options {
            limits: limits.clone(),
            platform: "linux/amd64".parse()?,
            all_platforms: false,
            disk_folders: Default::default(),
            check_digests: false,
            spool: karat::codec::SpoolPool::new(std::env::temp_dir(), &limits),
            registry: Arc::default(),
        },
        layer: karat::layer::Options {
            spool: karat::codec::SpoolPool::new(std::env::temp_dir(), &limits),
            limits,
            progress: Arc::default(),
        },
        needs: karat::collect::Needs::OS_PACKAGES,
        collectors: karat::collect::COLLECTORS,
        threads: 2,
        cache: None,
        taken_at: "2026-11-24".parse()?,
    };
    let mut inventories = karat::scan::scan(&image.display().to_string(), &options)?;
    inventories.pop().ok_or_else(|| karat::Error::not_found("an image"))
}
