//! Requests meet their responses.

use model::Direction;
use trace::Settings;

use crate::conversation::Step::{Eof, Idles, Reads, State, Writes};
use crate::conversation::{Socket, Step, World, play, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn check(socket: &Socket, steps: &[Step<'_>], want: &[&str]) {
    let (lines, counts) = play(socket, steps);
    assert_eq!(lines, want, "{steps:?}");
    assert_eq!(counts.unpaired_responses, 0);
    assert_eq!(counts.bad_context_headers, 0);
}

#[test]
fn servers_and_clients() {
    check(&socket(1), &[Reads(GET), Writes(OK)], &["server GET /a 200 complete - 28/40 1/1"]);
    check(&socket(1), &[Writes(GET), Reads(OK)], &["client GET /a 200 complete - 28/40 1/1"]);
    check(
        &socket(1),
        &[Reads(GET), Idles(9), Writes(&OK[..30]), Idles(20), Writes(&OK[30..])],
        &["server GET /a 200 complete - 28/40 31/10"],
    );
    check(&socket(1).unix(), &[Reads(GET), Writes(OK)], &["server GET /a 200 complete - 28/40 1/1"]);
}

#[test]
fn one_after_the_other() {
    let again = ["server GET /a 200 complete - 28/40 1/1"; 3];
    check(
        &socket(1),
        &[Reads(GET), Writes(OK), Idles(60_000), Reads(GET), Writes(OK), Reads(GET), Writes(OK)],
        &again,
    );
}

#[test]
fn pipelined() {
    let three = ["/1x", "/2x", "/3x"].map(|path| GET.replace("/a", path)).concat();
    let (yes, no) = (OK, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let want = [
        "server GET /1x 200 complete - 29/40 1/1",
        "server GET /2x 404 complete - 29/45 2/2",
        "server GET /3x 200 complete - 29/40 3/3",
    ];
    check(&socket(1), &[Reads(&three), Writes(yes), Writes(no), Writes(yes)], &want);
    let all = [yes, no, yes].concat();
    let (lines, _) = play(&socket(1), &[Reads(&three), Writes(&all)]);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], "server GET /2x 404 complete - 29/45 1/1");
}

#[test]
fn heads_alone() {
    let head = GET.replace("GET", "HEAD");
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n";
    check(
        &socket(1),
        &[Reads(&head), Writes(sized), Reads(GET), Writes(OK)],
        &["server HEAD /a 200 complete - 29/40 1/1", "server GET /a 200 complete - 28/40 1/1"],
    );
    // The request is known before the first response byte, and also when the response parser already is.
    check(
        &socket(1),
        &[Reads(GET), Writes(OK), Reads(&head), Writes(sized)],
        &["server GET /a 200 complete - 28/40 1/1", "server HEAD /a 200 complete - 29/40 1/1"],
    );
}

#[test]
fn interim_responses_end_nothing() {
    let post = "POST /a HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    check(
        &socket(1),
        &[Reads(post), Writes(go_on), Reads("body"), Writes(OK)],
        &["server POST /a 200 complete - 65/40 3/3"],
    );
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    check(&socket(1), &[Writes(GET), Reads(hints), Reads(OK)], &["client GET /a 200 complete - 28/40 2/2"]);
}

#[test]
fn an_early_answer_does_not_disturb_the_next() {
    let post = "POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
    let large = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    check(
        &socket(1),
        &[Reads(post), Reads("12345"), Writes(large), Reads("67890"), Reads(GET), Writes(OK)],
        &["server POST /a 413 complete - 45/45 2/2", "server GET /a 200 complete - 28/40 1/1"],
    );
}

#[test]
fn chunked_and_streaming() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(
        &socket(1),
        &[Reads(GET), Writes(head), Idles(50), Writes("2\r\nhi\r\n"), Writes("0\r\n\r\n")],
        &["server GET /a 200 complete - 28/59 53/1"],
    );
}

#[test]
fn a_connection_that_goes_on_in_another_protocol() {
    let upgrade = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let connect = "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n";
    let tunnel = "HTTP/1.1 200 OK\r\n\r\n";
    for (request, response, want) in [
        (upgrade, switch, "server GET /ws 101 upgraded - 61/67 1/1"),
        (connect, tunnel, "server CONNECT 200 upgraded - 43/19 1/1"),
    ] {
        let mut world = World::new(&Settings::default());
        world.play(&socket(1), &[Reads(request), Writes(response), Reads("\u{1}\u{2}"), Writes("junk"), Eof]);
        assert_eq!(world.lines(), [want]);
        assert_eq!(world.tracer.let_go().count(), 1);
        assert_eq!(world.tracer.let_go().count(), 0);
        let counts = world.tracer.counts();
        assert_eq!((counts.upgraded, counts.not_http), (1, 0));
    }
    // A refused tunnel is an exchange like any other.
    let refused = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    check(
        &socket(1),
        &[Reads(connect), Writes(refused), Reads(GET), Writes(OK)],
        &["server CONNECT 403 complete - 43/38 1/1", "server GET /a 200 complete - 28/40 1/1"],
    );
}

#[test]
fn strangers_are_let_go() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Writes("\u{16}\u{3}\u{1}hello"), Reads("more")]);
    world.play(&socket(2), &[Reads("220 smtp ready\r\n")]);
    world.play(&socket(3), &[Reads("SSH-2.0-OpenSSH_9.2p1 Dbn\n")]);
    assert_eq!(world.tracer.let_go().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let counts = world.tracer.counts();
    assert_eq!((counts.connections, counts.not_http, counts.exchanges), (3, 3, 0));
    assert_eq!(counts.not_http_bytes, 8 + 4 + 16 + 26);
    world.play(&socket(1), &[State(model::TcpState::Close, 0)]);
    assert!(world.spans.is_empty());
}

#[test]
fn joined_midway() {
    let late = "server (joined late) 200 probe_joined_late - 0/40 0/-";
    let next = "server GET /a 200 complete - 28/40 1/1";
    check(&socket(1).midway(), &[Writes(OK), Reads(GET), Writes(OK)], &[late, next]);
    check(&socket(1).midway(), &[Reads("rest of a body"), Writes(OK), Reads(GET), Writes(OK)], &[late, next]);
    check(&socket(1).midway(), &[Reads(GET), Writes(OK)], &[next]);
    check(&socket(1).midway(), &[Writes("rest of a body"), Reads(GET), Writes(OK)], &[next]);
    check(
        &socket(1).midway(),
        &[Reads(OK), Writes(GET), Reads(OK)],
        &["client (joined late) 200 probe_joined_late - 0/40 0/-", "client GET /a 200 complete - 28/40 1/1"],
    );
    let failed = OK.replace("200", "500");
    check(
        &socket(1).midway(),
        &[Writes(&failed)],
        &["server (joined late) 500 probe_joined_late Status 0/40 0/-"],
    );
}

#[test]
fn what_a_request_says() {
    let mut world =
        World::new(&Settings { headers: vec!["X-A".into(), "Cookie".into()], ..Settings::default() });
    let request = "GET http://u:p@shop.example/c/7?token=x&q=1 HTTP/1.0\r\nHost: other\r\nUser-Agent: ua/1\r\n\
                   X-Forwarded-For: 1.1.1.1\r\nx-a: 1\r\nCookie: id=1\r\n\
                   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n";
    let server = socket(1).peer("127.0.0.1:5555");
    world.tracer.set_clock(model::WallClock::new(5_000));
    world.play(&server, &[Reads(request), Writes(response)]);
    let span = &world.spans[0];
    assert_eq!(span.host, "shop.example");
    assert_eq!(span.target.as_deref(), Some("/c/7?token=***&q=1"));
    assert_eq!((&*span.name, span.route.as_deref()), ("GET /c/{id}", Some("/c/{id}")));
    assert_eq!(span.user_agent.as_deref(), Some("ua/1"));
    assert_eq!(span.trace_state.as_deref(), Some("a=b"));
    assert_eq!(span.client_addr.map(|ip| ip.to_string()).as_deref(), Some("1.1.1.1"));
    assert_eq!(span.http_version.map(model::HttpVersion::as_str), Some("1.0"));
    assert_eq!((span.process.app_id.as_str(), span.process.pid, span.tid), ("shop", 100, 100));
    assert_eq!(span.start_unix_ns, span.start_ns + 5_000);
    assert_eq!((span.trace_id.0.len(), span.span_id.to_string().len()), (32, 16));
    assert_ne!(span.span_id.0, 0);
    let headers: Vec<_> = span.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(headers, ["request.x-a=1", "request.cookie=***", "response.x-a=2"]);
}

#[test]
fn hosts_without_a_header() {
    let bare = "GET / HTTP/1.0\r\n\r\n";
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(bare), Writes(OK)]);
    world.play(&socket(2), &[Writes(bare), Reads(OK)]);
    let hosts: Vec<_> = world.spans.iter().map(|span| span.host.as_str()).collect();
    assert_eq!(hosts, ["10.0.0.1:8000", "192.0.2.9:50000"]);
}

#[test]
fn long_things_are_cut() {
    let request = format!("GET /a?q={} HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(5000), "h".repeat(999));
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(&request), Writes(OK)]);
    let span = &world.spans[0];
    assert_eq!((span.target.as_ref().map(String::len), span.host.len()), (Some(2048), 256));
}

#[test]
fn heads_cut_off_by_the_copy() {
    let request = format!("GET /a HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(100));
    let mut world = World::new(&Settings::default());
    world.part(&socket(1), Direction::Received, request.as_bytes(), 9000);
    world.play(&socket(1), &[Writes(OK)]);
    assert_eq!(world.spans.len(), 1);
    assert_eq!(world.spans[0].request_bytes, 9000);
    assert_eq!(world.spans[0].host, "h");
}
