//! Routes read from the memory of real apps, in several versions of Python: each request has the name of the rule that the
//! framework itself chose.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rstest::rstest;
use tests::probe::{Probe, ROUTES, SpanLine};
use tests::server::{Endpoint, Server};
use tests::venv::{Venv, interpreters};
use tests::watch::can_run;

const LIMIT: Duration = Duration::from_secs(10);
const UUID: &str = "7b3bf470-9456-11e8-9eb6-529269fb1459";

/// Sends a request on a connection of its own, and gives what the app says of its route.
fn ask(server: &Server, request: &str) -> String {
    let Endpoint::Tcp(address) = server.endpoint else { panic!("it listens on TCP") };
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("x-route:"));
    line.map_or(String::new(), |line| line[8..].trim().to_owned())
}

/// Asks for each of these, and gives the spans, and what the app says of its routes.
fn drive(server: &Server, reads: bool, cases: &[(&str, &str)]) -> Vec<(SpanLine, String)> {
    // All that the app loads at its first request is there.
    ask(server, "GET /warm-up");
    let reading = [(ROUTES, if reads { "true" } else { "false" })];
    let probe = Probe::attach_in(&[server.pid()], &["--log-level", "debug"], &reading).unwrap();
    if reads {
        assert!(probe.wait_for_log("routes of its app read", LIMIT), "no routes are read");
    }
    let said: Vec<_> = cases.iter().map(|(request, _)| ask(server, request)).collect();
    probe.wait_for_spans(cases.len(), LIMIT);
    let spans = probe.stop().unwrap();
    assert_eq!(spans.len(), cases.len());
    spans.into_iter().zip(said).collect()
}

/// Whether the spans have the routes that are expected and that the app tells. `-`: none, the name is learned.
fn compare(interpreter: &str, spans: &[(SpanLine, String)], cases: &[(&str, &str)]) {
    for ((span, said), (request, want)) in spans.iter().zip(cases) {
        let case = format!("{request} on {interpreter}");
        let attribute = |name: &str| span.attributes.get(name).and_then(|value| value.as_str());
        if *want == "-" {
            assert_eq!(attribute("stardust_probe.route_source"), Some("learned"), "{case}: {span:?}");
            assert_eq!(attribute("http.route"), None, "{case}");
            continue;
        }
        let (method, _) = request.split_once(' ').unwrap();
        // Behind a mount or a prefix the app only knows the rest; some versions say nothing.
        assert!(want.ends_with(said), "{case}: the app says {said}");
        assert_eq!(span.route.as_deref(), Some(*want), "{case}");
        assert_eq!(span.name, format!("{method} {want}"), "{case}");
        assert_eq!(attribute("http.route"), Some(*want), "{case}");
        assert_eq!(attribute("stardust_probe.route_source"), Some("memory"), "{case}");
    }
}

const FLASK: &[(&str, &str)] = &[
    ("GET /", "/"),
    ("GET /users/7", "/users/<int:id>"),
    ("DELETE /users/7", "/users/<int:id>"),
    ("HEAD /users/7", "/users/<int:id>"),
    ("OPTIONS /users/7", "/users/<int:id>"),
    ("GET /users/me?x=1", "/users/me"),
    ("GET /users/%6De", "/users/me"),
    ("GET /users/you", "/users/<name>"),
    ("GET /users/7/posts/7b3bf470-9456-11e8-9eb6-529269fb1459/", "/users/<int:id>/posts/<uuid:post>/"),
    ("GET /prices/1.50", "/prices/<float:price>"),
    ("GET /files/a/b.txt", "/files/<path:file>"),
    ("PUT /files/a", "/files/<path:file>"),
    ("GET /v2/ping", "/v<int:version>/ping"),
    ("GET /shop/de/items/9", "/shop/<lang>/items/<int:item>"),
    ("GET /missing/4", "/missing/<int:id>"),
    ("GET /static/no.css", "/static/<path:filename>"),
    // A redirect, a method that no rule has, converters with arguments, and what is not there.
    ("GET /users/7/posts/7b3bf470-9456-11e8-9eb6-529269fb1459", "-"),
    ("PATCH /files/a", "-"),
    ("GET /lang/de", "-"),
    ("GET /short/ab", "-"),
    ("GET /prices/1", "-"),
    ("GET /nowhere", "-"),
    ("GET /shop/de/items/nine", "-"),
];

const DJANGO: &[(&str, &str)] = &[
    ("GET /", "/"),
    ("GET /users/", "/users/"),
    ("GET /users/7/", "/users/<int:id>/"),
    ("POST /users/seven/", "/users/<str:name>/"),
    ("GET /users/7/late", "/users/<int:id>/late"),
    ("GET /shop/the-shop/items/3", "/shop/<slug:shop>/items/<int:item>"),
    ("GET /shop/the-shop/", "/shop/<slug:shop>/"),
    ("GET /orders/7b3bf470-9456-11e8-9eb6-529269fb1459", "/orders/<uuid:order>"),
    ("GET /files/a/b%20c.txt", "/files/<path:file>"),
    // A regular expression that may match before the rule that does.
    ("GET /old/7/", "-"),
    ("GET /old/new", "-"),
    ("GET /orders/7", "-"),
    ("GET /nowhere", "-"),
    ("GET /users/7", "-"),
];

const FASTAPI: &[(&str, &str)] = &[
    ("GET /users/7", "/users/{id:int}"),
    ("GET /users/me", "/users/me"),
    ("GET /users/you", "/users/{name}"),
    ("POST /users/7", "/users/{name}"),
    ("PUT /users/7", "/users/{id:int}"),
    ("GET /shop/de/items/9", "/shop/{lang}/items/{item}"),
    ("GET /shop/de/items/nine", "/shop/{lang}/items/{item}"),
    ("GET /shop/de/inner/a", "/shop/{lang}/inner/{x}"),
    ("GET /v2/inner/a", "/v2/inner/{x}"),
    ("GET /sub/", "/sub/"),
    ("GET /sub/things/3", "/sub/things/{thing:int}"),
    ("GET /sub/deep/a/b/c", "/sub/deep/{rest:path}"),
    ("GET /orders/7b3bf470945611e89eb6529269fb1459", "/orders/{order:uuid}"),
    ("GET /prices/1.5", "/prices/{order:float}"),
    ("GET /a/b/end", "/{rest:path}/end"),
    ("GET /docs", "/docs"),
    // What a mount does not have is nowhere else; a WebSocket's route is for WebSockets.
    ("GET /sub/nothing", "-"),
    ("GET /rooms/a", "-"),
    ("GET /nowhere", "-"),
];

#[rstest]
#[case::flask("flask_routes.py", FLASK)]
#[case::django("django_routes.py", DJANGO)]
#[case::fastapi("fastapi_routes.py", FASTAPI)]
fn requests_are_named_by_the_framework_s_rules(#[case] app: &str, #[case] cases: &[(&str, &str)]) {
    if !can_run() {
        return;
    }
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no Python 3.8 to 3.14 on this machine");
    for venv in Venv::of_each(&interpreters).unwrap() {
        let server = Server::routes(&venv, app, &[]).unwrap();
        let spans = drive(&server, true, cases);
        compare(&venv.folder().display().to_string(), &spans, cases);
    }
}

/// No module holds the app.
#[rstest]
#[case::flask("flask", [("GET /users/7", "/users/<int:id>"), ("GET /shop/de/items/9", "/shop/<lang>/items/<int:item>")])]
#[case::fastapi("fastapi", [("GET /users/7", "/users/{id:int}"), ("GET /shop/de/items/9", "/shop/{lang}/items/{item}")])]
fn apps_of_factories_are_found(#[case] framework: &str, #[case] cases: [(&str, &str); 2]) {
    if !can_run() {
        return;
    }
    for venv in Venv::of_each(&interpreters()).unwrap() {
        let server = Server::routes(&venv, "factory_routes.py", &[framework]).unwrap();
        let spans = drive(&server, true, &cases);
        compare(&venv.folder().display().to_string(), &spans, &cases);
    }
}

#[test]
fn routes_can_be_left_unread() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("flask_app:app", &[]).unwrap();
    let cases = [("GET /items/7", "-"), (&*format!("GET /users/{UUID}/orders/7"), "-")];
    let spans = drive(&server, false, &cases);
    compare("", &spans, &cases);
    assert_eq!(spans[0].0.name, "GET /items/{id}");
}
