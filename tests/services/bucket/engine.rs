//! The engine over a bucket. A write that a layer below sends twice lands once, damage is found,
//! and the leftovers of a crash are swept.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{EditKind, Op, Record};
use deltafold::store::{RequestKind, S3, Store};
use deltafold::{Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, SweepOptions, Writer, WriterOptions};
use deltafold_testing::s3::{BUCKET, Fault, Server, options};

async fn made(store: Arc<dyn Store>) -> (Collection, Writer) {
    let collection = Collection::create(store, &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    (collection, writer)
}

fn put(id: &str) -> Op {
    Op::put(id, Record { embedding: Some(vec![1.0, 2.0]), ..Record::default() })
}

/// A layer below (the SDK, a proxy, a load balancer) loses the answer to a conditional write and
/// sends it again. The write is refused by its own success. Taken for another writer's, the batch
/// would be appended twice, and the edit reported as lost.
#[tokio::test]
async fn the_echo_of_our_own_success_is_recognised() {
    let server = Server::start();
    let mut with_retries = options(&server.endpoint());
    with_retries.aws.attempts = Some(3);
    // By a layer in between, and by the SDK itself.
    for (number, (fault, options)) in
        [(Fault::Echo, options(&server.endpoint())), (Fault::LoseAnswer, with_retries)].into_iter().enumerate()
    {
        let store: Arc<dyn Store> = Arc::new(S3::open(BUCKET, &number.to_string(), &options).await.unwrap());
        let (collection, writer) = made(store.clone()).await;
        for (slot, id) in ["a", "b", "c"].into_iter().enumerate() {
            server.fail("create", "/log/", fault);
            let ack = writer.append(vec![put(id)]).await.unwrap();
            assert_eq!(ack.segments()[0].1.get(), slot as u64 + 1, "one slot, and the next one for the next");
        }
        let refused = store.requests().of(RequestKind::Create).refused;
        assert!(refused >= 3, "each was refused by its own success");
        // Publishing: the manifest, whose name is unique, and the head.
        server.fail("create", "/manifest/", fault);
        server.fail("replace", "/head", fault);
        let report = collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
        assert_eq!((report.published(EditKind::Fold), report.conflicts()), (1, 0));
        let status = collection.status().await.unwrap();
        assert_eq!((status.shards[0].version.get(), status.shards[0].ops), (1, 3));
        assert!(server.all_reached());
        assert!(collection.verify(Depth::Deep, |_| ()).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn a_byte_that_rots_in_the_bucket_is_found() {
    let server = Server::start();
    let store = Arc::new(server.store().await);
    let (collection, writer) = made(store.clone()).await;
    writer.append(vec![put("a"), put("b")]).await.unwrap();
    collection.compactor(CompactorOptions::default()).run_once().await.unwrap();
    writer.append(vec![put("c")]).await.unwrap();
    let paths = server.backend.paths(BUCKET);
    for path in paths.iter().filter(|path| !path.ends_with("/claim") && !path.ends_with("/collection")) {
        for at in [0, 20] {
            server.backend.rot(BUCKET, path, |bytes| bytes[at] ^= 0x10);
            let verified = collection.verify(Depth::Deep, |_| ()).await;
            let found = match &verified {
                Ok(report) => report.findings.iter().any(|finding| finding.key == *path),
                Err(error) => error.kind() == ErrorKind::Corrupt,
            };
            assert!(found, "{path} byte {at}: {verified:?}");
            server.backend.rot(BUCKET, path, |bytes| bytes[at] ^= 0x10);
        }
    }
    assert!(collection.verify(Depth::Deep, |_| ()).await.unwrap().is_sound());
}

/// A compactor died between the parts of a large object and its completion, or its last answer was
/// lost. The parts cost money until they are given up.
#[tokio::test]
async fn sweep_and_drop_give_up_unfinished_uploads() {
    let server = Server::start();
    let store = Arc::new(server.store().await);
    let (collection, writer) = made(store.clone()).await;
    writer.append(vec![put("a")]).await.unwrap();
    let large = bytes::Bytes::from(vec![1; 17 << 20]);
    let upload = |name: &'static str| {
        let (server, store, large) = (&server, store.clone(), large.clone());
        async move {
            server.fail("upload_complete", "", Fault::LoseRequest);
            store.create(&deltafold::store::Key::new(name).unwrap(), vec![large]).await.unwrap();
        }
    };
    upload("c/0000/part/x.emb").await;
    upload("other/0000/part/x.emb").await;
    server.backend.age_uploads(BUCKET);
    upload("c/0000/part/y.emb").await;
    let sweep = |dry_run| {
        let options = SweepOptions::default().min_age(Duration::ZERO).dry_run(dry_run);
        let collection = collection.clone();
        async move { collection.sweep(&options).await.unwrap()[0].1.uploads }
    };
    assert_eq!((sweep(true).await, server.backend.uploads(BUCKET)), (1, 3));
    assert_eq!((sweep(false).await, server.backend.uploads(BUCKET)), (1, 2), "a young upload may still be at work");
    Collection::drop_collection(&*store, &"c".parse().unwrap(), |_| ()).await.unwrap();
    assert_eq!(server.backend.uploads(BUCKET), 1, "that of the other collection");
}

/// A segment over the limit of one PUT goes in parts, and its condition is judged when it is whole.
#[tokio::test]
async fn a_large_segment_lands_once_though_any_answer_is_lost() {
    let server = Server::start();
    let store: Arc<dyn Store> = Arc::new(server.store().await);
    let collection =
        Collection::create(store.clone(), &"c".parse().unwrap(), &CreateOptions::new(65_536)).await.unwrap();
    let options = WriterOptions::default().max_batch_bytes(32 << 20);
    let writer = collection.writer(options).unwrap();
    let ops = |round: usize| -> Vec<Op> {
        let embedding = |row: usize| (0..65_536).map(|at| (at * 7 + row + round) as f32 * 0.37).collect();
        let record = |row| Record { embedding: Some(embedding(row)), ..Record::default() };
        (0..100).map(|row| Op::put(format!("{round}-{row}"), record(row))).collect()
    };
    for (round, fault) in [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::Answer(409, "ConditionalRequestConflict"),
        Fault::AnswerAfter(500, "InternalError"),
    ]
    .into_iter()
    .enumerate()
    {
        server.fail("upload_complete", "/log/", fault);
        let ack = writer.append(ops(round)).await.unwrap();
        assert_eq!(ack.segments()[0].1.get(), round as u64 + 1, "{fault:?}");
    }
    assert!(server.all_reached());
    assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), 400);
    assert!(collection.verify(Depth::Deep, |_| ()).await.unwrap().is_sound());
}
