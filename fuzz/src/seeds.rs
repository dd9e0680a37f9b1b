//! The first inputs of the fuzzers: the golden objects, real records in every kind of object, and
//! real lines.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use deltafold::format::{Action, Op, Revision};
use deltafold::store::{Memory, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, KEEP_TOMBSTONES, WriterOptions, jsonl};

/// The length of the embeddings in seeds. It is small, because short inputs mutate better.
pub const DIMENSION: u32 = 4;

/// The folder for the seeds. A fuzzer with this variable writes them and does nothing else.
const FOLDER: &str = "DELTAFOLD_FUZZ_SEEDS";

/// If the environment asks for them, writes the seeds and ends the program.
pub fn write_if_asked(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    for (number, seed) in seeds().into_iter().enumerate() {
        let path = folder.join(format!("seed-{number:04}"));
        if let Err(error) = std::fs::write(&path, seed) {
            eprintln!("cannot write {}: {error}", path.display());
            std::process::exit(1);
        }
    }
    std::process::exit(0);
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The golden objects of every format version, sound ones and damaged twins.
pub fn golden() -> Vec<Bytes> {
    let versions = std::fs::read_dir(repository().join("format/golden")).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = versions
        .filter_map(|version| std::fs::read_dir(version.path()).ok())
        .flat_map(|folder| folder.flatten().map(|file| file.path()))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the golden objects are part of the repository");
    paths.into_iter().map(|path| std::fs::read(path).expect("a golden object can be read").into()).collect()
}

/// The first lines of the real records and of their real updates. They come from the whole set if
/// `DELTAFOLD_DATA` or the folder beside the repository has it, else from the cut in `demo/`.
pub fn lines(count: usize) -> (Vec<String>, Vec<String>) {
    let whole = std::env::var_os("DELTAFOLD_DATA")
        .map_or_else(|| repository().join("../shared/data/debian-packages"), PathBuf::from);
    let (folder, base) = match whole.join("base.jsonl.zst").exists() {
        true => (whole, "base.jsonl.zst"),
        false => (repository().join("demo"), "debian-1500.jsonl.zst"),
    };
    let read = |name: &str| -> Vec<String> {
        let file = std::fs::File::open(folder.join(name)).expect("the demo data is part of the repository");
        let lines = BufReader::new(zstd::Decoder::new(file).expect("a zstd decoder")).lines();
        lines.take(count).map(|line| line.expect("the data is text")).collect()
    };
    (read(base), read("updates.jsonl.zst"))
}

/// Real ops, their embeddings cut to [`DIMENSION`].
pub fn ops(count: usize) -> (Vec<Op>, Vec<Op>) {
    let (base, updates) = lines(count);
    let op = |line: String| {
        let mut op = jsonl::parse_op(line.as_bytes(), 1).expect("the data is ops");
        let cut = |embedding: &mut Vec<f32>| embedding.truncate(DIMENSION as usize);
        match &mut op.action {
            Action::Put(record) | Action::Add(record) => record.embedding.iter_mut().for_each(cut),
            Action::Upsert(patch) | Action::Patch(patch) => {
                if let deltafold::format::Change::Set(embedding) = &mut patch.embedding {
                    cut(embedding);
                }
            }
            Action::Delete => {}
        }
        op
    };
    (base.into_iter().map(op).collect(), updates.into_iter().map(op).collect())
}

/// Every object of two small collections of real records, one ordered by its log and one by
/// revision: segments, parts, manifests and registers.
pub fn objects() -> Vec<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime of one thread");
    runtime.block_on(async {
        let mut all = Vec::new();
        for by_revision in [false, true] {
            let store = Memory::new();
            fill(&store, by_revision).await.expect("a store in memory does not fail");
            let listed = store.list_after("", None, 1_000).await.expect("a store in memory does not fail");
            for object in listed {
                let object = store.get(&object.key).await.expect("a store in memory does not fail");
                all.extend(object.map(|object| object.bytes));
            }
        }
        all
    })
}

async fn fill(store: &Memory, by_revision: bool) -> deltafold::Result<()> {
    let options = CreateOptions::new(DIMENSION);
    let options = if by_revision { options.by_revision(KEEP_TOMBSTONES) } else { options };
    let name = "seeds".parse().expect("it is a name");
    let collection = Collection::create(Arc::new(store.clone()), &name, &options).await?;
    let writer = collection.writer(WriterOptions::default())?;
    let mut compactor = collection.compactor(CompactorOptions::default());
    let (base, updates) = ops(9);
    let mut revision = 0;
    let mut numbered = |ops: &[Op]| -> Vec<Op> {
        let op = |op: &Op| {
            revision += 1;
            if by_revision { op.clone().at(Revision::new(revision)) } else { op.clone() }
        };
        ops.iter().map(op).collect()
    };
    // Ops that patch, delete and insert anew, over a base and over nothing.
    let ids: Vec<String> = base.iter().map(|op| op.id.clone()).collect();
    let patches: Vec<Op> = ids.iter().zip(&updates).map(|(id, op)| Op { id: id.clone(), ..op.clone() }).collect();
    let mut rounds: Vec<Vec<Op>> = base.chunks(3).map(<[Op]>::to_vec).collect();
    rounds.extend(patches.chunks(4).map(<[Op]>::to_vec));
    rounds.extend([ids.iter().step_by(2).map(Op::delete).collect(), updates.clone(), base]);
    for (number, round) in rounds.iter().enumerate() {
        writer.append_from("queue", number as u128 + 1, numbered(round)).await?;
        if number % 2 == 1 {
            compactor.run_once().await?;
        }
        if number == 4 {
            collection.pin("kept", None).await?;
        }
    }
    compactor.merge_all().await?;
    writer.append(numbered(&updates)).await?;
    writer.close().await
}
