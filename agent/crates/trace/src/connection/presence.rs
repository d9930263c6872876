//! Who is at a connection of a client. Invariant: it is told before what they do there.

use model::SpanKind;

use super::{Connection, Stage};
use crate::assemble::Assembler;
use crate::place::Thread;

impl Connection {
    /// A thread has done something here.
    pub(super) fn touch(&self, thread: Thread, at_ns: u64, assembler: &mut Assembler) {
        if let Stage::Known(conversation) = &self.stage
            && assembler.asks_who_is_where()
            && conversation.kind() == SpanKind::Server
        {
            assembler.touch(thread, self.inode, at_ns);
        }
    }
}
