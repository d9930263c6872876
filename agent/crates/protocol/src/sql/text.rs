//! The normalised text of statements. Invariant: a literal is written as `?` and nothing else; bounded.

use super::lexer::Token;

const MAX_TEXT_BYTES: usize = 2048;

/// Appends a token to the normalised text; `?, ?` becomes `?`, so that lists of any length look the same.
pub(super) fn write(text: &mut String, token: Token<'_>) {
    if text.len() >= MAX_TEXT_BYTES {
        return;
    }
    let literal = matches!(token, Token::Literal | Token::Parameter(b"?"));
    if literal && text.ends_with("?,") {
        text.pop();
        return;
    }
    let tight = match token {
        Token::Sign(sign) => {
            matches!(sign, b',' | b')' | b'.' | b';' | b':' | b'(')
                || text.ends_with('(')
                || is_operator_tail(text, sign)
        }
        _ => text.ends_with(['(', '.', ':', '@']),
    };
    if !text.is_empty() && !tight {
        text.push(' ');
    }
    match token {
        Token::Word(word) | Token::Parameter(word) if !literal => {
            text.push_str(&String::from_utf8_lossy(word));
        }
        Token::Quoted(name) => {
            text.push('"');
            text.push_str(&String::from_utf8_lossy(name));
            text.push('"');
        }
        Token::Sign(sign) if sign.is_ascii() => text.push(char::from(sign)),
        Token::Sign(_) => {}
        _ => text.push('?'),
    }
}

/// `<` and `=` make `<=`.
fn is_operator_tail(text: &str, sign: u8) -> bool {
    b"=<>!|&*+-/~@#%^".contains(&sign) && text.ends_with(['<', '>', '=', '!', '|', '&', '-', '~', '@'])
}
