//! Encrypted connections: their clear text comes from calls of a TLS library, and is told of the right one.

use model::{Body, Direction, End, Identity, Payload, Span, TcpState, TlsCall, TlsCallKind, TlsSessionId};
use trace::Settings;

use crate::conversation::{MS, Socket, World, socket};

use Direction::{Received, Sent};
use TlsCallKind::{Agreed, Close, CloseBack, Handshake, Read, Write};

/// A handshake of OpenSSL 3.0: see `crates/protocol/tests/tls`.
const TLS_1_3: &[u8] = include_bytes!("../../../protocol/tests/tls/recorded/tls_1_3_ok.bin");
const REFUSED: &[u8] = include_bytes!("../../../protocol/tests/tls/recorded/tls_1_3_bad.bin");
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// The beginning of a record of encrypted data.
const DATA: &[u8] = b"\x17\x03\x03\x00\x40";

/// A record of this clear text in TLS 1.3: its content, its kind and a tag.
fn record(text: &[u8]) -> Vec<u8> {
    let len = text.len() + 17;
    [&[0x17, 3, 3][..], &(len as u16).to_be_bytes(), &vec![0; len]].concat()
}

/// The flights of a recorded handshake: the client's are first, third and so on.
fn flights(recorded: &[u8]) -> Vec<&[u8]> {
    let (mut flights, mut rest) = (Vec::new(), recorded);
    while let [_, a, b, c, d, behind @ ..] = rest {
        let (flight, next) = behind.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
        flights.push(flight);
        rest = next;
    }
    flights
}

/// An object of the library, and how much clear text it has moved.
struct Session {
    id: u64,
    moved: [u64; 2],
}

impl Session {
    fn new(id: u64) -> Self {
        Self { id, moved: [0; 2] }
    }

    fn call(&mut self, world: &mut World, socket: &Socket, kind: TlsCallKind, text: &[u8]) {
        self.tell(world, socket, (kind, Some(world.now_ns + MS / 2)), text);
    }

    /// A call of which only the end was seen, and in which the library has moved the bytes by itself.
    fn behind(&mut self, world: &mut World, socket: &Socket, kind: TlsCallKind, text: &[u8]) {
        self.tell(world, socket, (kind, None), text);
    }

    fn tell(
        &mut self,
        world: &mut World,
        socket: &Socket,
        (kind, entered_ns): (TlsCallKind, Option<u64>),
        text: &[u8],
    ) {
        let moved = &mut self.moved[usize::from(kind == Write)];
        let len = text.len() as u64;
        let payload = (len > 0).then_some(Payload { len, head: text, tail: b"" });
        let session = TlsSessionId(self.id);
        let call = TlsCall {
            session,
            kind,
            entered_ns,
            identity: Identity::Thread,
            position: *moved,
            payload,
            asks_frame: false,
        };
        *moved += len;
        world.feed(socket.pid, socket.tid, Body::TlsCall(call));
    }
}

/// A server that moves the encrypted bytes itself: everything up to its first request.
fn accept(world: &mut World, socket: &Socket, session: &mut Session) {
    let flights = flights(TLS_1_3);
    world.bytes(socket, Received, flights[0]);
    session.call(world, socket, Handshake, b"");
    world.bytes(socket, Sent, flights[1]);
    world.bytes(socket, Received, flights[2]);
    session.call(world, socket, Handshake, b"");
}

fn request(world: &mut World, socket: &Socket, session: &mut Session) {
    world.bytes(socket, Received, &record(GET));
    session.call(world, socket, Read, GET);
    session.call(world, socket, Write, OK);
    world.bytes(socket, Sent, &record(OK));
}

fn world() -> World {
    World::new(&Settings::default())
}

fn text(span: &Span, name: &str) -> Option<String> {
    span.attribute(name).map(ToString::to_string)
}

#[test]
fn a_request_inside_is_told_with_its_encryption() {
    let (mut world, socket, mut session) = (world(), socket(1), Session::new(9));
    accept(&mut world, &socket, &mut session);
    request(&mut world, &socket, &mut session);
    request(&mut world, &socket, &mut session);
    assert_eq!(
        world.lines(),
        ["server GET /a 200 complete - 28/40 1/1", "server GET /a 200 complete - 28/40 1/1"]
    );
    let [first, second] = &world.spans[..] else { panic!("two spans") };
    for span in [first, second] {
        assert_eq!((span.scheme, &span.peer), ("https", &socket.peer));
        assert_eq!(text(span, "tls.protocol.version").as_deref(), Some("1.3"));
        assert_eq!(text(span, "tls.cipher").as_deref(), Some("TLS_AES_256_GCM_SHA384"));
        assert_eq!(text(span, "tls.client.server_name").as_deref(), Some("localhost"));
    }
    // From the client's hello to its last flight, three steps later.
    assert_eq!(text(first, "tls.handshake.duration_ns"), Some((3 * MS).to_string()));
    assert_eq!(text(second, "tls.handshake.duration_ns"), None);
    assert_eq!(world.tracer.settled().map(|id| id.0).collect::<Vec<_>>(), [1]);
    world.state(&socket, TcpState::Established, TcpState::Close, 0);
    assert_eq!(world.tracer.counts().tls_unbound_connections, 0);
}

/// Both before it is known which connection the object belongs to, and after.
#[test]
fn what_the_handshake_agreed_on_is_told_by_the_library() {
    let (mut world, socket, mut session) = (world(), socket(1), Session::new(9));
    let agrees = |world: &mut World, session: u64, name: &[u8]| {
        Session::new(session).call(world, &socket, Agreed, name);
    };
    agrees(&mut world, 9, b"h2");
    accept(&mut world, &socket, &mut session);
    request(&mut world, &socket, &mut session);
    agrees(&mut world, 9, b"http/1.1");
    request(&mut world, &socket, &mut session);
    for other in [&b"\xff\xfe"[..], b"h\x02", b"h 2"] {
        agrees(&mut world, 9, other);
        agrees(&mut world, 8, b"another");
    }
    request(&mut world, &socket, &mut session);
    let told: Vec<_> = world.spans.iter().map(|span| text(span, "tls.next_protocol")).collect();
    assert_eq!(told, ["h2", "http/1.1", "http/1.1"].map(|name| Some(name.to_owned())));
}

#[test]
fn two_connections_of_a_thread_are_not_mixed() {
    let (mut world, one, other) = (world(), socket(1), socket(2).peer("192.0.2.9:50001"));
    let (mut first, mut second) = (Session::new(9), Session::new(8));
    accept(&mut world, &one, &mut first);
    accept(&mut world, &other, &mut second);
    for _ in 0..3 {
        world.bytes(&one, Received, DATA);
        world.bytes(&other, Received, DATA);
        second.call(&mut world, &other, Read, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        first.call(&mut world, &one, Read, GET);
        second.call(&mut world, &other, Write, OK);
        first.call(&mut world, &one, Write, OK);
    }
    assert_eq!(world.spans.len(), 6);
    for span in &world.spans {
        let want = if &*span.name == "GET /a" { &one.peer } else { &other.peer };
        assert_eq!(&span.peer, want, "{}", span.name);
    }
}

/// A server whose connection was open before the probe came: the kernel encrypts what it sends, and may decrypt what it reads.
fn serve_by_kernel(world: &mut World, socket: &Socket, session: &mut Session, reads: bool) {
    let request = if reads { GET.to_vec() } else { record(GET) };
    world.bytes(socket, Received, &request);
    session.behind(world, socket, Read, GET);
    world.bytes(socket, Sent, OK);
    session.behind(world, socket, Write, OK);
}

#[test]
fn what_the_kernel_encrypts_is_told_once_and_as_encrypted() {
    for reads in [true, false] {
        let (mut world, mut session) = (world(), Session::new(9));
        let socket = Socket { kernel_tls: true, ..socket(1).midway() };
        for _ in 0..3 {
            serve_by_kernel(&mut world, &socket, &mut session, reads);
        }
        let told = "server GET /a 200 complete - 28/40 2/2";
        assert_eq!(world.lines(), [told; 3], "{reads}");
        assert!(world.spans.iter().all(|span| span.scheme == "https"));
        world.state(&socket, TcpState::Established, TcpState::Close, 0);
        assert_eq!(world.tracer.counts().tls_unbound_bytes, 0);
    }
}

#[test]
fn what_the_kernel_encrypts_for_an_unseen_library_is_counted() {
    let (mut world, socket) = (world(), Socket { kernel_tls: true, ..socket(1).midway() });
    for (direction, text) in [(Received, GET), (Sent, OK), (Received, GET), (Sent, OK)] {
        world.bytes(&socket, direction, text);
    }
    world.state(&socket, TcpState::Established, TcpState::Close, 0);
    assert!(world.lines().is_empty());
    let counts = world.tracer.counts();
    assert_eq!((counts.tls_unbound_connections, counts.tls_unbound_bytes), (1, 2 * (28 + 40)));
}

/// That it is encrypted shows late only where the beginning was missed. What was told of it in the clear is given up.
#[test]
fn a_conversation_that_turns_out_to_be_encrypted_is_over() {
    let (mut world, mut session) = (world(), Session::new(9));
    let (open, encrypted) = (socket(1).midway(), Socket { kernel_tls: true, ..socket(1).midway() });
    world.bytes(&open, Received, GET);
    for _ in 0..2 {
        serve_by_kernel(&mut world, &encrypted, &mut session, true);
    }
    let lines = world.lines();
    assert!(lines[0].starts_with("server GET /a - probe_lost"), "{lines:?}");
    assert_eq!(lines[1..], ["server GET /a 200 complete - 28/40 2/2"; 2]);
    assert_eq!(world.spans.iter().map(|span| span.scheme).collect::<Vec<_>>(), ["http", "https", "https"]);
}

#[test]
fn a_connection_that_is_joined_midway_waits_for_its_proof() {
    let (mut world, socket, mut session) = (world(), socket(1).midway(), Session::new(9));
    world.bytes(&socket, Received, &record(GET));
    session.call(&mut world, &socket, Read, GET);
    session.call(&mut world, &socket, Write, OK);
    assert_eq!(world.spans.len(), 0);
    world.bytes(&socket, Sent, &record(OK));
    assert_eq!(world.lines(), ["server GET /a 200 complete - 28/40 1/1"]);
    assert_eq!((world.spans[0].scheme, text(&world.spans[0], "tls.cipher")), ("https", None));
}

#[test]
fn encrypted_bytes_without_clear_text_are_counted_as_unbound() {
    let (mut world, socket) = (world(), socket(1));
    for (index, flight) in flights(TLS_1_3).into_iter().enumerate() {
        world.bytes(&socket, if index % 2 == 0 { Received } else { Sent }, flight);
    }
    assert_eq!(world.tracer.encrypted_processes().collect::<Vec<_>>(), [socket.pid]);
    assert_eq!(world.tracer.encrypted_processes().count(), 0);
    world.state(&socket, TcpState::Established, TcpState::Close, 0);
    let counts = world.tracer.counts();
    let bytes: usize = flights(TLS_1_3).iter().map(|flight| flight.len()).sum();
    assert_eq!((counts.tls_unbound_connections, counts.tls_unbound_bytes), (1, bytes as u64));
    assert_eq!(world.spans.len(), 0);
}

#[test]
fn what_is_sent_to_a_peer_that_has_gone_is_no_new_connection() {
    let (mut world, socket, mut session) = (world(), socket(1), Session::new(9));
    accept(&mut world, &socket, &mut session);
    request(&mut world, &socket, &mut session);
    world.state(&socket, TcpState::CloseWait, TcpState::Close, 32);
    // The library's farewell, on its way when the peer's reset came.
    world.bytes(&socket, Sent, &record(b"\x01\x00"));
    let mut out = Vec::new();
    world.tracer.drain(world.now_ns, &mut out);
    let counts = world.tracer.counts();
    assert_eq!((counts.connections, counts.tls_unbound_connections, counts.tls_unbound_bytes), (1, 0, 0));
    assert_eq!(world.lines(), ["server GET /a 200 complete - 28/40 1/1"]);
}

#[test]
fn clear_text_without_a_connection_is_counted() {
    let (mut world, socket, mut session) = (world(), socket(1), Session::new(9));
    session.call(&mut world, &socket, Read, GET);
    let mut out = Vec::new();
    world.tracer.drain(world.now_ns, &mut out);
    assert_eq!((out.len(), world.tracer.counts().tls_unknown_peer_bytes), (0, GET.len() as u64));
}

#[test]
fn a_certificate_that_a_client_refuses_is_its_error() {
    let (mut world, socket) = (world(), socket(1));
    for (index, flight) in flights(REFUSED).into_iter().enumerate() {
        world.bytes(&socket, if index % 2 == 0 { Sent } else { Received }, flight);
    }
    let [span] = &world.spans[..] else { panic!("one span") };
    assert_eq!((&*span.name, span.end, span.scheme), ("TLS handshake", End::NotConnected, "https"));
    assert_eq!(span.error().as_deref(), Some("TLS handshake failed: unknown_ca"));
    assert_eq!(span.duration_ns, 2 * MS);
    assert_eq!(world.tracer.counts().tls_failed_handshakes, 1);
    world.state(&socket, TcpState::Established, TcpState::Close, 0);
    assert_eq!(world.tracer.counts().tls_unbound_connections, 0);
}

/// The other side answers, and closes its socket before.
#[test]
fn who_says_first_that_it_sends_no_more_has_closed() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    for (kind, end) in [(Close, End::ServerClosed), (CloseBack, End::ClientClosed)] {
        let (mut world, socket, mut session) = (world(), socket(1), Session::new(7));
        accept(&mut world, &socket, &mut session);
        world.bytes(&socket, Received, &record(GET));
        session.call(&mut world, &socket, Read, GET);
        session.call(&mut world, &socket, Write, HALF);
        world.bytes(&socket, Sent, &record(HALF));
        session.call(&mut world, &socket, kind, b"");
        world.state(&socket, TcpState::Established, TcpState::CloseWait, 0);
        world.state(&socket, TcpState::CloseWait, TcpState::LastAck, 0);
        let ends: Vec<_> = world.spans.iter().map(|span| span.end).collect();
        assert_eq!(ends, [end], "{kind:?}");
    }
}

/// The client of a database that speaks in the clear first, and then its clear text inside TLS.
fn ask_inside(before: &[(Direction, &[u8])], inside: &[(TlsCallKind, &[u8])]) -> World {
    let (mut world, socket, mut session) = (world(), socket(1).peer("10.0.0.5:5432"), Session::new(7));
    for (direction, bytes) in before {
        world.bytes(&socket, *direction, bytes);
    }
    let flights = flights(TLS_1_3);
    world.bytes(&socket, Sent, flights[0]);
    session.call(&mut world, &socket, Handshake, b"");
    world.bytes(&socket, Received, flights[1]);
    session.call(&mut world, &socket, Handshake, b"");
    world.bytes(&socket, Sent, flights[2]);
    session.call(&mut world, &socket, Handshake, b"");
    for (kind, text) in inside {
        if *kind == Read {
            world.bytes(&socket, Received, DATA);
        }
        session.call(&mut world, &socket, *kind, text);
        if *kind == Write {
            world.bytes(&socket, Sent, DATA);
        }
    }
    world
}

#[test]
fn a_database_inside_is_asked_after_a_wish_in_the_clear() {
    let postgresql = ask_inside(
        &[(Sent, b"\0\0\0\x08\x04\xd2\x16\x2f"), (Received, b"S")],
        &[
            (Write, b"\0\0\0\x20\0\x03\0\0user\0app\0database\0shop\0\0"),
            (Read, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"),
            (Write, b"Q\0\0\0\x14SELECT a FROM t\0"),
            (Read, b"C\0\0\0\x0dSELECT 0\0Z\0\0\0\x05I"),
        ],
    );
    let greeting = b"\x4a\0\0\0\x0a8.4.3\0\x07\0\0\x0012345678\0\x08\x8a\x2d\x02\0\x28\x01\x15\0\0\0\0\0\0\0\0\0\x00123456789012\0mysql_native_password\0";
    let wish = [&b"\x20\0\0\x01\x08\x8a\x28\0"[..], &[0; 28]].concat();
    let login =
        [&b"\x33\0\0\x02\x08\x8a\x28\0\0\0\0\x01\x2d"[..], &[0; 23], b"app\0\x05abcdeshop\0\0\0\0\0\0\0\0"]
            .concat();
    let login = [&[(login.len() - 4) as u8][..], &login[1..]].concat();
    let mut greeting = greeting.to_vec();
    greeting[0] = (greeting.len() - 4) as u8;
    let mysql = ask_inside(
        &[(Received, &greeting), (Sent, &wish)],
        &[
            (Write, &login),
            (Read, b"\x07\0\0\x03\0\0\0\x02\0\0\0"),
            (Write, b"\x10\0\0\0\x03SELECT a FROM t"),
            (Read, b"\x07\0\0\x01\0\0\0\x02\0\0\0"),
        ],
    );
    for world in [postgresql, mysql] {
        let [span] = &world.spans[..] else { panic!("{:?} {:?}", world.lines(), world.tracer.counts()) };
        assert_eq!((&*span.name, span.end), ("SELECT t", End::Complete));
        assert_eq!(text(span, "db.namespace").as_deref(), Some("shop"));
        assert_eq!(text(span, "tls.protocol.version").as_deref(), Some("1.3"));
    }
}
