//! HTTP/2 and gRPC as the kernel program tells of them: the content of large DATA frames is left out, and records around it
//! are lost at random. No span says what is not so, and without losses every one says all.

use std::collections::HashMap;

use model::{AttributeValue, Direction, End, Protocol, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::{Step, World, socket};

/// From so many bytes on content is left out (`LEFT_OUT_MIN` in `ebpf/bpf/lib/frame_places.h`).
const LEFT_OUT_MIN: usize = 512;
const HEADER_BYTES: usize = 9;
/// What gRPC puts in front of a message.
const PREFIX_BYTES: usize = 5;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is asked for and answered on one stream: the lengths of its messages.
#[derive(Debug, Clone)]
struct Call {
    requests: Vec<usize>,
    responses: Vec<usize>,
    frame_bytes: usize,
}

#[derive(Debug)]
struct Truth {
    path: String,
    status: u16,
    grpc_status: i64,
    requests: i64,
    responses: i64,
    request_bytes: u64,
    response_bytes: u64,
}

fn frame(kind: u8, flags: u8, stream: usize, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &(stream as u32).to_be_bytes(), payload].concat()
}

/// A field that is not indexed.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn headers(stream: usize, ends: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<_> = fields.iter().map(|(name, value)| field(name, value)).collect();
    frame(1, 4 | u8::from(ends), stream, &block.concat())
}

/// DATA frames with these messages.
fn data(stream: usize, ends: bool, grpc: bool, messages: &[usize], frame_bytes: usize) -> Vec<Vec<u8>> {
    let message = |length: &usize| {
        if !grpc {
            return vec![b'x'; *length];
        }
        [&[0][..], &(*length as u32).to_be_bytes(), &vec![0; *length]].concat()
    };
    let content: Vec<u8> = messages.iter().flat_map(message).collect();
    let count = content.len().div_ceil(frame_bytes);
    let chunks = content.chunks(frame_bytes).enumerate();
    chunks.map(|(at, chunk)| frame(0, u8::from(ends && at + 1 == count), stream, chunk)).collect()
}

impl Call {
    /// The frames of the request and of the response.
    fn frames(&self, n: usize, grpc: bool) -> (Truth, [Vec<Vec<u8>>; 2]) {
        let stream = 2 * n + 1;
        let path = if grpc { format!("/s.S/m{n}") } else { format!("/x{n}") };
        let kind = if grpc { "application/grpc" } else { "text/plain" };
        let status = if grpc { 200 } else { 210 + n as u16 };
        let grpc_status = n as i64 % 17;
        let ask =
            |ends| headers(stream, ends, &[(":method", "POST"), (":path", &path), ("content-type", kind)]);
        let answer =
            |ends| headers(stream, ends, &[(":status", &status.to_string()), ("content-type", kind)]);
        let mut asks = data(stream, true, grpc, &self.requests, self.frame_bytes);
        asks.insert(0, ask(asks.is_empty()));
        let mut answers = data(stream, !grpc, grpc, &self.responses, self.frame_bytes);
        answers.insert(0, answer(!grpc && answers.is_empty()));
        if grpc {
            answers.push(headers(stream, true, &[("grpc-status", &grpc_status.to_string())]));
        }
        let bytes = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).sum::<usize>() as u64;
        let truth = Truth {
            path,
            status,
            grpc_status,
            requests: self.requests.len() as i64,
            responses: self.responses.len() as i64,
            request_bytes: bytes(&asks),
            response_bytes: bytes(&answers),
        };
        (truth, [asks, answers])
    }
}

/// One frame of each in turn.
fn in_turn(sides: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let longest = sides.iter().map(Vec::len).max().unwrap_or(0);
    let nth = |at: usize| sides.iter().filter_map(move |frames| frames.get(at));
    (0..longest).flat_map(nth).flatten().copied().collect()
}

/// The kernel program's view of one direction.
#[derive(Debug, Default)]
struct Follower {
    before: usize,
    header: Vec<u8>,
    left: usize,
    /// By stream: what stands in front of a message, so far as it has passed, and what is left of the message.
    messages: HashMap<u32, (Vec<u8>, usize)>,
}

impl Follower {
    /// What is told of a call: bytes, and with those left out behind them so many.
    fn records(&mut self, call: &[u8]) -> Vec<(Vec<u8>, u64)> {
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

fn number(span: &Span, name: &str) -> Option<i64> {
    match span.attribute(name)? {
        AttributeValue::Int(number) => Some(*number),
        other => panic!("{name}: {other:?}"),
    }
}

/// What a span says against what is so. `all`: nothing was lost.
fn check_span(span: &Span, truth: &Truth, grpc: bool, all: bool) -> Result<(), TestCaseError> {
    prop_assert!(span.status.is_none_or(|status| status == truth.status), "{span:?}\nis {truth:?}");
    let said = number(span, "rpc.grpc.status_code");
    prop_assert!(said.is_none_or(|status| status == truth.grpc_status), "{span:?}\nis {truth:?}");
    let counts = [
        (number(span, "rpc.requests_per_rpc"), truth.requests),
        (number(span, "rpc.responses_per_rpc"), truth.responses),
    ];
    for (told, is) in counts {
        prop_assert!(told.is_none_or(|told| told <= is), "{span:?}\nis {truth:?}");
    }
    prop_assert!(span.request_bytes <= truth.request_bytes && span.response_bytes <= truth.response_bytes);
    if span.end != End::Complete {
        prop_assert!(!all, "{span:?}\nis {truth:?}");
        return Ok(());
    }
    prop_assert_eq!(span.response_bytes, truth.response_bytes);
    for (told, is) in counts {
        prop_assert!(told.is_none_or(|told| told == is), "{span:?}\nis {truth:?}");
        prop_assert!(told.is_some() || !grpc || !all, "{span:?}\nis {truth:?}");
    }
    if all {
        prop_assert_eq!(span.request_bytes, truth.request_bytes);
        prop_assert_eq!(span.status, Some(truth.status));
        prop_assert_eq!(said, grpc.then_some(truth.grpc_status));
    }
    Ok(())
}

/// Calls of which so many are open at once, cut into socket calls of so many bytes, of whose records some are lost.
fn check(
    (grpc, client): (bool, bool),
    calls: &[Call],
    (width, call_bytes): (usize, &[usize]),
    losses: &[bool],
) -> Result<(), TestCaseError> {
    let mut world = World::new(&Settings::default());
    let socket = socket(1);
    let directions = [Direction::Received, Direction::Sent];
    let directions = if client { [directions[1], directions[0]] } else { directions };
    let mut followers = [Follower { before: PREFACE.len(), ..Follower::default() }, Follower::default()];
    let settings = frame(4, 0, 0, b"");
    for (side, opening) in [(0, [PREFACE, &settings].concat()), (1, settings)] {
        followers[side].records(&opening);
        world.bytes(&socket, directions[side], &opening);
    }
    let mut losses = losses.iter().copied().chain(std::iter::repeat(false));
    let mut sizes = call_bytes.iter().copied().cycle();
    let (mut truths, mut all) = (HashMap::new(), true);
    let numbered: Vec<_> = calls.iter().enumerate().collect();
    for together in numbered.chunks(width) {
        let mut frames = [Vec::new(), Vec::new()];
        for (n, call) in together {
            let (truth, [asks, answers]) = call.frames(*n, grpc);
            truths.insert(truth.path.clone(), truth);
            frames[0].push(asks);
            frames[1].push(answers);
        }
        for (side, frames) in frames.into_iter().enumerate() {
            let mut rest = &in_turn(&frames)[..];
            while !rest.is_empty() {
                let (call, later) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                rest = later;
                for (head, len) in followers[side].records(call) {
                    if losses.next().unwrap() {
                        all = false;
                        world.now_ns += crate::conversation::MS;
                        world.play(&socket, &[Step::Loses(directions[side], len)]);
                    } else {
                        world.part(&socket, directions[side], &head, len);
                    }
                }
            }
        }
    }
    world.tracer.drain(world.now_ns, &mut world.spans);
    for span in &world.spans {
        let Some(path) = &span.target else {
            prop_assert!(!all, "{span:?}");
            continue;
        };
        let Some(truth) = truths.get(path) else {
            return Err(TestCaseError::fail(format!("nobody asked for this: {span:?}")));
        };
        // Which it is may have been in what was lost of a head.
        let is_known = span.protocol == if grpc { Protocol::Grpc } else { Protocol::Http2 };
        prop_assert!(is_known || grpc && !all, "{span:?}");
        check_span(span, truth, grpc, all)?;
    }
    prop_assert!(!all || world.spans.len() == calls.len());
    Ok(())
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let messages = || vec(prop_oneof![0..40_usize, 400..3000_usize], 0..4);
    let call = (messages(), messages(), 300..2500_usize)
        .prop_map(|(requests, responses, frame_bytes)| Call { requests, responses, frame_bytes });
    vec(call, 1..10)
}

fn losses() -> impl Strategy<Value = Vec<bool>> {
    // In runs, as a ring that is full loses them.
    vec((0..6_usize, 0..20_usize), 0..6).prop_map(|runs| {
        runs.into_iter().flat_map(|(lost, kept)| [vec![true; lost], vec![false; kept]].concat()).collect()
    })
}

fn cut() -> impl Strategy<Value = (usize, Vec<usize>)> {
    (1..4_usize, vec(prop_oneof![1..60_usize, 300..4000_usize], 1..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn http2(client in any::<bool>(), calls in calls(), cut in cut(), losses in losses()) {
        check((false, client), &calls, (cut.0, &cut.1), &losses)?;
    }

    #[test]
    fn grpc(client in any::<bool>(), calls in calls(), cut in cut(), losses in losses()) {
        check((true, client), &calls, (cut.0, &cut.1), &losses)?;
    }

    #[test]
    fn without_losses(grpc in any::<bool>(), client in any::<bool>(), calls in calls(), cut in cut()) {
        check((grpc, client), &calls, (cut.0, &cut.1), &[])?;
    }
}
