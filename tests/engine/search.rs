//! Search: exact answers equal those of a plain scan in f64, for any vectors, metric and dimension.

use std::sync::Arc;

use deltafold::format::{Metric, Op, Record};
use deltafold::store::{Memory, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, Exactness, Include, Query, Reader, WriterOptions};
use deltafold_testing::data::DataSet;
use deltafold_testing::far::Far;
use deltafold_testing::random::Random;
use proptest::prelude::*;

/// The distribution of the vectors of a collection.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Random,
    /// Close to this many centres, as embeddings are.
    Clustered(u64),
    /// Few different vectors, many times each.
    Duplicates,
    /// Zero vectors among others.
    Zeros,
    /// Up to the largest f32.
    Huge,
    /// Subnormal numbers among others.
    Tiny,
    /// One large number, all others small.
    Outlier,
}

const KINDS: [Kind; 7] =
    [Kind::Random, Kind::Clustered(5), Kind::Duplicates, Kind::Zeros, Kind::Huge, Kind::Tiny, Kind::Outlier];

fn vector(kind: Kind, dimension: usize, random: &mut Random) -> Vec<f32> {
    let number = |random: &mut Random| random.below(20_001) as f32 / 10_000.0 - 1.0;
    let plain = |random: &mut Random| (0..dimension).map(|_| number(random)).collect::<Vec<f32>>();
    match kind {
        Kind::Random => plain(random),
        Kind::Clustered(centres) => {
            let mut centre = Random::new(random.below(centres) + 1);
            let centre = plain(&mut centre);
            let near = plain(random);
            centre.iter().zip(near).map(|(centre, near)| centre + 0.05 * near).collect()
        }
        Kind::Duplicates => plain(&mut Random::new(random.below(6) + 1)),
        Kind::Zeros if random.below(3) == 0 => vec![0.0; dimension],
        Kind::Zeros => plain(random),
        Kind::Huge => plain(random).into_iter().map(|value| value * 3.0e38).collect(),
        Kind::Tiny => {
            let scale = [1e-45, 1e-39, 1e-30, 1e-3][random.below(4) as usize];
            plain(random).into_iter().map(|value| value * scale).collect()
        }
        Kind::Outlier => {
            let mut row = plain(random);
            row[0] += 50.0;
            row
        }
    }
}

/// By the definition, and not in the engine's order of addition. The second value is the scale of
/// the rounding error.
fn distance(metric: Metric, query: &[f32], row: &[f32]) -> (f64, f64) {
    let pairs = || query.iter().zip(row).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (dot, sizes) = pairs().fold((0.0, 0.0), |(dot, sizes), (a, b)| (dot + a * b, sizes + (a * b).abs()));
    let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::L2 => {
            let squares = pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            (squares, squares)
        }
        Metric::InnerProduct => (1.0 - dot, 1.0 + sizes),
        Metric::Cosine => match norm(query) * norm(row) {
            0.0 => (1.0, 0.0),
            norms => (1.0 - dot / norms, 1.0 + sizes / norms),
        },
    }
}

async fn collection(
    metric: Metric,
    kind: Kind,
    dimension: u32,
    records: u64,
    shards: u16,
    seed: u64,
) -> (Reader, Vec<Vec<f32>>) {
    let options = CreateOptions::new(dimension).metric(metric).shards(shards);
    // Every second one is read by ranges.
    let store: Arc<dyn Store> = if seed.is_multiple_of(2) { Arc::new(Memory::new()) } else { Arc::new(Far::default()) };
    let collection = Collection::create(store, &"c".parse().unwrap(), &options).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let mut random = Random::new(seed);
    let vectors: Vec<Vec<f32>> = (0..records).map(|_| vector(kind, dimension as usize, &mut random)).collect();
    let put = |(number, vector): (usize, &Vec<f32>)| {
        Op::put(format!("{number:05}"), Record { embedding: Some(vector.clone()), ..Record::default() })
    };
    let ops: Vec<Op> = vectors.iter().enumerate().map(put).collect();
    // A base, a run above it, and the log.
    let thirds = ops.len().div_ceil(3).max(1);
    for (at, ops) in ops.chunks(thirds).enumerate() {
        writer.append(ops.to_vec()).await.unwrap();
        if at < 2 {
            collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
        }
    }
    (collection.reader().await.unwrap(), vectors)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exact_answers_are_those_of_a_plain_scan(
        metric in proptest::sample::select(vec![Metric::L2, Metric::Cosine, Metric::InnerProduct]),
        kind in proptest::sample::select(KINDS.to_vec()),
        dimension in proptest::sample::select(vec![1_u32, 2, 3, 5, 17, 64, 100, 384, 1_000, 2_048]),
        records in 1..150_u64,
        shards in 1..3_u16,
        k in 1..20_usize,
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (reader, vectors) = collection(metric, kind, dimension, records, shards, seed).await;
            let mut random = Random::new(seed ^ 1);
            let mut queries = vec![vectors[0].clone(), vec![0.0; dimension as usize]];
            queries.extend((0..3).map(|_| vector(kind, dimension as usize, &mut random)));
            let queries: Vec<Query> = queries.into_iter().map(|vector| Query::new(vector, k)).collect();
            let answers = reader.search(&queries).await.unwrap();
            for (query, answer) in queries.iter().zip(answers) {
                let all: Vec<(f64, f64)> = vectors.iter().map(|row| distance(metric, &query.vector, row)).collect();
                let mut sorted: Vec<f64> = all.iter().map(|(distance, _)| *distance).collect();
                sorted.sort_by(f64::total_cmp);
                assert_eq!(answer.hits.len(), k.min(vectors.len()));
                for (hit, nth) in answer.hits.iter().zip(sorted) {
                    let (own, scale) = all[hit.entry.id.parse::<usize>().unwrap()];
                    // A sum of n products, in any order, rounds by at most n + 2 times 2^-53 of
                    // their magnitudes.
                    let off = f64::from(dimension + 4) * f64::EPSILON * scale;
                    assert!((hit.distance - own).abs() <= off, "{hit:?} {own}");
                    assert!((hit.distance - nth).abs() <= 2.0 * off, "{hit:?} in the place of {nth}");
                }
                for pair in answer.hits.windows(2) {
                    let key = |hit: &deltafold::Hit| (hit.distance, hit.entry.inserted);
                    assert!(pair[0].distance < pair[1].distance || key(&pair[0]) < key(&pair[1]) || shards > 1);
                }
            }
        });
    }
}

#[tokio::test]
async fn codes_rule_out_most_rows() {
    let (reader, vectors) = collection(Metric::L2, Kind::Random, 64, 6_000, 2, 7).await;
    let answer = reader.search(&[Query::new(vectors[5].clone(), 10)]).await.unwrap().remove(0);
    assert_eq!(answer.work.coded, 4_000);
    assert_eq!(answer.work.from_log, 2_000);
    assert!(answer.work.ruled_out > 3_900, "{:?}", answer.work);
    assert_eq!(answer.work.read - 2_000 + answer.work.ruled_out, 4_000);
}

#[tokio::test]
async fn approximate_answers_are_mostly_the_exact_ones() {
    let (reader, _) = collection(Metric::Cosine, Kind::Clustered(300), 128, 3_000, 1, 8).await;
    let mut random = Random::new(9);
    let exact: Vec<Query> = (0..20).map(|_| Query::new(vector(Kind::Clustered(300), 128, &mut random), 10)).collect();
    let queries_of = |exactness| exact.iter().map(|query| query.clone().exactness(exactness)).collect::<Vec<_>>();
    let queries = queries_of(Exactness::Approximate { candidates: 200 });
    let approximate = reader.search(&queries).await.unwrap();
    let exact = reader.search(&queries_of(Exactness::Exact)).await.unwrap();
    // This many candidates are read on all cores. Each query still gets its own.
    for (query, answer) in queries.into_iter().zip(&approximate) {
        assert_eq!(reader.search(&[query]).await.unwrap()[0].hits, answer.hits);
    }
    let mut found = 0;
    for (exact, approximate) in exact.iter().zip(&approximate) {
        assert!(approximate.hits.is_sorted_by(|a, b| a.distance <= b.distance));
        // Codes of 8 bits rule out most of the 200 candidates.
        let read = approximate.work.read - approximate.work.from_log;
        assert!((1..100).contains(&read), "{read} rows were read");
        found += exact.hits.iter().filter(|hit| approximate.hits.contains(hit)).count();
    }
    assert!(found >= 190, "{found} of 200");
}

/// As many candidates as records give the exact answer, whatever their codes rule out. In few
/// dimensions rows are so near to each other that their bounds overlap.
#[tokio::test]
async fn all_records_as_candidates_give_the_exact_answer() {
    for dimension in [3, 128] {
        let (reader, vectors) = collection(Metric::L2, Kind::Random, dimension, 3_000, 1, 8).await;
        let queries_of = |exactness| {
            let queries = vectors.iter().take(20).map(|vector| Query::new(vector.clone(), 10).exactness(exactness));
            queries.collect::<Vec<_>>()
        };
        let all = queries_of(Exactness::Approximate { candidates: 3_000 });
        let answers = reader.search(&[queries_of(Exactness::Exact), all].concat()).await.unwrap();
        let (exact, all) = answers.split_at(20);
        assert!(exact.iter().zip(all).all(|(exact, all)| exact.hits == all.hits), "{dimension} dimensions");
    }
}

/// Queries of one call read their records together. Each answer still has its own hits, with the
/// fields that its query includes.
#[tokio::test]
async fn queries_of_one_call_get_their_own_fields() {
    for seed in [4, 5] {
        let (reader, vectors) = collection(Metric::L2, Kind::Random, 8, 90, 2, seed).await;
        let query = |number: usize, include| Query::new(vectors[number].clone(), 3 + number % 4).include(include);
        let includes = [Include::ALL, Include::NOTHING, Include::ALL, Include::NOTHING.embedding(true)];
        let queries: Vec<Query> =
            includes.into_iter().zip((0..).step_by(25)).map(|(include, number)| query(number, include)).collect();
        let together = reader.search(&queries).await.unwrap();
        for (query, answer) in queries.iter().zip(together) {
            let alone = reader.search(std::slice::from_ref(query)).await.unwrap().remove(0);
            assert_eq!((answer.hits.len(), &answer.hits), (query.k, &alone.hits));
            assert!(answer.hits.iter().all(|hit| hit.entry.record.embedding.is_some() == query.include.embedding));
        }
    }
}

#[tokio::test]
async fn a_query_out_of_range_is_refused_by_its_number() {
    let (reader, _) = collection(Metric::L2, Kind::Random, 3, 10, 1, 1).await;
    let good = Query::new(vec![0.0; 3], 1);
    for (bad, why) in [
        (Query::new(vec![0.0; 2], 1), "query 1: its vector has 2 numbers; give 3"),
        (Query::new(vec![0.0, f32::NAN, 0.0], 1), "query 1: number 1 of its vector is not finite"),
        (Query::new(vec![0.0; 3], 0), "query 1: 0 hits are wanted"),
        (Query::new(vec![0.0; 3], 1 << 20), "ask for 1 to 65536"),
        (good.clone().exactness(Exactness::Approximate { candidates: 0 }), "at least as many candidates"),
    ] {
        let error = reader.search(&[good.clone(), bad]).await.unwrap_err();
        assert_eq!(error.kind(), deltafold::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(reader.search(&[]).await.unwrap().is_empty());
}

/// 100 queries of the whole data set. Another program computed their answers.
#[tokio::test]
async fn real_queries_have_their_known_answers() {
    let Some(data) = DataSet::whole() else { return };
    let collection =
        Collection::create(Arc::new(Memory::new()), &"c".parse().unwrap(), &CreateOptions::new(384)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let ops: Vec<Op> = data.base().collect();
    for ops in ops.chunks(2_000) {
        writer.append(ops.to_vec()).await.unwrap();
    }
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    // The updates stay in the log.
    let updates: Vec<Op> = data.updates().collect();
    for ops in updates.chunks(100) {
        writer.append(ops.to_vec()).await.unwrap();
    }
    let reader = collection.reader().await.unwrap();
    let known = data.queries();
    assert_eq!(known.len(), 100);
    let exact: Vec<Query> =
        known.iter().map(|(vector, _, _)| Query::new(vector.clone(), 10).include(Include::NOTHING)).collect();
    let answers = reader.search(&exact).await.unwrap();
    for (answer, (_, ids, distances)) in answers.iter().zip(&known) {
        let found: Vec<&str> = answer.hits.iter().map(|hit| hit.entry.id.as_str()).collect();
        assert_eq!(&found, ids);
        assert!(answer.hits.iter().zip(distances).all(|(hit, known)| (hit.distance - known).abs() < 1e-6));
        assert!(answer.work.read - answer.work.from_log < 100, "{:?}", answer.work);
    }
    for (candidates, least) in [(20, 880), (50, 970), (100, 990), (200, 995)] {
        let exactness = Exactness::Approximate { candidates };
        let queries: Vec<Query> = exact.iter().map(|query| query.clone().exactness(exactness)).collect();
        let mut right = 0;
        for (answer, (_, ids, _)) in reader.search(&queries).await.unwrap().iter().zip(&known) {
            right += answer.hits.iter().filter(|hit| ids.contains(&hit.entry.id)).count();
        }
        println!("{candidates} candidates: {right} of 1,000 right");
        assert!(right >= least, "{candidates} candidates: {right} of 1,000 right");
    }
}
