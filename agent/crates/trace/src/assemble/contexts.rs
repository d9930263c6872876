//! What a request's headers say about where it comes from, redacted. Invariant: damaged headers are counted once.

use model::{Attribute, SpanKind};
use protocol::http1::Headers;

use super::Assembler;
use crate::context::{Context, Incoming};
use crate::text::cut;

const MAX_REQUEST_ID_CHARS: usize = 128;
/// Most text of a `baggage`: of what is more, the last entries are left out.
const MAX_BAGGAGE_BYTES: usize = 1024;

impl Assembler {
    /// The trace that a request names, and attributes of what is said beside it.
    pub(super) fn context(
        &mut self,
        (pid, kind): (u32, SpanKind),
        headers: &Headers,
    ) -> (Option<Incoming>, Vec<Attribute>) {
        let context = Context::of(headers);
        let damaged = &mut self.counts.bad_context_headers;
        let mut incoming = match kind {
            SpanKind::Server => {
                self.sdks.receive(pid, &context);
                context.incoming(damaged)
            }
            SpanKind::Client => context.outgoing(damaged),
        };
        let redactor = &self.policy.redactor;
        let mut said = Vec::new();
        if let Some(id) = context.request_id() {
            let id = cut(redactor.header("x-request-id", id), MAX_REQUEST_ID_CHARS);
            said.push(Attribute { name: "http.request.header.x-request-id", value: id.into() });
        }
        if kind == SpanKind::Client {
            return (incoming, said);
        }
        let baggage = shown(&context.baggage(damaged), |entry| redactor.pairs(entry));
        if !baggage.is_empty() {
            said.push(Attribute { name: "baggage", value: baggage.into() });
        }
        let caller = incoming.as_mut().map(|incoming| std::mem::take(&mut incoming.caller));
        said.extend(caller.into_iter().flatten().map(|Attribute { name, value }| {
            let value =
                value.as_text().map_or(value.clone(), |text| redactor.target(text).into_owned().into());
            Attribute { name, value }
        }));
        (incoming, said)
    }
}

/// Whole entries, joined as they came.
fn shown(entries: &[&str], redact: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for entry in entries {
        let entry = redact(entry);
        if text.len() + 1 + entry.len() > MAX_BAGGAGE_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&entry);
    }
    text
}
