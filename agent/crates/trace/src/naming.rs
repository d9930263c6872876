//! What a span is called once its exchange is over. Invariant: every name is within the app's ceiling.

use std::sync::{Arc, LazyLock};

use model::{End, Family, Protocol, Span, SpanKind};

use crate::route::{Name, Names};

/// The attribute that says where a server span's route is from, and its values.
const ROUTE_SOURCE: &str = "stardust_probe.route_source";
static MEMORY: LazyLock<Arc<str>> = LazyLock::new(|| "memory".into());
static LEARNED: LazyLock<Arc<str>> = LazyLock::new(|| "learned".into());

/// Gives a span its name and its route: the framework's, where that is known. True if the app has too many names for one of its own. Without a request
/// that was seen, and in HTTP, it keeps the name it has.
pub(crate) fn name(
    span: &mut Span,
    names: &mut Names,
    route: Option<&Arc<str>>,
    template: Option<&str>,
    request_seen: bool,
) -> bool {
    let name = match (span.protocol, template) {
        // A call has the name of its method, and a route, which is its path.
        (Protocol::Grpc, Some(path)) => {
            let name = names.admit(path.trim_start_matches('/'), "grpc");
            Some(Name { route: (!name.over_ceiling).then(|| path.into()), ..name })
        }
        // A session has the route of its handshake.
        (protocol, template) if protocol.family() == Family::Session => {
            let route = route.cloned().or_else(|| names.resolve(span.kind, "GET", template, false).route);
            let first = &*span.name;
            let text = route.as_ref().map_or_else(|| first.to_owned(), |route| format!("{first} {route}"));
            Some(Name { route, ..names.admit(&text, first) })
        }
        (protocol, _) if protocol.family() != Family::Http => {
            let first = span.name.split(' ').next().unwrap_or_default();
            Some(Name { route: span.route.take(), ..names.admit(&span.name, first) })
        }
        (_, template) if request_seen => {
            let strange = matches!(span.status, Some(400 | 404 | 405 | 410 | 414));
            let method = span.method.as_deref().unwrap_or_default();
            Some(match route {
                Some(route) => names.of_rule(method, route),
                None => names.resolve(span.kind, method, template, strange),
            })
        }
        _ => None,
    };
    let mut over = false;
    if let Some(Name { text, route, over_ceiling }) = name {
        span.name = text;
        span.route = route;
        over = over_ceiling;
    }
    let is_http = span.protocol.family() == Family::Http && span.protocol != Protocol::Grpc;
    if span.kind == SpanKind::Server && is_http && span.route.is_some() {
        tell_source(span, route.is_some());
    }
    if span.end == End::Ongoing {
        span.name = format!("{} (open)", span.name).into();
    }
    over
}

fn tell_source(span: &mut Span, by_framework: bool) {
    if by_framework && let Some(route) = span.route.clone() {
        span.set("http.route", route);
        span.set(ROUTE_SOURCE, MEMORY.clone());
    } else {
        span.set(ROUTE_SOURCE, LEARNED.clone());
    }
}
