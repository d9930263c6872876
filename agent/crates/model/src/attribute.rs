//! What is said of a span beside its own fields. Invariant: a span has each name at most once.

use std::sync::Arc;

/// A named value of a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// The name, from OpenTelemetry's semantic conventions where they have one: `db.operation.name`.
    pub name: &'static str,
    /// The value, redacted.
    pub value: AttributeValue,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// A text; shared, for many spans of a connection say the same.
    Text(Arc<str>),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl AttributeValue {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) => None,
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for AttributeValue {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for AttributeValue {
    /// A count past `i64::MAX` stays at it.
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for AttributeValue {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

/// As it is shown to people: a text without quotes.
impl std::fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Bool(yes) => yes.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_plainly() {
        for (value, shown) in [
            (AttributeValue::from("a b"), "a b"),
            (AttributeValue::from(-7_i64), "-7"),
            (AttributeValue::from(u64::MAX), "9223372036854775807"),
            (AttributeValue::from(1.5), "1.5"),
            (AttributeValue::from(true), "true"),
        ] {
            assert_eq!(value.to_string(), shown);
        }
    }
}
