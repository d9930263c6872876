//! Text that fits a terminal: cells, durations, sizes.
//!
//! Invariant: nothing a peer sent can move the cursor or change colours: control characters are replaced.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// Where a cell's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Appends `text` in exactly `width` columns; what is longer ends with `…`.
pub(super) fn push_cell(line: &mut String, text: &str, width: usize, align: Align) {
    let columns = columns(text);
    let padding = width.saturating_sub(columns);
    if align == Align::Right {
        line.extend(std::iter::repeat_n(' ', padding));
    }
    if columns <= width {
        line.extend(text.chars().map(harmless));
    } else {
        let mut left = width.saturating_sub(1);
        for c in text.chars().map(harmless) {
            let wide = c.width().unwrap_or(0);
            if wide > left {
                break;
            }
            left -= wide;
            line.push(c);
        }
        line.extend(std::iter::repeat_n(' ', if width == 0 { 0 } else { left }));
        line.extend((width > 0).then_some('…'));
    }
    if align == Align::Left {
        line.extend(std::iter::repeat_n(' ', padding));
    }
}

/// How many columns `text` takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| harmless(c).width().unwrap_or(0)).sum()
}

/// Control characters, and those that turn the direction of text, become `?`.
fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { '?' } else { c }
}

/// At most 7 columns: `950µs`, `12.3ms`, `4.56s`, `2m05s`, `27h46m`.
pub(super) fn duration(us: u64) -> String {
    let seconds = us / 1_000_000;
    match us {
        0..1_000 => format!("{us}µs"),
        1_000..99_950 => format!("{:.1}ms", us as f64 / 1e3),
        99_950..999_500 => format!("{:.0}ms", us as f64 / 1e3),
        999_500..59_995_000 => format!("{:.2}s", us as f64 / 1e6),
        _ if seconds < 3600 => format!("{}m{:02}s", seconds.max(60) / 60, seconds.max(60) % 60),
        _ if seconds < 360_000_000 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => "∞".to_owned(),
    }
}

/// At most 5 columns: `512`, `1.2K`, `34K`, `5.6M`.
pub(super) fn push_size(text: &mut String, bytes: u64) {
    const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    // Writing to a string does not fail.
    let _ = if bytes < 1000 {
        write!(text, "{bytes}")
    } else {
        let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
        while size >= 999.5 {
            size /= 1024.0;
            unit += 1;
        }
        let decimals = usize::from(size < 9.95);
        write!(text, "{size:.decimals$}{}", UNITS[unit])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_their_width() {
        let cases = [
            ("abc", 5, Align::Left, "abc  "),
            ("abc", 5, Align::Right, "  abc"),
            ("abcdef", 5, Align::Left, "abcd…"),
            ("abcdef", 1, Align::Right, "…"),
            ("abc", 0, Align::Left, ""),
            ("结算中", 5, Align::Left, "结算…"),
            ("a结算", 4, Align::Left, "a结…"),
            ("结算中", 4, Align::Left, "结 …"),
            ("a\u{1b}[31m\n", 8, Align::Left, "a?[31m? "),
            ("a\u{202e}b", 3, Align::Left, "a?b"),
        ];
        for (text, width, align, expected) in cases {
            let mut line = String::new();
            push_cell(&mut line, text, width, align);
            assert_eq!(line, expected, "{text:?}");
            assert_eq!(columns(&line), width, "{text:?}");
        }
    }

    #[test]
    fn durations_are_short() {
        let cases = [
            (0, "0µs"),
            (999, "999µs"),
            (1_000, "1.0ms"),
            (12_345, "12.3ms"),
            (99_949, "99.9ms"),
            (99_950, "100ms"),
            (999_499, "999ms"),
            (999_500, "1.00s"),
            (4_560_000, "4.56s"),
            (59_994_000, "59.99s"),
            (59_996_000, "1m00s"),
            (125_000_000, "2m05s"),
            (100_000_000_000, "27h46m"),
            (u64::MAX, "∞"),
        ];
        for (us, expected) in cases {
            assert_eq!(duration(us), expected);
        }
    }

    #[test]
    fn sizes_are_short() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1.0K"),
            (10_240, "10K"),
            (1_023_400, "999K"),
            (1_023_500, "1.0M"),
            (5_872_025, "5.6M"),
            (u64::MAX, "16E"),
        ];
        for (bytes, expected) in cases {
            let mut text = String::new();
            push_size(&mut text, bytes);
            assert_eq!(text, expected, "{bytes}");
        }
    }
}
