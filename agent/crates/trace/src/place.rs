//! Where and by whom a span is begun.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use model::{
    Address, Attribute, End, Identity, Origin, Parent, Process, Protocol, Span, SpanId, SpanKind, Timing,
    TraceId,
};
use protocol::database::System;

use crate::lineage::Call;
use crate::sdk::SdkSpan;

/// Where an exchange takes place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) kind: SpanKind,
    pub(crate) local: Address,
    pub(crate) peer: Address,
    /// The network namespace's inode number.
    pub(crate) netns: u32,
    /// Where positions are counted from.
    pub(crate) origin: Origin,
    /// Who really asks, where a trusted peer has said so ahead of everything else.
    pub(crate) client: Option<Address>,
    /// The database's product, where it was told ahead of everything else.
    pub(crate) system: Option<System>,
}

/// A thread of a process, and what it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) identity: Identity,
    /// The times around the call in hand.
    pub(crate) timing: Timing,
}

/// The same thread, whatever it runs.
impl PartialEq for Thread {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.tid) == (other.pid, other.tid)
    }
}

impl Eq for Thread {}

impl Hash for Thread {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.pid, self.tid).hash(state);
    }
}

impl Thread {
    /// For what begins within the bytes of the call, not with them: how long it has waited is not known.
    pub(crate) fn within_call(mut self, begins_within: bool) -> Self {
        if begins_within {
            self.timing.waited = None;
        }
        self
    }
}

/// The trace that a new span belongs to.
#[derive(Debug)]
pub(crate) struct Lineage {
    pub(crate) trace_id: TraceId,
    pub(crate) parent: Option<Parent>,
    /// The trace is to be kept.
    pub(crate) flagged: bool,
    /// Why the parent is not known, if there may be one.
    pub(crate) doubt: Option<&'static str>,
    /// The call that waits to know its parent.
    pub(crate) waits: Option<Call>,
    /// The span that an SDK in the process makes of it.
    pub(crate) sdk: Option<Box<SdkSpan>>,
}

impl Lineage {
    /// A trace in which nothing came before.
    pub(crate) fn new(trace_id: TraceId) -> Self {
        Self { trace_id, parent: None, flagged: false, doubt: None, waits: None, sdk: None }
    }
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
            attributes: lineage.doubt.map(unknown_parent).into_iter().collect(),
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

/// The attribute that says why a parent is not known.
pub(crate) const UNKNOWN_PARENT: &str = "stardust_probe.parent";

/// Says of a span why its parent is not known.
pub(crate) fn unknown_parent(reason: &'static str) -> Attribute {
    Attribute { name: UNKNOWN_PARENT, value: format!("unknown: {reason}").into() }
}
