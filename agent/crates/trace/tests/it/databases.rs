//! Databases that a watched process asks: client spans with a parent, an end that was seen, and nothing secret.

use model::{AttributeValue, Direction, Span, TcpState};
use trace::Settings;

use crate::conversation::{Socket, Step, World, play, socket};

fn redis(id: u64) -> Socket {
    socket(id).peer("10.0.0.5:6379")
}

/// The attributes as `name=value`, in the order of their names.
fn attributes(span: &Span) -> Vec<String> {
    let mut all: Vec<String> =
        span.attributes.iter().map(|attribute| format!("{}={}", attribute.name, attribute.value)).collect();
    all.sort();
    all
}

#[test]
fn commands_are_client_spans() {
    let (lines, counts) = play(
        &redis(1),
        &[
            Step::Writes("*2\r\n$3\r\nGET\r\n$6\r\nuser:1\r\n"),
            Step::Idles(4),
            Step::Reads("$7\r\nhun"),
            Step::Reads("ter2\r\n"),
            Step::Writes("*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n"),
            Step::Reads(":1\r\n-ERR value is not an integer\r\n"),
            Step::Writes("*2\r\n$5\r\nBLPOP\r\n$1\r\na\r\n"),
            Step::State(TcpState::CloseWait, 0),
            Step::State(TcpState::Close, 0),
        ],
    );
    assert_eq!(
        lines,
        [
            "client GET - complete - 25/13 6/5",
            "client PIPELINE INCR - complete Answer 42/34 1/1",
            "client BLPOP - server_closed Incomplete 22/0 0/-",
        ]
    );
    assert_eq!((counts.exchanges, counts.not_http, counts.gaps), (3, 0, 0));
}

#[test]
fn what_is_said_of_a_command() {
    for (statements, text) in [(false, None), (true, Some("db.query.text=SET user:1 ?"))] {
        let mut world = World::new(&Settings { database_statements: statements, ..Settings::default() });
        world.play(
            &redis(1),
            &[
                Step::Writes("*3\r\n$3\r\nSET\r\n$6\r\nuser:1\r\n$7\r\nhunter2\r\n"),
                Step::Reads("-WRONGTYPE hunter2\r\n"),
            ],
        );
        let mut want = vec![
            "db.namespace=0",
            "db.operation.name=SET",
            "db.response.status_code=WRONGTYPE",
            "db.system.name=redis",
            "error.type=WRONGTYPE",
        ];
        if let Some(text) = text {
            want.insert(2, text);
        }
        assert_eq!(attributes(&world.spans[0]), want);
        assert_eq!(world.spans[0].host, "10.0.0.5:6379");
        assert_eq!(world.spans[0].error().as_deref(), Some("redis error WRONGTYPE"));
    }
}

#[test]
fn a_query_belongs_to_the_request_of_its_thread() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Step::Reads("GET /orders HTTP/1.1\r\nHost: a\r\n\r\n")]);
    let database = socket(2).peer("10.0.0.5:5432");
    let startup = b"\0\0\0\x19\0\x03\0\0user\0app\0database\0shop\0\0";
    let mut startup = startup.to_vec();
    startup[3] = startup.len() as u8;
    world.bytes(&database, Direction::Sent, &startup);
    world.bytes(&database, Direction::Received, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    world.bytes(&database, Direction::Sent, b"Q\0\0\0\x20SELECT 'x', 1 FROM orders o\0");
    world.bytes(&database, Direction::Received, b"E\0\0\0\x0fC42P01\0\0\0\0\0Z\0\0\0\x05I");
    world.play(&socket(1), &[Step::Writes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let [query, request] = &world.spans[..] else { panic!("{:?}", world.lines()) };
    assert_eq!((&*query.name, &*request.name), ("SELECT orders", "GET /orders"));
    assert_eq!(query.parent.as_ref().unwrap().span_id.to_string(), request.span_id.to_string());
    assert_eq!(query.attribute("db.namespace"), Some(&AttributeValue::from("shop")));
    assert_eq!(query.attribute("error.type"), Some(&AttributeValue::from("42P01")));
}

#[test]
fn a_command_that_may_be_many_things_waits_for_its_answer() {
    let memcached = socket(1).peer("10.0.0.5:2222");
    let (lines, counts) = play(
        &memcached,
        &[Step::Writes("get user:1\r\n"), Step::Reads("END\r\n"), Step::Writes("get b\r\n")],
    );
    assert_eq!(lines, ["client get - complete - 12/5 1/1"]);
    assert_eq!(counts.not_http, 0);
    // Another protocol's answer.
    let (lines, counts) = play(&memcached, &[Step::Writes("stats\r\n"), Step::Reads("500 what?\r\n")]);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!((counts.not_http, counts.exchanges), (1, 0));
    // Nothing of a server that is watched itself.
    let (lines, counts) = play(&socket(1), &[Step::Reads("*1\r\n$4\r\nPING\r\n"), Step::Writes("+PONG\r\n")]);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(counts.not_http, 1);
}

#[test]
fn what_is_not_read_is_let_go_and_counted() {
    let mut world = World::new(&Settings::default());
    let mut binary = [0; 24];
    binary[0] = 0x80;
    world.bytes(&socket(2), Direction::Sent, &binary);
    let counts = world.tracer.counts();
    assert_eq!((counts.unsupported_databases, counts.upgraded), (1, 1));
    assert_eq!(world.tracer.let_go().count(), 1);
    assert!(world.spans.is_empty());
}

#[test]
fn answers_that_were_lost_end_nothing_falsely() {
    let (lines, counts) = play(
        &redis(1),
        &[
            Step::Writes("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
            Step::Loses(Direction::Received, 10),
            Step::Reads("abc\r\n"),
            Step::Writes("*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"),
            Step::Reads("$-1\r\n"),
        ],
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("client GET - complete - 20/5"), "{lines:?}");
    assert_eq!((counts.gaps, counts.gap_bytes, counts.lost_framings), (1, 10, 1));
}
