//! A tracing SDK in the watched process: its calls are left to it, and the request says which trace it has.

use model::{AttributeValue, Identity, Span, SpanKind, TcpState};
use trace::{Settings, WithSdk};

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{Socket, World, socket, task};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// Traces and spans as they come in and as an SDK makes them.
const OURS: &str = "11111111111111111111111111111111";
const NEW: &str = "22222222222222222222222222222222";
const CALLER: &str = "aaaaaaaaaaaaaaaa";
const FIRST: &str = "bbbbbbbbbbbbbbbb";
const SECOND: &str = "cccccccccccccccc";

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

fn w3c(trace: &str, span: &str, flags: &str) -> String {
    format!("traceparent: 00-{trace}-{span}-{flags}\r\n")
}

fn world(with_sdk: WithSdk) -> World {
    World::new(&Settings { with_sdk, ..Settings::default() })
}

/// `kind path trace parent`, then the trace, the span and the number of calls that an SDK has.
fn told(span: &Span) -> String {
    let value = |name: &str| span.attribute(name).map(AttributeValue::to_string);
    let sdk = ["trace_id", "span_id", "calls"].map(|name| value(&format!("stardust_probe.sdk.{name}")));
    let sdk: Vec<_> = sdk.into_iter().flatten().map(|text| text[..text.len().min(2)].to_owned()).collect();
    let kind = if span.kind == SpanKind::Server { "serves" } else { "calls" };
    let parent = span.parent.as_ref().map_or("-", |parent| &parent.span_id[..2]);
    format!("{kind} {} {} {parent} {}", span.target.as_deref().unwrap(), &span.trace_id.0[..2], sdk.join("/"))
}

fn all(world: &World) -> Vec<String> {
    world.spans.iter().map(|span| told(span).trim_end().to_owned()).collect()
}

/// A request with these headers, in which the process makes calls with those.
fn serve(world: &mut World, headers: &str, calls: &[String]) {
    world.play(&socket(1), &[Reads(&get("/a", headers))]);
    for (index, headers) in calls.iter().enumerate() {
        world.play(&socket(2), &[Writes(&get(&format!("/{index}"), headers)), Reads(OK)]);
    }
    world.play(&socket(1), &[Writes(OK)]);
}

fn balance(world: &World) -> u64 {
    let counts = world.tracer.counts();
    assert_eq!(counts.exchanges, counts.spans + counts.excluded + counts.disabled + counts.left_to_sdk);
    counts.left_to_sdk
}

#[test]
fn calls_are_left_to_the_sdk_that_goes_on_with_the_trace() {
    let mut world = world(WithSdk::Link);
    let calls = [w3c(OURS, FIRST, "01"), w3c(OURS, SECOND, "01"), String::new()];
    serve(&mut world, &w3c(OURS, CALLER, "01"), &calls);
    let parent = world.spans[1].span_id.to_string();
    assert_eq!(all(&world), [&format!("calls /2 11 {}", &parent[..2]), "serves /a 11 aa 11/bb/2"]);
    assert_eq!(balance(&world), 2);
}

#[test]
fn a_request_without_a_trace_takes_the_sdk_s() {
    let mut world = world(WithSdk::Link);
    serve(&mut world, "", &[w3c(NEW, FIRST, "01"), String::new(), w3c(NEW, SECOND, "01")]);
    let parent = world.spans[1].span_id.to_string();
    assert_eq!(all(&world), [&format!("calls /1 22 {}", &parent[..2]), "serves /a 22 - 22/bb/2"]);
    assert_eq!(balance(&world), 2);
}

#[test]
fn a_connect_for_the_call_is_nothing_in_its_trace_unless_it_fails() {
    let mut world = world(WithSdk::Link);
    world.play(&socket(1), &[Reads(&get("/a", ""))]);
    for (peer, errno) in [(3, 111), (2, 0)] {
        let peer = socket(peer).peer("192.0.2.7:1");
        world.state(&peer, TcpState::Close, TcpState::SynSent, 0);
        let next = if errno == 0 { TcpState::Established } else { TcpState::Close };
        world.state(&peer, TcpState::SynSent, next, errno);
    }
    world.play(&socket(2), &[Writes(&get("/0", &w3c(NEW, FIRST, "01"))), Reads(OK)]);
    world.play(&socket(1), &[Writes(OK)]);
    world.tracer.drain(world.now_ns, &mut world.spans);
    let request = world.spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
    let failed = world.spans.iter().find(|span| span.kind == SpanKind::Client).unwrap();
    assert_eq!((world.spans.len(), &failed.trace_id), (2, &request.trace_id));
    assert_eq!(*failed.parent.as_ref().unwrap().span_id, *request.span_id.to_string());
}

#[test]
fn what_came_before_keeps_its_trace() {
    let mut world = world(WithSdk::Link);
    serve(&mut world, "", &[String::new(), w3c(NEW, FIRST, "01")]);
    let [before, request] = &world.spans[..] else { panic!("{:?}", all(&world)) };
    assert_eq!(before.trace_id, request.trace_id);
    assert_ne!(&*request.trace_id.0, NEW);
    assert!(told(request).ends_with(" - 22/bb/1"), "{}", told(request));
}

#[test]
fn what_is_handed_on_is_no_sdk_s() {
    for (comes, goes) in [
        (w3c(OURS, CALLER, "01"), w3c(OURS, CALLER, "01")),
        // Of several, another one is handed on.
        (
            format!("{}b3: {NEW}-{FIRST}-1\r\n", w3c(OURS, CALLER, "01")),
            format!("X-B3-TraceId: {NEW}\r\nX-B3-SpanId: {FIRST}\r\nX-B3-Sampled: 1\r\n"),
        ),
        (format!("sentry-trace: {NEW}-{FIRST}-1\r\n"), format!("sentry-trace: {NEW}-{FIRST}-1\r\n")),
    ] {
        let mut world = world(WithSdk::Skip);
        serve(&mut world, &comes, std::slice::from_ref(&goes));
        let [call, request] = &world.spans[..] else { panic!("{:?}", all(&world)) };
        assert_eq!(call.parent.as_ref().unwrap().span_id.to_string(), request.span_id.to_string());
        assert_eq!(request.attribute("stardust_probe.sdk.trace_id"), None);
        // Later too, outside of the request.
        world.play(&socket(2), &[Writes(&get("/later", &goes)), Reads(OK)]);
        assert_eq!((world.spans.len(), balance(&world)), (3, 0));
    }
}

#[test]
fn a_head_that_was_cut_may_have_brought_it() {
    let mut world = world(WithSdk::Link);
    let head = get("/a", &format!("Cookie: {}\r\n{}", "c".repeat(3000), w3c(NEW, FIRST, "01")));
    world.part(&socket(1), model::Direction::Received, &head.as_bytes()[..2048], head.len() as u64);
    world.play(&socket(2), &[Writes(&get("/b", &w3c(NEW, FIRST, "01"))), Reads(OK)]);
    world.play(&socket(1), &[Writes(OK)]);
    assert_eq!((world.spans.len(), balance(&world)), (2, 0));
    assert!(world.spans[0].parent.is_some());
    assert_eq!(world.spans[1].attribute("stardust_probe.sdk.trace_id"), None);
}

#[test]
fn what_the_sdk_does_not_keep_is_shown() {
    let mut world = world(WithSdk::Link);
    serve(&mut world, "", &[w3c(NEW, FIRST, "00")]);
    let parent = world.spans[1].span_id.to_string();
    assert_eq!(all(&world), [&format!("calls /0 22 {}", &parent[..2]), "serves /a 22 -"]);
    assert_eq!(balance(&world), 0);
}

#[test]
fn every_family_is_known() {
    for headers in [
        format!("b3: {NEW}-{FIRST}-1\r\n"),
        format!("sentry-trace: {NEW}-{FIRST}-1\r\n"),
        "x-datadog-trace-id: 2459565876494606882\r\nx-datadog-parent-id: 13527612320720337851\r\n\
         x-datadog-sampling-priority: 1\r\nx-datadog-tags: _dd.p.tid=2222222222222222\r\n"
            .to_owned(),
        format!("uber-trace-id: {NEW}:{FIRST}:0:1\r\n"),
    ] {
        let mut world = world(WithSdk::Link);
        serve(&mut world, "", std::slice::from_ref(&headers));
        assert_eq!(all(&world), ["serves /a 22 - 22/bb/1"], "{headers}");
        assert_eq!(&*world.spans[0].trace_id.0, NEW);
    }
    let mut world = world(WithSdk::Link);
    serve(&mut world, "", &["sw8: 1-VA==-Uw==-3-c2VydmljZQ==-aQ==-L2E=-aDo4MA==\r\n".to_owned()]);
    assert_eq!((&*world.spans[0].trace_id.0, balance(&world)), ("T", 1));
}

#[test]
fn outside_of_requests_nothing_is_left_out() {
    let mut world = world(WithSdk::Link);
    world.play(&socket(2), &[Writes(&get("/b", &w3c(NEW, FIRST, "01"))), Reads(OK)]);
    assert_eq!(all(&world), ["calls /b 22 - 22/bb"]);
    assert_eq!(balance(&world), 0);
}

fn reader(id: u64) -> Socket {
    socket(id).by(Identity::Task(0x1000 + id))
}

#[test]
fn tasks_tell_their_request_s_trace_when_it_is_answered() {
    let mut world = world(WithSdk::Link).see_copies();
    world.play(&reader(1), &[Reads(&get("/a", ""))]);
    world.play(&reader(2), &[Reads(&get("/b", &w3c(OURS, CALLER, "01")))]);
    // One without the SDK before the one that tells the trace: both wait.
    world.play(&task(3, 0xa0), &[Writes(&get("/of-a", "")), Reads(OK)]);
    world.play(&task(3, 0xa0), &[Writes(&get("/sdk", &w3c(NEW, FIRST, "01"))), Reads(OK)]);
    world.play(&task(4, 0xb0), &[Writes(&get("/sdk", &w3c(OURS, FIRST, "01"))), Reads(OK)]);
    // By a task that answers nothing: the trace tells.
    world.play(&task(4, 0xb1), &[Writes(&get("/sdk", &w3c(OURS, SECOND, "01"))), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    world.play(&task(2, 0xb0), &[Writes(OK)]);
    let request = world.spans.iter().find(|span| span.target.as_deref() == Some("/a")).unwrap();
    let parent = request.span_id.to_string()[..2].to_owned();
    let mut spans = all(&world);
    spans.sort();
    let want = [&*format!("calls /of-a 22 {parent}"), "serves /a 22 - 22/bb/1", "serves /b 11 aa 11/bb/2"];
    assert_eq!(spans, want);
    assert_eq!(balance(&world), 3);
}

#[test]
fn skipped_requests_leave_nothing() {
    let mut world = world(WithSdk::Skip);
    let goes_on = [w3c(OURS, FIRST, "01"), String::new(), w3c(OURS, SECOND, "01")];
    serve(&mut world, &w3c(OURS, CALLER, "01"), &goes_on);
    assert_eq!((all(&world), balance(&world)), (vec![], 4));
    // Now it is known of the process.
    serve(&mut world, "", &[w3c(NEW, FIRST, "01")]);
    assert_eq!((all(&world), balance(&world)), (vec![], 6));
    // Nothing tells that the SDK has this one.
    serve(&mut world, "", &[]);
    // A child has been given out: so is its parent.
    serve(&mut world, "", &[String::new(), w3c(NEW, SECOND, "01")]);
    let [alone, child, parent] = &world.spans[..] else { panic!("{:?}", all(&world)) };
    assert_eq!((alone.kind, alone.parent.is_none()), (SpanKind::Server, true));
    assert_eq!(*child.parent.as_ref().unwrap().span_id, *parent.span_id.to_string());
    assert_eq!(balance(&world), 7);
}

#[test]
fn one_call_in_a_new_trace_does_not_tell_that_the_request_is_traced() {
    let mut world = world(WithSdk::Skip);
    serve(&mut world, "", &[w3c(NEW, FIRST, "01")]);
    assert_eq!((all(&world), balance(&world)), (vec!["serves /a 22 - 22/bb/1".to_owned()], 1));
    serve(&mut world, "", &[w3c(NEW, FIRST, "01"), w3c(NEW, SECOND, "01")]);
    assert_eq!((world.spans.len(), balance(&world)), (1, 4));
}
