//! What the environment says the function is to do.

use deltafold_format::CollectionName;

use crate::location::Location;

/// The log is folded before its time when it holds so many segments.
const FOLD_SEGMENTS: u32 = 512;
/// As the templates have it.
const MAX_RECEIVES: u32 = 10;

/// A function and where it works.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) function: Function,
    pub(super) store: Location,
    /// One at least.
    pub(super) collections: Vec<CollectionName>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Function {
    Ingest(IngestSettings),
    Compact,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct IngestSettings {
    /// The function that folds; without one, this does in the time that is left.
    pub(super) compact: Option<String>,
    /// A log of so many segments is folded before its time.
    pub(super) fold_segments: u64,
    /// How often a message is received before the queue's redrive policy takes it away.
    pub(super) max_receives: u32,
}

impl Config {
    /// Reads the variables; one that is empty is not set. The error tells all that is wrong.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut wrong = Vec::new();
        let store = match variable("DELTAFOLD_STORE").map(|store| store.parse::<Location>()) {
            Some(Ok(store)) => Some(store),
            Some(Err(error)) => {
                wrong.push(format!("DELTAFOLD_STORE: {error}"));
                None
            }
            None => {
                wrong
                    .push("DELTAFOLD_STORE is not set; it says where collections lie: `s3://BUCKET/PREFIX`".to_owned());
                None
            }
        };
        let mut collections = Vec::new();
        for name in variable("DELTAFOLD_COLLECTION").iter().flat_map(|names| names.split(',')) {
            match name.trim().parse() {
                Ok(name) => collections.push(name),
                Err(error) => wrong.push(format!("DELTAFOLD_COLLECTION: {error}")),
            }
        }
        if collections.is_empty() && wrong.iter().all(|wrong| !wrong.starts_with("DELTAFOLD_COLLECTION")) {
            wrong.push("DELTAFOLD_COLLECTION is not set; it names the collection".to_owned());
        }
        let function = match variable("DELTAFOLD_FUNCTION").as_deref() {
            Some("ingest") => {
                if collections.len() > 1 {
                    wrong.push("DELTAFOLD_COLLECTION names several collections; `ingest` appends to one".to_owned());
                }
                let mut number = |name: &str, default: u32| {
                    let Some(text) = variable(name) else { return default };
                    text.trim().parse().ok().filter(|number| *number > 0).unwrap_or_else(|| {
                        wrong.push(format!("{name} is `{text}`, which is no number from 1 to {}", u32::MAX));
                        default
                    })
                };
                Some(Function::Ingest(IngestSettings {
                    fold_segments: number("DELTAFOLD_FOLD_SEGMENTS", FOLD_SEGMENTS).into(),
                    max_receives: number("DELTAFOLD_MAX_RECEIVES", MAX_RECEIVES),
                    compact: variable("DELTAFOLD_COMPACT_FUNCTION"),
                }))
            }
            Some("compact") => Some(Function::Compact),
            other => {
                let is = other.map_or("is not set".to_owned(), |other| format!("is `{other}`"));
                wrong.push(format!("DELTAFOLD_FUNCTION {is}; it must be `ingest` or `compact`"));
                None
            }
        };
        if variable("DELTAFOLD_MAPPING").is_some() {
            wrong.push("DELTAFOLD_MAPPING is set, and this program maps nothing: messages must hold ops".to_owned());
        }
        match (function, store) {
            (Some(function), Some(store)) if wrong.is_empty() => Ok(Self { function, store, collections }),
            _ => Err(wrong.join(". ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_function_says_what_it_is_and_where_it_works() {
        let store = ("DELTAFOLD_STORE", "s3://bucket/prefix");
        let config = read(&[
            ("DELTAFOLD_FUNCTION", "ingest"),
            store,
            ("DELTAFOLD_COLLECTION", "c"),
            ("DELTAFOLD_MAPPING", ""),
            ("DELTAFOLD_COMPACT_FUNCTION", "fold"),
            ("DELTAFOLD_FOLD_SEGMENTS", "8"),
        ])
        .unwrap();
        let settings = IngestSettings { compact: Some("fold".to_owned()), fold_segments: 8, max_receives: 10 };
        assert_eq!(config.function, Function::Ingest(settings));
        assert_eq!(config.collections, ["c".parse().unwrap()]);
        let config = read(&[("DELTAFOLD_FUNCTION", "compact"), store, ("DELTAFOLD_COLLECTION", "a, b")]).unwrap();
        assert_eq!((config.function, config.collections.len()), (Function::Compact, 2));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let words = |variables: &[(&str, &str)], words: &[&str]| {
            let said = read(variables).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        };
        words(&[], &["DELTAFOLD_FUNCTION is not set", "DELTAFOLD_STORE is not set", "DELTAFOLD_COLLECTION is not set"]);
        words(
            &[("DELTAFOLD_FUNCTION", "fold"), ("DELTAFOLD_STORE", "gs://x"), ("DELTAFOLD_COLLECTION", "Ä")],
            &["DELTAFOLD_FUNCTION is `fold`", "gs://x", "DELTAFOLD_COLLECTION: "],
        );
        words(
            &[
                ("DELTAFOLD_FUNCTION", "ingest"),
                ("DELTAFOLD_STORE", "./x"),
                ("DELTAFOLD_COLLECTION", "a,b"),
                ("DELTAFOLD_FOLD_SEGMENTS", "0"),
            ],
            &["several", "DELTAFOLD_FOLD_SEGMENTS"],
        );
    }
}
