//! Any bytes give a record or an error, and what a record shows lies inside the bytes.

#![no_main]

use ebpf::record::{Record, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Record::SocketCall { call, head, tail, path }) = decode(bytes) {
        assert_eq!(head.len(), call.head_bytes as usize);
        assert_eq!(tail.len(), usize::from(call.tail_bytes));
        assert_eq!(path.len(), usize::from(call.path_bytes));
        assert!((head.len() + tail.len()) as i64 <= call.result.max(0));
        let range = bytes.as_ptr_range();
        for part in [head, tail, path] {
            assert!(part.is_empty() || range.contains(&part.as_ptr()));
        }
    }
});
