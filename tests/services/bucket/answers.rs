//! Every answer of a bucket, and every way in which an answer can fail to come: the outcome that
//! the store makes of it.

use std::time::Duration;

use bytes::Bytes;
use deltafold::store::{Key, Outcome, RequestKind, S3, Store, StoreErrorKind, Unless};
use deltafold_testing::s3::backend::Quirk;
use deltafold_testing::s3::{BUCKET, Fault, Server, options};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn chunks(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

fn large(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<u8>>().into()
}

async fn content(store: &S3, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|object| object.bytes)
}

/// A store with a short timeout.
async fn impatient(server: &Server) -> S3 {
    let mut options = options(&server.endpoint());
    options.aws.timeouts.first_byte = Duration::from_millis(300);
    options.aws.timeouts.operation = Duration::from_millis(600);
    S3::open(BUCKET, "", &options).await.unwrap()
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown() {
    let server = Server::start();
    let store = impatient(&server).await;
    for (fault, landed) in [
        (Fault::LoseAnswer, true),
        (Fault::LoseRequest, false),
        (Fault::Answer(500, "InternalError"), false),
        (Fault::Answer(503, "SlowDown"), false),
        (Fault::AnswerAfter(500, "InternalError"), true),
        (Fault::Slow(Duration::from_secs(2)), true),
    ] {
        let name = key("c/0000/log/1");
        server.fail("create", &name, fault);
        let outcome = store.create(&name, chunks("1")).await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Unknown(e) if e.kind() == StoreErrorKind::Transient),
            "{fault:?} {outcome:?}"
        );
        assert_eq!(content(&store, name.as_str()).await.is_some(), landed, "{fault:?}");
        store.delete(&[name]).await.unwrap();

        let name = key("c/0000/head");
        let Outcome::Done(tag) = store.create(&name, chunks("1")).await.unwrap() else { panic!("it is free") };
        server.fail("replace", &name, fault);
        let outcome = store.replace(&name, &tag, chunks("2")).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown(_)), "{fault:?} {outcome:?}");
        let there = content(&store, name.as_str()).await.unwrap();
        assert_eq!(there, if landed { "2" } else { "1" }, "{fault:?}");
        store.delete(&[name]).await.unwrap();
    }
    assert!(server.all_reached());
}

/// A write was taken for lost and lands long after, when another writer has the name. Its condition
/// is judged at the landing.
#[tokio::test]
async fn a_write_that_lands_late_is_judged_when_it_lands() {
    let server = Server::start();
    let store = server.store().await;
    server.fail("create", "late", Fault::Late(Duration::from_millis(200)));
    assert!(matches!(store.create(&key("late"), chunks("first")).await.unwrap(), Outcome::Unknown(_)));
    assert!(matches!(store.create(&key("late"), chunks("second")).await.unwrap(), Outcome::Done(_)));
    // Waits until the late write was applied, however long that takes.
    server.fail("create", "late", Fault::Slow(Duration::from_millis(400)));
    assert!(matches!(store.create(&key("late"), chunks("third")).await.unwrap(), Outcome::Refused));
    assert_eq!(content(&store, "late").await.unwrap(), "second");
}

#[tokio::test]
async fn a_conflict_is_no_refusal() {
    let server = Server::start();
    let store = server.store().await;
    let conflict = Fault::Answer(409, "ConditionalRequestConflict");
    // Nothing landed, and the name is free: try again.
    server.fail("create", "log/1", conflict);
    let error = store.create(&key("log/1"), chunks("1")).await.unwrap_err();
    assert!(error.is_conflict() && error.kind() == StoreErrorKind::Transient, "{error}");
    assert!(matches!(store.create(&key("log/1"), chunks("1")).await.unwrap(), Outcome::Done(_)));
    // Some stores give this answer for ever once the name is taken.
    server.fail("create", "log/1", conflict);
    assert!(matches!(store.create(&key("log/1"), chunks("2")).await.unwrap(), Outcome::Refused));
    assert_eq!(content(&store, "log/1").await.unwrap(), "1");

    let Outcome::Done(first) = store.create(&key("head"), chunks("1")).await.unwrap() else { panic!("it is free") };
    server.fail("replace", "head", conflict);
    assert!(store.replace(&key("head"), &first, chunks("2")).await.unwrap_err().is_conflict());
    let Outcome::Done(_) = store.replace(&key("head"), &first, chunks("2")).await.unwrap() else { panic!("unchanged") };
    server.fail("replace", "head", Fault::Answer(409, "OperationAborted"));
    assert!(matches!(store.replace(&key("head"), &first, chunks("3")).await.unwrap(), Outcome::Refused));
    let counted = store.requests();
    assert_eq!((counted.of(RequestKind::Create).conflicts, counted.of(RequestKind::Replace).conflicts), (2, 2));
}

#[tokio::test]
async fn a_missing_object_is_not_replaced() {
    let server = Server::start();
    let store = server.store().await;
    let Outcome::Done(tag) = store.create(&key("head"), chunks("1")).await.unwrap() else { panic!("it is free") };
    store.delete(&[key("head")]).await.unwrap();
    assert!(matches!(store.replace(&key("head"), &tag, chunks("2")).await.unwrap(), Outcome::Refused));
    assert!(content(&store, "head").await.is_none());
    assert!(matches!(store.get_unless(&key("head"), &tag).await.unwrap(), Unless::Absent));
}

/// A layer in between sent the request twice, and the second was refused because of the first. Our
/// success looks like another writer's.
#[tokio::test]
async fn the_echo_of_a_success_is_refused() {
    let server = Server::start();
    let store = server.store().await;
    server.fail("create", "log/1", Fault::Echo);
    assert!(matches!(store.create(&key("log/1"), chunks("1")).await.unwrap(), Outcome::Refused));
    assert_eq!(content(&store, "log/1").await.unwrap(), "1");
    // The SDK does the same if it may retry.
    let mut options = options(&server.endpoint());
    options.aws.attempts = Some(3);
    let store = S3::open(BUCKET, "", &options).await.unwrap();
    server.fail("create", "log/2", Fault::LoseAnswer);
    assert!(matches!(store.create(&key("log/2"), chunks("2")).await.unwrap(), Outcome::Refused));
    assert_eq!(content(&store, "log/2").await.unwrap(), "2");
}

#[tokio::test]
async fn a_read_without_a_whole_answer_is_to_be_tried_again() {
    let server = Server::start();
    let store = impatient(&server).await;
    let Outcome::Done(tag) = store.create(&key("x"), chunks("0123456789")).await.unwrap() else { panic!("it is free") };
    for fault in [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::Slow(Duration::from_secs(2)),
        Fault::BreakBody,
        Fault::Trickle,
    ] {
        server.fail("get", "x", fault);
        let error = store.get(&key("x")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Transient, "{fault:?} {error}");
        assert_eq!(content(&store, "x").await.unwrap(), "0123456789", "{fault:?}");
        if !matches!(fault, Fault::BreakBody | Fault::Trickle) {
            server.fail("get_unless", "x", fault);
            let error = store.get_unless(&key("x"), &tag).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Transient, "{fault:?} {error}");
            server.fail("list", "", fault);
            assert!(store.list_after("", None, 1).await.is_err());
            server.fail("delete", "never", fault);
            assert!(store.delete(&[key("never")]).await.is_err());
            server.fail("clock", "", fault);
            assert!(store.now().await.is_err());
        }
    }
    assert!(server.all_reached());
}

/// A byte is damaged on its way, or in the bucket. A second read mends the first kind of damage.
/// The other kind is an error, never an answer.
#[tokio::test]
async fn damage_is_an_error_never_an_answer() {
    let server = Server::start();
    let store = server.store().await;
    let bytes = large(3 << 20);
    let Outcome::Done(_) = store.create(&key("x"), vec![bytes.clone()]).await.unwrap() else { panic!("it is free") };
    server.fail("get", "x", Fault::FlipBody);
    assert!(store.get(&key("x")).await.unwrap().unwrap().bytes == bytes, "it is read again");
    assert!(server.all_reached());
    server.backend.rot(BUCKET, "x", |bytes| bytes[1_000_000] ^= 4);
    let error = store.get(&key("x")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Damaged);
    assert!(error.to_string().contains("restore"), "{error}");
    // Damaged on its way to the bucket.
    server.fail("create", "y", Fault::DamageRequest);
    let error = store.create(&key("y"), chunks("a few bytes")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Transient, "the bucket took none of it: {error}");
    assert!(content(&store, "y").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_go_in_parts_and_come_in_ranges() {
    let server = Server::start();
    let store = server.store().await;
    let bytes = large((40 << 20) + 7);
    let pieces = vec![bytes.slice(..5), bytes.slice(5..20 << 20), bytes.slice(20 << 20..)];
    server.fail("upload_part", "x", Fault::Answer(503, "SlowDown"));
    server.fail("upload_part", "x", Fault::DamageRequest);
    let Outcome::Done(tag) = store.create(&key("x"), pieces).await.unwrap() else { panic!("it is free") };
    let sent = store.requests();
    assert_eq!(sent.of(RequestKind::UploadStart).calls, 1);
    assert_eq!((sent.of(RequestKind::UploadPart).calls, sent.of(RequestKind::UploadPart).retries), (5, 2));
    assert_eq!((sent.of(RequestKind::UploadComplete).calls, sent.of(RequestKind::Create).calls), (1, 0));
    server.fail("get", "x", Fault::BreakBody);
    store.get(&key("x")).await.unwrap_err();
    // Of the ranges behind the first, only a failed one is read again.
    let before = store.requests();
    server.fail_times("get", "nothing", Fault::BreakBody, 0);
    let read = store.get(&key("x")).await.unwrap().unwrap();
    assert!(read.bytes == bytes && read.tag == tag);
    let counted = store.requests().since(&before).of(RequestKind::Get);
    assert_eq!((counted.calls, counted.bytes_in), (6, bytes.len() as u64));
    let middle = store.get_range(&key("x"), 17 << 20, 35 << 20).await.unwrap().unwrap();
    assert!(middle == bytes.slice(17 << 20..35 << 20));
    // A mapping outlives the object.
    store.delete(&[key("x")]).await.unwrap();
    assert!(read.bytes == bytes);
}

/// Ranges read without the tag of the first would make one object of two. A copied object has no
/// checksum of its own that would show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_two_objects_never_mix() {
    let server = Server::start();
    let store = server.store().await;
    let (old, new) = (vec![1; 20 << 20], vec![2; 20 << 20]);
    for is_condition_ignored in [false, true] {
        if is_condition_ignored {
            server.backend.has(Quirk::IgnoresReadConditions);
        }
        for other in [Some(new.clone()), Some(new[..9 << 20].to_vec()), None] {
            server.backend.put(BUCKET, "x", &old);
            server.before("get", "x", 1, move |backend| match other {
                Some(other) => backend.put(BUCKET, "x", &other),
                None => backend.remove(BUCKET, "x"),
            });
            let error = store.get(&key("x")).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Transient, "{error}");
            assert!(error.to_string().contains("changed while it was read"), "{error}");
            assert!(server.all_reached());
        }
    }
    server.backend.put(BUCKET, "x", &new);
    assert!(store.get(&key("x")).await.unwrap().unwrap().bytes == new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_condition_of_a_large_object_is_judged_at_its_completion() {
    let server = Server::start();
    let store = server.store().await;
    let (first, second) = (large(17 << 20), large(18 << 20));
    let Outcome::Done(_) = store.create(&key("x"), vec![first.clone()]).await.unwrap() else { panic!("it is free") };
    assert!(matches!(store.create(&key("x"), vec![second.clone()]).await.unwrap(), Outcome::Refused));
    assert!(store.get(&key("x")).await.unwrap().unwrap().bytes == first);
    assert_eq!(server.backend.uploads(BUCKET), 0, "a refused upload is given up");
    for (fault, landed, left) in [
        (Fault::LoseAnswer, true, 0),
        (Fault::LoseRequest, false, 1),
        (Fault::AnswerAfter(500, "InternalError"), true, 0),
        (Fault::Answer(200, "InternalError"), false, 1),
    ] {
        server.fail("upload_complete", "y", fault);
        let outcome = store.create(&key("y"), vec![first.clone()]).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown(_)), "{fault:?} {outcome:?}");
        assert_eq!(store.get(&key("y")).await.unwrap().is_some(), landed, "{fault:?}");
        assert_eq!(server.backend.uploads(BUCKET), left, "nothing is cleaned up after unknown");
        let all = store.now().await.unwrap().as_millis() + 3_600_000;
        let all = deltafold::format::Timestamp::from_millis(all);
        assert_eq!(store.abort_uploads("", all, true).await.unwrap(), left as u64);
        assert_eq!(store.abort_uploads("", all, false).await.unwrap(), left as u64);
        assert_eq!(server.backend.uploads(BUCKET), 0);
        store.delete(&[key("y")]).await.unwrap();
    }
    server.fail("upload_complete", "y", Fault::Answer(409, "ConditionalRequestConflict"));
    assert!(store.create(&key("y"), vec![first.clone()]).await.unwrap_err().is_conflict());
    assert_eq!(server.backend.uploads(BUCKET), 0, "nothing landed, and nothing will");
    assert!(server.all_reached());
}

#[tokio::test]
async fn uploads_that_are_young_are_left_alone() {
    let server = Server::start();
    let store = server.store().await;
    for number in 0..5 {
        server.fail("upload_complete", "", Fault::LoseRequest);
        let name = key(&format!("c/0000/part/{number}"));
        assert!(matches!(store.create(&name, vec![large(17 << 20)]).await.unwrap(), Outcome::Unknown(_)));
    }
    let day_before = deltafold::format::Timestamp::from_millis(store.now().await.unwrap().as_millis() - 86_400_000);
    assert_eq!(store.abort_uploads("", day_before, false).await.unwrap(), 0);
    server.backend.age_uploads(BUCKET);
    assert_eq!(store.abort_uploads("d/", day_before, false).await.unwrap(), 0);
    assert_eq!(store.abort_uploads("c/", day_before, true).await.unwrap(), 5);
    assert_eq!(server.backend.uploads(BUCKET), 5);
    assert_eq!(store.abort_uploads("c/0000/", day_before, false).await.unwrap(), 5);
    assert_eq!(server.backend.uploads(BUCKET), 0);
}

#[tokio::test]
async fn foreign_objects_in_the_bucket_are_left_alone() {
    let server = Server::start();
    let store = server.store_under("mine").await;
    for path in ["mine", "mine/a b", "mine/.hidden/x", "mine/c//d", "minefield/x", "other/x"] {
        server.backend.put(BUCKET, path, b"?");
    }
    for number in 0..7 {
        let Outcome::Done(_) = store.create(&key(&format!("x/{number}")), chunks("x")).await.unwrap() else { panic!() };
        server.backend.put(BUCKET, &format!("mine/x/{number} (copy)"), b"?");
    }
    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().map(|last| key(last));
        let page = store.list_after("", after.as_ref(), 3).await.unwrap();
        seen.extend(page.iter().map(|listed| listed.key.to_string()));
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!(seen, ["x/0", "x/1", "x/2", "x/3", "x/4", "x/5", "x/6"]);
    for limit in 0..8 {
        let lists = store.requests().of(RequestKind::List).calls;
        let page = store.list_after("x/", None, limit).await.unwrap();
        assert_eq!(page.len(), limit.min(7), "others lie between ours");
        let lists = store.requests().of(RequestKind::List).calls - lists;
        assert_eq!(lists == 0, limit == 0, "{lists} requests for {limit} objects");
    }
    // An object that was copied here without its metadata is still read: its format shows whether
    // it is whole.
    server.backend.put(BUCKET, "mine/copied", b"0123456789");
    assert_eq!(content(&store, "copied").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn a_list_of_a_page_costs_one_request() {
    let server = Server::start();
    let store = server.store().await;
    for number in 0..1_203 {
        server.backend.put(BUCKET, &format!("d/{number:04}"), b"x");
    }
    for (limit, requests) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (1_203, 2), (5_000, 2)] {
        let before = store.requests().of(RequestKind::List).calls;
        let listed = store.list_after("d/", None, limit).await.unwrap();
        let expected: Vec<String> = (0..limit.min(1_203)).map(|number| format!("d/{number:04}")).collect();
        assert_eq!(listed.iter().map(|listed| listed.key.to_string()).collect::<Vec<_>>(), expected);
        assert_eq!(store.requests().of(RequestKind::List).calls - before, requests, "{limit} objects");
    }
}

#[tokio::test]
async fn the_clock_of_a_bucket_is_the_date_of_its_answer() {
    let server = Server::start();
    let store = server.store().await;
    let Outcome::Done(_) = store.create(&key("x"), chunks("x")).await.unwrap() else { panic!("it is free") };
    let written = store.list_after("", None, 1).await.unwrap()[0].modified.as_millis();
    // The bucket dates its objects to the second.
    let now = store.now().await.unwrap().as_millis();
    assert!((written..written + 600_000).contains(&now), "{now} is far from {written}");
}

#[tokio::test]
async fn a_thousand_objects_and_more_are_deleted() {
    let server = Server::start();
    let store = server.store().await;
    let keys: Vec<Key> = (0..1_203).map(|number| key(&format!("d/{number:04}"))).collect();
    for key in &keys {
        server.backend.put(BUCKET, key.as_str(), b"x");
    }
    store.delete(&keys).await.unwrap();
    assert!(server.backend.paths(BUCKET).is_empty());
    assert_eq!(store.requests().of(RequestKind::Delete).calls, 2);
}
