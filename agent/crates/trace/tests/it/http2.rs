//! HTTP/2 and gRPC: streams become exchanges, whatever happens beside them.

use model::{Direction, End, Identity, ParentKind, Protocol, Span, TcpState};
use trace::{Counts, Settings};

use crate::conversation::{MS, Socket, Step, World, line, socket, task};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
pub const OK: &[u8] = b"\x88";

/// Something on the connection of a server.
pub enum On {
    In(Vec<u8>),
    Out(Vec<u8>),
    Step(Step<'static>),
}
pub use On::{In, Out};

pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
}

pub fn headers(stream: u8, end: bool, block: &[u8]) -> Vec<u8> {
    frame(1, 0x4 | u8::from(end), stream, block)
}

pub fn data(stream: u8, end: bool, content: &[u8]) -> Vec<u8> {
    frame(0, u8::from(end), stream, content)
}

/// A literal that is not indexed.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// `:method: GET`, `:scheme: http` and this path.
pub fn get(path: &str) -> Vec<u8> {
    [&[0x82, 0x86][..], &field(":path", path), &field(":authority", "shop.example")].concat()
}

pub fn call(path: &str) -> Vec<u8> {
    let kind = field("content-type", "application/grpc");
    [&[0x83, 0x86][..], &field(":path", path), &kind].concat()
}

pub fn play(socket: &Socket, steps: Vec<On>) -> (Vec<Span>, Counts) {
    let mut world = World::new(&Settings::default());
    for step in steps {
        match step {
            In(bytes) => world.bytes(socket, Direction::Received, &bytes),
            Out(bytes) => world.bytes(socket, Direction::Sent, &bytes),
            On::Step(step) => world.play(socket, &[step]),
        }
    }
    let counts = world.tracer.counts().clone();
    world.tracer.drain(world.now_ns, &mut world.spans);
    let after = world.tracer.counts();
    assert_eq!(after.exchanges, after.spans + after.excluded + after.disabled);
    (world.spans, counts)
}

pub fn begun(steps: Vec<On>) -> Vec<On> {
    [In(PREFACE.to_vec()), Out(SETTINGS.to_vec())].into_iter().chain(steps).collect()
}

fn check(steps: Vec<On>, want: &[&str]) -> Vec<Span> {
    let (spans, _) = play(&socket(1), begun(steps));
    assert_eq!(spans.iter().map(line).collect::<Vec<_>>(), want);
    spans
}

#[test]
fn streams_at_once() {
    let spans = check(
        vec![
            In([headers(1, true, &get("/a")), headers(3, false, &get("/b"))].concat()),
            In(data(3, true, b"body")),
            Out(headers(3, false, &[0x89])),
            Out(headers(1, false, OK)),
            Out([data(1, false, b"one"), data(3, true, b""), data(1, true, b"two")].concat()),
        ],
        &["server GET /b 204 complete - 59/19 4/2", "server GET /a 200 complete - 46/34 4/3"],
    );
    let span = &spans[1];
    assert_eq!((span.protocol, span.scheme, &*span.host), (Protocol::Http2, "http", "shop.example"));
    assert_eq!((span.http_version.unwrap().as_str(), span.target.as_deref()), ("2", Some("/a")));
    assert!(crate::conversation::attributes(span).next().is_none());
}

#[test]
fn interim_answers_and_trailers() {
    check(
        vec![
            In(headers(1, false, &get("/a"))),
            Out(headers(1, false, &field(":status", "100"))),
            In([data(1, false, b"body"), headers(1, true, &field("x-sum", "1"))].concat()),
            Out(headers(1, false, OK)),
            Out(data(1, false, b"hi")),
            Out(headers(1, true, &field("x-sum", "2"))),
        ],
        &["server GET /a 200 complete - 77/39 5/3"],
    );
}

#[test]
fn how_streams_end() {
    let request = |stream| In(headers(stream, true, &get("/a")));
    let cancel = || frame(3, 0, 1, &8_u32.to_be_bytes());
    let spans = check(
        vec![request(1), Out(headers(1, false, OK)), In(cancel()), Out(data(1, true, b"late"))],
        &["server GET /a 200 client_closed Incomplete 46/10 2/1"],
    );
    assert_eq!(spans[0].attribute("error.type").unwrap().as_text(), Some("CANCEL"));
    check(vec![request(1), Out(cancel())], &["server GET /a - server_closed Incomplete 46/0 1/-"]);
    // A stream that is given up when the answer is complete was answered.
    check(
        vec![request(1), Out([headers(1, true, OK), frame(3, 0, 1, &[0; 4])].concat())],
        &["server GET /a 200 complete - 46/10 1/1"],
    );
    let spans = check(
        vec![
            request(1),
            request(3),
            Out(frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])),
            Out(headers(1, true, OK)),
        ],
        &["server GET /a - server_closed Incomplete 46/0 1/-", "server GET /a 200 complete - 46/10 3/3"],
    );
    assert_eq!(spans[0].attribute("error.type").unwrap().as_text(), Some("GOAWAY"));
    assert_eq!(spans[1].attribute("error.type"), None);
    check(
        vec![
            request(1),
            On::Step(Step::State(TcpState::CloseWait, 0)),
            On::Step(Step::State(TcpState::Close, 0)),
        ],
        &["server GET /a - client_closed Incomplete 46/0 0/-"],
    );
    check(
        vec![request(1), request(3), On::Step(Step::State(TcpState::Close, 104))],
        &["server GET /a - reset Reset 46/0 0/-", "server GET /a - reset Reset 46/0 0/-"],
    );
}

#[test]
fn a_client_that_has_all_that_the_head_told_has_its_answer() {
    let run = |length: &str, leaves: Vec<On>| {
        let head = [OK, &field("content-length", length)].concat();
        let mut steps = vec![
            In(headers(1, true, &get("/a"))),
            Out([headers(1, false, &head), data(1, false, b"abc")].concat()),
            On::Step(Step::Idles(7)),
        ];
        steps.extend(leaves);
        let (spans, _) = play(&socket(1), begun(steps));
        let ends: Vec<_> = spans.iter().map(|span| (span.end, span.duration_ns / MS)).collect();
        assert_eq!(ends.len(), 1);
        ends[0]
    };
    let reset = |code: u32| vec![In(frame(3, 0, 1, &code.to_be_bytes())), Out(data(1, true, b""))];
    for code in [0, 5, 8] {
        assert_eq!(run("3", reset(code)), (End::Complete, 1), "{code}");
        assert_eq!(run("4", reset(code)), (End::ClientClosed, 9), "{code}");
        assert_eq!(run("?", reset(code)), (End::ClientClosed, 9), "{code}");
    }
    assert_eq!(run("3", reset(1)).0, End::ClientClosed);
    let closes = || {
        [TcpState::CloseWait, TcpState::Close]
            .map(|state| On::Step(Step::State(state, 0)))
            .into_iter()
            .collect()
    };
    assert_eq!(run("3", closes()), (End::Complete, 1));
    assert_eq!(run("4", closes()), (End::ClientClosed, 1));
    // The server has gone: whether it would have said more is not known.
    assert_eq!(run("3", vec![On::Step(Step::Exits)]).0, End::ProcessExited);
}

#[test]
fn grpc_calls() {
    let message = b"\0\0\0\0\x02hi";
    let unary = |status: &str| {
        vec![
            In([headers(1, false, &call("/shop.Cart/Add")), data(1, true, message)].concat()),
            Out([
                headers(1, false, OK),
                data(1, false, message),
                headers(1, true, &field("grpc-status", status)),
            ]
            .concat()),
        ]
    };
    let spans = check(unary("0"), &["server shop.Cart/Add 200 complete - 80/50 1/1"]);
    let span = &spans[0];
    assert_eq!((span.protocol, span.route.as_deref()), (Protocol::Grpc, Some("/shop.Cart/Add")));
    let shown: Vec<_> = crate::conversation::attributes(span)
        .map(|attribute| format!("{}={}", attribute.name, attribute.value))
        .collect();
    assert_eq!(
        shown,
        [
            "rpc.system=grpc",
            "rpc.service=shop.Cart",
            "rpc.method=Add",
            "rpc.requests_per_rpc=1",
            "rpc.responses_per_rpc=1",
            "rpc.grpc.status_code=0",
        ]
    );
    let spans = check(unary("13"), &["server shop.Cart/Add 200 complete Answer 80/51 1/1"]);
    assert_eq!(spans[0].error().as_deref(), Some("grpc error INTERNAL"));
    check(unary("5"), &["server shop.Cart/Add 200 complete - 80/50 1/1"]);
    // Trailers only, and many messages.
    let trailers_only =
        [OK, &field("content-type", "application/grpc"), &field("grpc-status", "12")].concat();
    let spans = check(
        vec![
            In(headers(1, false, &call("/shop.Cart/Watch"))),
            In([data(1, false, message), data(1, false, &message[..3]), data(1, true, &message[3..])]
                .concat()),
            Out(headers(1, true, &trailers_only)),
        ],
        &["server shop.Cart/Watch 200 complete Answer 107/57 2/2"],
    );
    assert_eq!(spans[0].attribute("rpc.requests_per_rpc").unwrap().to_string(), "2");
    assert_eq!(spans[0].attribute("rpc.responses_per_rpc").unwrap().to_string(), "0");
}

#[test]
fn an_upgrade_in_clear_text() {
    let request = "GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let steps = vec![
        On::Step(Step::Reads(request)),
        Out([switch.as_bytes(), SETTINGS, &headers(1, false, OK)].concat()),
        In([PREFACE, &headers(3, true, &get("/b"))].concat()),
        Out([data(1, true, b"hello"), headers(3, true, OK)].concat()),
    ];
    let (spans, counts) = play(&socket(1), steps);
    let lines: Vec<_> = spans.iter().map(line).collect();
    assert_eq!(lines, ["server GET /a 200 complete - 68/24 3/1", "server GET /b 200 complete - 46/10 1/1"]);
    assert_eq!(spans[0].http_version.unwrap().as_str(), "2");
    assert_eq!((counts.upgraded, counts.lost_framings), (0, 0));
}

#[test]
fn joined_midway() {
    // An entry from before stands for the path.
    let hidden = [0x82, 0x86, 0xbe];
    let steps = vec![
        Out(b"the rest of something".to_vec()),
        Out(headers(1, true, OK)),
        In(headers(5, true, &hidden)),
        Out(headers(3, true, &[0x8d])),
        Out(headers(5, true, OK)),
        In(headers(7, true, &get("/c"))),
        Out(headers(7, true, OK)),
    ];
    let (spans, counts) = play(&socket(1).midway(), steps);
    let lines: Vec<_> = spans.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "server (joined late) 200 probe_joined_late - 0/10 0/-",
            "server (joined late) 404 probe_joined_late - 0/10 0/-",
            "server GET 200 complete - 12/10 2/2",
            "server GET /c 200 complete - 46/10 1/1",
        ]
    );
    assert_eq!((spans[2].target.as_deref(), spans[2].route.as_deref()), (None, None));
    assert_eq!(spans[2].attribute("http.request.unknown_fields").unwrap().to_string(), "1");
    assert!(crate::conversation::attributes(&spans[3]).next().is_none());
    assert_eq!((counts.joined_late, counts.unpaired_responses), (2, 0));
}

#[test]
fn after_a_loss_nothing_is_put_together() {
    let lost = |direction| On::Step(Step::Loses(direction, 50));
    let request = |stream| In(headers(stream, true, &get("/a")));
    let (spans, counts) = play(
        &socket(1),
        begun(vec![
            request(1),
            lost(Direction::Sent),
            Out(headers(1, true, OK)),
            request(3),
            Out(headers(3, true, OK)),
            lost(Direction::Received),
            request(9),
            Out([headers(7, true, OK), headers(9, true, OK)].concat()),
        ]),
    );
    let lines: Vec<_> = spans.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "server GET /a - probe_lost - 46/0 0/-",
            "server GET /a 200 complete - 46/10 1/1",
            "server GET /a 200 complete - 46/10 1/1",
        ]
    );
    assert_eq!((counts.lost_framings, counts.gaps, counts.unpaired_responses), (2, 2, 2));
}

#[test]
fn a_call_is_the_child_of_what_its_thread_serves() {
    let mut world = World::new(&Settings::default());
    let (serving, asking) = (socket(1), socket(2).peer("192.0.2.1:80"));
    let bytes =
        |world: &mut World, socket: &Socket, direction, bytes: &[u8]| world.bytes(socket, direction, bytes);
    bytes(&mut world, &serving, Direction::Received, &[PREFACE, &headers(1, true, &get("/a"))].concat());
    bytes(&mut world, &asking, Direction::Sent, &[PREFACE, &headers(1, true, &get("/one"))].concat());
    // Two in one call: another thread's may be among them.
    let two = [headers(3, true, &get("/two")), headers(5, true, &get("/three"))].concat();
    bytes(&mut world, &asking, Direction::Sent, &two);
    let answers = [SETTINGS, &headers(1, true, OK), &headers(3, true, OK), &headers(5, true, OK)].concat();
    bytes(&mut world, &asking, Direction::Received, &answers);
    bytes(&mut world, &serving, Direction::Sent, &[SETTINGS, &headers(1, true, OK)].concat());
    let [one, two, three, parent] = &world.spans[..] else { panic!("{:?}", world.lines()) };
    let named = one.parent.as_ref().unwrap();
    assert_eq!((&*named.span_id, named.kind), (parent.span_id.to_string().as_str(), ParentKind::Thread));
    assert!(two.parent.is_none() && three.parent.is_none());
    assert!(two.trace_id != parent.trace_id && three.trace_id != parent.trace_id);
}

/// C-core writes the calls of all threads from any of them.
#[test]
fn better_no_parent_than_that_of_another_thread() {
    let agent = field("user-agent", "grpc-python/1.85.3 grpc-c/55.0.0 (linux; chttp2)");
    let call = headers(1, true, &[call("/a.B/C"), agent].concat());
    for (others, want) in [(false, true), (true, false)] {
        let mut world = World::new(&Settings::default());
        world.bytes(&socket(1), Direction::Received, &[PREFACE, &headers(1, true, &get("/a"))].concat());
        if others {
            let other = socket(2).tid(101);
            world.bytes(&other, Direction::Received, &[PREFACE, &headers(1, true, &get("/b"))].concat());
        }
        world.bytes(&socket(3), Direction::Sent, &[PREFACE, &call].concat());
        world.bytes(&socket(3), Direction::Received, &[SETTINGS, &headers(1, true, OK)].concat());
        assert_eq!(world.spans[0].parent.is_some(), want);
    }
}

#[test]
fn whole_calls_are_asked_for_once() {
    let mut world = World::new(&Settings::default());
    world.bytes(&socket(1), Direction::Received, PREFACE);
    world.play(&socket(2), &[Step::Reads("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")]);
    let whole = |world: &mut World| world.tracer.whole().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(whole(&mut world), [1]);
    world.bytes(&socket(1), Direction::Received, &headers(1, true, &get("/a")));
    assert!(whole(&mut world).is_empty());
}

#[test]
fn too_many_at_once_are_counted() {
    let mut steps = vec![];
    for stream in (1..=8_193_u32).step_by(2) {
        let mut bytes = headers(0, true, &[0x82, 0x86, 0x84]);
        bytes[5..9].copy_from_slice(&stream.to_be_bytes());
        steps.push(In(bytes));
    }
    let (spans, counts) = play(&socket(1), begun(steps));
    assert_eq!((spans.len(), counts.overrun_requests, counts.overrun_connections), (4096, 1, 0));
}

/// On one connection, read by one task: each request is answered by the task that has called for it.
#[test]
fn calls_of_tasks_belong_to_the_stream_that_they_answer() {
    let mut world = World::new(&Settings::default()).see_copies();
    let reader = socket(1).by(Identity::Task(0x1000));
    let asked = [headers(1, true, &get("/a")), headers(3, true, &get("/b"))].concat();
    world.bytes(&reader, Direction::Received, &[PREFACE, &asked].concat());
    world.bytes(&reader, Direction::Sent, SETTINGS);
    for (context, path, stream) in [(0xa0, "/of-a", 1_u8), (0xb0, "/of-b", 3)] {
        let call = u64::from(stream) + 10;
        world.play(&task(call, context), &[Step::Writes(&crate::conversation::get(path))]);
        let loop_reads = socket(call).by(Identity::Task(0x2000 + call));
        world.play(&loop_reads, &[Step::Reads("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    }
    let answer = [&[0x88][..], &field("content-length", "0")].concat();
    for (context, stream) in [(0xb0, 3), (0xa0, 1)] {
        let sender = socket(1).by(Identity::Task(context));
        world.bytes(&sender, Direction::Sent, &headers(stream, true, &answer));
    }
    let of = |path: &str| world.spans.iter().find(|span| span.target.as_deref() == Some(path)).unwrap();
    for (call, request) in [("/of-a", "/a"), ("/of-b", "/b")] {
        let parent = of(call).parent.as_ref().map(|parent| (parent.kind, parent.span_id.to_string()));
        assert_eq!(parent, Some((ParentKind::Context, of(request).span_id.to_string())), "{call}");
    }
}
