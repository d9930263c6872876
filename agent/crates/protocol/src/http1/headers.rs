//! The fields of a head as a value. All text stands in one allocation; the ends of each name and value say
//! where to cut it, so a lookup slices and never copies.

use std::fmt;
use std::ops::Range;

/// The fields of a head, in order, as sent (obs-fold joined by a space, surrounding white space removed,
/// bytes that are not UTF-8 replaced by U+FFFD).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// Where each field's name and its value end in `text`; the name begins where the field before ended.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// The first field of this name, compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this name, in order, compared without case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.places().filter_map(move |(key, value)| {
            // Most names differ in length already.
            let is_it = key.len() == name.len() && self.text[key].eq_ignore_ascii_case(name);
            is_it.then(|| &self.text[value])
        })
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places().map(|(key, value)| (&self.text[key], &self.text[value]))
    }

    /// Where each field's name and its value stand in `text`.
    fn places(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let mut begin = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let name_begin = std::mem::replace(&mut begin, value_end);
            (name_begin..name_end, name_end..value_end)
        })
    }

    pub(super) fn with_capacity(text_bytes: usize, fields: usize) -> Self {
        Self { text: String::with_capacity(text_bytes), ends: Vec::with_capacity(fields) }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a field; white space around the value is removed.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.append(value.trim_ascii());
        self.ends.push((name_end, self.text.len()));
    }

    /// Adds a folded line to the last field (RFC 9112 section 5.2: a space stands for the fold).
    pub(super) fn fold(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        let Some((name_end, value_end)) = self.ends.pop() else { return };
        if value_end > name_end && !value.is_empty() {
            self.text.push(' ');
        }
        self.append(value);
        self.ends.push((name_end, self.text.len()));
    }
}

impl Headers {
    fn append(&mut self, bytes: &[u8]) {
        match str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(_) => self.text.push_str(&String::from_utf8_lossy(bytes)),
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    /// Fields as given; white space around values is removed.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            headers.push(name, value.as_bytes());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_fields_up_without_case_and_in_order() {
        let headers: Headers =
            [("Host", "a"), ("X-A", " 1 "), ("x-a", "2"), ("Empty", "")].into_iter().collect();
        assert_eq!(headers.get("HOST"), Some("a"));
        assert_eq!(headers.all("X-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers.get("empty"), Some(""));
        assert_eq!(headers.get("none"), None);
        assert_eq!(headers.iter().last(), Some(("Empty", "")));
    }

    #[test]
    fn a_fold_is_a_space() {
        let mut headers = Headers::default();
        headers.fold(b" nothing to join");
        headers.push("A", b"one");
        headers.fold(b"\t two");
        headers.fold(b"   ");
        headers.push("B", b"");
        headers.fold(b" first");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("A", "one two"), ("B", "first")]);
    }

    #[test]
    fn where_a_name_ends_matters_to_equality() {
        let ab: Headers = [("a", "bc")].into_iter().collect();
        let other: Headers = [("ab", "c")].into_iter().collect();
        assert_ne!(ab, other);
    }
}
