//! Any bytes, read as a PROXY header, give one answer that no longer piece of them contradicts.

#![no_main]

use protocol::proxy::Preface;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = Preface::read(bytes);
    for end in 0..bytes.len().min(300) {
        let part = Preface::read(&bytes[..end]);
        assert!(part == Preface::More || part == whole);
    }
});
