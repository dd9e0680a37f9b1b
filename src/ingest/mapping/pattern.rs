//! Patterns of texts: `*` stands for any number of characters, none included.

/// Several alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patterns(pub(super) Vec<String>);

impl Patterns {
    pub(super) fn match_text(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, text))
    }

    /// The same for the ARN of a stream, or of a table. A table fits if a stream of it would.
    pub(super) fn match_arn(&self, arn: &str) -> bool {
        let of_table = |pattern: &String| pattern.split_once("/stream/").is_some_and(|(table, _)| matches(table, arn));
        self.match_text(arn) || (!arn.contains("/stream/") && self.0.iter().any(of_table))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        // The first match leaves the most text to the parts that follow.
        match text.find(part) {
            Some(at) => text = text.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything_and_all_else_itself() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("*", "", true),
            ("*", "anything # at / all", true),
            ("RECEIPT#*#LINE#*", "RECEIPT#1#LINE#2", true),
            ("RECEIPT#*#LINE#*", "RECEIPT#1#WORD#2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*a", "banana", true),
            ("*a", "banan", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("a**", "a", true),
            ("é*", "éa", true),
            ("*é", "aé", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    proptest::proptest! {
        /// Against the definition: a star takes no character, or takes one and tries again.
        #[test]
        fn a_pattern_equals_its_definition(pattern in "[ab*é]{0,8}", text in "[abé]{0,8}") {
            fn defined(pattern: &[char], text: &[char]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, rest) => rest.is_none(),
                    (Some(('*', after)), rest) => {
                        defined(after, text) || rest.is_some_and(|(_, rest)| defined(pattern, rest))
                    }
                    (Some((one, after)), Some((other, rest))) => one == other && defined(after, rest),
                    (Some(_), None) => false,
                }
            }
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            proptest::prop_assert_eq!(matches(&pattern, &text), defined(&p, &t));
        }
    }
}
