//! Where and by whom a span is begun.

use std::sync::Arc;

use model::{Address, End, Parent, Process, Protocol, Span, SpanId, SpanKind, TraceId};

/// Where an exchange takes place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) kind: SpanKind,
    pub(crate) local: Address,
    pub(crate) peer: Address,
    /// Who really asks, where a trusted peer has said so ahead of everything else.
    pub(crate) client: Option<Address>,
}

/// A thread of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
}

/// The trace that a new span belongs to.
#[derive(Debug)]
pub(crate) struct Lineage {
    pub(crate) trace_id: TraceId,
    pub(crate) parent: Option<Parent>,
    /// The trace is to be kept.
    pub(crate) flagged: bool,
}

impl Place {
    /// The address that is asked, for spans whose request names no host.
    pub(crate) fn asked(&self) -> String {
        match self.kind {
            SpanKind::Server => self.local.to_string(),
            SpanKind::Client => self.peer.to_string(),
        }
    }

    /// Who asks a server, as far as the connection tells.
    pub(crate) fn asker(&self) -> &Address {
        self.client.as_ref().unwrap_or(&self.peer)
    }

    /// A span that has begun here in a protocol, and of which nothing else is known, not even the host.
    pub(crate) fn blank(
        &self,
        protocol: Protocol,
        thread: Thread,
        process: Arc<Process>,
        start_ns: u64,
        lineage: Lineage,
        span_id: SpanId,
    ) -> Span {
        Span {
            kind: self.kind,
            process,
            tid: thread.tid,
            name: Arc::default(),
            route: None,
            method: None,
            protocol,
            scheme: protocol.scheme(),
            host: String::new(),
            target: None,
            status: None,
            http_version: None,
            user_agent: None,
            headers: Vec::new(),
            attributes: Vec::new(),
            start_unix_ns: 0,
            start_ns,
            duration_ns: 0,
            ttfb_ns: None,
            request_bytes: 0,
            response_bytes: 0,
            local: self.local.clone(),
            peer: self.peer.clone(),
            client_addr: None,
            trace_id: lineage.trace_id,
            span_id,
            parent: lineage.parent,
            trace_state: None,
            head_sampled: lineage.flagged,
            sampled: true,
            fault: None,
            end: End::Complete,
        }
    }
}
