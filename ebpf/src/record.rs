//! Records as they come from the ring or a recording.
//!
//! Invariant: any bytes give a record or [`Malformed`]; lengths are checked before anything is sliced.

use thiserror::Error;
use zerocopy::FromBytes;

use crate::abi::{
    self, Collection, ContextCopy, Exception, Exceptions, ProcessExec, ProcessExit, ProcessFork,
    RecordHeader, SocketCall, SocketState, StreamWrite, ThreadEnd, ThreadStart, TlsCall,
};

/// A record, its variable parts cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A socket call returned.
    SocketCall {
        /// The fixed part.
        call: SocketCall,
        /// The first bytes.
        head: &'a [u8],
        /// The last bytes.
        tail: &'a [u8],
        /// A unix socket's path; empty if it has none or it was told before.
        path: &'a [u8],
    },
    /// A call of a TLS library returned.
    TlsCall {
        /// The fixed part.
        call: TlsCall,
        /// The first bytes of clear text.
        head: &'a [u8],
        /// The last bytes.
        tail: &'a [u8],
    },
    /// A TCP state changed.
    SocketState(SocketState),
    /// A child was born.
    Fork(ProcessFork),
    /// Another program runs.
    Exec(ProcessExec),
    /// A process is gone.
    Exit(ProcessExit),
    /// A thread was started.
    ThreadStart(ThreadStart),
    /// A thread is gone, but not its process.
    ThreadEnd(ThreadEnd),
    /// A context of Python was copied.
    ContextCopy(ContextCopy),
    /// Bytes were left to an event loop.
    StreamWrite(StreamWrite),
    /// Python has collected garbage.
    Collection(Collection),
    /// What was raised where the next answer comes from.
    Exceptions {
        /// The fixed part.
        of: Exceptions,
        /// The exceptions, in no order: for [`exceptions`].
        raised: &'a [u8],
    },
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Fewer bytes than the record's fixed part or its own lengths say.
    #[error("record cut short: {have} bytes of {need}")]
    Short {
        /// Bytes at hand.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// A kind that this version does not know.
    #[error("unknown record kind {0}")]
    Kind(u16),
    /// A length or number past its limit.
    #[error("record field {0} out of range")]
    Range(&'static str),
}

/// A record without the room behind it: those written in place are reserved at their largest.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let size = prefix::<RecordHeader>(bytes).map_or(bytes.len(), |(header, _)| header.size as usize);
    bytes.get(..size).unwrap_or(bytes)
}

/// Reads one record from the start of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let (header, _) = prefix::<RecordHeader>(bytes)?;
    Ok(match header.kind {
        abi::RECORD_SOCKET_CALL => return decode_call(bytes),
        abi::RECORD_TLS_CALL => return decode_tls_call(bytes),
        abi::RECORD_SOCKET_STATE => Record::SocketState(prefix(bytes)?.0),
        abi::RECORD_FORK => Record::Fork(prefix(bytes)?.0),
        abi::RECORD_EXEC => Record::Exec(prefix(bytes)?.0),
        abi::RECORD_EXIT => Record::Exit(prefix(bytes)?.0),
        abi::RECORD_THREAD_START => Record::ThreadStart(prefix(bytes)?.0),
        abi::RECORD_THREAD_END => Record::ThreadEnd(prefix(bytes)?.0),
        abi::RECORD_CONTEXT_COPY => Record::ContextCopy(prefix(bytes)?.0),
        abi::RECORD_STREAM_WRITE => Record::StreamWrite(prefix(bytes)?.0),
        abi::RECORD_COLLECTION => Record::Collection(prefix(bytes)?.0),
        abi::RECORD_EXCEPTIONS => return decode_exceptions(bytes),
        kind => return Err(Malformed::Kind(kind)),
    })
}

fn decode_call(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let (call, rest) = prefix::<SocketCall>(bytes)?;
    if call.head_bytes > abi::HEAD_BYTES_MAX {
        return Err(Malformed::Range("head_bytes"));
    }
    if u32::from(call.tail_bytes) > abi::TAIL_BYTES_MAX {
        return Err(Malformed::Range("tail_bytes"));
    }
    if u32::from(call.path_bytes) > abi::PATH_BYTES_MAX {
        return Err(Malformed::Range("path_bytes"));
    }
    let copied = i64::from(call.head_bytes) + i64::from(call.tail_bytes);
    if copied > call.result.max(0) {
        return Err(Malformed::Range("result"));
    }
    let (head, rest) = split(bytes, rest, call.head_bytes as usize)?;
    let (tail, rest) = split(bytes, rest, usize::from(call.tail_bytes))?;
    let (path, _) = split(bytes, rest, usize::from(call.path_bytes))?;
    Ok(Record::SocketCall { call, head, tail, path })
}

fn decode_tls_call(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let (call, rest) = prefix::<TlsCall>(bytes)?;
    if call.head_bytes > abi::HEAD_BYTES_MAX {
        return Err(Malformed::Range("head_bytes"));
    }
    if u32::from(call.tail_bytes) > abi::TAIL_BYTES_MAX {
        return Err(Malformed::Range("tail_bytes"));
    }
    if u64::from(call.head_bytes) + u64::from(call.tail_bytes) > call.bytes {
        return Err(Malformed::Range("bytes"));
    }
    let (head, rest) = split(bytes, rest, call.head_bytes as usize)?;
    let (tail, _) = split(bytes, rest, usize::from(call.tail_bytes))?;
    Ok(Record::TlsCall { call, head, tail })
}

fn decode_exceptions(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let (of, rest) = prefix::<Exceptions>(bytes)?;
    let count = of.count as usize;
    if count > abi::EXCEPTIONS_MAX {
        return Err(Malformed::Range("count"));
    }
    let (raised, _) = split(bytes, rest, count * size_of::<Exception>())?;
    Ok(Record::Exceptions { of, raised })
}

/// The exceptions of a record.
pub fn exceptions(raised: &[u8]) -> impl Iterator<Item = Exception> {
    raised.chunks_exact(size_of::<Exception>()).filter_map(|bytes| Exception::read_from_bytes(bytes).ok())
}

fn prefix<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), Malformed> {
    T::read_from_prefix(bytes).map_err(|_| Malformed::Short { have: bytes.len(), need: size_of::<T>() })
}

fn split<'a>(whole: &[u8], rest: &'a [u8], length: usize) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let need = whole.len() - rest.len() + length;
    rest.split_at_checked(length).ok_or(Malformed::Short { have: whole.len(), need })
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    fn call(head: &[u8], tail: &[u8], path: &[u8], result: i64) -> Vec<u8> {
        let mut call = SocketCall::new_zeroed();
        call.header.kind = abi::RECORD_SOCKET_CALL;
        call.result = result;
        call.head_bytes = head.len() as u32;
        call.tail_bytes = tail.len() as u16;
        call.path_bytes = path.len() as u16;
        [call.as_bytes(), head, tail, path].concat()
    }

    #[test]
    fn a_call_is_cut_into_its_parts() {
        let bytes = call(b"GET /", b"0\r\n\r\n", b"/run/a", 100);
        let Ok(Record::SocketCall { call, head, tail, path }) = decode(&bytes) else { panic!("a call") };
        assert_eq!((head, tail, path), (&b"GET /"[..], &b"0\r\n\r\n"[..], &b"/run/a"[..]));
        assert_eq!(call.result, 100);
    }

    #[test]
    fn exceptions_are_read_one_by_one() {
        let mut of = Exceptions::new_zeroed();
        of.header.kind = abi::RECORD_EXCEPTIONS;
        of.count = 2;
        let exception = |frames| Exception { frames, ..Exception::new_zeroed() };
        let mut bytes = [of.as_bytes(), exception(3).as_bytes(), exception(7).as_bytes()].concat();
        let Ok(Record::Exceptions { raised, .. }) = decode(&bytes) else { panic!("exceptions") };
        assert_eq!(exceptions(raised).map(|exception| exception.frames).collect::<Vec<_>>(), [3, 7]);
        assert!(matches!(decode(&bytes[..bytes.len() - 1]), Err(Malformed::Short { .. })));
        bytes[std::mem::offset_of!(Exceptions, count)] = 5;
        assert_eq!(decode(&bytes), Err(Malformed::Range("count")));
    }

    #[test]
    fn a_copy_of_a_context_is_read() {
        let mut copy = ContextCopy::new_zeroed();
        copy.header.kind = abi::RECORD_CONTEXT_COPY;
        (copy.context, copy.copied_in) = (0x7f10, 0x7f20);
        assert_eq!(decode(copy.as_bytes()), Ok(Record::ContextCopy(copy)));
        let mut write = StreamWrite::new_zeroed();
        write.header.kind = abi::RECORD_STREAM_WRITE;
        (write.context, write.fd) = (0x7f10, 8);
        assert_eq!(decode(write.as_bytes()), Ok(Record::StreamWrite(write)));
        assert!(matches!(decode(&copy.as_bytes()[..47]), Err(Malformed::Short { need: 48, .. })));
        let mut start = ThreadStart::new_zeroed();
        start.header.kind = abi::RECORD_THREAD_START;
        (start.context, start.child) = (0x7f10, 8);
        assert_eq!(decode(start.as_bytes()), Ok(Record::ThreadStart(start)));
        assert!(matches!(decode(&start.as_bytes()[..39]), Err(Malformed::Short { need: 40, .. })));
    }

    #[test]
    fn every_cut_is_short_and_nothing_panics() {
        let bytes = call(b"head", b"tail", b"path", 8);
        for end in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..end]), Err(Malformed::Short { .. })), "{end}");
        }
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        assert_eq!(decode(&call(b"0123456789", b"", b"", 9)), Err(Malformed::Range("result")));
        assert_eq!(decode(&call(b"x", b"", b"", -104)), Err(Malformed::Range("result")));
        assert_eq!(decode(&call(b"", &[0; 17], b"", 17)), Err(Malformed::Range("tail_bytes")));
        assert_eq!(decode(&call(b"", b"", &[0; 109], 0)), Err(Malformed::Range("path_bytes")));
        let mut tls = TlsCall::new_zeroed();
        tls.header.kind = abi::RECORD_TLS_CALL;
        (tls.head_bytes, tls.bytes) = (3, 3);
        let bytes = [tls.as_bytes(), b"GET"].concat();
        assert_eq!(decode(&bytes), Ok(Record::TlsCall { call: tls, head: b"GET", tail: b"" }));
        tls.bytes = 2;
        assert_eq!(decode(tls.as_bytes()), Err(Malformed::Range("bytes")));
        let mut unknown = call(b"", b"", b"", 0);
        unknown[12] = 99;
        assert_eq!(decode(&unknown), Err(Malformed::Kind(99)));
    }
}
