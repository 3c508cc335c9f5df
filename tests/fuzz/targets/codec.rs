//! Compressed streams: the same in pieces of any size, failing for good once they fail, and within the ceiling
//! of who reads them.
#![no_main]

use std::io::{BufRead, BufReader, Read};

use karat::codec::{self, Compression};
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

/// So much is read of a stream.
const MOST: u64 = 4 << 20;

fn inflated(stream: impl BufRead, compression: Compression, piece: usize) -> (Vec<u8>, Option<String>) {
    let mut decoder = codec::decoder(compression, stream, &LIMITS).expect("a decoder");
    let mut all = Vec::new();
    let mut buffer = vec![0; piece];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => {
                assert_eq!(decoder.read(&mut buffer).expect("still the end"), 0);
                return (all, None);
            }
            Ok(len) => all.extend_from_slice(&buffer[..len]),
            Err(error) => {
                assert!(decoder.read(&mut buffer).is_err(), "it goes on behind {error}");
                return (all, Some(error.to_string()));
            }
        }
        if all.len() as u64 >= MOST {
            all.truncate(MOST as usize);
            return (all, None);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let compression = Compression::of(data);
    if compression == Compression::Plain {
        return;
    }
    // A dictionary or window may be as large as its ceiling, whatever the input.
    let most = (LIMITS.xz_dictionary_bytes.max + LIMITS.zstd_window_bytes.max + 4 * MOST) as usize;
    let whole = holding(most, || inflated(data, compression, 64 << 10));
    let pieces = inflated(BufReader::with_capacity(7, data), compression, 4093);
    assert_eq!(pieces.1.is_some(), whole.1.is_some(), "{:?} and {:?}", pieces.1, whole.1);
    if whole.1.is_none() {
        assert!(pieces.0 == whole.0, "in pieces other bytes come out");
    }
});
