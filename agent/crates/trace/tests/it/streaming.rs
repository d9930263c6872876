//! Responses that come bit by bit.

use model::{End, ParentKind, Span, TcpState};
use trace::Settings;

use crate::conversation::Step::{Eof, Idles, Reads, State, Writes};
use crate::conversation::{MS, World, line, socket};

const GET: &str = "GET /events?token=a HTTP/1.1\r\nHost: h\r\n\r\n";
const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

fn attributes(span: &Span) -> String {
    let shown = crate::conversation::attributes(span)
        .map(|attribute| format!("{}={}", attribute.name, attribute.value));
    shown.collect::<Vec<_>>().join(" ").replace("http.response.stream.", "")
}

#[test]
fn events_say_how_they_came() {
    let mut world = World::new(&Settings::default());
    // One chunk in pieces, two in one call.
    let steps = [Reads(GET), Writes(HEAD), Writes("5\r\n"), Writes("data"), Writes(":\r\n"), Idles(40)];
    world.play(&socket(1), &steps);
    world.play(&socket(1), &[Writes("1\r\na\r\n1\r\nb\r\n"), Idles(6), Writes("1;x\r\nc\r\n0\r\n\r\n")]);
    assert_eq!(
        line(&world.spans[0]),
        format!("server GET /events 200 complete - {}/{} 52/1", GET.len(), HEAD.len() + 35)
    );
    assert_eq!(attributes(&world.spans[0]), "kind=events chunks=4 longest_gap_us=43000 ended_by=server");
}

#[test]
fn a_client_that_leaves_events_has_not_failed() {
    for (kind, fault) in [("text/event-stream", None), ("text/plain", Some(model::Fault::Incomplete))] {
        let mut world = World::new(&Settings::default());
        let head = HEAD.replace("text/event-stream", kind);
        world.play(&socket(1), &[Reads(GET), Writes(&head), Writes("1\r\na\r\n"), Idles(9)]);
        world.play(&socket(1), &[Eof, State(TcpState::LastAck, 0), State(TcpState::Close, 0)]);
        assert_eq!((world.spans[0].end, world.spans[0].fault), (End::ClientClosed, fault));
        let want = if fault.is_none() { "kind=events chunks=1 ended_by=client" } else { "" };
        assert_eq!(attributes(&world.spans[0]), want);
    }
}

#[test]
fn what_comes_slowly_is_a_stream_and_what_comes_at_once_is_none() {
    for (pause_ms, head, chunk, want) in [
        (
            600,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\na\r\n",
            "kind=chunks chunks=3 longest_gap_us=601000 ended_by=server",
        ),
        (600, "HTTP/1.0 200 OK\r\n\r\n", "abc", "kind=chunks chunks=3 longest_gap_us=601000 ended_by=server"),
        (100, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", ""),
        (600, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "abc", ""),
    ] {
        let mut world = World::new(&Settings::default());
        let end = if head.contains("chunked") { "0\r\n\r\n" } else { "" };
        world.play(&socket(1), &[Reads(GET), Writes(head)]);
        for _ in 0..3 {
            world.play(&socket(1), &[Idles(pause_ms), Writes(chunk)]);
        }
        if !end.is_empty() {
            world.play(&socket(1), &[Writes(end)]);
        }
        world.play(&socket(1), &[State(TcpState::FinWait1, 0)]);
        assert_eq!(
            (world.spans[0].end, attributes(&world.spans[0])),
            (End::Complete, want.to_owned()),
            "{head}"
        );
    }
}

#[test]
fn long_ones_report_in_between_and_nothing_twice() {
    let mut world = World::new(&Settings { progress_s: 10, ..Settings::default() });
    world.play(&socket(1), &[Reads(GET), Writes(HEAD)]);
    let start_ns = world.now_ns;
    for second in 1..=34_u64 {
        world.now_ns = start_ns + second * 1000 * MS;
        world.play(&socket(1), &[Writes("4\r\ntick\r\n")]);
        world.tracer.tick(world.now_ns + 500 * MS, &mut world.spans);
    }
    world.play(
        &socket(1),
        &[Writes("0\r\n\r\n"), Reads(GET), Writes(HEAD), Idles(20_000), Writes("0\r\n\r\n")],
    );
    world.tracer.tick(world.now_ns + 500 * MS, &mut world.spans);
    let (parts, whole): (Vec<_>, Vec<_>) = world.spans.iter().partition(|span| span.end == End::Ongoing);
    let [first, second] = whole[..] else { panic!("{whole:?}") };
    assert!(attributes(first).starts_with("kind=events chunks=34 "), "{first:?}");
    assert_eq!(attributes(second), "kind=events chunks=0 ended_by=server");
    assert_eq!(parts.len(), 3);
    let mut end_ns = first.start_ns;
    for part in &parts {
        assert_eq!((&*part.name, part.route.as_deref()), ("GET /events (open)", Some("/events")));
        let parent = part.parent.as_ref().unwrap();
        assert_eq!((&*parent.span_id, parent.kind), (&*first.span_id.to_string(), ParentKind::Whole));
        assert_eq!(part.start_ns, end_ns);
        end_ns = part.start_ns + part.duration_ns;
    }
    let told: u64 = parts.iter().map(|part| part.response_bytes).sum();
    let chunks: Vec<_> = parts.iter().map(|part| attributes(part)).collect();
    assert_eq!(chunks, ["kind=events chunks=11", "kind=events chunks=10", "kind=events chunks=10"]);
    assert_eq!(told, HEAD.len() as u64 + 31 * 9);
    assert_eq!(parts.iter().map(|part| part.request_bytes).sum::<u64>(), GET.len() as u64);
    world.lines();
}
