//! Whether a path looks like a rule's pieces say. Invariant: the work done is bounded; where the bound is met, the answer
//! is that it may.

use model::Piece;

/// Most steps of one comparison.
const MAX_STEPS: usize = 20_000;

/// Whether a path fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    No,
    /// A piece is not known, or there was too much to try.
    Maybe,
}

/// There is a piece that is not known, or there was too much to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsure;

/// Whether all of the path fits all of the pieces.
pub(super) fn whole(pieces: &[Piece], path: &str) -> Fit {
    // What is not known may be anything: if the rest does not fit even so, it does not.
    let mut walk = Walk { steps: 0, ends: Ends::Whole { found: false } };
    match (walk.go(pieces, path), pieces.contains(&Piece::Unknown)) {
        (Ok(()), _) if !walk.is_through() => Fit::No,
        (Ok(()), false) => Fit::Yes,
        (Ok(()), true) | (Err(Unsure), _) => Fit::Maybe,
    }
}

/// What may be left of the path behind all of the pieces.
pub(super) fn prefixes<'a>(pieces: &[Piece], path: &'a str) -> Result<Vec<&'a str>, Unsure> {
    let mut ends = Vec::new();
    Walk { steps: 0, ends: Ends::Beginnings(&mut ends) }.go(pieces, path)?;
    if pieces.contains(&Piece::Unknown) && !ends.is_empty() {
        return Err(Unsure);
    }
    ends.sort_unstable_by_key(|rest| rest.len());
    ends.dedup();
    Ok(ends)
}

/// What is looked for.
enum Ends<'a, 'b> {
    /// Whether nothing is left where the pieces are at their end.
    Whole { found: bool },
    /// All that may be left there.
    Beginnings(&'b mut Vec<&'a str>),
}

struct Walk<'a, 'b> {
    steps: usize,
    ends: Ends<'a, 'b>,
}

impl<'a> Walk<'a, '_> {
    /// There is nothing more to be found.
    const fn is_through(&self) -> bool {
        matches!(self.ends, Ends::Whole { found: true })
    }

    fn go(&mut self, pieces: &[Piece], path: &'a str) -> Result<(), Unsure> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Unsure);
        }
        let Some((piece, rest)) = pieces.split_first() else {
            match &mut self.ends {
                Ends::Whole { found } => *found |= path.is_empty(),
                Ends::Beginnings(ends) => ends.push(path),
            }
            return Ok(());
        };
        if let Piece::Literal(text) = piece {
            return path.strip_prefix(text.as_str()).map_or(Ok(()), |path| self.go(rest, path));
        }
        // A last piece takes all there is; else each length that it may have is tried.
        if let (Ends::Whole { found }, []) = (&mut self.ends, rest) {
            *found |= lengths(piece, path)?.any(|length| length == path.len());
            return Ok(());
        }
        for length in lengths(piece, path)? {
            self.go(rest, &path[length..])?;
            if self.is_through() {
                break;
            }
        }
        Ok(())
    }
}

/// How much of the path's beginning a piece may take, in bytes.
fn lengths<'a>(piece: &Piece, path: &'a str) -> Result<Box<dyn Iterator<Item = usize> + 'a>, Unsure> {
    Ok(match piece {
        Piece::Literal(_) => Box::new(std::iter::empty()),
        Piece::Digits => {
            let digits = run(path, |c| c.is_ascii_digit());
            // Python's `\d` is wider than ASCII, other frameworks' `[0-9]` is not.
            if path[digits..].starts_with(|c: char| !c.is_ascii() && c.is_numeric()) {
                return Err(Unsure);
            }
            Box::new(1..=digits)
        }
        Piece::Decimal => {
            let whole = run(path, |c| c.is_ascii_digit());
            Box::new((1..=whole).chain(fraction(path)))
        }
        Piece::Fraction => Box::new(fraction(path)),
        Piece::Segment => Box::new(ends(path, run(path, |c| c != '/')).filter(|end| *end > 0)),
        Piece::Slug => Box::new(1..=run(path, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))),
        Piece::LowerUuid => Box::new(uuid(path, true, false).into_iter()),
        Piece::Uuid => Box::new(uuid(path, false, false).into_iter()),
        Piece::BareUuid => Box::new(uuid(path, false, true).into_iter()),
        Piece::Rest => Box::new(ends(path, path.len()).filter(|end| *end > 0)),
        Piece::RestOfPath if path.starts_with('/') => Box::new(std::iter::empty()),
        Piece::RestOfPath => Box::new(ends(path, path.len()).filter(|end| *end > 0)),
        Piece::Anything | Piece::Unknown => Box::new(ends(path, path.len())),
    })
}

/// How long the run of such characters is with which the path begins.
fn run(path: &str, is_such: impl Fn(char) -> bool) -> usize {
    path.find(|c| !is_such(c)).unwrap_or(path.len())
}

/// Every place between characters up to `end`, that included.
fn ends(path: &str, end: usize) -> impl Iterator<Item = usize> + '_ {
    (0..=end).filter(|at| path.is_char_boundary(*at))
}

/// Where digits, a point and digits may end.
fn fraction(path: &str) -> std::ops::Range<usize> {
    let whole = run(path, |c| c.is_ascii_digit());
    match path[whole..].strip_prefix('.') {
        Some(rest) if whole > 0 => whole + 2..whole + 2 + run(rest, |c| c.is_ascii_digit()),
        _ => 0..0,
    }
}

fn uuid(path: &str, lower: bool, bare: bool) -> Option<usize> {
    let mut at = 0;
    for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            match path[at..].strip_prefix('-') {
                Some(_) => at += 1,
                None if bare => {}
                None => return None,
            }
        }
        let group = path.get(at..at + digits)?;
        let is_digit = |byte: u8| byte.is_ascii_hexdigit() && !(lower && byte.is_ascii_uppercase());
        group.bytes().all(is_digit).then_some(())?;
        at += digits;
    }
    Some(at)
}
