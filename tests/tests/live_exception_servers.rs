//! Exceptions behind TLS, over HTTP/2, and by servers that answer when what ended the request is over.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rstest::rstest;
use tests::caller::Caller;
use tests::failures::{FASTAPI, NONE_LEFT, ask_alone, assert_said, interpreters, spans_by, with};
use tests::probe::SpanLine;
use tests::server::Server;
use tests::venv::Venv;
use tests::watch::can_run;

const FLASK: &str = "wsgi_app full_dispatch_request full_dispatch_request dispatch_request";

fn run(server: Server, errors: &str, around: &str, cases: &[(&str, &str)]) -> Vec<SpanLine> {
    run_by(server, errors, around, cases, ask_alone)
}

fn run_by(
    server: Server,
    errors: &str,
    around: &str,
    cases: &[(&str, &str)],
    ask: impl FnMut(&Server, &str),
) -> Vec<SpanLine> {
    let cases = with(around, cases);
    let paths: Vec<_> = cases.iter().map(|(path, _)| path.as_str()).collect();
    let spans = spans_by(server, errors, &paths, ask).unwrap();
    assert_said(&spans, &cases);
    spans
}

/// Over HTTP/2, on one connection.
fn run_http2(server: Server, errors: &str, around: &str, cases: &[(&str, &str)]) {
    let mut command = Venv::open().unwrap().script("http2_asker.py");
    command.args(["in_turn", &server.endpoint.url()]);
    if server.certificate_file().exists() {
        command.arg(server.certificate_file());
    }
    let mut client = Caller::start(command).unwrap();
    run_by(server, errors, around, cases, |_, path| drop(client.ask(path).unwrap()));
}

#[rstest]
#[case::uvicorn("asyncio", "auto")]
#[case::uvloop("uvloop", "auto")]
#[case::always("asyncio", "always")]
fn tasks_inside_tls(#[case] event_loop: &str, #[case] errors: &str) {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn_tls("failing_fastapi:app", event_loop).unwrap();
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let cases = [
        ("/fail/plain", none_left.as_str()),
        ("/fail/caught", "200"),
        ("/fail/explicit", "503"),
        ("/task/nested", "500 KeyError: 'missing' | @ task child fail nested inner"),
        ("/sync/explicit", "503"),
        ("/fail/chained", "500 failures.NoStock: cannot look up | @ view fail chained"),
    ];
    run(server, errors, FASTAPI, &cases);
}

#[rstest]
#[case::sync(&[], "auto")]
#[case::threads(&["--threads", "4"], "auto")]
#[case::always(&["--threads", "4"], "always")]
fn workers_inside_tls(#[case] arguments: &[&str], #[case] errors: &str) {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn_tls("failing_flask:app", arguments).unwrap();
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let cases = [
        ("/fail/plain", none_left.as_str()),
        ("/fail/caught", "200"),
        ("/fail/nested", "500 KeyError: 'missing' | @ view fail nested inner"),
        ("/fail/explicit", "503"),
        ("/fail/chained", "500 failures.NoStock: cannot look up | @ view fail chained"),
    ];
    run(server, errors, FLASK, &cases);
}

/// The answer has begun when what makes it fails: the server cuts the connection. `around`: the frames outside of the view.
fn cut_answers(server: Server, around: &str) {
    let cut = "200 KeyError: 'missing' | @ nested inner";
    let cases = [("/stream/nested", cut), ("/stream/caught", "200"), ("/stream/nested", cut)];
    let spans = run(server, "always", around, &cases);
    let ends: Vec<_> = spans.iter().map(|span| span.end.as_str()).collect();
    assert_eq!(ends, ["server_closed", "complete", "server_closed"]);
}

#[rstest]
#[case::sync(&[])]
#[case::threads(&["--threads", "4"])]
#[case::gevent(&["--worker-class", "gevent"])]
fn workers_that_cut_connections(#[case] arguments: &[&str], #[values(false, true)] tls: bool) {
    if !can_run() {
        return;
    }
    let app = "failing_flask:app";
    let server = if tls { Server::gunicorn_tls(app, arguments) } else { Server::gunicorn(app, arguments) };
    cut_answers(server.unwrap(), "handle_request __next__ _iter_encoded parts fail");
}

#[rstest]
#[case::clear(None)]
#[case::asyncio(Some("asyncio"))]
#[case::uvloop(Some("uvloop"))]
fn tasks_that_cut_connections(#[case] tls: Option<&str>) {
    if !can_run() {
        return;
    }
    let app = "failing_fastapi:streams";
    let server = tls
        .map_or_else(|| Server::uvicorn(app, "h11"), |event_loop| Server::uvicorn_tls(app, event_loop))
        .unwrap();
    cut_answers(server, "_run_coro wrap stream_response parts fail");
}

/// The standard library's server closes the connection of a request that failed, and nothing was ever sent on it.
#[rstest]
fn every_interpreter_that_cuts_connections_inside_tls(#[values("auto", "always")] errors: &str) {
    if !can_run() {
        return;
    }
    for interpreter in interpreters() {
        println!("{}", interpreter.display());
        let server = Server::script_tls_of(&interpreter, "failing_bare.py").unwrap();
        let around =
            "process_request_thread finish_request __init__ handle handle_one_request do_GET answer fail";
        let none_left = format!("- {NONE_LEFT} | @ plain leaf");
        let cases = [
            ("/a/plain", none_left.as_str()),
            ("/a/nested", "- KeyError: 'missing' | @ nested inner"),
            ("/a/caught", "200"),
            ("/a/explicit", "503"),
            ("/a/chained", "- failures.NoStock: cannot look up | @ chained"),
        ];
        run(server, errors, around, &cases);
    }
}

/// 500 is an entry of HPACK's own table, 503 is written out and then refers to that.
#[rstest]
#[case::clear(false, "auto")]
#[case::clear_always(false, "always")]
#[case::tls(true, "auto")]
#[case::tls_always(true, "always")]
fn streams(#[case] tls: bool, #[case] errors: &str) {
    if !can_run() {
        return;
    }
    let app = "failing_fastapi:app";
    let server = if tls { Server::hypercorn_tls(app) } else { Server::hypercorn(app) };
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let cases = [
        ("/fail/plain", none_left.as_str()),
        ("/fail/caught", "200"),
        ("/fail/explicit", "503"),
        ("/task/nested", "500 KeyError: 'missing' | @ task child fail nested inner"),
        ("/fail/explicit", "503"),
        ("/fail/chained", "500 failures.NoStock: cannot look up | @ view fail chained"),
        ("/sync/explicit", "503"),
    ];
    run_http2(server.unwrap(), errors, FASTAPI, &cases);
}

/// hypercorn answers for an app that raised, after it has written that to its log.
#[rstest]
fn streams_without_a_framework(#[values("auto", "always")] errors: &str) {
    if !can_run() {
        return;
    }
    let server = Server::hypercorn("failing_bare:asgi").unwrap();
    let none_left = format!("500 {NONE_LEFT} | @ fail plain leaf");
    let cases = [
        ("/a/plain", none_left.as_str()),
        ("/a/explicit", "503"),
        ("/a/nested", "500 KeyError: 'missing' | @ fail nested inner"),
    ];
    run_http2(server, errors, "_handle __call__ asgi answer", &cases);
}

/// One thread reads, others serve and send.
#[rstest]
#[case::flask("failing_flask:app", FLASK, "/fail")]
#[case::bare("failing_bare:app", "service service execute translate_proxy_headers app answer", "/a")]
fn waitress(
    #[case] app: &str,
    #[case] around: &str,
    #[case] path: &str,
    #[values("auto", "always")] errors: &str,
) {
    if !can_run() {
        return;
    }
    let view = if path == "/fail" { "view " } else { "" };
    let [plain, explicit, nested] = ["plain", "explicit", "nested"].map(|case| format!("{path}/{case}"));
    let none_left = format!("500 {NONE_LEFT} | @ {view}fail plain leaf");
    let missing = format!("500 KeyError: 'missing' | @ {view}fail nested inner");
    let cases =
        [(plain.as_str(), none_left.as_str()), (&explicit, "503"), (&nested, &missing), (&explicit, "503")];
    run(Server::waitress(app).unwrap(), errors, around, &cases);
}

/// Where nothing had to be attached before the first request failed.
#[rstest]
#[case::flask("failing_flask:app", &[], FLASK, "/fail")]
#[case::threads("failing_flask:app", &["--threads", "4"], FLASK, "/fail")]
#[case::gevent("failing_flask:app", &["--worker-class", "gevent"], FLASK, "/fail")]
#[case::django("failing_django:app", &[], "inner _get_response", "/fail")]
fn the_first_failure(
    #[case] app: &str,
    #[case] arguments: &[&str],
    #[case] around: &str,
    #[case] path: &str,
    #[values("caught", "explicit", "chained", "plain")] before: &str,
) {
    if !can_run() {
        return;
    }
    let before = format!("{path}/{before}");
    let first = format!("{path}/nested");
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let says = match before.rsplit('/').next() {
        Some("caught") => "200",
        Some("explicit") => "503",
        Some("chained") => "500 failures.NoStock: cannot look up | @ view fail chained",
        _ => &none_left,
    };
    let cases = [
        (before.as_str(), says),
        (&first, "500 KeyError: 'missing' | @ view fail nested inner"),
        (&before, says),
    ];
    run(Server::gunicorn(app, arguments).unwrap(), "auto", around, &cases);
}
