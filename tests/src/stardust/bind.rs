//! JSON to fields, in the server's two ways: strict as System.Text.Json, lenient as `FastJson`.
//!
//! Invariant: property names are found whatever their case; unknown ones are ignored.

use jiff::civil;
use serde_json::{Map, Value};

/// Which of the server's two parsers reads the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Integers must be integers, numbers must not be null, strings must be strings.
    Strict,
    /// Converts what it can, skips nulls, and takes a default for the rest.
    Lenient,
}

/// A property does not fit its type: its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError(pub String);

/// An object whose properties are read by name.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    style: Style,
}

impl<'a> Fields<'a> {
    /// The value's properties, if it is an object.
    pub fn of(value: &'a Value, style: Style) -> Result<Self, BindError> {
        let map = value.as_object().ok_or_else(|| BindError("$".to_owned()))?;
        Ok(Self { map, style })
    }

    /// The property as it stands there.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// A string, which may be absent or null.
    pub fn text(&self, name: &str) -> Result<Option<String>, BindError> {
        match (self.value(name), self.style) {
            (None | Some(Value::Null), _) => Ok(None),
            (Some(Value::String(text)), Style::Strict) => Ok(Some(text.clone())),
            (Some(Value::String(text)), Style::Lenient) => Ok(Some(date_as_text(text))),
            (Some(_), Style::Strict) => Err(BindError(name.to_owned())),
            (Some(other), Style::Lenient) => Ok(Some(other.to_string())),
        }
    }

    /// An integer of the size of `T`; 0 if absent. A string of digits will do.
    pub fn integer<T: TryFrom<i64> + Default>(&self, name: &str) -> Result<T, BindError> {
        let number = match self.value(name) {
            None => return Ok(T::default()),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        match (number.and_then(|number| T::try_from(number).ok()), self.style) {
            (Some(number), _) => Ok(number),
            (None, Style::Strict) => Err(BindError(name.to_owned())),
            (None, Style::Lenient) => {
                let rounded =
                    self.value(name).and_then(Value::as_f64).map(|number| number.round_ties_even() as i64);
                Ok(rounded.and_then(|number| T::try_from(number).ok()).unwrap_or_default())
            }
        }
    }

    /// A floating-point number; 0 if absent.
    pub fn fraction(&self, name: &str) -> Result<f64, BindError> {
        let number = match self.value(name) {
            None => return Ok(0.0),
            Some(Value::String(text)) => text.parse().ok(),
            Some(other) => other.as_f64(),
        };
        match (number, self.style) {
            (Some(number), _) => Ok(number),
            (None, Style::Strict) => Err(BindError(name.to_owned())),
            (None, Style::Lenient) => Ok(0.0),
        }
    }

    /// A point in time as text: `yyyy-MM-dd[T ]HH:mm:ss`, with or without fraction and zone, or Unix s/ms.
    pub fn date(&self, name: &str) -> Result<Option<String>, BindError> {
        let text = match (self.value(name), self.style) {
            (None, _) | (Some(Value::Null), Style::Lenient) => return Ok(None),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(Value::Number(number)), _) if number.is_i64() => return Ok(Some(number.to_string())),
            _ => return Err(BindError(name.to_owned())),
        };
        let plain = text.trim_end_matches(" UTC");
        let readable = plain.parse::<civil::DateTime>().is_ok() || plain.parse::<jiff::Timestamp>().is_ok();
        match (readable, self.style) {
            (true, _) => Ok(Some(text)),
            (false, Style::Lenient) => Ok(None),
            (false, Style::Strict) => Err(BindError(name.to_owned())),
        }
    }

    /// An array of objects, which may be absent or null. A null element survives the strict parser as `None`;
    /// the lenient one drops it.
    pub fn list<T>(
        &self,
        name: &str,
        bind: impl Fn(Fields<'a>) -> Result<T, BindError>,
    ) -> Result<Option<Vec<Option<T>>>, BindError> {
        let elements = match self.value(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(elements)) => elements,
            Some(_) => return Err(BindError(name.to_owned())),
        };
        let mut bound = Vec::with_capacity(elements.len());
        for element in elements {
            match (element, self.style) {
                (Value::Null, Style::Strict) => bound.push(None),
                (Value::Null, Style::Lenient) => {}
                (element, style) => bound.push(Some(bind(Fields::of(element, style)?)?)),
            }
        }
        Ok(Some(bound))
    }

    /// An object, which may be absent or null.
    pub fn object(&self, name: &str) -> Result<Option<Fields<'a>>, BindError> {
        match self.value(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Fields::of(value, self.style).map(Some).map_err(|_| BindError(name.to_owned())),
        }
    }
}

/// The lenient parser takes `/Date(milliseconds)/` for a date, wherever it stands.
fn date_as_text(text: &str) -> String {
    text.strip_prefix("/Date(")
        .and_then(|rest| rest.strip_suffix(")/"))
        .map_or_else(|| text.to_owned(), |ms| super::rule::local_text(ms.parse().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!(12), Some(12), 12)]
    #[case(json!("12"), Some(12), 12)]
    #[case(json!(12.0), None, 12)]
    #[case(json!(12.5), None, 12)]
    #[case(json!(null), None, 0)]
    #[case(json!(true), None, 0)]
    #[case(json!("x"), None, 0)]
    #[case(json!(3_000_000_000_i64), None, 0)]
    fn integers(#[case] value: Value, #[case] strict: Option<i32>, #[case] lenient: i32) {
        let object = json!({ "tOTAL": value });
        let read = |style| Fields::of(&object, style).unwrap().integer::<i32>("Total");
        assert_eq!(read(Style::Strict).ok(), strict);
        assert_eq!(read(Style::Lenient), Ok(lenient));
    }

    #[rstest]
    #[case(json!("2026-08-02T10:00:00"), true)]
    #[case(json!("2026-08-02 10:00:00"), true)]
    #[case(json!("2026-08-02T10:00:00Z"), true)]
    #[case(json!("2026-08-02T10:00:00+08:00"), true)]
    #[case(json!("2026-08-02 10:00:00 UTC"), true)]
    #[case(json!(1_754_100_000), true)]
    #[case(json!("soon"), false)]
    #[case(json!(null), false)]
    fn dates(#[case] value: Value, #[case] accepted: bool) {
        let object = json!({ "StartTime": value });
        assert_eq!(Fields::of(&object, Style::Strict).unwrap().date("StartTime").is_ok(), accepted);
        assert!(Fields::of(&object, Style::Lenient).unwrap().date("StartTime").is_ok());
    }

    #[test]
    fn texts_and_lists() {
        let object = json!({ "Tag": 5, "Date": "/Date(0)/", "List": [null, {"A": 1}], "Bad": {} });
        let strict = Fields::of(&object, Style::Strict).unwrap();
        let lenient = Fields::of(&object, Style::Lenient).unwrap();
        assert_eq!(strict.text("Tag"), Err(BindError("Tag".to_owned())));
        assert_eq!(lenient.text("Tag"), Ok(Some("5".to_owned())));
        assert_ne!(lenient.text("Date"), strict.text("Date"));
        let bind = |fields: Fields<'_>| fields.integer::<i64>("A");
        assert_eq!(strict.list("List", bind), Ok(Some(vec![None, Some(1)])));
        assert_eq!(lenient.list("List", bind), Ok(Some(vec![Some(1)])));
        assert!(strict.list("Bad", bind).is_err());
    }
}
