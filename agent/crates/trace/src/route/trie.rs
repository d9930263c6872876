//! Learns which places in paths hold values: where too many different words were seen, they become one
//! `{*}`. Invariant: below any place there are at most `max_children` words, whatever is learned.

use std::collections::BTreeMap;

/// What stands for merged words.
const ANY: &str = "{*}";

/// The paths seen so far. Templates begin with `/` and have placeholders in braces.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, Node>,
    /// How many of the children are words.
    words: usize,
    /// Words go to `{*}`.
    merged: bool,
}

/// Placeholders are few, and the empty segment behind a last slash is one.
fn is_word(segment: &str) -> bool {
    !segment.is_empty() && !segment.starts_with('{')
}

fn segments(template: &str) -> impl Iterator<Item = &str> {
    template.strip_prefix('/').unwrap_or(template).split('/')
}

impl Trie {
    /// Writes the route of a template that is known whole. Writes nothing and gives false if it is not.
    pub(super) fn find(&self, template: &str, route: &mut String) -> bool {
        let start = route.len();
        let mut node = &self.root;
        for segment in segments(template) {
            let key = if node.merged && is_word(segment) { ANY } else { segment };
            let Some(child) = node.children.get(key) else {
                route.truncate(start);
                return false;
            };
            route.push('/');
            route.push_str(key);
            node = child;
        }
        true
    }

    /// Takes a template in and writes its route.
    pub(super) fn learn(&mut self, template: &str, max_children: usize, route: &mut String) {
        let mut node = &mut self.root;
        for segment in segments(template) {
            if is_word(segment) && !node.children.contains_key(segment) && !node.merged {
                if node.words >= max_children {
                    node.merge(max_children);
                } else {
                    node.words += 1;
                }
            }
            let key = if node.merged && is_word(segment) { ANY } else { segment };
            route.push('/');
            route.push_str(key);
            node = node.children.entry(key.into()).or_default();
        }
    }
}

impl Node {
    /// Makes one child of all words.
    fn merge(&mut self, max_children: usize) {
        self.merged = true;
        self.words = 0;
        let mut any = self.children.remove(ANY).unwrap_or_default();
        let (words, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.children).into_iter().partition(|(segment, _)| is_word(segment));
        self.children = others.into_iter().collect();
        for (_, child) in words {
            any.absorb(child, max_children);
        }
        self.children.insert(ANY.into(), any);
    }

    /// Takes in all that is below `other`. The depth of a template bounds the recursion.
    fn absorb(&mut self, other: Self, max_children: usize) {
        for (segment, child) in other.children {
            self.children.entry(segment).or_default().absorb(child, max_children);
        }
        self.words = self.children.keys().filter(|segment| is_word(segment)).count();
        if self.words > 0 && (self.merged || other.merged || self.words > max_children) {
            self.merge(max_children);
        }
        self.merged |= other.merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(trie: &mut Trie, template: &str) -> String {
        let mut route = String::new();
        trie.learn(template, 3, &mut route);
        let mut found = String::new();
        assert!(trie.find(template, &mut found), "{template}");
        assert_eq!(found, route);
        route
    }

    #[test]
    fn merging_keeps_what_is_below() {
        let mut trie = Trie::default();
        for word in ["a", "b", "c"] {
            assert_eq!(learn(&mut trie, &format!("/u/{word}/posts")), format!("/u/{word}/posts"));
        }
        assert_eq!(learn(&mut trie, "/u/{id}/likes"), "/u/{id}/likes");
        assert_eq!(learn(&mut trie, "/u/d"), "/u/{*}");
        assert_eq!(learn(&mut trie, "/u/a/posts"), "/u/{*}/posts");
        let mut route = String::new();
        assert!(trie.find("/u/never/posts", &mut route));
        assert_eq!(route, "/u/{*}/posts");
        assert!(!trie.find("/u/never/heard", &mut route));
        assert_eq!(route, "/u/{*}/posts");
        assert_eq!(learn(&mut trie, "/u/{id}/likes"), "/u/{id}/likes");
        assert_eq!(learn(&mut trie, "/u/"), "/u/");
    }

    #[test]
    fn merging_merges_below_too() {
        let mut trie = Trie::default();
        for (word, leaf) in [("a", "1x"), ("a", "2x"), ("b", "3x"), ("c", "4x")] {
            learn(&mut trie, &format!("/{word}/{leaf}"));
        }
        assert_eq!(learn(&mut trie, "/d/5x"), "/{*}/{*}");
        assert_eq!(learn(&mut trie, "/a/1x"), "/{*}/{*}");
    }
}
