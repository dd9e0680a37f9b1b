//! The cost of a pipeline, from requests counted on a real server and not modelled: the goals at 30
//! and at 300 messages a minute.

use std::sync::Arc;

use deltafold::cost::{Counted, Load, Prices, Shape, Source, bill, counted};
use deltafold::format::{EditKind, Op, Record};
use deltafold::store::{Requests, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, WriterOptions};
use deltafold_testing::{ministack, s3};

fn calls(requests: &Requests) -> Counted {
    Counted { calls: requests.iter().map(|(kind, count)| (kind, count.calls as f64)).collect() }
}

/// Appends batches of the size that a window brings, by one long-lived writer as in a warm
/// function. Folds with a fresh compactor each time.
async fn shape(store: Arc<dyn Store>, batch: usize, segments: usize) -> (Shape, Counted) {
    let collection = Collection::create(store.clone(), &"c".parse().unwrap(), &CreateOptions::new(4)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let ops = |number: usize| {
        let op = |index: usize| {
            Op::put(
                format!("r{:05}", number * batch + index),
                Record { embedding: Some(vec![1.0; 4]), ..Record::default() },
            )
        };
        (0..batch).map(op).collect::<Vec<_>>()
    };
    writer.append(ops(0)).await.unwrap();
    let before = store.requests();
    for number in 1..=segments {
        writer.append(ops(number)).await.unwrap();
    }
    let appended = calls(&store.requests().since(&before));
    let folding = store.requests();
    let opened = Collection::open(store.clone(), &"c".parse().unwrap()).await.unwrap();
    let report = opened.compactor(CompactorOptions::default()).run_once().await.unwrap();
    assert_eq!(report.published(EditKind::Fold), 1);
    let folded = calls(&store.requests().since(&folding));
    let ((append_puts, append_gets), (fold_puts, fold_gets)) = (appended.to_the_bucket(), folded.to_the_bucket());
    let each = segments as f64;
    let shape = Shape {
        append_puts: append_puts / each,
        append_gets: append_gets / each,
        fold_puts,
        // The segments' own GETs are counted by segment.
        fold_gets: fold_gets - (each + 1.0),
        fold_gets_a_segment: 1.0,
    };
    (shape, calls(&store.requests().since(&before)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counted_requests_meet_the_goals_and_the_formulas() {
    let store = s3::bucket_at(ministack::endpoint(), "cost").await;
    // 165 segments in the 15 minutes between folds: 4 shards, 20 s, 30 changes a minute.
    let segments = (Load::default().segments() / (43_200.0 / 15.0)).round() as usize;
    let (shape, all) = shape(Arc::new(store), 3, segments).await;
    eprintln!("{shape:?}\n{all:?}");
    let modelled = Shape::default();
    assert_eq!((shape.append_puts, shape.append_gets), (modelled.append_puts, modelled.append_gets));
    assert!(shape.fold_puts <= modelled.fold_puts && shape.fold_gets <= modelled.fold_gets, "{shape:?}");

    let prices = Prices::default();
    let at = |messages, source| {
        let bill = bill(&Load { messages, source, shape, ..Load::default() }, &prices);
        (bill.to_pay(), bill.list())
    };
    let ((low, low_list), (high, high_list)) = (at(30.0, Source::Stream), at(300.0, Source::Stream));
    let ((plain, _), (plain_high, _)) = (at(30.0, Source::Fifo), at(300.0, Source::Fifo));
    eprintln!(
        "30: ${low:.2} (list ${low_list:.2}); 300: ${high:.2} (list ${high_list:.2}); FIFO: ${plain:.2}, ${plain_high:.2}"
    );
    assert!(low <= 3.0, "30 messages a minute cost ${low:.2}");
    assert!(high <= 5.0, "300 messages a minute cost ${high:.2}");
    assert!((8.0..13.0).contains(&plain) && (90.0..115.0).contains(&plain_high), "${plain:.2}, ${plain_high:.2}");

    // The same from the counters themselves: they cover a quarter of an hour of the default load.
    let month = counted(&all, 43_200.0 / 15.0, &prices).list();
    let load = Load { shape, records: 0.0, ..Load::default() };
    let formula = bill(&load, &prices).list_for("S3");
    assert!((month - formula).abs() <= formula / 50.0, "counted ${month:.3}, by the formulas ${formula:.3}");
}
