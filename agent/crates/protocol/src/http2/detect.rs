//! Whether bytes of which nothing is known are HTTP/2, and whose. Keeps nothing.
//!
//! A chain of frames holds together if each of them is of the usual kind, each begins where the one before it ends,
//! and either the last one ends exactly where the socket call does, or at least two are followed by another; one is enough if it
//! is a head: a header block that can be read whole, and that is a request's or a response's. An empty frame alone is none: the
//! last bytes of a stream's number and the first of what follows can look like one.

use super::frame::{END_HEADERS, FrameHeader, HEADER_BYTES, Kind, PREFACE};
use super::head::Head;
use super::payload::{Payload, Place};
use super::piece::Piece;
use crate::hpack::{Decoder, Extent};

/// Bytes of the preface that nothing else begins with: `PRI * HTTP/2.0`.
const PREFACE_ENOUGH: usize = 14;
/// Frames that must be followed by another one where the chain's end is not seen, and if there is a head among those.
const FOLLOWED: u32 = 2;
const FOLLOWED_WITH_HEAD: u32 = 1;

/// What the first bytes of a socket call look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// The preface, or a chain of frames with a request's header block.
    Request,
    /// A chain of frames with a response's header block, or the settings a server begins with.
    Response,
    /// The beginning of a preface, or of settings, too short to tell.
    TooShort,
    /// Neither.
    Neither,
}

/// Judges the first bytes of a socket call of `call_bytes`. `first`: they are the first of their direction.
pub fn detect(bytes: &[u8], call_bytes: u64, first: bool) -> Looks {
    if bytes.starts_with(&PREFACE[..PREFACE_ENOUGH]) {
        return Looks::Request;
    }
    if PREFACE.starts_with(bytes) {
        return Looks::TooShort;
    }
    if first {
        let Some(header) = bytes.first_chunk() else {
            return if begins_settings(bytes) { Looks::TooShort } else { Looks::Neither };
        };
        let header = FrameHeader::read(header);
        if header.kind == Kind::Settings && header.flags == 0 && header.is_usual() {
            return Looks::Response;
        }
    }
    if !is_chain(bytes, call_bytes) {
        return Looks::Neither;
    }
    match chain_head(bytes) {
        Some((head, _)) if head.status.is_some() => Looks::Response,
        Some(_) => Looks::Request,
        None => Looks::Neither,
    }
}

/// A SETTINGS frame of usual size, as far as the bytes go.
fn begins_settings(bytes: &[u8]) -> bool {
    const HEADER: [Option<u8>; HEADER_BYTES] =
        [Some(0), Some(0), None, Some(4), Some(0), Some(0), Some(0), Some(0), Some(0)];
    bytes.iter().zip(HEADER).all(|(byte, want)| want.is_none_or(|want| want == *byte))
}

/// Whether a call of `call_bytes`, of which these are the first, begins with frames that hold together.
pub(super) fn is_chain(bytes: &[u8], call_bytes: u64) -> bool {
    let (mut at, mut followed) = (0_u64, 0);
    loop {
        if at == call_bytes {
            return at > HEADER_BYTES as u64 && last_block_is_sound(bytes);
        }
        let header = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.first_chunk());
        let Some(header) = header.map(FrameHeader::read) else { break };
        if !header.is_usual() {
            return false;
        }
        followed += u32::from(at > 0);
        at += HEADER_BYTES as u64 + u64::from(header.length);
        if at > call_bytes {
            break;
        }
    }
    let has_head = || chain_head(bytes).is_some_and(|(_, is_whole)| is_whole);
    (followed >= FOLLOWED || followed >= FOLLOWED_WITH_HEAD && has_head()) && last_block_is_sound(bytes)
}

/// No header block among the frames is one that no encoder writes.
fn last_block_is_sound(bytes: &[u8]) -> bool {
    let mut sound = true;
    each_block(bytes, |block, whole| {
        sound &= Decoder::new(false).decode(block, whole, &mut |_| {}) != Extent::Broken;
    });
    sound
}

/// The first header block that says whose it is, and whether it was read whole.
fn chain_head(bytes: &[u8]) -> Option<(Head, bool)> {
    let mut found = None;
    each_block(bytes, |block, whole| {
        let mut head = Head::default();
        let extent = Decoder::new(false).decode(block, whole, &mut |field| head.add(field));
        if found.is_none() && (head.status.is_some() || head.asks()) {
            found = Some((head, whole && extent == Extent::Whole));
        }
    });
    found
}

/// The beginnings of header blocks among frames, and whether they are whole.
fn each_block(bytes: &[u8], mut told: impl FnMut(&[u8], bool)) {
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let frame = FrameHeader::read(header);
        let (body, next) = after.split_at(after.len().min(frame.length as usize));
        if frame.kind == Kind::Headers {
            let mut payload = Payload::new(frame);
            let mut piece = Piece::Seen(body);
            while piece.len() > 0 {
                let (taken, place, left) = payload.pass(piece);
                if let (Piece::Seen(block), Place::Content) = (taken, place) {
                    told(block, frame.has(END_HEADERS) && body.len() == frame.length as usize);
                }
                piece = left;
            }
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `:method: GET`, `:scheme: http`, `:path: /`, and an entry from before.
    const REQUEST: &[u8] = b"\0\0\x04\x01\x05\0\0\0\x07\x82\x86\x84\xc0";
    /// `:status: 200`, then two bytes of content.
    const RESPONSE: &[u8] = b"\0\0\x01\x01\x04\0\0\0\x07\x88\0\0\x02\0\x01\0\0\0\x07ok";
    const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08";

    #[test]
    fn whose_they_are() {
        let joined = [PING, REQUEST].concat();
        let cases: &[(&[u8], bool, Looks)] = &[
            (b"P", true, Looks::TooShort),
            (b"PRI * HTTP/2.", false, Looks::TooShort),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", false, Looks::Request),
            (b"POST / HTTP/1.1\r\n", true, Looks::Neither),
            (&SETTINGS[..7], true, Looks::TooShort),
            (SETTINGS, true, Looks::Response),
            (SETTINGS, false, Looks::Neither),
            (REQUEST, false, Looks::Request),
            (&joined, false, Looks::Request),
            (RESPONSE, false, Looks::Response),
            (&RESPONSE[..12], false, Looks::Neither),
            (PING, false, Looks::Neither),
            (b"\0\0\0\0\0\0\0\0\0", true, Looks::Neither),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03", true, Looks::Neither),
            (b"HTTP/1.1 200 OK\r\n", true, Looks::Neither),
        ];
        for (bytes, first, want) in cases {
            assert_eq!(detect(bytes, bytes.len() as u64, *first), *want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_chain_holds_together() {
        let two = [PING, REQUEST].concat();
        let data = [PING, PING, b"\0\x40\0\0\0\0\0\0\x01abc"].concat();
        let unsound = b"\0\0\x01\x01\x05\0\0\0\x07\x80";
        let answer = &RESPONSE[..10];
        let one_data = [PING, b"\0\x40\0\0\0\0\0\0\x01abc"].concat();
        let cases: &[(&str, &[u8], u64, bool)] = &[
            ("one, exactly", REQUEST, 13, true),
            ("one, and something", REQUEST, 14, false),
            ("two, exactly", &two, 30, true),
            ("two, of which the second goes on", &two[..29], 29, false),
            ("two, and one that goes on", &data, 4096, true),
            ("two, and one that ends with the call", &data, 34 + 9 + 16384, true),
            ("a head, and one that goes on", RESPONSE, 20, true),
            ("a head whose end is not seen", &RESPONSE[..9], 20, false),
            ("a head, and nothing of what comes", answer, 4096, false),
            ("another, and one that goes on", &one_data, 4096, false),
            ("what can be the middle of one", b"\0\0\0\x01\x04\0\x0cco", 9, false),
            ("nothing", b"", 0, false),
            ("nothing of it seen", b"", 9, false),
            ("a block that nobody writes", unsound, 10, false),
        ];
        for (name, bytes, call_bytes, want) in cases {
            assert_eq!(is_chain(bytes, *call_bytes), *want, "{name}");
        }
    }
}
