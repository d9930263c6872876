//! What was raised, on the span of the request that it ended. Invariant: it stands there redacted, and only if the
//! request failed in the process that served it.

use model::{End, Exception, Fault, Span, SpanKind};

use crate::redact::Redactor;
use crate::text::cut;

const MAX_TYPE_CHARS: usize = 256;

/// Says what was raised, if the span is an error that came about here. Whether it is one.
pub(crate) fn describe(span: &mut Span, exception: Option<Box<Exception>>, redactor: &Redactor) -> bool {
    let is_ours = match span.fault {
        Some(Fault::Status) => span.kind == SpanKind::Server,
        Some(Fault::Incomplete | Fault::Reset) => {
            span.kind == SpanKind::Server && span.end != End::ClientClosed
        }
        _ => false,
    };
    if is_ours && let Some(exception) = exception {
        span.set("exception.type", cut(&exception.type_name, MAX_TYPE_CHARS));
        if let Some(message) = exception.message {
            span.set("exception.message", redactor.text(&message));
        }
        span.set("exception.stacktrace", redactor.text(&exception.stacktrace));
    }
    is_ours
}
