//! PROXY headers ahead of HTTP.

use model::Direction::{Received, Sent};
use trace::Settings;

use crate::conversation::Step::{Reads, State, Writes};
use crate::conversation::{World, play, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LINE: &str = "PROXY TCP4 8.8.8.8 10.0.0.1 4711 80\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\x08\x08\x08\x08\x0a\0\0\x01\x12\x67\0\x50\x04\0\0";

#[test]
fn the_client_is_who_the_trusted_peer_says() {
    for header in [LINE.as_bytes(), BINARY] {
        for (peer, want) in [("127.0.0.1:9", "8.8.8.8"), ("192.0.2.9:9", "192.0.2.9")] {
            let mut world = World::new(&Settings::default());
            let socket = socket(1).peer(peer);
            world.bytes(&socket, Received, &[header, GET.as_bytes()].concat());
            world.play(&socket, &[Writes(OK), Reads(GET), Writes(OK)]);
            assert_eq!(world.lines(), ["server GET /a 200 complete - 28/40 1/1"; 2]);
            for span in &world.spans {
                assert_eq!(span.client_addr.map(|ip| ip.to_string()).as_deref(), Some(want));
                assert_eq!(span.peer.to_string(), peer);
            }
        }
    }
}

#[test]
fn forwarding_headers_are_believed_if_the_named_client_is_trusted() {
    let asked = "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";
    for (named, want) in [("10.0.0.2", "9.9.9.9"), ("8.8.8.8", "8.8.8.8")] {
        let settings = Settings {
            trusted_networks: vec!["10.0.0.0/8".into(), "127.0.0.0/8".into()],
            ..Settings::default()
        };
        let mut world = World::new(&settings);
        let socket = socket(1).peer("127.0.0.1:9");
        let text = format!("PROXY TCP4 {named} 10.0.0.1 4711 80\r\n{asked}");
        world.play(&socket, &[Reads(&text), Writes(OK)]);
        assert_eq!(world.spans[0].client_addr.map(|ip| ip.to_string()).as_deref(), Some(want));
    }
}

#[test]
fn however_it_is_cut() {
    for header in [LINE.as_bytes(), BINARY] {
        let bytes = [header, GET.as_bytes()].concat();
        for step in 1..bytes.len() {
            let mut world = World::new(&Settings::default());
            let socket = socket(1).peer("127.0.0.1:9");
            bytes.chunks(step).for_each(|piece| world.bytes(&socket, Received, piece));
            world.play(&socket, &[Writes(OK)]);
            let span = &world.spans[0];
            assert_eq!((&*span.name, span.request_bytes, span.response_bytes), ("GET /a", 28, 40), "{step}");
            assert_eq!(span.client_addr.map(|ip| ip.to_string()).as_deref(), Some("8.8.8.8"));
        }
    }
}

#[test]
fn one_that_is_longer_than_what_was_copied() {
    let mut world = World::new(&Settings::default());
    let socket = socket(1).peer("127.0.0.1:9");
    let mut long = BINARY.to_vec();
    long[14..16].copy_from_slice(&3000_u16.to_be_bytes());
    world.part(&socket, Received, &long, 3016);
    world.play(&socket, &[Reads(GET), Writes(OK)]);
    assert_eq!(world.lines(), ["server GET /a 200 complete - 28/40 1/1"]);
}

#[test]
fn a_client_that_writes_one() {
    let text = format!("{LINE}{GET}");
    let (lines, _) = play(&socket(1), &[Writes(&text), Reads(OK)]);
    assert_eq!(lines, ["client GET /a 200 complete - 28/40 1/1"]);
}

#[test]
fn what_only_looks_like_one() {
    for text in ["PROXY TCP4 nonsense\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"] {
        let (lines, counts) = play(&socket(1), &[Reads(text), State(model::TcpState::Close, 0)]);
        assert_eq!((lines.len(), counts.not_http), (0, 1), "{text}");
    }
    // Headers behind headers are not followed for ever.
    let mut world = World::new(&Settings::default());
    world.bytes(&socket(1), Received, LINE.repeat(5).as_bytes());
    world.bytes(&socket(1), Sent, b"x");
    assert_eq!(world.tracer.counts().overrun_connections, 1);
}
