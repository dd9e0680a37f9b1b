//! Nearest neighbours with filters, exactly and approximately.
//!
//! `cargo run --example search`

use std::error::Error;
use std::sync::Arc;

use deltafold::format::{Metric, Op, Record, Value};
use deltafold::store::Memory;
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Exactness, Filter, Find, Include, Query, Warm, WriterOptions,
};
use futures::TryStreamExt as _;

const DIMENSION: u32 = 8;

/// An embedding that a model would make of a text.
fn embedding(number: u64) -> Vec<f32> {
    (0..u64::from(DIMENSION)).map(|at| ((number * 37 + at * 101) as f32).sin()).collect()
}

fn article(number: u64) -> Op {
    let lang = if number.is_multiple_of(3) { "de" } else { "en" };
    let metadata = [
        ("year".to_owned(), Value::I64(2000 + (number % 25) as i64)),
        ("lang".to_owned(), Value::String(lang.to_owned())),
    ];
    let document =
        Some(format!("Article {number} about {}.", if number.is_multiple_of(2) { "storage" } else { "search" }));
    Op::put(
        format!("article-{number:04}"),
        Record { embedding: Some(embedding(number)), metadata: metadata.into(), document },
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = CreateOptions::new(DIMENSION).metric(Metric::Cosine);
    let collection = Collection::create(Arc::new(Memory::new()), &"articles".parse()?, &options).await?;
    let writer = collection.writer(WriterOptions::default())?;
    writer.append((0..1_000).map(article).collect()).await?;

    collection.compactor(CompactorOptions::default()).run_once().await?;
    writer.append(vec![article(1_000)]).await?;

    // A search finds folded records and ops that were acknowledged a moment ago, in one pass.
    let reader = collection.reader().await?;
    let near = Query::new(embedding(7), 3);
    let recent = Filter::at_least("year", 2015).and(Filter::equals("lang", "en"));
    let filtered = near.clone().filter(recent.clone()).include(Include::ALL);
    let likely = near.clone().exactness(Exactness::Approximate { candidates: 100 });
    let answers = reader.search(&[near, filtered, likely]).await?;
    for (what, answer) in ["exact", "filtered", "approximate"].iter().zip(&answers) {
        println!("{what}: {} embeddings read in full precision", answer.work.read);
        for hit in &answer.hits {
            println!("  {:.4} {}", hit.distance, hit.entry.id);
        }
    }
    assert_eq!(answers[0].hits[0].entry.id, "article-0007", "the nearest of a vector is its own record");

    // The same filters find records without a vector, and read JSON as Chroma writes it.
    let storage = recent.and(Filter::document_contains("storage"));
    println!("{storage}");
    let found: Vec<_> = reader.find(&Find::new(storage).limit(5)).await?.try_collect().await?;
    assert_eq!(found.len(), 5);
    let german: Filter = r#"{"$and": [{"lang": "de"}, {"year": {"$lt": 2005}}]}"#.parse()?;
    let found: Vec<_> = reader.find(&Find::new(german)).await?.try_collect().await?;
    println!("{} German articles before 2005", found.len());

    // A reader that answers many queries brings codes and columns into memory first.
    let warmth = reader.warm(&Warm::default().columns().bytes()).await?;
    println!("{} bytes in memory", warmth.memory_bytes);
    Ok(())
}

#[cfg(test)]
#[test]
fn the_example_runs() {
    main().expect("the example runs");
}
