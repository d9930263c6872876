//! MySQL: queries, result sets, prepared statements, files, errors, encryption.

use model::Origin;

use crate::bytes::*;
use crate::harness::{Kind::Mysql, Turn, check, client, play, play_from, play_short, server};

fn hello(extra: u32) -> Vec<Turn> {
    vec![
        server(my_greeting("8.4.3", MY_BASE | extra)),
        client(my_login(MY_BASE | extra, "shop")),
        server(my_ok(2, 2)),
    ]
}

fn query(sql: &str) -> Turn {
    client(my_command(3, sql.as_bytes()))
}

#[test]
fn queries_with_and_without_eof_packets() {
    for (extra, deprecate) in [(0, false), (MY_DEPRECATE_EOF, true)] {
        let mut turns = hello(extra);
        turns.extend([
            query("SELECT * FROM users WHERE name = \"x\""),
            server(my_rows(3, 8, deprecate, 2)),
            query("UPDATE `t` SET a = 1"),
            server(my_ok(1, 2)),
            query("SELECT * FROM missing"),
            server(my_error(1, 1146)),
            // Two result sets, then an OK.
            query("CALL p()"),
            server([my_rows(1, 8, deprecate, 8), my_rows(0, 8, deprecate, 8), my_ok(9, 2)].concat()),
            client(my_command(2, b"other")),
            server(my_ok(1, 2)),
            client(my_command(0x0e, b"")),
            server(my_ok(1, 2)),
            client(my_command(1, b"")),
        ]);
        let (rows, calls) = if deprecate { (80, 111) } else { (87, 125) };
        check(
            "queries",
            Mysql,
            &turns,
            &[
                "SELECT users `SELECT * FROM users WHERE name = ?` in shop @4..4 #88",
                "answer @5",
                &format!("end 41/{rows} @5 Framing"),
                "UPDATE t `UPDATE \"t\" SET a = ?` in shop @6..6 #129",
                "answer @7",
                "end 25/11 @7 Framing",
                "SELECT missing `SELECT * FROM missing` in shop @8..8 #154",
                "answer @9",
                "end 26/27 @9 1146 Framing",
                "CALL `CALL p()` in shop @10..10 #180",
                "answer @11",
                &format!("end 13/{calls} @11 Framing"),
                "USE in shop @12..12 #193",
                "answer @13",
                "end 10/11 @13 Framing",
                "PING in other @14..14 #203",
                "answer @15",
                "end 5/11 @15 Framing",
            ],
        );
    }
}

fn execute(id: u32) -> Turn {
    client(my_command(0x17, &[&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat()))
}

#[test]
fn prepared_statements() {
    for (extra, deprecate) in [(0, false), (MY_DEPRECATE_EOF, true)] {
        let definition = |sequence| my(sequence, b"\x03def\0\0\0\x01?\0\x0c\x3f\0\0\0\0\0\xfd\0\0\0\0\0");
        let mut prepared = [my(1, &[0, 5, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]), definition(2)].concat();
        if !deprecate {
            prepared.extend(my_eof(3, 2));
        }
        prepared.extend(definition(4));
        if !deprecate {
            prepared.extend(my_eof(5, 2));
        }
        let prepared_bytes = prepared.len();
        let mut turns = hello(extra);
        turns.extend([
            client(my_command(0x16, b"SELECT a FROM t WHERE b = ?")),
            server(prepared),
            execute(5),
            server(my_rows(2, 8, deprecate, 2)),
            client(my_command(0x19, &5_u32.to_le_bytes())),
            execute(5),
            server(my_error(1, 1243)),
        ]);
        let rows = if deprecate { 68 } else { 75 };
        check(
            "prepared",
            Mysql,
            &turns,
            &[
                "PREPARE t `SELECT a FROM t WHERE b = ?` in shop @4..4 #88",
                "answer @5",
                &format!("end 32/{prepared_bytes} @5 Framing"),
                "SELECT t `SELECT a FROM t WHERE b = ?` in shop @6..6 #120",
                "answer @7",
                &format!("end 14/{rows} @7 Framing"),
                "? in shop @9..9 #143",
                "answer @10",
                "end 14/27 @10 1243 Framing",
            ],
        );
    }
}

#[test]
fn files_encryption_compression_refusals() {
    let mut turns = hello(0);
    turns.extend([
        query("LOAD DATA LOCAL INFILE 'secret.csv' INTO TABLE t"),
        server(my(1, b"\xfbsecret.csv")),
        client([my(2, b"1\n2\n"), my(3, b"")].concat()),
        server(my_ok(4, 2)),
    ]);
    check(
        "load",
        Mysql,
        &turns,
        &[
            "LOAD t `LOAD DATA LOCAL INFILE ? INTO TABLE t` in shop @4..4 #88",
            "answer @5",
            "end 65/26 @7 Framing",
        ],
    );
    let ssl = MY_BASE | 1 << 11;
    let request = my(1, &[&ssl.to_le_bytes()[..], &[0; 28]].concat());
    check("tls", Mysql, &[server(my_greeting("8.0.1", ssl)), client(request)], &["let go Encrypted"]);
    let zip = MY_BASE | 1 << 5;
    check(
        "compressed",
        Mysql,
        &[server(my_greeting("8.0.1", zip)), client(my_login(zip, "shop")), server(my_ok(2, 2))],
        &["let go Compressed"],
    );
    check(
        "refused",
        Mysql,
        &[
            server(my_greeting("5.5.5-10.11.6-MariaDB", MY_BASE)),
            client(my_login(MY_BASE, "no")),
            server(my_error(2, 1045)),
        ],
        &["CONNECT in no @1..1 #0", "answer @3", "end 0/27 @3 1045 Framing"],
    );
    check(
        "too many",
        Mysql,
        &[server(my_error(0, 1040))],
        &["CONNECT @1..1 #0", "answer @1", "end 0/27 @1 1040 Framing"],
    );
    check("something else", Mysql, &[server("220 smtp ready\r\n")], &["let go Strange"]);
}

#[test]
fn what_is_not_copied_is_skipped_by_length() {
    for (extra, deprecate) in [(0, false), (MY_DEPRECATE_EOF, true)] {
        let long = format!("INSERT INTO t VALUES ('{}')", "x".repeat(5000));
        let mut turns = hello(extra);
        turns.extend([
            query(&long),
            server(my_ok(1, 2)),
            query("SELECT a FROM big"),
            server(my_rows(1, 9000, deprecate, 2)),
            query("SELECT a FROM many"),
            server(my_rows(200, 100, deprecate, 2)),
            query("SELECT 1"),
            server(my_rows(1, 5, deprecate, 2)),
        ]);
        let lines = play_short(Mysql, &turns, 1024);
        let ends: Vec<&str> =
            lines.iter().filter(|line| line.starts_with("end")).map(|line| &line[..]).collect();
        assert_eq!(ends.len(), 4, "{lines:?}");
        assert!(ends[0].starts_with("end 5030/11 @5") && ends[0].ends_with("Framing"), "{lines:?}");
        assert!(ends[1].ends_with("@7 Framing"), "{lines:?}");
        assert!(ends[2].ends_with("@9 Presumed"), "{lines:?}");
        assert!(ends[3].ends_with("@11 Framing"), "{lines:?}");
    }
}

#[test]
fn joined_midway() {
    let turns = [
        server(my(7, b"the end of something")),
        execute(3),
        server(my_rows(1, 8, true, 2)),
        query("SELECT a FROM t"),
        server(my_rows(1, 8, false, 2)),
    ];
    let lines = play_from(Mysql, Origin::Midway, &turns, usize::MAX, |_, bytes| vec![bytes.len()]);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[0].starts_with("? @2..2"), "{lines:?}");
    assert!(lines[3].starts_with("SELECT t"), "{lines:?}");
    assert!(lines[5].ends_with("@5 Framing"), "{lines:?}");
}

#[test]
fn no_secret_is_told() {
    let mut turns = hello(0);
    turns.push(query("SELECT 'hunter2', \"hunter2\", 0x42 FROM t -- hunter2"));
    let lines = play(Mysql, &turns).join("\n");
    assert!(lines.contains("SELECT t"), "{lines}");
    assert!(!lines.contains("hunter2") && !lines.contains("42"), "{lines}");
}
