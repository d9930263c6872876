//! What is told of frames. The first vectors are those of RFC 6455 section 5.7.

use proptest::prelude::*;
use protocol::Chunk;
use protocol::websocket::{Frame, FrameParser, Loss, Opcode, Part, Writer};

/// Reads chunks of (bytes copied at the front, bytes not copied, bytes copied at the end), one nanosecond apart.
fn read(writer: Writer, chunks: &[(&[u8], u64, &[u8])]) -> Vec<String> {
    let (mut parser, mut parts, mut position) = (FrameParser::new(writer), Vec::new(), 0);
    for (at_ns, (head, hole, tail)) in (1..).zip(chunks) {
        let len = head.len() as u64 + hole + tail.len() as u64;
        parser.push(&Chunk { at_ns, position, len, head, tail }, &mut |part| parts.push(line(&part)));
        position += len;
    }
    parts
}

fn line(part: &Part) -> String {
    match part {
        Part::Frame(frame) => {
            let control = frame.control.as_ref().map(|bytes| format!(" {}", bytes.escape_ascii()));
            let more = if frame.fin { "" } else { "..." };
            let (opcode, bytes) = (frame.opcode, frame.payload_bytes);
            format!(
                "{opcode:?}{more} {bytes}{} @{}..{}",
                control.unwrap_or_default(),
                frame.start_ns,
                frame.end_ns
            )
        }
        Part::Lost(loss) => format!("{loss:?}"),
    }
}

#[test]
fn the_examples_of_the_standard() {
    let medium = [&[0x82, 0x7e, 1, 0][..], &[7; 256]].concat();
    let long = [&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0][..], &vec![7; 65536]].concat();
    for (writer, bytes, want) in [
        (Writer::Server, &b"\x81\x05Hello"[..], vec!["Text 5 @1..1"]),
        (Writer::Client, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", vec!["Text 5 @1..1"]),
        (Writer::Server, b"\x01\x03Hel\x80\x02lo", vec!["Text... 3 @1..1", "Continuation 2 @1..1"]),
        (Writer::Server, b"\x89\x05Hello", vec!["Ping 5 Hello @1..1"]),
        (Writer::Client, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", vec!["Pong 5 Hello @1..1"]),
        (Writer::Server, &medium, vec!["Binary 256 @1..1"]),
        (Writer::Server, &long, vec!["Binary 65536 @1..1"]),
        (Writer::Server, b"\xc1\x03abc\x88\x02\x03\xe8", vec!["Text 3 @1..1", "Close 2 \\x03\\xe8 @1..1"]),
    ] {
        assert_eq!(read(writer, &[(bytes, 0, b"")]), want);
    }
}

#[test]
fn payloads_that_were_not_copied_are_passed_over() {
    let head = b"\x82\x7f\0\0\0\0\0\x01\0\0first";
    // The next frame begins in the bytes that were copied at the end.
    let want = ["Binary 65536 @1..1", "Text 2 @1..1"];
    assert_eq!(read(Writer::Server, &[(head, 65531 - 3, b"end\x81\x02hi")]), want);
    let want = ["Binary 65536 @1..2", "Ping 0  @2..2"];
    assert_eq!(read(Writer::Server, &[(head, 60_000, b""), (b"", 5531, b"\x89\0")]), want);
    // A control frame of which a part is missing is one all the same.
    assert_eq!(read(Writer::Server, &[(b"\x88\x05\x03", 3, b"d\x81\0")]), ["Close 5 @1..1", "Text 0 @1..1"]);
}

#[test]
fn what_cannot_be_read_on_is_said_once() {
    for (chunks, want) in [
        (vec![(&b"\x81\x7e"[..], 3_u64, &b"abc"[..]), (b"\x81\0", 0, b"")], "Missed"),
        (vec![(b"\x81\x02hi", 10, b"\x81\0")], "Missed"),
        (vec![(b"HTTP/1.1", 0, b"")], "Broken"),
        (vec![(b"\x83\0", 0, b"")], "Broken"),
        (vec![(b"\x91\0", 0, b"")], "Broken"),
        (vec![(b"\x09\0", 0, b"")], "Broken"),
        (vec![(b"\xc9\0", 0, b"")], "Broken"),
        (vec![(b"\x81\x80", 0, b"")], "Broken"),
        (vec![(b"\x89\x7e\0\x7e", 0, b"")], "Broken"),
        (vec![(b"\x81\x7e\0\x7d", 0, b"")], "Broken"),
        (vec![(b"\x82\x7f\0\0\0\0\0\0\xff\xff", 0, b"")], "Broken"),
        (vec![(b"\x82\x7f\x80\0\0\0\0\x01\0\0", 0, b"")], "Broken"),
    ] {
        let told = read(Writer::Server, &chunks);
        assert_eq!(told.last().map(String::as_str), Some(want), "{chunks:?}");
        assert_eq!(told.iter().filter(|line| ["Missed", "Broken"].contains(&line.as_str())).count(), 1);
    }
    assert_eq!(read(Writer::Client, &[(b"\x81\0", 0, b"")]), ["Broken"]);
}

#[test]
fn missed_calls_are_missed_bytes() {
    let mut parser = FrameParser::new(Writer::Server);
    let mut parts = Vec::new();
    let chunk = |at_ns, position, head| Chunk { at_ns, position, len: 4, head, tail: b"" };
    parser.push(&chunk(1, 0, b"\x81\x0aab"), &mut |part| parts.push(part));
    parser.push(&chunk(2, 8, b"ghij"), &mut |part| parts.push(part));
    parser.push(&chunk(3, 20, b"\x81\x02hi"), &mut |part| parts.push(part));
    let frame =
        Frame { opcode: Opcode::Text, fin: true, payload_bytes: 10, control: None, start_ns: 1, end_ns: 2 };
    assert_eq!(parts, [Part::Frame(frame), Part::Lost(Loss::Missed)]);
}

#[test]
fn close_codes() {
    for (bytes, want) in
        [(&b"\x88\x02\x03\xe9"[..], Some(1001)), (b"\x88\0", None), (b"\x89\x02\x03\xe9", None)]
    {
        let mut code = None;
        let chunk = Chunk { at_ns: 1, position: 0, len: bytes.len() as u64, head: bytes, tail: b"" };
        FrameParser::new(Writer::Server).push(&chunk, &mut |part| {
            if let Part::Frame(frame) = part {
                code = frame.close_code();
            }
        });
        assert_eq!(code, want);
    }
}

/// A frame on the wire.
fn frame() -> impl Strategy<Value = (u8, bool, Vec<u8>)> {
    let data = (prop::sample::select(vec![0_u8, 1, 2]), any::<bool>(), 0..300_usize);
    let control = (prop::sample::select(vec![8_u8, 9, 10]), Just(true), 0..126_usize);
    let large = (Just(2_u8), Just(true), 65_530..65_550_usize);
    prop_oneof![4 => data, 2 => control, 1 => large]
        .prop_map(|(opcode, fin, len)| (opcode, fin, (0..len).map(|at| at as u8).collect()))
}

fn written(frames: &[(u8, bool, Vec<u8>)], writer: Writer) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (opcode, fin, payload) in frames {
        bytes.push(opcode | if *fin { 0x80 } else { 0 });
        let masked = if writer == Writer::Client { 0x80 } else { 0 };
        match payload.len() {
            len @ ..126 => bytes.push(masked | len as u8),
            len @ ..65_536 => {
                bytes.push(masked | 0x7e);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(masked | 0x7f);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        let mask = if masked > 0 { [1_u8, 2, 3, 4] } else { [0; 4] };
        bytes.extend_from_slice(if masked > 0 { &mask } else { &[] });
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cuts_change_nothing(
        frames in prop::collection::vec(frame(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        client: bool,
    ) {
        let writer = if client { Writer::Client } else { Writer::Server };
        let bytes = written(&frames, writer);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let chunks: Vec<_> =
            places.windows(2).map(|ends| (&bytes[ends[0]..ends[1]], 0, &b""[..])).collect();
        let untimed = |told: Vec<String>| -> Vec<String> {
            told.iter().map(|line| line.split('@').next().unwrap_or_default().to_owned()).collect()
        };
        let told = untimed(read(writer, &chunks));
        prop_assert_eq!(&told, &untimed(read(writer, &[(&bytes, 0, b"")])));
        prop_assert_eq!(told.len(), frames.len());
        for (line, (_, _, payload)) in told.iter().zip(&frames) {
            prop_assert!(line.contains(&format!(" {}", payload.len())), "{}", line);
        }
    }
}
