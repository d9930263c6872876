//! What the database protocols have in common: commands, their answers, and how the two meet.
//!
//! Each parser takes both directions of one connection, because in each of these protocols what one side says
//! can only be read knowing what the other has said. Exchanges are answered in the order in which they began.
//! Invariants: an `AnswerEnds` always belongs to the first exchange that has begun and not ended; nothing a
//! client sent as a value, and no word of an authentication, is in any part.

mod detect;
mod input;
mod lane;
mod open;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use model::Origin;

pub use detect::{First, Kind, Looks};
pub(crate) use input::Input;
pub(crate) use lane::{Frame, Lane, Measure, Missed, Step};
pub(crate) use open::Open;
pub(crate) use text::{Text, TextLane, TextStep};

use crate::Chunk;

/// Who wrote the bytes of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The side that asks.
    Client,
    /// The side that answers.
    Server,
}

/// The product, as far as the protocol tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Anything that speaks PostgreSQL's protocol.
    Postgresql,
    /// Anything that speaks MySQL's protocol and does not call itself MariaDB.
    Mysql,
    /// A server whose greeting says MariaDB.
    Mariadb,
    /// Anything that speaks Redis' protocol.
    Redis,
    /// Memcached.
    Memcached,
}

impl System {
    /// The value of `db.system.name` (OpenTelemetry semantic conventions 1.30, "Database client spans").
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
        }
    }
}

/// One thing that the client has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The product.
    pub system: System,
    /// The verb. `None` where it was said before anyone looked (a statement prepared earlier).
    pub operation: Option<Cow<'static, str>>,
    /// The table, for SQL that names one.
    pub collection: Option<String>,
    /// Verbs and tables, for SQL.
    pub summary: Option<String>,
    /// The command without its values, if that was asked for.
    pub text: Option<String>,
    /// The database that was in use, if it is known.
    pub namespace: Option<Arc<str>>,
}

/// What a parser found, in the order in which it became known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The client has asked for something: a command whose last byte has passed.
    Command {
        /// What.
        command: Command,
        /// It belongs to the exchange that began last, which is a batch. Else it begins an exchange.
        joins: bool,
        /// When the first byte of the exchange passed.
        start_ns: u64,
        /// Where the first byte of the exchange stands in the client's direction.
        position: u64,
        /// When the last byte of the command passed.
        end_ns: u64,
    },
    /// The first open exchange begins to be answered.
    AnswerBegins {
        /// When the first byte passed.
        at_ns: u64,
    },
    /// The first open exchange is over.
    AnswerEnds {
        /// When the last byte of its answer passed.
        end_ns: u64,
        /// Bytes of its commands.
        request_bytes: u64,
        /// Bytes of its answer.
        response_bytes: u64,
        /// The code of the first error in the answer: an SQLSTATE, an error number, Redis' prefix.
        error: Option<String>,
        /// How the end is known.
        by: EndBy,
    },
    /// An answer to nothing that was seen.
    Unpaired,
    /// The framing of one direction was lost: commands may have been missed.
    Lost,
    /// Nothing more can be read on this connection. Nothing else follows.
    LetGo(LetGo),
}

/// How the end of an answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndBy {
    /// By the protocol's framing.
    Framing,
    /// The framing was lost in the middle of the answer; then the server's last word was seen, or the client
    /// went on to the next command.
    Presumed,
    /// The command is one that is not answered.
    NoAnswer,
    /// The connection ended in the middle.
    Cut,
    /// Bytes were missed and the end with them.
    Lost,
}

/// Why a connection cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LetGo {
    /// It goes on inside TLS (or GSSAPI encryption).
    Encrypted,
    /// It goes on compressed.
    Compressed,
    /// It is a dialect that is recognised and not read: memcached's binary protocol, replication.
    Unsupported,
    /// What passes is not what the protocol allows.
    Strange,
    /// Too many commands wait for an answer.
    Overrun,
}

/// Where parts go.
pub type Sink<'a> = dyn FnMut(Part) + 'a;

/// What to keep of commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Statements without their literals, and Redis and memcached keys.
    pub statements: bool,
}

/// A conversation with any of the servers.
#[derive(Debug)]
pub enum Parser {
    /// PostgreSQL.
    Postgresql(Box<crate::postgresql::Parser>),
    /// MySQL and MariaDB.
    Mysql(Box<crate::mysql::Parser>),
    /// Redis.
    Redis(Box<crate::redis::Parser>),
    /// Memcached's text and meta protocols.
    Memcached(Box<crate::memcached::Parser>),
}

impl Parser {
    /// `origin`: whether the first chunk of each direction is the connection's first.
    pub fn new(kind: Kind, origin: Origin, options: Options) -> Self {
        match kind {
            Kind::Postgresql => Self::Postgresql(Box::new(crate::postgresql::Parser::new(origin, options))),
            Kind::Mysql => Self::Mysql(Box::new(crate::mysql::Parser::new(origin, options))),
            Kind::Redis => Self::Redis(Box::new(crate::redis::Parser::new(origin, options))),
            Kind::Memcached => Self::Memcached(Box::new(crate::memcached::Parser::new(origin, options))),
        }
    }

    /// The product, where what has passed says which.
    pub fn system(&self) -> Option<System> {
        match self {
            Self::Mysql(parser) => Some(parser.system()),
            Self::Postgresql(_) | Self::Redis(_) | Self::Memcached(_) => None,
        }
    }

    /// The product is known from what has passed before this conversation.
    pub fn set_system(&mut self, system: System) {
        if let Self::Mysql(parser) = self {
            parser.set_system(system);
        }
    }

    /// Positions count from the connection's first byte, though its first chunks were missed: what is missing before the
    /// next one of each direction is known.
    pub fn anchor(&mut self) {
        match self {
            Self::Postgresql(parser) => parser.anchor(),
            Self::Mysql(parser) => parser.anchor(),
            Self::Redis(parser) => parser.anchor(),
            Self::Memcached(parser) => parser.anchor(),
        }
    }

    /// Takes the next chunk of one direction and tells what it completes.
    pub fn push(&mut self, sender: Sender, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        match self {
            Self::Postgresql(parser) => parser.push(sender, chunk, sink),
            Self::Mysql(parser) => parser.push(sender, chunk, sink),
            Self::Redis(parser) => parser.push(sender, chunk, sink),
            Self::Memcached(parser) => parser.push(sender, chunk, sink),
        }
    }

    /// The connection is over: what waits for an answer is told as far as it has come. Nothing follows.
    pub fn cut(&mut self, sink: &mut Sink<'_>) {
        match self {
            Self::Postgresql(parser) => parser.cut(sink),
            Self::Mysql(parser) => parser.cut(sink),
            Self::Redis(parser) => parser.cut(sink),
            Self::Memcached(parser) => parser.cut(sink),
        }
    }

    /// The framing of the answer that is passing was lost, and it may have ended with what passed last: whether it has is
    /// not known.
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::Postgresql(parser) => parser.is_in_doubt(),
            Self::Mysql(parser) => parser.is_in_doubt(),
            Self::Redis(parser) => parser.is_in_doubt(),
            Self::Memcached(parser) => parser.is_in_doubt(),
        }
    }
}
