//! The metadata of rpm repositories: repomd.xml, primary, updateinfo and modules.yaml.
#![no_main]

use karat::format::{modules_yaml, repomd, rpm_primary, updateinfo};
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let most = (1 << 20) + 64 * data.len();
    let listed = holding(most, || repomd::read(&mut &data[..], &LIMITS));
    for file in listed.iter().flat_map(|repomd| &repomd.files) {
        assert!(!file.kind.is_empty() && !file.location.is_empty());
        assert!(file.path().is_err() || !file.location.split('/').any(|part| part == ".."));
    }
    let mut count = 0;
    let read = holding(most, || {
        rpm_primary::read(&mut &data[..], &LIMITS, &mut |package| {
            count += 1;
            if let Ok(package) = package {
                assert!(!package.name.is_empty() && !package.arch.is_empty() && !package.evr.version.is_empty());
            }
            Ok(())
        })
    });
    assert!(read.is_err() || read.is_ok_and(|read| read.count == count), "packages that are lost");
    let mut count = 0;
    let read = holding(most, || {
        updateinfo::read(&mut &data[..], &LIMITS, &mut |advisory| {
            count += 1;
            if let Ok(advisory) = advisory {
                assert!(!advisory.id.is_empty());
                assert!(advisory.mentioned_cves.iter().all(|cve| !advisory.cves.contains(cve)));
            }
            Ok(())
        })
    });
    assert!(read.is_err() || read.is_ok_and(|read| read.count == count), "advisories that are lost");
    let mut count = 0;
    let read = holding(most, || {
        modules_yaml::read(&mut &data[..], &LIMITS, &mut |document| {
            count += 1;
            drop(document);
            Ok(())
        })
    });
    assert!(read.is_err() || read.is_ok_and(|read| read == count), "documents that are lost");
});
