//! Records of a conversation are lost at random: no span says of one exchange what belongs to another. Every exchange
//! here has a name, an outcome, and a length of its own.

use model::{AttributeValue, Direction, End, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::{Socket, Step, World, socket};

/// What passes with one socket call.
type Record = Vec<u8>;

/// A protocol, as what is said in the n-th exchange, and how the answer is cut: `cut` is a number at random.
#[derive(Debug)]
struct Dialect {
    client: bool,
    /// What passes before the first exchange: the client's, the server's.
    opening: fn() -> Vec<(bool, Record)>,
    exchange: fn(n: usize, cut: usize) -> Exchange,
    /// The name and the outcome that a span tells.
    told: fn(&Span) -> (String, Option<String>),
}

#[derive(Debug)]
struct Exchange {
    name: String,
    outcome: String,
    asks: Vec<Record>,
    answers: Vec<Record>,
}

/// When an exchange really began and ended, and how long its answer was.
#[derive(Debug)]
struct Truth {
    name: String,
    outcome: String,
    start_ns: u64,
    end_ns: u64,
    answer_bytes: u64,
}

/// In up to four records.
fn cut_up(bytes: &[u8], cut: usize) -> Vec<Record> {
    let size = bytes.len().div_ceil(1 + cut % 4).max(1);
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

const HTTP: Dialect = Dialect {
    client: false,
    opening: Vec::new,
    exchange: |n, cut| {
        let body = "x".repeat(10 * n + cut % 900);
        let status = 210 + n;
        let answer = match cut % 3 {
            0 => format!("HTTP/1.1 {status} Ok\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            1 => {
                let chunks = format!("{:x}\r\n{body}x\r\n", body.len() + 1).repeat(1 + cut % 5);
                format!("HTTP/1.1 {status} Ok\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
            }
            _ => format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {status} Ok\r\nContent-Length: 0\r\nN: {body}\r\n\r\n"
            ),
        };
        let ask = match cut % 2 {
            0 => format!("GET /x{n} HTTP/1.1\r\nHost: h\r\n\r\n"),
            _ => format!("POST /x{n} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        };
        Exchange {
            name: format!("/x{n}"),
            outcome: status.to_string(),
            asks: cut_up(ask.as_bytes(), cut / 7),
            answers: cut_up(answer.as_bytes(), cut / 3),
        }
    },
    told: |span| (span.target.clone().unwrap_or_default(), span.status.map(|status| status.to_string())),
};

fn error_type(span: &Span) -> Option<String> {
    span.attribute("error.type").and_then(AttributeValue::as_text).map(str::to_owned)
}

/// A number as letters.
fn word(n: usize) -> String {
    format!("{n:03}").bytes().map(|digit| char::from(digit - b'0' + b'A')).collect()
}

const REDIS: Dialect = Dialect {
    client: true,
    opening: Vec::new,
    exchange: |n, cut| {
        let (name, body) = (word(n), "x".repeat(10 * n + cut % 900));
        let ask = format!("*2\r\n$3\r\n{name}\r\n${}\r\n{body}\r\n", body.len());
        let answer = match cut % 2 {
            0 => format!("-{name} no\r\n"),
            _ => format!("*3\r\n${}\r\n{body}\r\n:1\r\n-{name} no\r\n", body.len()),
        };
        Exchange {
            asks: cut_up(ask.as_bytes(), cut / 7),
            answers: cut_up(answer.as_bytes(), cut / 3),
            outcome: name.clone(),
            name,
        }
    },
    told: |span| (span.name.to_string(), error_type(span)),
};

fn postgresql(kind: u8, payload: &[u8]) -> Record {
    [&[kind], &(payload.len() as u32 + 4).to_be_bytes()[..], payload].concat()
}

const POSTGRESQL: Dialect = Dialect {
    client: true,
    opening: || {
        let startup = b"\0\x03\0\0user\0app\0\0";
        let startup = [&(startup.len() as u32 + 4).to_be_bytes()[..], startup].concat();
        let welcome = [postgresql(b'R', &[0; 4]), postgresql(b'Z', b"I")].concat();
        vec![(true, startup), (false, welcome)]
    },
    exchange: |n, cut| {
        let rows = postgresql(b'D', "x".repeat(10 * n + cut % 900).as_bytes()).repeat(cut % 4);
        let failure = postgresql(b'E', format!("SERROR\0VERROR\0CT0{n:03}\0\0").as_bytes());
        let answer = [postgresql(b'T', b"\0\0"), rows, failure, postgresql(b'Z', b"I")].concat();
        Exchange {
            name: format!("SELECT t{n}"),
            outcome: format!("T0{n:03}"),
            asks: cut_up(&postgresql(b'Q', format!("SELECT a FROM t{n}\0").as_bytes()), cut / 7),
            answers: cut_up(&answer, cut / 3),
        }
    },
    told: |span| (span.name.to_string(), error_type(span)),
};

fn mysql(sequence: u8, payload: &[u8]) -> Record {
    [&(payload.len() as u32).to_le_bytes()[..3], &[sequence], payload].concat()
}

const MYSQL: Dialect = Dialect {
    client: true,
    opening: || {
        let greeting = b"\x0a8.4.3\0\x07\0\0\x0012345678\0\x08\xa2\x2d\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\x00123456789012\0";
        let login = [&[0x08, 0xa2, 0x08, 0][..], &[0; 28], b"app\0\0shop\0"].concat();
        vec![(false, mysql(0, greeting)), (true, mysql(1, &login)), (false, mysql(2, &[0, 0, 0, 2, 0, 0, 0]))]
    },
    exchange: |n, cut| {
        let failure = [&[0xff][..], &(1000 + n as u16).to_le_bytes(), b"#42S02no"].concat();
        let answer = if cut % 2 == 0 {
            mysql(1, &failure)
        } else {
            let row = vec![b'x'; 1 + 10 * n + cut % 900];
            let column = mysql(2, b"\x03def\0\0\0\x02id\0\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0");
            let eof = mysql(3, &[0xfe, 0, 0, 2, 0]);
            [mysql(1, &[1]), column, eof, mysql(4, &row), mysql(5, &failure)].concat()
        };
        Exchange {
            name: format!("SELECT t{n}"),
            outcome: (1000 + n).to_string(),
            asks: cut_up(&mysql(0, format!("\x03SELECT a FROM t{n}").as_bytes()), cut / 7),
            answers: cut_up(&answer, cut / 3),
        }
    },
    told: |span| (span.name.to_string(), error_type(span)),
};

fn frame(kind: u8, flags: u8, stream: usize, payload: &[u8]) -> Record {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &(stream as u32).to_be_bytes(), payload].concat()
}

/// A field that is not indexed.
fn field(name: &str, value: &str) -> Record {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

const HTTP2: Dialect = Dialect {
    client: false,
    opening: || {
        let settings = frame(4, 0, 0, b"");
        vec![(true, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat()), (false, settings)]
    },
    exchange: |n, cut| {
        let (stream, body) = (2 * n + 1, vec![b'x'; 1 + 10 * n + cut % 900]);
        let ask = [field(":method", "GET"), field(":path", &format!("/x{n}"))].concat();
        let answer = frame(1, 4, stream, &field(":status", &(210 + n).to_string()));
        let answer = [answer, frame(0, 0, stream, &body), frame(0, 1, stream, &body)].concat();
        Exchange {
            name: format!("/x{n}"),
            outcome: (210 + n).to_string(),
            asks: cut_up(&frame(1, 5, stream, &ask), cut / 7),
            answers: cut_up(&answer, cut / 3),
        }
    },
    told: HTTP.told,
};

/// A record of the only request at a time.
fn fastcgi(kind: u8, content: &[u8]) -> Record {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

const FASTCGI: Dialect = Dialect {
    client: false,
    opening: Vec::new,
    exchange: |n, cut| {
        let (status, body) = (210 + n, "x".repeat(10 * n + cut % 900));
        let variable = |name: &str, value: &str| {
            [&[name.len() as u8, value.len() as u8], name.as_bytes(), value.as_bytes()].concat()
        };
        let variables = [
            variable("REQUEST_METHOD", "GET"),
            variable("REQUEST_URI", &format!("/x{n}")),
            variable("SERVER_PROTOCOL", "HTTP/1.1"),
        ];
        let begin = fastcgi(1, &[0, 1, 1, 0, 0, 0, 0, 0]);
        let ask = [begin, fastcgi(4, &variables.concat()), fastcgi(4, b""), fastcgi(5, b"")].concat();
        let answer = format!("Status: {status} Ok\r\nContent-Type: text/plain\r\n\r\n{body}");
        let answer = [fastcgi(6, answer.as_bytes()), fastcgi(6, b""), fastcgi(3, &[0; 8])].concat();
        Exchange {
            name: format!("/x{n}"),
            outcome: status.to_string(),
            asks: cut_up(&ask, cut / 7),
            answers: cut_up(&answer, cut / 3),
        }
    },
    told: HTTP.told,
};

/// Passes a record, or loses it.
fn pass(world: &mut World, socket: &Socket, direction: Direction, bytes: &[u8], lost: bool) {
    if lost {
        world.now_ns += crate::conversation::MS;
        world.play(socket, &[Step::Loses(direction, bytes.len() as u64)]);
    } else {
        world.bytes(socket, direction, bytes);
    }
}

/// Exchanges one after the other, with some records lost.
fn check(dialect: &Dialect, cuts: &[usize], losses: &[bool]) -> Result<(), TestCaseError> {
    let mut world = World::new(&Settings::default());
    let socket = socket(1);
    let direction = |asks: bool| if asks == dialect.client { Direction::Sent } else { Direction::Received };
    for (asks, record) in (dialect.opening)() {
        pass(&mut world, &socket, direction(asks), &record, false);
    }
    let mut losses = losses.iter().copied().chain(std::iter::repeat(false));
    let mut truths = Vec::new();
    for (n, cut) in cuts.iter().enumerate() {
        let Exchange { name, outcome, asks, answers } = (dialect.exchange)(n, *cut);
        let answer_bytes = answers.iter().map(Vec::len).sum::<usize>() as u64;
        let start_ns = world.now_ns + crate::conversation::MS;
        for (asking, record) in
            asks.iter().map(|record| (true, record)).chain(answers.iter().map(|record| (false, record)))
        {
            let lost = losses.next().unwrap_or(false);
            pass(&mut world, &socket, direction(asking), record, lost);
        }
        truths.push(Truth { name, outcome, start_ns, end_ns: world.now_ns, answer_bytes });
    }
    world.tracer.drain(world.now_ns, &mut world.spans);
    for span in &world.spans {
        let (name, outcome) = (dialect.told)(span);
        // A command whose end was lost may be known by less than its name.
        let Some(truth) = truths.iter().find(|truth| truth.name == name) else { continue };
        let (start_ns, end_ns) = (span.start_ns, span.start_ns + span.duration_ns);
        // A code that was lost is said to be another than those that there are.
        let is_right = |told: &String| *told == truth.outcome || told == "_OTHER";
        prop_assert!(outcome.as_ref().is_none_or(is_right), "{span:?}\nis {truth:?}");
        prop_assert!(start_ns >= truth.start_ns, "{span:?}\nis {truth:?}");
        if span.end == End::Complete {
            prop_assert!(end_ns <= truth.end_ns, "{span:?}\nis {truth:?}");
            // What says nothing of an error of a database says that there was none.
            prop_assert!(outcome.is_some() || !dialect.client, "{span:?}\nis {truth:?}");
            // An interim response is no part of it.
            let least = if dialect.client { truth.answer_bytes } else { truth.answer_bytes - 25 };
            prop_assert!(
                (least..=truth.answer_bytes).contains(&span.response_bytes),
                "{span:?}\nis {truth:?}"
            );
        }
    }
    Ok(())
}

fn losses() -> impl Strategy<Value = Vec<bool>> {
    // In runs, as a ring that is full loses them.
    vec((0..6_usize, 0..12_usize), 0..8).prop_map(|runs| {
        runs.into_iter().flat_map(|(lost, kept)| [vec![true; lost], vec![false; kept]].concat()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn http(cuts in vec(0..10_000_usize, 1..12), losses in losses()) {
        check(&HTTP, &cuts, &losses)?;
    }

    #[test]
    fn http2(cuts in vec(0..10_000_usize, 1..12), losses in losses()) {
        check(&HTTP2, &cuts, &losses)?;
    }

    #[test]
    fn from_a_front_server(cuts in vec(0..10_000_usize, 1..12), losses in losses()) {
        check(&FASTCGI, &cuts, &losses)?;
    }

    #[test]
    fn redis(cuts in vec(0..10_000_usize, 1..12), losses in losses()) {
        check(&REDIS, &cuts, &losses)?;
    }

    #[test]
    fn from_postgresql(cuts in vec(0..10_000_usize, 1..12), losses in losses()) {
        check(&POSTGRESQL, &cuts, &losses)?;
    }

    #[test]
    fn from_mysql(cuts in vec(0..10_000_usize, 1..12), losses in losses()) {
        check(&MYSQL, &cuts, &losses)?;
    }
}
