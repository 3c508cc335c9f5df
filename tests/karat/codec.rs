//! Decompressors against the tools that write what they read.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use karat::codec::{Compression, MAGIC_BYTES, decoder};
use karat::limits::Limits;

use crate::tools::tool;

/// Three kinds of content: text that repeats, bytes that do not, zeros.
fn content() -> Vec<u8> {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let text = (0..60_000).flat_map(|n| format!("line {}\n", n % 977).into_bytes());
    let mut all: Vec<u8> = text.collect();
    all.extend((0..700_000).map(|_| noise()));
    all.extend(vec![0; 3_000_000]);
    all
}

fn piped(program: &std::path::Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{} {arguments:?}", program.display());
    output.stdout
}

#[test]
fn what_the_tools_compress_is_read() {
    let content = content();
    for (name, arguments, compression) in [
        ("gzip", &["-c"][..], Compression::Gzip),
        ("zstd", &["-c", "-q"], Compression::Zstd),
        ("zstd", &["-c", "-q", "--long", "--check", "-19"], Compression::Zstd),
        ("xz", &["-c", "-1"], Compression::Xz),
        ("xz", &["-c", "-0", "--block-size=100KiB", "--check=sha256"], Compression::Xz),
        ("xz", &["-c", "--x86", "--delta=dist=4", "--lzma2=preset=1", "--check=none"], Compression::Xz),
        ("bzip2", &["-c"], Compression::Bzip2),
        ("bzip2", &["-c", "-1"], Compression::Bzip2),
        ("lz4", &["-c", "-q"], Compression::Lz4),
        ("lz4", &["-c", "-q", "-B4", "-BD", "-BX"], Compression::Lz4),
        ("lz4", &["-c", "-q", "-9", "-B5", "--no-frame-crc"], Compression::Lz4),
    ] {
        let Some(program) = tool(name) else { continue };
        let stored = piped(&program, arguments, &content);
        let twice = [&stored[..], &stored].concat();
        for (stored, times) in [(&stored, 1), (&twice, 2)] {
            assert_eq!(Compression::of(&stored[..MAGIC_BYTES]), compression, "{name}");
            let mut all = Vec::new();
            // Small and odd pieces: a member may start anywhere in a buffer.
            let stream = std::io::BufReader::with_capacity(4099, &stored[..]);
            decoder(compression, stream, &Limits::default()).unwrap().read_to_end(&mut all).unwrap();
            assert!(all == content.repeat(times), "{name} {arguments:?} {times}");
        }
        for cut in [stored.len() / 3, stored.len() - 1] {
            let mut stream = decoder(compression, &stored[..cut], &Limits::default()).unwrap();
            assert!(std::io::copy(&mut stream, &mut std::io::sink()).is_err(), "{name} {arguments:?} {cut}");
        }
    }
}
