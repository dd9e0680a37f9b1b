//! A collection in a local folder: create, append, read, fold, sweep.
//!
//! `cargo run --example first_steps -- FOLDER`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use deltafold::format::{Op, Patch, Record, Value};
use deltafold::store::Dir;
use deltafold::{Collection, CompactorOptions, CreateOptions, SweepOptions, WriterOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder for the collection")?;
    run(Path::new(&folder)).await
}

async fn run(folder: &Path) -> Result<(), Box<dyn Error>> {
    let store = Arc::new(Dir::open(folder)?);
    let name = "articles".parse()?;
    let collection = Collection::create(store, &name, &CreateOptions::new(3)).await?;

    // An append is durable and ordered when it returns. One call is one place in the log.
    let writer = collection.writer(WriterOptions::default())?;
    let record = Record {
        embedding: Some(vec![0.1, 0.2, 0.3]),
        metadata: [("lang".to_owned(), Value::String("en".to_owned()))].into(),
        document: Some("An article.".to_owned()),
    };
    writer.append(vec![Op::put("a", record.clone()), Op::put("b", record)]).await?;

    // A reader sees every op that was acknowledged before it was opened or refreshed.
    let mut reader = collection.reader().await?;
    assert_eq!(reader.count().await?, 2);

    // A patch changes single fields. No vector is written again.
    let german = [("lang".to_owned(), Some(Value::String("de".to_owned())))].into();
    writer.append(vec![Op::patch("a", Patch { metadata: german, ..Patch::default() }), Op::delete("b")]).await?;
    reader.refresh().await?;
    let entry = reader.get("a").await?.ok_or("`a` was written")?;
    println!("{}: {:?}", entry.id, entry.record.metadata);
    assert!(!reader.contains("b").await?);

    // A compactor folds the log into a snapshot. Any number may run, in any process.
    let report = collection.compactor(CompactorOptions::default()).run_once().await?;
    for event in &report.events {
        println!("{:?}: {} ops became {} rows", event.kind, event.rows_in, event.rows_out);
    }

    // A sweep deletes objects that no reader and no writer can need any more.
    for (shard, swept) in collection.sweep(&SweepOptions::KEEP_NOTHING).await? {
        println!("shard {}: {} segments deleted", shard.get(), swept.segments);
    }
    writer.close().await?;
    Ok(())
}

#[cfg(test)]
#[tokio::test]
async fn the_example_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(folder.path()).await.expect("the example runs");
}
