//! What heads say, whatever protocol carries them. Invariant: what is not known is `None`, not empty.

use model::HttpVersion;
use protocol::http1::{Asked, Headers, RequestHead, ResponseHead};

use crate::route::method_in_name;

/// What is known of an exchange that is no HTTP request when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning<'a> {
    /// Low in cardinality. Its first word alone stands for it where the app has too many names.
    pub(crate) name: &'a str,
    /// Counts the exchanges of a connection.
    pub(crate) number: u64,
    /// When its first byte passed.
    pub(crate) start_ns: u64,
    /// Where that byte stands in its direction.
    pub(crate) position: u64,
}

/// What a request's head says, whatever protocol carries it. `None`: not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) method: Option<&'a str>,
    /// As sent: a path with its query, or one of the other forms.
    pub(crate) target: Option<&'a str>,
    /// Where it does not stand in the target or in `Host`.
    pub(crate) authority: Option<&'a str>,
    pub(crate) version: Option<HttpVersion>,
    pub(crate) headers: &'a Headers,
    /// Fields may be missing.
    pub(crate) is_cut: bool,
    /// It may have been written by another thread than the one whose call it is.
    pub(crate) by_any_thread: bool,
}

impl<'a> From<&'a RequestHead> for Asking<'a> {
    fn from(head: &'a RequestHead) -> Self {
        Self {
            method: Some(&head.method),
            target: Some(&head.target),
            authority: None,
            version: head.version,
            headers: &head.headers,
            is_cut: head.truncated,
            by_any_thread: false,
        }
    }
}

/// What a response's head says, whatever protocol carries it. `None`: not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answering<'a> {
    pub(crate) status: Option<u16>,
    pub(crate) version: Option<HttpVersion>,
    pub(crate) headers: &'a Headers,
}

impl<'a> From<&'a ResponseHead> for Answering<'a> {
    fn from(head: &'a ResponseHead) -> Self {
        Self { status: Some(head.status), version: head.version, headers: &head.headers }
    }
}

/// What the response parser must know of a request.
pub(crate) fn asked(method: &str) -> Asked {
    match method_in_name(method) {
        "HEAD" => Asked::Head,
        "CONNECT" => Asked::Connect,
        _ => Asked::Other,
    }
}
