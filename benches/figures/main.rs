//! The figures that Deltafold promises, each against the raw primitive measured in the same run.
//!
//! `cargo bench` runs them all in about fifteen minutes, with 8 GiB of disk.
//! `cargo bench -- open absorb` runs those whose names contain one of the words.
//! `DELTAFOLD_BENCH_RECORDS` sets the number of records (1,000,000), `DELTAFOLD_BENCH_DIR` the
//! folder (the target folder). Prints a table, and JSON into `target/figures.json`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod append;
mod bulk;
mod data;
mod day;
mod large;
mod measure;
#[cfg(feature = "s3")]
mod s3;

use std::io::Write as _;
use std::path::PathBuf;

/// One measured figure.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// The measured figure, with its unit.
    pub(crate) measured: String,
    /// The raw primitive or bound it is compared with.
    pub(crate) against: String,
    /// The number that the goal is about.
    pub(crate) value: f64,
    pub(crate) goal: Goal,
}

/// The goal of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    fn met(&self) -> &'static str {
        match self.goal {
            Goal::AtMost(goal) if self.value <= goal => "yes",
            Goal::AtLeast(goal) if self.value >= goal => "yes",
            _ => "NO",
        }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::AtMost(goal) => format!("<= {goal}"),
            Goal::AtLeast(goal) => format!(">= {goal}"),
        }
    }
}

/// The folder and the size of a run.
pub(crate) struct Setting {
    pub(crate) folder: PathBuf,
    pub(crate) records: usize,
}

impl Setting {
    /// A new folder. All folders are removed at the end: a deletion keeps a file system busy for a
    /// while.
    pub(crate) fn fresh(&self) -> PathBuf {
        tempfile::tempdir_in(&self.folder).expect("a folder").keep()
    }
}

type Bench = fn(&Setting) -> Vec<Figure>;

const BENCHES: &[(&str, Bench)] = &[
    ("append", append::one_caller),
    ("callers", append::many_callers),
    ("refresh", append::refresh),
    ("bulk-fold-open", bulk::bulk_fold_open),
    ("absorb", large::absorb),
    ("day-puts", day::puts),
    ("day-patches", day::patches),
    #[cfg(feature = "s3")]
    ("s3-append", s3::one_caller),
    #[cfg(feature = "s3")]
    ("s3-callers", s3::many_callers),
    #[cfg(feature = "s3")]
    ("s3-contention", s3::contention),
    #[cfg(feature = "s3")]
    ("s3-bulk", s3::bulk_and_open),
    #[cfg(feature = "s3")]
    ("s3-fold", s3::fold),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(child) = std::env::var_os("DELTAFOLD_BENCH_CHILD") {
        #[cfg(feature = "s3")]
        if child == "server" {
            return s3::serve(&words);
        }
        return large::child(&child.to_string_lossy(), &words);
    }
    let folder = std::env::var_os("DELTAFOLD_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/figures"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("the folder for the benchmark's files can be made");
    // Others may have files in that folder.
    let scratch = tempfile::tempdir_in(&folder).expect("the folder for the benchmark's files is writable");
    let records = std::env::var("DELTAFOLD_BENCH_RECORDS").ok().and_then(|text| text.parse().ok());
    let setting = Setting { folder: scratch.path().to_owned(), records: records.unwrap_or(1_000_000) };
    println!("{}", measure::machine());
    println!("{} records of {} dimensions, files in {}\n", setting.records, data::DIMENSION, setting.folder.display());
    let mut figures = Vec::new();
    for (name, bench) in BENCHES {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            eprintln!("running {name} ...");
            for figure in bench(&setting) {
                eprintln!("  {}: {} against {} -> {:.2}", figure.name, figure.measured, figure.against, figure.value);
                figures.push(figure);
            }
        }
    }
    println!("| figure | measured | against | value | goal | met |\n|---|---|---|---|---|---|");
    for figure in &figures {
        let Figure { name, measured, against, value, .. } = figure;
        println!("| {name} | {measured} | {against} | {value:.2} | {} | {} |", figure.goal(), figure.met());
    }
    let json: Vec<_> = figures
        .iter()
        .map(|f| serde_json::json!({"figure": f.name, "measured": f.measured, "against": f.against, "value": f.value, "goal": f.goal(), "met": f.met()}))
        .collect();
    let json = serde_json::json!({"machine": measure::machine(), "records": setting.records, "figures": json});
    let path = folder.with_file_name("figures.json");
    let mut file = std::fs::File::create(&path).expect("the folder of the figures is writable");
    writeln!(file, "{json:#}").expect("the figures can be written");
    println!("\n{}", path.display());
    scratch.close().expect("the files of the benchmark can be removed");
}
