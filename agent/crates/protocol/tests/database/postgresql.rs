//! PostgreSQL: queries, prepared statements, pipelines, COPY, errors, encryption.

use model::Origin;

use crate::bytes::*;
use crate::harness::{Kind::Postgresql, check, client, play, play_from, play_short, server};

fn hello() -> Vec<crate::harness::Turn> {
    vec![client(pg_startup("shop")), server(pg_welcome())]
}

#[test]
fn simple_queries() {
    let mut turns = hello();
    turns.extend([
        client(pg_query("SELECT * FROM users WHERE id = 7")),
        server([pg_rows(2, 10), pg_ready()].concat()),
        client(pg_query("SELECT nothing")),
        server([pg_error("ERROR", "42703"), pg_ready()].concat()),
    ]);
    check(
        "simple",
        Postgresql,
        &turns,
        &[
            "SELECT users `SELECT * FROM users WHERE id = ?` in shop @3..3 #51",
            "answer @4",
            "end 38/78 @4 Framing",
            "SELECT `SELECT nothing` in shop @5..5 #89",
            "answer @6",
            "end 20/49 @6 42703 Framing",
        ],
    );
}

#[test]
fn the_extended_protocol() {
    let execute = |name: &str| {
        [pg(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes()), pg(b'E', b"\0\0\0\0\0")].concat()
    };
    let mut turns = hello();
    turns.extend([
        client(
            [pg(b'P', b"s1\0INSERT INTO t VALUES ($1)\0\0\0"), pg(b'D', b"Ss1\0"), pg(b'S', b"")].concat(),
        ),
        server([pg(b'1', b""), pg(b't', b"\0\0"), pg(b'n', b""), pg_ready()].concat()),
        client([execute("s1"), pg(b'S', b"")].concat()),
        server([pg(b'2', b""), pg(b'C', b"INSERT 0 1\0"), pg_ready()].concat()),
        // A batch.
        client([execute("s1"), execute("s1"), pg(b'S', b"")].concat()),
        server(
            [pg(b'2', b""), pg(b'C', b"x\0"), pg(b'2', b""), pg_error("ERROR", "23505"), pg_ready()].concat(),
        ),
        // A statement that nobody saw being prepared.
        client([execute("gone"), pg(b'S', b"")].concat()),
        server([pg(b'2', b""), pg(b'C', b"x\0"), pg_ready()].concat()),
        client([pg(b'C', b"Ss1\0"), pg(b'S', b"")].concat()),
        server([pg(b'3', b""), pg_ready()].concat()),
        // Forgotten by name.
        client([execute("s1"), pg(b'S', b"")].concat()),
    ]);
    check(
        "extended",
        Postgresql,
        &turns,
        &[
            "PREPARE t `INSERT INTO t VALUES($1)` in shop @3..3 #51",
            "answer @4",
            "end 50/23 @4 Framing",
            "INSERT t `INSERT INTO t VALUES($1)` in shop @5..5 #101",
            "answer @6",
            "end 30/27 @6 Framing",
            "INSERT t `INSERT INTO t VALUES($1)` in shop @7..7 #131",
            "+INSERT t `INSERT INTO t VALUES($1)` in shop @7..7 #131",
            "answer @8",
            "end 55/66 @8 23505 Framing",
            "? in shop @9..9 #186",
            "answer @10",
            "end 32/18 @10 Framing",
            "DEALLOCATE in shop @11..11 #218",
            "answer @12",
            "end 14/11 @12 Framing",
            "? in shop @13..13 #232",
        ],
    );
}

#[test]
fn a_flush_ends_an_exchange_too() {
    let mut turns = hello();
    turns.extend([
        client([pg(b'P', b"s\0SELECT a FROM t\0\0\0"), pg(b'D', b"Ss\0"), pg(b'H', b"")].concat()),
        server([pg(b'1', b""), pg(b't', b"\0\0"), pg(b'T', b"\0\0")].concat()),
        client([pg(b'B', b"\0s\0\0\0\0\0\0\0"), pg(b'E', b"\0\0\0\0\0"), pg(b'H', b"")].concat()),
        server([pg(b'2', b""), pg(b'D', b"\0\0"), pg(b'C', b"SELECT 1\0")].concat()),
        client([pg(b'S', b""), pg(b'H', b"")].concat()),
        server(pg_ready()),
        client(pg_query("COMMIT")),
        server([pg(b'C', b"COMMIT\0"), pg_ready()].concat()),
    ]);
    check(
        "flush",
        Postgresql,
        &turns,
        &[
            "PREPARE t `SELECT a FROM t` in shop @3..3 #51",
            "answer @4",
            "end 38/19 @4 Framing",
            "SELECT t `SELECT a FROM t` in shop @5..5 #89",
            "answer @6",
            "end 29/26 @6 Framing",
            "COMMIT `COMMIT` in shop @9..9 #128",
            "answer @10",
            "end 12/18 @10 Framing",
        ],
    );
}

#[test]
fn copies_and_several_statements() {
    let mut turns = hello();
    turns.extend([
        client(pg_query("COPY t FROM STDIN")),
        server(pg(b'G', b"\0\0\x01\0\0")),
        client([pg(b'd', b"1\n2\n"), pg(b'c', b"")].concat()),
        server([pg(b'C', b"COPY 2\0"), pg_ready()].concat()),
        client(pg_query("BEGIN; UPDATE t SET a = 1; COMMIT")),
        server([pg(b'C', b"B\0"), pg(b'C', b"U\0"), pg(b'C', b"C\0"), pg_ready()].concat()),
        // Said in between, to nobody.
        server(pg(b'A', b"\0\0\0\x01channel\0payload\0")),
        client(pg_query("SELECT 1")),
        server([pg_rows(1, 5), pg_ready()].concat()),
        client(pg(b'X', b"")),
    ]);
    check(
        "copy",
        Postgresql,
        &turns,
        &[
            "COPY t `COPY t FROM STDIN` in shop @3..3 #51",
            "answer @4",
            "end 37/28 @6 Framing",
            "BEGIN `BEGIN; UPDATE t SET a = ?; COMMIT` in shop @7..7 #88",
            "answer @8",
            "end 39/27 @8 Framing",
            "SELECT `SELECT ?` in shop @10..10 #127",
            "answer @11",
            "end 14/58 @11 Framing",
        ],
    );
}

#[test]
fn encryption_and_refusal() {
    let ssl = [0, 0, 0, 8, 4, 210, 22, 47];
    check(
        "no",
        Postgresql,
        &[client(ssl), server("N"), client(pg_startup("shop")), server(pg_welcome())],
        &[],
    );
    check("yes", Postgresql, &[client(ssl), server("S"), client("\x16\x03\x01")], &["let go Encrypted"]);
    check(
        "refused",
        Postgresql,
        &[client(pg_startup("no")), server(pg_error("FATAL", "3D000"))],
        &["CONNECT in no @1..1 #0", "answer @2", "end 0/43 @2 3D000 Framing"],
    );
    let mut turns = hello();
    turns.extend([client(pg_query("SELECT pg_sleep(9)")), server(pg_error("FATAL", "57P01"))]);
    check(
        "killed",
        Postgresql,
        &turns,
        &["SELECT `SELECT pg_sleep(?)` in shop @3..3 #51", "answer @4", "end 24/43 @4 57P01 Framing"],
    );
}

#[test]
fn what_is_not_copied_is_skipped_by_length() {
    let long = format!("INSERT INTO t VALUES ('{}')", "x".repeat(5000));
    let mut turns = hello();
    turns.extend([
        client(pg_query(&long)),
        server([pg(b'C', b"INSERT 0 1\0"), pg_ready()].concat()),
        // One great row: by length. Many rows: by the end.
        client(pg_query("SELECT a FROM big")),
        server([pg_rows(1, 9000), pg_ready()].concat()),
        client(pg_query("SELECT a FROM many")),
        server([pg_rows(400, 100), pg_ready()].concat()),
        client(pg_query("SELECT a FROM unended")),
        server(pg_rows(400, 100)),
        server([pg(b'C', b"SELECT 400\0"), pg_ready(), pg(b'A', b"\0\0\0\x01channel\0payload\0")].concat()),
        client(pg_query("SELECT 1")),
        server([pg_rows(1, 5), pg_ready()].concat()),
    ]);
    let want = [
        "INSERT t `INSERT INTO t VALUES(?` in shop @3..3 #51",
        "answer @4",
        "end 5031/22 @4 Framing",
        "SELECT big `SELECT a FROM big` in shop @5..5 #5082",
        "answer @6",
        "end 23/9053 @6 Presumed",
        "SELECT many `SELECT a FROM many` in shop @7..7 #5105",
        "answer @8",
    ];
    let lines = play_short(Postgresql, &turns, 1024);
    assert_eq!(lines[..8], want);
    assert!(lines[8].ends_with("@8 Presumed"), "{lines:?}");
    // Nothing told the end of the last: the next command does.
    let tail: Vec<&str> = lines[9..].iter().map(|line| line.split(" `").next().unwrap()).collect();
    assert_eq!(tail[0], "SELECT unended");
    assert_eq!(tail[1], "answer @10");
    assert!(tail[2].ends_with("@11 Presumed"), "{lines:?}");
    assert_eq!(tail[3], "SELECT");
    assert!(lines.last().unwrap().ends_with("@13 Framing"), "{lines:?}");
}

#[test]
fn joined_midway() {
    let turns = [
        server(pg(b'D', b"the end of something")),
        client([pg(b'B', b"\0s\0\0\0\0\0\0\0"), pg(b'E', b"\0\0\0\0\0"), pg(b'S', b"")].concat()),
        server([pg(b'2', b""), pg(b'C', b"x\0"), pg_ready()].concat()),
        client(pg_query("SELECT a FROM t")),
        server([pg_rows(1, 5), pg_ready()].concat()),
    ];
    let lines = play_from(Postgresql, Origin::Midway, &turns, usize::MAX, |_, bytes| vec![bytes.len()]);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(lines[3], "SELECT t `SELECT a FROM t` @4..4 #29", "{lines:?}");
    // Bytes that only look a little like commands are none.
    for stranger in ["Qxxxxxxxxx", "P\0\0\0\x08abcd", "S\0\0\0\x04", "GET / HTTP/1.1\r\n\r\n"] {
        let lines = play_from(Postgresql, Origin::Midway, &[client(stranger)], usize::MAX, |_, bytes| {
            vec![bytes.len()]
        });
        assert!(lines.is_empty(), "{stranger}: {lines:?}");
    }
}

#[test]
fn no_secret_is_told() {
    let mut turns = vec![client(pg_startup("shop")), server(pg(b'R', &[0, 0, 0, 3]))];
    turns.extend([client(pg(b'p', b"hunter2\0")), server(pg_welcome())]);
    turns.extend([client(pg_query("SELECT 'hunter2' FROM t WHERE a = $$hunter2$$ AND b = 42"))]);
    let lines = play(Postgresql, &turns).join("\n");
    assert!(lines.contains("SELECT t"), "{lines}");
    assert!(!lines.contains("hunter2") && !lines.contains("42"), "{lines}");
}
