//! Knobs of the terminal output.

use report::console;
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

impl OutputConfig {
    /// What the console is to be told; `None`: there is to be none. `no_color`: the value of `NO_COLOR`;
    /// `columns`: tells the terminal's width.
    pub fn settings(
        &self,
        columns: fn() -> u16,
        stdout_is_terminal: bool,
        no_color: Option<&str>,
        has_server: bool,
    ) -> Option<console::Settings> {
        let format = match self.format.resolve(stdout_is_terminal, has_server) {
            OutputFormat::Table => console::Format::Table,
            OutputFormat::Json => console::Format::Json,
            OutputFormat::Auto | OutputFormat::None => return None,
        };
        let color = self.color.resolve(stdout_is_terminal, no_color);
        Some(console::Settings { color, ..console::Settings::new(format, columns) })
    }
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
    fn the_console_is_told_format_and_colour() {
        let config = OutputConfig::default();
        let table = config.settings(|| 80, true, None, false).unwrap();
        assert_eq!((table.format, table.color), (console::Format::Table, true));
        let json = config.settings(|| 80, false, None, false).unwrap();
        assert_eq!((json.format, json.color), (console::Format::Json, false));
        assert!(config.settings(|| 80, false, None, true).is_none());
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
