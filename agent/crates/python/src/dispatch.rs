//! Whether an exception left the code that serves a request, or was handled by it.
//!
//! Everyday code raises and catches all the time. What ends a request goes through the code of a framework or a
//! server that called the service's own code. Invariant: an exception that was caught by the code that was called is
//! not said to have left it.

use crate::code::Frame;

/// Files, by the end of their path or a folder in it, of the code that calls a service's code: what comes through
/// here, the service did not catch. From the frameworks' and servers' sources.
const DISPATCH: &[&str] = &[
    // Frameworks.
    "/aiohttp/web_app.py",
    "/aiohttp/web_middlewares.py",
    "/aiohttp/web_protocol.py",
    "/aiohttp/web_urldispatcher.py",
    "/bottle.py",
    "/cherrypy/_cprequest.py",
    "/django/core/handlers/",
    "/django/views/generic/base.py",
    "/falcon/app.py",
    "/falcon/asgi/app.py",
    "/fastapi/routing.py",
    "/flask/app.py",
    "/flask/views.py",
    "/litestar/handlers/",
    "/litestar/middleware/",
    "/litestar/routes/",
    "/pyramid/router.py",
    "/pyramid/tweens.py",
    "/quart/app.py",
    "/rest_framework/views.py",
    "/sanic/app.py",
    "/starlette/_exception_handler.py",
    "/starlette/applications.py",
    "/starlette/middleware/",
    "/starlette/responses.py",
    "/starlette/routing.py",
    "/tornado/http1connection.py",
    "/tornado/web.py",
    "/tornado/wsgi.py",
    // Servers.
    "/asgiref/wsgi.py",
    "/cheroot/wsgi.py",
    "/daphne/",
    "/eventlet/wsgi.py",
    "/gevent/pywsgi.py",
    "/gunicorn/workers/",
    "/http/server.py",
    "/hypercorn/",
    "/meinheld/",
    "/socketserver.py",
    "/uvicorn/",
    "/waitress/",
    "/werkzeug/serving.py",
    "/wsgiref/handlers.py",
];

/// Libraries between a framework and the code it calls, and below both: that an exception comes out of them into a
/// framework says nothing yet.
const BETWEEN: &[&str] = &[
    "/anyio/",
    "/asgiref/",
    "/gevent/",
    "/greenlet/",
    "/h11/",
    "/h2/",
    "/multidict/",
    "/sniffio/",
    "/starlette/",
    "/tornado/",
    "/werkzeug/",
    "/wsproto/",
    "/yarl/",
];

/// Types that steer the flow of programs, and end no request by themselves.
const STEERING: &[&str] = &[
    "GeneratorExit",
    "StopAsyncIteration",
    "StopIteration",
    "asyncio.exceptions.CancelledError",
    "concurrent.futures._base.CancelledError",
    "django.core.exceptions.RequestAborted",
];

/// Whether an exception of this type (`module.QualName`) that has left these frames, the innermost first, has left
/// the code that serves.
pub fn left_service<'a>(type_name: &str, frames: impl DoubleEndedIterator<Item = &'a Frame>) -> bool {
    if STEERING.contains(&type_name) {
        return false;
    }
    let mut served = false;
    let mut dispatched_only = true;
    let mut count = 0;
    for frame in frames {
        match role(&frame.file) {
            Role::Dispatch if served => return true,
            Role::Service => served = true,
            Role::Between => dispatched_only = false,
            Role::Dispatch => {}
        }
        count += 1;
    }
    // The framework's own mistake, or one it found in what the service gave back. What it left only one function of was
    // most likely caught there.
    !served && dispatched_only && count > 1
}

/// Whether code of this file calls a service's code.
pub fn is_dispatch(file: &str) -> bool {
    role(file) == Role::Dispatch
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Calls the service's code.
    Dispatch,
    /// Neither.
    Between,
    /// The service's own code, or a library that it uses.
    Service,
}

fn role(file: &str) -> Role {
    let is = |parts: &[&str]| {
        parts.iter().any(|part| if part.ends_with('/') { file.contains(part) } else { file.ends_with(part) })
    };
    if is(DISPATCH) {
        Role::Dispatch
    } else if is(BETWEEN) || is_standard(file) {
        Role::Between
    } else {
        Role::Service
    }
}

/// Part of Python itself: `/usr/lib/python3.11/asyncio/tasks.py`, `<frozen importlib._bootstrap>`.
fn is_standard(file: &str) -> bool {
    if file.starts_with("<frozen ") {
        return true;
    }
    let Some((_, rest)) = file.rsplit_once("/lib/python3.") else { return false };
    !rest.contains("/site-packages/") && !rest.contains("/dist-packages/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_through_a_framework_was_not_caught() {
        const SITE: &str = "/venv/lib/python3.11/site-packages";
        const LIB: &str = "/usr/lib/python3.11";
        let table: &[(&str, &[&str], bool)] = &[
            // A view, bare or through a library it uses.
            ("ValueError", &["/srv/shop.py", "SITE/flask/app.py", "SITE/flask/app.py"], true),
            ("ValueError", &["LIB/json/decoder.py", "/srv/shop.py", "SITE/flask/app.py"], true),
            (
                "x.E",
                &["SITE/sqlalchemy/engine.py", "/srv/shop.py", "SITE/django/core/handlers/base.py"],
                true,
            ),
            // A view of a library.
            ("x.E", &["SITE/graphene_django/views.py", "SITE/django/core/handlers/base.py"], true),
            // In a thread of a pool.
            (
                "x.E",
                &[
                    "/srv/shop.py",
                    "SITE/anyio/_backends/_asyncio.py",
                    "SITE/anyio/to_thread.py",
                    "SITE/fastapi/routing.py",
                ],
                true,
            ),
            // What makes an answer, part by part.
            ("x.E", &["/srv/shop.py", "SITE/starlette/responses.py", "SITE/starlette/responses.py"], true),
            // A bare application.
            ("x.E", &["/srv/app.py", "SITE/uvicorn/protocols/http/h11_impl.py"], true),
            ("x.E", &["/srv/app.py", "LIB/wsgiref/handlers.py"], true),
            // The framework's middleware caught it, after it had left the service.
            ("x.E", &["/srv/app.py", "SITE/starlette/routing.py", "/srv/middleware.py"], true),
            // Caught by the code that was called.
            ("KeyError", &["/srv/shop.py"], false),
            ("KeyError", &["LIB/os.py", "/srv/shop.py"], false),
            ("x.E", &["SITE/redis/connection.py", "SITE/redis/client.py", "/srv/shop.py"], false),
            // Between a framework and its libraries.
            ("KeyError", &["LIB/os.py", "LIB/_collections_abc.py"], false),
            (
                "anyio.EndOfStream",
                &["SITE/anyio/streams/memory.py", "SITE/starlette/middleware/base.py"],
                false,
            ),
            ("werkzeug.E", &["SITE/werkzeug/datastructures/headers.py", "SITE/flask/app.py"], false),
            ("StopIteration", &["/srv/shop.py", "SITE/gunicorn/workers/sync.py"], false),
            // The server's own mistake, or the application's that only it could see.
            ("TypeError", &["SITE/gunicorn/workers/sync.py", "SITE/gunicorn/workers/sync.py"], true),
            ("KeyError", &["SITE/waitress/channel.py"], false),
            ("ValueError", &[], false),
        ];
        for (type_name, files, want) in table {
            let frame = |file: &&str| Frame {
                file: file.replace("SITE", SITE).replace("LIB", LIB).into(),
                line: Some(1),
                function: "f".into(),
            };
            let frames: Vec<_> = files.iter().map(frame).collect();
            assert_eq!(left_service(type_name, frames.iter()), *want, "{type_name} {files:?}");
        }
    }
}
