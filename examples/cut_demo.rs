//! Cuts the demo data out of the whole:
//! `cargo run --example cut_demo -- <folder with base.jsonl.zst and updates.jsonl.zst>`.
//!
//! Takes records with notable updates first: patches, puts over present records, deletes. Fills up
//! to 1,500 with others, both in the order of the source. Keeps the updates that touch them plus a
//! few that insert. Writes `demo/debian-1500.jsonl.zst`, `demo/updates.jsonl.zst` and
//! `demo/expected.json`, with unchanged lines.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use deltafold::format::{Action, Op, Record};
use deltafold::jsonl::parse_op;
use deltafold_testing::canonical;

const RECORDS: usize = 1_500;
/// Records of the cut that the updates touch. The other updates of present records are left out.
const TOUCHED: usize = 400;
/// Updates that insert a record which the base lacks.
const INSERTED: usize = 40;

type Lines = Vec<(String, Op)>;

fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args_os().nth(1).ok_or("name the folder that holds the data")?;
    let source = Path::new(&source);
    let base = read(&source.join("base.jsonl.zst"))?;
    let updates = read(&source.join("updates.jsonl.zst"))?;

    let present: HashSet<&str> = base.iter().map(|(_, op)| op.id.as_str()).collect();
    let chosen = choose(&base, &updates, &present);
    let base: Vec<_> = base.iter().filter(|(_, op)| chosen.contains(op.id.as_str())).collect();
    let mut inserted: HashSet<&str> = HashSet::new();
    let mut kept = Vec::new();
    for update in &updates {
        let id = update.1.id.as_str();
        let inserts = matches!(update.1.action, Action::Put(_) | Action::Add(_)) && !present.contains(id);
        if inserts && inserted.len() < INSERTED {
            inserted.insert(id);
        }
        if chosen.contains(id) || inserted.contains(id) {
            kept.push(update);
        }
    }

    let mut state: BTreeMap<&str, Record> = BTreeMap::new();
    for (_, op) in base.iter().chain(&kept) {
        apply(&mut state, op);
    }
    write(Path::new("demo/debian-1500.jsonl.zst"), &base)?;
    write(Path::new("demo/updates.jsonl.zst"), &kept)?;
    let expected = format!(
        "{{\n \"base_ops\": {},\n \"update_ops\": {},\n \"records\": {},\n \"state_sha256\": \"{}\",\n \"state_canonical_form\": \"{}\"\n}}\n",
        base.len(),
        kept.len(),
        state.len(),
        canonical::sha256(state.iter().map(|(id, record)| (*id, record))),
        "one JSON line [id, metadata, document] a record, keys sorted, no spaces, UTF-8, ids in byte order",
    );
    std::fs::write("demo/expected.json", &expected)?;
    print!("{expected}");
    Ok(())
}

/// The ids of the cut.
fn choose<'a>(base: &'a Lines, updates: &'a Lines, present: &HashSet<&str>) -> HashSet<&'a str> {
    let of_kind = |wanted: fn(&Action) -> bool| {
        updates
            .iter()
            .filter(move |(_, op)| wanted(&op.action) && present.contains(op.id.as_str()))
            .map(|(_, op)| op.id.as_str())
    };
    let deletes = of_kind(|action| matches!(action, Action::Delete)).take(30);
    let puts = of_kind(|action| matches!(action, Action::Put(_))).take(30);
    let others = of_kind(|action| !matches!(action, Action::Delete | Action::Put(_)));
    let mut chosen = HashSet::new();
    for id in deletes.chain(puts).chain(others) {
        if chosen.len() < TOUCHED {
            chosen.insert(id);
        }
    }
    let touched: HashSet<&str> = updates.iter().map(|(_, op)| op.id.as_str()).collect();
    for (_, op) in base {
        if chosen.len() < RECORDS && !touched.contains(op.id.as_str()) {
            chosen.insert(&op.id);
        }
    }
    chosen
}

fn apply<'a>(state: &mut BTreeMap<&'a str, Record>, op: &'a Op) {
    let id = op.id.as_str();
    match op.action.clone() {
        Action::Put(record) => drop(state.insert(id, record)),
        Action::Add(record) => drop(state.entry(id).or_insert(record)),
        Action::Upsert(patch) => {
            let old = state.remove(id).unwrap_or_default();
            state.insert(id, patch.apply(old));
        }
        Action::Patch(patch) => {
            if let Some(old) = state.remove(id) {
                state.insert(id, patch.apply(old));
            }
        }
        Action::Delete => drop(state.remove(id)),
    }
}

fn read(path: &Path) -> Result<Lines, Box<dyn Error>> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(zstd::Decoder::new(file)?).lines()) {
        let line = line?;
        let op = parse_op(line.as_bytes(), number)?;
        lines.push((line, op));
    }
    Ok(lines)
}

fn write(path: &Path, lines: &[&(String, Op)]) -> Result<(), Box<dyn Error>> {
    let mut out = zstd::Encoder::new(std::fs::File::create(path)?, 19)?;
    out.include_checksum(true)?;
    for (line, _) in lines {
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.finish()?.sync_all()?;
    Ok(())
}
