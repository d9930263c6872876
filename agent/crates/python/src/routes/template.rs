//! Templates of paths, taken apart: what stands in brackets, and what stands between.

use model::Piece;

/// A variable in a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable<'a> {
    /// What stands before the name; empty: nothing.
    pub(super) converter: &'a str,
    /// The name.
    pub(super) name: &'a str,
}

/// The pieces of a template: text as it is, variables by what `piece` says of them. `None` where brackets do not match.
/// `order`: how a variable's name and converter are told apart.
pub(super) fn pieces(
    template: &str,
    (open, close): (char, char),
    order: impl Fn(&str) -> Option<Variable<'_>>,
    mut piece: impl FnMut(Variable<'_>) -> Piece,
) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(open) {
        let (variable, after) = after.split_once(close)?;
        push(&mut pieces, before);
        pieces.push(piece(order(variable)?));
        rest = after;
    }
    push(&mut pieces, rest);
    Some(pieces)
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
}

/// `int:id` and `id`: Werkzeug's and Django's.
pub(super) fn converter_first(variable: &str) -> Option<Variable<'_>> {
    let (converter, name) = variable.rsplit_once(':').unwrap_or(("", variable));
    is_name(name).then_some(Variable { converter, name })
}

/// `id:int` and `id`: Starlette's.
pub(super) fn name_first(variable: &str) -> Option<Variable<'_>> {
    let (name, converter) = variable.split_once(':').unwrap_or((variable, ""));
    is_name(name).then_some(Variable { converter, name })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_apart() {
        let text = |text: &str| Piece::Literal(text.to_owned());
        let read = |template: &str| {
            pieces(template, ('<', '>'), converter_first, |variable| match variable.converter {
                "int" => Piece::Digits,
                "" => Piece::Segment,
                _ => Piece::Unknown,
            })
        };
        for (template, want) in [
            ("", Some(vec![])),
            ("/a/b", Some(vec![text("/a/b")])),
            ("/a/<b>", Some(vec![text("/a/"), Piece::Segment])),
            (
                "/v<int:n>/<b>.txt",
                Some(vec![text("/v"), Piece::Digits, text("/"), Piece::Segment, text(".txt")]),
            ),
            ("/<string(length=2):lang>", Some(vec![text("/"), Piece::Unknown])),
            ("/<b", None),
            ("/<>", None),
        ] {
            assert_eq!(read(template), want, "{template}");
        }
        assert_eq!(name_first("id:int"), Some(Variable { converter: "int", name: "id" }));
        assert_eq!(name_first("id"), Some(Variable { converter: "", name: "id" }));
    }
}
