//! Redis: commands, pipelines, transactions, subscriptions, both versions of the protocol.

use model::Origin;

use crate::bytes::resp;
use crate::harness::{Kind::Redis, check, client, play, play_from, play_short, server};

#[test]
fn commands_and_pipelines() {
    check(
        "commands",
        Redis,
        &[
            client(resp(&["SET", "user:1", "hunter2"])),
            server("+OK\r\n"),
            client(resp(&["get", "user:1"])),
            server("$7\r\nhunter2\r\n"),
            client(resp(&["LPUSH", "user:1", "x"])),
            server("-WRONGTYPE Operation against a key\r\n"),
            client(resp(&["HGETALL", "h"])),
            server("*4\r\n$1\r\na\r\n$-1\r\n*0\r\n:3\r\n"),
            client([resp(&["INCR", "a"]), resp(&["INCR", "b"])].concat()),
            server(":1\r\n:2\r\n"),
            client("PING\r\n"),
            server("+PONG\r\n"),
        ],
        &[
            "SET `SET user:1 ?` in 0 @1..1 #0",
            "answer @2",
            "end 38/5 @2 Framing",
            "GET `GET user:1` in 0 @3..3 #38",
            "answer @4",
            "end 25/13 @4 Framing",
            "LPUSH `LPUSH user:1 ?` in 0 @5..5 #63",
            "answer @6",
            "end 34/36 @6 WRONGTYPE Framing",
            "HGETALL `HGETALL h` in 0 @7..7 #97",
            "answer @8",
            "end 24/24 @8 Framing",
            "INCR `INCR a` in 0 @9..9 #121",
            "+INCR `INCR b` in 0 @9..9 #121",
            "answer @10",
            "end 42/8 @10 Framing",
            "PING `PING` in 0 @11..11 #163",
            "answer @12",
            "end 6/7 @12 Framing",
        ],
    );
}

#[test]
fn transactions_databases_secrets() {
    let multi = [resp(&["MULTI"]), resp(&["SET", "a", "1"]), resp(&["LPUSH", "a", "1"]), resp(&["EXEC"])];
    let turns = [
        client(resp(&["AUTH", "user", "hunter2"])),
        server("+OK\r\n"),
        client(resp(&["HELLO", "3", "AUTH", "user", "hunter2"])),
        server("%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
        client(resp(&["SELECT", "5"])),
        server("+OK\r\n"),
        client(resp(&["SELECT", "99"])),
        server("-ERR DB index is out of range\r\n"),
        client(multi.concat()),
        server("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n-WRONGTYPE hunter2\r\n"),
    ];
    check(
        "transactions",
        Redis,
        &turns,
        &[
            "AUTH `AUTH ?` in 0 @1..1 #0",
            "answer @2",
            "end 37/5 @2 Framing",
            "HELLO `HELLO ?` in 0 @3..3 #37",
            "answer @4",
            "end 55/27 @4 Framing",
            "SELECT `SELECT ?` in 0 @5..5 #92",
            "answer @6",
            "end 23/5 @6 Framing",
            "SELECT `SELECT ?` in 5 @7..7 #115",
            "answer @8",
            "end 24/31 @8 ERR Framing",
            "MULTI `MULTI` in 5 @9..9 #139",
            "+SET `SET a ?` in 5 @9..9 #139",
            "+LPUSH `LPUSH a ?` in 5 @9..9 #139",
            "+EXEC `EXEC` in 5 @9..9 #139",
            "answer @10",
            "end 85/52 @10 WRONGTYPE Framing",
        ],
    );
    assert!(!play(Redis, &turns).join("\n").contains("hunter2"));
}

#[test]
fn subscriptions_and_pushes() {
    check(
        "resp2",
        Redis,
        &[
            client(resp(&["SUBSCRIBE", "a", "b"])),
            server("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
            server("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
            client(resp(&["PING"])),
            server("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        ],
        &[
            "SUBSCRIBE `SUBSCRIBE a ?` in 0 @1..1 #0",
            "answer @2",
            "end 33/60 @2 Framing",
            "PING `PING` in 0 @4..4 #33",
            "answer @5",
            "end 14/20 @5 Framing",
        ],
    );
    check(
        "resp3",
        Redis,
        &[
            client(resp(&["GET", "a"])),
            server(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n"),
            client(resp(&["SUBSCRIBE", "a"])),
            server(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            server(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
            client(resp(&["LRANGE", "a", "0", "1"])),
            server("~2\r\n,1.5\r\n#t\r\n"),
            client(resp(&["GET", "b"])),
            server("!9\r\nBUSY wait\r\n"),
        ],
        &[
            "GET `GET a` in 0 @1..1 #0",
            "answer @2",
            "end 20/21 @2 Framing",
            "SUBSCRIBE `SUBSCRIBE a` in 0 @3..3 #20",
            "answer @4",
            "end 26/30 @4 Framing",
            "LRANGE `LRANGE a ?` in 0 @6..6 #46",
            "answer @7",
            "end 37/14 @7 Framing",
            "GET `GET b` in 0 @8..8 #83",
            "answer @9",
            "end 20/15 @9 BUSY Framing",
        ],
    );
    check("replication", Redis, &[client(resp(&["PSYNC", "?", "-1"]))], &["let go Unsupported"]);
    check("silence", Redis, &[client(resp(&["CLIENT", "REPLY", "OFF"]))], &["let go Unsupported"]);
}

#[test]
fn what_is_not_copied_is_skipped_by_length() {
    let big = "x".repeat(5000);
    let small = "$4\r\nabcd\r\n".repeat(500);
    let pipeline: Vec<u8> = (0..300).flat_map(|_| resp(&["INCR", "counter"])).collect();
    let turns = [
        client(resp(&["SET", "a", &big])),
        server("+OK\r\n"),
        client(resp(&["GET", "a"])),
        server(format!("$5000\r\n{big}\r\n")),
        client(resp(&["LRANGE", "a", "0", "-1"])),
        server(format!("*500\r\n{small}")),
        client(resp(&["GET", "b"])),
        server("$-1\r\n"),
        client(pipeline),
        server(":1\r\n".repeat(100)),
        server(":1\r\n".repeat(200)),
        client(resp(&["GET", "b"])),
        server("$-1\r\n"),
    ];
    let lines = play_short(Redis, &turns, 1024);
    let ends: Vec<&str> = lines.iter().filter(|line| line.starts_with("end")).map(|line| &line[..]).collect();
    assert_eq!(ends.len(), 6, "{lines:?}");
    assert_eq!(ends[0], "end 5029/5 @2 Framing");
    assert_eq!(ends[1], "end 20/5009 @4 Framing");
    assert!(ends[2].ends_with("@6 Presumed"), "{lines:?}");
    assert_eq!(ends[3], "end 20/5 @8 Framing");
    assert!(ends[4].ends_with("@11 Presumed"), "{lines:?}");
    assert_eq!(ends[5], "end 20/5 @13 Framing");
    assert_eq!(lines.iter().filter(|line| *line == "lost").count(), 1, "{lines:?}");
}

#[test]
fn joined_midway() {
    let turns = [
        server("$5\r\nhello\r\n"),
        client("lo\r\n*1\r\n$4\r\nPING\r\n"),
        server("+PONG\r\n"),
        client(resp(&["GET", "a"])),
        server("$-1\r\n"),
    ];
    let lines = play_from(Redis, Origin::Midway, &turns, usize::MAX, |_, bytes| vec![bytes.len()]);
    assert_eq!(lines, ["GET `GET a` @4..4 #18", "answer @5", "end 20/5 @5 Framing"]);
}
