//! Follows the log of one collection and keeps a copy up to date in another store.
//!
//! The copy appends each segment with its sequence number as its position. A replica that crashed
//! and starts again repeats segments, and none takes effect twice.
//!
//! `cargo run --example replicate`

use std::error::Error;
use std::sync::Arc;

use deltafold::format::{Op, Record, Sequence, ShardId};
use deltafold::store::Memory;
use deltafold::{Collection, CreateOptions, FollowOptions, Writer, WriterOptions};
use futures::TryStreamExt as _;

/// Copies what the log of a shard holds by now. Returns the number of ops that were new.
async fn replicate(from: &Collection, to: &Writer, shard: ShardId) -> Result<usize, Box<dyn Error>> {
    // The name of the source: one log, so its sequence numbers only grow.
    let source = format!("{}/{}", from.name(), shard.get());
    // A replica that keeps the position of its last op begins there: `FollowOptions::after`.
    let mut log = from.follow(shard, FollowOptions::default().until_tail(true))?;
    let (mut segment, mut ops, mut copied) = (Sequence::FIRST, Vec::new(), 0);
    while let Some((position, op)) = log.try_next().await? {
        if position.sequence() != segment {
            copied += append(to, &source, segment, std::mem::take(&mut ops)).await?;
            segment = position.sequence();
        }
        ops.push(op);
    }
    Ok(copied + append(to, &source, segment, ops).await?)
}

async fn append(to: &Writer, source: &str, segment: Sequence, ops: Vec<Op>) -> Result<usize, Box<dyn Error>> {
    let count = ops.len();
    let ack = to.append_from(source, u128::from(segment.get()), ops).await?;
    Ok(if ack.is_duplicate() { 0 } else { count })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = CreateOptions::new(2).shards(2);
    let name = "articles".parse()?;
    let original = Collection::create(Arc::new(Memory::new()), &name, &options).await?;
    let copy = Collection::create(Arc::new(Memory::new()), &name, &options).await?;

    let writer = original.writer(WriterOptions::default())?;
    let record = |number: u16| Record { embedding: Some(vec![f32::from(number), 1.0]), ..Record::default() };
    let ops = (0..1_000).map(|number| Op::put(format!("r{number:03}"), record(number)));
    writer.append(ops.collect()).await?;
    writer.append(vec![Op::delete("r007")]).await?;

    let replica = copy.writer(WriterOptions::default())?;
    for round in ["first", "second"] {
        for shard in ShardId::all(options.shards) {
            let copied = replicate(&original, &replica, shard).await?;
            println!("{round} round, shard {}: {copied} ops copied", shard.get());
            assert_eq!(copied > 0, round == "first", "the second round repeats ops, and none takes effect");
        }
    }
    let entries = async |collection: &Collection| {
        let entries = collection.reader().await?.scan(Default::default());
        entries.map_ok(|entry| (entry.id, entry.record)).try_collect::<Vec<_>>().await
    };
    assert_eq!(entries(&original).await?, entries(&copy).await?, "the copy holds the same records");
    Ok(())
}

#[cfg(test)]
#[test]
fn the_example_runs() {
    main().expect("the example runs");
}
