//! From addresses to words: what the kernel kept of exceptions, read with the process's memory.
//!
//! Invariants: frames are those that the kernel saw; what is read of an exception itself is used only if it is still
//! the same one; what left no code of the service is not told.

use std::cmp::Reverse;

use ebpf::abi::{self, Argument};
use model::{Bearer, ConnectionId, TlsSessionId};
use python::code::{Codes, Frame};
use python::dispatch::{is_dispatch, left_service};
use python::exception::parts::{self, Parts};
use python::exception::{self, Exception, Relation};
use python::object::{Kind, Objects};
use python::traceback::Traceback;
use python::{stacktrace, text};

/// Exceptions before exceptions.
const CHAIN_MAX: usize = 8;

/// The words for a record's exceptions, the last one first; none if nothing left the service's code or had to give way. Code objects of
/// what calls that code are added to `dispatch`.
pub(super) fn of(
    objects: &Objects<'_>,
    codes: &mut Codes,
    of: &abi::Exceptions,
    mut raised: Vec<abi::Exception>,
    dispatch: &mut Vec<u64>,
) -> Option<model::Exceptions> {
    // What was seen to unwind, the last first; then what is being handled, the innermost first; then what was when that
    // was asked.
    raised.sort_by_key(|exception| (Reverse(exception.left_ns), exception.raised_ns));
    let mut words = Words { objects, codes, raised: &raised, dispatch };
    let exceptions: Vec<_> = raised.iter().filter_map(|exception| words.model(exception)).collect();
    let stream = (of.stream != 0).then_some(of.stream);
    let displaced_ns = (of.displaced_ns != 0).then_some(of.displaced_ns);
    let has_any = !exceptions.is_empty() || displaced_ns.is_some();
    has_any.then_some(model::Exceptions { on: bearer(of), sent: of.sent, stream, displaced_ns, exceptions })
}

fn bearer(of: &abi::Exceptions) -> Bearer {
    let id = of.connection & !abi::TLS_OBJECT;
    if id == of.connection {
        Bearer::Connection(ConnectionId(id))
    } else {
        Bearer::TlsSession(TlsSessionId(id))
    }
}

struct Words<'a, 'b> {
    objects: &'a Objects<'a>,
    codes: &'b mut Codes,
    raised: &'a [abi::Exception],
    /// Code objects of what calls the service's code, as they are met.
    dispatch: &'b mut Vec<u64>,
}

impl Words<'_, '_> {
    fn model(&mut self, raised: &abi::Exception) -> Option<model::Exception> {
        let kind = self.objects.kind(raised.kind)?;
        let traceback = self.traceback(raised);
        if !left_service(&kind.name.full(), traceback.frames().rev()) {
            return None;
        }
        let exception = self.exception(raised, kind, traceback, CHAIN_MAX);
        Some(model::Exception {
            raised_ns: raised.raised_ns,
            type_name: exception.name.full(),
            stacktrace: stacktrace::write(&exception),
            message: exception.message,
        })
    }

    fn exception(
        &mut self,
        raised: &abi::Exception,
        kind: Kind,
        traceback: Traceback,
        depth: usize,
    ) -> Exception {
        let parts = Parts {
            arguments: raised
                .arguments
                .iter()
                .take(2)
                .zip([&raised.first_text[..], &raised.second_text[..]])
                .map_while(|(argument, text)| self.argument(argument, text))
                .collect(),
            count: raised.arguments_count.into(),
            file: self.argument(&raised.arguments[2], &raised.third_text),
        };
        if let Some(found) = self.still_there(raised, &parts) {
            return Exception { traceback, ..found };
        }
        Exception {
            message: parts::message(kind.says, &parts),
            notes: Vec::new(),
            traceback,
            earlier: self.earlier(raised, depth),
            group: None,
            name: kind.name,
        }
    }

    /// The exception itself, if it lives. Another may have come to stand at its address: it is believed only if it says
    /// what was copied.
    fn still_there(&mut self, raised: &abi::Exception, parts: &Parts) -> Option<Exception> {
        if raised.object == 0 || !self.objects.is_still(raised.object, raised.kind, raised.args) {
            return None;
        }
        let found = exception::read(self.objects, self.codes, raised.object)?;
        let message = found.message.as_deref().unwrap_or_default();
        let says_it = match parts.arguments.first() {
            Some(parts::Argument::Text { text, .. }) => message.contains(text),
            Some(parts::Argument::Number(number)) => message.contains(&number.to_string()),
            Some(parts::Argument::Object(_)) | None => true,
        };
        says_it.then_some(found)
    }

    /// The exception before this one, if the kernel kept it too.
    fn earlier(&mut self, raised: &abi::Exception, depth: usize) -> Option<(Relation, Box<Exception>)> {
        let (relation, address) = match raised {
            abi::Exception { cause: 1.., .. } => (Relation::Cause, raised.cause),
            abi::Exception { context: 1.., suppress_context: 0, .. } => (Relation::Context, raised.context),
            _ => return None,
        };
        let found = self.raised.iter().find(|other| other.object == address)?;
        let kind = self.objects.kind(found.kind)?;
        let traceback = self.traceback(found);
        let earlier = depth.checked_sub(1).map(|depth| self.exception(found, kind, traceback, depth))?;
        Some((relation, Box::new(earlier)))
    }

    fn argument(&self, argument: &Argument, copy: &[u8]) -> Option<parts::Argument> {
        if argument.kind == 0 {
            return None;
        }
        Some(if argument.width != 0 {
            let copy = copy.get(..usize::from(argument.bytes)).unwrap_or(copy);
            parts::Argument::Text {
                text: text::decode(copy, argument.width.into()),
                is_cut: argument.cut != 0,
            }
        } else if argument.is_number != 0 {
            parts::Argument::Number(argument.number)
        } else {
            parts::Argument::Object(self.objects.type_name(argument.kind)?)
        })
    }

    /// What calls the service's code is worth knowing to the kernel side.
    fn note(&mut self, code: u64, frame: &Frame) {
        let is_new = self.dispatch.len() < abi::DISPATCH_CODES && !self.dispatch.contains(&code);
        if is_new && is_dispatch(&frame.file) {
            self.dispatch.push(code);
        }
    }

    /// The kernel counts from the innermost frame, a traceback begins with the outermost.
    fn traceback(&mut self, raised: &abi::Exception) -> Traceback {
        let (count, end) = (raised.frames as usize, abi::END_FRAMES);
        let mut frames = |range: std::ops::Range<usize>| -> Vec<Frame> {
            let place = |frame: usize| if frame < end { frame } else { end + frame % end };
            let found = range.rev().map(place).filter_map(|place| {
                let frame = self.codes.frame(self.objects, raised.code[place], raised.offset[place])?;
                self.note(raised.code[place], &frame);
                Some(frame)
            });
            found.collect()
        };
        let inner = frames(0..count.min(end));
        let outer = frames(count.saturating_sub(end).max(count.min(end))..count);
        let left_out = count.saturating_sub(2 * end) as u32;
        if outer.is_empty() {
            return Traceback { outer: inner, left_out, inner: outer };
        }
        Traceback { outer, left_out, inner }
    }
}
