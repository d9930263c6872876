//! Cuts SQL into tokens. Invariant: every byte belongs to exactly one token, to a comment or to space between.

use memchr::memmem;

use super::Dialect;

/// A piece of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name.
    Word(&'a [u8]),
    /// A name in quotes, without them.
    Quoted(&'a [u8]),
    /// A string, a number, a bit string: what must not be shown.
    Literal,
    /// A placeholder for a parameter: `$1`, `?`, `:name`, `%s`.
    Parameter(&'a [u8]),
    /// Any other single character.
    Sign(u8),
}

/// The tokens of a text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
    dialect: Dialect,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self { rest: text, dialect }
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Skips space and comments.
    fn skip_blank(&mut self) {
        loop {
            self.take_while(|byte| byte.is_ascii_whitespace() || byte == 0);
            match self.rest {
                // In MySQL two dashes need a space behind them; a name cannot follow them anyway.
                [b'-', b'-', ..] => self.skip_line(),
                [b'#', ..] if self.dialect == Dialect::Mysql => self.skip_line(),
                // `/*! ... */` is run by MySQL, but nothing in it is needed here.
                [b'/', b'*', ..] => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        self.take_while(|byte| byte != b'\n');
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_u32;
        loop {
            match self.rest {
                [b'/', b'*', ..] if depth == 0 || self.dialect == Dialect::Postgresql => {
                    depth += 1;
                    self.take(2);
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.take(2);
                    if depth == 0 {
                        return;
                    }
                }
                [] => return,
                _ => {
                    self.take(1);
                    self.take_while(|byte| byte != b'*' && byte != b'/');
                }
            }
        }
    }

    /// What stands up to the closing quote; a doubled quote belongs to it.
    fn quoted(&mut self, quote: u8, escapes: bool) -> &'a [u8] {
        self.take(1);
        let mut end = 0;
        while let Some(&byte) = self.rest.get(end) {
            if byte == b'\\' && escapes {
                end += 2;
            } else if byte != quote {
                end += 1;
            } else if self.rest.get(end + 1) == Some(&quote) {
                end += 2;
            } else {
                let inside = self.take(end);
                self.take(1);
                return inside;
            }
        }
        self.take(end)
    }

    /// `$tag$ ... $tag$`, whose beginning stands here. False if it does not.
    fn dollar_quoted(&mut self) -> bool {
        let is_tag = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        let tag = self.rest[1..].iter().take_while(|byte| is_tag(byte)).count();
        if self.rest.get(1).is_some_and(u8::is_ascii_digit) || self.rest.get(tag + 1) != Some(&b'$') {
            return false;
        }
        let delimiter = self.take(tag + 2);
        let end = memmem::find(self.rest, delimiter).map_or(self.rest.len(), |at| at + delimiter.len());
        self.take(end);
        true
    }

    fn number(&mut self) {
        while let Some(&byte) = self.rest.first() {
            let signed = matches!(self.rest, [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..]);
            if !(signed || byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_') {
                return;
            }
            self.take(if signed { 2 } else { 1 });
        }
    }

    fn word(&mut self) -> Token<'a> {
        let dialect = self.dialect;
        let word = self.take_while(|byte| is_word(byte) || byte == b'$');
        // `E'..'`, `B'..'`, `X'..'`, `N'..'`, `U&'..'`, `_utf8'..'` are strings with something before them.
        if let [b'\'', ..] = self.rest
            && (word.len() == 1 || word.first() == Some(&b'_'))
        {
            let escapes = dialect == Dialect::Mysql || word.eq_ignore_ascii_case(b"e");
            self.quoted(b'\'', escapes);
            return Token::Literal;
        }
        Token::Word(word)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let mysql = self.dialect == Dialect::Mysql;
        let first = *self.rest.first()?;
        Some(match first {
            b'\'' => {
                self.quoted(first, mysql);
                Token::Literal
            }
            b'"' if mysql => {
                self.quoted(first, true);
                Token::Literal
            }
            b'"' | b'`' => Token::Quoted(self.quoted(first, false)),
            b'$' if self.rest.get(1).is_some_and(u8::is_ascii_digit) => {
                let digits = self.rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                Token::Parameter(self.take(1 + digits))
            }
            b'$' if !mysql && self.dollar_quoted() => Token::Literal,
            b'0'..=b'9' => {
                self.number();
                Token::Literal
            }
            b'.' if self.rest.get(1).is_some_and(u8::is_ascii_digit) => {
                self.number();
                Token::Literal
            }
            b'?' => Token::Parameter(self.take(1)),
            _ if is_word(first) => self.word(),
            _ => {
                self.take(1);
                Token::Sign(first)
            }
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens as text: names as they are, `?` for literals.
    fn tokens(text: &str, dialect: Dialect) -> String {
        let show = |token: Token<'_>| match token {
            Token::Word(word) => String::from_utf8_lossy(word).into_owned(),
            Token::Quoted(name) => format!("[{}]", String::from_utf8_lossy(name)),
            Token::Literal => "LIT".to_owned(),
            Token::Parameter(name) => format!("<{}>", String::from_utf8_lossy(name)),
            Token::Sign(sign) => char::from(sign).to_string(),
        };
        Lexer::new(text.as_bytes(), dialect).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn postgresql() {
        for (text, want) in [
            ("select 1", "select LIT"),
            (r#"select "a""b" from t"#, r#"select [a""b] from t"#),
            ("a = 'it''s' and b", "a = LIT and b"),
            (r"a = '\' and b", "a = LIT and b"),
            (r"a = E'\'' and b", "a = LIT and b"),
            ("$tag$ it's $x$ $tag$ b", "LIT b"),
            ("$$secret", "LIT"),
            ("$1, $22", "<$1> , <$22>"),
            ("a /* x /* y */ z */ b -- c\n d", "a b d"),
            ("x::int, 1.5e-3, .5, 0xFF, 1_000", "x : : int , LIT , LIT , LIT , LIT"),
            ("'open", "LIT"),
            ("a # b", "a # b"),
            ("X'ff' b", "LIT b"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(tokens(text, Dialect::Postgresql), want, "{text}");
        }
    }

    #[test]
    fn mysql() {
        for (text, want) in [
            ("select `a``b`, \"text\"", "select [a``b] , LIT"),
            (r"'it\'s' b", "LIT b"),
            (r#""a\"b" c"#, "LIT c"),
            ("a # b\n c", "a c"),
            ("a /* /* */ b", "a b"),
            ("_utf8mb4'x' n'x' c", "LIT LIT c"),
            ("'a\\", "LIT"),
        ] {
            assert_eq!(tokens(text, Dialect::Mysql), want, "{text}");
        }
    }
}
