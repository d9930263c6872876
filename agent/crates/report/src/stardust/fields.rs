//! The server's answers, read without regard to the letter case of their names.
//!
//! Invariant: a member that is missing, null or of another type reads as `None`. The server writes `camelCase`, its
//! command frames and older forks write `PascalCase`.

use serde_json::{Map, Value};

/// A JSON object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// `value`, if it is an object.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    /// The member `name`, null like missing.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        let exact = self.0.get(name);
        let found =
            exact.or_else(|| self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v));
        found.filter(|value| !value.is_null())
    }

    /// A whole number. The server writes those past 2^53 as strings.
    pub(super) fn int(self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(digits) => digits.trim().parse().ok(),
            _ => None,
        }
    }

    /// A text that is not empty.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A truth value.
    pub(super) fn bool(self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// An array.
    pub(super) fn list(self, name: &str) -> Option<&'a [Value]> {
        self.get(name)?.as_array().map(Vec::as_slice)
    }

    /// An object.
    pub(super) fn object(self, name: &str) -> Option<&'a Map<String, Value>> {
        self.get(name)?.as_object()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn letter_case_does_not_matter() {
        let value = json!({"Token": "t", "expire": 7200, "ID": "9007199254740993", "none": null, "empty": "",
            "half": 0.5, "Configs": {"a": "b"}, "list": [1]});
        let fields = Fields::of(&value).expect("an object");
        assert_eq!(fields.text("token"), Some("t"));
        assert_eq!(fields.int("Expire"), Some(7200));
        assert_eq!(fields.int("Id"), Some(9_007_199_254_740_993));
        assert_eq!(fields.int("half"), None);
        assert!(
            fields.get("none").is_none() && fields.text("empty").is_none() && fields.get("gone").is_none()
        );
        assert_eq!(fields.object("configs").map(Map::len), Some(1));
        assert_eq!(fields.list("List").map(<[Value]>::len), Some(1));
        assert!(Fields::of(&json!([1])).is_none());
    }
}
