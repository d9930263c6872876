//! TLS handshakes of OpenSSL 3.0, recorded without a network: version 1.2 and 1.3, with a certificate that is
//! trusted and with one that is not. Each file is a row of `direction, length (4 bytes, little endian), bytes`.

use proptest::prelude::*;
use protocol::Chunk;
use protocol::tls::{
    Alert, CipherSuite, Part, Reader, ServerHello, Version, begins_handshake, begins_record,
};

const TLS_1_2: &[u8] = include_bytes!("recorded/tls_1_2_ok.bin");
const TLS_1_2_REFUSED: &[u8] = include_bytes!("recorded/tls_1_2_bad.bin");
const TLS_1_3: &[u8] = include_bytes!("recorded/tls_1_3_ok.bin");
const TLS_1_3_REFUSED: &[u8] = include_bytes!("recorded/tls_1_3_bad.bin");

/// One side's bytes, end to end.
fn side(recorded: &[u8], wanted: u8) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), recorded);
    while let [side, a, b, c, d, behind @ ..] = rest {
        let (content, next) = behind.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
        if *side == wanted {
            bytes.extend_from_slice(content);
        }
        rest = next;
    }
    bytes
}

fn parts(chunks: &[Chunk<'_>]) -> Vec<Part> {
    let (mut reader, mut parts) = (Reader::new(0), Vec::new());
    for chunk in chunks {
        reader.push(chunk, &mut |part| parts.push(part));
    }
    parts
}

fn whole(bytes: &[u8]) -> Vec<Part> {
    parts(&[Chunk { at_ns: 7, position: 0, len: bytes.len() as u64, head: bytes, tail: b"" }])
}

fn server_hello(parts: &[Part]) -> Option<&ServerHello> {
    parts.iter().find_map(|part| match part {
        Part::ServerHello { hello, .. } => Some(hello),
        _ => None,
    })
}

#[test]
fn both_versions_tell_what_was_offered_and_chosen() {
    for (recorded, version, cipher, protocol) in [
        (TLS_1_2, "1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Some("http/1.1")),
        (TLS_1_3, "1.3", "TLS_AES_256_GCM_SHA384", None),
    ] {
        let client = whole(&side(recorded, b'c'));
        let Part::ClientHello { hello, at_ns: 7 } = &client[0] else { panic!("{client:?}") };
        assert_eq!(hello.server_name.as_deref(), Some("localhost"));
        assert_eq!(hello.protocols, ["h2", "http/1.1"]);
        assert_eq!(client[1..], [Part::ChangeCipherSpec { at_ns: 7 }, Part::ApplicationData { at_ns: 7 }]);
        let server = whole(&side(recorded, b's'));
        let chosen = server_hello(&server).expect("a hello");
        assert_eq!((chosen.version.as_str(), chosen.cipher.name()), (Some(version), Some(cipher)));
        assert_eq!((chosen.version.protocol(), chosen.protocol.as_deref()), ("tls", protocol));
        assert!(begins_handshake(&side(recorded, b'c')) && begins_handshake(&side(recorded, b's')));
    }
}

#[test]
fn a_refused_certificate_shows_as_an_alert() {
    for recorded in [TLS_1_2_REFUSED, TLS_1_3_REFUSED] {
        let client = whole(&side(recorded, b'c'));
        let alert = Alert { fatal: true, description: 48 };
        assert_eq!(client.last(), Some(&Part::Alert { at_ns: 7, alert }));
        assert_eq!(alert.name(), Some("unknown_ca"));
    }
}

#[test]
fn a_hole_inside_a_record_is_skipped_by_length() {
    let bytes = side(TLS_1_2, b's');
    let len = bytes.len() as u64;
    // Behind the hello, within the certificate.
    let chunk = Chunk { at_ns: 1, position: 0, len, head: &bytes[..200], tail: &bytes[400..] };
    let found = parts(&[chunk]);
    assert!(server_hello(&found).is_some(), "{found:?}");
    assert!(found.contains(&Part::ChangeCipherSpec { at_ns: 1 }), "{found:?}");
    // Over a header.
    let chunk = Chunk { at_ns: 1, position: 0, len, head: &bytes[..84], tail: &bytes[bytes.len() - 4..] };
    assert!(matches!(parts(&[chunk]).last(), Some(Part::ChangeCipherSpec { .. } | Part::Lost)));
    let gap = [
        Chunk { at_ns: 1, position: 0, len: 2, head: &bytes[..2], tail: b"" },
        Chunk { at_ns: 1, position: 9, len: 2, head: &bytes[9..11], tail: b"" },
    ];
    assert_eq!(parts(&gap), [Part::Lost]);
}

#[test]
fn strangers_are_told() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x04\x01\x00\x05", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\0\0"]
    {
        assert_eq!(whole(bytes), [Part::NotTls], "{bytes:?}");
        assert!(!begins_record(bytes) && !begins_handshake(bytes));
    }
    assert!(begins_record(b"\x17\x03\x03\x00\x20") && !begins_handshake(b"\x17\x03\x03\x00\x20\x01"));
    assert_eq!((Version(0x0305).as_str(), CipherSuite(0x1399).name()), (None, None));
    assert_eq!(Alert { fatal: false, description: 7 }.name(), None);
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same(
        which in 0_usize..4,
        server in any::<bool>(),
        cuts in prop::collection::vec(1_usize..700, 0..40),
    ) {
        let recorded = [TLS_1_2, TLS_1_2_REFUSED, TLS_1_3, TLS_1_3_REFUSED][which];
        let bytes = side(recorded, if server { b's' } else { b'c' });
        let (mut chunks, mut at) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([bytes.len()]) {
            let end = (at + cut).min(bytes.len());
            if end > at {
                let head = &bytes[at..end];
                chunks.push(Chunk { at_ns: 7, position: at as u64, len: head.len() as u64, head, tail: b"" });
            }
            at = end;
        }
        prop_assert_eq!(parts(&chunks), whole(&bytes));
    }

    #[test]
    fn any_bytes_give_parts(
        calls in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0_u64..300, 0_u64..99), 0..20),
        real in 0_usize..600,
    ) {
        let mut reader = Reader::new(0);
        let hello = side(TLS_1_3, b'c');
        let hello = &hello[..real.min(hello.len())];
        reader.push(
            &Chunk { at_ns: 1, position: 0, len: hello.len() as u64, head: hello, tail: b"" },
            &mut |_| {},
        );
        let mut position = hello.len() as u64;
        for (bytes, hole, gap) in &calls {
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            let len = bytes.len() as u64 + hole;
            reader.push(&Chunk { at_ns: 2, position: position.saturating_add(*gap), len, head, tail }, &mut |_| {});
            position += len + gap;
        }
    }
}
