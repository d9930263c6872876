//! Prints what a typical request and response cost to parse. Run in release mode:
//! `cargo run --release -p protocol --example parse_cost`.

use std::hint::black_box;
use std::time::Instant;

use model::Origin;
use protocol::Chunk;
use protocol::http1::{Asked, Part, RequestParser, ResponseParser};

const REQUEST: &[u8] = b"GET /api/orders/1234?expand=items&page=2 HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    Connection: keep-alive\r\n\r\n";

const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: gunicorn\r\n\
    Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 512\r\n\r\n";

const BODY: &[u8] = &[b'x'; 512];

const CONNECTIONS: u64 = 20_000;
const PAIRS: u64 = 50;

fn main() {
    let mut costs_ns = Vec::new();
    let mut sum = 0;
    for _ in 0..CONNECTIONS {
        let begin = Instant::now();
        sum += connection();
        costs_ns.push(begin.elapsed().as_nanos() as u64 / PAIRS);
    }
    assert_eq!(sum, CONNECTIONS * PAIRS * (REQUEST.len() + RESPONSE_HEAD.len() + BODY.len()) as u64);
    costs_ns.sort_unstable();
    println!(
        "{} ns per request and response (median), {} ns (best)",
        costs_ns[costs_ns.len() / 2],
        costs_ns[0]
    );
}

/// Keep-alive requests and their responses, each response in two calls. Gives the bytes of all messages.
fn connection() -> u64 {
    let mut requests = RequestParser::new(Origin::Start);
    let mut responses = ResponseParser::new(Origin::Start);
    let (mut read, mut written, mut sum) = (0, 0, 0);
    for at_ns in 0..PAIRS {
        let chunk = whole(REQUEST, at_ns, &mut read);
        requests.push(&chunk, &mut |part| match black_box(part) {
            Part::Head { .. } => responses.expect(Asked::Other),
            Part::End { bytes, .. } => sum += bytes,
            _ => {}
        });
        for bytes in [RESPONSE_HEAD, BODY] {
            let chunk = whole(bytes, at_ns, &mut written);
            responses.push(&chunk, &mut |part| {
                if let Part::End { bytes, .. } = black_box(part) {
                    sum += bytes;
                }
            });
        }
    }
    sum
}

fn whole<'a>(bytes: &'a [u8], at_ns: u64, position: &mut u64) -> Chunk<'a> {
    let chunk = Chunk { at_ns, position: *position, len: bytes.len() as u64, head: bytes, tail: &[] };
    *position += chunk.len;
    chunk
}
