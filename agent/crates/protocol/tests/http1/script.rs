//! Turns any bytes into a connection's fate and checks what must hold whatever comes: shared by the property
//! tests and the fuzz target.
//!
//! The first byte picks side and origin. Then each byte is an order: put a fragment on the call in the making,
//! send the call (whole or shortened), lose bytes, send some again, expect, switch, close.

use model::Origin;
use protocol::Chunk;
use protocol::http1::{Asked, Part, RequestParser, ResponseParser};

const TAIL_BYTES: usize = 16;

const FRAGMENTS: [&[u8]; 24] = [
    b"GET / HTTP/1.1\r\n",
    b"POST /p HTTP/1.1\r\n",
    b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    b"HEAD /",
    b" HTTP/1.0\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 304 Not Modified\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 5",
    b"Content-Length: 5\r\n",
    b"Content-Length: 300\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Upgrade: x\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"5\r\nhello\r\n",
    b"40\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"0;e\r\nT: 1\r\n\r\n",
];

/// Plays the script; panics where an invariant does not hold.
pub fn run(script: &[u8]) {
    let Some((&first, orders)) = script.split_first() else { return };
    let origin = if first & 1 == 0 { Origin::Start } else { Origin::Midway };
    if first & 2 == 0 {
        let mut parser = RequestParser::new(origin);
        let mut witness = Witness::default();
        play(orders, &mut witness, |event, witness| match event {
            Event::Push(chunk) => parser.push(&chunk, &mut |part| witness.see(&part)),
            Event::Switch(at_ns) => {
                parser.switch(at_ns, &mut |part| witness.see(&part));
                assert!(!witness.open, "a message is open after the switch");
                witness.over = true;
            }
            Event::Close => parser.close(&mut |part| witness.see(&part)),
            Event::Expect(_) => {}
        });
    } else {
        let mut parser = ResponseParser::new(origin);
        let mut witness = Witness::default();
        play(orders, &mut witness, |event, witness| match event {
            Event::Push(chunk) => parser.push(&chunk, &mut |part| witness.see(&part)),
            Event::Expect(asked) => parser.expect(asked),
            Event::Close => parser.close(&mut |part| witness.see(&part)),
            Event::Switch(_) => {}
        });
    }
}

enum Event<'a> {
    Push(Chunk<'a>),
    Expect(Asked),
    Switch(u64),
    Close,
}

/// Follows the parts.
#[derive(Default)]
struct Witness {
    open: bool,
    over: bool,
    /// Where the last message began, and where the next may begin.
    position: u64,
    free: u64,
    /// The end of all that was pushed.
    reach: u64,
    now_ns: u64,
}

impl Witness {
    fn see<H>(&mut self, part: &Part<H>) {
        assert!(!self.over, "a part after the last");
        match part {
            Part::Head { start_ns, head_end_ns, position, .. } => {
                assert!(!self.open, "a head in an open message");
                assert!(start_ns <= head_end_ns && *head_end_ns <= self.now_ns, "times out of order");
                assert!(*position >= self.free && *position < self.reach, "a head out of place");
                (self.open, self.position) = (true, *position);
            }
            Part::End { end_ns, bytes, .. } => {
                assert!(self.open, "an end without a head");
                assert!(*end_ns <= self.now_ns, "an end to come");
                let end = self.position.checked_add(*bytes).filter(|end| *end <= self.reach);
                self.free = end.expect("no more bytes than were pushed");
                self.open = false;
            }
            Part::Lost => assert!(!self.open, "lost in an open message"),
            Part::Upgraded | Part::NotHttp => {
                assert!(!self.open, "the last part leaves a message open");
                self.over = true;
            }
        }
    }
}

/// A direction while its script is played.
struct Play<'a, F> {
    witness: &'a mut Witness,
    tell: F,
    /// The call in the making, and where it will begin.
    payload: Vec<u8>,
    position: u64,
}

impl<F: FnMut(Event<'_>, &mut Witness)> Play<'_, F> {
    fn tell(&mut self, event: Event<'_>) {
        (self.tell)(event, self.witness);
    }

    /// Sends the call, of which so many first bytes are copied.
    fn send(&mut self, copied: usize) {
        let payload = std::mem::take(&mut self.payload);
        let (head, rest) = payload.split_at(copied.min(payload.len()));
        let tail = if copied == 0 { &[][..] } else { &rest[rest.len() - rest.len().min(TAIL_BYTES)..] };
        let (position, len) = (self.position, payload.len() as u64);
        self.position = position.saturating_add(len);
        self.witness.now_ns += 1;
        self.witness.reach = self.witness.reach.max(self.position);
        self.tell(Event::Push(Chunk { at_ns: self.witness.now_ns, position, len, head, tail }));
    }

    fn close(&mut self) {
        self.tell(Event::Close);
        assert!(!self.witness.open, "a message is open after the close");
        self.witness.over = true;
    }
}

fn play(orders: &[u8], witness: &mut Witness, tell: impl FnMut(Event<'_>, &mut Witness)) {
    let mut play = Play { witness, tell, payload: Vec::new(), position: 0 };
    let mut orders = orders.iter().copied();
    while let Some(order) = orders.next() {
        let mut argument = || orders.next().unwrap_or(0);
        match order {
            0..=31 => play.payload.extend(orders.by_ref().take(usize::from(order))),
            32..=159 => play.payload.extend_from_slice(FRAGMENTS[usize::from(order - 32) % FRAGMENTS.len()]),
            160..=207 => play.send(usize::MAX),
            208..=223 => play.send(usize::from(argument())),
            224..=231 => play.position = play.position.saturating_add(u64::from(argument())),
            232..=235 => play.position = play.position.saturating_add(u64::from(argument()) << 56),
            236..=243 => play.position = play.position.saturating_sub(u64::from(argument())),
            244..=246 => play.tell(Event::Expect(Asked::Other)),
            247 | 248 => play.tell(Event::Expect(Asked::Head)),
            249 => play.tell(Event::Expect(Asked::Connect)),
            250 => {
                let len = play.payload.len() + 256 * usize::from(argument());
                play.payload.resize(len, b'x');
            }
            251..=253 => play.payload.clear(),
            254 => play.tell(Event::Switch(play.witness.now_ns)),
            255 => play.close(),
        }
    }
    play.send(usize::MAX);
    play.close();
}
