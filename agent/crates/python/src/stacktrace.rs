//! An exception as Python's own `traceback` module writes it, without the source lines, which stand in files of the
//! process and not in its memory.

use std::fmt::Write as _;

use crate::code::Frame;
use crate::exception::{Exception, Relation};
use crate::traceback::Traceback;

/// A line that repeats itself is written so often (Lib/traceback.py, `_RECURSIVE_CUTOFF`).
const SAME_LINES_MAX: u32 = 3;
/// No stack trace is longer, in bytes; what is cut is the end of the outer, later part's beginning.
const BYTES_MAX: usize = 32 * 1024;

/// The stack trace: earlier exceptions first, the innermost frame of each last, no line end at the end.
pub fn write(exception: &Exception) -> String {
    let mut writer = Writer::default();
    writer.chain(exception);
    let mut text = writer.text;
    text.truncate(text.trim_end_matches('\n').len());
    if text.len() > BYTES_MAX {
        // The last lines tell the most.
        let from = text.len() - BYTES_MAX;
        let line =
            text[..].bytes().skip(from).position(|byte| byte == b'\n').map_or(text.len(), |at| from + at + 1);
        text.replace_range(..line, "[cut]\n");
    }
    text
}

/// Text with the margin of the groups that are open (PEP 654).
#[derive(Default)]
struct Writer {
    text: String,
    depth: usize,
    needs_close: bool,
}

impl Writer {
    fn chain(&mut self, exception: &Exception) {
        if let Some((relation, earlier)) = &exception.earlier {
            self.chain(earlier);
            self.line("");
            self.line(match relation {
                Relation::Cause => "The above exception was the direct cause of the following exception:",
                Relation::Context => "During handling of the above exception, another exception occurred:",
            });
            self.line("");
        }
        match &exception.group {
            None => {
                if !exception.traceback.is_empty() {
                    self.line("Traceback (most recent call last):");
                    self.frames(&exception.traceback);
                }
                self.last_line(exception);
            }
            Some(members) => self.group(exception, members),
        }
    }

    fn group(&mut self, exception: &Exception, members: &[Exception]) {
        let outermost = self.depth == 0;
        self.depth += usize::from(outermost);
        if !exception.traceback.is_empty() {
            let margin = if outermost { "+" } else { "|" };
            self.margin(margin, "Exception Group Traceback (most recent call last):");
            self.frames(&exception.traceback);
        }
        self.last_line(exception);
        self.needs_close = false;
        for (index, member) in members.iter().enumerate() {
            let is_last = index + 1 == members.len();
            self.needs_close |= is_last;
            let corner = if index == 0 { "+-" } else { "  " };
            let indent = "  ".repeat(self.depth);
            // Writing into a String cannot fail.
            let _ = writeln!(self.text, "{indent}{corner}+---------------- {} ----------------", index + 1);
            self.depth += 1;
            self.chain(member);
            if is_last && self.needs_close {
                let _ =
                    writeln!(self.text, "{}+------------------------------------", "  ".repeat(self.depth));
                self.needs_close = false;
            }
            self.depth -= 1;
        }
        if outermost {
            self.depth = 0;
        }
    }

    fn frames(&mut self, traceback: &Traceback) {
        self.part(&traceback.outer);
        if traceback.left_out > 0 {
            self.line(&format!("  [{} frames left out]", traceback.left_out));
        }
        self.part(&traceback.inner);
    }

    fn part(&mut self, frames: &[Frame]) {
        let mut same = 0;
        for (index, frame) in frames.iter().enumerate() {
            same = if index > 0 && frames[index - 1] == *frame { same + 1 } else { 0 };
            if same < SAME_LINES_MAX {
                let line = frame.line.map_or_else(|| "None".to_owned(), |line| line.to_string());
                self.line(&format!("  File \"{}\", line {line}, in {}", frame.file, frame.function));
            }
            let repeats = (same + 1).saturating_sub(SAME_LINES_MAX);
            if repeats > 0 && frames.get(index + 1) != Some(frame) {
                let plural = if repeats > 1 { "s" } else { "" };
                self.line(&format!("  [Previous line repeated {repeats} more time{plural}]"));
            }
        }
    }

    fn last_line(&mut self, exception: &Exception) {
        let name = exception.name.in_traceback();
        match exception.message.as_deref() {
            None | Some("") => self.line(&name),
            Some(message) => self.line(&format!("{name}: {message}")),
        }
        for note in &exception.notes {
            self.line(note);
        }
    }

    fn line(&mut self, text: &str) {
        self.margin("|", text);
    }

    fn margin(&mut self, margin: &str, text: &str) {
        for line in text.split('\n') {
            if self.depth > 0 {
                let _ = write!(self.text, "{}{margin} ", "  ".repeat(self.depth));
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}
