//! The S3 store against servers: the suite of all stores, and every answer of a bucket.

use std::sync::Arc;
#[cfg(feature = "conformance")]
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use deltafold::store::{Memory, Store, StoreErrorKind};
use deltafold::{Collection, CreateOptions, ErrorKind, HeadsInDynamoDb};
use deltafold_testing::s3::{self, Server};
use deltafold_testing::{ministack, objects};

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_keeps_the_contract() {
    let server = Server::start();
    let number = AtomicUsize::new(0);
    deltafold::conformance::suite(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        Arc::new(server.store_under(&format!("made/below/{number}")).await) as Arc<dyn Store>
    })
    .await;
}

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_behind_a_line_of_a_gigabit_keeps_the_contract() {
    let server = Server::start();
    server.bandwidth(125_000_000);
    let number = AtomicUsize::new(0);
    deltafold::conformance::suite(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        Arc::new(server.store_under(&number.to_string()).await) as Arc<dyn Store>
    })
    .await;
}

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_s3_of_ministack_keeps_the_contract() {
    let endpoint = ministack::endpoint();
    let number = AtomicUsize::new(0);
    deltafold::conformance::suite(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        Arc::new(s3::bucket_at(endpoint, &format!("contract-{number}")).await) as Arc<dyn Store>
    })
    .await;
}

/// Registers in a table of the emulator, objects in any store.
async fn heads_in_a_table(objects: Arc<dyn Store>, table: &str) -> HeadsInDynamoDb {
    let heads = HeadsInDynamoDb::open(objects, table, &s3::options(ministack::endpoint()).aws).await.unwrap();
    heads.create_table().await.unwrap();
    heads
}

#[cfg(feature = "conformance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_in_dynamodb_keep_the_contract() {
    let server = Server::start();
    let number = AtomicUsize::new(0);
    deltafold::conformance::suite(|| async {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let objects = Arc::new(server.store_under(&format!("dynamodb-{number}")).await);
        Arc::new(heads_in_a_table(objects, "contract").await) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_made_for_something_else_is_refused() {
    let table = "something-else";
    let objects = Arc::new(Memory::new());
    let client = s3::dynamodb(ministack::endpoint());
    let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build();
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build();
    let request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    request.attribute_definitions(attribute.unwrap()).key_schema(key.unwrap()).send().await.unwrap();
    let heads = HeadsInDynamoDb::open(objects.clone(), table, &s3::options(ministack::endpoint()).aws).await.unwrap();
    let error = heads.create_table().await.unwrap_err();
    assert!(error.to_string().contains("its keys are not"), "{error}");
    let heads = HeadsInDynamoDb::open(objects, "never-made", &s3::options(ministack::endpoint()).aws).await.unwrap();
    let error = heads.get(&objects::key("c/0000/head")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Permanent);
    assert!(error.to_string().contains("--create-table"), "{error}");
}

/// Story: a collection has its heads in a table, and a process opened it with heads in the bucket.
/// It found none, and the acknowledged ops seemed lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_refused_where_its_heads_are_not() {
    let objects: Arc<dyn Store> = Arc::new(Memory::new());
    let heads: Arc<dyn Store> = Arc::new(heads_in_a_table(objects.clone(), "refused").await);
    let (name, options) = ("c".parse().unwrap(), CreateOptions::new(3));
    Collection::create(heads.clone(), &name, &options).await.unwrap();
    Collection::open(heads.clone(), &name).await.unwrap();
    assert!(objects.get(&objects::key("c/0000/head")).await.unwrap().is_none(), "the head is in the table");
    let other: Arc<dyn Store> = Arc::new(heads_in_a_table(objects.clone(), "other").await);
    for store in [objects.clone(), other] {
        let error = Collection::open(store, &name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("in the DynamoDB table `refused` in us-east-1"), "{error}");
    }
    let name = "plain".parse().unwrap();
    Collection::create(objects, &name, &options).await.unwrap();
    let error = Collection::open(heads, &name).await.unwrap_err();
    assert!(error.to_string().contains("in the store, and"), "{error}");
}
