//! Knobs of the terminal output.

use serde::{Deserialize, Serialize};

/// What spans look like on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    /// A table on a terminal; else JSON lines, or nothing if the spans go to a server.
    #[default]
    Auto,
    /// A live table for people.
    Table,
    /// One JSON object a line.
    Json,
    /// Nothing.
    None,
}

impl OutputFormat {
    /// What `auto` comes to; everything else is as it is.
    #[must_use]
    pub const fn resolve(self, stdout_is_terminal: bool, has_server: bool) -> Self {
        match self {
            Self::Auto if stdout_is_terminal => Self::Table,
            Self::Auto if has_server => Self::None,
            Self::Auto => Self::Json,
            chosen => chosen,
        }
    }
}

/// Whether the table has colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether to use colours. `no_color`: the value of `NO_COLOR`, which counts if it is not empty
    /// (<https://no-color.org>).
    pub fn resolve(self, stdout_is_terminal: bool, no_color: Option<&str>) -> bool {
        match self {
            Self::Auto => stdout_is_terminal && no_color.is_none_or(str::is_empty),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Spans on stdout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputConfig {
    /// What they look like.
    pub format: OutputFormat,
    /// Whether the table has colours.
    pub color: Color,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_follows_the_terminal_and_the_server() {
        let cases = [
            (OutputFormat::Auto, true, false, OutputFormat::Table),
            (OutputFormat::Auto, true, true, OutputFormat::Table),
            (OutputFormat::Auto, false, false, OutputFormat::Json),
            (OutputFormat::Auto, false, true, OutputFormat::None),
            (OutputFormat::Json, true, true, OutputFormat::Json),
            (OutputFormat::None, true, false, OutputFormat::None),
        ];
        for (format, tty, server, expected) in cases {
            assert_eq!(format.resolve(tty, server), expected, "{format:?} tty={tty} server={server}");
        }
    }

    #[test]
    fn no_color_is_respected() {
        assert!(Color::Auto.resolve(true, None));
        assert!(Color::Auto.resolve(true, Some("")));
        assert!(!Color::Auto.resolve(true, Some("1")));
        assert!(!Color::Auto.resolve(false, None));
        assert!(Color::Always.resolve(false, Some("1")));
        assert!(!Color::Never.resolve(true, None));
    }
}
