//! The configuration of the function, from the environment.

use deltafold_format::CollectionName;

use super::serve_settings::ServeSettings;
use super::target::MappingFile;
use super::variables::Variables;
use crate::location::Location;
use crate::memory::MemoryLimit;
use crate::store::S3Address;

/// A log with this many segments is folded early.
const FOLD_SEGMENTS: u32 = 512;
/// The default of the templates.
const MAX_RECEIVES: u32 = 10;

/// A function with its configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) function: Function,
    pub(super) store: Location,
    /// Exactly one for functions that append. None for `serve`, and where `compact` finds them.
    pub(super) collections: Vec<CollectionName>,
    pub(super) mapping: Option<MappingFile>,
    /// The place of objects that messages may name.
    pub(super) objects: Option<S3Address>,
    /// The memory of readers and compactors.
    pub(super) memory: MemoryLimit,
}

#[derive(Debug)]
pub(super) enum Function {
    Ingest(IngestSettings),
    Forward {
        /// The queue's URL, ARN or name.
        queue: String,
        /// Message groups at most, besides those of poison records.
        groups: u32,
    },
    Compact,
    Serve(Box<ServeSettings>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct IngestSettings {
    /// The function that folds. Without one, this function folds in the remaining time.
    pub(super) compact: Option<String>,
    /// A log with this many segments is folded early.
    pub(super) fold_segments: u64,
    /// Receives after which the queue's redrive policy removes a message.
    pub(super) max_receives: u32,
}

impl Config {
    /// Reads the variables; an empty one counts as unset. The error lists everything that is wrong.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut variables = Variables::new(variable);
        let store = variables.store();
        let collections = variables.collections();
        let memory = variables.memory();
        let function = variables.function(&collections, memory);
        let mapping = variables.mapping();
        let objects = variables.objects();
        match (function, store, variables.mistakes()) {
            (Some(function), Some(store), None) => Ok(Self { function, store, collections, mapping, objects, memory }),
            (_, _, mistakes) => Err(mistakes.unwrap_or_default()),
        }
    }
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn store(&mut self) -> Option<Location> {
        let Some(text) = self.get("DELTAFOLD_STORE") else {
            let missing = "DELTAFOLD_STORE is not set; it says where collections lie: `s3://BUCKET/PREFIX`";
            self.refuse(missing);
            return None;
        };
        self.accept("DELTAFOLD_STORE", text.parse())
    }

    fn collections(&mut self) -> Vec<CollectionName> {
        let function = self.get("DELTAFOLD_FUNCTION");
        let names = match (function.as_deref(), self.get("DELTAFOLD_COLLECTION")) {
            (Some("serve"), _) => return Vec::new(),
            (Some("compact"), Some(names)) if names.trim() == "*" => return Vec::new(),
            (_, Some(names)) => names,
            (_, None) => {
                self.refuse("DELTAFOLD_COLLECTION is not set; it names the collection");
                return Vec::new();
            }
        };
        names.split(',').filter_map(|name| self.accept("DELTAFOLD_COLLECTION", name.trim().parse())).collect()
    }

    fn function(&mut self, collections: &[CollectionName], memory: MemoryLimit) -> Option<Function> {
        let name = self.get("DELTAFOLD_FUNCTION");
        let name = name.as_deref();
        if let Some(name @ ("ingest" | "forward")) = name
            && collections.len() > 1
        {
            self.refuse(format!("DELTAFOLD_COLLECTION names several collections; `{name}` takes one"));
        }
        match name {
            Some("ingest") => Some(Function::Ingest(IngestSettings {
                fold_segments: self.number("DELTAFOLD_FOLD_SEGMENTS", FOLD_SEGMENTS).into(),
                max_receives: self.number("DELTAFOLD_MAX_RECEIVES", MAX_RECEIVES),
                compact: self.get("DELTAFOLD_COMPACT_FUNCTION"),
            })),
            Some("forward") => {
                let groups = self.number("DELTAFOLD_GROUPS", 1);
                let queue = self.get("DELTAFOLD_QUEUE").unwrap_or_else(|| {
                    self.refuse("DELTAFOLD_QUEUE is not set; it names the FIFO queue to send to");
                    String::new()
                });
                Some(Function::Forward { queue, groups })
            }
            Some("compact") => Some(Function::Compact),
            Some("serve") => Some(Function::Serve(Box::new(ServeSettings::read(self, memory)))),
            other => {
                let is = other.map_or("is not set".to_owned(), |other| format!("is `{other}`"));
                self.refuse(format!("DELTAFOLD_FUNCTION {is}; it must be `ingest`, `compact`, `forward` or `serve`"));
                None
            }
        }
    }

    fn mapping(&mut self) -> Option<MappingFile> {
        let text = self.get("DELTAFOLD_MAPPING")?;
        let store = self.get("DELTAFOLD_STORE").unwrap_or_default();
        self.accept("DELTAFOLD_MAPPING", MappingFile::find(text.trim(), &store))
    }

    fn objects(&mut self) -> Option<S3Address> {
        let text = self.get("DELTAFOLD_OBJECTS")?;
        self.accept("DELTAFOLD_OBJECTS", text.trim().parse())
    }

    /// `DELTAFOLD_MEMORY`, or half of the function's memory as the service reports it. The other
    /// half is for the program, its connections, the event and the ops in flight. `serve` has
    /// several collections open, so each has a quarter.
    fn memory(&mut self) -> MemoryLimit {
        if let Some(text) = self.get("DELTAFOLD_MEMORY") {
            return self.accept("DELTAFOLD_MEMORY", text.parse()).unwrap_or_default();
        }
        let mib = self.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|size| size.trim().parse::<u64>().ok());
        let share = if self.get("DELTAFOLD_FUNCTION").as_deref() == Some("serve") { 4 } else { 2 };
        let part = mib.map(|mib| (mib.saturating_mul(1 << 20) / share).max(MemoryLimit::MIN));
        part.and_then(|part| MemoryLimit::new(part).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_function_reads_its_role_and_target() {
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
        let Function::Ingest(read_settings) = config.function else { panic!("{config:?}") };
        assert_eq!(read_settings, settings);
        assert_eq!(config.collections, ["c".parse().unwrap()]);
        let mapping = ("DELTAFOLD_MAPPING", "s3://bucket/prefix/maps/c.toml");
        let queue = ("DELTAFOLD_QUEUE", "q.fifo");
        let name = ("DELTAFOLD_COLLECTION", "c");
        let config = read(&[("DELTAFOLD_FUNCTION", "forward"), store, name, mapping, queue]).unwrap();
        let Function::Forward { queue, groups: 1 } = &config.function else { panic!("{config:?}") };
        assert_eq!(queue, "q.fifo");
        assert_eq!(config.mapping, Key::new("maps/c.toml").map(MappingFile::Object));
        let config = read(&[("DELTAFOLD_FUNCTION", "compact"), store, ("DELTAFOLD_COLLECTION", "a, b")]).unwrap();
        assert!(matches!(config.function, Function::Compact) && config.collections.len() == 2, "{config:?}");
        let config = read(&[("DELTAFOLD_FUNCTION", "compact"), store, ("DELTAFOLD_COLLECTION", "*")]).unwrap();
        assert_eq!(config.collections, [], "it finds them");
        let config = read(&[("DELTAFOLD_FUNCTION", "serve"), store, ("DELTAFOLD_OPEN_COLLECTIONS", "3")]).unwrap();
        let Function::Serve(settings) = config.function else { panic!("{config:?}") };
        assert_eq!((settings.options.open_collections, settings.fold_segments), (3, 64));
    }

    #[test]
    fn memory_is_a_share_of_the_function_unless_it_is_set() {
        let limit = |variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(other, _)| *other == name);
            let variable = |name: &str| find(name).map(|(_, value)| (*value).to_owned());
            let mut variables = Variables::new(variable);
            let limit = variables.memory();
            variables.mistakes().map_or(Ok(limit.bytes() >> 20), Err)
        };
        assert_eq!(limit(&[]), Ok(256));
        let size = |mib| ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", mib);
        assert_eq!(limit(&[size("1024")]), Ok(512));
        assert_eq!(limit(&[size("1024"), ("DELTAFOLD_FUNCTION", "serve")]), Ok(256));
        assert_eq!(limit(&[size("128")]), Ok(64), "the minimum is half of the smallest function");
        assert_eq!(limit(&[size("1024"), ("DELTAFOLD_MEMORY", "700MiB")]), Ok(700));
        for wrong in ["63MiB", "700", "a"] {
            let refused = limit(&[("DELTAFOLD_MEMORY", wrong)]).unwrap_err();
            assert!(refused.starts_with("DELTAFOLD_MEMORY: "), "{refused}");
        }
    }

    #[test]
    fn an_error_names_every_wrong_variable() {
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
                ("DELTAFOLD_MAPPING", "none.toml"),
                ("DELTAFOLD_OBJECTS", "./bulk"),
            ],
            &["several", "DELTAFOLD_FOLD_SEGMENTS", "cannot read the mapping from `none.toml`", "DELTAFOLD_OBJECTS: "],
        );
        words(
            &[("DELTAFOLD_FUNCTION", "forward"), ("DELTAFOLD_STORE", "s3://b/p"), ("DELTAFOLD_MAPPING", "s3://b/q/m")],
            &["DELTAFOLD_QUEUE is not set", "`s3://b/p/NAME`"],
        );
        words(
            &[("DELTAFOLD_FUNCTION", "serve"), ("DELTAFOLD_AUTH", "x"), ("DELTAFOLD_OPEN_COLLECTIONS", "0")],
            &["DELTAFOLD_STORE is not set", "DELTAFOLD_AUTH is `x`", "DELTAFOLD_OPEN_COLLECTIONS is `0`"],
        );
    }
}
