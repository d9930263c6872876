//! What makes an exchange a gRPC call, and what the call came to (gRPC over HTTP/2; OpenTelemetry's semantic
//! conventions for RPC).

use model::{Fault, Protocol, Span, SpanKind};
use protocol::http1::Headers;

use crate::exchange::Exchange;

/// The status codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The codes that are the server's fault; others are the caller's.
const SERVER_FAULTS: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// Whether a request or a response says that it is gRPC.
pub(super) fn is_grpc(headers: &Headers) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.strip_prefix("application/grpc"));
    // Not `application/grpc-web`, which frames its trailers in the body.
    kind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// `grpc-status`, in trailers or in a response of trailers only.
pub(super) fn status(headers: &Headers) -> Option<u32> {
    headers.get("grpc-status")?.trim().parse().ok()
}

/// Makes an exchange a call, once.
pub(super) fn mark(exchange: &mut Exchange) {
    let span = &mut exchange.span;
    if span.protocol == Protocol::Grpc {
        return;
    }
    span.protocol = Protocol::Grpc;
    span.set("rpc.system", "grpc");
    let path = span.target.as_deref().and_then(|path| path.split('?').next());
    let Some((service, method)) = path.and_then(|path| path.strip_prefix('/')?.rsplit_once('/')) else {
        return;
    };
    let (service, method) = (service.to_owned(), method.to_owned());
    exchange.template = Some(format!("/{service}/{method}"));
    span.set("rpc.service", service);
    span.set("rpc.method", method);
}

/// Writes down what a call came to: its status, and how many messages were sent each way where that is certain.
pub(super) fn settle(span: &mut Span, status: Option<u32>, [requests, responses]: [Option<u64>; 2]) {
    if let Some(requests) = requests {
        span.set("rpc.requests_per_rpc", requests);
    }
    if let Some(responses) = responses {
        span.set("rpc.responses_per_rpc", responses);
    }
    let Some(status) = status else { return };
    span.set("rpc.grpc.status_code", status);
    let code = CODES.get(status as usize).copied().unwrap_or("UNKNOWN");
    let fault = match span.kind {
        SpanKind::Client => status != 0,
        SpanKind::Server => SERVER_FAULTS.contains(&code),
    };
    if fault {
        span.set("error.type", code);
        span.fault = Some(Fault::Answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn what_says_that_it_is_grpc() {
        for (kind, want) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&fixture::headers(&[("content-type", kind)])), want, "{kind}");
        }
    }

    #[test]
    fn the_status_decides_by_side() {
        for (kind, status, want) in [
            (SpanKind::Client, 0, None),
            (SpanKind::Client, 5, Some("NOT_FOUND")),
            (SpanKind::Server, 5, None),
            (SpanKind::Server, 14, Some("UNAVAILABLE")),
            (SpanKind::Server, 99, Some("UNKNOWN")),
        ] {
            let mut span = Span { kind, ..fixture::span("POST /a.B/C", 200, 1) };
            settle(&mut span, Some(status), [Some(1), None]);
            assert_eq!(span.attribute("error.type").and_then(|value| value.as_text()), want);
            assert_eq!(span.fault.is_some(), want.is_some());
            assert!(span.attribute("rpc.responses_per_rpc").is_none());
        }
    }
}
