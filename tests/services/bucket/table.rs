//! Heads in DynamoDB behind a proxy that drops answers: faults that an emulator alone would hide.

use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use deltafold::format::{Op, Record};
use deltafold::store::{Memory, Outcome, Store, StoreErrorKind, Unless};
use deltafold::{Collection, CompactorOptions, CreateOptions, HeadsInDynamoDb, WriterOptions};
use deltafold_testing::ministack;
use deltafold_testing::objects::key;
use deltafold_testing::s3::{self, Fault, Server};

/// Heads in a table of the emulator, reached through a server with injected faults.
async fn behind_proxy(table: &str) -> (Arc<HeadsInDynamoDb>, Server) {
    let server = Server::in_front_of(ministack::endpoint());
    let options = s3::options(&server.endpoint()).aws;
    let heads = HeadsInDynamoDb::open(Arc::new(Memory::new()), table, &options).await.unwrap();
    assert!(!heads.is_to_be_probed(), "objects in memory need no probe, wherever the heads lie");
    heads.create_table().await.unwrap();
    server.actions();
    (Arc::new(heads), server)
}

fn chunks(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

async fn content(store: &HeadsInDynamoDb, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|object| object.bytes)
}

/// Story: a lost answer was taken for "nothing landed". A publisher gave up its manifest as
/// unpublished, though it was published.
#[tokio::test]
async fn a_register_write_without_an_answer_is_unknown() {
    let (store, server) = behind_proxy("lost-answers").await;
    for (number, (fault, landed)) in [
        (Fault::LoseAnswer, true),
        (Fault::LoseRequest, false),
        (Fault::Answer(500, "InternalServerError"), false),
        (Fault::AnswerAfter(500, "InternalServerError"), true),
        (Fault::AnswerAfter(503, "ServiceUnavailable"), true),
    ]
    .into_iter()
    .enumerate()
    {
        let (created, replaced) = (format!("c/{number:04}/claim"), format!("c/{number:04}/head"));
        server.fail("PutItem", "", fault);
        let outcome = store.create(&key(&created), chunks("1")).await.unwrap();
        assert!(matches!(&outcome, Outcome::Unknown(_)), "{fault:?} {outcome:?}");
        assert_eq!(content(&store, &created).await.is_some(), landed, "{fault:?}");

        let Outcome::Done(tag) = store.create(&key(&replaced), chunks("1")).await.unwrap() else { panic!("free") };
        server.fail("PutItem", "", fault);
        let outcome = store.replace(&key(&replaced), &tag, chunks("2")).await.unwrap();
        assert!(matches!(&outcome, Outcome::Unknown(_)), "{fault:?} {outcome:?}");
        assert_eq!(content(&store, &replaced).await.unwrap(), if landed { "2" } else { "1" }, "{fault:?}");

        for verb in ["GetItem", "Query", "DeleteItem"] {
            server.fail(verb, "", fault);
            let failed = match verb {
                "GetItem" => store.get(&key(&replaced)).await.map(drop),
                "Query" => store.list_after("c/", None, 10).await.map(drop),
                _ => store.delete(&[key(&created)]).await,
            };
            assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Transient, "{verb} {fault:?}");
        }
    }
    // A rejected request has a known outcome: nothing landed.
    for (code, conflict) in [("ThrottlingException", false), ("TransactionConflictException", true)] {
        server.fail("PutItem", "", Fault::Answer(400, code));
        let error = store.create(&key("c/0100/head"), chunks("1")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_conflict()), (StoreErrorKind::Transient, conflict), "{error}");
        assert!(content(&store, "c/0100/head").await.is_none());
    }
    assert!(server.all_reached());
}

/// Story: a head was dropped and made anew, with the same version. A swap by the tag of the old
/// head overwrote the new one.
#[tokio::test]
async fn a_tag_of_a_dropped_register_replaces_nothing() {
    let (store, _server) = behind_proxy("made-anew").await;
    let head = key("c/0000/head");
    let Outcome::Done(old) = store.create(&head, chunks("old")).await.unwrap() else { panic!("it is free") };
    store.delete(std::slice::from_ref(&head)).await.unwrap();
    assert!(matches!(store.replace(&head, &old, chunks("x")).await.unwrap(), Outcome::Refused));
    assert!(content(&store, head.as_str()).await.is_none());
    let Outcome::Done(new) = store.create(&head, chunks("new")).await.unwrap() else { panic!("it is free") };
    assert!(matches!(store.create(&head, chunks("x")).await.unwrap(), Outcome::Refused));
    assert!(matches!(store.replace(&head, &old, chunks("x")).await.unwrap(), Outcome::Refused));
    assert_eq!(content(&store, head.as_str()).await.unwrap(), "new");
    assert!(matches!(store.get_unless(&head, &old).await.unwrap(), Unless::Changed(object) if object.bytes == "new"));
    assert!(matches!(store.get_unless(&head, &new).await.unwrap(), Unless::Unchanged));
    // The same content at another version is another state.
    let Outcome::Done(next) = store.replace(&head, &new, chunks("newer")).await.unwrap() else { panic!("its tag") };
    let Outcome::Done(_) = store.replace(&head, &next, chunks("new")).await.unwrap() else { panic!("its tag") };
    assert!(matches!(store.replace(&head, &new, chunks("x")).await.unwrap(), Outcome::Refused));
}

/// The emulator is always consistent, so the test checks the requests themselves.
#[tokio::test]
async fn every_read_of_a_register_asks_for_consistency() {
    let (store, server) = behind_proxy("consistent").await;
    let head = key("c/0000/head");
    let Outcome::Done(tag) = store.create(&head, chunks("1")).await.unwrap() else { panic!("it is free") };
    let Outcome::Done(_) = store.replace(&head, &tag, chunks("2")).await.unwrap() else { panic!("its tag") };
    store.get(&head).await.unwrap();
    store.get_range(&head, 0, 1).await.unwrap();
    store.get_unless(&head, &tag).await.unwrap();
    assert_eq!(store.list_after("c/", None, 10).await.unwrap().len(), 1);
    assert_eq!(store.list_after("c/0000/he", None, 10).await.unwrap().len(), 1);
    let actions = server.actions();
    for (action, count) in [("GetItem", 3), ("Query", 2)] {
        let sent: Vec<_> = actions.iter().filter(|(sent, _)| *sent == action).collect();
        assert_eq!(sent.len(), count, "{action}");
        assert!(sent.iter().all(|(_, body)| body["ConsistentRead"] == true), "{sent:#?}");
    }
    for (action, body) in actions.iter().filter(|(action, _)| *action == "PutItem") {
        assert!(body["ConditionExpression"].is_string(), "{action}: {body}");
    }
}

/// An item holds a digest beside its content. If they do not match, the item is damaged, and never
/// an answer.
#[tokio::test]
async fn an_item_that_does_not_fit_its_digest_is_damaged() {
    let (store, _server) = behind_proxy("digests").await;
    let client = s3::dynamodb(ministack::endpoint());
    let damage = |name: &'static str, value: Option<AttributeValue>| {
        let (store, client) = (store.clone(), client.clone());
        async move {
            let head = key("c/0000/head");
            store.delete(std::slice::from_ref(&head)).await.unwrap();
            let Outcome::Done(_) = store.create(&head, chunks("right")).await.unwrap() else { panic!("it is free") };
            let items = client.scan().table_name("digests").send().await.unwrap().items.unwrap();
            let [item] = &items[..] else { panic!("{items:?}") };
            let mut item = item.clone();
            match value {
                Some(value) => item.insert(name.to_owned(), value),
                None => item.remove(name),
            };
            client.put_item().table_name("digests").set_item(Some(item)).send().await.unwrap();
            let errors = [store.get(&head).await.map(drop), store.list_after("c/", None, 10).await.map(drop)];
            for error in errors {
                let error = error.unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::Damaged, "{name}: {error}");
                assert!(error.to_string().contains("c/0000/head"), "{name}: {error}");
            }
        }
    };
    damage("content", Some(AttributeValue::B(Blob::new("wrong")))).await;
    damage("digest", Some(AttributeValue::S("0".repeat(32)))).await;
    damage("version", Some(AttributeValue::S("0".to_owned()))).await;
    for name in ["content", "digest", "version"] {
        damage(name, None).await;
    }
}

/// The whole life of a collection while the answer to every other write of a head is lost.
#[tokio::test]
async fn lost_answers_of_a_table_lose_no_op() {
    let (store, server) = behind_proxy("engine").await;
    for (at, fault) in
        [Fault::LoseAnswer, Fault::LoseRequest, Fault::AnswerAfter(500, "InternalServerError")].into_iter().enumerate()
    {
        server.fail("PutItem", "", fault);
        let name = format!("c{at}").parse().unwrap();
        let collection = Collection::create(store.clone(), &name, &CreateOptions::new(2)).await.unwrap();
        for round in 1..4 {
            let writer = collection.writer(WriterOptions::default()).unwrap();
            writer.append(vec![Op::put(round.to_string(), Record::default())]).await.unwrap();
            server.fail("PutItem", "", fault);
            let mut compactor = collection.compactor(CompactorOptions::default());
            assert!(!compactor.run_once().await.unwrap().events.is_empty(), "{fault:?}");
            assert_eq!(collection.reader().await.unwrap().count().await.unwrap(), round, "{fault:?}");
            let shard = collection.status().await.unwrap().shards[0].clone();
            assert_eq!(shard.folded.get(), round, "{fault:?}");
        }
    }
}
