//! Traces that come in with requests, and the flag that keeps them.

use model::{AttributeValue, Body, ParentKind, Span};
use trace::Settings;

use crate::conversation::Step::{Idles, Reads, Writes};
use crate::conversation::{World, process, socket};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn get(headers: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

fn serve(world: &mut World, headers: &str) -> Span {
    world.play(&socket(1), &[Reads(&get(headers)), Writes(OK)]);
    world.spans.last().unwrap().clone()
}

#[test]
fn a_trace_is_continued_verbatim() {
    let mut world = World::new(&Settings::default());
    serve(&mut world, "");
    let flagged = "traceparent: 00-ac15452e1649035594650011be21ec-c0a8016430390001-01\r\n";
    let span = serve(&mut world, flagged);
    assert_eq!(&*span.trace_id.0, "ac15452e1649035594650011be21ec");
    let parent = span.parent.unwrap();
    assert_eq!((&*parent.span_id, parent.kind), ("c0a8016430390001", ParentKind::Remote));
    assert!(span.head_sampled);
    assert!(!serve(&mut world, &flagged.replace("-01\r", "-00\r")).head_sampled);
    let span = serve(&mut world, "traceparent: 00-000-1-01\r\n");
    assert_eq!((span.trace_id.0.len(), span.parent, span.head_sampled), (32, None, false));
    assert_eq!(world.tracer.counts().bad_context_headers, 1);
}

#[test]
fn what_is_said_beside_a_trace_is_kept() {
    let mut world = World::new(&Settings::default());
    let said =
        |span: &Span, name: &str| span.attribute(name).and_then(AttributeValue::as_text).map(str::to_owned);
    let baggage = "baggage: user=7;p=1, api_token=x\r\nBaggage: tier = gold\r\n";
    let span = serve(&mut world, &format!("X-Request-ID: r-1\r\n{baggage}"));
    assert_eq!(said(&span, "baggage").as_deref(), Some("user=7;p=1,api_token=***,tier = gold"));
    assert_eq!(said(&span, "http.request.header.x-request-id").as_deref(), Some("r-1"));
    let span = serve(&mut world, &format!("baggage: {}=1,b=2\r\n", "a".repeat(2000)));
    assert_eq!(said(&span, "baggage"), None, "a long entry is left out, and what follows it");
    let sw8 = "sw8: 1-VA==-Uw==-3-c2VydmljZQ==-aQ==-L2E/dG9rZW49eA==-aDo4MA==\r\n";
    let span = serve(&mut world, sw8);
    assert_eq!((&*span.trace_id.0, span.parent.as_ref().map(|parent| &*parent.span_id)), ("T", Some("S-3")));
    assert_eq!(said(&span, "skywalking.parent.service").as_deref(), Some("service"));
    assert_eq!(said(&span, "skywalking.parent.endpoint").as_deref(), Some("/a?token=***"));
    assert_eq!(world.tracer.counts().bad_context_headers, 0);
    let span = serve(&mut world, "baggage: no entry\r\n");
    assert_eq!((said(&span, "baggage"), world.tracer.counts().bad_context_headers), (None, 1));
}

#[test]
fn a_call_that_names_its_own_trace() {
    let mut world = World::new(&Settings::default());
    let own = get("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n");
    world.play(&socket(2), &[Writes(&own), Reads(OK)]);
    let alone = &world.spans[0];
    assert_eq!((&*alone.trace_id.0, &alone.parent), ("4bf92f3577b34da6a3ce929d0e0e4736", &None));
}

#[test]
fn the_first_of_each_name_and_period_is_flagged() {
    let mut world = World::new(&Settings::default());
    let flagged = |world: &mut World| serve(world, "").head_sampled;
    assert!(flagged(&mut world));
    assert!(!flagged(&mut world));
    world.play(&socket(1), &[Idles(60_000)]);
    assert!(flagged(&mut world));
    world.tracer.set_head_limits("shop", 10, 2);
    world.play(&socket(1), &[Idles(10_000)]);
    assert_eq!([(); 3].map(|()| flagged(&mut world)), [true, true, false]);
}

#[test]
fn processes_are_who_they_are() {
    let mut world = World::new(&Settings::default());
    let mut by = |pid: u32, id: u64| {
        let mut socket = socket(id);
        socket.pid = pid;
        if pid == 300 {
            world.feed(100, 0, Body::Fork { child: 300 });
        }
        if pid == 400 {
            world.feed(400, 0, Body::Process(process(400, "billing")));
        }
        world.play(&socket, &[Reads(&get("")), Writes(OK)]);
        let process = &world.spans.last().unwrap().process;
        (process.app_id.clone(), process.pid)
    };
    assert_eq!(by(200, 1), ("unknown".to_owned(), 200));
    assert_eq!(by(300, 2), ("shop".to_owned(), 300));
    assert_eq!(by(400, 3), ("billing".to_owned(), 400));
}
