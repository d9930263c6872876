//! Werkzeug's order (`werkzeug/routing/matcher.py`): part by part of the path, literal ones first, variable ones by weight.

use std::cmp::Ordering;

use model::{Piece, Rule, Target};

use super::pieces::{Fit, Unsure, whole};
use super::{Asked, Found, is_for};

/// Weights of converters (`werkzeug/routing/converters.py`).
const NUMBER: i64 = 50;
const DEFAULT: i64 = 100;
const PATH: i64 = 200;

/// A part of a rule, between slashes: as the matcher compares it.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(String),
    Variable { weight: Weight, pieces: Vec<&'a Piece>, texts: Vec<String> },
}

/// `Weighting`: fewer literal texts come later, then shorter ones; fewer variables come later, then heavier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    literals: i64,
    lengths: Vec<(usize, i64)>,
    variables: i64,
    weights: Vec<i64>,
}

/// A rule that matches.
struct Match<'a> {
    rule: &'a Rule,
    /// Only by one slash more than the path has: it is redirected there.
    by_slash: bool,
}

/// The rule that comes first of those that match.
pub(super) fn most_literal<'a>(rules: &'a [Rule], asked: Asked<'_>) -> Found<'a> {
    // Slashes in a row are merged, by a redirect; what asks for a WebSocket is for other rules.
    if asked.path.contains("//") || asked.socket {
        return Found::Unsure;
    }
    let mut best: Option<Match<'_>> = None;
    for rule in rules.iter().filter(|rule| is_for(rule, asked.method)) {
        let found = match fit(rule, asked.path) {
            Ok(None) => continue,
            Ok(Some(found)) => found,
            Err(Unsure) => return Found::Unsure,
        };
        best = match best.take() {
            None => Some(found),
            Some(other) => match compare(&parts(rule), &parts(other.rule)) {
                Ordering::Less => Some(found),
                Ordering::Greater => Some(other),
                Ordering::Equal if other.rule.template == rule.template => Some(other),
                Ordering::Equal => return Found::Unsure,
            },
        };
    }
    match best {
        None => Found::Nothing,
        Some(Match { by_slash: true, .. }) => Found::Unsure,
        Some(Match { rule, by_slash: false }) => Found::Rule(rule.template.as_str().into()),
    }
}

fn fit<'a>(rule: &'a Rule, path: &str) -> Result<Option<Match<'a>>, Unsure> {
    match whole(&rule.pieces, path) {
        Fit::Yes => return Ok(Some(Match { rule, by_slash: false })),
        Fit::Maybe => return Err(Unsure),
        Fit::No => {}
    }
    // By one slash less or more it is either a redirect or served in an order of its own.
    let is_branch = rule.template.ends_with('/');
    let fit = if is_branch {
        whole(&rule.pieces, &format!("{path}/"))
    } else {
        let without_slash = path.strip_suffix('/').filter(|_| rule.target == Target::LenientEndpoint);
        without_slash.map_or(Fit::No, |path| whole(&rule.pieces, path))
    };
    match fit {
        Fit::No => Ok(None),
        Fit::Yes if is_branch && rule.target == Target::Endpoint => Ok(Some(Match { rule, by_slash: true })),
        Fit::Yes | Fit::Maybe => Err(Unsure),
    }
}

/// Which of two rules is come to first.
fn compare(one: &[Part<'_>], other: &[Part<'_>]) -> Ordering {
    for pair in one.iter().zip(other) {
        let order = match pair {
            (Part::Literal(_), Part::Variable { .. }) => Ordering::Less,
            (Part::Variable { .. }, Part::Literal(_)) => Ordering::Greater,
            (Part::Variable { weight, .. }, Part::Variable { weight: other, .. }) => weight.cmp(other),
            // Both match the same path.
            (Part::Literal(_), Part::Literal(_)) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
        if pair.0 != pair.1 {
            return Ordering::Equal;
        }
    }
    // Where one ends the other has another slash.
    one.len().cmp(&other.len())
}

fn parts(rule: &Rule) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut texts = vec![String::new()];
    let mut pieces: Vec<&Piece> = Vec::new();
    let mut is_final = false;
    for piece in &rule.pieces {
        let Piece::Literal(text) = piece else {
            is_final |= *piece == Piece::RestOfPath;
            pieces.push(piece);
            texts.push(String::new());
            continue;
        };
        for (index, text) in text.split('/').enumerate() {
            if index > 0 && !is_final {
                parts.push(part(&mut texts, &mut pieces));
            } else if index > 0 {
                texts.push(String::new());
            }
            if let Some(last) = texts.last_mut() {
                last.push_str(text);
            }
        }
    }
    parts.push(part(&mut texts, &mut pieces));
    parts
}

fn part<'a>(texts: &mut Vec<String>, pieces: &mut Vec<&'a Piece>) -> Part<'a> {
    let texts = std::mem::replace(texts, vec![String::new()]);
    let pieces = std::mem::take(pieces);
    if pieces.is_empty() {
        return Part::Literal(texts.concat());
    }
    let literals = texts.iter().filter(|text| !text.is_empty());
    let lengths: Vec<_> = literals.enumerate().map(|(index, text)| (index, -(text.len() as i64))).collect();
    let weights: Vec<_> = pieces.iter().map(|piece| weight(piece)).collect();
    let weight =
        Weight { literals: -(lengths.len() as i64), lengths, variables: -(weights.len() as i64), weights };
    Part::Variable { weight, pieces, texts }
}

fn weight(piece: &Piece) -> i64 {
    match piece {
        Piece::Digits | Piece::Fraction => NUMBER,
        Piece::RestOfPath => PATH,
        _ => DEFAULT,
    }
}
