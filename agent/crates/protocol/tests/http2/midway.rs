//! Connections joined while they are under way.

use model::Origin;

use crate::harness::{GET, OK, client, data, headers, literal, play, server};

#[test]
fn joined_in_the_middle() {
    let old = [0x82, 0x86, 0xbf];
    let named = [GET, &literal(true, "x-name", "a")].concat();
    let cases = [
        (
            "a call that begins with a frame",
            vec![client(headers(9, true, GET)), server(headers(9, false, OK)), server(data(9, true, b"ok"))],
            vec![
                "client 9 GET http / +12 @0 end 1..1",
                "server 9 200 +10 @0 2..2",
                "server 9 data 11 of 2 end @3",
            ],
        ),
        (
            "an entry from before is unknown, one added since is known",
            vec![
                client(headers(9, true, &old)),
                client(headers(11, true, &named)),
                client(headers(13, true, &[0x82, 0xbe, 0xbf])),
            ],
            vec![
                "client 9 GET http ?1 +12 @0 end 1..1",
                "client 11 GET http / x-name=a +22 @12 end 2..2",
                "client 13 GET x-name=a ?1 +12 @34 end 3..3",
            ],
        ),
        (
            "the rest of a large frame",
            vec![server(vec![b'x'; 700]), server([data(9, true, b"ok"), headers(11, true, OK)].concat())],
            vec!["server 9 data 11 of 2 end @2", "server 11 200 +10 @711 end 2..2"],
        ),
        (
            "one frame that goes on is not enough, nor is a chain with a break",
            vec![
                server(&data(9, true, b"four")[..11]),
                server([data(9, true, b"a"), b"?".to_vec()].concat()),
            ],
            vec![],
        ),
    ];
    for (name, steps, want) in cases {
        assert_eq!(play(Origin::Midway, &steps), want, "{name}");
    }
}

#[test]
fn a_stranger_is_given_up() {
    let steps = vec![client(b"????????????"); 1030];
    assert_eq!(play(Origin::Midway, &steps), ["client not http"]);
}
