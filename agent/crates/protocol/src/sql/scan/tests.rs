//! What statements do, and their texts without literals.

use super::*;
use Dialect::{Mysql, Postgresql};

#[test]
fn operations_and_tables() {
    for (sql, operation, table, summary) in [
        ("SELECT * FROM users WHERE id = 1", "SELECT", "users", "SELECT users"),
        (
            "select u.x from Shop.Users u, orders as o where a",
            "SELECT",
            "Shop.Users",
            "SELECT Shop.Users orders",
        ),
        ("SELECT a FROM x JOIN y ON x.a = y.a LEFT JOIN z USING (b)", "SELECT", "x", "SELECT x y z"),
        ("SELECT 1", "SELECT", "", "SELECT"),
        ("SELECT extract(year FROM created) FROM t", "SELECT", "t", "SELECT t"),
        ("SELECT a IS DISTINCT FROM b FROM t", "SELECT", "t", "SELECT t"),
        (
            "SELECT * FROM (SELECT * FROM inner_t) q, other",
            "SELECT",
            "inner_t",
            "SELECT SELECT inner_t other",
        ),
        ("SELECT * FROM generate_series(1, 5) g", "SELECT", "", "SELECT"),
        ("SELECT * FROM t WHERE a IN (SELECT b FROM u)", "SELECT", "t", "SELECT t SELECT u"),
        ("SELECT count(*) FROM ONLY t FOR UPDATE", "SELECT", "t", "SELECT t"),
        ("(SELECT a FROM t) UNION (SELECT a FROM u)", "SELECT", "t", "SELECT t SELECT u"),
        ("INSERT INTO audit (a, b) SELECT a, b FROM users", "INSERT", "audit", "INSERT audit SELECT users"),
        ("INSERT INTO t VALUES (1, 'x'), (2, 'y')", "INSERT", "t", "INSERT t"),
        ("INSERT IGNORE INTO t SET a = 1", "INSERT", "t", "INSERT t"),
        ("REPLACE t VALUES (1)", "REPLACE", "t", "REPLACE t"),
        ("UPDATE t SET a = 1 WHERE b = 2", "UPDATE", "t", "UPDATE t"),
        ("UPDATE ONLY t SET a = u.b FROM u", "UPDATE", "t", "UPDATE t u"),
        ("DELETE FROM t WHERE a", "DELETE", "t", "DELETE t"),
        ("WITH x AS (SELECT * FROM a) SELECT * FROM x", "SELECT", "a", "SELECT a SELECT"),
        (
            "WITH x AS (SELECT * FROM a), y AS (DELETE FROM c RETURNING *) INSERT INTO b SELECT * FROM x",
            "INSERT",
            "a",
            "SELECT a DELETE c INSERT b SELECT",
        ),
        ("CREATE TABLE IF NOT EXISTS t (a int)", "CREATE", "t", "CREATE t"),
        ("CREATE TEMPORARY TABLE t (a int)", "CREATE", "", "CREATE"),
        ("CREATE INDEX i ON t (a)", "CREATE", "t", "CREATE t"),
        ("DROP TABLE IF EXISTS a.b", "DROP", "a.b", "DROP a.b"),
        ("TRUNCATE TABLE t", "TRUNCATE", "t", "TRUNCATE t"),
        ("COPY t (a) FROM STDIN", "COPY", "t", "COPY t"),
        ("COPY (SELECT * FROM t) TO STDOUT", "COPY", "t", "COPY SELECT t"),
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "LOAD", "t", "LOAD t"),
        ("BEGIN", "BEGIN", "", "BEGIN"),
        ("SET AUTOCOMMIT = 0", "SET", "", "SET"),
        ("SHOW TABLES", "SHOW", "", "SHOW"),
        ("EXPLAIN SELECT * FROM t", "EXPLAIN", "t", "EXPLAIN SELECT t"),
        ("BEGIN; UPDATE t SET a = 1; COMMIT", "BEGIN", "", "BEGIN UPDATE t COMMIT"),
        ("/* app */ SELECT a -- x\n FROM t", "SELECT", "t", "SELECT t"),
        ("SELECT a FROM t WHERE x = 'FROM secret'", "SELECT", "t", "SELECT t"),
        ("SELECT a FROM", "SELECT", "", "SELECT"),
        ("VALUES (1)", "VALUES", "", "VALUES"),
        ("FETCH FORWARD 10 FROM c", "FETCH", "", "FETCH"),
        ("hunter2", "", "", ""),
        ("", "", "", ""),
    ] {
        let found = summarize(sql.as_bytes(), Postgresql, false);
        let collection = found.collection.unwrap_or_default();
        assert_eq!(
            (found.operation.unwrap_or_default(), &*collection, &*found.summary),
            (operation, table, summary),
            "{sql}"
        );
    }
    let quoted = summarize(b"SELECT `a` FROM `my db`.`t` WHERE x = \"y\"", Mysql, false);
    assert_eq!(quoted.collection.as_deref(), Some("my db.t"));
    let quoted = summarize(b"SELECT \"a\" FROM \"Users\"", Postgresql, false);
    assert_eq!(quoted.collection.as_deref(), Some("Users"));
}

#[test]
fn texts_without_literals() {
    for (sql, want) in [
        ("SELECT  a,b FROM t\n WHERE x='s' AND y>=1.5", "SELECT a, b FROM t WHERE x = ? AND y >= ?"),
        ("SELECT * FROM t WHERE a IN (1, 2, 3)", "SELECT * FROM t WHERE a IN(?)"),
        ("INSERT INTO t VALUES ($1, $2, 'x')", "INSERT INTO t VALUES($1, $2, ?)"),
        ("SELECT a::int, count(*) FROM t /* 'x' */", "SELECT a::int, count(*) FROM t"),
        ("SELECT 'never closed", "SELECT ?"),
    ] {
        assert_eq!(summarize(sql.as_bytes(), Postgresql, true).text.as_deref(), Some(want), "{sql}");
    }
}

#[test]
fn a_summary_is_bounded() {
    let sql = format!("SELECT * FROM {}", vec!["a_table_with_a_name"; 500].join(", "));
    assert!(summarize(sql.as_bytes(), Postgresql, true).summary.len() <= MAX_SUMMARY_BYTES);
    let deep = "SELECT (".repeat(5000);
    assert_eq!(summarize(deep.as_bytes(), Postgresql, false).operation, Some("SELECT"));
}
