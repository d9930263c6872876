//! What holds for every stream: the same parts for every cutting, exact framing where only bodies are hidden,
//! no panic and no invented message for anything at all. Expected parts come from the generator, not from the
//! parser.

use model::Origin;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::http1::{Asked, RequestParser, ResponseParser};

use crate::harness::{Parser, Step, call, play, short};
use crate::script;

/// What a message's body is made of.
#[derive(Debug, Clone)]
enum Content {
    None,
    Counted(Vec<u8>),
    Chunked { chunks: Vec<(Vec<u8>, bool)>, trailers: usize },
}

/// One message as generated.
#[derive(Debug, Clone)]
struct Message {
    /// The head up to the fields that frame.
    head: String,
    /// How the harness writes the head.
    line: String,
    content: Content,
    asked: Asked,
}

impl Message {
    fn head(&self) -> Vec<u8> {
        let framing = match &self.content {
            Content::None => String::new(),
            Content::Counted(body) => format!("content-length:{}\r\n", body.len()),
            Content::Chunked { .. } => "Transfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n".to_owned(),
        };
        format!("{}{framing}\r\n", self.head).into_bytes()
    }

    fn body(&self) -> Vec<u8> {
        match &self.content {
            Content::None => Vec::new(),
            Content::Counted(body) => body.clone(),
            Content::Chunked { chunks, trailers } => {
                let mut body = Vec::new();
                for (data, extended) in chunks {
                    let extension = if *extended { ";name=\"v; 0\"" } else { "" };
                    body.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                    body.extend_from_slice(data);
                    body.extend_from_slice(b"\r\n");
                }
                body.extend_from_slice(format!("0\r\n{}\r\n", "T: 1\r\n".repeat(*trailers)).as_bytes());
                body
            }
        }
    }
}

fn fields() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        "X-[A-Za-z]{1,9}: [ -~]{0,30}\r\n",
        "x:\u{e9}[a-z]{0,5}\r\n",
        "Fold: a\r\n [a-z]{0,9}\r\n"
    ];
    vec(field, 0..5).prop_map(|fields| fields.concat())
}

fn content(max_bytes: usize) -> impl Strategy<Value = Content> {
    let counted = vec(any::<u8>(), 0..max_bytes).prop_map(Content::Counted);
    let chunk = (vec(any::<u8>(), 1..max_bytes), any::<bool>());
    let chunked =
        (vec(chunk, 0..4), 0..3_usize).prop_map(|(chunks, trailers)| Content::Chunked { chunks, trailers });
    prop_oneof![Just(Content::None), counted, chunked]
}

fn request(max_bytes: usize) -> impl Strategy<Value = Message> {
    let method =
        prop_oneof!["GET", "POST", "[A-Z]{1,9}", "[a-z!#]{1,5}"].prop_filter("switches", |m| m != "CONNECT");
    let target = prop_oneof!["/[a-z?=&%]{0,40}", "http://h/[a-z]{0,9}", "\\*"];
    (method, target, "[01]", fields(), content(max_bytes)).prop_map(
        |(method, target, minor, fields, content)| Message {
            head: format!("{method} {target} HTTP/1.{minor}\r\n{fields}"),
            line: format!("{method} {target} 1.{minor}"),
            content,
            asked: Asked::Other,
        },
    )
}

fn response(max_bytes: usize) -> impl Strategy<Value = Message> {
    let framed = content(max_bytes).prop_map(|content| match content {
        Content::None => Content::Counted(Vec::new()),
        framed => framed,
    });
    let kind = prop_oneof![
        framed.prop_map(|content| (200, content, Asked::Other)),
        Just((204, Content::None, Asked::Other)),
        Just((304, Content::None, Asked::Other)),
        Just((103, Content::None, Asked::Other)),
        Just((200, Content::None, Asked::Head)),
        Just((404, Content::None, Asked::Connect))
            .prop_map(|(status, _, asked)| { (status, Content::Counted(b"no".to_vec()), asked) }),
    ];
    (kind, "[01]", "( [ -~]{0,9})?", fields()).prop_map(
        |((status, content, asked), minor, reason, fields)| Message {
            head: format!("HTTP/1.{minor} {status}{reason}\r\n{fields}"),
            line: format!("{status} 1.{minor}"),
            content,
            asked,
        },
    )
}

/// Which call a byte is in, counted from 1: `cuts` are the positions at which a new call begins.
fn call_of(position: usize, cuts: &[usize]) -> usize {
    1 + cuts.iter().filter(|&&cut| cut <= position).count()
}

/// The lines for messages that stand one after the other.
fn expected(messages: &[Message], cuts: &[usize]) -> Vec<String> {
    let (mut lines, mut begin) = (Vec::new(), 0);
    for message in messages {
        let head_end = begin + message.head().len();
        let end = head_end + message.body().len();
        let [first, head_last, last] = [begin, head_end - 1, end - 1].map(|at| call_of(at, cuts));
        lines.push(format!("{} @{begin} {first}..{head_last}", message.line));
        lines.push(format!("end {} Framing @{last}", end - begin));
        begin = end;
    }
    lines
}

/// The expectations for these responses, then the calls.
fn steps(messages: &[Message], calls: Vec<Step>) -> Vec<Step> {
    let answers = messages.iter().filter(|message| !message.line.starts_with('1'));
    answers.map(|message| Step::Expect(message.asked)).chain(calls).collect()
}

/// Any cutting of the whole stream, all copied.
fn check_cutting<P: Parser>(messages: &[Message], cuts: &[prop::sample::Index], everywhere: bool) {
    let bytes: Vec<u8> =
        messages.iter().flat_map(|message| [message.head(), message.body()].concat()).collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).filter(|&cut| cut > 0).collect();
    if everywhere {
        cuts = (1..bytes.len()).collect();
    }
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    let calls = begins.zip(ends).map(|(begin, end)| call(&bytes[begin..end])).collect();
    let steps = steps(messages, calls);
    assert_eq!(play::<P>(Origin::Start, &steps), expected(messages, &cuts));
}

/// Heads at the beginning of calls and copied whole, everything else as it comes.
fn check_limited<P: Parser>(messages: &[(Message, Vec<usize>)], limit: usize) {
    let (mut calls, mut cuts, mut begin) = (Vec::new(), Vec::new(), 0);
    for (message, pieces) in messages {
        let bytes = [message.head(), message.body()].concat();
        let mut rest = &bytes[..];
        let mut least = message.head().len();
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(piece.max(least).min(rest.len()));
            if !piece.is_empty() {
                begin += piece.len();
                cuts.push(begin);
                calls.push(short(piece, limit));
            }
            (rest, least) = (after, 1);
        }
    }
    let messages: Vec<Message> = messages.iter().map(|(message, _)| message.clone()).collect();
    let steps = steps(&messages, calls);
    assert_eq!(play::<P>(Origin::Start, &steps), expected(&messages, &cuts));
}

fn counted(message: &Message) -> bool {
    !matches!(message.content, Content::Chunked { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn requests_do_not_depend_on_the_cutting(
        messages in vec(request(40), 1..5), cuts in vec(any::<prop::sample::Index>(), 0..12), everywhere: bool,
    ) {
        check_cutting::<RequestParser>(&messages, &cuts, everywhere);
    }

    #[test]
    fn responses_do_not_depend_on_the_cutting(
        messages in vec(response(40), 1..5), cuts in vec(any::<prop::sample::Index>(), 0..12), everywhere: bool,
    ) {
        check_cutting::<ResponseParser>(&messages, &cuts, everywhere);
    }

    #[test]
    fn requests_are_exact_when_only_bodies_are_hidden(
        messages in vec((request(3000).prop_filter("chunked", counted), vec(1..900_usize, 0..5)), 1..5),
    ) {
        check_limited::<RequestParser>(&messages, 512);
    }

    #[test]
    fn responses_are_exact_when_only_bodies_are_hidden(
        messages in vec((response(3000).prop_filter("chunked", counted), vec(1..900_usize, 0..5)), 1..5),
    ) {
        check_limited::<ResponseParser>(&messages, 512);
    }

    #[test]
    fn anything_keeps_the_invariants(script in vec(any::<u8>(), 0..400)) {
        script::run(&script);
    }
}
