//! Werkzeug's order (`werkzeug/routing/matcher.py`): part by part of the path, literal ones first, variable ones by weight.

use std::cmp::Ordering;

use model::{Piece, Rule, Target};

use super::pieces::{Fit, whole};
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

/// The rule that comes first of those that match.
pub(super) fn most_literal(rules: &[Rule], asked: Asked<'_>) -> Found {
    // Slashes in a row are merged, by a redirect; what asks for a WebSocket is for other rules.
    if asked.path.contains("//") || asked.socket {
        return Found::Unsure;
    }
    let with_slash = format!("{}/", asked.path);
    let without_slash = asked.path.strip_suffix('/');
    let mut best: Option<(&Rule, Vec<Part<'_>>, bool)> = None;
    for rule in rules.iter().filter(|rule| is_for(rule, asked.method)) {
        let fits = |path: &str| whole(&rule.pieces, path);
        let is_branch = rule.template.ends_with('/');
        let (fit, is_served) = match (fits(asked.path), is_branch) {
            (Fit::No, true) => (fits(&with_slash), rule.target == Target::Endpoint),
            (Fit::No, false) if rule.target == Target::LenientEndpoint => {
                (without_slash.map_or(Fit::No, fits), true)
            }
            (fit, _) => (fit, false),
        };
        // By one slash less or more it is either a redirect or served in an order of its own.
        let by_slash = fits(asked.path) == Fit::No;
        match fit {
            Fit::No => continue,
            Fit::Maybe => return Found::Unsure,
            Fit::Yes if by_slash && !(is_branch && is_served) => return Found::Unsure,
            Fit::Yes => {}
        }
        let parts = parts(rule);
        best = match best.take() {
            None => Some((rule, parts, by_slash)),
            Some((other, others, other_by_slash)) => match compare(&parts, &others) {
                Ordering::Less => Some((rule, parts, by_slash)),
                Ordering::Greater => Some((other, others, other_by_slash)),
                Ordering::Equal if other.template == rule.template => Some((other, others, other_by_slash)),
                Ordering::Equal => return Found::Unsure,
            },
        };
    }
    match best {
        None => Found::Nothing,
        // It is redirected.
        Some((_, _, true)) => Found::Unsure,
        Some((rule, _, false)) => Found::Rule(rule.template.clone()),
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
