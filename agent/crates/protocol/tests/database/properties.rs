//! What holds for every conversation: the same parts for every cutting; no invariant broken by anything at all.

use model::Origin;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::bytes::*;
use crate::harness::{Kind, Turn, client, play, play_from, server};
use crate::script;

/// Some exchanges of each protocol, as the turns of a conversation.
fn exchange(kind: Kind) -> BoxedStrategy<Vec<Turn>> {
    match kind {
        Kind::Postgresql => (0..5_u8, 0..4_usize, 1..60_usize)
            .prop_map(|(form, rows, bytes)| match form {
                0 => vec![
                    client(pg_query("SELECT a FROM t")),
                    server([pg_rows(rows, bytes), pg_ready()].concat()),
                ],
                1 => vec![client(pg_query("X")), server([pg_error("ERROR", "42601"), pg_ready()].concat())],
                2 => vec![
                    client([pg(b'P', b"n\0UPDATE t SET a = $1\0\0\0"), pg(b'S', b"")].concat()),
                    server([pg(b'1', b""), pg_ready()].concat()),
                ],
                3 => vec![
                    client(
                        [pg(b'B', b"\0n\0\0\0\0\0\0\0"), pg(b'E', b"\0\0\0\0\0")].concat().repeat(rows + 1),
                    ),
                    client(pg(b'S', b"")),
                    server(
                        [[pg(b'2', b""), pg(b'C', b"x\0")].concat().repeat(rows + 1), pg_ready()].concat(),
                    ),
                ],
                _ => vec![server(pg(b'A', b"\0\0\0\x01c\0p\0"))],
            })
            .boxed(),
        Kind::Mysql => (0..4_u8, 0..4_usize, 1..60_usize)
            .prop_map(|(form, rows, bytes)| match form {
                0 => vec![client(my_command(3, b"SELECT a FROM t")), server(my_rows(rows, bytes, false, 2))],
                1 => vec![client(my_command(3, b"SELECT a FROM t")), server(my_error(1, 1064))],
                2 => vec![
                    client(my_command(0x16, b"DELETE FROM t")),
                    server(my(1, &[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
                ],
                _ => vec![
                    client(my_command(0x17, &[9, 0, 0, 0, 0, 1, 0, 0, 0])),
                    server([my_rows(rows, bytes, false, 8), my_ok(9, 2)].concat()),
                ],
            })
            .boxed(),
        Kind::Redis => (0..4_u8, 1..4_usize, 0..60_usize)
            .prop_map(|(form, count, bytes)| match form {
                0 => vec![
                    client(resp(&["SET", "k", &"v\r\n".repeat(bytes)]).repeat(count)),
                    server("+OK\r\n".repeat(count)),
                ],
                1 => vec![
                    client(resp(&["GET", "k"])),
                    server(format!("${bytes}\r\n{}\r\n", "$".repeat(bytes))),
                ],
                2 => vec![
                    client(resp(&["KEYS", "*"])),
                    server(format!("*{count}\r\n{}", "*1\r\n:1\r\n".repeat(count))),
                ],
                _ => vec![client("INFO all\r\n"), server("-ERR no\r\n")],
            })
            .boxed(),
        Kind::Memcached => (0..4_u8, 1..4_usize, 0..60_usize)
            .prop_map(|(form, count, bytes)| match form {
                0 => vec![
                    client(format!("set k 0 0 {bytes}\r\n{}\r\n", "\n".repeat(bytes)).repeat(count)),
                    server("STORED\r\n".repeat(count)),
                ],
                1 => vec![
                    client("get k\r\n"),
                    server(format!("VALUE k 0 {bytes}\r\n{}\r\nEND\r\n", "E".repeat(bytes))),
                ],
                2 => vec![client("delete k noreply\r\n")],
                _ => vec![client("mg k v\r\n"), server(format!("VA {bytes}\r\n{}\r\n", "\r".repeat(bytes)))],
            })
            .boxed(),
    }
}

fn conversation(kind: Kind) -> impl Strategy<Value = Vec<Turn>> {
    vec(exchange(kind), 1..6).prop_map(move |exchanges| {
        let mut turns = match kind {
            Kind::Postgresql => vec![client(pg_startup("shop")), server(pg_welcome())],
            Kind::Mysql => vec![
                server(my_greeting("8.4.3", MY_BASE)),
                client(my_login(MY_BASE, "shop")),
                server(my_ok(2, 2)),
            ],
            Kind::Redis | Kind::Memcached => Vec::new(),
        };
        turns.extend(exchanges.into_iter().flatten());
        turns
    })
}

fn check_cutting(kind: Kind, turns: &[Turn], cuts: &[prop::sample::Index]) {
    let whole = play(kind, turns);
    assert!(!whole.iter().any(|line| line == "lost" || line.starts_with("let go")), "{whole:?}");
    let cut = play_from(kind, Origin::Start, turns, usize::MAX, |number, bytes| {
        let mut ends: Vec<usize> = cuts.iter().skip(number % 3).map(|cut| cut.index(bytes.len())).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        ends
    });
    assert_eq!(whole, cut);
}

/// Everything a message needs in one call's head: exact, whatever its body.
fn check_limited(kind: Kind, turns: &[Turn]) {
    let count = |lines: &[String]| lines.iter().filter(|line| line.starts_with("end")).count();
    let limited = play_from(kind, Origin::Start, turns, 160, |_, bytes| vec![bytes.len()]);
    assert!(count(&limited) <= count(&play(kind, turns)), "{limited:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn postgresql(turns in conversation(Kind::Postgresql), cuts in vec(any::<prop::sample::Index>(), 0..9)) {
        check_cutting(Kind::Postgresql, &turns, &cuts);
        check_limited(Kind::Postgresql, &turns);
    }

    #[test]
    fn mysql(turns in conversation(Kind::Mysql), cuts in vec(any::<prop::sample::Index>(), 0..9)) {
        check_cutting(Kind::Mysql, &turns, &cuts);
        check_limited(Kind::Mysql, &turns);
    }

    #[test]
    fn redis(turns in conversation(Kind::Redis), cuts in vec(any::<prop::sample::Index>(), 0..9)) {
        check_cutting(Kind::Redis, &turns, &cuts);
        check_limited(Kind::Redis, &turns);
    }

    #[test]
    fn memcached(turns in conversation(Kind::Memcached), cuts in vec(any::<prop::sample::Index>(), 0..9)) {
        check_cutting(Kind::Memcached, &turns, &cuts);
        check_limited(Kind::Memcached, &turns);
    }

    #[test]
    fn anything_keeps_the_invariants(script in vec(any::<u8>(), 0..400)) {
        script::run(&script::KINDS, &script);
    }

    #[test]
    fn any_text_has_a_summary(text in vec(any::<u8>(), 0..300)) {
        for dialect in [protocol::sql::Dialect::Postgresql, protocol::sql::Dialect::Mysql] {
            let found = protocol::sql::summarize(&text, dialect, true);
            assert!(found.summary.len() <= 255);
        }
    }
}
