//! The verbs of queues, against a third-party emulator of SQS.

use std::collections::BTreeMap;
use std::time::Duration;

use deltafold::aws::{Attribute, Outgoing, Queue, QueueAction, QueueErrorKind, Receive};
use deltafold_testing::queues::{create, message, options, with_dead_letters};
use deltafold_testing::{ministack, moves};

fn bodies(messages: &[deltafold::aws::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test]
async fn messages_keep_their_order_ids_and_attributes() {
    let queue = create(ministack::endpoint(), "whole.fifo", &[]).await;
    let mut first = message("a", "g");
    first.attributes = BTreeMap::from([
        ("text".to_owned(), Attribute::Text("String".to_owned(), "x".to_owned())),
        ("number".to_owned(), Attribute::Text("Number".to_owned(), "7".to_owned())),
        ("bytes".to_owned(), Attribute::Binary("Binary".to_owned(), vec![0, 255])),
    ]);
    let sent = [first.clone(), message("b", "g"), message("b", "g")];
    assert_eq!(queue.send(&sent).await.unwrap(), [], "the repetition is taken, and dropped by the service");
    let received = queue.receive(Receive::NOW).await.unwrap();
    assert_eq!(bodies(&received), ["a", "b"]);
    assert_eq!(received[0].attributes, first.attributes);
    assert_eq!((received[0].group.as_deref(), received[0].deduplication.as_deref()), (Some("g"), Some("id-a")));
    assert_eq!(received[0].receives, 1);
    assert!(received[0].sent.is_some() && received[0].first_received.is_some());
    assert!(received[0].sequence.unwrap() < received[1].sequence.unwrap());
    assert_eq!(bodies(&queue.receive(Receive::NOW).await.unwrap()), [] as [&str; 0], "they are in flight");
    assert_eq!(queue.depth().await.unwrap().in_flight, 2);

    let receipts: Vec<&str> = received.iter().map(|message| message.receipt.as_str()).collect();
    assert_eq!(queue.change_visibility(&receipts, Duration::ZERO).await.unwrap(), []);
    let again = queue.receive(Receive::NOW).await.unwrap();
    assert_eq!((bodies(&again), again[0].receives), (vec!["a", "b"], 2));
    let receipts: Vec<&str> = again.iter().map(|message| message.receipt.as_str()).collect();
    assert_eq!(queue.delete(&receipts).await.unwrap(), []);
    assert_eq!(queue.depth().await.unwrap().total(), 0);

    let requests = queue.requests();
    let of = |action| (requests.of(action).calls, requests.of(action).messages);
    assert_eq!(of(QueueAction::Send), (1, 3));
    assert_eq!(of(QueueAction::Receive), (3, 4));
    assert_eq!(of(QueueAction::Delete), (1, 2));
    assert_eq!(of(QueueAction::ChangeVisibility), (1, 2));
    assert_eq!(of(QueueAction::Other), (2, 0));
}

#[tokio::test]
async fn many_messages_go_ten_at_a_time() {
    let queue = create(ministack::endpoint(), "many", &[]).await;
    let messages: Vec<Outgoing> =
        (0..25).map(|number| Outgoing { body: number.to_string(), ..Outgoing::default() }).collect();
    assert_eq!(queue.send(&messages).await.unwrap(), []);
    assert_eq!(queue.requests().of(QueueAction::Send).calls, 3);
    let mut seen = Vec::new();
    while seen.len() < 25 {
        let received = queue.receive(Receive::NOW).await.unwrap();
        assert!(!received.is_empty(), "{seen:?}");
        seen.extend(received.iter().map(|message| message.body.parse::<u32>().unwrap()));
        let receipts: Vec<String> = received.into_iter().map(|message| message.receipt).collect();
        queue.delete(&receipts.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bad_message_fails_none_before_it() {
    let fifo = create(ministack::endpoint(), "bad.fifo", &[]).await;
    let missing = Outgoing { group: None, ..message("no group", "g") };
    let result = fifo.send(&[message("a", "g"), missing, message("c", "g")]).await;
    // A service refuses the entry, or the request.
    match result {
        Ok(failed) => assert!(!failed.is_empty() && failed.iter().all(|failed| failed.index >= 1), "{failed:?}"),
        Err(error) => assert!(matches!(error.kind(), QueueErrorKind::Invalid | QueueErrorKind::Permanent), "{error}"),
    }
}

/// One request takes ten. The places count through all requests of the call.
#[tokio::test]
async fn receipts_that_fail_are_told_by_their_places() {
    let plain = create(ministack::endpoint(), "receipts", &[]).await;
    let failed = plain.delete(&["no receipt"; 23]).await.unwrap();
    assert_eq!(failed.iter().map(|failed| failed.index).collect::<Vec<_>>(), (0..23).collect::<Vec<_>>());
}

/// Story: dead letters that the other queue refused were deleted all the same. Now a refused letter
/// stays, a taken one goes, and a letter that could not be deleted does not count as moved.
#[tokio::test]
async fn a_letter_that_the_other_queue_refuses_stays() {
    let endpoint = ministack::endpoint();
    for (name, action, refused, moved, stays) in [
        ("refuses-one", "SendMessageBatch", "body-1", 2, &["body-1"][..]),
        ("refuses-two", "SendMessageBatch", "body-2", 2, &["body-2"]),
        ("refuses-all", "SendMessageBatch", "", 0, &["body-0", "body-1", "body-2"]),
        ("deletes-none", "DeleteMessageBatch", "", 0, &[]),
    ] {
        let (queue, dead) = with_dead_letters(endpoint, &format!("{name}.fifo"), 1).await;
        let letters: Vec<Outgoing> =
            (0..3).map(|number| message(&format!("body-{number}"), &format!("group-{number}"))).collect();
        assert_eq!(dead.send(&letters).await.unwrap(), []);
        let front = moves::refusing(endpoint, action, refused);
        let behind = async |queue: &Queue| Queue::open(queue.url(), &options(&front)).await.unwrap();
        let done = behind(&dead).await.move_some(&behind(&queue).await, 10).await.unwrap();
        assert_eq!((done.moved, done.stayed.len()), (moved, stays.len()), "{name}: {done:?}");
        assert!(done.stayed.iter().all(|(_, reason)| reason.contains("as the test says")), "{name}: {done:?}");
        assert_eq!(done.doubled.len(), if action == "DeleteMessageBatch" { 3 } else { 0 }, "{name}: {done:?}");
        assert_eq!(dead.depth().await.unwrap().total(), 3 - moved, "{name}");
        let left = dead.receive(Receive::NOW).await.unwrap();
        assert_eq!(bodies(&left), stays, "{name}: those that stay can be received at once");
        let mut taken = Vec::new();
        while taken.len() + stays.len() < 3 {
            let received = queue.receive(Receive::NOW).await.unwrap();
            assert!(!received.is_empty(), "{name}: {taken:?}");
            taken.extend(received.into_iter().map(|message| message.body));
        }
        assert!(stays.iter().all(|body| !taken.iter().any(|taken| taken == body)), "{name}: {taken:?}");
    }
}

/// Story: no test asked a service to stop a move. A `cancel_move` that sent no request and answered
/// 0 passed.
#[tokio::test]
async fn a_move_that_is_stopped_leaves_the_rest() {
    let endpoint = ministack::endpoint();
    let (queue, dead) = with_dead_letters(endpoint, "stopped.fifo", 1).await;
    let letters: Vec<Outgoing> = (0..5).map(|number| message(&format!("body-{number}"), "g")).collect();
    assert_eq!(dead.send(&letters).await.unwrap(), []);
    let arn = dead.settings().await.unwrap().arn;
    let known = moves::Known {
        dead: (arn.clone(), dead.url().to_owned()),
        source: (queue.settings().await.unwrap().arn, queue.url().to_owned()),
    };
    let front = moves::start(endpoint, known);
    let dead = Queue::open(dead.url(), &options(&front)).await.unwrap();
    let handle = dead.start_move(&arn, None, None).await.unwrap();
    for moved in 1..=2 {
        let tasks = dead.moves(&arn).await.unwrap();
        assert_eq!((tasks.len(), tasks[0].moved, tasks[0].handle.as_deref()), (1, moved, Some(handle.as_str())));
        assert!(tasks[0].is_running());
    }
    assert_eq!(dead.cancel_move(&handle).await.unwrap(), 2);
    let tasks = dead.moves(&arn).await.unwrap();
    assert_eq!((tasks[0].status.as_str(), tasks[0].moved, tasks[0].is_running()), ("CANCELLED", 2, false));
    assert_eq!((queue.depth().await.unwrap().total(), dead.depth().await.unwrap().total()), (2, 3));
    for handle in [handle.as_str(), "another"] {
        let error = dead.cancel_move(handle).await.unwrap_err();
        assert_eq!(error.kind(), QueueErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("cannot stop the move of the queue `stopped-dead.fifo`"), "{error}");
    }
}

#[tokio::test]
async fn settings_tell_where_dead_letters_go() {
    let (queue, dead) = with_dead_letters(ministack::endpoint(), "letters.fifo", 1).await;
    let settings = queue.settings().await.unwrap();
    assert!(settings.fifo && !settings.content_based_deduplication);
    assert_eq!(settings.max_receives, Some(1));
    let arn = dead.settings().await.unwrap().arn;
    assert_eq!(settings.dead_letters.as_deref(), Some(arn.as_str()));
    queue.send(&[message("poison", "g")]).await.unwrap();
    for _ in 0..3 {
        queue.receive(Receive::NOW).await.unwrap();
    }
    let received = dead.receive(Receive::NOW).await.unwrap();
    assert_eq!(bodies(&received), ["poison"]);
    assert_eq!(received[0].group.as_deref(), Some("g"));
    // The emulator knows neither verb, and that answer differs from a failure.
    for error in [dead.dead_letter_sources().await.unwrap_err(), dead.start_move(&arn, None, None).await.unwrap_err()] {
        assert_eq!(error.kind(), QueueErrorKind::Unsupported, "{error}");
    }
    queue.send(&[message("more", "g")]).await.unwrap();
    queue.purge().await.unwrap();
    assert_eq!(queue.depth().await.unwrap().total(), 0);
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_said_so() {
    let endpoint = ministack::endpoint();
    let queue = create(endpoint, "found", &[]).await;
    let by_name = Queue::open("found", &options(endpoint)).await.unwrap();
    assert_eq!(by_name.url(), queue.url());
    let by_arn = queue.sibling(&queue.settings().await.unwrap().arn).await.unwrap();
    assert_eq!(by_arn.url(), queue.url());
    let error = Queue::open("nowhere", &options(endpoint)).await.unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::NotFound, "{error}");
    let missing = format!("{endpoint}/000000000000/nowhere");
    let missing = Queue::open(&missing, &options(endpoint)).await.unwrap();
    for error in [
        missing.receive(Receive::NOW).await.unwrap_err(),
        missing.send(&[message("a", "g")]).await.unwrap_err(),
        missing.purge().await.unwrap_err(),
        missing.settings().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), QueueErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("`nowhere`") && error.to_string().contains("no such queue"), "{error}");
    }
    let error = Queue::open("https://x/", &options(endpoint)).await.unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::Invalid, "{error}");
}
