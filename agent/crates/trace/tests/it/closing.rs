//! How exchanges end when connections do.

use model::Direction::{Received, Sent};
use model::TcpState::{Close, CloseWait, FinWait1, LastAck};

use crate::conversation::Step::{Eof, Exits, Fails, Idles, Reads, State, Writes};
use crate::conversation::{Step, World, play, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi";
const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\nhi";

const RESET: i32 = 104;
const PIPE: i32 = 32;
const TIMED_OUT: i32 = 110;
const NO_NETWORK: i32 = 101;
const ABORTED: i32 = 103;
const NO_ROUTE: i32 = 113;

#[test]
fn servers() {
    let table: &[(&[Step<'_>], &[&str])] = &[
        // Nothing open: nothing said.
        (&[Reads(GET), Writes(OK), Eof, State(LastAck, 0), State(Close, 0)], &["200 complete - 28/40 1/1"]),
        (&[Reads(GET), Writes(OK), State(Close, RESET)], &["200 complete - 28/40 1/1"]),
        (&[Reads("GET /half HT"), Eof, State(LastAck, 0), State(Close, 0)], &[]),
        // A response that lasts until the close is as long as its last byte.
        (&[Reads(GET), Writes(OPEN), Idles(500), State(FinWait1, 0)], &["200 complete - 28/21 1/1"]),
        (
            &[Reads(GET), Writes(OPEN), Writes("more"), Idles(9), State(Close, 0)],
            &["200 complete - 28/25 2/1"],
        ),
        (&[Reads(GET), Writes(OPEN), State(Close, RESET)], &["200 reset Reset 28/21 1/1"]),
        // A client that has closed its sending side still gets its answer.
        (&[Reads(GET), Eof, Writes(OK), State(LastAck, 0)], &["200 complete - 28/40 2/2"]),
        (
            &[Reads(GET), State(CloseWait, 0), Eof, Writes(OPEN), State(LastAck, 0)],
            &["200 complete - 28/21 3/3"],
        ),
        // Who closed first.
        (&[Reads(GET), Idles(70), State(FinWait1, 0)], &["- server_closed Incomplete 28/0 0/-"]),
        (&[Reads(GET), Writes(HALF), State(FinWait1, 0)], &["200 server_closed Incomplete 28/40 1/1"]),
        (
            &[Reads(GET), State(CloseWait, 0), Idles(70), State(LastAck, 0)],
            &["- client_closed Incomplete 28/0 0/-"],
        ),
        (&[Reads(GET), Writes(HALF), Eof, State(LastAck, 0)], &["200 client_closed Incomplete 28/40 1/1"]),
        (&[Reads(GET), Writes(HALF), State(LastAck, 0)], &["200 client_closed Incomplete 28/40 1/1"]),
        (&[Reads(GET), State(Close, 0)], &["- server_closed Incomplete 28/0 0/-"]),
        // An upload that breaks off.
        (
            &[Reads("POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234"), Eof, State(LastAck, 0)],
            &["- client_closed Incomplete 43/0 0/-"],
        ),
        // Broken connections.
        (&[Reads(GET), Fails(Sent, PIPE), State(Close, 0)], &["- reset Reset 28/0 0/-"]),
        (&[Reads(GET), Writes(HALF), Fails(Received, RESET)], &["200 reset Reset 28/40 1/1"]),
        (&[Reads(GET), Writes(HALF), Idles(5), State(Close, RESET)], &["200 reset Reset 28/40 1/1"]),
        (&[Reads(GET), Writes(HALF), State(Close, TIMED_OUT)], &["200 timed_out TimedOut 28/40 1/1"]),
        // What routers said of a peer that does not answer any more, and what an administrator does.
        (&[Reads(GET), Writes(HALF), State(Close, NO_ROUTE)], &["200 timed_out TimedOut 28/40 1/1"]),
        (&[Reads(GET), Idles(9), State(Close, NO_ROUTE)], &["- timed_out TimedOut 28/0 0/-"]),
        (&[Reads(GET), Writes(OPEN), State(Close, NO_NETWORK)], &["200 timed_out TimedOut 28/21 1/1"]),
        (&[Reads(GET), Writes(HALF), State(Close, ABORTED)], &["200 reset Reset 28/40 1/1"]),
        // The reset is known before the call that it answers returns.
        (&[Reads(GET), State(Close, RESET), Writes(HALF)], &["200 reset Reset 28/40 2/2"]),
        (&[Reads(GET), State(Close, RESET), Writes(OK)], &["200 complete - 28/40 2/2"]),
        (&[Reads(GET), State(Close, RESET), Idles(9), Exits], &["- reset Reset 28/0 0/-"]),
        // A client that had closed before refuses what it is still sent.
        (
            &[Reads(GET), State(CloseWait, 0), State(Close, PIPE), Writes(HALF)],
            &["200 client_closed Incomplete 28/40 3/3"],
        ),
        (&[Reads(GET), Eof, Fails(Sent, PIPE), State(Close, 0)], &["- client_closed Incomplete 28/0 0/-"]),
        (
            &[Reads(GET), State(CloseWait, 0), Writes(OPEN), State(Close, PIPE), Idles(9), Exits],
            &["200 client_closed Incomplete 28/21 2/2"],
        ),
        (
            &[Reads(GET), State(CloseWait, 0), Writes(HALF), State(Close, TIMED_OUT), Idles(9), Exits],
            &["200 timed_out TimedOut 28/40 2/2"],
        ),
        (&[Reads(GET), Fails(Sent, 14), Writes(OK)], &["200 complete - 28/40 2/2"]),
        (
            &[Reads(GET), Writes(HALF), Exits, State(FinWait1, 0)],
            &["200 process_exited ProcessExited 28/40 1/1"],
        ),
        (&[Reads(GET), Writes(OK), Exits], &["200 complete - 28/40 1/1"]),
    ];
    for (steps, want) in table {
        let want: Vec<_> = want.iter().map(|rest| format!("server GET /a {rest}")).collect();
        let want: Vec<_> = match steps[0] {
            Reads(text) if text.starts_with("POST") => {
                want.iter().map(|line| line.replace("GET", "POST")).collect()
            }
            _ => want,
        };
        assert_eq!(play(&socket(1), steps).0, want, "{steps:?}");
    }
}

#[test]
fn clients() {
    let table: &[(&[Step<'_>], &[&str])] = &[
        (&[Writes(GET), Reads(OPEN), Idles(50), Eof], &["200 complete - 28/21 1/1"]),
        (&[Writes(GET), Reads(OPEN), State(CloseWait, 0), Reads("more"), Eof], &["200 complete - 28/25 3/1"]),
        (
            &[Writes(GET), Reads(OPEN), State(FinWait1, 0), State(Close, 0)],
            &["200 client_closed Incomplete 28/21 1/1"],
        ),
        (&[Writes(GET), State(FinWait1, 0), Reads(OK)], &["200 complete - 28/40 2/2"]),
        (
            &[Writes(GET), Idles(99), State(FinWait1, 0), State(Close, 0)],
            &["- client_closed Incomplete 28/0 0/-"],
        ),
        (&[Writes(GET), Idles(99), Eof], &["- server_closed Incomplete 28/0 0/-"]),
        (&[Writes(GET), Reads(HALF), Eof, State(LastAck, 0)], &["200 server_closed Incomplete 28/40 1/1"]),
        (
            &[Writes(GET), Reads(HALF), State(CloseWait, 0), State(LastAck, 0), State(Close, 0)],
            &["200 server_closed Incomplete 28/40 1/1"],
        ),
        (&[Writes(GET), Fails(Received, RESET), State(Close, RESET)], &["- reset Reset 28/0 0/-"]),
        (&[Writes(GET), Fails(Sent, PIPE), Reads(OK)], &["200 complete - 28/40 2/2"]),
        // What the server said before it hung up is read after the reset.
        (
            &[Writes(GET), State(CloseWait, 0), State(Close, PIPE), Fails(Sent, PIPE), Reads(OK)],
            &["200 complete - 28/40 4/4"],
        ),
        (
            &[Writes(GET), State(CloseWait, 0), State(Close, PIPE), Fails(Sent, PIPE), Eof],
            &["- server_closed Incomplete 28/0 0/-"],
        ),
        (&[Writes(GET), State(Close, TIMED_OUT)], &["- timed_out TimedOut 28/0 0/-"]),
        (
            &[Writes(GET), Reads("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), Eof],
            &["404 complete Status 28/38 1/1"],
        ),
    ];
    for (steps, want) in table {
        let want: Vec<_> = want.iter().map(|rest| format!("client GET /a {rest}")).collect();
        assert_eq!(play(&socket(1), steps).0, want, "{steps:?}");
    }
}

#[test]
fn an_exit_ends_only_what_the_process_used_last() {
    let mut world = World::new(&trace::Settings::default());
    world.feed(100, 0, model::Body::Fork { child: 101 });
    let mut worker = socket(2);
    world.play(&socket(1), &[Reads(GET)]);
    world.play(&worker, &[Reads(&GET[..9])]);
    worker.pid = 101;
    world.play(&worker, &[Reads(&GET[9..])]);
    world.play(&socket(1), &[Exits]);
    assert_eq!(world.lines(), ["server GET /a - process_exited ProcessExited 28/0 0/-"]);
    world.play(&worker, &[Writes(OK)]);
    assert_eq!(world.lines()[1], "server GET /a 200 complete - 28/40 3/3");
    assert_eq!(world.spans[1].process.app_id, "shop");
}

#[test]
fn unix_sockets_are_watched_for_their_close() {
    let mut world = World::new(&trace::Settings::default());
    let server = socket(5).unix();
    world.play(&server, &[Reads(GET), Writes(OPEN)]);
    world.play(&socket(6), &[Reads(GET), Writes(OPEN)]);
    let unclosed: Vec<_> = world.tracer.unclosed().collect();
    assert_eq!(unclosed, [(model::ConnectionId(5), 100, 5, 1005)]);
    world.play(&server, &[State(Close, 0)]);
    assert_eq!(world.lines(), ["server GET /a 200 complete - 28/21 1/1"]);
    assert_eq!(world.tracer.unclosed().count(), 0);
}

#[test]
fn the_probe_stops() {
    let mut world = World::new(&trace::Settings::default());
    world.play(&socket(2), &[Reads(GET)]);
    world.play(&socket(1), &[Reads(GET), Writes(HALF)]);
    let now_ns = world.now_ns + 1_000_000_000;
    world.tracer.drain(now_ns, &mut world.spans);
    assert_eq!(
        world.lines(),
        ["server GET /a 200 probe_stopped - 28/40 1/1", "server GET /a - probe_stopped - 28/0 0/-",]
    );
    world.tracer.drain(now_ns, &mut world.spans);
    assert_eq!(world.spans.len(), 2);
}
