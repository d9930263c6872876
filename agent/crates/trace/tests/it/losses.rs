//! What happens when bytes do not reach the probe, or too much does.

use model::Direction::{Received, Sent};
use model::TcpState::{Close, FinWait1, LastAck};
use trace::Settings;

use crate::conversation::Step::{Blind, Idles, Loses, Reads, State, Writes};
use crate::conversation::{World, play, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const FINE: &str = "server GET /a 200 complete - 28/40 1/1";

#[test]
fn a_gap_in_a_counted_body_is_harmless() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let rest = "x".repeat(60);
    let (lines, counts) =
        play(&socket(1), &[Reads(GET), Writes(head), Loses(Sent, 40), Writes(&rest), Reads(GET), Writes(OK)]);
    assert_eq!(lines, ["server GET /a 200 complete - 28/140 2/1", FINE]);
    assert_eq!((counts.gaps, counts.gap_bytes, counts.lost_framings), (1, 40, 0));
}

#[test]
fn what_a_server_has_sent_last_before_it_closed_may_have_been_the_answer() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    for (new, cut) in [(FinWait1, "server_closed"), (LastAck, "client_closed"), (Close, "server_closed")] {
        let (lines, counts) =
            play(&socket(1), &[Reads(GET), Loses(Sent, 40), State(new, 0), State(Close, 0)]);
        assert_eq!(lines, ["server GET /a - probe_lost - 28/0 0/-"], "{new:?}");
        assert_eq!((counts.gaps, counts.gap_bytes), (1, 40), "{new:?}");
        let (lines, _) = play(&socket(1), &[Reads(GET), Writes(head), Loses(Sent, 100), State(new, 0)]);
        assert_eq!(lines, ["server GET /a 200 probe_lost - 28/40 1/1"], "{new:?}");
        let (lines, counts) = play(&socket(1), &[Reads(GET), Writes(OK), Reads(GET), State(new, 0)]);
        assert_eq!(lines, [FINE, &format!("server GET /a - {cut} Incomplete 28/0 0/-")], "{new:?}");
        assert_eq!(counts.gaps, 0, "{new:?}");
    }
}

#[test]
fn a_lost_beginning_is_not_made_up() {
    let (lines, counts) = play(&socket(1), &[Loses(Received, 28), Writes(OK), Reads(GET), Writes(OK)]);
    assert_eq!(lines, [FINE]);
    assert_eq!((counts.unpaired_responses, counts.joined_late), (1, 0));
}

#[test]
fn a_lost_response_shifts_nothing() {
    let second = GET.replace("/a", "/b");
    let third = GET.replace("/a", "/c");
    let no = OK.replace("200", "503");
    let steps = [Reads(GET), Loses(Sent, 40), Reads(&second), Writes(&no), Reads(&third), Writes(OK)];
    let (lines, counts) = play(&socket(1), &[&[Reads(GET), Writes(OK)], &steps[..]].concat());
    assert_eq!(
        lines,
        [
            FINE,
            "server GET /a - probe_lost - 28/0 0/-",
            // Its answer may have been lost too, and another request that the 503 answers.
            "server GET /b - probe_lost - 28/0 0/-",
            "server GET /c 200 complete - 28/40 1/1",
        ]
    );
    assert_eq!((counts.gap_bytes, counts.unpaired_responses), (40, 1));
}

#[test]
fn what_answers_a_lost_request_answers_no_other() {
    let lost = "server GET /a - probe_lost - 28/0 0/-";
    let no = OK.replace("200", "503");
    // The response to the first, and the second request.
    let steps = [Reads(GET), Loses(Sent, 40), Loses(Received, 28), Writes(&no), Reads(GET), Writes(OK)];
    let (lines, counts) = play(&socket(1), &steps);
    assert_eq!(lines, [lost, FINE]);
    assert_eq!(counts.unpaired_responses, 1);
    // The end of a response in chunks, and the one to the second request; the third is answered.
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let steps =
        [Reads(GET), Writes(head), Loses(Sent, 8), Reads(GET), Loses(Sent, 40), Reads(GET), Writes(&no)];
    let (lines, counts) = play(&socket(1), &[&steps[..], &[Reads(GET), Writes(OK)]].concat());
    assert_eq!(lines, ["server GET /a 200 probe_lost - 28/95 1/1", lost, lost, FINE]);
    assert_eq!(counts.unpaired_responses, 1);
    // The end of a response in chunks, a request, and the beginning of its response, whose end is seen.
    let steps =
        [Reads(GET), Writes(head), Loses(Sent, 60), Loses(Received, 28), Writes("2\r\nhi\r\n0\r\n\r\n")];
    let (lines, _) = play(&socket(1), &[&steps[..], &[Reads(GET), Writes(OK)]].concat());
    assert_eq!(lines, ["server GET /a 200 probe_lost - 28/119 2/1", FINE]);
}

/// Many calls of one thread pass while nobody knows where a request begins; the one that then does is another's.
#[test]
fn a_request_belongs_to_the_thread_that_moved_its_first_byte() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET), Writes(OK), Loses(Received, 28)]);
    world.play(&socket(1), &[Reads("body"); 100]);
    world.play(&socket(1).tid(102), &[Reads(GET), Writes(OK)]);
    assert_eq!(world.lines(), [FINE, FINE]);
    assert_eq!(world.spans[1].tid, 102);
}

#[test]
fn a_response_without_content_is_lost_and_shifts_nothing() {
    let second = GET.replace("/a", "/b");
    let no = OK.replace("200", "503");
    let lost = "server GET /a - probe_lost - 28/0 0/-";
    for first in [&[][..], &[Reads(GET), Writes(OK)]] {
        let steps = [Reads(GET), Blind(Sent, 38), Blind(Sent, 2), Reads(&second), Writes(&no)];
        let (lines, counts) = play(&socket(1), &[first, &steps].concat());
        let lines: Vec<_> = lines.iter().skip(first.len() / 2).collect();
        assert_eq!(lines, [lost, "server GET /b 503 complete Status 28/40 1/1"]);
        assert_eq!((counts.gaps, counts.gap_bytes, counts.lost_framings), (1, 40, 0));
    }
    // How it ended was not seen either.
    let end = [State(model::TcpState::CloseWait, 0), State(model::TcpState::LastAck, 0)];
    let (lines, _) = play(&socket(1), &[&[Reads(GET), Blind(Sent, 40)], &end[..]].concat());
    assert_eq!(lines, [lost]);
    // A body without content is as long as it says.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let (lines, counts) =
        play(&socket(1), &[Reads(GET), Writes(head), Blind(Sent, 100), Reads(GET), Writes(OK)]);
    assert_eq!(
        (lines, counts.gaps),
        (vec!["server GET /a 200 complete - 28/140 2/1".to_owned(), FINE.to_owned()], 0)
    );
}

#[test]
fn a_lost_request_leaves_its_response_alone() {
    let (lines, counts) =
        play(&socket(1), &[Reads(GET), Writes(OK), Loses(Received, 28), Writes(OK), Reads(GET), Writes(OK)]);
    assert_eq!(lines, [FINE, FINE]);
    assert_eq!((counts.unpaired_responses, counts.gap_bytes), (1, 28));
}

#[test]
fn pipelined_requests_in_doubt_are_all_lost() {
    let two = [GET, GET].concat();
    let (lines, _) = play(
        &socket(1),
        &[Reads(GET), Writes(OK), Reads(&two), Loses(Sent, 40), Writes(OK), Reads(GET), Writes(OK)],
    );
    let lost = "server GET /a - probe_lost - 28/0 0/-";
    assert_eq!(lines, [FINE, lost, lost, FINE]);
}

#[test]
fn a_flood_of_requests_is_let_go() {
    let mut world = World::new(&Settings::default());
    let many = GET.repeat(100);
    for _ in 0..11 {
        world.play(&socket(1), &[Reads(&many)]);
    }
    assert_eq!(world.spans.len(), 1024);
    assert_eq!(world.tracer.counts().overrun_connections, 1);
    assert_eq!(world.tracer.let_go().count(), 1);
}

#[test]
fn the_table_is_bounded() {
    let mut world = World::new(&Settings { max_connections: 4, ..Settings::default() });
    world.play(&socket(1), &[Reads(GET)]);
    for id in 2..=5 {
        world.play(&socket(id), &[Reads(GET), Writes(OK)]);
    }
    // The idle one went first, though the open one is older.
    assert_eq!(world.tracer.counts().evicted_connections, 1);
    world.play(&socket(1), &[Writes(OK)]);
    assert_eq!(world.spans.len(), 5);
    for id in 6..=20 {
        world.play(&socket(id), &[Reads(GET)]);
    }
    assert_eq!(world.tracer.counts().evicted_connections, 1 + 15);
    assert_eq!(world.spans.iter().filter(|span| span.end == model::End::ProbeLost).count(), 11);
}

#[test]
fn what_was_let_go_makes_room_first() {
    let mut world = World::new(&Settings { max_connections: 3, ..Settings::default() });
    world.play(&socket(1), &[Reads(GET), Writes(OK)]);
    for id in 2..20 {
        world.play(&socket(id), &[Reads("\u{16}\u{3}\u{1}")]);
    }
    assert_eq!(world.tracer.counts().evicted_connections, 0);
    assert_eq!(world.tracer.counts().not_http, 18);
    world.play(&socket(1), &[Reads(GET), Writes(OK)]);
    assert_eq!(world.lines(), [FINE, FINE]);
}

#[test]
fn forgotten_connections_age_out() {
    let mut world = World::new(&Settings { idle_timeout_s: 60, ..Settings::default() });
    world.play(&socket(1), &[Reads(GET)]);
    world.play(&socket(2), &[Reads(GET), Writes(OK), Idles(50_000)]);
    world.play(&socket(3), &[Reads("\u{1}\u{2}")]);
    let now_ns = world.now_ns + 15_000_000_000;
    world.tracer.tick(now_ns, &mut world.spans);
    assert_eq!(world.tracer.counts().aged_connections, 2);
    assert_eq!(world.lines()[1], "server GET /a - probe_lost - 28/0 0/-");
}

#[test]
fn any_bytes_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(9);
    let mut world = World::new(&Settings { max_connections: 32, ..Settings::default() });
    let words = [
        "GET ",
        "/a ",
        "HTTP/1.1",
        "\r\n",
        "\r\n\r\n",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\n",
        "\0",
        "5\r\n",
    ];
    for _ in 0..20_000 {
        let mut socket = socket(random.u64(0..40));
        if random.bool() {
            socket = socket.midway();
        }
        let text: String = (0..random.usize(1..9)).map(|_| words[random.usize(..words.len())]).collect();
        let step = match random.u8(0..12) {
            0..5 => Reads(&text),
            5..10 => Writes(&text),
            10 => Loses(if random.bool() { Received } else { Sent }, random.u64(1..99)),
            _ => crate::conversation::Step::State(model::TcpState::Close, 0),
        };
        world.play(&socket, &[step]);
    }
    world.tracer.drain(world.now_ns, &mut world.spans);
    let counts = world.tracer.counts();
    assert!(counts.exchanges > 100);
    assert_eq!(counts.exchanges, counts.spans);
}
