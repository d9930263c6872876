//! The apps themselves, without a probe: every framework serves the same routes, as the other tests assume.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::server::{Endpoint, Server};

const USER: &str = "123e4567-e89b-12d3-a456-426614174000";

fn text_of(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn start(kind: &str) -> Server {
    match kind {
        "flask" => Server::gunicorn("flask_app:app", &["--workers", "2"]),
        "gthread" => Server::gunicorn("flask_app:app", &["--threads", "4"]),
        "django" => Server::gunicorn("django_app:app", &[]),
        "unix" => Server::gunicorn_unix("flask_app:app", &[]),
        "h11" | "httptools" => Server::uvicorn("fastapi_app:app", kind),
        _ => Server::plain(),
    }
    .unwrap()
}

#[rstest]
#[case("flask")]
#[case("gthread")]
#[case("django")]
#[case("unix")]
#[case("h11")]
#[case("httptools")]
#[case("plain")]
fn every_route_answers(#[case] kind: &str) {
    let server = start(kind);
    let other = Server::plain().unwrap();
    let call = format!("/call?url={}/big%3Fbytes=77", other.endpoint.url());
    let order = format!("/users/{USER}/orders/7");
    let routes = [
        (Request::get("/"), 200, "ok"),
        (Request::get("/fast"), 200, "ok"),
        (Request::get("/slow?ms=1"), 200, "slow"),
        (Request::get("/items/42"), 200, "42"),
        (Request::get(&order), 200, USER),
        (Request::get("/missing"), 404, ""),
        (Request::get("/boom"), 500, ""),
        (Request::get("/stream?chunks=3&size=10&ms=1"), 200, "xxxxxxxxxx"),
        (Request::get("/big?bytes=300000"), 200, "xxxxxxxxxx"),
        (Request::post("/echo", 12_345), 200, "12345"),
        (Request::get(&call), 200, "77"),
        (Request::get("/headers"), 200, "app.test"),
        (Request::get("/nocontent"), 204, ""),
        (Request::new("GET", "/close", "Connection: close\r\n", b""), 200, "a"),
    ];
    for (request, status, part) in routes {
        let mut connection = Connection::open(&server.endpoint).unwrap();
        let entry = connection.exchange(request).unwrap();
        assert_eq!(entry.status, Some(status), "{} {kind}: {}", entry.target, text_of(&entry.body));
        assert!(
            entry.complete && text_of(&entry.body).contains(part),
            "{} {}",
            entry.target,
            text_of(&entry.body)
        );
        assert!(entry.response_bytes > entry.body.len() as u64 && entry.last_ns > entry.start_ns);
    }
    if kind == "flask" {
        assert_eq!(server.processes.children().len(), 2);
    }
}

#[rstest]
#[case::tcp(false)]
#[case::unix(true)]
fn nginx_stands_before_an_app(#[case] by_unix_socket: bool) {
    let app = if by_unix_socket { start("unix") } else { start("flask") };
    assert_eq!(matches!(app.endpoint, Endpoint::Unix(_)), by_unix_socket);
    let nginx = Server::nginx(&app.endpoint).unwrap();
    let mut connection = Connection::open(&nginx.endpoint).unwrap();
    let entry = connection.exchange(Request::get("/headers")).unwrap();
    assert!(text_of(&entry.body).contains(r#""x-forwarded-for":"127.0.0.1""#), "{}", text_of(&entry.body));
    assert!(entry.keeps_alive);
    assert_eq!(connection.exchange(Request::get("/items/1")).unwrap().status, Some(200));
}
