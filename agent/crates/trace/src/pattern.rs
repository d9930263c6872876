//! Wildcard patterns. Invariant: a pattern matches the whole text or nothing; case does not matter.

/// `*` stands for any characters, also none; `?` for exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    chars: Vec<char>,
}

/// Longest pattern, in characters.
const MAX_CHARS: usize = 256;

impl Pattern {
    /// `None` if the text is empty or longer than 256 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let mut chars: Vec<char> = text.trim().chars().map(|c| c.to_ascii_lowercase()).collect();
        chars.dedup_by(|b, a| *a == '*' && *b == '*');
        (1..=MAX_CHARS).contains(&chars.len()).then_some(Self { chars })
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        // Where to go on after a mismatch: behind the last `*`, one character of the text further.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            let wanted = self.chars.get(at).copied();
            if wanted == Some('*') {
                at += 1;
                retry = Some((at, before));
                continue;
            }
            match (rest.next(), wanted) {
                (None, None) => return true,
                (Some(c), Some(w)) if w == '?' || w == c.to_ascii_lowercase() => at += 1,
                (None, Some(_)) => return false,
                (Some(_), _) => {
                    let Some((star, from)) = &mut retry else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    at = *star;
                    rest = from.clone();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_texts() {
        for (pattern, text, want) in [
            ("/health", "/health", true),
            ("/health", "/healthz", false),
            ("/health*", "/healthz", true),
            ("GET /H*", "get /health", true),
            ("*.js", "/static/app.js", true),
            ("*.js", "/static/app.jsx", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*", "", true),
            ("**a**", "bab", true),
            ("*a*b*c", "xxaxxbxxcxc", true),
            ("*a*b*c", "xxaxxcxx", false),
            ("?ü", "äü", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        assert_eq!(Pattern::parse("  "), None);
        assert_eq!(Pattern::parse(&"x".repeat(257)), None);
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = Pattern::parse(&"*a".repeat(120)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(2000))));
    }
}
