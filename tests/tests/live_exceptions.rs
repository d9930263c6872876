//! Exceptions that end requests, as the frameworks raise them: exact types, messages and functions, on the spans of
//! the requests they ended and on no others.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rstest::rstest;
use tests::failures::{FASTAPI, NONE_LEFT, assert_said, interpreters, spans, with};
use tests::probe::SpanLine;
use tests::server::Server;
use tests::watch::can_run;

fn run(server: Server, errors: &str, cases: &[(String, String)]) -> Vec<SpanLine> {
    let paths: Vec<_> = cases.iter().map(|(path, _)| path.as_str()).collect();
    let spans = spans(server, errors, &paths).unwrap();
    assert_said(&spans, cases);
    spans
}

#[test]
fn flask() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("failing_flask:app", &[]).unwrap();
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let cases = with(
        "wsgi_app full_dispatch_request full_dispatch_request dispatch_request",
        &[
            ("/fail/plain", &none_left),
            ("/fail/nested", "500 KeyError: 'missing' | @ view fail nested inner"),
            ("/fail/caught", "200"),
            ("/fail/explicit", "503"),
            ("/fail/chained", "500 failures.NoStock: cannot look up | @ view fail chained"),
            ("/fail/in_context", "500 failures.NoStock: second | @ view fail in_context leaf"),
            (
                "/fail/file",
                "500 FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file' | @ view fail file",
            ),
            ("/fail/speechless", "500 failures.Speechless: what was given | @ view fail speechless"),
            ("/fail/surrogate", "500 ValueError: bad \\udc80 byte | @ view fail surrogate"),
            ("/fail/secret", "500 ValueError: cannot log in with password=*** | @ view fail secret"),
            ("/pool/caught", "200"),
            ("/pool/nested", "500 KeyError: 'missing' | @ pooled result __get_result run fail nested inner"),
            (
                "/stream/nested",
                "200 KeyError: 'missing' | handle_request __next__ _iter_encoded parts fail nested inner",
            ),
        ],
    );
    let spans = run(server, "always", &cases);
    let trace = |span: &SpanLine| span.attributes["exception.stacktrace"].as_str().unwrap().to_owned();
    let chained = trace(&spans[4]);
    assert!(chained.contains("KeyError: 'item'\n\nThe above exception was the direct cause"), "{chained}");
    assert!(chained.ends_with("in chained\nfailures.NoStock: cannot look up"), "{chained}");
    let context = trace(&spans[5]);
    assert!(context.contains("ValueError: first\n\nDuring handling of the above"), "{context}");
    let plain = trace(&spans[0]);
    assert!(plain.contains("failures.py\", line 18, in plain\n"), "{plain}");
    assert!(plain.contains("failures.py\", line 14, in leaf\n"), "{plain}");
    assert_eq!(spans[0].error.as_deref(), Some(format!("HTTP 500: {NONE_LEFT}").as_str()));
    assert_eq!(spans[12].end, "server_closed");
}

#[test]
fn long_messages_and_deep_recursion_are_cut() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("failing_flask:app", &["--threads", "4"]).unwrap();
    let spans = spans(server, "always", &["/fail/long", "/fail/recursion"]).unwrap();
    let text = |span: &SpanLine, name: &str| match span.attributes.get(name) {
        Some(value) => value.as_str().unwrap().to_owned(),
        None => panic!("{name}: {span:?}"),
    };
    let message = text(&spans[0], "exception.message");
    let kept = message.strip_suffix('\u{2026}').unwrap();
    assert!((200..=1024).contains(&kept.len()) && kept.bytes().all(|byte| byte == b'x'), "{}", kept.len());
    assert_eq!(text(&spans[1], "exception.type"), "RecursionError");
    let trace = text(&spans[1], "exception.stacktrace");
    assert!(trace.starts_with("Traceback (most recent call last):\n  File "), "{trace}");
    assert!(trace.contains("dispatch_request\n") && trace.contains(" frames left out]\n"), "{trace}");
    assert!(trace.contains("maximum recursion depth exceeded"), "{trace}");
}

#[rstest]
#[case::wsgi(false)]
#[case::asgi(true)]
fn django(#[case] asgi: bool) {
    if !can_run() {
        return;
    }
    let (server, sync, run_async) = if asgi {
        (
            Server::uvicorn("failing_django:asgi", "h11").unwrap(),
            "inner thread_handler _get_response_async __call__ run thread_handler func run_child",
            Some("inner thread_handler _get_response_async"),
        )
    } else {
        (Server::gunicorn("failing_django:app", &[]).unwrap(), "inner _get_response", None)
    };
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let mut cases = with(
        sync,
        &[
            ("/fail/plain", &none_left),
            ("/fail/caught", "200"),
            ("/fail/explicit", "503"),
            ("/fail/chained", "500 failures.NoStock: cannot look up | @ view fail chained"),
            ("/fail/nested", "500 KeyError: 'missing' | @ view fail nested inner"),
        ],
    );
    if let Some(around) = run_async {
        let cases_async = [
            ("/async/nested", "500 KeyError: 'missing' | @ async_view fail nested inner"),
            ("/async/explicit", "503"),
        ];
        cases.extend(with(around, &cases_async));
    }
    run(server, "always", &cases);
}

/// Nothing has to be attached here: the framework answers while it handles the exception.
#[rstest]
#[case::h11("h11", "auto")]
#[case::httptools("httptools", "always")]
fn fastapi(#[case] http: &str, #[case] errors: &str) {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn("failing_fastapi:app", http).unwrap();
    let none_left = format!("500 {NONE_LEFT} | @ view fail plain leaf");
    let cases = with(
        FASTAPI,
        &[
            ("/fail/plain", &none_left),
            ("/fail/caught", "200"),
            ("/fail/chained", "500 failures.NoStock: cannot look up | @ view fail chained"),
            (
                "/sync/nested",
                "500 KeyError: 'missing' | @ run_in_threadpool run_sync run_sync_in_worker_thread run \
                 _run_sync_endpoint sync fail nested inner",
            ),
            ("/pool/nested", "500 KeyError: 'missing' | @ pooled run fail nested inner"),
            ("/task/nested", "500 KeyError: 'missing' | @ task child fail nested inner"),
            ("/background/nested", "200"),
            ("/fail/explicit", "503"),
            ("/sync/explicit", "503"),
        ],
    );
    run(server, errors, &cases);
}

#[rstest]
#[case::aiohttp("failing_aiohttp.py", "_handle_request _handle view")]
#[case::tornado("failing_tornado.py", "_execute get")]
fn servers_of_their_own(#[case] script: &str, #[case] around: &str) {
    if !can_run() {
        return;
    }
    let none_left = format!("500 {NONE_LEFT} | @ fail plain leaf");
    let cases = with(
        around,
        &[
            ("/fail/plain", &none_left),
            ("/fail/caught", "200"),
            ("/fail/explicit", "503"),
            ("/fail/chained", "500 failures.NoStock: cannot look up | @ fail chained"),
        ],
    );
    run(Server::script(script, &[]).unwrap(), "auto", &cases);
}

#[rstest]
#[case::wsgi(false, "handle handle_request app answer")]
#[case::asgi(true, "run_asgi __call__ asgi answer")]
fn without_a_framework(#[case] asgi: bool, #[case] around: &str) {
    if !can_run() {
        return;
    }
    let server = if asgi {
        Server::uvicorn("failing_bare:asgi", "h11")
    } else {
        Server::gunicorn("failing_bare:app", &[])
    };
    let none_left = format!("500 {NONE_LEFT} | @ fail plain leaf");
    let cases = with(
        around,
        &[
            ("/a/plain", &none_left),
            ("/a/explicit", "503"),
            ("/a/nested", "500 KeyError: 'missing' | @ fail nested inner"),
        ],
    );
    run(server.unwrap(), "auto", &cases);
}

/// The standard library's server closes the connection of a request that failed, after it has reported that.
#[rstest]
fn every_interpreter_at_hand(#[values("auto", "always")] errors: &str) {
    if !can_run() {
        return;
    }
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no Python 3.8 to 3.14 on this machine");
    for interpreter in interpreters {
        let server = Server::script_of(&interpreter, "failing_bare.py").unwrap();
        let around =
            "process_request_thread finish_request __init__ handle handle_one_request do_GET answer fail";
        let none_left = format!("- {NONE_LEFT} | @ plain leaf");
        let cases = with(
            around,
            &[
                ("/a/plain", &none_left),
                ("/a/nested", "- KeyError: 'missing' | @ nested inner"),
                ("/a/caught", "200"),
                ("/a/explicit", "503"),
                ("/a/chained", "- failures.NoStock: cannot look up | @ chained"),
                (
                    "/a/file",
                    "- FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file' | @ file",
                ),
            ],
        );
        println!("{}", interpreter.display());
        run(server, errors, &cases);
    }
}

#[test]
fn off_is_off() {
    if !can_run() {
        return;
    }
    let server = Server::script("failing_aiohttp.py", &[]).unwrap();
    run(server, "off", &with("", &[("/fail/plain", "500")]));
}
