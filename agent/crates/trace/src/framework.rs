//! Finds the rule of an app's framework that a request goes to, by the framework's own order.
//!
//! Invariant: the rule is told only if it is certain. Where one that is not known in full might match before it, or where
//! two stand equal, none is.

mod literal;
mod pieces;

use std::borrow::Cow;
use std::sync::Arc;

use model::{Order, Piece, Routes, Rule, Target};
use rustc_hash::FxHashMap;

use crate::text::percent_decode;
use literal::most_literal;
use pieces::{Fit, prefixes, whole};

/// Most processes whose routes are known at once.
const MAX_PROCESSES: usize = 4096;
/// Longer paths are not looked at.
const MAX_PATH_BYTES: usize = 2048;
/// Rules lead to rules at most so deep.
const MAX_DEPTH: usize = 16;

/// A request, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// As it was sent, without the query.
    pub(crate) path: &'a str,
    /// It asks to go on as a WebSocket.
    pub(crate) socket: bool,
}

/// The routes of every process that told of them.
#[derive(Debug, Default)]
pub(crate) struct Frameworks {
    known: FxHashMap<u32, Arc<Routes>>,
    /// Processes that were asked for a path that none of their rules matches, as far as these are known.
    strangers: Vec<u32>,
}

impl Frameworks {
    /// The routes of a process.
    pub(crate) fn learn(&mut self, pid: u32, routes: Arc<Routes>) {
        if self.known.len() < MAX_PROCESSES || self.known.contains_key(&pid) {
            self.known.insert(pid, routes);
        }
    }

    /// A child has its parent's memory.
    pub(crate) fn fork(&mut self, parent: u32, child: u32) {
        if let Some(routes) = self.known.get(&parent) {
            self.learn(child, routes.clone());
        }
    }

    /// The process is gone, or another program.
    pub(crate) fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// The template of the rule that a request goes to.
    pub(crate) fn find(&mut self, pid: u32, asked: Asked<'_>) -> Option<Arc<str>> {
        let found = self.known.get(&pid).map_or(Found::Nothing, |routes| find(routes, asked));
        if found == Found::Nothing
            && self.strangers.last() != Some(&pid)
            && self.strangers.len() < MAX_PROCESSES
        {
            self.strangers.push(pid);
        }
        match found {
            Found::Rule(template) => Some(template.into()),
            Found::Nothing | Found::Unsure => None,
        }
    }

    /// The processes that were asked for something unknown, since the last call. Some may be there more than once.
    pub(crate) fn strangers(&mut self) -> std::vec::Drain<'_, u32> {
        self.strangers.drain(..)
    }
}

/// What rules say of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found<'a> {
    Rule(Cow<'a, str>),
    /// None matches.
    Nothing,
    /// It cannot be told.
    Unsure,
}

fn find<'a>(routes: &'a Routes, asked: Asked<'_>) -> Found<'a> {
    let path = percent_decode(asked.path);
    let is_odd = |c: char| c.is_control() || c == '\u{fffd}';
    if asked.path.len() > MAX_PATH_BYTES || path.contains(is_odd) {
        return Found::Unsure;
    }
    let asked = Asked { path: &path, ..asked };
    match routes.order {
        Order::First => first(&routes.rules, "", asked, 0),
        Order::FirstOfMethod => first_of_method(&routes.rules, "", asked, 0),
        Order::MostLiteral => most_literal(&routes.rules, asked),
    }
}

/// Django's: `URLResolver.resolve`.
fn first<'a>(rules: &'a [Rule], before: &str, asked: Asked<'_>, depth: usize) -> Found<'a> {
    if depth >= MAX_DEPTH {
        return Found::Unsure;
    }
    for rule in rules {
        match &rule.target {
            Target::Rules(below) => match prefixes(&rule.pieces, asked.path) {
                Ok(rest) => match rest[..] {
                    [] => {}
                    [rest] => {
                        let template = join(before, &rule.template);
                        let found = first(below, &template, Asked { path: rest, ..asked }, depth + 1);
                        if found != Found::Nothing {
                            return found;
                        }
                    }
                    [..] => return Found::Unsure,
                },
                Err(_) => return Found::Unsure,
            },
            _ => match whole(&rule.pieces, asked.path) {
                Fit::No => {}
                Fit::Maybe => return Found::Unsure,
                Fit::Yes => return Found::Rule(join(before, &rule.template)),
            },
        }
    }
    Found::Nothing
}

/// Starlette's: `Router.app`.
fn first_of_method<'a>(rules: &'a [Rule], before: &str, asked: Asked<'_>, depth: usize) -> Found<'a> {
    if depth >= MAX_DEPTH {
        return Found::Unsure;
    }
    let mut of_path = None;
    for rule in rules {
        if let Target::Rules(below) = &rule.target {
            let Ok(mut rest) = prefixes(&rule.pieces, asked.path) else { return Found::Unsure };
            rest.retain(|rest| rest.starts_with('/'));
            match rest[..] {
                [] => continue,
                [rest] => {
                    let template = join(before, &rule.template);
                    return first_of_method(below, &template, Asked { path: rest, ..asked }, depth + 1);
                }
                [..] => return Found::Unsure,
            }
        }
        // What is known of neither is for both.
        let is_known = !rule.pieces.contains(&Piece::Unknown);
        if is_known && asked.socket != (rule.target == Target::Socket) {
            continue;
        }
        match whole(&rule.pieces, asked.path) {
            Fit::No => {}
            Fit::Maybe => return Found::Unsure,
            Fit::Yes if asked.socket || is_for(rule, asked.method) => {
                return Found::Rule(join(before, &rule.template));
            }
            Fit::Yes => {
                of_path.get_or_insert(rule);
            }
        }
    }
    of_path.map_or(Found::Nothing, |rule| Found::Rule(join(before, &rule.template)))
}

fn is_for(rule: &Rule, method: &str) -> bool {
    rule.methods.as_ref().is_none_or(|methods| methods.iter().any(|known| known == method))
}

fn join<'a>(before: &str, template: &'a str) -> Cow<'a, str> {
    if before.is_empty() { template.into() } else { format!("{before}{template}").into() }
}

#[cfg(test)]
mod tests;
