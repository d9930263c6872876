//! Builds the events of conversations. Every step takes one millisecond, unless time is moved.

use std::collections::HashMap;
use std::sync::Arc;

use model::{
    Address, AppIdSource, Attribute, Body, ConnectionId, ContextCopied, Direction, Event, Identity, Origin,
    Outcome, ParentKind, Payload, Process, SocketCall, SocketState, Span, SpanKind, Syscall, TcpState,
    Timing,
};
use trace::{Settings, Tracer};

pub const MS: u64 = 1_000_000;

/// One socket of a watched process.
#[derive(Debug, Clone)]
pub struct Socket {
    pub id: u64,
    pub pid: u32,
    pub tid: u32,
    pub origin: Origin,
    pub local: Address,
    pub peer: Address,
    pub identity: Identity,
    pub netns: u32,
    pub timing: Timing,
    pub kernel_tls: bool,
}

/// A socket of pid 100, thread 100, from its first byte on.
pub fn socket(id: u64) -> Socket {
    let local = Address::Ip("10.0.0.1:8000".parse().unwrap());
    let peer = Address::Ip("192.0.2.9:50000".parse().unwrap());
    Socket {
        id,
        pid: 100,
        tid: 100,
        origin: Origin::Start,
        local,
        peer,
        identity: Identity::Thread,
        netns: 1,
        timing: Timing::default(),
        kernel_tls: false,
    }
}

impl Socket {
    pub fn midway(self) -> Self {
        Self { origin: Origin::Midway, ..self }
    }

    /// What runs as it makes its calls.
    pub fn by(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }

    /// What the kernel tells of the times around its calls.
    pub fn timed(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    pub fn tid(self, tid: u32) -> Self {
        Self { tid, ..self }
    }

    pub fn peer(self, peer: &str) -> Self {
        Self { peer: Address::Ip(peer.parse().unwrap()), ..self }
    }

    pub fn unix(self) -> Self {
        Self { local: Address::Unix(Some("/run/app.sock".into())), peer: Address::Unix(None), ..self }
    }
}

/// A step of a conversation.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The process reads these bytes.
    Reads(&'a str),
    /// The process writes these bytes.
    Writes(&'a str),
    /// A read finds the end of the stream.
    Eof,
    /// A call fails.
    Fails(Direction, i32),
    /// The socket goes into this state, with this error.
    State(TcpState, i32),
    /// Bytes pass that the probe does not hear of.
    Loses(Direction, u64),
    /// Bytes pass of which nothing was copied.
    Blind(Direction, u64),
    /// The process exits.
    Exits,
    /// So many milliseconds pass.
    Idles(u64),
}

pub fn process(pid: u32, app_id: &str) -> Arc<Process> {
    Arc::new(Process {
        pid,
        parent_pid: 1,
        app_id: app_id.to_owned(),
        app_id_source: AppIdSource::Flag,
        version: None,
        name: "python".to_owned(),
        command_line: "python app.py".to_owned(),
        user: "www".to_owned(),
        start_unix_ms: 0,
    })
}

/// A tracer with what it has given out.
pub struct World {
    pub tracer: Tracer,
    pub spans: Vec<Span>,
    pub now_ns: u64,
    positions: HashMap<(u64, Direction), u64>,
}

impl World {
    /// At the end: how many calls' parents are known, and how many calls there are. No parent is wrong: a call's target is that of
    /// the request it was made for.
    pub fn known_calls(&mut self) -> (usize, usize) {
        self.tracer.drain(self.now_ns, &mut self.spans);
        let calls = || self.spans.iter().filter(|span| span.kind == SpanKind::Client);
        let mut known = 0;
        for call in calls() {
            let Some(parent) = &call.parent else { continue };
            let of = |span: &&Span| span.span_id.to_string() == *parent.span_id;
            let server = self.spans.iter().find(of).unwrap();
            assert_eq!(call.target, server.target, "a wrong parent");
            known += 1;
        }
        (known, calls().count())
    }

    /// For each client span that was given out, in order of paths: its parent's path, or why there is none. A parent is of the same
    /// trace, and known in one of these ways.
    pub fn parents(&self, kinds: &[ParentKind]) -> Vec<String> {
        let parent = |span: &Span| match &span.parent {
            Some(parent) => {
                let of = |other: &&Span| other.span_id.to_string() == *parent.span_id;
                let server = self.spans.iter().find(of).unwrap();
                assert_eq!(server.trace_id, span.trace_id);
                assert!(kinds.contains(&parent.kind), "{parent:?}");
                path(server).to_owned()
            }
            None => span
                .attribute("stardust_probe.parent")
                .map_or("root", |why| why.as_text().unwrap())
                .to_owned(),
        };
        let mut spans: Vec<&Span> = self.spans.iter().filter(|span| span.kind == SpanKind::Client).collect();
        spans.sort_by_key(|span| path(span));
        spans.into_iter().map(|span| format!("{} {}", path(span), parent(span))).collect()
    }

    /// With pid 100 known as the app `shop`.
    pub fn new(settings: &Settings) -> Self {
        let mut world = Self {
            tracer: Tracer::new(settings, 42).unwrap(),
            spans: Vec::new(),
            now_ns: 1_000 * MS,
            positions: HashMap::new(),
        };
        world.feed(100, 0, Body::Process(process(100, "shop")));
        world
    }

    /// One that sees from now on which contexts process 100 copies, thread 100 being its loop's.
    pub fn see_copies(mut self) -> Self {
        self.feed(100, 0, Body::CopiesSeen(Some(0)));
        self.copy(0xffff, Identity::Base(0x1));
        self
    }

    /// A context is copied in process 100.
    pub fn copy(&mut self, context: u64, copied_in: Identity) {
        self.feed(100, 100, Body::ContextCopied(ContextCopied { context, copied_in }));
    }

    pub fn feed(&mut self, pid: u32, tid: u32, body: Body<'_>) {
        self.now_ns += MS;
        self.tracer.observe(&Event { at_ns: self.now_ns, pid, tid, body }, &mut self.spans);
    }

    pub fn play(&mut self, socket: &Socket, steps: &[Step<'_>]) {
        for step in steps {
            match *step {
                Step::Reads(bytes) => self.bytes(socket, Direction::Received, bytes.as_bytes()),
                Step::Writes(bytes) => self.bytes(socket, Direction::Sent, bytes.as_bytes()),
                Step::Eof => self.call(socket, Direction::Received, Outcome::EndOfStream),
                Step::Fails(direction, errno) => self.call(socket, direction, Outcome::Failed { errno }),
                Step::State(new, errno) => self.state(socket, TcpState::Established, new, errno),
                Step::Loses(direction, bytes) => {
                    *self.positions.entry((socket.id, direction)).or_default() += bytes;
                }
                Step::Blind(direction, bytes) => {
                    self.call(
                        socket,
                        direction,
                        Outcome::Bytes(Payload { len: bytes, head: b"", tail: b"" }),
                    );
                }
                Step::Exits => self.feed(socket.pid, 0, Body::Exit { status: 9 }),
                Step::Idles(ms) => self.now_ns += ms * MS,
            }
        }
    }

    pub fn bytes(&mut self, socket: &Socket, direction: Direction, bytes: &[u8]) {
        self.part(socket, direction, bytes, bytes.len() as u64);
    }

    /// `len` bytes pass, of which the first were copied.
    pub fn part(&mut self, socket: &Socket, direction: Direction, head: &[u8], len: u64) {
        self.call(socket, direction, Outcome::Bytes(Payload { len, head, tail: b"" }));
    }

    /// The same, of a call that asks where a frame begins.
    pub fn asking(&mut self, socket: &Socket, direction: Direction, head: &[u8], len: u64) {
        self.make_call(socket, direction, Outcome::Bytes(Payload { len, head, tail: b"" }), true);
    }

    fn call(&mut self, socket: &Socket, direction: Direction, outcome: Outcome<'_>) {
        self.make_call(socket, direction, outcome, false);
    }

    fn make_call(&mut self, socket: &Socket, direction: Direction, outcome: Outcome<'_>, asks_frame: bool) {
        let position = self.positions.entry((socket.id, direction)).or_default();
        let call = SocketCall {
            connection: ConnectionId(socket.id),
            inode: socket.id + 1000,
            fd: i32::try_from(socket.id).ok(),
            direction,
            origin: socket.origin,
            local: socket.local.clone(),
            peer: socket.peer.clone(),
            netns: socket.netns,
            syscall: Syscall::Recvfrom,
            position: *position,
            outcome,
            identity: socket.identity,
            timing: socket.timing,
            kernel_tls: socket.kernel_tls,
            asks_frame,
        };
        if let Outcome::Bytes(payload) = outcome {
            *position += payload.len;
        }
        self.feed(socket.pid, socket.tid, Body::SocketCall(call));
    }

    pub fn state(&mut self, socket: &Socket, old: TcpState, new: TcpState, errno: i32) {
        let state = SocketState {
            connection: ConnectionId(socket.id),
            local: socket.local.clone(),
            peer: socket.peer.clone(),
            netns: socket.netns,
            old,
            new,
            errno,
            identity: socket.identity,
            sent: self.positions.get(&(socket.id, Direction::Sent)).copied().unwrap_or(0),
        };
        let begins = new == TcpState::SynSent;
        self.feed(socket.pid, if begins { socket.tid } else { 0 }, Body::SocketState(state));
    }

    /// Checks that nothing was lost on the way, and gives the spans as lines.
    pub fn lines(&self) -> Vec<String> {
        let counts = self.tracer.counts();
        assert_eq!(counts.spans, self.spans.len() as u64);
        self.spans.iter().map(line).collect()
    }
}

/// What is known of a span, but for where its time went and where its route is from.
pub fn attributes(span: &Span) -> impl Iterator<Item = &Attribute> {
    let is_always =
        |name: &str| name.starts_with("stardust_probe.time.") || name == "stardust_probe.route_source";
    span.attributes.iter().filter(move |attribute| !is_always(attribute.name))
}

/// `kind name status end fault request_bytes/response_bytes duration_ms/ttfb_ms`
pub fn line(span: &Span) -> String {
    let status = span.status.map_or("-".to_owned(), |status| status.to_string());
    let fault = span.fault.map_or("-".to_owned(), |fault| format!("{fault:?}"));
    let ttfb = span.ttfb_ns.map_or("-".to_owned(), |ns| (ns / MS).to_string());
    let kind = match span.kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
    };
    format!(
        "{kind} {} {status} {} {fault} {}/{} {}/{ttfb}",
        span.name,
        span.end.as_str(),
        span.request_bytes,
        span.response_bytes,
        span.duration_ns / MS,
    )
}

/// The lines of one conversation with the default settings; the books must balance.
pub fn play(socket: &Socket, steps: &[Step<'_>]) -> (Vec<String>, trace::Counts) {
    let mut world = World::new(&Settings::default());
    world.play(socket, steps);
    // A reset waits a moment for the call under way.
    world.tracer.tick(world.now_ns + 5 * MS, &mut world.spans);
    let lines = world.lines();
    let counts = world.tracer.counts().clone();
    let mut rest = Vec::new();
    world.tracer.drain(world.now_ns, &mut rest);
    let after = world.tracer.counts();
    assert_eq!(after.exchanges, after.spans + after.excluded + after.disabled);
    (lines, counts)
}

/// A socket that a task of an event loop uses.
pub fn task(id: u64, context: u64) -> Socket {
    socket(id).by(Identity::Task(context))
}

/// A request with the least of headers.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// What a span's request asked for.
pub fn path(span: &Span) -> &str {
    span.target.as_deref().unwrap()
}
