//! uwsgi and `FastCGI`, whole, cut, cut short and joined late.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fastcgi;
mod script;
mod uwsgi;

use protocol::Chunk;

/// Bytes as one direction's chunks, cut at these places; of each at most `copied` first bytes and the last 16 are known.
pub fn chunks<'a>(bytes: &'a [u8], cuts: &[usize], copied: usize) -> Vec<Chunk<'a>> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut begin = 0;
    let mut chunks = Vec::new();
    for end in ends {
        let call = &bytes[begin..end];
        if !call.is_empty() {
            let (head, rest) = call.split_at(call.len().min(copied));
            let tail = &rest[rest.len().saturating_sub(16)..];
            let at_ns = chunks.len() as u64 + 1;
            chunks.push(Chunk { at_ns, position: begin as u64, len: call.len() as u64, head, tail });
        }
        begin = end;
    }
    chunks
}
