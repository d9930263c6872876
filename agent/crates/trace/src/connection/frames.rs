//! Where frames of HTTP/2 begin on a connection. Keeps nothing.

use model::Direction;

use super::{Connection, Stage};

impl Connection {
    /// Where in a direction the next frame of HTTP/2 begins, if that is certain: counted as the calls are.
    pub(crate) fn next_frame(&self, direction: Direction) -> Option<u64> {
        let Stage::Known(conversation) = &self.stage else { return None };
        let turned = self.turned.as_deref();
        let begin = turned.map_or(0, |turned| match direction {
            Direction::Received => turned.received,
            Direction::Sent => turned.sent,
        });
        conversation.next_frame(direction)?.checked_add(begin)
    }
}
