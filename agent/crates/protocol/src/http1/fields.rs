//! Field lines to [`Headers`]. Total: what httparse refuses goes through a tolerant scanner that skips only
//! the lines it cannot read.

use super::Headers;
use super::framing::is_framing;

/// Fields kept of one head. Fields beyond are dropped, but for those that frame the message.
pub(super) const MAX_FIELDS: usize = 256;

/// Fields that fit on the stack for the fast path; a head with more takes the tolerant one.
const FAST_FIELDS: usize = 64;

/// Reads the lines after the start line, up to and with the empty line. Gives the fields and whether all
/// were kept.
pub(crate) fn read(block: &[u8]) -> (Headers, bool) {
    let mut slots = [httparse::EMPTY_HEADER; FAST_FIELDS];
    match httparse::parse_headers(block, &mut slots) {
        Ok(httparse::Status::Complete((end, fields))) if end == block.len() => {
            let mut headers = Headers::with_capacity(block.len(), fields.len());
            for field in fields {
                headers.push(field.name, field.value);
            }
            (headers, true)
        }
        _ => scan(block),
    }
}

/// Reads every line that has a name and a colon: obs-fold, bare LF, odd characters in values, white space
/// before the colon, bytes that are not UTF-8. A last line without its end is dropped.
pub(super) fn scan(block: &[u8]) -> (Headers, bool) {
    let mut headers = Headers::default();
    let mut all = true;
    let mut foldable = false;
    let mut rest = block;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        match line.first() {
            None => break,
            Some(b' ' | b'\t') if foldable => headers.fold(line),
            Some(_) => {
                foldable = false;
                let Some((name, value)) = split(line) else { continue };
                if headers.len() < MAX_FIELDS || is_framing(name) {
                    headers.push(&String::from_utf8_lossy(name), value);
                    foldable = true;
                } else {
                    all = false;
                }
            }
        }
    }
    (headers, all)
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let plain = !name.is_empty() && name.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    plain.then_some((name, &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_real_servers_accept() {
        type Fields = &'static [(&'static str, &'static str)];
        let cases: &[(&[u8], Fields)] = &[
            (b"\r\n", &[]),
            (b"A: 1\r\nb:2\r\n\r\n", &[("A", "1"), ("b", "2")]),
            (b"A: 1\nB: 2\n\n", &[("A", "1"), ("B", "2")]),
            (b"A: one\r\n  two\r\n\tthree\r\nB: 2\r\n\r\n", &[("A", "one two three"), ("B", "2")]),
            (b"A : 1\r\n\r\n", &[("A", "1")]),
            (b"A: \x01\x7f\r\n\r\n", &[("A", "\u{1}\u{7f}")]),
            (b"A: caf\xe9\r\n\r\n", &[("A", "caf\u{fffd}")]),
            (b"A: caf\xc3\xa9\r\n\r\n", &[("A", "caf\u{e9}")]),
            (b"A@(b): 1\r\n\r\n", &[("A@(b)", "1")]),
            (b"no colon\r\n folded\r\nB: 2\r\n\r\n", &[("B", "2")]),
            (b"two words: 1\r\n: 2\r\nB: 3\r\n\r\n", &[("B", "3")]),
            (b" fold first\r\nB: 3\r\n\r\n", &[("B", "3")]),
            (b"A:   \t \r\n\r\n", &[("A", "")]),
        ];
        for (block, expected) in cases {
            let (headers, all) = read(block);
            assert_eq!(headers.iter().collect::<Vec<_>>(), *expected, "{}", block.escape_ascii());
            assert!(all);
        }
    }

    #[test]
    fn a_line_without_its_end_is_dropped() {
        let (headers, _) = scan(b"A: 1\r\nContent-Len");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("A", "1")]);
    }

    #[test]
    fn many_fields_are_capped_but_framing_is_kept() {
        for (count, kept, all) in [(64, 64, true), (65, 65, true), (256, 256, true), (257, 256, false)] {
            let mut block = Vec::new();
            for i in 0..count {
                block.extend_from_slice(format!("X-{i}: {i}\r\n").as_bytes());
            }
            block.extend_from_slice(b"\r\n");
            let (headers, complete) = read(&block);
            assert_eq!((headers.len(), complete), (kept, all), "{count} fields");
        }
        let mut block = b"X: 1\r\n".repeat(300);
        block.extend_from_slice(b"content-LENGTH: 7\r\n\r\n");
        let (headers, complete) = read(&block);
        assert_eq!((headers.len(), headers.get("Content-Length"), complete), (257, Some("7"), false));
    }
}
