//! Moves a stream over bytes: seen ones (`run`) and unseen ones (`miss`). Every step takes at least one byte
//! or changes to a state that does.

use super::super::blind::Blind;
use super::super::chunked::{Chunks, Fed};
use super::super::detect::skip_empty_lines;
use super::super::empty_line::EmptyLine;
use super::super::flow::Flow;
use super::super::framing::Body;
use super::super::head::{Gathering, RawHead, Scan, Scanned};
use super::super::start_line::Verdict;
use super::super::{EndBy, Part};
use super::{Open, Reading, Rest, Side, Sink, State, Stream};

/// A head's bytes, wherever they stand.
struct Seen<'a> {
    scan: &'a Scan,
    bytes: &'a [u8],
    position: u64,
    start_ns: u64,
    truncated: bool,
}

impl<S: Side> Stream<S> {
    /// Takes bytes that were seen.
    pub(super) fn run(&mut self, mut bytes: &[u8], at_ns: u64, sink: &mut Sink<'_, S>) {
        while !bytes.is_empty() {
            let used = self.step(bytes, at_ns, sink);
            bytes = &bytes[used..];
        }
    }

    fn step(&mut self, bytes: &[u8], at_ns: u64, sink: &mut Sink<'_, S>) -> usize {
        let (used, over) = match &mut self.state {
            State::Boundary { sure } => {
                let sure = *sure;
                let blank = bytes.len() - skip_empty_lines(bytes).len();
                if blank == 0 {
                    return self.begin_head(bytes, sure, at_ns, sink);
                }
                (blank, false)
            }
            State::Head(_) => return self.grow_head(bytes, at_ns, sink),
            State::Body { rest: Rest::Counted(left), .. } => {
                let used = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= used as u64;
                (used, *left == 0)
            }
            State::Body { rest: Rest::Chunked(chunks), open, .. } => {
                let mut begun = 0;
                let fed = chunks.feed(bytes, &mut begun);
                self.flow.note(begun, at_ns);
                match fed {
                    Fed::More => (bytes.len(), false),
                    Fed::Over(end) => (end, true),
                    Fed::Broken => {
                        self.flow.incomplete = true;
                        self.state = State::Blind { open: *open, blind: Blind::Chunked { head_seen: true } };
                        (bytes.len(), false)
                    }
                }
            }
            State::Body { rest: Rest::UntilClose, .. } => {
                self.flow.note_call(at_ns);
                (bytes.len(), false)
            }
            State::Blind { blind: Blind::Head { line }, .. } => match line.find(bytes) {
                Some(end) => (end, true),
                None => (bytes.len(), false),
            },
            State::Blind { .. } | State::Searching | State::Done => (bytes.len(), false),
        };
        self.at += used as u64;
        if over {
            let is_blind = matches!(self.state, State::Blind { .. });
            let by = if is_blind { self.sighted() } else { EndBy::Framing };
            self.end(by, at_ns, sink);
        }
        used
    }

    /// Passes bytes that were not seen; `at_ns`: the latest time at which they surely had passed.
    pub(super) fn miss(&mut self, gap: u64, at_ns: u64, sink: &mut Sink<'_, S>) {
        if gap == 0 {
            return;
        }
        match &mut self.state {
            State::Boundary { sure: true } => self.lose(sink),
            State::Boundary { sure: false } => self.state = State::Searching,
            State::Head(_) => {
                self.cut_head(at_ns, sink);
                return self.miss(gap, at_ns, sink);
            }
            State::Body { rest: Rest::Counted(left), .. } => {
                let passed = gap.min(*left);
                *left -= passed;
                if *left == 0 {
                    self.at += passed;
                    self.end(EndBy::Framing, at_ns, sink);
                    return self.miss(gap - passed, at_ns, sink);
                }
            }
            State::Body { rest: Rest::Chunked(chunks), open, .. } => {
                if !chunks.skip(gap) {
                    self.flow.incomplete = true;
                    self.state = State::Blind { open: *open, blind: Blind::Chunked { head_seen: true } };
                }
            }
            State::Blind { blind: Blind::Head { line }, .. } => *line = EmptyLine::Within,
            State::Body { rest: Rest::UntilClose, .. } => self.flow.note_call(at_ns),
            State::Blind { .. } | State::Searching | State::Done => {}
        }
        self.at += gap;
    }

    /// A head from its first byte. A whole one is read where it stands, without a copy.
    fn begin_head(&mut self, bytes: &[u8], sure: bool, at_ns: u64, sink: &mut Sink<'_, S>) -> usize {
        let mut scan = Scan::new(S::start_line(sure));
        let (used, truncated) = match scan.feed(bytes) {
            Scanned::Over(end) => (end, false),
            Scanned::Full(end) if scan.is_readable(&bytes[..end], sure) => (end, true),
            Scanned::More => {
                let bytes = bytes.to_vec();
                let used = bytes.len();
                let head = Gathering { scan, bytes, position: self.at, start_ns: at_ns, sure };
                self.state = State::Head(Box::new(head));
                self.at += used as u64;
                return used;
            }
            Scanned::Refused | Scanned::Full(_) => {
                self.refuse(sure, sink);
                return 0;
            }
        };
        let position = self.at;
        self.at += used as u64;
        let seen = Seen { scan: &scan, bytes: &bytes[..used], position, start_ns: at_ns, truncated };
        self.tell_head(&seen, at_ns, sink);
        used
    }

    /// More of a head.
    fn grow_head(&mut self, bytes: &[u8], at_ns: u64, sink: &mut Sink<'_, S>) -> usize {
        let State::Head(head) = &mut self.state else { return bytes.len() };
        let (used, whole) = match head.scan.feed(bytes) {
            Scanned::More => {
                head.bytes.extend_from_slice(bytes);
                self.at += bytes.len() as u64;
                return bytes.len();
            }
            Scanned::Over(end) => (end, true),
            Scanned::Full(end) => (end, false),
            Scanned::Refused => {
                let sure = head.sure;
                self.refuse(sure, sink);
                return 0;
            }
        };
        head.bytes.extend_from_slice(&bytes[..used]);
        self.at += used as u64;
        if whole {
            self.close_head(false, at_ns, sink);
        } else {
            self.cut_head(at_ns, sink);
        }
        used
    }

    /// What follows of the gathered head will not be seen: reads what there is, if that is enough.
    fn cut_head(&mut self, at_ns: u64, sink: &mut Sink<'_, S>) {
        let State::Head(head) = &self.state else { return };
        if head.scan.is_readable(&head.bytes, head.sure) {
            self.close_head(true, at_ns, sink);
        } else if head.sure {
            self.lose(sink);
        } else {
            self.state = State::Searching;
        }
    }

    fn close_head(&mut self, truncated: bool, at_ns: u64, sink: &mut Sink<'_, S>) {
        let state = std::mem::replace(&mut self.state, State::Searching);
        let State::Head(head) = state else { return };
        let Gathering { scan, bytes, position, start_ns, .. } = &*head;
        let seen = Seen { scan, bytes, position: *position, start_ns: *start_ns, truncated };
        self.tell_head(&seen, at_ns, sink);
    }

    /// Reads a head, tells it, and goes on to what follows it.
    fn tell_head(&mut self, seen: &Seen<'_>, at_ns: u64, sink: &mut Sink<'_, S>) {
        let Seen { scan, bytes, position, start_ns, truncated } = *seen;
        let raw = RawHead { start: &scan.start, bytes, truncated };
        let Reading { head, body, sure, offers_switch } = self.side.read(raw);
        self.proven = true;
        self.flow = Flow::default();
        self.missed = false;
        self.searched_calls = 0;
        self.searched_bytes = 0;
        sink(Part::Head { head, start_ns, head_end_ns: at_ns, position });
        let open = Open { position, offers_switch };
        let blind = |blind| State::Blind { open, blind };
        let rest = |rest| State::Body { open, rest, sure };
        self.state = match body {
            Body::None if truncated => blind(Blind::Head { line: scan.line }),
            Body::Counted(bytes) if truncated => {
                blind(Blind::Counted { bytes, floor: self.at.saturating_add(bytes).saturating_add(1) })
            }
            Body::Chunked if truncated => blind(Blind::Chunked { head_seen: false }),
            Body::Unknown => blind(Blind::Unknown),
            Body::Counted(bytes) => rest(Rest::Counted(bytes)),
            Body::Chunked => rest(Rest::Chunked(Chunks::new())),
            Body::UntilClose | Body::None | Body::Unframeable | Body::Switched => rest(Rest::UntilClose),
        };
        match body {
            Body::None if !truncated => self.end(EndBy::Framing, at_ns, sink),
            Body::Unframeable => {
                self.end(EndBy::Lost, at_ns, sink);
                self.lose(sink);
            }
            Body::Switched => {
                self.end(EndBy::Upgrade, at_ns, sink);
                sink(Part::Upgraded);
            }
            _ => {}
        }
    }

    /// Bytes stand where a message should begin, and are none.
    fn refuse(&mut self, sure: bool, sink: &mut Sink<'_, S>) {
        if !sure {
            self.state = State::Searching;
        } else if self.proven {
            self.lose(sink);
        } else {
            self.state = State::Done;
            sink(Part::NotHttp);
        }
    }

    fn lose(&mut self, sink: &mut Sink<'_, S>) {
        self.state = State::Searching;
        self.side.lost();
        sink(Part::Lost);
    }
}

impl Scan {
    /// Enough of a head to tell it: its start line, or, where a message must begin, a request line cut off
    /// inside a long target.
    fn is_readable(&self, bytes: &[u8], sure: bool) -> bool {
        self.start.verdict() == Verdict::Complete || (sure && self.start.names_target(bytes))
    }
}
