//! Where frames of HTTP/2 begin, for a source that asks.
//!
//! Invariant: only what is certain is told, of directions of which it was asked; how many wait is bounded.

use model::{Bearer, Direction};

use super::Tracer;

/// Most directions that wait to be told of. Those past it ask again.
const MAX_ASKED: usize = 4096;

/// A place at which a frame of HTTP/2 begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBegin {
    /// On what.
    pub on: Bearer,
    /// Which way.
    pub direction: Direction,
    /// Bytes of the direction before it, as calls count them.
    pub position: u64,
}

impl Tracer {
    /// It would be known where in a direction frames begin.
    pub(super) fn note_question(&mut self, on: Bearer, direction: Direction) {
        if self.asked.len() < MAX_ASKED {
            self.asked.insert((on, direction));
        }
    }

    /// Calls are to be copied whole from now on: it will be asked of both directions.
    pub(super) fn expect_questions(&mut self, on: Bearer) {
        self.note_question(on, Direction::Received);
        self.note_question(on, Direction::Sent);
    }

    /// Where frames begin on what has asked since the last call.
    pub fn frame_begins(&mut self) -> impl Iterator<Item = FrameBegin> {
        std::mem::take(&mut self.asked).into_iter().filter_map(|(on, direction)| {
            let connection = match on {
                Bearer::Connection(connection) => connection,
                Bearer::TlsSession(session) => self.binding.connection_of(session)?,
            };
            let position = self.connections.map.get(&connection)?.next_frame(direction)?;
            Some(FrameBegin { on, direction, position })
        })
    }
}
