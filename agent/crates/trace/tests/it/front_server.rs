//! Requests that a front server hands on in the uwsgi protocol and in `FastCGI`.

use model::Direction::{Received, Sent};
use model::{Protocol, Span, TcpState};
use trace::Settings;

use crate::conversation::{MS, Socket, World, line, socket};

const VARIABLES: [(&str, &str); 8] = [
    ("REQUEST_METHOD", "POST"),
    ("REQUEST_URI", "/users/7?token=hush"),
    ("CONTENT_LENGTH", "4"),
    ("SERVER_PROTOCOL", "HTTP/1.0"),
    ("HTTPS", "on"),
    ("REMOTE_ADDR", "203.0.113.9"),
    ("HTTP_HOST", "shop.example"),
    ("HTTP_TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];
const OK: &str = "HTTP/1.1 201 Created\r\nContent-Type: a/b\r\n\r\nmade";

/// A packet of variables and a body.
fn uwsgi() -> Vec<u8> {
    let texts = VARIABLES.iter().flat_map(|(name, value)| [name, value]);
    let pairs = texts.flat_map(|text| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat());
    let pairs: Vec<u8> = pairs.collect();
    [&[0][..], &(pairs.len() as u16).to_le_bytes(), &[0], &pairs, b"body"].concat()
}

fn record(kind: u8, id: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[1, kind, 0, id, high, low, 0, 0], content].concat()
}

fn fastcgi(id: u8) -> Vec<u8> {
    fastcgi_of(id, &VARIABLES, b"body")
}

fn fastcgi_of(id: u8, variables: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let size = |text: &str| (text.len() as u32 | 1 << 31).to_be_bytes();
    let pair = |(name, value): &(&str, &str)| {
        [&size(name)[..], &size(value), name.as_bytes(), value.as_bytes()].concat()
    };
    let params: Vec<u8> = variables.iter().flat_map(pair).collect();
    let begin = record(1, id, &[0, 1, 1, 0, 0, 0, 0, 0]);
    [begin, record(4, id, &params), record(4, id, b""), record(5, id, body), record(5, id, b"")].concat()
}

fn trusted() -> Socket {
    socket(1).peer("127.0.0.1:4711")
}

fn assert_as_asked(span: &Span, protocol: Protocol) {
    assert_eq!((span.protocol, span.scheme, span.host.as_str()), (protocol, "https", "shop.example"));
    assert_eq!(span.target.as_deref(), Some("/users/7?token=***"));
    assert_eq!(span.client_addr.map(|ip| ip.to_string()).as_deref(), Some("203.0.113.9"));
    assert_eq!(span.http_version.map(model::HttpVersion::as_str), Some("1.0"));
    assert_eq!(span.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.route.as_deref(), Some("/users/{id}"));
}

#[test]
fn uwsgi_is_answered_in_http() {
    let request = uwsgi();
    let mut world = World::new(&Settings::default());
    let (socket, len) = (trusted(), request.len());
    world.bytes(&socket, Received, &request[..4]);
    world.bytes(&socket, Received, &request[4..]);
    world.bytes(&socket, Sent, OK.as_bytes());
    world.state(&socket, TcpState::Established, TcpState::FinWait1, 0);
    let want = format!("server POST /users/{{id}} 201 complete - {len}/{} 2/2", OK.len());
    assert_eq!(world.lines(), [want]);
    assert_as_asked(&world.spans[0], Protocol::Uwsgi);
}

#[test]
fn fastcgi_says_its_end() {
    let mut world = World::new(&Settings::default());
    let socket = trusted();
    let output = record(6, 1, b"Status: 503 No\r\nX-A: 1\r\n\r\nbusy");
    let end = record(3, 1, &[0; 8]);
    for _ in 0..2 {
        world.bytes(&socket, Received, &fastcgi(1));
        world.bytes(&socket, Sent, &output);
        world.bytes(&socket, Sent, &end);
    }
    let bytes = output.len() + end.len();
    let want = format!("server POST /users/{{id}} 503 complete Status {}/{bytes} 2/1", fastcgi(1).len());
    assert_eq!(world.lines(), [want.clone(), want]);
    assert_as_asked(&world.spans[0], Protocol::FastCgi);
}

#[test]
fn several_fastcgi_requests_at_once_and_one_that_is_cut_off() {
    let mut world = World::new(&Settings::default());
    let socket = trusted();
    for id in 1..=3 {
        world.bytes(&socket, Received, &fastcgi(id));
    }
    for id in [2, 1] {
        world.bytes(&socket, Sent, &record(6, id, b"Status: 200\r\n\r\n"));
    }
    for id in [2, 1] {
        world.bytes(&socket, Sent, &record(3, id, &[0; 8]));
    }
    world.state(&socket, TcpState::Established, TcpState::FinWait1, 0);
    let len = fastcgi(1).len();
    let name = "server POST /users/{id}";
    assert_eq!(
        world.lines(),
        [
            format!("{name} 200 complete - {len}/39 4/2"),
            format!("{name} 200 complete - {len}/39 6/4"),
            format!("{name} - server_closed Incomplete {len}/0 0/-"),
        ]
    );
}

/// Requests that never say what they ask leave no trace, however many they are.
#[test]
fn requests_that_only_begin() {
    let mut world = World::new(&Settings::default());
    let socket = trusted();
    for number in 1..=1000_u16 {
        let [high, low] = number.to_be_bytes();
        world.bytes(&socket, Received, &[1, 1, high, low, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    }
    world.bytes(&socket, Received, &fastcgi(9));
    let answer = [record(6, 9, b"Status: 201\r\n\r\n"), record(3, 9, &[0; 8])].concat();
    world.bytes(&socket, Sent, &answer);
    let want = format!("server POST /users/{{id}} 201 complete - {}/{} 1/1", fastcgi(9).len(), answer.len());
    assert_eq!(world.lines(), [want]);
}

#[test]
fn a_response_without_a_body_is_over_with_its_head() {
    for (method, status, end) in [
        ("HEAD", "200", "complete -"),
        ("GET", "304", "complete -"),
        ("GET", "200", "reset Reset"),
        ("GET", "503", "reset Reset"),
    ] {
        let mut world = World::new(&Settings::default());
        let socket = trusted();
        world.bytes(
            &socket,
            Received,
            &fastcgi_of(1, &[("REQUEST_METHOD", method), ("REQUEST_URI", "/a")], b""),
        );
        let head = record(6, 1, format!("Status: {status}\r\n\r\n").as_bytes());
        world.bytes(&socket, Sent, &head);
        world.state(&socket, TcpState::Established, TcpState::Close, 104);
        // A reset waits a moment for the call under way.
        world.tracer.tick(world.now_ns + 5 * MS, &mut world.spans);
        let lines = world.lines();
        assert!(lines[0].starts_with(&format!("server {method} /a {status} {end}")), "{lines:?}");
        assert_eq!((lines.len(), world.spans[0].http_version), (1, None));
    }
}

#[test]
fn a_front_server_that_is_not_trusted_says_nothing_of_its_client() {
    for bytes in [uwsgi(), fastcgi(1)] {
        let mut world = World::new(&Settings::default());
        world.bytes(&socket(1), Received, &bytes);
        world.tracer.drain(world.now_ns + MS, &mut world.spans);
        let span = &world.spans[0];
        assert_eq!(line(span), format!("server POST /users/{{id}} - probe_stopped - {}/0 0/-", bytes.len()));
        assert_eq!(span.client_addr.map(|ip| ip.to_string()).as_deref(), Some("192.0.2.9"));
        assert_eq!((span.scheme, span.host.as_str()), ("http", "shop.example"));
    }
}

#[test]
fn the_front_server_itself_is_a_client() {
    let mut world = World::new(&Settings::default());
    let socket = trusted();
    world.bytes(&socket, Sent, &uwsgi());
    world.bytes(&socket, Received, OK.as_bytes());
    world.state(&socket, TcpState::Established, TcpState::CloseWait, 0);
    world.state(&socket, TcpState::CloseWait, TcpState::LastAck, 0);
    world.state(&socket, TcpState::LastAck, TcpState::Close, 0);
    let lines = world.lines();
    assert!(lines[0].starts_with("client POST /users/{id} 201 complete"), "{lines:?}");
    assert_eq!((world.spans[0].client_addr, world.spans[0].scheme), (None, "http"));
}
