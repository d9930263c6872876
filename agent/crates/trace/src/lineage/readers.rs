//! Contexts in which something is read for an event loop.
//!
//! Invariant: what is made there is for a request only if it is the first thing made since that was read, and no other
//! request that was read there waits for its answer.

use rustc_hash::FxHashMap;

use super::Request;
use super::ancestry::ContextId;

/// Most of one process.
const MAX_READERS: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Readers {
    readers: FxHashMap<ContextId, Reader>,
}

#[derive(Debug, Default)]
struct Reader {
    /// The requests it has read that are not answered.
    unanswered: Vec<Request>,
    /// The only one of them, if no context was copied since it came.
    fresh: Option<Request>,
}

impl Readers {
    /// Without room for more, what was read where is not known any more.
    pub(super) fn is_full(&self) -> bool {
        self.readers.len() >= MAX_READERS
    }

    pub(super) fn contain(&self, context: ContextId) -> bool {
        self.readers.contains_key(&context)
    }

    /// Something is read in a context.
    pub(super) fn add(&mut self, context: ContextId) {
        self.readers.entry(context).or_default();
    }

    /// A request was read in a context.
    pub(super) fn read(&mut self, context: ContextId, request: Request) {
        let reader = self.readers.entry(context).or_default();
        reader.unanswered.push(request);
        reader.fresh = (reader.unanswered.len() == 1).then_some(request);
    }

    /// A context was copied in another one: the request that was read there and that it is for.
    pub(super) fn copied_in(&mut self, context: ContextId) -> Option<Request> {
        self.readers.get_mut(&context)?.fresh.take()
    }

    /// A request is answered, or over.
    pub(super) fn answered(&mut self, context: ContextId, request: Request) {
        if let Some(reader) = self.readers.get_mut(&context) {
            reader.unanswered.retain(|other| *other != request);
            reader.fresh = reader.fresh.filter(|fresh| *fresh != request);
        }
    }

    pub(super) fn remove(&mut self, context: ContextId) {
        self.readers.remove(&context);
    }

    pub(super) fn clear(&mut self) {
        self.readers = FxHashMap::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::ancestry::Ancestry;
    use super::*;

    #[test]
    fn only_what_is_made_first_is_for_what_was_read() {
        let context = Ancestry::default().now_at(0xa);
        let mut readers = Readers::default();
        assert_eq!(readers.copied_in(context), None);
        readers.read(context, (1, 1));
        assert_eq!(readers.copied_in(context), Some((1, 1)));
        assert_eq!(readers.copied_in(context), None, "the second");
        readers.read(context, (2, 2));
        assert_eq!(readers.copied_in(context), None, "two wait");
        readers.answered(context, (1, 1));
        readers.answered(context, (2, 2));
        readers.read(context, (3, 3));
        readers.answered(context, (3, 3));
        assert_eq!(readers.copied_in(context), None, "it was answered before");
        assert!(readers.contain(context));
    }
}
