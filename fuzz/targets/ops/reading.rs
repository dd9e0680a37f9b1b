//! Compares reads with the log.

use std::collections::BTreeMap;

use deltafold::format::{Position, Sequence, ShardId};
use deltafold::{Entry, Order, Reader, Result, ScanOptions};
use deltafold_fuzz::store::{Faulty, Log};
use deltafold_testing::model::{Model, untied};
use futures::TryStreamExt;

/// The records of the log up to one slot of each shard.
fn model(log: &Log, tails: &BTreeMap<ShardId, Sequence>) -> Model {
    let mut model = Model::default();
    for ((shard, sequence), ops) in log {
        if tails.get(shard).is_none_or(|tail| sequence > tail) {
            continue;
        }
        for (index, op) in ops.iter().enumerate() {
            match op.revision {
                Some(_) => model.revise(op.clone(), *shard),
                None => {
                    let position = Position::new(*sequence, index).expect("no segment here holds many ops");
                    model.apply(op.clone(), *shard, position);
                }
            }
        }
    }
    model
}

/// The last slot of each shard that a reader sees.
pub(crate) fn tails(reader: &Reader) -> BTreeMap<ShardId, Sequence> {
    reader.positions().into_iter().map(|position| (position.shard, position.tail)).collect()
}

/// Checks that a reader sees all ops acknowledged before it was opened or refreshed.
pub(crate) fn sees(reader: &Reader, floors: &BTreeMap<ShardId, Position>) {
    let tails = tails(reader);
    for (shard, floor) in floors {
        assert!(tails.get(shard).is_some_and(|tail| *tail >= floor.sequence()), "a reader misses an acknowledged op");
    }
}

/// Checks that every way to read agrees with the log up to the reader's tails.
pub(crate) async fn check(reader: &Reader, store: &Faulty) -> Result<()> {
    let model = store.with_log(|log| {
        let tails = tails(reader);
        for (shard, tail) in &tails {
            assert!(
                *tail == Sequence::ZERO || log.contains_key(&(*shard, *tail)),
                "a reader sees an op that is not in the log"
            );
        }
        model(log, &tails)
    });
    let scan = |order| reader.scan(ScanOptions::default().order(order)).map_ok(untied);
    let found: Vec<Entry> = scan(Order::Id).try_collect().await?;
    assert_eq!(found, model.by_id());
    let found: Vec<Entry> = scan(Order::Insertion).try_collect().await?;
    assert_eq!(found, model.by_insertion());
    assert_eq!(reader.count().await?, model.records.len() as u64);
    let ids: Vec<String> =
        ["zz", "", "a0"].into_iter().map(str::to_owned).chain(model.records.keys().cloned()).collect();
    let found = reader.get_many(&ids).await?;
    for (id, found) in ids.iter().zip(found) {
        assert_eq!(found.map(untied).as_ref(), model.records.get(id));
    }
    Ok(())
}
