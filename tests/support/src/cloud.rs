//! Stores in S3, in all settings of the tests: our own server and ministack, with heads in the
//! bucket and in a table of ministack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deltafold::HeadsInDynamoDb;
use deltafold::store::{S3, Store};

use super::ministack;
use super::s3::{self, Server};

/// The table of all tests of this program. Bucket and prefix tell their items apart.
const TABLE: &str = "deltafold-heads";

fn fresh() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub async fn in_s3() -> (S3, Server) {
    let server = Server::start();
    (server.store().await, server)
}

pub async fn in_s3_and_dynamodb() -> (HeadsInDynamoDb, Server) {
    let server = Server::start();
    (heads_in_table(Arc::new(server.store_under(&fresh()).await)).await, server)
}

pub async fn in_ministack() -> (S3, ()) {
    (s3::bucket_at(ministack::endpoint(), &fresh()).await, ())
}

pub async fn in_ministack_and_dynamodb() -> (HeadsInDynamoDb, ()) {
    (heads_in_table(Arc::new(in_ministack().await.0)).await, ())
}

/// `objects`, with the heads in the table of all tests.
pub async fn heads_in_table(objects: Arc<dyn Store>) -> HeadsInDynamoDb {
    let heads = HeadsInDynamoDb::open(objects, TABLE, &s3::options(ministack::endpoint()).aws).await.unwrap();
    heads.create_table().await.unwrap();
    heads
}
