//! HTTP/2 and gRPC as the kernel program tells of them: the content of large DATA frames is left out, and records around it
//! are lost at random. No span says what is not so, and without losses every one says all.

use std::collections::{HashMap, VecDeque};

use model::{AttributeValue, Direction, End, Protocol, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::{Step, World, socket};
use crate::follower::Follower;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is asked for and answered on one stream: the lengths of its messages.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each may be with any other")]
struct Call {
    requests: Vec<usize>,
    responses: Vec<usize>,
    frame_bytes: usize,
    /// Header blocks refer to fields that were sent before.
    refers: bool,
    /// Header blocks are in two frames.
    splits: bool,
    /// The request ends with a header block of its own.
    trailers: bool,
    /// An interim response comes first.
    interim: bool,
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
    interim_bytes: u64,
}

fn frame(kind: u8, flags: u8, stream: usize, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &(stream as u32).to_be_bytes(), payload].concat()
}

/// The fields of a direction that header blocks can refer to, the last one first.
#[derive(Debug, Default)]
struct Table(VecDeque<(String, String)>);

impl Table {
    /// Entries that are in a table of 4,096 bytes for certain, if none has more than 68 (RFC 7541 section 4.1).
    const MAX: usize = 60;
    /// RFC 7541 section 2.3.3.
    const FIRST: usize = 62;

    fn field(&mut self, name: &str, value: &str, refers: bool) -> Vec<u8> {
        let known = self.0.iter().position(|entry| *entry == (name.to_owned(), value.to_owned()));
        if let Some(at) = known.filter(|_| refers) {
            return vec![0x80 | (Self::FIRST + at) as u8];
        }
        let adds = refers && self.0.len() < Self::MAX;
        if adds {
            self.0.push_front((name.to_owned(), value.to_owned()));
        }
        let first = if adds { 0x40 } else { 0 };
        [&[first, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    }
}

fn headers(stream: usize, (ends, splits): (bool, bool), fields: &[Vec<u8>]) -> Vec<u8> {
    let (block, ends) = (fields.concat(), u8::from(ends));
    if !splits {
        return frame(1, 4 | ends, stream, &block);
    }
    let (first, second) = block.split_at(block.len() / 2);
    [frame(1, ends, stream, first), frame(9, 4, stream, second)].concat()
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
    /// The frames of the request and of the response. The tables: of each direction.
    fn frames(&self, n: usize, grpc: bool, tables: &mut [Table; 2]) -> (Truth, [Vec<Vec<u8>>; 2]) {
        let stream = 2 * n + 1;
        let path = if grpc { format!("/s.S/m{n}") } else { format!("/x{n}") };
        let kind = ("content-type", if grpc { "application/grpc" } else { "text/plain" });
        let status = if grpc { 200 } else { 210 + n as u16 };
        let grpc_status = n as i64 % 17;
        let [asked, answered] = tables;
        let write = |table: &mut Table, fields: &[(&str, &str)]| -> Vec<_> {
            fields.iter().map(|(name, value)| table.field(name, value, self.refers)).collect()
        };
        // Trailers of several streams come in another order than their heads: they refer to nothing.
        let trailer = |name, value: &str| {
            headers(stream, (true, self.splits), &[Table::default().field(name, value, false)])
        };
        let mut asks = data(stream, !self.trailers, grpc, &self.requests, self.frame_bytes);
        let ends = asks.is_empty() && !self.trailers;
        let ask = write(asked, &[(":method", "POST"), (":path", &path), kind]);
        asks.insert(0, headers(stream, (ends, self.splits), &ask));
        if self.trailers {
            asks.push(trailer("x-sum", "1"));
        }
        let mut interim = Vec::new();
        if self.interim {
            interim = headers(stream, (false, self.splits), &write(answered, &[(":status", "103")]));
        }
        let mut answers = data(stream, !grpc, grpc, &self.responses, self.frame_bytes);
        let ends = answers.is_empty() && !grpc;
        let answer = write(answered, &[(":status", &status.to_string()), kind]);
        answers.insert(0, headers(stream, (ends, self.splits), &answer));
        if grpc {
            answers.push(trailer("grpc-status", &grpc_status.to_string()));
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
            interim_bytes: interim.len() as u64,
        };
        // In one piece with the head, so that blocks are in the order in which they were written.
        answers[0].splice(0..0, interim);
        (truth, [asks, answers])
    }
}

/// One frame of each in turn.
fn in_turn(sides: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let longest = sides.iter().map(Vec::len).max().unwrap_or(0);
    let nth = |at: usize| sides.iter().filter_map(move |frames| frames.get(at));
    (0..longest).flat_map(nth).flatten().copied().collect()
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
    // Of an answer that was lost, what was seen may be an interim response that does not say so.
    let most = truth.response_bytes + if span.end == End::Complete { 0 } else { truth.interim_bytes };
    prop_assert!(span.request_bytes <= truth.request_bytes && span.response_bytes <= most, "{span:?}");
    if span.end != End::Complete {
        prop_assert!(!all, "{span:?}\nis {truth:?}");
        return Ok(());
    }
    let sizes = [
        ("http.request.bytes_incomplete", span.request_bytes, truth.request_bytes),
        ("http.response.bytes_incomplete", span.response_bytes, truth.response_bytes),
    ];
    for (mark, told, is) in sizes {
        let is_marked = span.attribute(mark).is_some();
        prop_assert!(told == is || is_marked, "{span:?}\nis {truth:?}");
        prop_assert!(!(all && is_marked), "{span:?}\nis {truth:?}");
    }
    for (told, is) in counts {
        prop_assert!(told.is_none_or(|told| told == is), "{span:?}\nis {truth:?}");
        prop_assert!(told.is_some() || !grpc || !all, "{span:?}\nis {truth:?}");
    }
    if all {
        prop_assert_eq!(span.status, Some(truth.status));
        prop_assert_eq!(said, grpc.then_some(truth.grpc_status));
    }
    Ok(())
}

/// Where frames begin, one behind another.
fn frame_begins(bytes: &[u8], mut at: u64) -> Vec<u64> {
    let (mut rest, mut begins) = (bytes, vec![at]);
    while let Some(header) = rest.first_chunk::<9>() {
        let bytes = 9 + u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        at += bytes as u64;
        begins.push(at);
        rest = &rest[bytes..];
    }
    begins
}

/// Calls of which so many are open at once, cut into socket calls of so many bytes, of whose records some are lost.
/// `midway`: of a connection that was open before; what is asked of it is answered after each call.
fn check(
    (grpc, client, midway): (bool, bool, bool),
    calls: &[Call],
    (width, call_bytes): (usize, &[usize]),
    losses: &[bool],
) -> Result<(), TestCaseError> {
    let mut world = World::new(&Settings::default());
    let socket = if midway { socket(1).midway() } else { socket(1) };
    let directions = [Direction::Received, Direction::Sent];
    let directions = if client { [directions[1], directions[0]] } else { directions };
    let mut followers = [Follower::new(PREFACE.len()), Follower::new(0)];
    let settings = frame(4, 0, 0, b"");
    if midway {
        followers = [Follower::midway(), Follower::midway()];
    } else {
        for (side, opening) in [(0, [PREFACE, &settings].concat()), (1, settings)] {
            followers[side].records(&opening);
            world.bytes(&socket, directions[side], &opening);
        }
    }
    let mut losses = losses.iter().copied().chain(std::iter::repeat(false));
    let mut sizes = call_bytes.iter().copied().cycle();
    let (mut truths, mut all) = (HashMap::new(), !midway);
    let mut tables = [Table::default(), Table::default()];
    let numbered: Vec<_> = calls.iter().enumerate().collect();
    for together in numbered.chunks(width) {
        let mut frames = [Vec::new(), Vec::new()];
        for (n, call) in together {
            let (truth, [asks, answers]) = call.frames(*n, grpc, &mut tables);
            truths.insert(truth.path.clone(), truth);
            frames[0].push(asks);
            frames[1].push(answers);
        }
        for (side, frames) in frames.into_iter().enumerate() {
            let bytes = in_turn(&frames);
            let begins = frame_begins(&bytes, followers[side].passed);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (call, later) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                rest = later;
                let asks = followers[side].asks();
                for (head, len) in followers[side].records(call) {
                    if losses.next().unwrap() {
                        all = false;
                        world.now_ns += crate::conversation::MS;
                        world.play(&socket, &[Step::Loses(directions[side], len)]);
                    } else if asks {
                        world.asking(&socket, directions[side], &head, len);
                    } else {
                        world.part(&socket, directions[side], &head, len);
                    }
                }
                for told in world.tracer.frame_begins() {
                    let of = usize::from(told.direction == directions[1]);
                    prop_assert!(of != side || begins.contains(&told.position), "{told:?} of {begins:?}");
                    followers[of].told(told.position);
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
    let shape = any::<[bool; 4]>();
    let call = (messages(), messages(), 300..2500_usize, shape).prop_map(
        |(requests, responses, frame_bytes, [refers, splits, trailers, interim])| Call {
            requests,
            responses,
            frame_bytes,
            refers,
            splits,
            trailers,
            interim,
        },
    );
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
        check((false, client, false), &calls, (cut.0, &cut.1), &losses)?;
    }

    #[test]
    fn grpc(client in any::<bool>(), calls in calls(), cut in cut(), losses in losses()) {
        check((true, client, false), &calls, (cut.0, &cut.1), &losses)?;
    }

    #[test]
    fn without_losses(grpc in any::<bool>(), client in any::<bool>(), calls in calls(), cut in cut()) {
        check((grpc, client, false), &calls, (cut.0, &cut.1), &[])?;
    }

    #[test]
    fn open_before(grpc in any::<bool>(), client in any::<bool>(), calls in calls(), cut in cut(), losses in losses()) {
        check((grpc, client, true), &calls, (cut.0, &cut.1), &losses)?;
    }
}
