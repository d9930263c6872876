//! What the kernel program tells of a direction of HTTP/2: it leaves out the content of large DATA frames
//! (`ebpf/bpf/lib/frames.h`).

use std::collections::HashMap;

/// From so many bytes on content is left out (`LEFT_OUT_MIN` in `ebpf/bpf/lib/frame_places.h`).
const LEFT_OUT_MIN: usize = 512;
const HEADER_BYTES: usize = 9;
/// What gRPC puts in front of a message.
const PREFIX_BYTES: usize = 5;

/// The kernel program's view of one direction.
#[derive(Debug, Default)]
pub struct Follower {
    /// Bytes before the next frame: of the preface, or as far as it was told.
    before: usize,
    /// It is not known where frames begin: everything is copied.
    asks: bool,
    /// Bytes that have passed, and of them those that were copied.
    pub passed: u64,
    pub copied: u64,
    header: Vec<u8>,
    left: usize,
    /// By stream: what stands in front of a message, so far as it has passed, and what is left of the message.
    messages: HashMap<u32, (Vec<u8>, usize)>,
}

impl Follower {
    /// From the connection's beginning on, which has a preface of so many bytes.
    pub fn new(before: usize) -> Self {
        Self { before, ..Self::default() }
    }

    /// Of a connection that was open before.
    pub fn midway() -> Self {
        Self { asks: true, ..Self::default() }
    }

    /// It would be told where a frame begins.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// A frame begins there.
    pub fn told(&mut self, position: u64) {
        if self.asks && position >= self.passed {
            self.before = (position - self.passed) as usize;
            self.asks = false;
        }
    }

    /// What is told of a call: bytes, and with those left out behind them so many.
    pub fn records(&mut self, call: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let records = if self.asks { vec![(call.to_vec(), call.len() as u64)] } else { self.follow(call) };
        self.passed += call.len() as u64;
        self.copied += records.iter().map(|(copied, _)| copied.len() as u64).sum::<u64>();
        records
    }

    fn follow(&mut self, call: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let mut records: Vec<(Vec<u8>, u64)> = Vec::new();
        let mut at = 0;
        while at < call.len() {
            let (bytes, is_copied) = self.run(&call[at..]);
            let run = &call[at..at + bytes];
            self.pass(run);
            at += bytes;
            match records.last_mut() {
                Some((copied, len)) if !is_copied || copied.len() as u64 == *len => {
                    copied.extend_from_slice(if is_copied { run } else { &[] });
                    *len += bytes as u64;
                }
                _ => records.push((if is_copied { run.to_vec() } else { Vec::new() }, bytes as u64)),
            }
        }
        records
    }

    /// How many of the next bytes are treated alike, and whether they are copied.
    fn run(&self, bytes: &[u8]) -> (usize, bool) {
        if self.before > 0 {
            return (self.before.min(bytes.len()), true);
        }
        if self.left == 0 {
            return ((HEADER_BYTES - self.header.len()).min(bytes.len()), true);
        }
        if self.header[3] != 0 {
            return (self.left.min(bytes.len()), true);
        }
        let run = match self.messages.get(&self.stream()) {
            Some((prefix, left)) if prefix.len() == PREFIX_BYTES && prefix[0] <= 1 => self.left.min(*left),
            Some((prefix, _)) if prefix.len() == PREFIX_BYTES => self.left,
            prefix => {
                let have = prefix.map_or(0, |(prefix, _)| prefix.len());
                return ((PREFIX_BYTES - have).min(self.left).min(bytes.len()), true);
            }
        };
        (run.min(bytes.len()), run < LEFT_OUT_MIN)
    }

    fn stream(&self) -> u32 {
        u32::from_be_bytes(self.header[5..9].try_into().unwrap())
    }

    fn pass(&mut self, run: &[u8]) {
        if self.before > 0 {
            self.before -= run.len();
            return;
        }
        if self.left == 0 {
            self.header.extend_from_slice(run);
            if self.header.len() == HEADER_BYTES {
                self.left = u32::from_be_bytes([0, self.header[0], self.header[1], self.header[2]]) as usize;
            }
        } else {
            self.left -= run.len();
            if self.header[3] == 0 {
                self.pass_content(run);
            }
        }
        if self.header.len() == HEADER_BYTES && self.left == 0 {
            self.header.clear();
        }
    }

    fn pass_content(&mut self, run: &[u8]) {
        let (prefix, left) = self.messages.entry(self.stream()).or_default();
        if prefix.len() < PREFIX_BYTES {
            prefix.extend_from_slice(run);
            if prefix.len() == PREFIX_BYTES {
                *left = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
            }
        } else {
            *left = left.saturating_sub(run.len());
        }
        if prefix.len() == PREFIX_BYTES && prefix[0] <= 1 && *left == 0 {
            prefix.clear();
        }
    }
}
