//! Memcached: classic and meta commands, what is not answered, errors.

use model::Origin;

use crate::harness::{Kind::Memcached, check, client, play_from, play_short, server};

#[test]
fn classic_commands() {
    check(
        "classic",
        Memcached,
        &[
            client("set user:1 0 60 7\r\nhunter2\r\n"),
            server("STORED\r\n"),
            client("get user:1 user:2\r\n"),
            server("VALUE user:1 0 7\r\nhunter2\r\nEND\r\n"),
            client("set a 0 0 1 noreply\r\nx\r\n"),
            client("incr a 5\r\n"),
            server("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
            client("set a 0 0 1\r\nx\r\nset b 0 0 1\r\ny\r\n"),
            server("STORED\r\nSERVER_ERROR out of memory\r\n"),
            client("stats\r\n"),
            server("STAT pid 1\r\nSTAT uptime 2\r\nEND\r\n"),
            client("version\r\n"),
            server("VERSION 1.6.18\r\n"),
            client("delete a\r\n"),
            server("NOT_FOUND\r\n"),
            client("quit\r\n"),
        ],
        &[
            "set `set user:1 ?` @1..1 #0",
            "answer @2",
            "end 28/8 @2 Framing",
            "get `get user:1` @3..3 #28",
            "answer @4",
            "end 19/32 @4 Framing",
            "set `set a ?` @5..5 #47",
            "end 24/0 @5 NoAnswer",
            "incr `incr a` @6..6 #71",
            "answer @7",
            "end 10/62 @7 CLIENT_ERROR Framing",
            "set `set a ?` @8..8 #81",
            "+set `set b ?` @8..8 #81",
            "answer @9",
            "end 32/36 @9 SERVER_ERROR Framing",
            "stats `stats` @10..10 #113",
            "answer @11",
            "end 7/32 @11 Framing",
            "version `version` @12..12 #120",
            "answer @13",
            "end 9/16 @13 Framing",
            "delete `delete a` @14..14 #129",
            "answer @15",
            "end 10/11 @15 Framing",
        ],
    );
}

#[test]
fn meta_commands() {
    check(
        "meta",
        Memcached,
        &[
            client("ms a 2 T0\r\nhi\r\n"),
            server("HD\r\n"),
            client("mg a v t\r\n"),
            server("VA 2 t-1\r\nhi\r\n"),
            client("mg none v\r\n"),
            server("EN\r\n"),
            client("mg a v q k\r\nmg b v q k\r\nmg c v q k\r\nmn\r\n"),
            server("VA 2 kb\r\nhi\r\nMN\r\n"),
            client("md a\r\n"),
            server("HD\r\n"),
            client("ms a 2 q\r\nhi\r\nmn\r\nmg a v\r\nmg b v\r\n"),
            server("MN\r\nVA 2\r\nhi\r\nEN\r\n"),
        ],
        &[
            "ms `ms a ?` @1..1 #0",
            "answer @2",
            "end 15/4 @2 Framing",
            "mg `mg a` @3..3 #15",
            "answer @4",
            "end 10/14 @4 Framing",
            "mg `mg none` @5..5 #25",
            "answer @6",
            "end 11/4 @6 Framing",
            "mg `mg a` @7..7 #36",
            "+mg `mg b` @7..7 #36",
            "+mg `mg c` @7..7 #36",
            "+mn `mn` @7..7 #36",
            "answer @8",
            "end 40/17 @8 Framing",
            "md `md a` @9..9 #76",
            "answer @10",
            "end 6/4 @10 Framing",
            "ms `ms a ?` @11..11 #82",
            "+mn `mn` @11..11 #82",
            "mg `mg a` @11..11 #100",
            "+mg `mg b` @11..11 #100",
            "answer @12",
            "end 18/4 @12 Framing",
            "answer @12",
            "end 16/14 @12 Framing",
        ],
    );
    check("strange", Memcached, &[client("hello world\r\n")], &["let go Strange"]);
    check("watch", Memcached, &[client("watch fetchers\r\n")], &["let go Unsupported"]);
}

#[test]
fn what_is_not_copied_is_skipped_by_length() {
    let big = "x".repeat(5000);
    let keys = (0..400).map(|at| format!("key:{at}")).collect::<Vec<_>>().join(" ");
    let values = "VALUE key:1 0 4\r\nabcd\r\n".repeat(400);
    let turns = [
        client(format!("set a 0 0 5000\r\n{big}\r\n")),
        server("STORED\r\n"),
        client("get a\r\n"),
        server(format!("VALUE a 0 5000\r\n{big}\r\nEND\r\n")),
        client(format!("get {keys}\r\n")),
        server(format!("{values}END\r\n")),
        client("get a\r\n"),
        server("END\r\n"),
    ];
    let lines = play_short(Memcached, &turns, 1024);
    let ends: Vec<&str> = lines.iter().filter(|line| line.starts_with("end")).map(|line| &line[..]).collect();
    assert_eq!(ends.len(), 4, "{lines:?}");
    assert_eq!(ends[0], "end 5018/8 @2 Framing");
    assert_eq!(ends[1], "end 7/5023 @4 Framing");
    assert!(ends[2].ends_with("@6 Presumed"), "{lines:?}");
    assert_eq!(ends[3], "end 7/5 @8 Framing");
}

#[test]
fn joined_midway() {
    let turns = [
        server("STORED\r\n"),
        client("the end of something\r\n"),
        server("ERROR\r\n"),
        client("get a\r\n"),
        server("END\r\n"),
    ];
    let lines = play_from(Memcached, Origin::Midway, &turns, usize::MAX, |_, bytes| vec![bytes.len()]);
    assert_eq!(lines, ["get `get a` @4..4 #22", "answer @5", "end 7/5 @5 Framing"]);
}
