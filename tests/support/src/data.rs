//! The data of the tests: the cut in `demo/`, and the whole data set if it lies beside the
//! repository.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use deltafold::format::Op;
use deltafold::jsonl;

/// Maps items of a table, with the id as `PK`, back to the records that they were made of.
pub const MAPPING: &str = r#"
[[rule]]
collection = "packages"
id = "{PK}"
document = "text"
embedding = "vector"
[rule.metadata]
section = "string"
version = "string"
priority = "string"
source = "string"
essential = "bool"
depends = "i64"
tags = "strings"
installed_kib = "i64"
download_mib = "f64"
"#;

/// A folder with `base.jsonl.zst`, `updates.jsonl.zst` and `expected.json`.
pub struct DataSet {
    base: PathBuf,
    updates: PathBuf,
    expected: serde_json::Value,
}

impl DataSet {
    /// The cut in the repository.
    pub fn demo() -> Self {
        Self::of(&repository().join("demo"), "debian-1500.jsonl.zst").expect("the demo data is part of the repository")
    }

    /// All 19,879 records: in `DELTAFOLD_DATA`, by default `../shared/data/debian-packages`. If
    /// they are missing, prints a note to standard error and returns `None`.
    pub fn whole() -> Option<Self> {
        let folder = std::env::var_os("DELTAFOLD_DATA")
            .map_or_else(|| repository().join("../shared/data/debian-packages"), PathBuf::from);
        let found = Self::of(&folder, "base.jsonl.zst");
        if found.is_none() {
            eprintln!("skipped: there is no data in {}; set DELTAFOLD_DATA", folder.display());
        }
        found
    }

    fn of(folder: &Path, base: &str) -> Option<Self> {
        let expected = std::fs::read(folder.join("expected.json")).ok()?;
        let expected = serde_json::from_slice(&expected).expect("expected.json is JSON");
        Some(Self { base: folder.join(base), updates: folder.join("updates.jsonl.zst"), expected })
    }

    pub fn base(&self) -> impl Iterator<Item = Op> + use<> {
        ops(&self.base)
    }

    pub fn updates(&self) -> impl Iterator<Item = Op> + use<> {
        ops(&self.updates)
    }

    pub fn base_path(&self) -> &Path {
        &self.base
    }

    pub fn updates_path(&self) -> &Path {
        &self.updates
    }

    pub fn expected_sha256(&self) -> &str {
        self.expected["state_sha256"].as_str().expect("a text")
    }

    /// Queries after all updates, each with the ids of its ten nearest records by squared Euclidean
    /// distance, and those distances to six digits. The cut has none.
    pub fn queries(&self) -> Vec<(Vec<f32>, Vec<String>, Vec<f64>)> {
        let path = self.base.with_file_name("queries.jsonl.zst");
        let Ok(file) = std::fs::File::open(path) else { return Vec::new() };
        let text = std::io::read_to_string(zstd::Decoder::new(file).expect("a zstd decoder")).expect("a text");
        let query = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let of = |key: &str| line[key].clone();
            let vector = serde_json::from_value(of("query")).expect("a vector");
            let ids = serde_json::from_value(of("ids")).expect("ids");
            (vector, ids, serde_json::from_value(of("l2")).expect("distances"))
        };
        text.lines().map(query).collect()
    }

    pub fn expected_records(&self) -> u64 {
        self.expected["records"].as_u64().expect("a count")
    }
}

/// The root of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The ops of a `.jsonl.zst` file.
pub fn ops(path: &Path) -> impl Iterator<Item = Op> + use<> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = std::io::BufReader::new(zstd::Decoder::new(file).expect("a zstd decoder")).split(b'\n');
    (1..).zip(lines).map(|(number, line)| jsonl::parse_op(&line.expect("a readable file"), number).expect("an op"))
}
