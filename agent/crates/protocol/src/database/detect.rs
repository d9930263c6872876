//! Tells a database's protocol by the first bytes of a call. Invariant: certain or nothing: each pattern is a
//! whole message, or so much of one that nothing else begins so.

use super::Sender;
use crate::{memcached, mysql, postgresql, redis};

/// The protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL's, version 3.
    Postgresql,
    /// MySQL's and MariaDB's.
    Mysql,
    /// Redis', RESP2 and RESP3.
    Redis,
    /// Memcached's; the binary one is only recognised.
    Memcached,
}

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct First<'a> {
    /// Who wrote it, if it is a database's.
    pub sender: Sender,
    /// The bytes as far as they were copied.
    pub bytes: &'a [u8],
    /// How many there are.
    pub len: u64,
    /// They are the very first of their direction.
    pub begins: bool,
    /// What the other side has said before, if that was a `Perhaps`.
    pub asked: &'a [u8],
}

/// What bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// This protocol, and nothing else.
    Surely,
    /// They may be it, once there are more of them, or once the other side has answered.
    Perhaps,
    /// They are not.
    Other,
}

impl From<Option<bool>> for Looks {
    /// `None`: more bytes are needed.
    fn from(judged: Option<bool>) -> Self {
        match judged {
            Some(true) => Self::Surely,
            None => Self::Perhaps,
            Some(false) => Self::Other,
        }
    }
}

impl Kind {
    /// Judges the first bytes of a connection, or, where the probe joined midway, those of any call.
    pub fn looks(self, first: &First<'_>) -> Looks {
        let First { sender, bytes, len, begins, asked } = *first;
        match (self, sender) {
            (Self::Postgresql, Sender::Client) if begins => postgresql::looks_like_hello(bytes).into(),
            (Self::Postgresql, Sender::Client) => {
                Some(postgresql::looks_like_commands(bytes, len, bytes.len() as u64 == len)).into()
            }
            // The server speaks first.
            (Self::Mysql, Sender::Server) if begins && asked.is_empty() => {
                mysql::looks_like_greeting(bytes, len).into()
            }
            // Inside TLS the greeting has passed before, in the clear.
            (Self::Mysql, Sender::Client) if begins && mysql::looks_like_login(bytes, len) => Looks::Surely,
            (Self::Mysql, Sender::Client) if !begins => Some(mysql::looks_like_command(bytes, len)).into(),
            (Self::Redis, Sender::Client) => redis::looks_like_command(bytes).into(),
            (Self::Memcached, Sender::Client) => memcached::looks_like_command(bytes, len),
            (Self::Memcached, Sender::Server) if !asked.is_empty() => {
                let asks = memcached::looks_like_command(asked, asked.len() as u64) == Looks::Perhaps;
                Some(asks && memcached::looks_like_answer(bytes)).into()
            }
            _ => Looks::Other,
        }
    }
}
