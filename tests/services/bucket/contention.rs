//! Writers that append to one shard as fast as they can take turns: no writer waits for ever, and
//! nothing lands twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Patch, ShardId};
use deltafold::store::Store;
use deltafold::{Collection, CreateOptions, FollowOptions, WriterOptions};
use deltafold_testing::s3::Server;
use futures::StreamExt;

/// Closed-loop writers: each appends one op after another until together they have made `appends`.
/// Returns the maker of each segment, in log order.
async fn contend(server: &Server, writers: usize, appends: usize) -> Vec<usize> {
    let name = "c".parse().unwrap();
    let collection = Collection::create(Arc::new(server.store().await), &name, &CreateOptions::new(2)).await.unwrap();
    server.latency(Duration::from_millis(10));
    let left = Arc::new(std::sync::atomic::AtomicIsize::new(appends as isize));
    let mut tasks = Vec::new();
    for number in 0..writers {
        // A connection of its own, as if each writer ran on its own machine.
        let store: Arc<dyn Store> = Arc::new(server.store().await);
        let (name, left) = (name.clone(), left.clone());
        tasks.push(tokio::spawn(async move {
            let writer = Collection::open(store, &name).await.unwrap().writer(WriterOptions::default()).unwrap();
            let mut made = 0;
            while left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
                writer.append(vec![Op::patch(format!("{number}/{made}"), Patch::default())]).await.unwrap();
                made += 1;
            }
            made
        }));
    }
    let mut acked = 0;
    for task in tasks {
        acked += task.await.unwrap();
    }
    server.latency(Duration::ZERO);
    let options = FollowOptions::default().until_tail(true);
    let ops = collection.follow(ShardId::new(0).unwrap(), options).unwrap();
    let ids: Vec<String> = ops.map(|op| op.unwrap().1.id.to_string()).collect().await;
    assert_eq!((ids.len(), acked), (appends, appends), "every append once");
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    ids.iter()
        .map(|id| {
            let (writer, made) = id.split_once('/').unwrap();
            let (writer, made) = (writer.parse().unwrap(), made.parse::<usize>().unwrap());
            let expected = next.entry(writer).or_default();
            assert_eq!(made, *expected, "the appends of one writer are in its order");
            *expected += 1;
            writer
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slowest_of_four_and_of_sixteen_gets_half_its_fair_share() {
    let _alone = super::MACHINE.write().await;
    for (writers, appends) in [(4, 200), (16, 480)] {
        let server = Server::start();
        let made_by = contend(&server, writers, appends).await;
        let share = |writer| made_by.iter().filter(|made| **made == writer).count();
        let shares: Vec<usize> = (0..writers).map(share).collect();
        let fair = appends / writers;
        assert!(shares.iter().all(|share| *share >= fair / 2), "{shares:?} of {appends}");
        // The number of slots of others between two of one writer.
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        let gaps: Vec<usize> = made_by
            .iter()
            .enumerate()
            .filter_map(|(at, writer)| last.insert(*writer, at).map(|last| at - last))
            .collect();
        let longest = gaps.iter().max().unwrap();
        eprintln!("{writers} writers: shares {shares:?}, longest wait {longest} slots");
        // With turns it is one round, and one more for a writer that the machine held up. By chance
        // alone it is five times that.
        assert!(*longest <= 3 * writers, "{longest} slots of others between two of one of {writers} writers");
    }
}
