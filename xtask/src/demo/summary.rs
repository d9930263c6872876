//! Reads the table that the probe prints at its end.
//!
//! The table is for people; its columns are found by their headings.

/// The server spans of all routes. None where there is no summary.
pub fn server_spans(shown: &str) -> Option<u64> {
    let text = without_colours(shown);
    let lines: Vec<&str> = text.lines().map(|line| line.rsplit('\r').next().unwrap_or(line)).collect();
    let heading = lines.iter().rposition(|line| {
        let words: Vec<String> = words(line).into_iter().map(|word| word.text.to_lowercase()).collect();
        ["count", "p50", "p95"].iter().all(|wanted| words.iter().any(|word| word == wanted))
    })?;
    let column = words(lines[heading]).into_iter().find(|word| word.text.eq_ignore_ascii_case("count"))?;
    let rows = lines[heading + 1..].iter().take_while(|line| !line.trim().is_empty());
    let counts = rows.filter_map(|line| {
        let words = words(line);
        let is_server = words.iter().any(|word| word.text == "server");
        let count = words.iter().find(|word| word.start < column.end && column.start < word.end)?;
        if is_server { count.text.parse::<u64>().ok() } else { None }
    });
    Some(counts.sum())
}

/// A word and the columns it stands in.
struct Word {
    text: String,
    start: usize,
    end: usize,
}

fn words(line: &str) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    for (column, letter) in line.chars().enumerate() {
        if letter.is_whitespace() {
            continue;
        }
        match found.last_mut() {
            Some(word) if word.end == column => {
                word.text.push(letter);
                word.end += 1;
            }
            _ => found.push(Word { text: letter.to_string(), start: column, end: column + 1 }),
        }
    }
    found
}

/// Removes control sequences: ESC `[` up to a letter (ECMA-48 §5.4).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_table_is_summed_over_its_server_rows() {
        let live = "APP KIND NAME COUNT P50 P95\nshop server /a 99 1 2\n\n";
        let table = "\x1b[1mAPP   KIND    NAME               COUNT  ERRORS     P50     P95     P99\x1b[0m\r\n\
                     shop  server  GET /fast           1042       0   1.0ms   2.0ms   2.0ms\r\n\
                     \x1b[31mshop  server  GET /broken           10      10     3µs   1.0ms   1.0ms\x1b[0m\r\n\
                     shop  client  GET /stock/{id}        7       0   504µs   504µs   504µs\r\n\
                     1059 spans seen: 1059 reported, 0 sampled out, 0 dropped\r\n\
                     \r\n\
                     shop  server  not a row           9999\r\n";
        assert_eq!(server_spans(&format!("{live}{table}")), Some(1052));
        assert_eq!(server_spans("nothing of the kind\n"), None);
    }
}
