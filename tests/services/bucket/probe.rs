//! The verdict of a probe on a bucket: lost answers condemn no sound one, and no broken one passes.

use std::sync::Arc;
use std::time::Duration;

use deltafold::format::{Op, Record};
use deltafold::store::{Probe, Promise, RequestKind, S3, Store, Verdict, probe};
use deltafold::{Collection, CompactorOptions, CreateOptions, ErrorKind, WriterOptions};
use deltafold_testing::random::Random;
use deltafold_testing::s3::backend::Quirk;
use deltafold_testing::s3::{BUCKET, Fault, Rates, Server};

use futures::future::join_all;

fn verdict(probe: &Probe, promise: Promise) -> &Verdict {
    let check = probe.checks.iter().find(|check| check.promise == promise);
    &check.unwrap_or_else(|| panic!("{promise:?} was not tried: {probe:#?}")).verdict
}

async fn tried(server: &Server) -> Probe {
    let probe = probe(&server.store().await).await.unwrap();
    server.heal();
    probe
}

/// Story: `create` said of a sound bucket that a name was taken. One answer had been lost, and the
/// second attempt was refused because of the first. No collection could be made there, though
/// `append` was faultless with half of all answers lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_answer_condemns_no_sound_bucket() {
    let server = Server::start();
    assert!(tried(&server).await.is_sound());
    let requests = server.calls().len();
    assert!((60..120).contains(&requests), "{requests}");
    for number in 0..requests {
        let more = match number % 9 {
            0 => Some(Fault::AnswerAfter(500, "InternalError")),
            4 => Some(Fault::Echo),
            8 => Some(Fault::Late(Duration::from_millis(5))),
            _ => None,
        };
        for fault in more.into_iter().chain([Fault::LoseAnswer]) {
            server.fail_nth(number, fault);
            let probe = tried(&server).await;
            assert!(probe.is_sound(), "request {number}, {fault:?}: {probe:#?}");
        }
    }
    assert!(server.backend.paths(BUCKET).len() < requests, "only what landed late is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_all_answers_lost_condemn_no_sound_bucket() {
    let mut seeds = Random::from_environment();
    let seeds: Vec<u64> = (0..5).map(|_| seeds.next()).collect();
    let tries = seeds.into_iter().map(|seed| async move {
        let server = Server::start();
        server.fail_at_random(seed, Rates { lost_answers: 500, ..Rates::default() });
        (seed, tried(&server).await)
    });
    for (seed, probe) in join_all(tries).await {
        let condemned =
            probe.checks.iter().find(|check| !matches!(check.verdict, Verdict::Kept | Verdict::Unanswered(_)));
        assert!(condemned.is_none(), "seed {seed}: {condemned:?}");
    }
}

/// Each way to lose updates, the promise that fails the probe, and whether heads in DynamoDB would
/// help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_broken_bucket_passes_though_any_answer_is_lost() {
    let mut seeds = Random::from_environment();
    for (quirk, promise, registers) in [
        (Quirk::IgnoresCreateConditions, Promise::CreatesOnce, false),
        (Quirk::IgnoresUploadConditions, Promise::UploadsOnce, false),
        (Quirk::IgnoresReplaceConditions, Promise::ReplacesUnchanged, true),
        (Quirk::ReplacesWhatIsNotThere, Promise::ReplacesPresent, true),
        (Quirk::LacksReplace, Promise::Replaces, true),
        (Quirk::JudgesEarly, Promise::CreatesForOne, false),
        (Quirk::JudgesEarly, Promise::ReplacesForOne, false),
        (Quirk::SaysUnchanged, Promise::ReadsChanged, true),
        (Quirk::StaleLists, Promise::Lists, false),
        (Quirk::UnorderedLists, Promise::Lists, false),
        (Quirk::StaleReads, Promise::ReadsCreated, false),
        (Quirk::KeepsDeleted, Promise::Deletes, false),
    ] {
        for lost_answers in [0, 300] {
            let (server, seed) = (Server::start(), seeds.below(u64::MAX));
            server.backend.has(quirk);
            server.fail_at_random(seed, Rates { lost_answers, ..Rates::default() });
            let probe = tried(&server).await;
            let verdict = verdict(&probe, promise);
            let condemned = matches!(verdict, Verdict::Broken(_) | Verdict::Unsupported(_));
            assert!(condemned, "{quirk:?}, seed {seed}, {lost_answers} lost: {verdict:?}");
            assert_eq!(probe.lacks_only_registers(), registers, "{quirk:?}, seed {seed}: {probe:#?}");
            let error = Collection::fits(&server.store().await, &probe).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unfit);
            let help = if registers { "--heads dynamodb:TABLE" } else { "docs/s3.md" };
            assert!(error.to_string().contains(help), "{error}");
        }
    }
}

/// Story: `doctor` stopped at the first 501 and showed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_tried_though_another_fails() {
    let server = Server::start();
    let all = tried(&server).await.checks.len();
    for (verb, fault, promise) in [
        ("create", Fault::Answer(501, "NotImplemented"), Promise::Creates),
        ("replace", Fault::Answer(501, "NotImplemented"), Promise::Replaces),
        ("replace", Fault::Answer(405, "MethodNotAllowed"), Promise::Replaces),
        ("get_unless", Fault::Answer(501, "NotImplemented"), Promise::ReadsUnless),
        ("upload_start", Fault::Answer(501, "NotImplemented"), Promise::UploadsOnce),
        ("clock", Fault::Answer(501, "NotImplemented"), Promise::TellsTime),
    ] {
        server.fail_always(verb, "", fault);
        let probe = tried(&server).await;
        assert_eq!(probe.checks.len(), all, "{verb}: {probe:#?}");
        assert!(matches!(verdict(&probe, promise), Verdict::Unsupported(_)), "{verb}: {probe:#?}");
    }
    for (verb, promise) in [("get", Promise::ReadsCreated), ("replace", Promise::Replaces), ("list", Promise::Lists)] {
        server.fail_always(verb, "", Fault::Answer(403, "AccessDenied"));
        let probe = tried(&server).await;
        assert_eq!(probe.checks.len(), all, "{verb}: {probe:#?}");
        assert!(matches!(verdict(&probe, promise), Verdict::Denied(_)), "{verb}: {probe:#?}");
        let error = Collection::fits(&server.store().await, &probe).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
    }
    server.fail_always("clock", "", Fault::Answer(503, "SlowDown"));
    let probe = tried(&server).await;
    assert!(matches!(verdict(&probe, Promise::TellsTime), Verdict::Unanswered(_)), "{probe:#?}");
    let error = Collection::fits(&server.store().await, &probe).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "no answer is not a verdict");
}

/// Story: the probe refused a service that ignored `If-None-Match` of a GET, though that costs
/// bytes and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_sends_unchanged_heads_works_and_costs_more() {
    let server = Server::start();
    server.backend.has(Quirk::SendsUnchanged);
    let probe = tried(&server).await;
    assert!(probe.is_sound(), "{probe:#?}");
    assert!(matches!(verdict(&probe, Promise::ReadsUnless), Verdict::Costs(_)), "{probe:#?}");

    let store: Arc<S3> = Arc::new(server.store_under("data").await);
    let collection = Collection::create(store.clone(), &"c".parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
    let writer = collection.writer(WriterOptions::default()).unwrap();
    let mut reader = collection.reader().await.unwrap();
    for round in 0..3 {
        for number in 0..5 {
            writer.append(vec![Op::put(format!("{round}-{number}"), Record::default())]).await.unwrap();
        }
        let mut compactor = collection.compactor(CompactorOptions::default());
        assert!(!compactor.run_once().await.unwrap().events.is_empty());
        assert!(compactor.run_once().await.unwrap().events.is_empty(), "nothing has changed");
        reader.refresh().await.unwrap();
        assert_eq!(reader.count().await.unwrap(), 5 * (round + 1));
    }
    let counted = store.requests().of(RequestKind::GetUnless);
    assert!(counted.calls > 0 && counted.unchanged == 0, "{counted:?}");
    assert_eq!(counted.failed, 0);
}
