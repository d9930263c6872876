//! Which protocol the first bytes of a connection belong to, and who asks in it. Invariant: the first row that
//! does not say no decides, so a row before another must tell its own bytes from the other's.

use model::{Address, Direction, Origin, Protocol, SpanKind};
use protocol::database::Kind;
use protocol::http1::Looks;
use protocol::{fastcgi, http1, http2, uwsgi};

use super::conversation::Conversation;
use super::database::{self, Database};
use super::fastcgi::FastCgi;
use super::preface::{self, Preface};
use super::{Dialogue, Multiplex};
use crate::place::Place;

/// The bytes to judge: the first of a direction, or, where the probe joined midway, those of any call.
#[derive(Debug, Clone, Copy)]
pub(super) struct First<'a> {
    pub(super) direction: Direction,
    pub(super) bytes: &'a [u8],
    /// How many bytes there are; only the first of them may have been copied.
    pub(super) len: u64,
    /// What the other direction has said before, if a row said `Maybe` to that.
    pub(super) other: &'a [u8],
    /// They are the very first of their direction: nothing has been missed before them.
    pub(super) begins: bool,
    /// The end that is asked if the process asks: its port may confirm what few bytes leave open.
    pub(super) peer: &'a Address,
}

/// What a row says of first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    /// They are this protocol's, and the process has this role.
    Yes(SpanKind),
    /// More bytes are needed, of this direction or of the other. They are held back meanwhile.
    Maybe,
    /// They are not.
    No,
}

/// A protocol that can begin a connection.
#[derive(Debug)]
pub(super) struct Detector {
    /// Judges first bytes. Keeps nothing.
    pub(super) guess: fn(&First<'_>) -> Guess,
    /// The conversation, to which all bytes from the first on are then given.
    pub(super) begin: fn(Place, Origin) -> Box<dyn Conversation>,
}

/// Every protocol, in the order of asking. Memcached's commands are text, as HTTP's are, and tell themselves apart.
const DETECTORS: [Detector; 9] = [
    Detector { guess: preface::guess, begin: |place, _| Box::new(Preface::new(place)) },
    Detector {
        guess: |first| front_server(first, uwsgi::detect),
        begin: |place, origin| Box::new(Dialogue::new(Protocol::Uwsgi, place, origin)),
    },
    Detector {
        guess: |first| front_server(first, fastcgi::detect),
        begin: |place, origin| Box::new(FastCgi::new(place, origin)),
    },
    Detector {
        guess: |first| database::guess(Kind::Postgresql, first),
        begin: |place, origin| Box::new(Database::new(Kind::Postgresql, place, origin)),
    },
    Detector {
        guess: |first| database::guess(Kind::Mysql, first),
        begin: |place, origin| Box::new(Database::new(Kind::Mysql, place, origin)),
    },
    Detector {
        guess: |first| database::guess(Kind::Redis, first),
        begin: |place, origin| Box::new(Database::new(Kind::Redis, place, origin)),
    },
    Detector {
        guess: |first| database::guess(Kind::Memcached, first),
        begin: |place, origin| Box::new(Database::new(Kind::Memcached, place, origin)),
    },
    Detector { guess: http2, begin: |place, origin| Box::new(Multiplex::new(place, origin)) },
    Detector { guess: http1, begin: |place, origin| Box::new(Dialogue::new(Protocol::Http1, place, origin)) },
];

/// Asks the rows. With a `Yes` or `Maybe` comes the row that said it.
pub(super) fn ask(first: &First<'_>) -> (Guess, Option<&'static Detector>) {
    for detector in &DETECTORS {
        match (detector.guess)(first) {
            Guess::No => {}
            guess => return (guess, Some(detector)),
        }
    }
    (Guess::No, None)
}

/// What a front server writes first to an application, and only it writes so.
fn front_server(first: &First<'_>, detect: fn(&[u8]) -> Looks) -> Guess {
    match (detect(first.bytes), first.direction) {
        (Looks::Request, Direction::Received) => Guess::Yes(SpanKind::Server),
        (Looks::Request, Direction::Sent) => Guess::Yes(SpanKind::Client),
        (Looks::TooShort, _) if first.begins => Guess::Maybe,
        _ => Guess::No,
    }
}

fn http2(first: &First<'_>) -> Guess {
    match (http2::detect(first.bytes, first.len, first.begins), first.direction) {
        (http2::Looks::Request, Direction::Received) | (http2::Looks::Response, Direction::Sent) => {
            Guess::Yes(SpanKind::Server)
        }
        (http2::Looks::Request, Direction::Sent) | (http2::Looks::Response, Direction::Received) => {
            Guess::Yes(SpanKind::Client)
        }
        (http2::Looks::TooShort, _) => Guess::Maybe,
        (http2::Looks::Neither, _) => Guess::No,
    }
}

fn http1(first: &First<'_>) -> Guess {
    use http1::{Looks, detect};

    match (detect(first.bytes), first.direction) {
        (Looks::Request, Direction::Received) | (Looks::Response, Direction::Sent) => {
            Guess::Yes(SpanKind::Server)
        }
        (Looks::Request, Direction::Sent) | (Looks::Response, Direction::Received) => {
            Guess::Yes(SpanKind::Client)
        }
        (Looks::TooShort, _) => Guess::Maybe,
        (Looks::Neither, _) => Guess::No,
    }
}
