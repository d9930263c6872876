//! The routes of an app, as its framework has them. Invariant: what of a rule is not known says so, and matches anything.

use serde::{Deserialize, Serialize};

/// An app's rules, in the order in which its framework has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// Which of several that match counts.
    pub order: Order,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Which rule counts of several that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The first one; where what stands behind a beginning does not match, the next is tried. Django's.
    First,
    /// The first one of the request's method, else the first one; a beginning that matches is final. Starlette's.
    FirstOfMethod,
    /// The one that has a literal segment where others have a variable one, else the lower weight. Werkzeug's.
    MostLiteral,
}

/// What a path may look like, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// As the framework writes it: `/users/<int:id>`.
    pub template: String,
    /// What matches it.
    pub pieces: Vec<Piece>,
    /// The methods that it is for; `None`: any.
    pub methods: Option<Vec<String>>,
    /// What it leads to.
    pub target: Target,
}

/// What a rule leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Code that answers requests.
    Endpoint,
    /// The same, where a request for the path with one `/` less or more is not sent there, but served.
    LenientEndpoint,
    /// Code that takes WebSocket connections.
    Socket,
    /// Further rules, for what is left of the path.
    Rules(Vec<Rule>),
}

/// A part of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// This text.
    Literal(String),
    /// ASCII digits.
    Digits,
    /// ASCII digits, perhaps with a point and more of them.
    Decimal,
    /// ASCII digits, a point, more of them.
    Fraction,
    /// Anything but a slash, at least one character.
    Segment,
    /// ASCII letters, digits, `-` and `_`.
    Slug,
    /// A UUID with its dashes, in lower case.
    LowerUuid,
    /// A UUID with its dashes.
    Uuid,
    /// A UUID, with or without each of its dashes.
    BareUuid,
    /// Anything, at least one character.
    Rest,
    /// Anything that does not begin with a slash, at least one character.
    RestOfPath,
    /// Anything or nothing.
    Anything,
    /// It is not known what.
    Unknown,
}
