//! Records, one request after another and several at once.

use model::Origin;
use proptest::prelude::*;
use protocol::fastcgi::{RequestParser, RequestPart, ResponseParser, ResponsePart, detect};
use protocol::http1::Looks;

use crate::chunks;

/// A record; its content is padded to a multiple of 8.
fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let [id1, id0] = id.to_be_bytes();
    let [length1, length0] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let padding = content.len().wrapping_neg() % 8;
    let header = [1, kind, id1, id0, length1, length0, u8::try_from(padding).unwrap(), 0];
    [&header[..], content, &[0; 8][..padding]].concat()
}

fn size(text: &str) -> Vec<u8> {
    match u8::try_from(text.len()) {
        Ok(short @ ..0x80) => vec![short],
        _ => (u32::try_from(text.len()).unwrap() | 1 << 31).to_be_bytes().to_vec(),
    }
}

pub fn begin(id: u16) -> Vec<u8> {
    record(1, id, &[0, 1, 1, 0, 0, 0, 0, 0])
}

pub fn request(id: u16, method: &str, uri: &str, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut params = Vec::new();
    for (name, value) in [("REQUEST_METHOD", method), ("REQUEST_URI", uri)].iter().chain(more) {
        params
            .extend([size(name), size(value), name.as_bytes().to_vec(), value.as_bytes().to_vec()].concat());
    }
    let mut bytes = [begin(id), record(4, id, &params), record(4, id, b"")].concat();
    if !body.is_empty() {
        bytes.extend(record(5, id, body));
    }
    bytes.extend(record(5, id, b""));
    bytes
}

pub fn response(id: u16, head: &str, body: &[u8]) -> Vec<u8> {
    let output = [head.as_bytes(), b"\r\n\r\n", body].concat();
    let ends = [record(6, id, b""), record(3, id, &[0; 8])].concat();
    [record(6, id, &output), ends].concat()
}

fn requests(bytes: &[u8], cuts: &[usize], copied: usize, origin: Origin) -> Vec<String> {
    let mut parser = RequestParser::new(origin);
    let mut lines = Vec::new();
    for chunk in chunks(bytes, cuts, copied) {
        parser.push(&chunk, &mut |part| {
            lines.push(match part {
                RequestPart::Head { id, request, position, .. } => {
                    let head = request.head;
                    let cut = if head.truncated { " cut" } else { "" };
                    format!("{id} {} {} at {position}{cut}", head.method, head.target)
                }
                RequestPart::End { id, bytes, .. } => format!("{id} end {bytes}"),
                RequestPart::Begin { id } => format!("{id}"),
                other => format!("{other:?}"),
            });
        });
    }
    lines
}

fn responses(bytes: &[u8], cuts: &[usize], copied: usize, ids: &[u16]) -> Vec<String> {
    let mut parser = ResponseParser::new(Origin::Start);
    for id in ids {
        parser.expect(*id);
    }
    let mut lines = Vec::new();
    for chunk in chunks(bytes, cuts, copied) {
        parser.push(&chunk, &mut |part| {
            lines.push(match part {
                ResponsePart::Head { id, head, position, .. } => {
                    format!("{id} {} at {position}", head.status)
                }
                ResponsePart::End { id, bytes, end, .. } => format!("{id} end {bytes} {end:?}"),
                ResponsePart::Lost => "Lost".to_owned(),
            });
        });
    }
    lines
}

#[test]
fn requests_one_after_another_and_at_once() {
    let (one, two) = (request(1, "GET", "/a", &[], b""), request(2, "POST", "/b", &[], b"body"));
    let all = [&one[..], &two].concat();
    let want = [
        "1".to_owned(),
        "1 GET /a at 0".to_owned(),
        format!("1 end {}", one.len()),
        "2".to_owned(),
        format!("2 POST /b at {}", one.len()),
        format!("2 end {}", two.len()),
    ];
    assert_eq!(requests(&all, &[], usize::MAX, Origin::Start), want);
    // Mixed record by record.
    let mixed = [&begin(1)[..], &begin(2), &one[16..], &two[16..]].concat();
    let want = [
        "1".to_owned(),
        "2".to_owned(),
        "1 GET /a at 0".to_owned(),
        format!("1 end {}", one.len()),
        "2 POST /b at 16".to_owned(),
        format!("2 end {}", two.len()),
    ];
    assert_eq!(requests(&mixed, &[], usize::MAX, Origin::Start), want);
}

#[test]
fn variables_that_were_not_copied_whole() {
    let long = "x".repeat(3000);
    let one = request(1, "POST", "/a", &[("HTTP_COOKIE", &long)], b"body");
    let two = request(1, "GET", "/b", &[], b"");
    let all = [&one[..], &two].concat();
    let want = ["1".to_owned(), "1 POST /a at 0 cut".to_owned(), "Lost".to_owned(), "1".to_owned()];
    let got = requests(&all, &[one.len()], 2048, Origin::Start);
    assert_eq!(got[..4], want, "{got:?}");
    assert_eq!(got[4..], [format!("1 GET /b at {}", one.len()), format!("1 end {}", two.len())]);
    // In a call of its own its end is found by its length.
    let cuts = [16 + 8 + 3000, one.len()];
    let got = requests(&all, &cuts, 2048, Origin::Start);
    assert_eq!(got[..3], ["1".to_owned(), "1 POST /a at 0 cut".to_owned(), format!("1 end {}", one.len())]);
}

#[test]
fn responses_with_and_without_a_status() {
    for (head, status) in [
        ("Status: 404 Not Found\r\nContent-Type: text/plain", 404),
        ("Content-Type: text/plain", 200),
        ("Location: /there", 302),
        ("status: 500", 500),
    ] {
        let bytes = response(1, head, b"body");
        let want = [format!("1 {status} at 0"), format!("1 end {} Complete", bytes.len())];
        assert_eq!(responses(&bytes, &[], usize::MAX, &[1]), want, "{head}");
    }
    let refused = record(3, 1, &[0, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(responses(&refused, &[], usize::MAX, &[1]), ["1 end 16 Refused"]);
    assert!(responses(&refused, &[], usize::MAX, &[2]).is_empty(), "nobody has asked for it");
}

#[test]
fn a_response_of_which_the_middle_was_not_copied() {
    let bytes = response(1, "Status: 201 Created", &[b'x'; 5000]);
    let want = ["1 201 at 0".to_owned(), "Lost".to_owned(), format!("1 end {} Complete", bytes.len())];
    assert_eq!(responses(&bytes, &[], 2048, &[1]), want);
    let body = 8 + 23 + 5000;
    let want = ["1 201 at 0".to_owned(), format!("1 end {} Complete", bytes.len())];
    assert_eq!(responses(&bytes, &[body + 1], 2048, &[1]), want);
}

#[test]
fn first_bytes() {
    let get = request(7, "GET", "/", &[], b"");
    for len in 0..get.len() {
        assert_eq!(detect(&get[..len]), if len < 8 { Looks::TooShort } else { Looks::Request }, "{len}");
    }
    for other in [
        &b"\x01\x01\0\0\0\x08\0\0\0\x01"[..],
        b"\x01\x02\0\x01",
        b"\x16\x03\x01",
        b"\x01\x01\0\x01\0\x08\0\0\0\x09",
    ] {
        assert_eq!(detect(other), Looks::Neither, "{other:?}");
    }
    assert_eq!(requests(b"\x02not so", &[], 99, Origin::Start), ["Stranger"; 0]);
    assert_eq!(requests(b"\x02not so.", &[], 99, Origin::Start), ["Stranger"]);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        bodies in prop::collection::vec(0_usize..400, 1..5),
    ) {
        let ids = 1..=u16::try_from(bodies.len()).unwrap();
        let ids: Vec<u16> = ids.collect();
        let asked = ids.iter().zip(&bodies).flat_map(|(id, len)| request(*id, "PUT", "/x", &[], &vec![b'b'; *len]));
        let asked: Vec<u8> = asked.collect();
        prop_assert_eq!(
            requests(&asked, &cuts, usize::MAX, Origin::Start),
            requests(&asked, &[], usize::MAX, Origin::Start)
        );
        let answered = ids.iter().zip(&bodies).flat_map(|(id, len)| response(*id, "Status: 418 Tea", &vec![b'b'; *len]));
        let answered: Vec<u8> = answered.collect();
        prop_assert_eq!(
            responses(&answered, &cuts, usize::MAX, &ids),
            responses(&answered, &[], usize::MAX, &ids)
        );
    }
}
