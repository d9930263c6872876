//! Reads the tokens of statements: which verbs, which tables. Invariant: a table is a name in a place where only
//! a table, a view or the like can stand; what may be a function or a name made up by `WITH` is none.

use super::lexer::{Lexer, Token};
use super::text::write;
use super::words::{BEFORE_TABLE, FROM_FUNCTIONS, NO_TABLE, is_clause, is_verb, verb};
use super::{Dialect, Summary};

/// Most bytes of a summary: what `db.query.summary` is limited to
/// (OpenTelemetry semantic conventions 1.30, "Generating a summary of the query").
const MAX_SUMMARY_BYTES: usize = 255;
const MAX_TABLE_BYTES: usize = 128;
/// Most parentheses remembered, and most names made up by `WITH`.
const MAX_DEPTH: usize = 64;
const MAX_MADE_UP: usize = 32;

/// Says what a text does; with `text`, its normalised form too.
pub fn summarize(sql: &[u8], dialect: Dialect, text: bool) -> Summary {
    let mut scan = Scan::new();
    let mut written = text.then(String::new);
    for token in Lexer::new(sql, dialect) {
        scan.see(token);
        if let Some(written) = &mut written {
            write(written, token);
        }
    }
    scan.settle(None);
    scan.summary.text = written;
    scan.summary
}

/// Where a table may stand next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Nothing,
    /// The next name is a table.
    Table,
    /// The next name that is not `TABLE` is one if that word comes: `DROP TABLE t`.
    Object,
    /// A name has been read; what follows says whether it is whole and no function.
    More,
    /// After a dot.
    Part,
    /// Behind a table of a list: a comma announces another.
    Comma,
}

#[derive(Debug)]
struct Scan {
    summary: Summary,
    /// Another statement may follow: the operation and the collection are those of the first.
    first: bool,
    /// The verb of the current statement, once it is known.
    verb: Option<&'static str>,
    expect: Expect,
    table: String,
    /// The table being read may be a function, if a parenthesis follows.
    may_be_function: bool,
    /// For each open parenthesis: the function it belongs to takes `FROM` in its arguments; what was expected
    /// outside.
    open: Vec<(bool, Expect)>,
    deeper: u32,
    /// In `WITH`, before its statement: names are made up there.
    with: bool,
    made_up: Vec<String>,
    before: String,
}

impl Scan {
    fn new() -> Self {
        Self {
            summary: Summary::default(),
            first: true,
            verb: None,
            expect: Expect::Nothing,
            table: String::new(),
            may_be_function: false,
            open: Vec::new(),
            deeper: 0,
            with: false,
            made_up: Vec::new(),
            before: String::new(),
        }
    }

    fn see(&mut self, token: Token<'_>) {
        match token {
            Token::Word(word) => self.word(&String::from_utf8_lossy(word)),
            Token::Quoted(name) => {
                self.name(&String::from_utf8_lossy(name));
                "\"".clone_into(&mut self.before);
            }
            Token::Literal | Token::Parameter(_) => {
                self.settle(None);
                self.expect = Expect::Nothing;
                "?".clone_into(&mut self.before);
            }
            Token::Sign(sign) => self.sign(sign),
        }
    }

    fn word(&mut self, word: &str) {
        let upper: String = word.chars().take(32).collect::<String>().to_ascii_uppercase();
        match self.expect {
            Expect::Table if BEFORE_TABLE.contains(&upper.as_str()) => return,
            Expect::Table if !NO_TABLE.contains(&upper.as_str()) => return self.remember(word, upper),
            Expect::Part => return self.remember(word, upper),
            Expect::Object if upper == "TABLE" => {
                self.expect = Expect::Table;
                return;
            }
            _ => {}
        }
        self.settle(None);
        self.keyword(&upper);
        self.before = upper;
    }

    fn remember(&mut self, word: &str, upper: String) {
        self.name(word);
        self.before = upper;
    }

    fn keyword(&mut self, upper: &str) {
        let begins = self.verb.is_none() && (self.open.is_empty() || !self.with);
        if begins && upper == "WITH" {
            self.with = true;
            return;
        }
        if self.with && self.before != "AS" && self.open.is_empty() && self.verb.is_none() && !is_verb(upper)
        {
            // `WITH a AS (...), b AS (...)`; `RECURSIVE` and the column names do no harm.
            if self.made_up.len() < MAX_MADE_UP {
                self.made_up.push(upper.to_owned());
            }
            return;
        }
        if let Some(verb) = verb(upper).filter(|verb| self.may_be_verb(verb)) {
            self.begin(verb);
            return;
        }
        let in_function = self.open.last().is_some_and(|(takes_from, _)| *takes_from);
        match upper {
            "FROM" if self.before == "DISTINCT" || in_function => {}
            "FROM" | "JOIN" | "INTO" if self.verb != Some("FETCH") && self.verb != Some("MOVE") => {
                self.announce(upper != "INTO");
            }
            "ON" if self.verb == Some("CREATE") && self.summary.collection.is_none() => self.announce(false),
            "TABLES" if matches!(self.verb, Some("LOCK")) => self.announce(false),
            _ => {
                // An alias or `AS`: the list may go on behind it.
                if self.expect != Expect::Comma || is_clause(upper) {
                    self.expect = Expect::Nothing;
                }
            }
        }
    }

    /// Whether a verb's word stands where a statement or a part of one begins.
    fn may_be_verb(&self, verb: &str) -> bool {
        match self.verb {
            None => {
                !self.with
                    || self.open.is_empty()
                    || (matches!(verb, "SELECT" | "INSERT" | "UPDATE" | "DELETE") && self.before == "(")
            }
            Some(_) => {
                verb == "SELECT"
                    || (matches!(verb, "INSERT" | "UPDATE" | "DELETE") && self.before == "(")
                    || (self.before == "EXPLAIN" && verb != "ANALYZE")
            }
        }
    }

    fn begin(&mut self, verb: &'static str) {
        self.add(verb);
        // Inside `WITH x AS (SELECT ...)`, the statement's own verb is still to come.
        let inside_with = self.with && !self.open.is_empty();
        if self.verb.is_none() && !inside_with {
            self.verb = Some(verb);
            if self.first {
                self.summary.operation = Some(verb);
            }
        }
        self.expect = match verb {
            "UPDATE" | "TABLE" | "COPY" | "DESCRIBE" | "DESC" | "REPLACE" | "INSERT" | "TRUNCATE"
            | "VACUUM" | "LOCK"
                if self.before != "FOR" && self.before != "KEY" =>
            {
                Expect::Table
            }
            "CREATE" | "DROP" | "ALTER" | "RENAME" | "OPTIMIZE" | "REPAIR" | "CHECK" | "ANALYZE" => {
                Expect::Object
            }
            _ => Expect::Nothing,
        };
        self.may_be_function = false;
    }

    fn announce(&mut self, may_be_function: bool) {
        self.expect = Expect::Table;
        self.may_be_function = may_be_function;
    }

    fn name(&mut self, name: &str) {
        match self.expect {
            Expect::Table | Expect::Part => {
                if self.table.len() + name.len() < MAX_TABLE_BYTES {
                    self.table.push_str(name);
                }
                self.expect = Expect::More;
            }
            Expect::More => self.settle(None),
            Expect::Comma => {}
            Expect::Nothing | Expect::Object => self.expect = Expect::Nothing,
        }
    }

    fn sign(&mut self, sign: u8) {
        match (sign, self.expect) {
            (b'.', Expect::More) => {
                self.table.push('.');
                self.expect = Expect::Part;
            }
            (b',', Expect::More | Expect::Comma) => {
                self.settle(Some(sign));
                self.expect = if self.verb == Some("INSERT") { Expect::Nothing } else { Expect::Table };
            }
            (b'(', _) => {
                self.settle(Some(sign));
                if self.open.len() < MAX_DEPTH {
                    let takes_from = FROM_FUNCTIONS.contains(&self.before.as_str());
                    let outside = if self.expect == Expect::Table { Expect::Comma } else { self.expect };
                    self.open.push((takes_from, outside));
                    // A subquery in place of a table, or a list of tables in parentheses.
                    if self.expect != Expect::Table {
                        self.expect = Expect::Nothing;
                    }
                } else {
                    self.deeper += 1;
                }
            }
            (b')', _) => {
                self.settle(Some(sign));
                if self.deeper > 0 {
                    self.deeper -= 1;
                } else {
                    self.expect = self.open.pop().map_or(Expect::Nothing, |(_, outside)| outside);
                }
            }
            (b';', _) => self.next_statement(),
            _ => {
                self.settle(Some(sign));
                self.expect = Expect::Nothing;
            }
        }
        self.before.clear();
        self.before.push(char::from(sign));
    }

    fn next_statement(&mut self) {
        self.settle(None);
        if self.verb.is_some() {
            self.first = false;
        }
        self.verb = None;
        self.with = false;
        self.open.clear();
        self.deeper = 0;
        self.made_up.clear();
        self.expect = Expect::Nothing;
    }

    /// The name that was read is whole. `next`: the sign behind it.
    fn settle(&mut self, next: Option<u8>) {
        if self.table.is_empty() {
            return;
        }
        let table = std::mem::take(&mut self.table);
        let table = table.trim_end_matches('.');
        let function = next == Some(b'(') && self.may_be_function;
        let made_up = self.made_up.iter().any(|name| name.eq_ignore_ascii_case(table));
        if !function && !made_up && !table.is_empty() {
            self.add(table);
            if self.first && self.summary.collection.is_none() {
                self.summary.collection = Some(table.to_owned());
            }
        }
        self.expect = Expect::Comma;
    }

    fn add(&mut self, word: &str) {
        let summary = &mut self.summary.summary;
        if summary.len() + 1 + word.len() > MAX_SUMMARY_BYTES {
            return;
        }
        if !summary.is_empty() {
            summary.push(' ');
        }
        summary.push_str(word);
    }
}

#[cfg(test)]
mod tests;
