//! However the bytes are cut into calls, the spans are the same but for their times.

use model::Direction::{self, Received, Sent};
use model::{Origin, Span};
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::{Step, World, socket};

/// Requests and responses in turns, as one byte stream per turn.
fn conversation() -> Vec<(Direction, String)> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nT: 1\r\n\r\n";
    let pipelined = "GET /1x HTTP/1.1\r\nHost: h\r\n\r\nHEAD /2x HTTP/1.1\r\nHost: h\r\n\r\n";
    let both = "HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nno!HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n";
    [
        (Received, "\r\nGET /users/7?token=a HTTP/1.1\r\nHost: h\r\ntraceparent: 00-abc-def-01\r\n\r\n"),
        (Sent, chunked),
        (Received, "POST /u HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
        (Sent, "HTTP/1.1 100 Continue\r\n\r\n"),
        (Received, "12345"),
        (Sent, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        (Received, pipelined),
        (Sent, both),
        (Received, "GET /last HTTP/1.0\r\n\r\n"),
        (Sent, "HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    ]
    .map(|(direction, text)| (direction, text.to_owned()))
    .into()
}

/// Plays the conversation cut at the given places of all its bytes; gives what must not depend on them.
fn play(cuts: &[usize], server: bool) -> Vec<String> {
    let mut world = World::new(&Settings::default());
    let socket = socket(1);
    assert_eq!(socket.origin, Origin::Start);
    let mut at = 0;
    for (direction, text) in conversation() {
        let direction = match (direction, server) {
            (Received, true) | (Sent, false) => Received,
            _ => Sent,
        };
        let bytes = text.as_bytes();
        let mut places: Vec<usize> =
            cuts.iter().filter(|cut| (at + 1..at + bytes.len()).contains(*cut)).map(|cut| cut - at).collect();
        places.sort_unstable();
        places.dedup();
        places.push(bytes.len());
        let mut from = 0;
        for place in places {
            world.bytes(&socket, direction, &bytes[from..place]);
            from = place;
        }
        at += bytes.len();
    }
    world.play(
        &socket,
        &[Step::Eof, Step::State(model::TcpState::FinWait1, 0), Step::State(model::TcpState::Close, 0)],
    );
    world.spans.iter().map(untimed).collect()
}

fn untimed(span: &Span) -> String {
    let mut span = span.clone();
    assert!(span.ttfb_ns.is_some_and(|ttfb| ttfb <= span.duration_ns));
    (span.start_ns, span.start_unix_ns, span.duration_ns, span.ttfb_ns) = (0, 0, 0, None);
    format!("{span:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cuts_change_nothing(cuts in prop::collection::vec(1_usize..900, 0..60), server: bool) {
        let whole = play(&[], server);
        prop_assert_eq!(whole.len(), 5);
        prop_assert_eq!(play(&cuts, server), whole);
    }
}

#[test]
fn single_bytes() {
    let cuts: Vec<usize> = (1..900).collect();
    for server in [true, false] {
        assert_eq!(play(&cuts, server), play(&[], server));
    }
}
