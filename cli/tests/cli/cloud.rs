//! The program over S3: everything as in a folder, and every way in which a bucket can be wrong.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::home::{Home, Ran, puts};
use deltafold_testing::ministack;
use deltafold_testing::s3::backend::Quirk;
use deltafold_testing::s3::{ACCESS_KEY, BUCKET, Fault, SECRET_KEY, Server};

/// The program, told to use the bucket of a server.
pub(crate) struct Cloud {
    home: Home,
    pub(crate) server: Server,
    secret: &'static str,
    more: String,
}

impl Cloud {
    pub(crate) fn new() -> Self {
        Self { home: Home::new(), server: Server::start(), secret: SECRET_KEY, more: String::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        self.home.write(name, content);
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let store = format!("s3://{BUCKET}/data?endpoint={}{}", self.server.endpoint(), self.more);
        let mut command = self.home.command(arguments);
        command.env("DELTAFOLD_STORE", store).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", self.secret);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", ministack::endpoint());
        command.env("AWS_ENDPOINT_URL_SQS", ministack::endpoint());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        Ran::within(self.command(arguments), Duration::from_secs(60), "")
    }

    pub(crate) fn run_with(&self, arguments: &str, input: &str) -> Ran {
        Ran::within(self.command(arguments), Duration::from_secs(60), input)
    }
}

#[test]
fn a_bucket_is_as_good_as_a_folder() {
    let cloud = Cloud::new();
    let created = cloud.run("create c --dimension 2").ok();
    assert!(created.stdout.contains("created c in s3://bucket/data"), "{created:?}");
    cloud.run_with("append c", &puts(300)).ok();
    cloud.run("compact c").ok();
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "300");
    assert!(cloud.run("get c r007").ok().stdout.contains("r007"));
    cloud.run("pin c kept").ok();
    let status = cloud.run("status c --requests --json").ok().json();
    assert_eq!(status["heads"]["place"], "store");
    assert!(status["requests"]["get"]["calls"].as_u64().unwrap() >= 3, "{status}");
    let told = cloud.run("count c --requests").ok();
    assert!(told.stderr.contains("list ") && told.stderr.contains("RECEIVED"), "{told:?}");
    let told: serde_json::Value = serde_json::from_str(&cloud.run("count c --requests --json").ok().stderr).unwrap();
    assert!(told["requests"]["get"]["bytes_in"].as_u64().unwrap() > 0, "{told}");
    cloud.run("sweep c --keep-versions 0 --min-age 0s").ok();
    assert!(cloud.run("verify c --deep").ok().stdout.contains("sound"));
    assert!(cloud.run("inspect c/0000/head").ok().stdout.contains("head"));
    let doctor = cloud.run("doctor").ok();
    assert!(doctor.stdout.contains("a name is created once") && doctor.stdout.contains("kept"), "{doctor:?}");
    for verdict in ["costs", "NO ANSWER", "DENIED", "UNSUPPORTED", "BROKEN"] {
        assert!(!doctor.stdout.contains(verdict), "{doctor:?}");
    }
    cloud.run("drop c --yes").ok();
    assert!(cloud.server.backend.paths(BUCKET).is_empty());
}

/// Answers of writes are lost on the way, and each op is copied once all the same.
#[test]
fn a_copy_and_an_export_of_a_bucket_are_equal() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2 --shards 2").ok();
    cloud.run_with("append c", &puts(300)).ok();
    cloud.run("compact c").ok();
    cloud.run_with("append c", "{\"op\":\"delete\",\"id\":\"r007\"}\n").ok();
    let elsewhere = format!("s3://{BUCKET}/backup?endpoint={}", cloud.server.endpoint());
    for path in ["backup/copy/0000/log/", "backup/copy/0001/log/", "backup/copy/0002/log/"] {
        cloud.server.fail("create", path, Fault::LoseAnswer);
    }
    let copied = cloud.run(&format!("--json copy c copy --shards 3 --to-store {elsewhere}")).ok().json();
    assert_eq!((&copied["written"], &copied["records"]), (&299.into(), &299.into()), "{copied}");
    assert!(cloud.server.all_reached(), "a lost answer in each shard");
    cloud.run_with("append c", "{\"op\":\"delete\",\"id\":\"r008\"}\n").ok();
    cloud.server.fail("create", "backup/copy/", Fault::LoseAnswer);
    let again = cloud.run(&format!("--json copy c copy --to-store {elsewhere}")).ok().json();
    assert_eq!((&again["transfers"], &again["ops"], &again["records"]), (&0.into(), &1.into(), &298.into()), "{again}");
    assert!(cloud.server.all_reached());
    cloud.run(&format!("--store {elsewhere} copy copy back --to-store dir:here")).ok();
    let records = |arguments: &str| cloud.run(&format!("scan {arguments}")).ok().stdout;
    assert_eq!(records("c"), records("back --store dir:here"));
    cloud.run("export c --format jsonl --order id --out c.jsonl").ok();
    cloud.run("--store dir:here export back --format jsonl --order id --out back.jsonl").ok();
    let file = |name: &str| std::fs::read_to_string(cloud.home.path().join(name)).unwrap();
    assert_eq!(file("c.jsonl").lines().count(), 298);
    assert_eq!(file("c.jsonl"), file("back.jsonl"));
}

#[test]
fn heads_lie_in_a_table_where_that_is_chosen() {
    let cloud = Cloud::new();
    let missing = cloud.run("create c --dimension 2 --heads dynamodb:heads@us-east-1");
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("--create-table"), "it says how the table is made: {missing:?}");
    assert!(cloud.server.backend.paths(BUCKET).is_empty(), "nothing is half made");
    cloud.run("create c --dimension 2 --heads dynamodb:heads@us-east-1 --create-table").ok();
    assert_eq!(cloud.server.backend.paths(BUCKET), ["data/c/collection"], "the head is in the table");
    cloud.run_with("append c", &puts(20)).ok();
    cloud.run("compact c").ok();
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "20");
    let status = cloud.run("status c").ok();
    assert!(status.stdout.contains("heads lie in the DynamoDB table `heads` in us-east-1"), "{status:?}");
    assert!(cloud.run("inspect c/0000/head").ok().stdout.contains("head"));
    assert!(cloud.run("verify c --deep").ok().stdout.contains("sound"));
    assert!(cloud.run("doctor --heads dynamodb:heads@us-east-1").ok().stdout.contains("kept"));
    cloud.run("drop c --yes").ok();
    assert!(cloud.server.backend.paths(BUCKET).is_empty());
    // The name is free again, head and all.
    cloud.run("create c --dimension 2 --heads dynamodb:heads@us-east-1").ok();
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "0");
}

#[test]
fn copies_of_parts_save_requests_except_in_verification() {
    let mut cloud = Cloud::new();
    cloud.more = format!("&cache={}&cache_bytes=1MiB", cloud.home.path().join("cache").display());
    cloud.run("create c --dimension 2").ok();
    cloud.run_with("append c", &puts(100)).ok();
    cloud.run("compact c").ok();
    let calls = |ran: Ran| {
        let told: serde_json::Value = serde_json::from_str(&ran.ok().stderr).unwrap();
        told["requests"]["get"]["calls"].as_u64().unwrap()
    };
    let cold = calls(cloud.run("get c r007 --requests --json"));
    let warm = calls(cloud.run("get c r007 --requests --json"));
    assert_eq!(cold - warm, 3, "columns, documents and embeddings come from their copies");
    // If it read through the copies, the first would leave whole ones for the second.
    cloud.run("verify c --deep").ok();
    let part = cloud.server.backend.paths(BUCKET).into_iter().find(|path| path.ends_with(".emb")).unwrap();
    cloud.server.backend.rot(BUCKET, &part, |bytes| bytes[70] ^= 1);
    let damaged = cloud.run("verify c --deep");
    assert_eq!(damaged.code, 6, "{damaged:?}");
}

/// Each fault with the program's message and exit code, within ten seconds and with nothing half
/// made.
#[test]
fn a_wrong_bucket_is_a_clear_error() {
    let refused = |cloud: &Cloud, arguments: &str, code: i32, words: &[&str]| {
        let ran = Ran::within(cloud.command(arguments), Duration::from_secs(10), "");
        assert_eq!(ran.code, code, "{arguments}: {ran:?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{arguments}: {ran:?}");
        assert!(cloud.server.backend.paths(BUCKET).is_empty(), "{arguments}: nothing is half made");
    };
    let create = "create c --dimension 2";
    let mut cloud = Cloud::new();
    cloud.secret = "wrong";
    refused(&cloud, create, 1, &["credentials are wrong"]);
    refused(&cloud, "status", 1, &["credentials are wrong"]);
    cloud.secret = SECRET_KEY;
    let mut command = cloud.command(create);
    command.env("AWS_ACCESS_KEY_ID", "stranger");
    let ran = Ran::within(command, Duration::from_secs(10), "");
    assert!(ran.code == 1 && ran.stderr.contains("credentials are wrong"), "{ran:?}");
    let mut command = cloud.command(create);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("HOME", cloud.home.path());
    let ran = Ran::within(command, Duration::from_secs(10), "");
    assert!(ran.code == 1 && ran.stderr.contains("no credentials were found"), "{ran:?}");

    let missing = format!("--store s3://no-such-bucket/x?endpoint={} create c --dimension 2", cloud.server.endpoint());
    refused(&cloud, &missing, 1, &["NoSuchBucket", "there is no bucket `no-such-bucket`: create it"]);
    refused(&cloud, "--store s3://bucket/x?region= create c --dimension 2", 2, &["names no region"]);
    let mut command = cloud.command("--store s3://bucket/x create c --dimension 2");
    command.env_remove("AWS_REGION").env("HOME", cloud.home.path());
    let ran = Ran::within(command, Duration::from_secs(10), "");
    assert!(ran.code == 1 && ran.stderr.contains("no region is set"), "{ran:?}");
    refused(&cloud, "--store s3://bucket/x?colour=red create c --dimension 2", 2, &["no parameter `colour`"]);
    for (verb, status, code, words) in [
        ("create", 403, "AccessDenied", ["permission", "docs/s3.md"]),
        ("get", 403, "AccessDenied", ["permission", "cannot read"]),
        ("list", 403, "AccessDenied", ["permission", "cannot list"]),
        ("replace", 403, "AccessDenied", ["permission", "cannot replace"]),
        ("create", 301, "PermanentRedirect", ["lies in eu-west-1", "?region=eu-west-1"]),
        ("create", 403, "RequestTimeTooSkewed", ["clock", "set it"]),
        ("create", 501, "NotImplemented", ["doctor", "cannot create"]),
    ] {
        cloud.server.fail_always(verb, "", Fault::Answer(status, code));
        refused(&cloud, create, 1, &words);
        cloud.server.heal();
    }
    cloud.server.backend.ignore_conditions();
    refused(&cloud, create, 1, &["updates would be lost", "If-None-Match", "condition is ignored"]);
    refused(&cloud, "doctor", 1, &["cannot hold a collection", "condition is ignored"]);
    // If only the replace is missing, the heads can live elsewhere. If the create is missing,
    // nothing helps.
    refused(
        &cloud,
        "create c --dimension 2 --heads dynamodb:elsewhere@us-east-1 --create-table",
        1,
        &["If-None-Match"],
    );
}

/// Story: `doctor` stopped at the first 501, showed no table, and did not say that heads in
/// DynamoDB would work.
#[test]
fn a_doctor_without_replace_shows_all_and_names_dynamodb() {
    let cloud = Cloud::new();
    cloud.server.backend.has(Quirk::LacksReplace);
    let ran = cloud.run("doctor").ends_with(1).complains("--heads dynamodb:TABLE").complains("NotImplemented");
    let shown = |verdict: &str| ran.stdout.lines().filter(|line| line.contains(verdict)).count();
    assert_eq!((shown("kept"), shown("UNSUPPORTED")), (11, 4), "{ran:?}");
    let json = cloud.run("doctor --json").ends_with(1).json();
    assert_eq!((&json["sound"], json["checks"].as_array().map(Vec::len)), (&false.into(), Some(15)), "{json}");
    let verdicts: Vec<_> = json["checks"].as_array().unwrap().iter().map(|check| &check["verdict"]).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == "unsupported").count(), 4, "{json}");
    cloud.run("create c --dimension 2").ends_with(1).complains("--heads dynamodb:TABLE");
    cloud.run("create c --dimension 2 --heads dynamodb:doctor@us-east-1 --create-table").ok();
    assert!(!cloud.run("doctor --heads dynamodb:doctor@us-east-1").ok().stdout.contains("UNSUPPORTED"));
    cloud.run_with("append c", &puts(20)).ok();
    cloud.run("compact c").ok();
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "20");
}

/// Story: a service that sends unchanged heads was refused, though that costs bytes and breaks no
/// promise.
#[test]
fn a_bucket_that_only_costs_more_is_accepted() {
    let cloud = Cloud::new();
    cloud.server.backend.has(Quirk::SendsUnchanged);
    cloud.run("doctor").ok().says("costs more");
    let json = cloud.run("doctor --json").ok().json();
    let costs = json["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "costs").count();
    assert_eq!((&json["sound"], costs), (&true.into(), 1), "{json}");
    cloud.run("create c --dimension 2").ok();
    cloud.run_with("append c", &puts(20)).ok();
    cloud.run("compact c").ok();
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "20");
}

/// Story: an answer lost while `create` probed condemned a sound bucket.
#[test]
fn a_bucket_that_does_not_answer_is_to_be_tried_again() {
    let cloud = Cloud::new();
    cloud.server.fail_always("replace", "", Fault::Answer(503, "SlowDown"));
    cloud.run("create c --dimension 2").ends_with(5).complains("could not be tried");
    cloud.server.heal();
    cloud.run("create c --dimension 2").ok();
}

/// The permission to delete is missing. The probe's object stays, and the error names it.
#[test]
fn a_probe_that_may_not_delete_says_so() {
    let cloud = Cloud::new();
    cloud.server.fail_always("delete", "", Fault::Answer(403, "AccessDenied"));
    let ran = cloud.run("doctor");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("cannot delete") && ran.stderr.contains("permission"), "{ran:?}");
    let row = ran.stdout.lines().find(|line| line.contains("the objects of the probe can be removed"));
    assert!(row.is_some_and(|row| row.contains("DENIED") && row.contains("PROBE-")), "{ran:?}");
}
