//! The tools for queues and `reset`, against a third-party emulator of SQS and DynamoDB and a
//! bucket with injected faults.

use deltafold::aws::{Queue, Receive};

use crate::cloud::Cloud;
use crate::home::puts;
use deltafold_testing::s3::{BUCKET, Fault};
use deltafold_testing::{ministack, moves, queues};

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// A queue and its dead-letter queue. The latter holds these bodies, each in its group.
fn with_letters(name: &str, letters: &[(&str, &str)]) -> (Queue, Queue) {
    block(async {
        let (queue, dead) = queues::with_dead_letters(ministack::endpoint(), name, 1).await;
        for (body, group) in letters {
            let message = queues::message(body, group);
            let plain = deltafold::aws::Outgoing { group: None, deduplication: None, ..message.clone() };
            let message = if queue.is_fifo() { message } else { plain };
            assert!(dead.send(&[message]).await.expect("sent").is_empty());
        }
        (queue, dead)
    })
}

fn depth(queue: &Queue) -> u64 {
    block(queue.depth()).expect("a depth").total()
}

#[test]
fn depth_shows_queues_and_where_their_dead_letters_go() {
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-depth.fifo", &[("a", "g"), ("b", "h")]);
    cloud.run(&format!("queue depth {}", queue.url())).ok().says("cli-depth-dead.fifo after 1 receives");
    let json = cloud.run(&format!("queue depth {} --json", queue.name())).ok().json();
    let queues = json["queues"].as_array().unwrap();
    assert_eq!((queues[0]["visible"].as_u64(), queues[1]["visible"].as_u64()), (Some(0), Some(2)), "{json}");
    assert_eq!(queues[1]["queue"], dead.name());
    cloud.run("queue depth nowhere").ends_with(4).complains("no such queue");
    cloud.run("queue depth https://x/").ends_with(3);
}

#[test]
fn peek_leaves_messages_and_asks_where_a_receive_counts() {
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-peek.fifo", &[("a", "g"), ("b", "g")]);
    let peeked = cloud.run(&format!("queue peek {} --json", dead.url())).json_lines();
    assert_eq!(peeked.iter().map(|message| message["body"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((peeked[0]["group"].as_str(), peeked[0]["receives"].as_u64()), (Some("g"), Some(1)));
    assert_eq!(block(dead.receive(Receive::NOW)).unwrap().len(), 2, "they can be received at once");
    cloud.run(&format!("queue peek {} --dry-run", dead.url())).ok();
    cloud.run(&format!("queue peek {}", queue.url())).ends_with(2).complains("no terminal");
    cloud.run(&format!("queue peek {} --yes", queue.url())).ok();
}

#[test]
fn redriving_by_hand_keeps_order_groups_and_unsendable_messages() {
    let cloud = Cloud::new();
    let letters: Vec<(String, String)> = (0..23).map(|n| (format!("m{n:02}"), format!("g{}", n % 2))).collect();
    let letters: Vec<(&str, &str)> = letters.iter().map(|(body, group)| (body.as_str(), group.as_str())).collect();
    let (queue, dead) = with_letters("cli-redrive.fifo", &letters);
    // The queue has seen the ids of its dead letters. Sent again under them, they would be dropped
    // silently.
    block(async {
        for (body, group) in &letters {
            queue.send(&[queues::message(body, group)]).await.unwrap();
        }
        queue.purge().await.unwrap();
    });
    let redrive = |more: &str| cloud.run(&format!("queue redrive {} {more}", dead.url()));
    redrive("--dry-run").ok().says("23 messages");
    redrive("").ends_with(2).complains("no terminal");
    assert_eq!((depth(&queue), depth(&dead)), (0, 23), "nothing has happened yet");
    redrive("--yes").ends_with(2).complains("--to QUEUE");
    let to = format!("--yes --to {}", queue.name());
    redrive(&format!("{to} --max 3")).ok().says("moved 3 messages");
    let json = redrive(&format!("{to} --json")).ok().json();
    assert_eq!((json["moved"].as_u64(), json["by_hand"].as_bool()), (Some(20), Some(true)));
    assert_eq!((depth(&queue), depth(&dead)), (23, 0));
    let mut bodies: Vec<Vec<String>> = vec![Vec::new(), Vec::new()];
    block(async {
        while bodies.iter().map(Vec::len).sum::<usize>() < 23 {
            let received = queue.receive(Receive::NOW).await.unwrap();
            assert!(!received.is_empty());
            for message in &received {
                bodies[usize::from(message.group.as_deref() == Some("g1"))].push(message.body.clone());
                queue.delete(&[&message.receipt]).await.unwrap();
            }
        }
    });
    assert!(bodies.iter().all(|group| group.is_sorted()), "{bodies:?}");
    assert_eq!(redrive(&format!("{to} --json")).ok().json()["moved"], 0);
}

#[test]
fn a_redrive_names_messages_the_other_queue_refuses() {
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-refuses.fifo", &[("a", "g"), ("refused", "h"), ("c", "i")]);
    let front = moves::refusing(ministack::endpoint(), "SendMessageBatch", "refused");
    let redrive = format!("queue redrive {} --by-hand --yes --json --to {}", dead.url(), queue.name());
    let ran = cloud.run(&format!("{redrive} --endpoint {front}")).ends_with(1);
    assert!(ran.stderr.contains("refused 1 message") && ran.stderr.contains("as the test says"), "{ran:?}");
    let json = ran.json();
    assert_eq!((json["moved"].as_u64(), json["stayed"].as_array().map(Vec::len)), (Some(2), Some(1)), "{json}");
    assert_eq!((depth(&queue), depth(&dead)), (2, 1));
    assert_eq!(cloud.run(&redrive).ok().json()["moved"], 1);
    assert_eq!((depth(&queue), depth(&dead)), (3, 0));
}

/// Story: the dead letters were sent and could not be deleted. The command said "moved 0" and ended
/// with 0, and each message was in both queues.
#[test]
fn a_redrive_tells_of_letters_it_cannot_delete() {
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-undeleted.fifo", &[("a", "g"), ("b", "h")]);
    let front = moves::refusing(ministack::endpoint(), "DeleteMessageBatch", "ReceiptHandle");
    let redrive = format!("queue redrive {} --by-hand --yes --json --to {}", dead.url(), queue.name());
    let ran = cloud.run(&format!("{redrive} --endpoint {front}")).ends_with(1);
    assert!(ran.stderr.contains("cannot be deleted in `cli-undeleted-dead.fifo`"), "{ran:?}");
    assert!(ran.stderr.contains("both queues"), "{ran:?}");
    let json = ran.json();
    assert_eq!((json["moved"].as_u64(), json["doubled"].as_array().map(Vec::len)), (Some(0), Some(2)), "{json}");
    assert_eq!((depth(&queue), depth(&dead)), (2, 2));
}

#[test]
fn a_redrive_by_the_service_is_followed_to_its_end() {
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-moves.fifo", &[("a", "g"), ("b", "g"), ("c", "h")]);
    let arn = |queue: &Queue| (block(queue.settings()).unwrap().arn, queue.url().to_owned());
    let front = moves::start(ministack::endpoint(), moves::Known { dead: arn(&dead), source: arn(&queue) });
    let redrive =
        |more: &str| cloud.run(&format!("queue redrive {} --endpoint {front} --yes --json {more}", dead.url()));
    let json = redrive("").ok().json();
    assert_eq!((json["moved"].as_u64(), json["by_hand"].as_bool()), (Some(3), Some(false)), "{json}");
    assert_eq!((depth(&queue), depth(&dead)), (3, 0));
    // Moved by the command itself, the letters go to the queue that they came from.
    block(dead.send(&[queues::message("d", "g")])).unwrap();
    let json = redrive("--max 5").ok().json();
    assert_eq!((json["moved"].as_u64(), json["by_hand"].as_bool()), (Some(1), Some(true)), "{json}");
    assert_eq!((depth(&queue), depth(&dead)), (4, 0));
}

#[test]
fn purging_says_how_long_nothing_may_be_sent_again() {
    let cloud = Cloud::new();
    let (_, fifo) = with_letters("cli-purge.fifo", &[("a", "g")]);
    let (_, plain) = with_letters("cli-purge", &[("a", "g")]);
    cloud.run(&format!("queue purge {}", fifo.url())).ends_with(2);
    cloud.run(&format!("queue purge {} --dry-run", fifo.url())).ok().says("would be deleted");
    assert_eq!(depth(&fifo), 1);
    let ran = cloud.run(&format!("queue purge {} --yes", fifo.url())).ok();
    assert!(ran.stderr.contains("300 s") && ran.stderr.contains("silently"), "{ran:?}");
    let json = cloud.run(&format!("queue purge {} --yes --json", plain.url())).ok().json();
    assert_eq!((json["messages"].as_u64(), json["send_again_after_seconds"].as_u64()), (Some(1), Some(60)));
    assert_eq!((depth(&fifo), depth(&plain)), (0, 0));
}

/// Story: a reset died in the middle of the drop. The collection's register was gone, so the next
/// one did not know where the heads were. The table kept lost heads, and the collection made anew
/// met them. Now a note in the store records the work, and the same command goes on.
#[test]
fn a_reset_goes_on_from_wherever_it_was_broken_off() {
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-reset.fifo", &[("poison", "g")]);
    block(queue.send(&[queues::message("old", "g")])).unwrap();
    cloud.run("create c --dimension 2 --heads dynamodb:reset-heads@us-east-1 --create-table").ok();
    cloud.run_with("append c", &puts(20)).ok();
    cloud.run("compact c").ok();
    let reset = format!("reset c --queue {}", queue.url());
    cloud.run(&reset).ends_with(2).complains("no terminal");
    let dry = cloud.run(&format!("{reset} --dry-run --json")).ok().json();
    assert_eq!(
        (dry["queues"].as_array().map(Vec::len), dry["send_again_after_seconds"].as_u64()),
        (Some(2), Some(300))
    );
    assert_eq!((depth(&queue), depth(&dead)), (1, 1));
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "20", "nothing has gone");

    // The first deletion, that of the register, fails before it happens, or after.
    for fault in [Fault::Answer(403, "AccessDenied"), Fault::AnswerAfter(403, "AccessDenied")] {
        cloud.server.fail_always("delete", "", fault);
        let ran = cloud.run(&format!("{reset} --yes --no-wait")).ends_with(1);
        cloud.server.heal();
        assert!(ran.stderr.contains("permission"), "{ran:?}");
        let paths = cloud.server.backend.paths(BUCKET);
        assert!(paths.iter().any(|path| path.ends_with("RESET/c")), "the note stays: {paths:?}");
        assert!(paths.iter().any(|path| path.contains("c/0000")), "objects wait: {paths:?}");
        assert_eq!((depth(&queue), depth(&dead)), (0, 0), "queues go first");
    }
    assert!(!cloud.server.backend.paths(BUCKET).iter().any(|path| path.ends_with("c/collection")));
    // The user need not remember the queues and the table.
    cloud.run("reset c --yes --no-wait").ok().says("dropped c");
    assert!(cloud.server.backend.paths(BUCKET).is_empty());
    cloud.run("create c --dimension 2 --heads dynamodb:reset-heads@us-east-1").ok();
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "0");
    let said = cloud.run(&format!("{reset} --yes --no-wait")).ok();
    assert!(said.stderr.contains("send nothing again before 300 s"), "{said:?}");
    cloud.run("reset c --yes").ends_with(4);
}

#[test]
fn a_reset_killed_while_it_waits_can_be_run_again() {
    use std::io::{BufRead as _, BufReader};
    let cloud = Cloud::new();
    let (queue, dead) = with_letters("cli-killed.fifo", &[("poison", "g")]);
    cloud.run("create c --dimension 2").ok();
    let mut child = cloud.command(&format!("reset c --queue {} --yes", queue.url())).spawn().expect("it starts");
    let mut said = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut said).expect("a line");
    assert!(said.contains("waiting 5 min 0 s"), "{said}");
    assert!(child.try_wait().expect("asked").is_none(), "it waits");
    child.kill().and_then(|()| child.wait()).expect("killed");
    assert_eq!((depth(&queue), depth(&dead)), (0, 0));
    let paths = cloud.server.backend.paths(BUCKET);
    assert!(paths.len() == 1 && paths[0].ends_with("RESET/c"), "only the note is left: {paths:?}");
    cloud.run("reset c --yes --no-wait").ok();
    assert!(cloud.server.backend.paths(BUCKET).is_empty());
}

/// It appends the messages of the queue, reports it, and goes on until it is told to end.
#[test]
fn ingest_appends_messages_and_ends_when_told() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2").ok();
    let queue = block(queues::create(ministack::endpoint(), "cli-ingest.fifo", &[]));
    let send = |id: &str| {
        let message = queues::message(&format!("{{\"op\":\"put\",\"id\":\"{id}\"}}"), "g");
        assert!(block(queue.send(&[message])).expect("sent").is_empty());
    };
    send("a");
    send("b");
    let ran = cloud.run(&format!("ingest c --queue {} --until-empty --json", queue.url())).ok().json();
    assert_eq!((ran["messages"].as_u64(), ran["ops"].as_u64(), ran["failed"].as_u64()), (Some(2), Some(2), Some(0)));
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "2");

    send("c");
    let mut command = cloud.command(&format!("ingest c --queue {}", queue.url()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let program = command.spawn().expect("it starts");
    // It deletes a message once the message is durable.
    while depth(&queue) > 0 {}
    assert!(std::process::Command::new("kill").arg(program.id().to_string()).status().expect("kill runs").success());
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 message, 1 op appended to c"), "{output:?}");
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "3");
    cloud.run("ingest c --queue nowhere").ends_with(4).complains("no such queue");
}

/// Story: `ingest --until-empty` ended with 0 though messages had failed, and scripts went on.
#[test]
fn ingest_until_empty_tells_where_failed_messages_are() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2").ok();
    let send = |queue: &Queue, body: &str| {
        let message = deltafold::aws::Outgoing { body: body.to_owned(), ..deltafold::aws::Outgoing::default() };
        assert!(block(queue.send(&[message])).expect("sent").is_empty());
    };
    let topic =
        "{\"Type\":\"Notification\",\"TopicArn\":\"t\",\"Message\":\"{\\\"op\\\":\\\"put\\\",\\\"id\\\":\\\"a\\\"}\"}";
    let queue = block(queues::create(ministack::endpoint(), "cli-left", &[]));
    send(&queue, topic);
    send(&queue, "{\"AlarmName\":\"x\",\"NewStateValue\":\"ALARM\"}");
    let ran = cloud.run(&format!("ingest c --queue {} --until-empty", queue.url())).ends_with(8);
    assert!(ran.stdout.contains("1 message, 1 op appended to c") && ran.stdout.contains("failed: 1"), "{ran:?}");
    for words in
        ["a CloudWatch alarm holds no op", "1 message failed", "1 back in `cli-left` within 30 s", "redrive policy"]
    {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
    let (queue, dead) = with_letters("cli-left-dead", &[]);
    send(&queue, "nonsense");
    let ran = cloud.run(&format!("ingest c --queue {} --until-empty --json", queue.url())).ends_with(8);
    let last: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().expect("an error")).expect("JSON");
    let error = &last["error"];
    assert_eq!((error["kind"].as_str(), error["left"].as_u64()), (Some("messages_failed"), Some(1)), "{ran:?}");
    assert_eq!((error["in_dead_letters"].as_u64(), error["dead_letters"].as_str()), (Some(1), Some(dead.name())));
    assert_eq!(depth(&dead), 1);
}

/// Story: `--json` put plain warnings between the lines of JSON on standard error, and scripts
/// failed.
#[test]
fn a_warning_is_a_line_of_json_for_scripts() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2").ok();
    // The program warns that a standard queue may deliver twice.
    let (queue, _) = with_letters("cli-warns", &[]);
    let ran = cloud.run(&format!("ingest c --queue {} --until-empty --json", queue.url())).ok();
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{ran:#?}"));
    let lines: Vec<serde_json::Value> = ran.stderr.lines().map(parse).collect();
    let warned = |line: &serde_json::Value| line["level"] == "WARN" && line["fields"]["message"].is_string();
    assert!(!lines.is_empty() && lines.iter().all(warned), "{lines:#?}");
}

/// Story: bodies of messages and names of groups reached the terminal raw.
#[test]
fn a_hostile_message_is_shown_escaped() {
    let cloud = Cloud::new();
    let body = "\u{9b}2J\u{202e}body\u{2028}\u{85}\nforged";
    let (_, dead) = with_letters("cli-hostile.fifo", &[(body, "g")]);
    let ran =
        cloud.run(&format!("queue peek {}", dead.url())).ok().says("\\u{9b}2J\\u{202e}body\\u{2028}\\u{85}\\nforged");
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:#?}");
    let ran = cloud.run(&format!("queue peek {} --json", dead.url())).ok();
    assert!(!ran.stdout.contains(['\u{9b}', '\u{202e}', '\u{2028}']), "{ran:#?}");
    assert_eq!(ran.json()["body"], body);
}
