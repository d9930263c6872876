//! The words of the language that tell statements apart. Invariant: each list is in capitals, the verbs sorted.

/// The words that begin statements (PostgreSQL 17, "SQL Commands"; MySQL 8.4, chapter 15; MariaDB 10.11).
pub(super) const VERBS: &[&str] = &[
    "ABORT",
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CHANGE",
    "CHECK",
    "CHECKPOINT",
    "CHECKSUM",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISCARD",
    "DO",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "FLUSH",
    "GRANT",
    "HANDLER",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "OPTIMIZE",
    "PREPARE",
    "PURGE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VACUUM",
    "VALUES",
    "XA",
];

/// Functions whose arguments may hold `FROM`.
pub(super) const FROM_FUNCTIONS: &[&str] =
    &["EXTRACT", "SUBSTRING", "SUBSTR", "TRIM", "OVERLAY", "POSITION", "MID"];

/// Words between the one that announces a table and the table.
pub(super) const BEFORE_TABLE: &[&str] = &[
    "ONLY",
    "IF",
    "NOT",
    "EXISTS",
    "LATERAL",
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
    "DELAYED",
    "QUICK",
    "IGNORE",
    "TABLE",
    "CONCURRENTLY",
    "INTO",
];

/// Words that no table is called without quotes, where one may be expected.
pub(super) const NO_TABLE: &[&str] =
    &["SELECT", "VALUES", "SET", "WITH", "WHERE", "ON", "UNNEST", "AS", "USING", "DUAL", "STDIN", "PROGRAM"];

pub(super) fn verb(upper: &str) -> Option<&'static str> {
    VERBS.binary_search(&upper).ok().map(|at| VERBS[at])
}

pub(super) fn is_verb(upper: &str) -> bool {
    verb(upper).is_some()
}

/// Words that end a list of tables.
pub(super) fn is_clause(upper: &str) -> bool {
    matches!(
        upper,
        "WHERE"
            | "SET"
            | "VALUES"
            | "GROUP"
            | "ORDER"
            | "LIMIT"
            | "ON"
            | "USING"
            | "HAVING"
            | "UNION"
            | "RETURNING"
            | "WINDOW"
            | "FOR"
            | "FETCH"
            | "OFFSET"
            | "EXCEPT"
            | "INTERSECT"
            | "WITH"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verbs_are_sorted() {
        assert!(VERBS.is_sorted());
    }
}
