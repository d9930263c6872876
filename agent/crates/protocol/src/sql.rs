//! What an SQL statement does, without what it says: verbs, tables, and the text with its literals replaced.
//!
//! Invariants: total and linear in the text; nothing that may be a literal gets into the result; a word becomes
//! an operation only if it is a verb of the language. A text that is cut off gives what its beginning tells.

mod lexer;
mod scan;
mod text;
mod words;

pub use scan::summarize;

/// Whose rules of quoting hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `"name"`, `$tag$text$tag$`, `E'\''`, `::type`; comments nest
    /// (PostgreSQL 17 documentation, section 4.1 "Lexical Structure").
    Postgresql,
    /// `` `name` ``, `"text"`, `'\''`, `#` comments (MySQL 8.4 reference manual, chapter 11
    /// "Language Structure"; the SQL modes `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES` are not known here).
    Mysql,
}

/// What a text of one or more statements does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The verb of the first statement, in upper case. `None`: not a verb we know.
    pub operation: Option<&'static str>,
    /// The first table of the first statement, as written, without quotes: `public.users`.
    pub collection: Option<String>,
    /// Verbs and tables in their order: `INSERT audit SELECT users`. At most 255 bytes.
    pub summary: String,
    /// The text with `?` for each literal, without comments, if it was asked for.
    pub text: Option<String>,
}
