//! A model test. Ops are appended, folded, merged and swept in any order. Every way to read must
//! give the result of the ops applied one by one.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use deltafold::format::{Action, Metric, Op, Position, Revision, ShardId};
use deltafold::store::{Memory, Store};
use deltafold::{
    Collection, CompactorOptions, CreateOptions, Entry, ErrorKind, Filter, Find, Include, KEEP_TOMBSTONES, Order,
    Policy, Query, Reader, ScanOptions, SweepOptions, Writer, WriterOptions,
};
use deltafold_testing::model::{self, Model, untied};
use futures::TryStreamExt;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Deed {
    /// Ops, and the revision of each where the collection is ordered by revision.
    Append(Vec<(Op, u8)>),
    /// Folds everything, and merges by the policy.
    Compact,
    MergeAll,
    Sweep,
    /// Moves the reader on and checks it.
    Refresh,
    /// Opens another reader and checks it.
    Open,
}

/// The options of a scan.
#[derive(Debug, Clone)]
struct Question {
    prefix: Option<String>,
    start: Bound<String>,
    end: Bound<String>,
    limit: Option<usize>,
    embeddings: bool,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => proptest::collection::vec((model::op(), any::<u8>()), 1..12).prop_map(Deed::Append),
        3 => Just(Deed::Compact),
        1 => Just(Deed::MergeAll),
        1 => Just(Deed::Sweep),
        2 => Just(Deed::Refresh),
        1 => Just(Deed::Open),
    ];
    proptest::collection::vec(deed, 1..25)
}

fn question() -> impl Strategy<Value = Question> {
    let id = || "[a-eé]{0,2}";
    let bound = || {
        prop_oneof![
            2 => Just(Bound::Unbounded),
            1 => id().prop_map(Bound::Included),
            1 => id().prop_map(Bound::Excluded),
        ]
    };
    (proptest::option::of("[a-eé]{0,1}"), bound(), bound(), proptest::option::of(0..9usize), any::<bool>())
        .prop_map(|(prefix, start, end, limit, embeddings)| Question { prefix, start, end, limit, embeddings })
}

/// Never merges; merges pairs of a tier and never the base; merges as usual.
fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::default().fan_in(usize::MAX).absorb_one_in(0)),
        Just(Policy::default().fan_in(2).absorb_one_in(0)),
        Just(Policy::default()),
    ]
}

/// The ops for a collection ordered by revision. It has no `add`, and the model cannot rank two ops
/// that do the same at one revision.
fn revised(model: &Model, ops: Vec<(Op, u8)>) -> Vec<Op> {
    let mut known = model.clone();
    let op = |(op, revision): (Op, u8)| {
        let action = if let Action::Add(record) = op.action { Action::Put(record) } else { op.action };
        // Few revisions collide, and some are beyond 64 bits.
        Op::new(op.id, action).at(Revision::new(u128::from(revision) << (revision % 2 * 100)))
    };
    let mut kept = Vec::new();
    for op in ops.into_iter().map(op) {
        if !known.collides(&op) {
            known.revise(op.clone(), ShardId::default());
            kept.push(op);
        }
    }
    kept
}

async fn append(writer: &Writer, shards: u16, by_revision: bool, model: &mut Model, ops: Vec<(Op, u8)>) {
    let ops = if by_revision { revised(model, ops) } else { ops.into_iter().map(|(op, _)| op).collect() };
    let ack = writer.append(ops.clone()).await.unwrap();
    let mut index: BTreeMap<ShardId, usize> = BTreeMap::new();
    for op in ops {
        let shard = ShardId::of(&op.id, shards);
        let (_, sequence) = ack.segments().iter().find(|(written, _)| *written == shard).unwrap();
        let index = index.entry(shard).or_default();
        match by_revision {
            true => model.revise(op, shard),
            false => model.apply(op, shard, Position::new(*sequence, *index).unwrap()),
        }
        *index += 1;
    }
}

async fn scanned(reader: &Reader, order: Order, question: &Question) -> deltafold::Result<Vec<Entry>> {
    let Question { prefix, start, end, limit, embeddings } = question.clone();
    reader
        .scan(
            ScanOptions::default()
                .order(order)
                .prefix(prefix)
                .start(start)
                .end(end)
                .limit(limit)
                .embeddings(embeddings),
        )
        .map_ok(untied)
        .try_collect()
        .await
}

fn expected(all: Vec<Entry>, question: &Question) -> Vec<Entry> {
    let asked = |entry: &Entry| {
        (question.start.clone(), question.end.clone()).contains(&entry.id)
            && entry.id.starts_with(question.prefix.as_deref().unwrap_or(""))
    };
    let mut answer: Vec<Entry> = all.into_iter().filter(asked).take(question.limit.unwrap_or(usize::MAX)).collect();
    if !question.embeddings {
        answer.iter_mut().for_each(|entry| entry.record.embedding = None);
    }
    answer
}

/// Every way to read agrees with the model.
async fn check(reader: &Reader, model: &Model, questions: &[Question]) -> deltafold::Result<()> {
    assert_eq!(reader.count().await?, model.records.len() as u64);
    let all: Vec<Entry> = reader.scan(ScanOptions::default()).map_ok(untied).try_collect().await?;
    assert_eq!(all, model.by_id());
    let by_insertion = ScanOptions::default().order(Order::Insertion);
    let all: Vec<Entry> = reader.scan(by_insertion).map_ok(untied).try_collect().await?;
    assert_eq!(all, model.by_insertion());
    for question in questions {
        let found = scanned(reader, Order::Id, question).await?;
        assert_eq!(found, expected(model.by_id(), question), "{question:?}");
        let found = scanned(reader, Order::Insertion, question).await?;
        assert_eq!(found, expected(model.by_insertion(), question), "{question:?}");
    }
    let ids: Vec<String> =
        ["zz", "a", ""].into_iter().map(str::to_owned).chain(model.records.keys().cloned()).collect();
    let found = reader.get_many(&ids).await?;
    for (id, found) in ids.iter().zip(found) {
        assert_eq!(found.map(untied).as_ref(), model.records.get(id));
        assert_eq!(reader.get(id).await?.map(untied).as_ref(), model.records.get(id));
        assert_eq!(reader.contains(id).await?, model.records.contains_key(id));
    }
    search(reader, model).await?;
    find(reader, model).await
}

/// Every search agrees with a plain scan of every record.
async fn search(reader: &Reader, model: &Model) -> deltafold::Result<()> {
    let vectors = [[0.0, 0.0], [1.0, 2.0], [-3.0, 0.5], [4.0, -4.0]];
    let queries = vectors.map(|vector| Query::new(vector.to_vec(), 5));
    let answers = reader.search(&queries).await?;
    let all = model.by_insertion();
    for (query, answer) in queries.iter().zip(answers) {
        let mut expected: Vec<(f64, &Entry)> = Vec::new();
        for entry in &all {
            if let Some(embedding) = &entry.record.embedding {
                expected.push((distance(reader.metric(), &query.vector, embedding), entry));
            }
        }
        // A stable sort keeps the order of insertion at equal distances.
        expected.sort_by(|a, b| a.0.total_cmp(&b.0));
        expected.truncate(query.k);
        let expected: Vec<(f64, &str)> = expected.iter().map(|(distance, entry)| (*distance, &*entry.id)).collect();
        let found: Vec<(f64, &str)> = answer.hits.iter().map(|hit| (hit.distance, &*hit.entry.id)).collect();
        assert_eq!(found, expected, "{query:?}");
        for hit in &answer.hits {
            let mut record = model.records[&hit.entry.id].clone();
            record.record.embedding = None;
            assert_eq!(untied(hit.entry.clone()), record);
        }
    }
    Ok(())
}

/// Every way to find by a filter agrees with the filter applied to every record.
async fn find(reader: &Reader, model: &Model) -> deltafold::Result<()> {
    let filters = [
        r#"{"k":{"$gt":0}}"#,
        r##"{"#document":{"$contains":"x"}}"##,
        r#"{"$or":[{"l":{"$ne":"x"}},{"m":{"$gt":0}}]}"#,
        r##"{"#document":{"$not_contains":"y"}}"##,
    ];
    for filter in filters {
        let filter: Filter = filter.parse().unwrap();
        let matcher = filter.matcher().unwrap();
        let matching =
            |all: Vec<Entry>| all.into_iter().filter(|entry| matcher.matches(&entry.record)).collect::<Vec<_>>();
        assert_eq!(reader.count_matching(&filter).await?, matching(model.by_id()).len() as u64);
        for (order, all) in [(Order::Id, model.by_id()), (Order::Insertion, model.by_insertion())] {
            let find = Find::new(filter.clone()).order(order).include(Include::ALL).offset(1).limit(Some(4));
            let found: Vec<Entry> = reader.find(&find).await?.map_ok(untied).try_collect().await?;
            assert_eq!(found, matching(all).into_iter().skip(1).take(4).collect::<Vec<_>>(), "{filter:?} {order:?}");
        }
        let query = Query::new(vec![1.0, 1.0], 3).filter(filter);
        let answer = reader.search(std::slice::from_ref(&query)).await?.remove(0);
        let mut near: Vec<(f64, String)> = Vec::new();
        for entry in matching(model.by_insertion()) {
            if let Some(embedding) = &entry.record.embedding {
                near.push((distance(reader.metric(), &query.vector, embedding), entry.id));
            }
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(3);
        let found: Vec<_> = answer.hits.into_iter().map(|hit| (hit.distance, hit.entry.id)).collect();
        assert_eq!(found, near, "{query:?}");
    }
    let all = Find::all().include(Include::ALL);
    let found: Vec<Entry> = reader.find(&all).await?.map_ok(untied).try_collect().await?;
    assert_eq!(found, model.by_insertion());
    Ok(())
}

/// By the definition. All numbers here are small, so no order of addition rounds.
fn distance(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    match metric {
        Metric::L2 => query.iter().zip(row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum(),
        Metric::InnerProduct => 1.0 - dot(query, row),
        // In the engine's order of operations, so that both round alike.
        Metric::Cosine => match (dot(query, query) * dot(row, row)).sqrt() {
            0.0 => 1.0,
            norms => 1.0 - (dot(query, row) / norms).clamp(-1.0, 1.0),
        },
    }
}

async fn run(
    store: Arc<dyn Store>,
    shards: u16,
    metric: Metric,
    by_revision: bool,
    policy: Policy,
    deeds: Vec<Deed>,
    questions: Vec<Question>,
) {
    let name = "model".parse().unwrap();
    let options = CreateOptions::new(2).shards(shards).metric(metric);
    let options = if by_revision { options.by_revision(KEEP_TOMBSTONES) } else { options };
    let collection = Collection::create(store, &name, &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let mut compactor = collection.compactor(CompactorOptions::default().policy(policy));
    let mut model = Model::default();
    let mut reader = collection.reader().await.unwrap();
    let mut seen = model.clone();
    let mut old: Vec<(Reader, Model)> = Vec::new();
    for deed in deeds {
        match deed {
            Deed::Append(ops) => append(&writer, shards, by_revision, &mut model, ops).await,
            Deed::Compact => drop(compactor.run_once().await.unwrap()),
            Deed::MergeAll => drop(compactor.merge_all().await.unwrap()),
            Deed::Sweep => {
                let options = SweepOptions::KEEP_NOTHING;
                drop(collection.sweep(&options).await.unwrap());
            }
            Deed::Refresh => {
                old.push((reader.clone(), seen));
                let before = reader.positions();
                let refreshed = reader.refresh().await.unwrap();
                assert_eq!(refreshed.new_ops(), model.ops - old.last().unwrap().1.ops);
                assert_eq!(refreshed.changed(), before != reader.positions());
                assert!(!reader.refresh().await.unwrap().changed());
                seen = model.clone();
                check(&reader, &seen, &questions).await.unwrap();
            }
            Deed::Open => {
                let other = match old.len() % 3 {
                    0 => collection.warm_reader().await.unwrap(),
                    _ => collection.reader().await.unwrap(),
                };
                if old.len() % 3 == 1 {
                    other.warm(&deltafold::Warm::default().columns()).await.unwrap();
                }
                check(&other, &model, &questions).await.unwrap();
                old.push((other, model.clone()));
            }
        }
    }
    // A reader sees its version for ever, or reports that it was swept.
    old.push((reader, seen));
    for (reader, seen) in old {
        match check(&reader, &seen, &questions).await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Superseded, "{error}"),
        }
    }
    let mut reader = collection.reader().await.unwrap();
    check(&reader, &model, &questions).await.unwrap();
    compactor.merge_all().await.unwrap();
    reader.refresh().await.unwrap();
    check(&reader, &model, &questions).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_agree_with_the_model(
        shards in 1..4u16,
        metric in proptest::sample::select(vec![Metric::L2, Metric::Cosine, Metric::InnerProduct]),
        by_revision in any::<bool>(),
        policy in policy(),
        deeds in deeds(),
        questions in proptest::collection::vec(question(), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(Arc::new(Memory::new()), shards, metric, by_revision, policy, deeds, questions));
    }
}
