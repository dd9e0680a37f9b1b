//! Clocks, medians, memory, and the raw primitives.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

pub(crate) fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// CPU time of the whole process, user and system.
pub(crate) fn cpu_time() -> Duration {
    cpu_time_of("self")
}

/// The same for another process, by its number.
pub(crate) fn cpu_time_of(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

/// A line of /proc/self/status, in bytes.
pub(crate) fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|text| text.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
        << 10
}

pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("?")
        .trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let total = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = total.lines().next().unwrap_or("").replace("MemTotal:", "").trim().to_owned();
    format!("{model}, {cores} cores, {total} memory, {}", std::env::consts::OS)
}

/// The raw durable write: temp file, fsync, hard link, fsync of the folder.
pub(crate) fn raw_create(folder: &Path, name: &str, bytes: &[u8]) {
    let (temp, target) = (folder.join(format!(".{name}.tmp")), folder.join(name));
    let mut file = File::create_new(&temp).expect("a fresh name");
    file.write_all(bytes).expect("space on the disk");
    file.sync_all().expect("fsync");
    fs::hard_link(&temp, &target).expect("a fresh name");
    File::open(folder).and_then(|folder| folder.sync_all()).expect("fsync of the folder");
    fs::remove_file(&temp).expect("the temp file is there");
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if let Ok(meta) = entry.metadata() {
            all.push((path, meta.len()));
        }
    }
    all.sort();
    all
}

/// Copies files durably, one after another, by raw calls: read, write, fsync, link, fsync.
pub(crate) fn raw_copy(files: &[(std::path::PathBuf, u64)], to: &Path) -> (u64, Duration) {
    fs::create_dir_all(to).expect("the folder can be made");
    let (bytes, time) = timed(|| {
        files
            .iter()
            .enumerate()
            .map(|(number, (path, bytes))| {
                raw_create(to, &format!("copy-{number}"), &fs::read(path).expect("the file is there"));
                bytes
            })
            .sum()
    });
    fs::remove_dir_all(to).expect("the copies are there");
    (bytes, time)
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
