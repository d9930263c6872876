//! Packets and bodies.

use model::Origin;
use proptest::prelude::*;
use protocol::http1::{Looks, Part};
use protocol::uwsgi::{RequestParser, detect};

use crate::chunks;

/// A request as nginx sends it.
pub fn request(method: &str, uri: &str, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let length = if body.is_empty() { "" } else { &length };
    let fixed =
        [("QUERY_STRING", ""), ("REQUEST_METHOD", method), ("CONTENT_LENGTH", length), ("REQUEST_URI", uri)];
    let mut variables = Vec::new();
    for (name, value) in fixed.iter().chain(more) {
        for text in [name, value] {
            variables.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
            variables.extend_from_slice(text.as_bytes());
        }
    }
    let [low, high] = u16::try_from(variables.len()).unwrap().to_le_bytes();
    [&[0, low, high, 0][..], &variables, body].concat()
}

fn lines(bytes: &[u8], cuts: &[usize], copied: usize, origin: Origin) -> Vec<String> {
    let mut parser = RequestParser::new(origin);
    let mut lines = Vec::new();
    for chunk in chunks(bytes, cuts, copied) {
        parser.push(&chunk, &mut |part| {
            lines.push(match part {
                Part::Head { head, position, .. } => {
                    let cut = if head.head.truncated { " cut" } else { "" };
                    format!("{} {} at {position}{cut}", head.head.method, head.head.target)
                }
                Part::End { bytes, by, .. } => format!("end {bytes} {by:?}"),
                other => format!("{other:?}"),
            });
        });
    }
    lines
}

#[test]
fn requests_follow_each_other() {
    let get = request("GET", "/a?b", &[("HTTP_HOST", "h")], b"");
    let post = request("POST", "/c", &[], &[b'x'; 300]);
    let all = [&get[..], &post, &get].concat();
    let (g, p) = (get.len(), post.len());
    let want = [
        "GET /a?b at 0".to_owned(),
        format!("end {g} Framing"),
        format!("POST /c at {g}"),
        format!("end {p} Framing"),
        format!("GET /a?b at {}", g + p),
        format!("end {g} Framing"),
    ];
    assert_eq!(lines(&all, &[g, g + p], usize::MAX, Origin::Start), want);
    // A body of which little was copied is as long as it was said to be.
    assert_eq!(lines(&all, &[g, g + p], 200, Origin::Start), want);
}

#[test]
fn a_packet_that_was_not_copied_whole() {
    let long = "x".repeat(3000);
    let post = request("POST", "/c", &[("HTTP_COOKIE", &long)], &[b'x'; 300]);
    let get = request("GET", "/d", &[], b"");
    let all = [&post[..], &get].concat();
    let want = [
        "POST /c at 0 cut".to_owned(),
        format!("end {} Framing", post.len()),
        format!("GET /d at {}", post.len()),
        format!("end {} Framing", get.len()),
    ];
    assert_eq!(lines(&all, &[post.len()], 2048, Origin::Start), want);
    // Where not even its length was copied, the next packet that begins a call is found.
    let first = long.clone() + "y";
    let odd = request("POST", &first, &[], b"abc");
    let all = [&odd[..], &get].concat();
    let want = ["NotHttp"];
    assert_eq!(lines(&all, &[odd.len()], 20, Origin::Start), want);
}

#[test]
fn strangers_and_late_joins() {
    assert_eq!(lines(b"\x05\x05\0\0\x01\0A\0\0", &[], 99, Origin::Start), ["NotHttp"]);
    let get = request("GET", "/", &[], b"");
    let all = [b"the end of a body", &get[..]].concat();
    let want = ["GET / at 17".to_owned(), format!("end {} Framing", get.len())];
    assert_eq!(lines(&all, &[17], 999, Origin::Midway), want);
}

#[test]
fn first_bytes() {
    let get = request("GET", "/", &[], b"");
    for len in 0..get.len() {
        let want = if len < 9 { Looks::TooShort } else { Looks::Request };
        assert_eq!(detect(&get[..len]), want, "{len}");
    }
    for other in
        ["GET / HTTP/1.1\r\n", "\0\0\0\u{8}\u{4}", "\0\u{30}\0\0\u{4}\0a=b=", "\0\u{6}\0\0\u{9}\0ABC"]
    {
        assert_eq!(detect(other.as_bytes()), Looks::Neither, "{other:?}");
    }
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        bodies in prop::collection::vec(0_usize..400, 1..5),
    ) {
        let requests = bodies.iter().enumerate().map(|(n, len)| {
            let method = if *len > 0 { "POST" } else { "GET" };
            request(method, &format!("/{n}"), &[("HTTP_HOST", "h"), ("HTTP_X", "")], &vec![b'b'; *len])
        });
        let all: Vec<u8> = requests.flatten().collect();
        prop_assert_eq!(
            lines(&all, &cuts, usize::MAX, Origin::Start),
            lines(&all, &[], usize::MAX, Origin::Start)
        );
    }

    #[test]
    fn any_bytes_do_no_harm(script in prop::collection::vec(any::<u8>(), 0..600)) {
        crate::script::run(&script);
    }
}
