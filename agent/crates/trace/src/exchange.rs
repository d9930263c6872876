//! One request and its response while they pass.

use std::sync::Arc;

use model::{AttributeValue, End, Exception, Exceptions, Fault, Identity, Span, SpanKind};

use crate::app::AppIndex;
use crate::crossing::Wire;
use crate::lineage::Call;
use crate::place::Thread;
use crate::sdk::SdkSpan;

/// The attribute that says what kind of stream a response is, and its value for server-sent events.
pub(crate) const STREAM_KIND: &str = "http.response.stream.kind";
pub(crate) const EVENTS: &str = "events";

/// An exchange that has begun. The span in it is filled as things become known.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Counts the requests of a connection.
    pub(crate) number: u64,
    pub(crate) span: Span,
    /// The app of the process, as it was when the exchange began.
    pub(crate) app: AppIndex,
    /// The process whose thread began it; `span.process` may be a placeholder.
    pub(crate) pid: u32,
    /// The path's template, if there is a path.
    pub(crate) template: Option<String>,
    /// The template of the framework's rule that it goes to, where that is known.
    pub(crate) route: Option<Arc<str>>,
    /// Where the request begins in its direction. `None`: it had passed before the probe looked.
    pub(crate) request_position: Option<u64>,
    /// The request's last byte has passed.
    pub(crate) request_done: bool,
    /// Where the final response begins in its direction, once it does.
    pub(crate) response_position: Option<u64>,
    /// The last byte of it that was seen.
    pub(crate) last_ns: u64,
    /// What began it, in its process.
    pub(crate) identity: Identity,
    /// What read its first byte, even if that need not serve it.
    pub(crate) read_by: Identity,
    /// A server's: its process cannot have worked for it before.
    pub(crate) begun_ns: u64,
    /// A server's: the context in which its response is sent, and when that was last seen.
    pub(crate) answered: Option<(u64, u64)>,
    /// A client's that waits to know its parent.
    pub(crate) waits: Option<Call>,
    /// The connection by which its other end may be known.
    pub(crate) wire: Option<Wire>,
    /// A client's: the span that an SDK in the process makes of it.
    pub(crate) sdk: Option<Box<SdkSpan>>,
    /// What was raised while it was served, if that went further than the code that serves.
    pub(crate) exception: Option<Box<Exception>>,
    /// What was raised since it began may have been that, and had to give way to others.
    pub(crate) misses_exception: bool,
}

impl Exchange {
    /// One that begins now, and of which nothing is known yet.
    pub(crate) fn new(number: u64, span: Span, app: AppIndex, thread: Thread, start_ns: u64) -> Self {
        Self {
            number,
            span,
            app,
            pid: thread.pid,
            template: None,
            route: None,
            request_position: None,
            request_done: false,
            response_position: None,
            last_ns: start_ns,
            identity: thread.identity,
            read_by: thread.identity,
            begun_ns: start_ns,
            answered: None,
            waits: None,
            wire: None,
            sdk: None,
            exception: None,
            misses_exception: false,
        }
    }

    /// The connection goes on in another protocol once this response's head has passed (RFC 9110 sections
    /// 7.8 and 9.3.6).
    pub(crate) fn switches(&self) -> bool {
        match self.span.status {
            Some(101) => true,
            Some(200..=299) => self.span.method.as_deref() == Some("CONNECT"),
            _ => false,
        }
    }

    /// Exceptions that may have ended it, the last one first. One that is older than the request belongs to another.
    pub(crate) fn raised(&mut self, raised: &Exceptions) {
        let began_ns = self.begun_ns;
        let is_its = |exception: &&Exception| exception.raised_ns == 0 || exception.raised_ns >= began_ns;
        if let Some(exception) = raised.exceptions.iter().find(is_its) {
            self.exception = Some(Box::new(exception.clone()));
        }
        self.misses_exception |= raised.displaced_ns.is_some_and(|raised_ns| raised_ns >= began_ns);
    }

    /// Bytes of this exchange have passed.
    pub(crate) fn touch(&mut self, at_ns: u64) {
        self.last_ns = self.last_ns.max(at_ns);
    }
}

/// Why a span that ended so is an error. A broken exchange says so even if it has a status. Without a status
/// it is what the conversation has found.
pub(crate) fn fault(span: &Span, end: End, error_status: u16) -> Option<Fault> {
    match end {
        End::Reset => Some(Fault::Reset),
        End::TimedOut => Some(Fault::TimedOut),
        End::ProcessExited => Some(Fault::ProcessExited),
        // Server-sent events have no end of their own: it is the client that leaves.
        End::ClientClosed if is_events(span) => None,
        End::ClientClosed | End::ServerClosed => Some(Fault::Incomplete),
        End::NotConnected => span.fault,
        End::Ongoing => None,
        End::Complete | End::Upgraded | End::ProbeJoinedLate | End::ProbeStopped | End::ProbeLost => {
            let by_status = span.status.is_some_and(|status| status >= error_status).then_some(Fault::Status);
            by_status.or(span.fault)
        }
    }
}

/// Whether the response is a stream of server-sent events.
pub(crate) fn is_events(span: &Span) -> bool {
    span.attribute(STREAM_KIND).and_then(AttributeValue::as_text) == Some(EVENTS)
}

/// How an exchange ends when one side closes too early.
pub(crate) fn closed_by(kind: SpanKind, peer: bool) -> End {
    match (kind, peer) {
        (SpanKind::Server, true) | (SpanKind::Client, false) => End::ClientClosed,
        (SpanKind::Server, false) | (SpanKind::Client, true) => End::ServerClosed,
    }
}
