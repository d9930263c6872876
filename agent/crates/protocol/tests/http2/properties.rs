//! What holds for every connection: the same parts for every cutting, exact streams where only content is hidden,
//! nothing wrong from the middle, no panic for anything at all. Expected lines come from the generator.

use httlib_hpack::Encoder;
use model::Origin;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::Chunk;
use protocol::http2::{Parser, Part, Sender};

use crate::harness::{PREFACE, SETTINGS, Step, data, fields, flag, frame, play};
use crate::script;

/// What a side says on a stream.
#[derive(Debug, Clone)]
enum Said {
    Head { fields: Vec<(String, String)>, fragments: usize, padding: Option<u8>, priority: bool, end: bool },
    Data { content: Vec<u8>, padding: Option<u8>, end: bool },
    Beside(u8),
}

type Turn = (u32, Said);

fn field() -> impl Strategy<Value = (String, String)> {
    let fixed = |name: &'static str, value: &'static str| Just((name.to_owned(), value.to_owned()));
    prop_oneof![
        fixed(":method", "GET"),
        fixed(":method", "POST"),
        fixed(":status", "200"),
        fixed(":status", "418"),
        "/[a-c]{0,2}".prop_map(|path| (":path".to_owned(), path)),
        ("x-[a-c]", "[a-c]{0,2}"),
        ("[a-z]{1,12}", "[ -~&&[^ ]]{0,30}"),
    ]
}

fn said(most: usize) -> impl Strategy<Value = Said> {
    let padding = || prop::option::weighted(0.3, 0..20_u8);
    prop_oneof![
        (vec(field(), 0..6), 1..4_usize, padding(), any::<bool>(), any::<bool>()).prop_map(
            |(fields, fragments, padding, priority, end)| Said::Head {
                fields,
                fragments,
                padding,
                priority,
                end
            }
        ),
        (vec(any::<u8>(), 0..most), padding(), any::<bool>())
            .prop_map(|(content, padding, end)| Said::Data { content, padding, end }),
        (0..4_u8).prop_map(Said::Beside),
    ]
}

fn turns(most: usize) -> impl Strategy<Value = Vec<Turn>> {
    vec((1..200_u32, said(most)), 1..10)
}

/// A frame with its padding.
fn padded(kind: u8, flags: u8, stream: u32, padding: Option<u8>, body: &[u8]) -> Vec<u8> {
    let Some(padding) = padding else { return frame(kind, flags, stream, body) };
    frame(kind, flags | flag::PADDED, stream, &[&[padding], body, &vec![0; usize::from(padding)]].concat())
}

/// One turn's frames, and the line that is expected of them with `@` for the times.
fn write(encoder: &mut Encoder<'_>, stream: u32, said: &Said, position: usize) -> (Vec<u8>, Option<String>) {
    match said {
        Said::Head { fields, fragments, padding, priority, end } => {
            let mut block = Vec::new();
            let flags = Encoder::BEST_FORMAT | Encoder::WITH_INDEXING | Encoder::HUFFMAN_VALUE;
            for (name, value) in fields {
                encoder
                    .encode((name.clone().into_bytes(), value.clone().into_bytes(), flags), &mut block)
                    .unwrap();
            }
            let size = block.len().div_ceil(*fragments).max(1);
            let mut pieces: Vec<&[u8]> = block.chunks(size).collect();
            if pieces.is_empty() {
                pieces.push(&[]);
            }
            let last = pieces.len() - 1;
            let mut bytes = Vec::new();
            for (at, piece) in pieces.into_iter().enumerate() {
                let end_headers = if at == last { flag::END_HEADERS } else { 0 };
                if at > 0 {
                    bytes.extend(frame(9, end_headers, stream, piece));
                    continue;
                }
                let front: &[u8] = if *priority { &[0, 0, 0, 0, 15] } else { &[] };
                let flags = end_headers | u8::from(*end) | if *priority { flag::PRIORITY } else { 0 };
                bytes.extend(padded(1, flags, stream, *padding, &[front, piece].concat()));
            }
            let end = if *end { " end" } else { "" };
            let line = format!("{stream} {} +{} @{position}{end}", words(fields), bytes.len());
            (bytes, Some(line))
        }
        Said::Data { content, padding, end } => {
            let bytes = padded(0, u8::from(*end), stream, *padding, content);
            let end = if *end { " end" } else { "" };
            let line = format!("{stream} data {} of {}{end}", bytes.len(), content.len());
            (bytes, Some(line))
        }
        Said::Beside(0) => (frame(8, 0, stream, &[0, 0, 1, 0]), None),
        Said::Beside(1) => (frame(6, 1, 0, b"pingpong"), None),
        Said::Beside(2) => (frame(4, 1, 0, b""), None),
        Said::Beside(_) => (frame(0x21, 0xff, stream, b"extension"), None),
    }
}

/// As the harness writes a head: the last of each pseudo-header field, then the others.
fn words(fields: &[(String, String)]) -> String {
    let last = |name: &str| fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let pseudo = [":method", ":path", ":status"].into_iter().filter_map(last);
    let plain = fields.iter().filter(|(name, _)| !name.starts_with(':'));
    pseudo.chain(plain.map(|(name, value)| format!("{name}={value}"))).collect::<Vec<_>>().join(" ")
}

/// The bytes of a side from its start, the lines expected of them, and where each turn begins.
fn stream(sender: Sender, turns: &[Turn]) -> (Vec<u8>, Vec<String>, Vec<usize>) {
    let mut encoder = Encoder::with_dynamic_size(4096);
    let mut bytes = match sender {
        Sender::Client => [PREFACE, SETTINGS].concat(),
        Sender::Server => SETTINGS.to_vec(),
    };
    let (mut lines, mut begins) = (Vec::<String>::new(), Vec::new());
    for (stream, said) in turns {
        begins.push(bytes.len());
        let (frames, line) = write(&mut encoder, *stream, said, bytes.len());
        bytes.extend(frames);
        lines.extend(line);
    }
    begins.push(bytes.len());
    (bytes, lines, begins)
}

/// The lines without sender and times, data put together as far as the generator's lines are.
fn lines(steps: &[Step]) -> Vec<String> {
    let trim = |line: String| {
        let line = line.split_once(' ').unwrap().1.to_owned();
        if line.contains(" data ") {
            return line.rsplit_once(" @").unwrap().0.to_owned();
        }
        line.rsplit_once(' ').map_or(line.clone(), |(front, _)| front.to_owned())
    };
    play(Origin::Start, steps).into_iter().map(trim).collect()
}

/// Streams that differ from turn to turn, so that no data is put together.
fn apart(mut turns: Vec<Turn>) -> Vec<Turn> {
    for (at, (stream, _)) in turns.iter_mut().enumerate() {
        *stream = *stream * 20 + at as u32;
    }
    turns
}

fn calls(sender: Sender, bytes: &[u8], cuts: &[usize], limit: usize) -> Vec<Step> {
    let mut cuts: Vec<usize> = cuts.iter().copied().filter(|&cut| cut > 0 && cut < bytes.len()).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    begins.zip(ends).map(|(begin, end)| Step::Call(sender, bytes[begin..end].to_vec(), limit)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn parts_do_not_depend_on_the_cutting(
        turns in turns(60), cuts in vec(any::<prop::sample::Index>(), 0..20), everywhere: bool, client: bool,
    ) {
        let sender = if client { Sender::Client } else { Sender::Server };
        let (bytes, want, _) = stream(sender, &apart(turns));
        let cuts: Vec<usize> =
            if everywhere { (1..bytes.len()).collect() } else { cuts.iter().map(|cut| cut.index(bytes.len())).collect() };
        prop_assert_eq!(lines(&calls(sender, &bytes, &cuts, usize::MAX)), want);
    }

    #[test]
    fn hidden_content_costs_nothing(turns in turns(3000)) {
        let (bytes, want, begins) = stream(Sender::Server, &apart(turns));
        prop_assert_eq!(lines(&calls(Sender::Server, &bytes, &begins, 600)), want);
    }

    #[test]
    fn nothing_is_wrong_from_the_middle(turns in turns(60), first in any::<prop::sample::Index>()) {
        let turns = apart(turns);
        let (bytes, _, begins) = stream(Sender::Client, &turns);
        let first = first.index(turns.len());
        let mut parser = Parser::new(Origin::Midway, Origin::Midway);
        for pair in begins[first..].windows(2) {
            let call = &bytes[pair[0]..pair[1]];
            let chunk = Chunk { at_ns: 1, position: pair[0] as u64, len: call.len() as u64, head: call, tail: b"" };
            parser.push(Sender::Client, &chunk, &mut |_, part| {
                let Part::Head { stream, head, .. } = part else { return };
                let (_, said) = turns.iter().find(|(other, _)| *other == stream).unwrap();
                let Said::Head { fields: real, .. } = said else { panic!("a head where none was") };
                let real = words(real);
                let told = fields(&head);
                for word in told.split(' ').filter(|word| !word.starts_with('?') && !word.is_empty()) {
                    assert!(real.split(' ').any(|other| other == word) || head.unknown > 0 && is_overtaken(word, said), "{told} for {real}");
                }
            });
        }
    }

    /// From the start, or joined at a turn; calls cut anywhere, some of them not copied, or lost.
    #[test]
    fn a_frame_that_is_told_begins_there(
        turns in turns(400), first in proptest::option::of(any::<prop::sample::Index>()),
        cuts in vec((any::<prop::sample::Index>(), 0..8_u8), 0..20),
    ) {
        let turns = apart(turns);
        let (bytes, _, begins) = stream(Sender::Client, &turns);
        let begin = first.map_or(0, |first| begins[first.index(begins.len())]);
        let mut ends: Vec<(usize, u8)> = cuts.iter().map(|(cut, how)| (cut.index(bytes.len()), *how)).collect();
        ends.retain(|(end, _)| *end > begin);
        ends.push((bytes.len(), 2));
        ends.sort_unstable();
        // No call is empty.
        ends.dedup_by_key(|(end, _)| *end);
        let frames = frame_begins(&bytes);
        let origin = if first.is_none() { Origin::Start } else { Origin::Midway };
        let mut parser = Parser::new(origin, origin);
        let (mut at, mut sees_all) = (begin, first.is_none());
        for (end, how) in ends {
            let call = &bytes[at..end];
            let head = if how == 1 { &call[..call.len().min(40)] } else { call };
            sees_all &= head.len() == call.len() && how > 0;
            if how > 0 {
                let chunk = Chunk { at_ns: 1, position: at as u64, len: call.len() as u64, head, tail: b"" };
                parser.push(Sender::Client, &chunk, &mut |_, _| {});
            }
            at = end;
            // What was lost may be told of as it stood before.
            if how > 0 && let Some(next) = parser.next_frame(Sender::Client) {
                prop_assert!(next >= at as u64 && frames.contains(&(next as usize)), "{next} at {at} of {frames:?}");
            } else {
                let is_inside = at < PREFACE.len() || !frames.iter().any(|frame| *frame >= at)
                    || frames.iter().any(|frame| (1..9).contains(&at.saturating_sub(*frame)));
                prop_assert!(!sees_all || is_inside, "nothing at {at} of {frames:?}");
            }
        }
        prop_assert_eq!(parser.next_frame(Sender::Server).is_some(), first.is_none());
    }

    #[test]
    fn anything_keeps_the_invariants(script in vec(any::<u8>(), 0..400)) {
        script::run(&script);
    }
}

/// Where the frames of a client begin, and where the next one will.
fn frame_begins(bytes: &[u8]) -> Vec<usize> {
    let mut begins = vec![PREFACE.len()];
    while let Some(header) = bytes[begins[begins.len() - 1]..].first_chunk::<9>() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        begins.push(begins[begins.len() - 1] + 9 + length);
    }
    begins
}

/// A pseudo-header field was sent more than once, and the last of them is not known.
fn is_overtaken(word: &str, said: &Said) -> bool {
    matches!(said, Said::Head { fields, .. } if fields.iter().any(|(_, value)| value == word))
}

#[test]
fn data_in_a_row() {
    let bytes = [SETTINGS.to_vec(), data(1, false, b"abc"), data(1, true, b"")].concat();
    let steps = calls(Sender::Server, &bytes, &(1..bytes.len()).collect::<Vec<_>>(), usize::MAX);
    assert_eq!(lines(&steps), ["1 data 21 of 3 end"]);
}
