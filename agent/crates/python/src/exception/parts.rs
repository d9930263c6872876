//! What an exception said, from copies of its first arguments, when the exception itself may be gone.

use crate::exception::cut;
use crate::object::{Says, TypeName, quote};

/// A copy of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A `str`, or its beginning.
    Text {
        /// The characters.
        text: String,
        /// There were more.
        is_cut: bool,
    },
    /// An `int`.
    Number(i64),
    /// Anything else, of this type.
    Object(TypeName),
}

/// Copies of an exception's arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// The first ones, at most two.
    pub arguments: Vec<Argument>,
    /// How many there are.
    pub count: usize,
    /// The file of an `OSError`.
    pub file: Option<Argument>,
}

/// What `str()` would have given. `None`: it takes more than these copies.
pub fn message(says: Says, parts: &Parts) -> Option<String> {
    let text = match (says, parts.arguments.as_slice()) {
        (_, _) if parts.count == 0 => String::new(),
        (Says::Key, [key]) if parts.count == 1 => repr(key),
        (Says::OsError, [number, text]) if parts.count == 2 => {
            let head = format!("[Errno {}] {}", plain(number), plain(text));
            parts.file.as_ref().map_or(head.clone(), |file| format!("{head}: {}", repr(file)))
        }
        // Their arguments are not what they say.
        (Says::Decode | Says::Encode, _) => return None,
        (Says::Import | Says::Group | Says::Syntax, [first, ..]) => plain(first),
        (_, [only]) if parts.count == 1 => plain(only),
        (_, arguments) => {
            let mut shown: Vec<_> = arguments.iter().map(repr).collect();
            if parts.count > arguments.len() {
                shown.push("\u{2026}".to_owned());
            }
            format!("({})", shown.join(", "))
        }
    };
    Some(cut(text))
}

fn plain(argument: &Argument) -> String {
    match argument {
        Argument::Text { text, is_cut: false } => text.clone(),
        Argument::Text { text, is_cut: true } => format!("{text}\u{2026}"),
        other => repr(other),
    }
}

fn repr(argument: &Argument) -> String {
    match argument {
        Argument::Text { text, is_cut } => {
            let mut quoted = String::new();
            quote(text, &mut quoted);
            quoted.push_str(if *is_cut { "\u{2026}" } else { "" });
            quoted
        }
        Argument::Number(number) => number.to_string(),
        Argument::Object(name) if name.qualname == "NoneType" => "None".to_owned(),
        Argument::Object(name) => format!("<{} object>", name.full()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_say_what_the_exception_said() {
        let text = |text: &str| Argument::Text { text: text.to_owned(), is_cut: false };
        let long = || Argument::Text { text: "abc".to_owned(), is_cut: true };
        let object = |name: &str| {
            Argument::Object(TypeName { module: Some("builtins".to_owned()), qualname: name.to_owned() })
        };
        for (says, arguments, count, file, want) in [
            (Says::Arguments, vec![], 0, None, Some("")),
            (Says::Arguments, vec![text("out")], 1, None, Some("out")),
            (Says::OwnCode, vec![text("out")], 1, None, Some("out")),
            (Says::Arguments, vec![long()], 1, None, Some("abc\u{2026}")),
            (Says::Arguments, vec![Argument::Number(42)], 1, None, Some("42")),
            (Says::Arguments, vec![object("NoneType")], 1, None, Some("None")),
            (Says::Arguments, vec![object("dict")], 1, None, Some("<dict object>")),
            (Says::Arguments, vec![text("it's"), Argument::Number(7)], 2, None, Some("(\"it's\", 7)")),
            (Says::Arguments, vec![text("a"), text("b")], 3, None, Some("('a', 'b', \u{2026})")),
            (Says::Key, vec![text("name")], 1, None, Some("'name'")),
            (Says::Key, vec![object("tuple")], 1, None, Some("<tuple object>")),
            (
                Says::OsError,
                vec![Argument::Number(2), text("No such")],
                2,
                Some(text("/x")),
                Some("[Errno 2] No such: '/x'"),
            ),
            (Says::OsError, vec![Argument::Number(5), text("odd")], 2, None, Some("[Errno 5] odd")),
            (Says::OsError, vec![text("just")], 1, None, Some("just")),
            (Says::Group, vec![text("several"), object("list")], 2, None, Some("several")),
            (Says::Decode, vec![text("utf-8"), object("bytes")], 5, None, None),
        ] {
            let parts = Parts { arguments, count, file };
            assert_eq!(message(says, &parts).as_deref(), want, "{parts:?}");
        }
    }
}
