//! Holes: what was not copied of a call, and calls that were lost.

use model::Origin;
use protocol::http2::Sender;

use crate::harness::{GET, OK, PREFACE, SETTINGS, Step, client, data, frame, headers, literal, play, server};

fn short(bytes: impl AsRef<[u8]>, limit: usize) -> Step {
    Step::Call(Sender::Server, bytes.as_ref().to_vec(), limit)
}

#[test]
fn holes() {
    let start = || client([PREFACE, SETTINGS].concat());
    let greeting = || server(SETTINGS);
    let named = |value: &str| [OK, &literal(true, "x-name", value)].concat();
    let last = [0x88, 0xbe];
    let large = [data(1, false, &[b'x'; 1000]), data(1, true, &[b'y'; 10])].concat();
    let cases = [
        (
            "content that was not copied is skipped by its length",
            vec![greeting(), short(&large, 100), server(headers(3, true, OK))],
            vec!["server 1 data 1009 of 1000 @2", "server lost", "server 3 200 +10 @1037 end 3..3"],
        ),
        (
            "a frame that ends in the tail",
            vec![greeting(), short(data(1, true, &[b'x'; 1000]), 100), server(headers(3, true, OK))],
            vec!["server 1 data 1009 of 1000 end @2", "server 3 200 +10 @1018 end 3..3"],
        ),
        (
            "content in lost calls",
            vec![
                greeting(),
                server(&data(1, true, &[b'x'; 1000])[..50]),
                Step::Lost(Sender::Server, 900),
                server(&data(1, true, &[b'x'; 1000])[950..]),
                server(headers(3, true, OK)),
            ],
            vec!["server 1 data 1009 of 1000 end @4", "server 3 200 +10 @1018 end 5..5"],
        ),
        (
            "a header block with a hole: its beginning is known, the table is not any more",
            vec![
                greeting(),
                server(headers(1, true, &named("a"))),
                short(headers(3, true, &[named("b"), vec![0x82; 100]].concat()), 30),
                server(headers(5, true, &last)),
                server(headers(7, true, &named("c"))),
                server(headers(9, true, &last)),
            ],
            vec![
                "server 1 200 x-name=a +20 @9 end 2..2",
                "server 3 GET 200 x-name=b cut +120 @29 end 3..3",
                "server 5 200 ?1 +11 @149 end 4..4",
                "server 7 200 x-name=c +20 @160 end 5..5",
                "server 9 200 x-name=c +11 @180 end 6..6",
            ],
        ),
        (
            "a header block that the same call's hole leaves without its end",
            vec![greeting(), short([frame(1, 0, 1, OK), vec![0x82; 100]].concat(), 10)],
            vec!["server 1 200 cut +10+ @9 2..2", "server lost"],
        ),
        (
            "lost between frames: goes on where frames begin for certain",
            vec![
                start(),
                client(headers(1, true, GET)),
                Step::Lost(Sender::Client, 500),
                client(b"not the beginning of a frame"),
                client(headers(3, true, GET)),
            ],
            vec![
                "client 1 GET http / +12 @33 end 2..2",
                "client lost",
                "client 3 GET http / +12 @573 end 5..5",
            ],
        ),
        (
            "lost in a frame's header",
            vec![
                greeting(),
                server(&SETTINGS[..5]),
                Step::Lost(Sender::Server, 4),
                server(headers(1, true, OK)),
            ],
            vec!["server lost", "server 1 200 +10 @18 end 4..4"],
        ),
        (
            "lost in the preface",
            vec![client(&PREFACE[..9]), Step::Lost(Sender::Client, 20), client(headers(1, true, GET))],
            vec!["client lost", "client 1 GET http / +12 @29 end 3..3"],
        ),
    ];
    for (name, steps, want) in cases {
        assert_eq!(play(Origin::Start, &steps), want, "{name}");
    }
}
