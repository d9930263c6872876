//! Connections seen whole.

use model::Origin;

use crate::harness::{
    GET, OK, PREFACE, SETTINGS, Step, client, data, flag, frame, headers, literal, play, server,
};

fn start() -> Step {
    client([PREFACE, SETTINGS].concat())
}

fn greeting() -> Step {
    server(SETTINGS)
}

fn assert_plays(cases: Vec<(&str, Vec<Step>, Vec<&str>)>) {
    for (name, steps, want) in cases {
        assert_eq!(play(Origin::Start, &steps), want, "{name}");
    }
}

#[test]
fn messages() {
    let padded_get = [&[3, 0, 0, 0, 0, 16][..], GET, &[0; 3]].concat();
    let fragments = [
        frame(1, flag::END_STREAM, 1, &GET[..1]),
        frame(9, 0, 1, &GET[1..2]),
        frame(9, flag::END_HEADERS, 1, &GET[2..]),
    ];
    let trailers = literal(false, "grpc-status", "0");
    let promise = [&2_u32.to_be_bytes()[..], GET, &literal(true, "x-a", "1")].concat();
    let cases = vec![
        (
            "a request and its response",
            vec![
                start(),
                greeting(),
                client(headers(1, true, GET)),
                server(headers(1, false, OK)),
                server(data(1, true, b"hello")),
            ],
            vec![
                "client 1 GET http / +12 @33 end 3..3",
                "server 1 200 +10 @9 4..4",
                "server 1 data 14 of 5 end @5",
            ],
        ),
        (
            "padding and priority",
            vec![
                start(),
                client(frame(1, 0x2d, 1, &padded_get)),
                client(frame(0, flag::PADDED | flag::END_STREAM, 3, b"\x02hi\0\0")),
            ],
            vec!["client 1 GET http / +21 @33 end 2..2", "client 3 data 14 of 2 end @3"],
        ),
        (
            "a header block in three frames and calls",
            fragments.iter().fold(vec![start()], |mut steps, fragment| {
                steps.push(client(fragment));
                steps
            }),
            vec!["client 1 GET http / +30 @33 end 2..4"],
        ),
        (
            "interim response and trailers",
            vec![
                greeting(),
                server(headers(1, false, &literal(false, ":status", "103"))),
                server([headers(1, false, OK), data(1, false, b"a"), headers(1, true, &trailers)].concat()),
            ],
            vec![
                "server 1 103 +22 @9 2..2",
                "server 1 200 +10 @31 3..3",
                "server 1 data 10 of 1 @3",
                "server 1 grpc-status=0 +24 @51 end 3..3",
            ],
        ),
        (
            "a promise adds to the table and is not told",
            vec![
                greeting(),
                server(frame(5, flag::END_HEADERS, 1, &promise)),
                server(headers(1, true, &[0x88, 0xbe])),
            ],
            vec!["server 1 200 x-a=1 +11 @32 end 3..3"],
        ),
    ];
    assert_plays(cases);
}

#[test]
fn beside_the_messages() {
    let cases = vec![
        (
            "the ends of streams",
            vec![
                start(),
                client(frame(3, 0, 5, &8_u32.to_be_bytes())),
                client(frame(7, 0, 0, b"\0\0\0\x02\0\0\0\x0bwhy")),
            ],
            vec!["client 5 reset Some(8)", "client goaway 2 11"],
        ),
        (
            "what is passed over",
            vec![
                start(),
                client(frame(6, 0, 0, b"12345678")),
                client(frame(8, 0, 0, &[0, 0, 1, 0])),
                client(frame(2, 0, 1, &[0; 5])),
                client(frame(0xf7, 0xff, 9, b"grease")),
                client(data(1, true, b"")),
            ],
            vec!["client 1 data 9 of 0 end @6"],
        ),
        (
            "an interrupted header block",
            vec![start(), client(frame(1, 0, 1, &GET[..2])), client(data(3, true, b"x"))],
            vec!["client 1 GET http cut +11+ @33 2..2", "client 3 data 10 of 1 end @3"],
        ),
        ("another protocol", vec![client("SSH-2.0-OpenSSH_9.2\r\n")], vec!["client not http"]),
        (
            "an answer in another protocol",
            vec![server("HTTP/1.1 400 Bad Request\r\n\r\n")],
            vec!["server not http"],
        ),
        ("data before the settings", vec![server(data(1, true, b"x"))], vec!["server not http"]),
        (
            "a frame that cannot be",
            vec![start(), client(headers(0, true, GET)), client(headers(1, true, GET))],
            vec!["client lost", "client 1 GET http / +12 @45 end 3..3"],
        ),
    ];
    assert_plays(cases);
}

/// The encoder may use what the other side's settings allow.
#[test]
fn settings_of_the_other_side() {
    let large = frame(4, 0, 0, &[0, 1, 0, 0, 0x40, 0]);
    let first = [&[0x3f, 0xe1, 0x7f][..], OK, &literal(true, "x-a", "1")].concat();
    let entries: Vec<u8> = (0..100).flat_map(|_| literal(true, "x-filler", &"y".repeat(100))).collect();
    // 62 + 100: the entry added first.
    let steps = [
        client([PREFACE, &large].concat()),
        server(SETTINGS),
        server(headers(1, false, &first)),
        server(headers(3, false, &entries)),
        server(headers(5, true, &[0x88, 0xff, 0x23])),
    ];
    assert_eq!(play(Origin::Start, &steps).last().unwrap(), "server 5 200 x-a=1 +12 @11138 end 5..5");
}
